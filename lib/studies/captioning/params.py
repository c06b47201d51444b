"""The parameters of a captioning run, with units and ranges."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from studies import paths
from studies.inputs.download import require, require_own
from studies.runs.blocks import Backbone, ImageParameters, Kitchen, Schedule, Server, Table, Widths
from studies.runs.params import Block, Count, Name, NotNegative, Positive, Share, load_parameters


class Published(Block):
    """A public dataset in a layout in which people have it, below STUDIES_DATA; see `readers`."""

    name: Literal["flickr8k", "flickr30k", "coco", "nocaps"]
    splits: Literal["official", "karpathy"]  # the latter from dataset_<name>.json


class ScratchCNN(Block):
    """Convolution blocks trained from scratch, each halving the side."""

    name: Literal["cnn"]
    widths: Widths  # channels of each block


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
    grid: Count | None = None  # side of the map whose tokens are averaged; None for its own


class MostFrequent(Block):
    """The most frequent training caption, for every image."""

    name: Literal["most_frequent"]


class NearestNeighbour(Block):
    """The first caption of the training image that is nearest in a feature space."""

    name: Literal["nearest_neighbour"]
    features: Annotated[Thumbnail | Pooled, Field(discriminator="name")]


class Elsewhere(Block):
    """The same system and seed as trained on another dataset; nothing is trained here."""

    name: Literal["trained_elsewhere"]
    dataset: Name


class LocalModel(Block):
    """An image-text-to-text model of transformers: a hub name or a folder."""

    name: Literal["local"]
    model: str
    batch: Count  # images described at once


class Mllm(Block):
    """A multimodal language model asked zero-shot: greedily, locally by `decoding.beams`."""

    name: Literal["mllm"]
    model: Annotated[LocalModel | Server, Field(discriminator="name")]
    prompt: Annotated[str, Field(min_length=1)]
    max_tokens: Count
    clean: bool  # score what `mllm.cleaned` leaves of an answer; otherwise the answer as it is


class Decoding(Block):
    """How a caption is searched for."""

    beams: Count  # 1 is greedy
    length_penalty: NotNegative  # exponent of the length; 0 for none
    max_length: Count  # words


Untrained = MostFrequent | NearestNeighbour | Elsewhere | Mllm


class Parameters(Schedule, ImageParameters):
    """Everything that decides a run of the study.

    What is not trained here has `baseline` and no network.
    """

    study: ClassVar[str] = "captioning"

    source: Annotated[Kitchen | Published | Table, Field(discriminator="name")]
    min_count: Count  # words rarer than this in the training captions are unknown

    # what captions without being trained here
    baseline: Annotated[Untrained, Field(discriminator="name")] | None
    network: Network | None

    images: Count  # in a batch, each with all its captions
    patience: Count  # validations without a better loss after which training ends
    label_smoothing: Share
    gradient_norm: Positive  # larger gradients are scaled down to it
    decoding: Decoding
    train_images: Count | None = None  # drawn from those of training; null for all

    @property
    def learns(self) -> bool:
        """Whether the system reads the training images of this dataset."""
        return self.trained or self.baseline.name not in ("trained_elsewhere", "mllm")

    @property
    def by_chance(self) -> bool:
        """Whether another seed may give another result."""
        return self.trained or bool(self.builds_on())

    def builds_on(self) -> list[Self]:
        """Return the parameters of the run of another dataset that captions here, if one does."""
        if self.trained or self.baseline.name != "trained_elsewhere":
            return []
        return [load_parameters(self.study, self.baseline.dataset, self.system, self.seed)]

    def require_data(self) -> None:
        """Raise StudyError when the data is not there, without reading any."""
        if self.source.name == "table":
            require_own(self.source.file)
        elif self.source.name != "kitchen":
            require(self.source.name, paths.data() / self.source.name)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        both = (self.baseline is None) == (self.network is None)
        self.refuse(both, "a system has a network or is a baseline: set the other one to null")
        if self.network is not None:
            self._refuse_network(self.network.encoder, self.network.width)
            self.refuse_augmentation(self.network.frozen)
        return self

    def _refuse_network(self, encoder: Encoder, width: int) -> None:
        """Raise ValueError when parts of the network do not fit each other."""
        refuse, source, side = self.refuse, encoder.source, self.image_size
        for where, block in (("encoder", encoder), ("decoder", self.network.decoder)):
            heads = getattr(block, "heads", 1)
            refuse(width % heads, f"network.{where}.heads ({heads}) must divide width ({width})")
        mapless = encoder.projection == "convolution" and encoder.grid is None
        refuse(mapless, "network.encoder.projection: a convolution needs a map, so set grid")
        if source.name == "vit":
            problem = "network.encoder.grid is null for a vision transformer: it has no map"
            refuse(encoder.grid is not None, problem)
            wrong = side % source.patch or source.width % source.heads
            problem = "patch must divide image_size, and heads must divide width"
            refuse(wrong, f"network.encoder.source: {problem}")
        if source.name == "cnn":
            self.refuse_blocks("network.encoder.source.widths", len(source.widths))
