"""Parameters that studies share: the demo, published backbones, images, and how one trains."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from studies.runs.params import Block, Count, NotNegative, Positive, RunParameters, Seed, Share

Widths = Annotated[list[Count], Field(min_length=1)]  # one a block of a network


class Kitchen(Block):
    """The embedded demo: drawn plates."""

    name: Literal["kitchen"]
    per_variant: Count  # images of the most frequent variant of a dish
    seed: Seed


class Table(Block):
    """A CSV file of the user's own, below STUDIES_DATA; README.md says its columns."""

    name: Literal["table"]
    file: str


class Server(Block):
    """Any server with the chat completions of OpenAI's interface."""

    name: Literal["server"]
    url: str  # up to /v1
    model: str
    key_variable: str  # name of the environment variable that holds the key; "" for none
    timeout: Positive  # seconds
    attempts: Count

    @model_validator(mode="after")
    def _no_key(self) -> Self:
        # checked for the whole block, whose values a complaint does not quote
        self.refuse(
            not re.fullmatch(r"\w*", self.key_variable, re.ASCII),
            "key_variable should be the name of an environment variable, not the key itself: "
            "export the key in a variable, and write its name there",
        )
        return self


class Augmentation(Block):
    """Random changes to each training image."""

    flip: Annotated[float, Field(ge=0, le=1)]  # probability of a mirror image
    shift: Share  # largest shift, share of the side
    zoom: Share  # largest change of scale
    colour: Share  # largest change of brightness, contrast and saturation


class Backbone(Block):
    """A published vision model; frozen, what it says is computed once and kept on disk."""

    name: Literal["backbone"]
    weights: str  # hub name, local folder, or torchvision/<model>
    trained: bool  # fine-tuned with the rest


class Epochs(Block):
    """How long a network is trained."""

    epochs: Count
    validate_every: Count  # epochs

    @model_validator(mode="after")
    def _last_is_validated(self) -> Self:
        problem = "validate_every must divide epochs, so that the last is scored"
        self.refuse(self.epochs % self.validate_every, problem)
        return self


class Schedule(Epochs):
    """How `learning.fit.Scheduled` trains a network."""

    learning_rate: Positive  # at its highest
    backbone_learning_rate: NotNegative  # of a published model that is fine-tuned
    warm_up: Share  # share of the steps
    weight_decay: NotNegative


class ImageParameters(Epochs, RunParameters):
    """What every study of images needs."""

    split_seed: Seed
    validation_share: Share
    test_share: Share  # neither is used where a published split says it
    image_size: Annotated[int, Field(ge=16)]  # pixels a side
    augmentation: Augmentation | None

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        kept_out = self.validation_share + self.test_share
        self.refuse(kept_out >= 1, "validation_share + test_share must leave something to train on")
        return self

    def refuse_blocks(self, where: str, blocks: int, spare: int = 0) -> None:
        """Raise ValueError when an image is too small to be halved by each block, and `spare`."""
        problem = f"{where} has {blocks} blocks, each of which halves image_size {self.image_size}"
        wrong = blocks and not self.image_size >> (blocks + spare)
        self.refuse(wrong, f"{problem}: give fewer blocks or larger images")

    def refuse_augmentation(self, frozen: object) -> None:
        """Raise ValueError when images are changed that a `frozen` backbone has read once."""
        cached = frozen and self.augmentation
        self.refuse(cached, "a frozen backbone reads cached features, so augmentation is null")
