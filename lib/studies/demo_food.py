"""The ingredients of `studies.demo`: one small drawing routine for each kind of them.

Food is drawn in the plate's own coordinates, where the plate is the unit disc; a `Pen` carries
them into the picture. Every ingredient takes its places from a generator of its own, so adding or
removing one leaves all others where they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from studies.demo import Plate

Colour = tuple[int, ...]
Points = list[tuple[float, float]]


class Area(NamedTuple):
    """The disc of the plate that an ingredient may lie in."""

    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Look:
    """How an ingredient looks: who draws it, in which colours, how many, of which radius."""

    shape: Callable[[Pen, Random, Look, Area], None]
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
            self._draw.polygon([(x + step, y + step) for x, y in placed], (30, 15, 5, 90))
        self._draw.polygon(placed, colour)

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """Draw an open line with round joints; `width` in plate radii."""
        pixels = max(1, round(width * self._scale))
        self._draw.line(self._place(points), colour, pixels, joint="curve")


def oval(x: float, y: float, across: float, down: float = 0.0, turn: float = 0.0) -> Points:
    """Return the outline of an ellipse of two radii (a circle if only one is given)."""
    down = down or across
    steps = 12 if across < 0.12 else 28
    cos, sin = math.cos(turn), math.sin(turn)
    angles = [math.tau * step / steps for step in range(steps)]
    bare = [(across * math.cos(angle), down * math.sin(angle)) for angle in angles]
    return [(x + u * cos - v * sin, y + u * sin + v * cos) for u, v in bare]


def _uneven(rng: Random, x: float, y: float, radius: float, rough: float, waves: int) -> Points:
    """Return a round outline with `waves` bumps of relative height `rough`."""
    start, steps = rng.uniform(0, math.tau), max(20, 4 * waves)
    outline = []
    for step in range(steps):
        angle = math.tau * step / steps
        away = radius * (1 + rough * math.sin(waves * angle + start) + rng.uniform(-1, 1) * 0.02)
        outline.append((x + away * math.cos(angle), y + away * math.sin(angle)))
    return outline


def square(x: float, y: float, half: float, turn: float, corner: float = 0.35) -> Points:
    """Return a square with rounded corners (`corner` 1 is a circle, 0 a sharp square)."""
    cos, sin = math.cos(turn), math.sin(turn)
    outline = []
    for step in range(32):
        angle = math.tau * (step + 0.5) / 32
        u, v = (math.copysign(abs(f(angle)) ** corner, f(angle)) * half for f in _CIRCLE)
        outline.append((x + u * cos - v * sin, y + u * sin + v * cos))
    return outline


_CIRCLE = (math.cos, math.sin)


def shade(colour: Colour, factor: float) -> Colour:
    return tuple(min(255, int(value * factor)) for value in colour[:3])


def vary(rng: Random, colour: Colour, amount: float = 0.1) -> Colour:
    return shade(colour, 1 + rng.uniform(-amount, amount))


def _spots(rng: Random, look: Look, area: Area) -> Iterator[tuple[float, float, float]]:
    """Yield places spread evenly over the area (a jittered sunflower), each with a random angle."""
    count = max(1, round(look.count * rng.uniform(0.75, 1.25)))
    start = rng.uniform(0, math.tau)
    for number in range(count):
        away = area.radius * math.sqrt((number + 0.5) / count)
        angle = start + 2.39996 * number
        jitter = 0.25 * area.radius / math.sqrt(count)
        yield (
            area.x + away * math.cos(angle) + rng.uniform(-jitter, jitter),
            area.y + away * math.sin(angle) + rng.uniform(-jitter, jitter),
            rng.uniform(0, math.tau),
        )


# --- ingredients: layers that the others lie on ---


def _layer(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    colour = vary(rng, look.colour)
    pen.polygon(_uneven(rng, 0, 0, look.size, 0.012, 5), shade(colour, 0.82))
    pen.polygon(_uneven(rng, 0, 0, look.size * 0.95, 0.012, 4), colour)
    for x, y, _ in _spots(rng, Look(_layer, colour, 0, 9), Area(0, 0, look.size * 0.8)):
        pen.polygon(oval(x, y, 0.1, 0.06), (*vary(rng, colour, 0.12), 120))


def _crust(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    colour = vary(rng, look.colour)
    waves = look.count
    pen.polygon(_uneven(rng, 0, 0, look.size, 0.025, waves), shade(colour, 0.8), shadow=0.05)
    pen.polygon(_uneven(rng, 0, 0, look.size * 0.95, 0.02, waves), colour)
    for _ in range(9):
        angle, away = rng.uniform(0, math.tau), look.size * 0.9
        brown = (*shade(look.second, rng.uniform(0.8, 1.1)), 130)
        spot = (away * math.cos(angle), away * math.sin(angle))
        pen.polygon(oval(*spot, 0.09, 0.04, angle + math.pi / 2), brown)


def _bread(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    colour = vary(rng, look.colour)
    pen.polygon(square(0, 0, look.size, 0, 0.4), shade(look.second, 0.95), shadow=0.06)
    pen.polygon(square(0, 0, look.size * 0.91, 0, 0.4), colour)
    for x, y, angle in _spots(rng, Look(_bread, colour, 0, 22), Area(0, 0, look.size * 0.85)):
        pen.polygon(oval(x, y, 0.03, 0.02, angle), shade(colour, 0.88))


def _stack(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for step in (2, 1, 0):
        colour, x, y = vary(rng, look.colour), 0.05 * step, 0.06 * step
        pen.polygon(_uneven(rng, x, y, look.size, 0.01, 3), look.second, shadow=0.04)
        pen.polygon(_uneven(rng, x, y, look.size * 0.93, 0.01, 3), colour)
    pen.polygon(_uneven(rng, 0, 0, look.size * 0.75, 0.02, 4), (*shade(look.second, 1.25), 110))


def _scoops(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    start = rng.uniform(0, math.tau)
    for number in range(look.count):
        angle = start + math.tau * number / look.count
        x, y, colour = 0.31 * math.cos(angle), 0.31 * math.sin(angle), vary(rng, look.colour, 0.05)
        pen.polygon(_uneven(rng, x, y, look.size, 0.03, 9), shade(colour, 0.84), shadow=0.05)
        pen.polygon(_uneven(rng, x - 0.03, y - 0.03, look.size * 0.82, 0.02, 7), colour)
        pen.polygon(oval(x - 0.1, y - 0.1, 0.09, 0.06, 2.3), (255, 255, 255, 110))


def _mound(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    heap = Area(-0.36, -0.1, 0.34)
    pen.polygon(_uneven(rng, *heap, 0.05, 6), shade(look.colour, 0.86), shadow=0.04)
    for x, y, angle in _spots(rng, look, heap):
        pen.polygon(oval(x, y, look.size, look.size * 0.45, angle), vary(rng, look.colour, 0.08))


def _strands(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for _ in range(look.count):
        slope, offset, phase = rng.uniform(0, math.pi), rng.uniform(-0.5, 0.5), rng.uniform(0, 6)
        cos, sin, half = math.cos(slope), math.sin(slope), math.sqrt(0.42 - offset * offset)
        line = []
        for step in range(11):
            u = half * (step / 5 - 1)
            v = offset + 0.06 * math.sin(phase + step)
            line.append((u * cos - v * sin, u * sin + v * cos))
        pen.line(line, look.size * 1.5, shade(look.colour, 0.72))
        pen.line(line, look.size, vary(rng, look.colour))


def _swirl(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    start, turns, line = rng.uniform(0, math.tau), rng.uniform(1.5, 2.3), []
    for step in range(30):
        angle, away = start + turns * math.tau * step / 29, area.radius * 0.95 * (step + 1) / 30
        line.append((area.x + away * math.cos(angle), area.y + away * math.sin(angle)))
    pen.line(line, look.size, (*look.colour, 235))


# --- ingredients: pieces strewn over the area ---


def _patches(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, _ in _spots(rng, look, area):
        radius = look.size * rng.uniform(0.75, 1.2)
        colour = vary(rng, look.colour, 0.06)
        pen.polygon(_uneven(rng, x, y, radius, 0.1, 5), shade(colour, 0.88), shadow=0.015)
        pen.polygon(_uneven(rng, x - 0.01, y - 0.01, radius * 0.8, 0.1, 4), colour)


def _frills(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, area):
        radius, colour = look.size * rng.uniform(0.8, 1.2), vary(rng, look.colour, 0.15)
        pen.polygon(_uneven(rng, x, y, radius, 0.12, 8), shade(colour, 0.75), shadow=0.03)
        pen.polygon(_uneven(rng, x, y, radius * 0.82, 0.14, 8), colour)
        u, v = radius * 0.7 * math.cos(angle), radius * 0.7 * math.sin(angle)
        pen.line([(x - u, y - v), (x + u, y + v)], 0.025, look.second)


def _rounds(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, area):
        radius, colour = look.size * rng.uniform(0.9, 1.1), vary(rng, look.colour)
        pen.polygon(oval(x, y, radius, radius * 0.92, angle), shade(colour, 0.7), shadow=0.025)
        pen.polygon(oval(x, y, radius * 0.86, radius * 0.8, angle), colour)
        for step in range(5):
            turn = angle + math.tau * step / 5
            seed = (x + radius * 0.48 * math.cos(turn), y + radius * 0.48 * math.sin(turn))
            pen.polygon(oval(*seed, radius * 0.2, radius * 0.14, turn), look.second)


def _rings(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, area):
        radius, colour = look.size * rng.uniform(0.9, 1.1), vary(rng, look.colour)
        pen.polygon(oval(x, y, radius, radius * 0.85, angle), colour, shadow=0.02)
        pen.polygon(oval(x, y, radius * 0.55, radius * 0.45, angle), look.second)


def _balls(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, _ in _spots(rng, look, area):
        radius, colour = look.size * rng.uniform(0.85, 1.15), vary(rng, look.colour, 0.15)
        pen.polygon(oval(x, y, radius), shade(colour, 0.65), shadow=0.025)
        pen.polygon(oval(x - radius * 0.1, y - radius * 0.1, radius * 0.8), colour)
        pen.polygon(oval(x - radius * 0.3, y - radius * 0.3, radius * 0.25), (*look.second, 190))


def _chunks(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, area):
        half, colour = look.size * rng.uniform(0.8, 1.15), vary(rng, look.colour)
        corners = [(angle + k * math.pi / 2 + rng.uniform(-0.2, 0.2)) for k in range(4)]
        outer = [(x + half * math.cos(a), y + half * math.sin(a)) for a in corners]
        inner = [(x + (u - x) * 0.72 - 0.01, y + (v - y) * 0.72 - 0.01) for u, v in outer]
        pen.polygon(outer, shade(colour, 0.76), shadow=0.03)
        pen.polygon(inner, shade(colour, 1.04))


def _wedges(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, area):
        colour = vary(rng, look.colour, 0.06)
        arc = [angle + 0.16 * step for step in range(-4, 5)]
        outer = [(x + look.size * math.cos(a), y + look.size * math.sin(a)) for a in arc]
        tip = (x - look.size * 0.7 * math.cos(angle), y - look.size * 0.7 * math.sin(angle))
        pen.polygon([tip, *outer], shade(colour, 0.8), shadow=0.025)
        pen.polygon([tip, *outer[1:-1]], colour)


def _leaves(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, area):
        length, colour = look.size * rng.uniform(0.85, 1.15), vary(rng, look.colour, 0.15)
        cos, sin = math.cos(angle), math.sin(angle)
        half = [(-1.0, 0.0), (-0.5, 0.42), (0.1, 0.45), (0.6, 0.25), (1.0, 0.0)]
        bare = half + [(u, -v) for u, v in half[-2:0:-1]]
        outline = [
            (x + length * (u * cos - v * sin), y + length * (u * sin + v * cos)) for u, v in bare
        ]
        pen.polygon(outline, colour, shadow=0.02)
        pen.line([outline[0], outline[4]], length * 0.14, look.second)


def _flecks(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, area):
        u, v = look.size * math.cos(angle), look.size * math.sin(angle)
        bend = (x + 0.4 * v, y - 0.4 * u)
        pen.line([(x - u, y - v), bend, (x + u, y + v)], 0.035, vary(rng, look.colour, 0.2))


def _ribbons(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    turn = rng.uniform(-0.5, 0.5)
    cos, sin = math.cos(turn), math.sin(turn)
    for number in range(look.count):
        v = area.radius * 1.7 * ((number + 0.5) / look.count - 0.5) + rng.uniform(-0.03, 0.03)
        wave = [
            (0.11 * (step - 5), v + 0.045 * math.sin(1.4 * step + number)) for step in range(11)
        ]
        colour = vary(rng, look.colour)
        line = [(x * cos - y * sin, x * sin + y * cos) for x, y in wave]
        pen.line([(x + 0.02, y + 0.03) for x, y in line], look.size, (30, 15, 5, 90))
        pen.line(line, look.size, colour)
        for offset in (-0.22, 0.22):
            stripe = [(x - offset * look.size * sin, y + offset * look.size * cos) for x, y in line]
            pen.line(stripe, look.size * 0.16, look.second)


def _mushrooms(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, area):
        r, colour, cos, sin = look.size, vary(rng, look.colour), math.cos(angle), math.sin(angle)
        cap = [(math.cos(0.35 * k), -math.sin(0.35 * k)) for k in range(10)]
        stem = [(-0.3, 0.0), (-0.35, 0.9), (0.35, 0.9), (0.3, 0.0)]
        for bare, fill in ((stem, shade(colour, 1.1)), (cap, colour)):
            outline = [(x + r * (u * cos - v * sin), y + r * (u * sin + v * cos)) for u, v in bare]
            pen.polygon(outline, fill, shadow=0.02)
            pen.line([*outline, outline[0]], 0.03, look.second)


def _shrimps(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, area):
        turns = [angle + 0.42 * step for step in range(10)]
        arc = [(x + look.size * math.cos(a), y + look.size * math.sin(a)) for a in turns]
        pen.line([(u + 0.02, v + 0.03) for u, v in arc], look.size * 0.85, (30, 15, 5, 90))
        for step in range(9):
            colour = look.colour if step % 2 else look.second
            pen.line(arc[step : step + 2], look.size * (0.9 - 0.06 * step), colour)


def _strawberries(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, area):
        r, colour, cos, sin = look.size, vary(rng, look.colour), math.cos(angle), math.sin(angle)
        bare = [(-0.7, 0.0), (-0.6, 0.6), (-0.1, 0.75), (0.5, 0.45), (1.1, 0.0)]
        bare += [(u, -v) for u, v in bare[-2:0:-1]]
        for scale, fill in ((1.0, colour), (0.5, look.second)):
            half = r * scale
            outline = [
                (x + half * (u * cos - v * sin), y + half * (u * sin + v * cos)) for u, v in bare
            ]
            pen.polygon(outline, fill, shadow=0.03 if scale == 1.0 else 0.0)


def _eggs(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in _spots(rng, look, Area(area.x, area.y, area.radius * 0.8)):
        pen.polygon(oval(x, y, look.size, look.size * 0.8, angle), look.colour, shadow=0.03)
        pen.polygon(oval(x, y, look.size * 0.52), vary(rng, look.second, 0.06))


def _wafers(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    angle = rng.uniform(0, math.tau)
    cos, sin = math.cos(angle), math.sin(angle)
    bare = [(0.05, 0.0), (0.85, -0.25), (0.85, 0.25)]
    pen.polygon([(u * cos - v * sin, u * sin + v * cos) for u, v in bare], look.colour, shadow=0.04)
    for reach in (0.3, 0.45, 0.6, 0.75):
        rib = [(reach, -0.3 * reach), (reach, 0.3 * reach)]
        pen.line([(u * cos - v * sin, u * sin + v * cos) for u, v in rib], 0.03, look.second)


_GREEN, _CREAM, _BROWN = (70, 140, 50), (252, 244, 226), (120, 70, 30)
LOOKS = {
    "bacon": Look(_ribbons, (176, 62, 48), 0.17, 3, (240, 190, 165)),
    "banana": Look(_rounds, (248, 228, 160), 0.15, 8, (225, 195, 115)),
    "basil": Look(_leaves, (52, 125, 45), 0.16, 5, (120, 180, 90)),
    "beetroot broth": Look(_layer, (150, 22, 58), 0.8),
    "blueberry": Look(_balls, (62, 70, 135), 0.085, 17, (190, 200, 240)),
    "bread": Look(_bread, (238, 212, 165), 0.68, 1, (165, 105, 55)),
    "broth": Look(_layer, (196, 140, 72), 0.8),
    "butter": Look(_chunks, (255, 232, 120), 0.17),
    "cheese": Look(_patches, (247, 205, 105), 0.17, 12),
    "cherry": Look(_balls, (150, 18, 32), 0.115, 15, (255, 200, 200)),
    "chicken": Look(_chunks, (224, 178, 120), 0.15, 7),
    "chickpeas": Look(_balls, (232, 192, 112), 0.075, 18, (255, 240, 205)),
    "chilli": Look(_flecks, (215, 30, 25), 0.09, 8),
    "chocolate sauce": Look(_swirl, (75, 38, 20), 0.11),
    "coriander": Look(_leaves, (85, 160, 60), 0.075, 10, (130, 190, 90)),
    "cream": Look(_swirl, _CREAM, 0.07),
    "croutons": Look(_chunks, (220, 165, 90), 0.1, 8),
    "cucumber": Look(_rounds, (205, 228, 160), 0.15, 6, (170, 205, 120)),
    "curry sauce": Look(_layer, (206, 92, 36), 0.76),
    "custard": Look(_layer, (248, 222, 135), 0.7),
    "dill": Look(_flecks, (75, 125, 50), 0.08, 14),
    "dough": Look(_crust, (226, 180, 115), 0.88, 5, _BROWN),
    "egg": Look(_eggs, (250, 246, 236), 0.19, 2, (245, 175, 45)),
    "feta": Look(_chunks, (250, 248, 240), 0.12, 8),
    "ham": Look(_chunks, (240, 158, 158), 0.16, 7),
    "hazelnut": Look(_balls, (170, 112, 60), 0.075, 9, (235, 200, 150)),
    "icing sugar": Look(_flecks, (255, 255, 255), 0.02, 45),
    "lettuce": Look(_frills, (122, 178, 66), 0.3, 9, (195, 222, 140)),
    "maple syrup": Look(_swirl, (150, 75, 15), 0.09),
    "mint": Look(_leaves, (60, 165, 95), 0.15, 3, (150, 215, 160)),
    "mozzarella": Look(_patches, _CREAM, 0.16, 8),
    "mushroom": Look(_mushrooms, (214, 190, 160), 0.13, 8, _BROWN),
    "noodles": Look(_strands, (244, 214, 140), 0.05, 22),
    "olives": Look(_rings, (45, 40, 48), 0.085, 7, (110, 90, 70)),
    "pancake": Look(_stack, (236, 186, 105), 0.66, 1, (172, 108, 48)),
    "parmesan": Look(_flecks, (250, 236, 180), 0.1, 12),
    "parsley": Look(_leaves, _GREEN, 0.045, 22, _GREEN),
    "pastry": Look(_crust, (214, 160, 92), 0.84, 22, (165, 105, 50)),
    "pea puree": Look(_layer, (140, 168, 60), 0.8),
    "pepperoni": Look(_rounds, (190, 48, 34), 0.14, 9, (215, 95, 65)),
    "pineapple": Look(_wedges, (252, 216, 66), 0.15, 8),
    "pork": Look(_rounds, (196, 132, 100), 0.25, 3, (232, 190, 165)),
    "pumpkin puree": Look(_layer, (226, 134, 38), 0.8),
    "pumpkin seeds": Look(_leaves, (88, 104, 52), 0.08, 12, (140, 150, 90)),
    "rice": Look(_mound, (250, 246, 235), 0.05, 40),
    "salmon": Look(_ribbons, (244, 132, 88), 0.24, 3, (255, 190, 160)),
    "shrimp": Look(_shrimps, (240, 128, 88), 0.13, 4, (252, 196, 168)),
    "spring onion": Look(_rings, (105, 172, 70), 0.055, 14, (225, 238, 190)),
    "strawberry": Look(_strawberries, (214, 36, 40), 0.15, 10, (245, 130, 120)),
    "strawberry sauce": Look(_swirl, (200, 30, 50), 0.11),
    "tomato": Look(_rounds, (214, 52, 38), 0.2, 7, (240, 140, 90)),
    "tomato puree": Look(_layer, (208, 62, 32), 0.8),
    "tomato sauce": Look(_layer, (196, 58, 34), 0.74),
    "vanilla ice cream": Look(_scoops, (250, 234, 190), 0.36, 3),
    "wafer": Look(_wafers, (222, 166, 92), 0.3, 1, (160, 105, 50)),
}
AREAS = {
    "pizza": Area(0, 0, 0.6),
    "curry": Area(0.22, 0.08, 0.42),
    "soup": Area(0, 0, 0.52),
    "noodles": Area(0, 0, 0.5),
    "salad": Area(0, 0, 0.58),
    "sandwich": Area(0, 0, 0.44),
    "tart": Area(0, 0, 0.56),
    "pancakes": Area(0, 0, 0.42),
    "ice_cream": Area(0, 0, 0.4),
}


