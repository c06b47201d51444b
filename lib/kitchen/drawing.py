"""How plates are photographed, from the bottom up: table, plate, food, what lies over it, light."""

import math
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from kitchen.food import SHADOW, Colour, Food, Pen, Points, oval, shade, square, turned, vary
from kitchen.world import Plate, data

SUPERSAMPLING = 2


def draw(plate: Plate, size: int = 96) -> Image.Image:
    """Return the picture of a plate: RGB, `size` × `size` pixels, the same for the same plate."""
    side = SUPERSAMPLING * size
    picture = _table(plate, side)
    ground = Scene(picture, plate, rotation=0.0)
    for name in plate.distractors:
        getattr(ground, f"_{name}")(Random(f"{plate.seed} {name}"))
    Scene(picture, plate, plate.rotation).lay_plate(plate)
    food = Food(picture, plate, plate.rotation)
    for name in plate.ingredients:
        food.lay(name, plate)
    if plate.occlusion:
        getattr(ground, f"_{plate.occlusion}_over")(Random(f"{plate.seed} over"))
    return _photograph(picture.reduce(SUPERSAMPLING), plate)


def write_images(folder: Path, contents: list[Plate]) -> None:
    """Draw plates into a new folder: `images/<category>/<dish>/<variant>/<id>.png` (RGB, 96×96).

    `plates.csv` has one row a plate: `id`, `path` (from the folder), `category`, `dish`, `variant`,
    `ingredients` (joined by `;`) and `table`.
    """
    folder.mkdir()
    rows = ["id,path,category,dish,variant,ingredients,table"]  # none of which holds a comma
    for plate in contents:
        path = f"images/{plate.file}"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        draw(plate).save(folder / path)
        labels = (plate.category, plate.dish, plate.variant, ";".join(plate.ingredients))
        rows.append(",".join([plate.id, path, *labels, plate.table]))
    (folder / "plates.csv").write_bytes("\n".join([*rows, ""]).encode())


class Scene(Pen):
    """The plate, and by the method of its name each thing that lies beside it or over the food."""

    def lay_plate(self, plate: Plate) -> None:
        """Draw the empty plate, bowl or board."""
        colour = data("looks")["plates"][plate.plate_colour]

        def outline(half: float) -> Points:
            is_square = plate.plate_shape == "square"
            return square(0, 0, 0.97 * half, 0, 0.3) if is_square else oval(0, 0, half)

        if plate.plate_shape == "board":
            self.line([(0, 0), (1.35, 0)], 0.3, shade(colour, 0.9))
        self.polygon(outline(1.0), shade(colour, 0.85), shadow=0.07)
        self.polygon(outline(0.97), colour)
        if plate.plate_shape == "bowl":
            self.polygon(outline(0.88), shade(colour, 0.62))
            self.polygon(outline(0.82), shade(colour, 0.78))
        elif plate.plate_shape == "board":
            for v in (-0.6, -0.3, 0.0, 0.3, 0.6):
                half = math.sqrt(0.9 - v * v)
                self.line([(-half, v), (half, v)], 0.02, shade(colour, 0.85))
        else:
            self.polygon(outline(0.76), shade(colour, 0.9))
            self.polygon(outline(0.73), shade(colour, 1.03))

    # --- beside the plate ---

    def _fork(self, rng: Random) -> None:
        side, top = rng.choice((-1.06, 1.06)), rng.uniform(-0.9, -0.6)
        self._cutlery(side, top, rng.uniform(-0.1, 0.1))

    def _glass(self, rng: Random) -> None:
        x, y = _corner(rng)
        drink = rng.choice(((120, 20, 35), (235, 180, 60), (170, 205, 220)))
        self.polygon(oval(x, y, 0.3), (225, 235, 240, 170), shadow=0.06)
        self.polygon(oval(x, y, 0.24), (*drink, 210))
        self.polygon(oval(x - 0.09, y - 0.09, 0.06), (255, 255, 255, 160))

    def _napkin(self, rng: Random) -> None:
        self._cloth(rng, *_corner(rng), 0.5, rng.uniform(0, 1.5))

    def _crumbs(self, rng: Random) -> None:
        for _ in range(14):
            x, y = _corner(rng)
            x, y = x + rng.uniform(-0.3, 0.3), y + rng.uniform(-0.3, 0.3)
            crumb = oval(x, y, rng.uniform(0.015, 0.04))
            self.polygon(crumb, vary(rng, (205, 160, 100), 0.2), 0.015)

    # --- over the food ---

    def _napkin_over(self, rng: Random) -> None:
        angle = rng.uniform(0, math.tau)
        self._cloth(rng, 1.2 * math.cos(angle), 1.2 * math.sin(angle), 0.66, angle)

    def _fork_over(self, rng: Random) -> None:
        x, y = rng.uniform(-0.4, 0.4), rng.uniform(-0.1, 0.3)
        self._cutlery(x, y, rng.uniform(-0.5, 0.5))

    def _shadow_over(self, rng: Random) -> None:
        angle, edge = rng.uniform(0, math.tau), rng.uniform(-0.3, 0.3)
        half_plane = [(edge, -3.0), (3.0, -3.0), (3.0, 3.0), (edge, 3.0)]
        self.polygon(turned(half_plane, 0, 0, angle), (10, 10, 30, 105))

    def _glare_over(self, rng: Random) -> None:
        x, y, turn = rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4), rng.uniform(0, math.pi)
        for reach in (0.5, 0.4, 0.3, 0.2):
            self.polygon(oval(x, y, reach, reach * 0.6, turn), (255, 255, 250, 60))

    def _cutlery(self, x: float, y: float, slope: float) -> None:
        """Draw a fork that points up, the middle of its tines at (x, y)."""
        for shadow, colour in ((0.03, SHADOW), (0.0, (196, 200, 206))):
            x0, y0 = x + shadow, y + shadow
            self.line([(x0, y0 + 0.2), (x0 + slope, y0 + 1.9)], 0.07, colour)
            self.polygon(oval(x0, y0 + 0.2, 0.11, 0.12), colour)
            for offset in (-0.085, 0.0, 0.085):
                self.line([(x0 + offset, y0 - 0.15), (x0 + offset, y0 + 0.2)], 0.035, colour)

    def _cloth(self, rng: Random, x: float, y: float, half: float, turn: float) -> None:
        """Draw a square napkin with a seam."""
        colour = rng.choice(((215, 70, 60), (90, 130, 175), (240, 236, 225), (120, 150, 90)))
        self.polygon(square(x, y, half, turn, 0.1), colour, shadow=0.05)
        self.polygon(square(x, y, half - 0.1, turn, 0.1), shade(colour, 0.88))
        self.polygon(square(x, y, half - 0.14, turn, 0.1), colour)


def _corner(rng: Random) -> tuple[float, float]:
    """Return a place beside the plate, in a corner of the picture."""
    x = rng.choice((-1, 1)) * rng.uniform(0.9, 1.05)
    return x, rng.choice((-1, 1)) * rng.uniform(0.9, 1.1)


def _table(plate: Plate, side: int) -> Image.Image:
    """Return a square cut out of the table top at a place of the plate's own."""
    rng = Random(f"{plate.seed} table")
    top = _table_top(plate.table, side)
    x, y = rng.randrange(top.width - side), rng.randrange(top.height - side)
    cut = top.crop((x, y, x + side, y + side))
    return cut.transpose(Image.Transpose.ROTATE_90) if rng.random() < 0.5 else cut


@lru_cache(maxsize=24)
def _table_top(table: str, side: int) -> Image.Image:
    """Return a table top of 3/2 of the picture's side, drawn once a size."""
    full = side * 3 // 2
    rng = np.random.default_rng(list(table.encode()))
    down, across = np.mgrid[0:full, 0:full] * (96 / side)
    tone = _tone(table, down, across, lambda *cells: _cloud(rng, full, *cells))
    return Image.fromarray(np.clip(tone, 0, 255).astype(np.uint8))


def _cloud(rng: np.random.Generator, full: int, down: int, across: int) -> np.ndarray:
    """Return smooth noise in [0, 1], (full, full), of so many cells each way."""
    cells = Image.fromarray(rng.random((down, across)).astype(np.float32))
    return np.asarray(cells.resize((full, full), Image.Resampling.BICUBIC))


def _mix(share: np.ndarray, first: Colour, second: Colour) -> np.ndarray:
    share = np.clip(share, 0, 1)[..., None]
    return (1 - share) * np.array(first) + share * np.array(second)


def _tone(table: str, down: np.ndarray, across: np.ndarray, cloud: Callable) -> np.ndarray:
    """Return the colours of a table top, (full, full, 3)."""
    match table:
        case "wood":
            grain = _mix(0.6 * cloud(90, 4) + 0.4 * cloud(14, 2), (96, 58, 32), (182, 128, 80))
            return grain * np.where(down % 36 < 1, 0.55, 1.0)[..., None]
        case "marble":
            veins = np.abs(cloud(5, 5) + 0.35 * cloud(16, 16) - 0.68)
            return _mix(veins * 9, (168, 168, 174), (230, 228, 226)) + 12 * cloud(9, 9)[..., None]
        case "slate":
            return _mix(0.5 * cloud(8, 14) + 0.5 * cloud(70, 70), (46, 50, 56), (92, 98, 106))
        case "checked cloth":
            stripes = (down % 18 < 9).astype(float) + (across % 18 < 9)
            return _mix(stripes / 2, (240, 234, 226), (186, 44, 44)) - 14 * cloud(90, 90)[..., None]
        case "linen":
            weave = 0.5 * cloud(110, 6) + 0.5 * cloud(6, 110)
            return _mix(weave, (176, 164, 140), (226, 216, 196))
        case "tiles":
            glaze = _mix(0.6 * cloud(6, 6) + 0.4 * cloud(20, 20), (40, 104, 112), (92, 164, 164))
            grout = ((down % 28 < 1.5) | (across % 28 < 1.5))[..., None]
            return np.where(grout, np.array((206, 206, 198)), glaze)


def _photograph(scene: Image.Image, plate: Plate) -> Image.Image:
    """Return the scene as the camera sees it: out of focus, lit from one side, with noise."""
    size = scene.width
    pixels = np.asarray(scene.filter(ImageFilter.GaussianBlur(plate.blur * size)), np.float32)
    angle, ramp = math.radians(plate.light_from), np.linspace(-0.22, 0.22, size, dtype=np.float32)
    falling = 1 + ramp[None, :] * math.cos(angle) + ramp[:, None] * math.sin(angle)
    noise = np.random.default_rng(plate.seed).standard_normal((size, size, 3), dtype=np.float32)
    lit = pixels * falling[..., None] * np.array(plate.light, np.float32) + plate.noise * noise
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8))
