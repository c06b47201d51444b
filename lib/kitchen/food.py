"""The ingredients of the kitchen and what they are drawn with: a pen, outlines, colours, places.

Food is drawn in the plate's own coordinates, where the plate is the unit disc; a `Pen` carries
them into the picture. Every ingredient takes its places from a generator of its own, so adding or
removing one leaves all others where they are.
"""

import math
from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from PIL import Image, ImageDraw

from kitchen.world import Plate, data

Colour = Sequence[int]  # red, green and blue from 0 to 255, and opacity where there is one
Points = list[tuple[float, float]]
SHADOW = (30, 15, 5, 90)


class Area(NamedTuple):
    """The disc of the plate that an ingredient may lie in."""

    x: float
    y: float
    radius: float


class Look(NamedTuple):
    """How an ingredient looks: the method of `Food` that draws it, colours, radius, number."""

    shape: str
    colour: Colour
    size: float
    count: int = 1
    second: Colour = (255, 255, 255)


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


class Pen:
    """Draws on a picture in plate coordinates: x right, y down, turned and tilted by the camera."""

    def __init__(self, picture: Image.Image, plate: Plate, rotation: float):
        side = picture.width
        self._draw = ImageDraw.Draw(picture, "RGBA")
        self._x, self._y = (side * (0.5 + shift) for shift in plate.shift)
        self._scale, self._tilt = plate.zoom * side, plate.tilt
        self._angle = math.radians(rotation)

    def _place(self, points: Points) -> Points:
        across, down = self._scale, self._scale * self._tilt
        turning = turned(points, 0, 0, self._angle)
        return [(self._x + across * x, self._y + down * y) for x, y in turning]

    def polygon(self, points: Points, colour: Colour, shadow: float = 0.0) -> None:
        """Fill a polygon; `shadow` is how high it lies, and so how far its shadow falls."""
        placed = self._place(points)
        if shadow:
            step = shadow * self._scale
            self._draw.polygon([(x + step, y + step) for x, y in placed], SHADOW)
        self._draw.polygon(placed, tuple(colour))

    def line(self, points: Points, width: float, colour: Colour) -> None:
        """Draw an open line with round joints; `width` in plate radii."""
        pixels = max(1, round(width * self._scale))
        self._draw.line(self._place(points), tuple(colour), pixels, joint="curve")


class Food(Pen):
    """Lays ingredients on a plate, each by the method or the outline that `looks.yaml` names."""

    def lay(self, name: str, plate: Plate) -> None:
        """Draw an ingredient of a plate, within the area of its dish or as a layer of the plate."""
        looks, rng = data("looks"), Random(f"{plate.seed} {name}")
        look, area = Look(*looks["ingredients"][name]), Area(*looks["areas"][plate.dish])
        if look.shape in looks["outlines"]:
            self._outlined(rng, look, area, **looks["outlines"][look.shape])
        else:
            getattr(self, f"_{look.shape}")(rng, look, area)

    # --- layers: they fill the plate, wherever the area is ---

    def _layer(self, rng: Random, look: Look, area: Area) -> None:
        colour = vary(rng, look.colour)
        self.polygon(uneven(rng, 0, 0, look.size, 0.012, 5), shade(colour, 0.82))
        self.polygon(uneven(rng, 0, 0, look.size * 0.95, 0.012, 4), colour)
        for x, y, _ in spots(rng, 9, Area(0, 0, look.size * 0.8)):
            self.polygon(oval(x, y, 0.1, 0.06), (*vary(rng, colour, 0.12), 120))

    def _crust(self, rng: Random, look: Look, area: Area) -> None:
        colour = vary(rng, look.colour)
        self.polygon(uneven(rng, 0, 0, look.size, 0.025, look.count), shade(colour, 0.8), 0.05)
        self.polygon(uneven(rng, 0, 0, look.size * 0.95, 0.02, look.count), colour)
        for _ in range(9):
            angle, away = rng.uniform(0, math.tau), look.size * 0.9
            spot = (away * math.cos(angle), away * math.sin(angle))
            baked = (*vary(rng, look.second), 130)
            self.polygon(oval(*spot, 0.09, 0.04, angle + math.pi / 2), baked)

    def _bread(self, rng: Random, look: Look, area: Area) -> None:
        colour = vary(rng, look.colour)
        self.polygon(square(0, 0, look.size, 0, 0.4), look.second, shadow=0.06)
        self.polygon(square(0, 0, look.size * 0.91, 0, 0.4), colour)
        for x, y, angle in spots(rng, 22, Area(0, 0, look.size * 0.85)):
            self.polygon(oval(x, y, 0.03, 0.02, angle), shade(colour, 0.88))

    def _stack(self, rng: Random, look: Look, area: Area) -> None:
        for step in (2, 1, 0):
            colour, x, y = vary(rng, look.colour), 0.05 * step, 0.06 * step
            self.polygon(uneven(rng, x, y, look.size, 0.01, 3), look.second, shadow=0.04)
            self.polygon(uneven(rng, x, y, look.size * 0.93, 0.01, 3), colour)
        self.polygon(uneven(rng, 0, 0, look.size * 0.75, 0.02, 4), (*shade(look.second, 1.25), 110))

    def _scoops(self, rng: Random, look: Look, area: Area) -> None:
        start = rng.uniform(0, math.tau)
        for number in range(look.count):
            angle = start + math.tau * number / look.count
            x, y = 0.31 * math.cos(angle), 0.31 * math.sin(angle)
            colour = vary(rng, look.colour, 0.05)
            self.polygon(uneven(rng, x, y, look.size, 0.03, 9), shade(colour, 0.84), shadow=0.05)
            self.polygon(uneven(rng, x - 0.03, y - 0.03, look.size * 0.82, 0.02, 7), colour)
            self.polygon(oval(x - 0.1, y - 0.1, 0.09, 0.06, 2.3), (255, 255, 255, 110))

    def _mound(self, rng: Random, look: Look, area: Area) -> None:
        heap = Area(-0.4, -0.12, 0.3)
        self.polygon(uneven(rng, *heap, 0.05, 6), shade(look.colour, 0.86), shadow=0.04)
        for x, y, angle in spots(rng, look.count, heap):
            grain = oval(x, y, look.size, look.size * 0.45, angle)
            self.polygon(grain, vary(rng, look.colour, 0.08))

    def _strands(self, rng: Random, look: Look, area: Area) -> None:
        for _ in range(look.count):
            slope = rng.uniform(0, math.pi)
            offset, phase = rng.uniform(-0.5, 0.5), rng.uniform(0, 6)
            half = math.sqrt(0.42 - offset * offset)
            bare = [(half * (k / 5 - 1), offset + 0.06 * math.sin(phase + k)) for k in range(11)]
            line = turned(bare, 0, 0, slope)
            self.line(line, look.size * 1.5, shade(look.colour, 0.72))
            self.line(line, look.size, vary(rng, look.colour))

    # --- what is strewn, poured or laid over the area ---

    def _swirl(self, rng: Random, look: Look, area: Area) -> None:
        start, turns, line = rng.uniform(0, math.tau), rng.uniform(1.5, 2.3), []
        for step in range(30):
            angle, away = start + turns * math.tau * step / 29, area.radius * 0.95 * (step + 1) / 30
            line.append((area.x + away * math.cos(angle), area.y + away * math.sin(angle)))
        self.line(line, look.size, (*look.colour, 235))

    def _patches(self, rng: Random, look: Look, area: Area) -> None:
        for x, y, _ in spots(rng, look.count, area):
            radius, colour = look.size * rng.uniform(0.75, 1.2), vary(rng, look.colour, 0.06)
            self.polygon(uneven(rng, x, y, radius, 0.1, 5), shade(colour, 0.88), shadow=0.015)
            self.polygon(uneven(rng, x - 0.01, y - 0.01, radius * 0.8, 0.1, 4), colour)

    def _frills(self, rng: Random, look: Look, area: Area) -> None:
        for x, y, angle in spots(rng, look.count, area):
            radius, colour = look.size * rng.uniform(0.8, 1.2), vary(rng, look.colour, 0.15)
            self.polygon(uneven(rng, x, y, radius, 0.12, 8), shade(colour, 0.75), shadow=0.03)
            self.polygon(uneven(rng, x, y, radius * 0.82, 0.14, 8), colour)
            self.line(turned([(-0.7, 0.0), (0.7, 0.0)], x, y, angle, radius), 0.025, look.second)

    def _rounds(self, rng: Random, look: Look, area: Area) -> None:
        for x, y, angle in spots(rng, look.count, area):
            radius, colour = look.size * rng.uniform(0.9, 1.1), vary(rng, look.colour)
            self.polygon(oval(x, y, radius, radius * 0.92, angle), shade(colour, 0.7), shadow=0.025)
            self.polygon(oval(x, y, radius * 0.86, radius * 0.8, angle), colour)
            for step in range(5):
                turn = angle + math.tau * step / 5
                pip = turned([(0.48, 0.0)], x, y, turn, radius)[0]
                self.polygon(oval(*pip, radius * 0.2, radius * 0.12, turn), look.second)

    def _rings(self, rng: Random, look: Look, area: Area) -> None:
        for x, y, angle in spots(rng, look.count, area):
            radius, colour = look.size * rng.uniform(0.9, 1.1), vary(rng, look.colour)
            self.polygon(oval(x, y, radius, radius * 0.85, angle), colour, shadow=0.02)
            self.polygon(oval(x, y, radius * 0.55, radius * 0.45, angle), look.second)

    def _balls(self, rng: Random, look: Look, area: Area) -> None:
        for x, y, _ in spots(rng, look.count, area):
            radius, colour = look.size * rng.uniform(0.85, 1.15), vary(rng, look.colour, 0.15)
            self.polygon(oval(x, y, radius), shade(colour, 0.65), shadow=0.025)
            self.polygon(oval(x - radius * 0.1, y - radius * 0.1, radius * 0.8), colour)
            gleam = oval(x - radius * 0.3, y - radius * 0.3, radius * 0.25)
            self.polygon(gleam, (*look.second, 190))

    def _chunks(self, rng: Random, look: Look, area: Area) -> None:
        for x, y, angle in spots(rng, look.count, area):
            half, colour = look.size * rng.uniform(0.8, 1.15), vary(rng, look.colour)
            corners = [(k * math.pi / 2 + rng.uniform(-0.2, 0.2)) for k in range(4)]
            bare = [(math.cos(a), math.sin(a)) for a in corners]
            self.polygon(turned(bare, x, y, angle, half), shade(colour, 0.76), shadow=0.03)
            self.polygon(turned(bare, x - 0.01, y - 0.01, angle, half * 0.72), shade(colour, 1.04))

    def _outlined(
        self, rng: Random, look: Look, area: Area, half: Points, inner: float, drop: float
    ) -> None:
        """Strew pieces of an outline, given above its axis y = 0, with a smaller one inside."""
        bare = half + [(u, -v) for u, v in half[-2:0:-1]]
        for x, y, angle in spots(rng, look.count, area):
            size, colour = look.size * rng.uniform(0.85, 1.15), vary(rng, look.colour, 0.15)
            self.polygon(turned(bare, x, y, angle, size), colour, shadow=drop)
            self.polygon(turned(bare, x, y, angle, size * inner), look.second)

    def _flecks(self, rng: Random, look: Look, area: Area) -> None:
        for x, y, angle in spots(rng, look.count, area):
            bent = turned([(-1.0, 0.0), (0.0, 0.4), (1.0, 0.0)], x, y, angle, look.size)
            self.line(bent, 0.035, vary(rng, look.colour, 0.2))

    def _ribbons(self, rng: Random, look: Look, area: Area) -> None:
        turn = rng.uniform(-0.5, 0.5)
        for number in range(look.count):
            v = area.radius * 1.7 * ((number + 0.5) / look.count - 0.5) + rng.uniform(-0.03, 0.03)
            wave = [(0.11 * (k - 5), v + 0.045 * math.sin(1.4 * k + number)) for k in range(11)]
            self.line(turned(wave, 0.02, 0.03, turn), look.size, SHADOW)
            self.line(turned(wave, 0, 0, turn), look.size, vary(rng, look.colour))
            for aside in (-0.22 * look.size, 0.22 * look.size):
                stripe = [(x, y + aside) for x, y in wave]
                self.line(turned(stripe, 0, 0, turn), look.size * 0.16, look.second)

    def _shrimps(self, rng: Random, look: Look, area: Area) -> None:
        bare = [(math.cos(0.42 * k), math.sin(0.42 * k)) for k in range(10)]
        for x, y, angle in spots(rng, look.count, area):
            arc = turned(bare, x, y, angle, look.size)
            self.line([(u + 0.02, v + 0.03) for u, v in arc], look.size * 0.85, SHADOW)
            for step in range(9):
                colour = look.colour if step % 2 else look.second
                self.line(arc[step : step + 2], look.size * (0.9 - 0.06 * step), colour)

    def _eggs(self, rng: Random, look: Look, area: Area) -> None:
        for x, y, angle in spots(rng, look.count, Area(area.x, area.y, area.radius * 0.8)):
            self.polygon(oval(x, y, look.size, look.size * 0.8, angle), look.colour, shadow=0.03)
            self.polygon(oval(x, y, look.size * 0.52), vary(rng, look.second, 0.06))

    def _wafers(self, rng: Random, look: Look, area: Area) -> None:
        angle = rng.uniform(0, math.tau)
        cone = turned([(0.05, 0.0), (0.85, -0.25), (0.85, 0.25)], 0, 0, angle)
        self.polygon(cone, look.colour, shadow=0.04)
        for reach in (0.3, 0.45, 0.6, 0.75):
            rib = [(reach, -0.3 * reach), (reach, 0.3 * reach)]
            self.line(turned(rib, 0, 0, angle), look.size, look.second)
