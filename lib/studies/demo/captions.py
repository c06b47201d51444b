"""What five people would say of a plate."""

import numpy as np

from studies.demo.world import Plate

CAPTIONS_STREAM = 1
CAPTIONS = 5  # of a plate

_NAMES = {
    "margherita": "margherita pizza",
    "pepperoni": "pepperoni pizza",
    "funghi": "mushroom pizza",
    "hawaiian": "hawaiian pizza",
    "udon": "udon noodles",
    "caprese": "caprese salad",
    "blt": "blt sandwich",
    "borscht": "borscht",
}
_GENERIC = {"ice_cream": "ice cream", "noodles": "noodle soup", "sandwich": "open sandwich"}
_TABLES = {
    "wood": "a wooden table",
    "marble": "a marble table",
    "slate": "a dark slate",
    "checked cloth": "a checked tablecloth",
    "linen": "a linen tablecloth",
    "tiles": "a tiled table",
}
_COLOURS = {"charcoal": "dark", "terracotta": "brown"}
_SHOWN = ("topped with", "with", "garnished with", "covered in")
_MANY = {
    "strawberry": "strawberries",
    "blueberry": "blueberries",
    "cherry": "cherries",
    "mushroom": "mushrooms",
    "hazelnut": "hazelnuts",
    "tomato": "tomatoes",
    "banana": "banana slices",
    "shrimp": "shrimps",
    "wafer": "a wafer",
    "egg": "an egg",
}
_BESIDE = {
    "fork": ("next to a fork", "with a fork beside it"),
    "glass": ("next to a glass", "with a glass of water behind it"),
    "napkin": ("next to a napkin", "beside a folded napkin"),
    "crumbs": ("with crumbs around it", "and some crumbs"),
}


def captions(plate: Plate, seed: int = 0) -> list[str]:
    """Return five captions of a plate, each of which mentions a part of what can be seen.

    They are the same whatever else is drawn: a stream of its own gives each plate its words.
    """
    place = [ord(letter) for letter in plate.id]
    rng = np.random.default_rng([seed, CAPTIONS_STREAM, *place])
    return [_caption(plate, rng) for _ in range(CAPTIONS)]


def _caption(plate: Plate, rng: np.random.Generator) -> str:
    name = _food(plate, rng)
    food, toppings = _article(name), _toppings(plate, name, rng)
    style = int(rng.integers(4))
    if style == 0:
        parts = [food, toppings, _on_plate(plate)]
    elif style == 1:
        parts = [food, toppings, f"on {_TABLES[plate.table]}"]
    elif style == 2:
        held = f"of {name}" if plate.plate_shape == "bowl" else f"holding {food}"
        parts = [_article(_vessel(plate)), held, f"on {_TABLES[plate.table]}"]
    else:
        parts = ["someone served", food, toppings, _on_plate(plate)]
    if plate.distractors and rng.random() < 0.4:
        thing = plate.distractors[int(rng.integers(len(plate.distractors)))]
        parts.append(_BESIDE[thing][int(rng.integers(2))])
    return " ".join(part for part in parts if part) + " ."


def _food(plate: Plate, rng: np.random.Generator) -> str:
    if rng.random() < 0.25:
        return _GENERIC.get(plate.dish, plate.dish)
    return _NAMES.get(plate.variant, plate.variant.replace("_", " "))


def _toppings(plate: Plate, name: str, rng: np.random.Generator) -> str:
    """Return up to two visible ingredients that the name does not say, those on top likelier."""
    seen = [one for one in plate.ingredients[1:] if one not in name]
    count = min(len(seen), int(rng.integers(0, 3)))
    if not count:
        return ""
    weights = np.arange(1, len(seen) + 1, dtype=float)
    chosen = sorted(rng.choice(len(seen), count, replace=False, p=weights / weights.sum()))
    names = " and ".join(_MANY.get(seen[i], seen[i]) for i in chosen)
    return f"{_SHOWN[int(rng.integers(len(_SHOWN)))]} {names}"


def _vessel(plate: Plate) -> str:
    if plate.plate_shape == "board":
        return "wooden board"
    colour = _COLOURS.get(plate.plate_colour, plate.plate_colour)
    shape = {"bowl": "bowl", "square": "square plate", "round": "plate"}[plate.plate_shape]
    return f"{colour} {shape}"


def _on_plate(plate: Plate) -> str:
    return f"{'in' if plate.plate_shape == 'bowl' else 'on'} {_article(_vessel(plate))}"


def _article(noun: str) -> str:
    """Return a noun with its article; soups, noodles and other masses have none."""
    masses = ("soup", "curry", "ramen", "borscht", "cream", "pancakes", "noodles")
    if noun.split()[-1] in masses:
        return noun
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"
