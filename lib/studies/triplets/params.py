"""The parameters of a triplets run, with units and ranges."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from studies import paths
from studies.download import require
from studies.errors import StudyError
from studies.params import Block, Count, Positive, RunParameters, Share

Mining = Literal["semihard", "hardest", "all"]
Take = Literal["closest", "most_violating"]


class Kitchen(Block):
    """The embedded demo: drawn plates."""

    name: Literal["kitchen"]
    per_variant: Count  # images of the most frequent class
    seed: Annotated[int, Field(ge=0)]


class Grocery(Block):
    """GroceryStoreDataset in its published layout, below STUDIES_DATA."""

    name: Literal["grocery"]


class Folder(Block):
    """Any image folder below STUDIES_DATA: each folder level is a level of the label tree."""

    name: Literal["folder"]
    folder: str


class Scratch(Block):
    """Four convolution blocks, then a dense layer of `hidden` ReLU units, trained from scratch."""

    name: Literal["scratch"]
    widths: Annotated[list[Count], Field(min_length=1)]  # channels of each block
    hidden: Count


class Frozen(Block):
    """A frozen torchvision or transformers backbone; only the dense layer is trained."""

    name: Literal["frozen"]
    weights: str  # hub name, local folder, or torchvision/<model>
    hidden: Count


class CrossEntropy(Block):
    """Softmax over the classes of the lowest level."""

    name: Literal["cross_entropy"]


class Triplet(Block):
    """Equation (1): one margin for every negative."""

    name: Literal["triplet"]
    margin: Positive  # Euclidean distance on the unit sphere, so below 2
    take: Take


class FlexibleMargin(Block):
    """Equation (2): a margin that depends on the levels in which the labels differ."""

    name: Literal["flexible_margin"]
    margins: list[Positive]  # one a level, from the top level down
    combine: Literal["max", "sum"]  # equation (3) or (5)
    take: Take


class Stage(Block):
    """A part of training, from one epoch to the next stage's first."""

    from_epoch: Annotated[int, Field(ge=0)]
    learning_rate: Positive
    mining: Mining | None  # None for cross-entropy


class Augmentation(Block):
    """Random changes to each training image."""

    flip: Annotated[float, Field(ge=0, le=1)]  # probability of a mirror image
    shift: Share  # largest shift, share of the side
    zoom: Share  # largest change of scale
    colour: Share  # largest change of brightness, contrast and saturation


class Parameters(RunParameters):
    """Everything that decides a run of the study."""

    study: ClassVar[str] = "triplets"

    source: Annotated[Kitchen | Grocery | Folder, Field(discriminator="name")]
    split: Literal["random", "official"]
    split_seed: Annotated[int, Field(ge=0)]
    validation_share: Share
    test_share: Share  # not used by official splits
    image_size: Annotated[int, Field(ge=16)]  # pixels a side
    augmentation: Augmentation | None

    backbone: Annotated[Scratch | Frozen, Field(discriminator="name")]
    embedding: Count  # dimensions
    loss: Annotated[CrossEntropy | Triplet | FlexibleMargin, Field(discriminator="name")]

    images_per_class: Annotated[int, Field(ge=2)]  # in a batch
    epochs: Count
    stages: Annotated[list[Stage], Field(min_length=1)]
    validate_every: Count  # epochs
    neighbours: Count  # k of the k-NN classifier
    min_count: Annotated[int, Field(ge=0)]  # macro-F1 over classes with more images than this

    def require_data(self) -> None:
        """Raise StudyError when the images are not there, without reading any."""
        if self.source.name == "grocery":
            require("grocery", paths.data() / "grocery")
        elif (
            self.source.name == "folder"
            and not (folder := paths.data() / self.source.folder).is_dir()
        ):
            raise StudyError(
                f"{folder}: no such folder; put the images there, one folder a class, or point "
                "STUDIES_DATA at the folder that holds it"
            )

    @model_validator(mode="after")
    def _consistent(self) -> "Parameters":
        starts = [stage.from_epoch for stage in self.stages]
        if starts[0] != 0 or starts != sorted(set(starts)):
            raise ValueError("stages must begin at from_epoch 0 and each later than the one before")
        needs_mining = self.loss.name != "cross_entropy"
        if any((stage.mining is not None) != needs_mining for stage in self.stages):
            raise ValueError(
                f"each stage of loss {self.loss.name} needs mining "
                f"{'semihard, hardest or all' if needs_mining else 'null'}"
            )
        if self.epochs % self.validate_every:
            raise ValueError("validate_every must divide epochs, so that the last one is validated")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share must leave something to train on")
        if self.backbone.name == "scratch" and not self.image_size >> len(self.backbone.widths):
            raise ValueError(
                f"backbone.widths has {len(self.backbone.widths)} blocks, each of which halves the "
                f"side: too many for image_size {self.image_size}"
            )
        if self.backbone.name == "frozen" and self.augmentation is not None:
            raise ValueError("a frozen backbone reads cached features, so augmentation is null")
        return self
