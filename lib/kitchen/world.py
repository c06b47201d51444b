"""The world of the kitchen: its label tree, its recipes, and the plates drawn by lot from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import yaml

PLATES_STREAM = 0


@cache
def data(name: str) -> dict:
    """Return what `<name>.yaml` beside this file says, read once."""
    return yaml.safe_load(Path(__file__).with_name(f"{name}.yaml").read_text(encoding="utf-8"))


_WORLD = data("world")
_LAYERS = tuple(data("looks")["ingredients"])  # from the bottom of a plate to the top
TREE: dict[str, dict[str, list[str]]] = {
    category: {dish: list(variants) for dish, variants in dishes.items()}
    for category, dishes in _WORLD["menu"].items()
}
_RECIPES = {  # variant: category, dish, and of what it is made
    variant: (category, dish, recipe)
    for category, dishes in _WORLD["menu"].items()
    for dish, variants in dishes.items()
    for variant, recipe in variants.items()
}
DISH_OF = {variant: dish for variant, (_, dish, _) in _RECIPES.items()}
INGREDIENTS: tuple[str, ...] = tuple(sorted(_LAYERS))


def made_of(variant: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ingredients that a variant always has, and those that may be left out."""
    *_, recipe = _RECIPES[variant]
    return tuple(recipe["always"]), tuple(recipe.get("usual", ()))


@dataclass(frozen=True)
class Plate:
    """Everything that decides one picture and its labels.

    Lengths are in shares of the picture's side, angles in degrees.
    """

    id: str  # variant and number, such as "margherita-007"
    category: str
    dish: str
    variant: str
    ingredients: tuple[str, ...]  # visible ones, from the bottom layer to the top
    table: str
    plate_shape: str  # "round", "square", "bowl" or "board"
    plate_colour: str
    distractors: tuple[str, ...]  # things beside the plate
    occlusion: str  # what lies over a part of the food, "" for nothing
    zoom: float  # radius of the plate
    shift: tuple[float, float]  # of the plate's centre, right and down
    rotation: float
    tilt: float  # height over width of the round plate as seen, 1 from straight above
    light: tuple[float, float, float]  # gains of red, green and blue
    light_from: float
    blur: float  # standard deviation
    noise: float  # standard deviation, in grey levels of 255
    seed: int  # places the ingredients

    @property
    def file(self) -> str:
        """The path of the picture in the folder `images` that `write_images` makes."""
        return f"{self.category}/{self.dish}/{self.variant}/{self.id}.png"

    def words(self, stream: int, seed: int) -> np.random.Generator:
        """Return the generator that draws words of this plate, whatever else is drawn."""
        return np.random.default_rng([seed, stream, *map(ord, self.id)])


def plates(per_variant: int, seed: int = 0) -> list[Plate]:
    """Return the plates of a kitchen, in the order of `TREE`.

    Most variants have `per_variant` plates; five rare ones have 70 % or 50 % of that, rounded, and
    at least one. Plate k of a variant is the same whatever `per_variant` is.
    """
    return [
        _plate(seed, place, number, variant)
        for place, (variant, (*_, recipe)) in enumerate(_RECIPES.items())
        for number in range(max(1, round(per_variant * recipe.get("share", 1.0))))
    ]


def _plate(seed: int, place: int, number: int, variant: str) -> Plate:
    """Return plate `number` of a variant, which has that `place` in the tree."""
    category, dish, _ = _RECIPES[variant]
    rng = np.random.default_rng([seed, PLATES_STREAM, place, number])
    shape = pick(rng, _WORLD["shapes"][dish])
    return Plate(
        id=f"{variant}-{number:03d}",
        category=category,
        dish=dish,
        variant=variant,
        ingredients=_visible(rng, dish, variant),
        table=pick(rng, _WORLD["tables"]),
        plate_shape=shape,
        plate_colour="wooden" if shape == "board" else pick(rng, _WORLD["colours"]),
        distractors=tuple(name for name in _WORLD["distractors"] if rng.random() < 0.3),
        occlusion=pick(rng, _WORLD["occlusions"]),
        zoom=_between(rng, 0.35, 0.47),
        shift=(_between(rng, -0.04, 0.04), _between(rng, -0.04, 0.04)),
        rotation=_between(rng, 0.0, 360.0),
        tilt=_between(rng, 0.84, 1.0),
        light=_light(rng),
        light_from=_between(rng, 0.0, 360.0),
        blur=_between(rng, 0.0, 0.014),
        noise=_between(rng, 2.0, 14.0),
        seed=int(rng.integers(2**31)),
    )


def _visible(rng: np.random.Generator, dish: str, variant: str) -> tuple[str, ...]:
    """Draw the visible ingredients: at most one is missing, at most one garnish is added."""
    always, usual = made_of(variant)
    missing = pick(rng, usual) if usual and rng.random() < 0.3 else ""
    names = [name for name in always + usual if name != missing]
    garnishes = [name for name in _WORLD["garnishes"][dish] if name not in always + usual]
    if rng.random() < 0.35:
        names.append(pick(rng, garnishes))
    return tuple(name for name in _LAYERS if name in names)


def _light(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw a brightness and a cast between tungsten (warm) and shade (cold)."""
    bright, warm = _between(rng, 0.64, 1.05), _between(rng, -0.18, 0.2)
    return (round(bright * (1 + warm), 4), round(bright, 4), round(bright * (1 - warm), 4))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    # Rounded, so that the frozen digest does not hang on the last bit of a platform's arithmetic.
    return round(float(rng.uniform(low, high)), 4)


def pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    """Draw one of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]
