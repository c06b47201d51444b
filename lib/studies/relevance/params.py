"""The parameters of a relevance run, with units and ranges."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from studies import paths
from studies.inputs.download import require
from studies.paths import StudyError
from studies.relevance.filter import Curve
from studies.relevance.sentences import Choice
from studies.relevance.systems import Baseline, Clip, Downstream, Predictor, Reading, Seeing
from studies.runs.params import Block, Count, Kitchen, Positive, RunParameters, Share

FILE = Path("imagenet_captions", "imagenet_captions.json")  # below STUDIES_DATA
TEXTS, SOURCES = "class_texts.csv", "class_sources.csv"  # beside it, from Wikipedia

Unit = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0)]


class ImagenetCaptions(Block):
    """ImageNet-Captions in its published layout, below STUDIES_DATA.

    The class texts are what `python -m studies.relevance.collect` brought from Wikipedia.
    """

    name: Literal["imagenet_captions"]
    images: str | None  # folder below STUDIES_DATA with <wnid>/<file>; null without images


class Sentences(Block):
    """Which sentences of a class text go with the captions of the class."""

    fewest: Count  # a class with fewer has no text
    most: Count
    choice: Choice
    seed: Seed  # of a random choice

    @model_validator(mode="after")
    def _ordered(self) -> "Sentences":
        if self.fewest > self.most:
            raise ValueError("fewest is above most: lower it")
        return self


class Rare(Block):
    """What a class of few examples has in both parts whatever the lot says."""

    examples: Annotated[int, Field(ge=0)]  # at most so many make a class rare
    train: Unit  # share of them in training, at least
    test: Unit

    @model_validator(mode="after")
    def _shares(self) -> "Rare":
        if self.train + self.test > 1:
            raise ValueError("train + test is above 1: lower one")
        return self


class Filter(Block):
    """The filter's thresholds and the curve of the coefficients, see `filter.relevance`."""

    threshold: Unit
    sure: Unit
    bonus: Unit
    curve: Curve
    exponent: Positive  # of the curve `power`
    lowest: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _fits(self) -> "Filter":
        top = max(self.threshold, self.sure) + self.bonus
        if self.threshold > self.sure or top > 1 or self.threshold + self.bonus >= 1:
            raise ValueError(
                "threshold must not be above sure, sure + bonus not above 1, and threshold + bonus "
                "must be below 1"
            )
        return self


class Training(Block):
    """How a network is trained."""

    batch: Count  # texts or images
    epochs: Count
    learning_rate: Positive  # at its highest
    backbone_learning_rate: Annotated[float, Field(ge=0)]  # of a published encoder
    warm_up: Share  # share of the steps
    weight_decay: Annotated[float, Field(ge=0)]
    validate_every: Count  # epochs

    @model_validator(mode="after")
    def _last_validated(self) -> "Training":
        if self.epochs % self.validate_every:
            raise ValueError("validate_every must divide epochs, so that the last one is validated")
        return self


class Parameters(RunParameters):
    """Everything that decides a run of the study.

    A system is the predictor, a baseline in its place, or a downstream classifier, which is
    trained on what the predictor keeps.
    """

    study: ClassVar[str] = "relevance"

    source: Annotated[Kitchen | ImagenetCaptions, Field(discriminator="name")]
    characters: Count  # of a caption; what is longer is cut
    max_tokens: Annotated[int, Field(ge=8)]  # of an example, its ends included
    sentences: Sentences
    split_seed: Seed
    test_share: Annotated[float, Field(gt=0, lt=1)]
    validation_share: Annotated[float, Field(gt=0, lt=1)]  # of the training captions
    rare: Rare
    filter: Filter

    predictor: Predictor | None
    baseline: Annotated[Baseline | Clip, Field(discriminator="name")] | None
    downstream: Downstream | None
    training: Training | None

    @property
    def trained(self) -> bool:
        """Whether the system has a network of its own."""
        return self.baseline is None

    @property
    def after(self) -> list[str]:
        """Return the systems that must be evaluated before this one."""
        return [self.downstream.scores] if self.takes_scores else []

    @property
    def takes_scores(self) -> bool:
        """Whether the system is trained on what a predictor says."""
        return self.downstream is not None and self.downstream.captions != "all"

    @property
    def encoder(self) -> Reading | Seeing:
        """Return the encoder of a system with a network."""
        return (self.predictor or self.downstream).encoder

    @property
    def sees_images(self) -> bool:
        """Whether the system looks at images, and reads no caption."""
        return self.downstream is not None and self.encoder.name in ("pixels", "features")

    @property
    def epochs(self) -> int:
        """Return the number of epochs."""
        return self.training.epochs

    @property
    def validate_every(self) -> int:
        """Return the number of epochs from validation to validation."""
        return self.training.validate_every

    @property
    def learning_rate(self) -> float:
        """Return the highest learning rate."""
        return self.training.learning_rate

    @property
    def backbone_learning_rate(self) -> float:
        """Return the highest learning rate of a published encoder."""
        return self.training.backbone_learning_rate

    @property
    def warm_up(self) -> float:
        """Return the share of the steps in which the learning rate rises."""
        return self.training.warm_up

    @property
    def weight_decay(self) -> float:
        """Return the weight decay of AdamW."""
        return self.training.weight_decay

    def require_data(self) -> None:
        """Raise StudyError when the data is not there, without reading any."""
        if self.source.name != "imagenet_captions":
            return
        captions = require("imagenet_captions", paths.data() / FILE)
        texts = captions.with_name(TEXTS)
        if not texts.is_file():
            raise StudyError(
                f"{texts}: no such file; bring the class texts from Wikipedia first: "
                "python -m studies.relevance.collect --contact <your mail address or web page>"
            )
        if self.source.images and not (images := paths.data() / self.source.images).is_dir():
            raise StudyError(
                f"{images}: no such folder; put ImageNet's images there, a folder a wnid, or set "
                "source.images to null"
            )

    @model_validator(mode="after")
    def _consistent(self) -> "Parameters":
        if sum(one is not None for one in (self.predictor, self.baseline, self.downstream)) != 1:
            raise ValueError(
                "a system is a predictor, a baseline or downstream: set the others to null"
            )
        if (self.training is None) != (self.baseline is not None):
            raise ValueError("training belongs to networks: a baseline has null, others need it")
        if self.sees_images and self.source.name != "kitchen" and self.source.images is None:
            raise ValueError(
                "downstream.encoder looks at images: set source.images to the folder of images, or "
                "take an encoder of text"
            )
        return self
