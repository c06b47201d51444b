"""The parameters of a captioning run, with units and ranges."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from studies import paths
from studies.inputs.download import require
from studies.runs.params import Augmentation, Block, Count, Kitchen, Positive, RunParameters, Share


class Flickr8k(Block):
    """Flickr8k in its published layout, below STUDIES_DATA."""

    name: Literal["flickr8k"]
    splits: Literal["official", "karpathy"]  # the latter from dataset_flickr8k.json


class Backbone(Block):
    """A published vision model; frozen, its tokens are computed once and kept on disk."""

    name: Literal["backbone"]
    weights: str  # hub name, local folder, or torchvision/<model>
    trained: bool  # fine-tuned with the rest


class ScratchCNN(Block):
    """Convolution blocks trained from scratch, each halving the side."""

    name: Literal["cnn"]
    widths: Annotated[list[Count], Field(min_length=1)]  # channels of each block


class ScratchViT(Block):
    """A vision transformer trained from scratch."""

    name: Literal["vit"]
    patch: Count  # pixels a side
    width: Count
    layers: Count
    heads: Count


class Encoder(Block):
    """From pixels or backbone tokens to the memory that a decoder reads."""

    source: Annotated[Backbone | ScratchCNN | ScratchViT, Field(discriminator="name")]
    grid: Count | None  # side of the map after adaptive pooling; None for vision transformers
    projection: Literal["linear", "convolution"]
    layers: Annotated[int, Field(ge=0)]  # of the Transformer encoder
    heads: Count
    feedforward: Count


class Lstm(Block):
    """An LSTM with additive attention over the memory."""

    name: Literal["lstm"]
    hidden: Count


class Transformer(Block):
    """A Transformer decoder."""

    name: Literal["transformer"]
    layers: Count
    heads: Count
    feedforward: Count


class Network(Block):
    """Encoder and decoder of one system."""

    width: Count  # of memory and word embeddings
    dropout: Share
    encoder: Encoder
    decoder: Annotated[Lstm | Transformer, Field(discriminator="name")]

    @property
    def frozen(self) -> str | None:
        """Return the weights of the frozen backbone whose tokens are read, None without one."""
        source = self.encoder.source
        return source.weights if source.name == "backbone" and not source.trained else None


class Thumbnail(Block):
    """The picture itself, reduced: the feature space where no encoder is to be had."""

    name: Literal["thumbnail"]
    side: Count  # pixels


class Pooled(Block):
    """The pooled features of a published vision model."""

    name: Literal["backbone"]
    weights: str


class MostFrequent(Block):
    """The most frequent training caption, for every image."""

    name: Literal["most_frequent"]


class NearestNeighbour(Block):
    """The first caption of the training image that is nearest in a feature space."""

    name: Literal["nearest_neighbour"]
    features: Annotated[Thumbnail | Pooled, Field(discriminator="name")]


class Decoding(Block):
    """How a caption is searched for."""

    beams: Count  # 1 is greedy
    length_penalty: Annotated[float, Field(ge=0)]  # exponent of the length; 0 for none
    max_length: Count  # words


class Parameters(RunParameters):
    """Everything that decides a run of the study.

    A trivial baseline has `baseline` and no network; it is not trained.
    """

    study: ClassVar[str] = "captioning"

    source: Annotated[Kitchen | Flickr8k, Field(discriminator="name")]
    split_seed: Annotated[int, Field(ge=0)]  # not used by published splits
    validation_share: Share  # likewise
    test_share: Share  # likewise
    image_size: Annotated[int, Field(ge=16)]  # pixels a side; a published model's own decides
    augmentation: Augmentation | None
    min_count: Count  # words rarer than this in the training captions are unknown

    baseline: Annotated[MostFrequent | NearestNeighbour, Field(discriminator="name")] | None
    network: Network | None

    images: Count  # in a batch, each with all its captions
    epochs: Count
    patience: Count  # validations without a better loss after which training ends
    learning_rate: Positive  # at its highest
    backbone_learning_rate: Annotated[float, Field(ge=0)]  # of a fine-tuned backbone
    warm_up: Share  # share of the steps
    weight_decay: Annotated[float, Field(ge=0)]
    label_smoothing: Share
    gradient_norm: Positive  # larger gradients are scaled down to it
    validate_every: Count  # epochs
    decoding: Decoding

    @property
    def trained(self) -> bool:
        """Whether the system has a network; a trivial baseline has none."""
        return self.network is not None

    def require_data(self) -> None:
        """Raise StudyError when the data is not there, without reading any."""
        if self.source.name == "flickr8k":
            require("flickr8k", paths.data() / "flickr8k")

    @model_validator(mode="after")
    def _consistent(self) -> "Parameters":
        if (self.baseline is None) == (self.network is None):
            raise ValueError("a system has a network or is a baseline: set the other one to null")
        if self.epochs % self.validate_every:
            raise ValueError("validate_every must divide epochs, so that the last one is validated")
        if self.validation_share + self.test_share >= 1:
            raise ValueError("validation_share + test_share must leave something to train on")
        if self.network is not None:
            check_network(self.network, self.image_size, self.augmentation)
        return self


def check_network(network: Network, image_size: int, augmentation: Augmentation | None) -> None:
    """Raise ValueError when parts of a network do not fit each other."""
    encoder = network.encoder
    for where, block in (("encoder", encoder), ("decoder", network.decoder)):
        heads = getattr(block, "heads", 1)
        if network.width % heads:
            raise ValueError(f"network.{where}.heads ({heads}) must divide width ({network.width})")
    if encoder.projection == "convolution" and encoder.grid is None:
        raise ValueError("network.encoder.projection: a convolution needs a map, so set grid")
    source = encoder.source
    if source.name == "vit" and encoder.grid is not None:
        raise ValueError("network.encoder.grid is null for a vision transformer: it has no map")
    if source.name == "cnn" and not image_size >> len(source.widths):
        raise ValueError(
            f"network.encoder.source.widths has {len(source.widths)} blocks, each of which halves "
            f"the side: too many for image_size {image_size}"
        )
    if source.name == "vit" and (image_size % source.patch or source.width % source.heads):
        raise ValueError(
            "network.encoder.source: patch must divide image_size, and heads must divide width"
        )
    if network.frozen and augmentation is not None:
        raise ValueError("a frozen backbone reads cached features, so augmentation is null")
