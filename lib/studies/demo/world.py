"""The world of the kitchen: its label tree, its recipes, and the plates drawn by lot from them."""

from dataclasses import dataclass

import numpy as np

from studies.demo.looks import LOOKS
from studies.paths import StudyError

PLATES_STREAM = 0

TREE: dict[str, dict[str, list[str]]] = {
    "main": {
        "pizza": ["margherita", "pepperoni", "funghi", "hawaiian"],
        "curry": ["chicken_curry", "chickpea_curry"],
    },
    "bowl": {
        "soup": ["tomato_soup", "pumpkin_soup", "pea_soup", "borscht"],
        "noodles": ["ramen", "udon"],
    },
    "cold_plate": {
        "salad": ["caprese", "greek_salad", "caesar_salad"],
        "sandwich": ["blt", "salmon_toast"],
    },
    "sweet": {
        "tart": ["strawberry_tart", "cherry_tart", "blueberry_tart"],
        "pancakes": ["blueberry_pancakes", "banana_pancakes"],
        "ice_cream": ["strawberry_sundae", "chocolate_sundae"],
    },
}

# Before the bar: what makes the variant, on every plate of it; behind: what a cook may leave out.
_RECIPES = {
    "margherita": "dough, tomato sauce, mozzarella, basil |",
    "pepperoni": "dough, tomato sauce, cheese, pepperoni |",
    "funghi": "dough, tomato sauce, mushroom | mozzarella",
    "hawaiian": "dough, tomato sauce, pineapple | cheese, ham",
    "chicken_curry": "curry sauce, chicken | rice, coriander",
    "chickpea_curry": "curry sauce, chickpeas | rice, coriander",
    "tomato_soup": "tomato puree | cream, basil",
    "pumpkin_soup": "pumpkin puree | cream, pumpkin seeds",
    "pea_soup": "pea puree | cream, croutons",
    "borscht": "beetroot broth | cream, dill",
    "ramen": "broth, noodles, pork | egg, spring onion",
    "udon": "broth, noodles, shrimp | egg, spring onion",
    "caprese": "tomato, mozzarella | basil",
    "greek_salad": "lettuce, feta, cucumber | tomato, olives",
    "caesar_salad": "lettuce, chicken | croutons, parmesan",
    "blt": "bread, bacon | lettuce, tomato",
    "salmon_toast": "bread, salmon | cucumber, dill",
    "strawberry_tart": "pastry, custard, strawberry |",
    "cherry_tart": "pastry, cherry jam, cherry |",
    "blueberry_tart": "pastry, custard, blueberry |",
    "blueberry_pancakes": "pancake, blueberry | maple syrup, butter",
    "banana_pancakes": "pancake, banana | maple syrup, butter",
    "strawberry_sundae": "vanilla ice cream, strawberry | strawberry sauce, wafer",
    "chocolate_sundae": "vanilla ice cream, chocolate sauce | hazelnut, wafer",
}
_GARNISHES = {
    "pizza": ("basil", "olives", "chilli"),
    "curry": ("cream", "chilli", "basil"),
    "soup": ("croutons", "chickpeas", "chilli"),
    "noodles": ("chilli", "coriander", "mushroom"),
    "salad": ("olives", "parsley", "egg"),
    "sandwich": ("egg", "olives", "parsley"),
    "tart": ("mint", "icing sugar", "blueberry"),
    "pancakes": ("mint", "icing sugar", "hazelnut"),
    "ice_cream": ("mint", "icing sugar", "blueberry"),
}
_SHAPES = {
    "pizza": ("round", "square", "board"),
    "curry": ("bowl", "bowl", "round"),
    "soup": ("bowl",),
    "noodles": ("bowl",),
    "salad": ("round", "square", "bowl"),
    "sandwich": ("round", "square", "board"),
    "tart": ("round", "square", "board"),
    "pancakes": ("round", "square"),
    "ice_cream": ("bowl", "bowl", "round"),
}
_COLOURS = ("white", "cream", "blue", "charcoal", "terracotta", "green")
_TABLES = ("wood", "marble", "slate", "checked cloth", "linen", "tiles")
_DISTRACTORS = ("fork", "glass", "napkin", "crumbs")
_OCCLUSIONS = ("", "", "napkin", "fork", "shadow", "glare")
_SHARES = {"hawaiian": 0.7, "chickpea_curry": 0.5, "borscht": 0.7, "udon": 0.7, "cherry_tart": 0.7}


def made_of(variant: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the ingredients that a variant always has, and those that may be left out."""
    always, usual = _RECIPES[variant].split("|")
    return (
        tuple(name.strip() for name in always.split(",")),
        tuple(name.strip() for name in usual.split(",") if name.strip()),
    )


_VARIANTS = [
    (category, dish, variant)
    for category, dishes in TREE.items()
    for dish, variants in dishes.items()
    for variant in variants
]
DISH_OF = {variant: dish for _, dish, variant in _VARIANTS}
INGREDIENTS: tuple[str, ...] = tuple(sorted(LOOKS))


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


def plates(per_variant: int, seed: int = 0) -> list[Plate]:
    """Return the plates of a kitchen, in the order of `TREE`.

    Most variants have `per_variant` plates; five rare ones have 70 % or 50 % of that, rounded, and
    at least one. Plate k of a variant is the same whatever `per_variant` is.

    Raises `StudyError` if `per_variant` is below one or `seed` below zero.
    """
    if per_variant < 1 or seed < 0:
        raise StudyError(
            f"the demo kitchen cannot have per_variant={per_variant}, seed={seed}: "
            "ask for at least one plate a variant, and a seed of 0 or more"
        )
    return [
        _plate(seed, place, number)
        for place, (_, _, variant) in enumerate(_VARIANTS)
        for number in range(max(1, round(per_variant * _SHARES.get(variant, 1.0))))
    ]


def _plate(seed: int, place: int, number: int) -> Plate:
    """Return plate `number` of the variant at `place` of the tree."""
    category, dish, variant = _VARIANTS[place]
    rng = np.random.default_rng([seed, PLATES_STREAM, place, number])
    shape = pick(rng, _SHAPES[dish])
    return Plate(
        id=f"{variant}-{number:03d}",
        category=category,
        dish=dish,
        variant=variant,
        ingredients=_visible(rng, dish, variant),
        table=pick(rng, _TABLES),
        plate_shape=shape,
        plate_colour="wooden" if shape == "board" else pick(rng, _COLOURS),
        distractors=tuple(name for name in _DISTRACTORS if rng.random() < 0.3),
        occlusion=pick(rng, _OCCLUSIONS),
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
    garnishes = [name for name in _GARNISHES[dish] if name not in always + usual]
    if rng.random() < 0.35:
        names.append(pick(rng, garnishes))
    return tuple(name for name in LOOKS if name in names)


def _light(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw a brightness and a cast between tungsten (warm) and shade (cold)."""
    bright, warm = _between(rng, 0.64, 1.05), _between(rng, -0.18, 0.2)
    return (round(bright * (1 + warm), 4), round(bright, 4), round(bright * (1 - warm), 4))


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    # Rounded, so that the frozen digest does not hang on the last bit of a platform's arithmetic.
    return round(float(rng.uniform(low, high)), 4)


def pick(rng: np.random.Generator, options: tuple[str, ...] | list[str]) -> str:
    """Draw one of the options, all equally likely."""
    return options[int(rng.integers(len(options)))]
