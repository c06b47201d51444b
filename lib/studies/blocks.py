"""Blocks of parameters that studies share."""

from typing import Annotated, Literal

from pydantic import Field

from studies.params import Block, Count, Share


class Kitchen(Block):
    """The embedded demo: drawn plates."""

    name: Literal["kitchen"]
    per_variant: Count  # images of the most frequent variant of a dish
    seed: Annotated[int, Field(ge=0)]


class Augmentation(Block):
    """Random changes to each training image."""

    flip: Annotated[float, Field(ge=0, le=1)]  # probability of a mirror image
    shift: Share  # largest shift, share of the side
    zoom: Share  # largest change of scale
    colour: Share  # largest change of brightness, contrast and saturation
