"""The parameters of a triplets run, with units and ranges."""

from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field, model_validator

from studies import paths
from studies.inputs.download import require, require_own
from studies.runs.blocks import ImageParameters, Kitchen, Table, Widths
from studies.runs.params import Block, Count, Positive

Mining = Literal["semihard", "hardest", "most_violating", "all"]
Smoothing = Annotated[float, Field(ge=0, lt=1)]  # of the labels, for cross-entropy alone
Take = Literal["closest", "most_violating"]


class Grocery(Block):
    """GroceryStoreDataset in its published layout, below STUDIES_DATA."""

    name: Literal["grocery"]
    parts: ClassVar = ["grocery/dataset"]  # below STUDIES_DATA, first that of the images


class HyperKvasir(Block):
    """The labelled images of HyperKvasir in their published layout, below STUDIES_DATA."""

    name: Literal["hyperkvasir"]
    parts: ClassVar = ["hyperkvasir/labeled-images", "hyperkvasir/2_fold_split.csv"]
    test_fold: Annotated[int, Field(ge=0, le=1)]  # of the two; tested on under split: official


class LabelTable(Table):
    """A CSV file of images and labels below STUDIES_DATA (columns: `readers.from_table`)."""

    groups: bool  # whether labels are independent groups, not the levels of a tree


class Folder(Block):
    """Any image folder below STUDIES_DATA: each folder level is a level of the label tree."""

    name: Literal["folder"]
    folder: str


class Scratch(Block):
    """Four convolution blocks, then a dense layer of `hidden` ReLU units, trained from scratch."""

    name: Literal["scratch"]
    widths: Widths  # channels of each block
    hidden: Count


class Frozen(Block):
    """A frozen torchvision or transformers backbone; only the dense layer is trained."""

    name: Literal["frozen"]
    # package/<model>, torchvision/<model>, hub name, or local folder; features of several models
    # stand side by side
    weights: str | Annotated[list[str], Field(min_length=1)]
    hidden: Count
    standardised: bool = False  # batch norm of features and units
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the units

    @property
    def models(self) -> list[str]:
        """Return the names of the models."""
        return [self.weights] if isinstance(self.weights, str) else self.weights


class CrossEntropy(Block):
    """Softmax over the classes of the lowest level."""

    name: Literal["cross_entropy"]
    smoothing: Smoothing = 0.0


class Triplet(Block):
    """Equation (1): one margin for every negative."""

    name: Literal["triplet"]
    margin: Positive  # Euclidean distance on the unit sphere, so below 2
    take: Take


class FlexibleMargin(Block):
    """Equation (2): a margin that depends on the levels in which the labels differ."""

    name: Literal["flexible_margin"]
    margins: list[Positive]  # one a level, from the top level down, or one a group
    combine: Literal["max", "sum"]  # equation (3) or (5)
    take: Take
    # between classes: those of their labels, the same permuted among the classes (a control, with
    # another permutation each seed), or a CSV file of the repository with groups of each class
    relations: str = "labels"

    def refuse_margins(self, nested: bool) -> None:
        """Raise ValueError unless margins are as equations (3) and (6) want them.

        `max` over the levels of a tree wants them to decrease from the top level down: where a
        level differs, all below it do, so a larger margin there would make it pointless. Over
        groups any order will do. `sum` wants them to sum to 2, the diameter of the unit sphere.
        """
        nested = nested and not self.relations.endswith(".csv")
        said = f"loss.margins are {self.margins}; with combine: {self.combine}"
        if self.combine == "sum":
            wrong = abs(sum(self.margins) - 2) > 0.01
            self.refuse(wrong, f"{said} they must sum to 2, equation (6)")
        elif nested:
            wrong = self.margins != sorted(set(self.margins), reverse=True)
            self.refuse(wrong, f"{said} each must be smaller than the one before, equation (3)")


class Hybrid(FlexibleMargin):
    """Cross-entropy plus `weight` × equation (2), on one trunk with two heads."""

    name: Literal["hybrid"]
    weight: Positive
    smoothing: Smoothing = 0.0


class Stage(Block):
    """A part of training, from one epoch to the next stage's first."""

    from_epoch: Annotated[int, Field(ge=0)]
    learning_rate: Annotated[float, Field(ge=0)]  # 0 keeps the initial weights: a control
    mining: Mining | None  # None for cross-entropy


class Parameters(ImageParameters):
    """Everything that decides a run of the study."""

    study: ClassVar[str] = "triplets"

    source: Annotated[
        Kitchen | Grocery | HyperKvasir | LabelTable | Folder, Field(discriminator="name")
    ]
    split: Literal["random", "official"]
    spare_test_of: Literal["random", "official"] | None  # also unseen: test images of that split
    train_per_class: Count | None  # at most so many training images of a class; None for all
    held_out: Annotated[int, Field(ge=0)]  # classes not trained on, others with each seed

    backbone: Annotated[Scratch | Frozen, Field(discriminator="name")]
    embedding: Count  # dimensions
    loss: Annotated[CrossEntropy | Triplet | FlexibleMargin | Hybrid, Field(discriminator="name")]
    # what names the class: the likeliest of softmax, the one of least expected cost in the label
    # tree, or k-NN
    decide: Literal["softmax", "least_cost", "neighbours"]

    images_per_class: Annotated[int, Field(ge=2)]  # in a batch
    stages: Annotated[list[Stage], Field(min_length=1)]
    neighbours: Count  # k of the k-NN classifier
    min_count: Annotated[int, Field(ge=0)]  # macro-F1 over classes with more images than this

    def require_data(self) -> None:
        """Raise StudyError when the images are not there, without reading any."""
        source = self.source
        for part in getattr(source, "parts", ()):
            require(source.name, paths.data() / part)
        own = getattr(source, "file", None) or getattr(source, "folder", None)
        if own:
            require_own(own)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        refuse, loss, starts = self.refuse, self.loss, [stage.from_epoch for stage in self.stages]
        problem = "stages must begin at from_epoch 0 and each later than the one before"
        refuse(starts != sorted({0, *starts}), problem)
        kinds = "null" if loss.name == "cross_entropy" else " or ".join(get_args(Mining))
        wrong = any((stage.mining is None) != (kinds == "null") for stage in self.stages)
        refuse(wrong, f"each stage of loss {loss.name} needs mining {kinds}")
        if isinstance(loss, FlexibleMargin):
            loss.refuse_margins(nested=not getattr(self.source, "groups", False))
        if self.decide != "neighbours":
            untrained = loss.name not in ("cross_entropy", "hybrid")
            refuse(untrained, f"loss {loss.name} trains no softmax; set decide: neighbours")
            refuse(self.held_out, "softmax names no class held out; set decide: neighbours")
        self.refuse_blocks("backbone.widths", len(getattr(self.backbone, "widths", ())))
        self.refuse_augmentation(self.backbone.name == "frozen")
        return self
