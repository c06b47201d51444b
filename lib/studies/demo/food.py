"""The ingredients of `studies.demo`: one small drawing routine for each kind of them.

Food is drawn in the plate's own coordinates, where the plate is the unit disc; a `Pen` carries
them into the picture. Every ingredient takes its places from a generator of its own, so adding or
removing one leaves all others where they are.
"""

import math
from collections.abc import Callable
from random import Random

from studies.demo.shapes import (
    SHADOW,
    Area,
    Look,
    Pen,
    Points,
    oval,
    shade,
    spots,
    square,
    turned,
    uneven,
    vary,
)


def _layer(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    colour = vary(rng, look.colour)
    pen.polygon(uneven(rng, 0, 0, look.size, 0.012, 5), shade(colour, 0.82))
    pen.polygon(uneven(rng, 0, 0, look.size * 0.95, 0.012, 4), colour)
    for x, y, _ in spots(rng, 9, Area(0, 0, look.size * 0.8)):
        pen.polygon(oval(x, y, 0.1, 0.06), (*vary(rng, colour, 0.12), 120))


def _crust(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    colour = vary(rng, look.colour)
    pen.polygon(uneven(rng, 0, 0, look.size, 0.025, look.count), shade(colour, 0.8), shadow=0.05)
    pen.polygon(uneven(rng, 0, 0, look.size * 0.95, 0.02, look.count), colour)
    for _ in range(9):
        angle, away = rng.uniform(0, math.tau), look.size * 0.9
        spot = (away * math.cos(angle), away * math.sin(angle))
        baked = (*vary(rng, look.second), 130)
        pen.polygon(oval(*spot, 0.09, 0.04, angle + math.pi / 2), baked)


def _bread(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    colour = vary(rng, look.colour)
    pen.polygon(square(0, 0, look.size, 0, 0.4), look.second, shadow=0.06)
    pen.polygon(square(0, 0, look.size * 0.91, 0, 0.4), colour)
    for x, y, angle in spots(rng, 22, Area(0, 0, look.size * 0.85)):
        pen.polygon(oval(x, y, 0.03, 0.02, angle), shade(colour, 0.88))


def _stack(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for step in (2, 1, 0):
        colour, x, y = vary(rng, look.colour), 0.05 * step, 0.06 * step
        pen.polygon(uneven(rng, x, y, look.size, 0.01, 3), look.second, shadow=0.04)
        pen.polygon(uneven(rng, x, y, look.size * 0.93, 0.01, 3), colour)
    pen.polygon(uneven(rng, 0, 0, look.size * 0.75, 0.02, 4), (*shade(look.second, 1.25), 110))


def _scoops(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    start = rng.uniform(0, math.tau)
    for number in range(look.count):
        angle = start + math.tau * number / look.count
        x, y, colour = 0.31 * math.cos(angle), 0.31 * math.sin(angle), vary(rng, look.colour, 0.05)
        pen.polygon(uneven(rng, x, y, look.size, 0.03, 9), shade(colour, 0.84), shadow=0.05)
        pen.polygon(uneven(rng, x - 0.03, y - 0.03, look.size * 0.82, 0.02, 7), colour)
        pen.polygon(oval(x - 0.1, y - 0.1, 0.09, 0.06, 2.3), (255, 255, 255, 110))


def _mound(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    heap = Area(-0.4, -0.12, 0.3)
    pen.polygon(uneven(rng, *heap, 0.05, 6), shade(look.colour, 0.86), shadow=0.04)
    for x, y, angle in spots(rng, look.count, heap):
        pen.polygon(oval(x, y, look.size, look.size * 0.45, angle), vary(rng, look.colour, 0.08))


def _strands(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for _ in range(look.count):
        slope, offset, phase = rng.uniform(0, math.pi), rng.uniform(-0.5, 0.5), rng.uniform(0, 6)
        half = math.sqrt(0.42 - offset * offset)
        bare = [(half * (k / 5 - 1), offset + 0.06 * math.sin(phase + k)) for k in range(11)]
        line = turned(bare, 0, 0, slope)
        pen.line(line, look.size * 1.5, shade(look.colour, 0.72))
        pen.line(line, look.size, vary(rng, look.colour))


# --- what is strewn, poured or laid over the area ---


def _swirl(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    start, turns, line = rng.uniform(0, math.tau), rng.uniform(1.5, 2.3), []
    for step in range(30):
        angle, away = start + turns * math.tau * step / 29, area.radius * 0.95 * (step + 1) / 30
        line.append((area.x + away * math.cos(angle), area.y + away * math.sin(angle)))
    pen.line(line, look.size, (*look.colour, 235))


def _patches(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, _ in spots(rng, look.count, area):
        radius, colour = look.size * rng.uniform(0.75, 1.2), vary(rng, look.colour, 0.06)
        pen.polygon(uneven(rng, x, y, radius, 0.1, 5), shade(colour, 0.88), shadow=0.015)
        pen.polygon(uneven(rng, x - 0.01, y - 0.01, radius * 0.8, 0.1, 4), colour)


def _frills(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in spots(rng, look.count, area):
        radius, colour = look.size * rng.uniform(0.8, 1.2), vary(rng, look.colour, 0.15)
        pen.polygon(uneven(rng, x, y, radius, 0.12, 8), shade(colour, 0.75), shadow=0.03)
        pen.polygon(uneven(rng, x, y, radius * 0.82, 0.14, 8), colour)
        pen.line(turned([(-0.7, 0.0), (0.7, 0.0)], x, y, angle, radius), 0.025, look.second)


def _rounds(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in spots(rng, look.count, area):
        radius, colour = look.size * rng.uniform(0.9, 1.1), vary(rng, look.colour)
        pen.polygon(oval(x, y, radius, radius * 0.92, angle), shade(colour, 0.7), shadow=0.025)
        pen.polygon(oval(x, y, radius * 0.86, radius * 0.8, angle), colour)
        for step in range(5):
            turn = angle + math.tau * step / 5
            pip = turned([(0.48, 0.0)], x, y, turn, radius)[0]
            pen.polygon(oval(*pip, radius * 0.2, radius * 0.12, turn), look.second)


def _rings(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in spots(rng, look.count, area):
        radius, colour = look.size * rng.uniform(0.9, 1.1), vary(rng, look.colour)
        pen.polygon(oval(x, y, radius, radius * 0.85, angle), colour, shadow=0.02)
        pen.polygon(oval(x, y, radius * 0.55, radius * 0.45, angle), look.second)


def _balls(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, _ in spots(rng, look.count, area):
        radius, colour = look.size * rng.uniform(0.85, 1.15), vary(rng, look.colour, 0.15)
        pen.polygon(oval(x, y, radius), shade(colour, 0.65), shadow=0.025)
        pen.polygon(oval(x - radius * 0.1, y - radius * 0.1, radius * 0.8), colour)
        pen.polygon(oval(x - radius * 0.3, y - radius * 0.3, radius * 0.25), (*look.second, 190))


def _chunks(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in spots(rng, look.count, area):
        half, colour = look.size * rng.uniform(0.8, 1.15), vary(rng, look.colour)
        corners = [(k * math.pi / 2 + rng.uniform(-0.2, 0.2)) for k in range(4)]
        bare = [(math.cos(a), math.sin(a)) for a in corners]
        pen.polygon(turned(bare, x, y, angle, half), shade(colour, 0.76), shadow=0.03)
        pen.polygon(turned(bare, x - 0.01, y - 0.01, angle, half * 0.72), shade(colour, 1.04))


def _outlined(bare: Points, inner: float, drop: float) -> Callable[..., None]:
    """Return a routine that strews pieces of one outline, with a smaller one inside in `second`."""

    def strew(pen: Pen, rng: Random, look: Look, area: Area) -> None:
        for x, y, angle in spots(rng, look.count, area):
            size = look.size * rng.uniform(0.85, 1.15)
            colour = vary(rng, look.colour, 0.15)
            pen.polygon(turned(bare, x, y, angle, size), colour, shadow=drop)
            pen.polygon(turned(bare, x, y, angle, size * inner), look.second)

    return strew


def _mirrored(half: Points) -> Points:
    """Close a half outline, that begins and ends on the axis y = 0, with its mirror image."""
    return half + [(u, -v) for u, v in half[-2:0:-1]]


_LEAF = _mirrored([(-1.0, 0.0), (-0.5, 0.42), (0.1, 0.45), (0.6, 0.25), (1.0, 0.0)])
_BERRY = _mirrored([(-0.7, 0.0), (-0.6, 0.6), (-0.1, 0.75), (0.5, 0.45), (1.1, 0.0)])
_WEDGE = _mirrored([(-0.8, 0.0), (0.6, 0.75), (0.85, 0.35), (0.95, 0.0)])
_MUSHROOM = _mirrored(
    [(-1.0, 0.0), (-0.95, 0.28), (0.0, 0.3), (0.0, 1.0), (0.45, 0.85), (0.8, 0.5), (0.95, 0.0)]
)


def _flecks(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in spots(rng, look.count, area):
        bent = turned([(-1.0, 0.0), (0.0, 0.4), (1.0, 0.0)], x, y, angle, look.size)
        pen.line(bent, 0.035, vary(rng, look.colour, 0.2))


def _ribbons(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    turn = rng.uniform(-0.5, 0.5)
    for number in range(look.count):
        v = area.radius * 1.7 * ((number + 0.5) / look.count - 0.5) + rng.uniform(-0.03, 0.03)
        wave = [(0.11 * (k - 5), v + 0.045 * math.sin(1.4 * k + number)) for k in range(11)]
        pen.line(turned(wave, 0.02, 0.03, turn), look.size, SHADOW)
        pen.line(turned(wave, 0, 0, turn), look.size, vary(rng, look.colour))
        for aside in (-0.22 * look.size, 0.22 * look.size):
            stripe = [(x, y + aside) for x, y in wave]
            pen.line(turned(stripe, 0, 0, turn), look.size * 0.16, look.second)


def _shrimps(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    bare = [(math.cos(0.42 * k), math.sin(0.42 * k)) for k in range(10)]
    for x, y, angle in spots(rng, look.count, area):
        arc = turned(bare, x, y, angle, look.size)
        pen.line([(u + 0.02, v + 0.03) for u, v in arc], look.size * 0.85, SHADOW)
        for step in range(9):
            colour = look.colour if step % 2 else look.second
            pen.line(arc[step : step + 2], look.size * (0.9 - 0.06 * step), colour)


def _eggs(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    for x, y, angle in spots(rng, look.count, Area(area.x, area.y, area.radius * 0.8)):
        pen.polygon(oval(x, y, look.size, look.size * 0.8, angle), look.colour, shadow=0.03)
        pen.polygon(oval(x, y, look.size * 0.52), vary(rng, look.second, 0.06))


def _wafers(pen: Pen, rng: Random, look: Look, area: Area) -> None:
    angle = rng.uniform(0, math.tau)
    cone = turned([(0.05, 0.0), (0.85, -0.25), (0.85, 0.25)], 0, 0, angle)
    pen.polygon(cone, look.colour, shadow=0.04)
    for reach in (0.3, 0.45, 0.6, 0.75):
        rib = [(reach, -0.3 * reach), (reach, 0.3 * reach)]
        pen.line(turned(rib, 0, 0, angle), look.size, look.second)


_leaves, _mushrooms = _outlined(_LEAF, 0.35, 0.02), _outlined(_MUSHROOM, 0.6, 0.03)
_strawberries, _wedges = _outlined(_BERRY, 0.5, 0.03), _outlined(_WEDGE, 0.75, 0.025)

SHAPES: dict[str, Callable[[Pen, Random, Look, Area], None]] = {
    "balls": _balls,
    "bread": _bread,
    "chunks": _chunks,
    "crust": _crust,
    "eggs": _eggs,
    "flecks": _flecks,
    "frills": _frills,
    "layer": _layer,
    "leaves": _leaves,
    "mound": _mound,
    "mushrooms": _mushrooms,
    "patches": _patches,
    "ribbons": _ribbons,
    "rings": _rings,
    "rounds": _rounds,
    "scoops": _scoops,
    "shrimps": _shrimps,
    "stack": _stack,
    "strands": _strands,
    "strawberries": _strawberries,
    "swirl": _swirl,
    "wafers": _wafers,
    "wedges": _wedges,
}
