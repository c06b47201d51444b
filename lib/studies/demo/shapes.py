"""What food is drawn with: a pen in the plate's own coordinates, outlines, colours, places."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from studies.demo.world import Plate

Colour = tuple[int, ...]  # red, green and blue from 0 to 255, and opacity where there is one
Points = list[tuple[float, float]]
SHADOW = (30, 15, 5, 90)


class Area(NamedTuple):
    """The disc of the plate that an ingredient may lie in."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Look:
    """How an ingredient looks: its shape in `food.SHAPES`, colours, number, radius."""

    shape: str
    colour: Colour
    size: float
    count: int = 1
    second: Colour = (255, 255, 255)


class Pen:
    """Draws on a picture in plate coordinates: x right, y down, turned and tilted by the camera."""

    def __init__(self, picture: Image.Image, plate: Plate, rotation: float):
        side = picture.width
        self._draw = ImageDraw.Draw(picture, "RGBA")
        self._x, self._y = (side * (0.5 + shift) for shift in plate.shift)
        self._scale, self._tilt = plate.zoom * side, plate.tilt
        angle = math.radians(rotation)
        self._cos, self._sin = math.cos(angle), math.sin(angle)

    def _place(self, points: Points) -> Points:
        across, down = self._scale, self._scale * self._tilt
        return [
            (
                self._x + across * (x * self._cos - y * self._sin),
                self._y + down * (x * self._sin + y * self._cos),
            )
            for x, y in points
        ]

    def polygon(self, points: Points, colour: Colour, shadow: float = 0.0) -> None:
        """Fill a polygon; `shadow` is how high it lies, and so how far its shadow falls."""
        placed = self._place(points)
        if shadow:
            step = shadow * self._scale
            self._draw.polygon([(x + step, y + step) for x, y in placed], SHADOW)
        self._draw.polygon(placed, colour)

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """Draw an open line with round joints; `width` in plate radii."""
        pixels = max(1, round(width * self._scale))
        self._draw.line(self._place(points), colour, pixels, joint="curve")


def turned(bare: Points, x: float, y: float, angle: float, scale: float = 1.0) -> Points:
    """Return an outline scaled, turned by `angle` (radians) and moved to (x, y)."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    return [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in bare]


def oval(x: float, y: float, across: float, down: float = 0.0, turn: float = 0.0) -> Points:
    """Return the outline of an ellipse of two radii (a circle if only one is given)."""
    down = down or across
    steps = 12 if across < 0.12 else 28
    angles = [math.tau * step / steps for step in range(steps)]
    return turned([(across * math.cos(a), down * math.sin(a)) for a in angles], x, y, turn)


def square(x: float, y: float, half: float, turn: float, corner: float = 0.35) -> Points:
    """Return a square with rounded corners (`corner` 1 is a circle, 0 a sharp square)."""
    bare = []
    for step in range(32):
        angle = math.tau * (step + 0.5) / 32
        u, v = math.cos(angle), math.sin(angle)
        bare.append((math.copysign(abs(u) ** corner, u), math.copysign(abs(v) ** corner, v)))
    return turned(bare, x, y, turn, half)


def shade(colour: Colour, factor: float) -> Colour:
    """Return a colour made darker (factor below 1) or lighter, without transparency."""
    return tuple(min(255, int(value * factor)) for value in colour[:3])


def vary(rng: Random, colour: Colour, amount: float = 0.1) -> Colour:
    """Return a colour of nearly the same brightness and hue, as no two tomatoes are alike."""
    bright = 1 + rng.uniform(-amount, amount)
    return tuple(
        min(255, int(value * bright * (1 + rng.uniform(-amount, amount) / 2))) for value in colour
    )


def uneven(rng: Random, x: float, y: float, radius: float, rough: float, waves: int) -> Points:
    """Return a round outline with `waves` bumps of relative height `rough`."""
    start, steps = rng.uniform(0, math.tau), max(28, 4 * waves)
    outline = []
    for step in range(steps):
        angle = math.tau * step / steps
        away = radius * (1 + rough * math.sin(waves * angle + start) + rng.uniform(-0.02, 0.02))
        outline.append((x + away * math.cos(angle), y + away * math.sin(angle)))
    return outline


def spots(rng: Random, count: int, area: Area) -> Iterator[tuple[float, float, float]]:
    """Yield about `count` places spread evenly (a jittered sunflower), each with an angle."""
    count = max(1, round(count * rng.uniform(0.75, 1.25)))
    start, jitter = rng.uniform(0, math.tau), 0.25 * area.radius / math.sqrt(count)
    for number in range(count):
        away = area.radius * math.sqrt((number + 0.5) / count)
        angle = start + 2.39996 * number  # the golden angle
        yield (
            area.x + away * math.cos(angle) + rng.uniform(-jitter, jitter),
            area.y + away * math.sin(angle) + rng.uniform(-jitter, jitter),
            rng.uniform(0, math.tau),
        )


# --- layers: they fill the plate, wherever the area is ---
