"""Plates of the kitchen without their pictures: what is on them, what is seen, what is written."""

import numpy as np

import kitchen
from studies.recipes import metrics

PLATES = kitchen.plates(2)
DISHES = sorted({one.dish for one in PLATES})
VARIANTS = sorted({one.variant for one in PLATES})
INGREDIENTS = sorted({name for one in PLATES for name in one.ingredients})
IDS = [f"{one.category}/{one.dish}/{one.variant}/{one.id}.png" for one in PLATES]
DISH = np.array([DISHES.index(one.dish) for one in PLATES])
VARIANT = np.array([VARIANTS.index(one.variant) for one in PLATES])
PRESENT = np.array([[name in one.ingredients for name in INGREDIENTS] for one in PLATES])
TRUTH = {
    **{"id": IDS, "cluster": np.arange(len(IDS)), "dish": DISH},
    "present": metrics.listed(PRESENT),
}
SOURCE = {"name": "kitchen", "per_variant": 2, "seed": 0}
VARIANTS_OF = [sorted(set(VARIANT[dish == DISH].tolist())) for dish in range(len(DISHES))]


def seen(sharp: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Probabilities of dishes and ingredients, those named, and variants said.

    The sharper, the more of it is right.
    """
    rng = np.random.default_rng(seed)
    logits = sharp * np.eye(len(DISHES))[DISH] + rng.normal(0, 1.5, (len(DISH), len(DISHES)))
    likely = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    ingredients = sharp * (PRESENT - 0.5) + rng.normal(size=PRESENT.shape)
    right = rng.random(len(DISH)) < 1 - 1 / (1 + sharp)
    others = [rng.choice(VARIANTS_OF[dish]) for dish in DISH]
    said = np.where(right, VARIANT, others)
    return likely, 1 / (1 + np.exp(-ingredients)), ingredients > 0, said


def eyes(sharp: float, seed: int = 0, dishes: bool = True, ingredients: bool = True) -> dict:
    """The columns of a system that looks at the plates."""
    likely, shares, named, variants = seen(sharp, seed)
    columns = {**TRUTH, "variant_said": variants, "variant": VARIANT}
    if dishes:
        columns |= metrics.dish_columns(likely, DISH)
    if ingredients:
        columns["named"] = metrics.listed(named)
        columns["ingredient_steps"] = list(metrics.ingredient_steps(shares, PRESENT))
    return columns


def cooked(place: int, ingredients: list[str]) -> str:
    """A recipe of a plate's dish that names these ingredients."""
    dish = DISHES[DISH[place]].replace("_", " ").capitalize()
    listed = ", ".join(ingredients)
    return f"{dish} of the day\n1. Prepare {listed} for {len(listed)} minutes.\n2. Serve it."


def own() -> list[list[str]]:
    """Recipes that name what is on their plate."""
    return [[cooked(place, list(one.ingredients))] for place, one in enumerate(PLATES)]


def templates() -> list[list[str]]:
    """Recipes that name what most plates of the dish have."""
    usual = [PRESENT[dish == DISH].mean(0) > 0.5 for dish in range(len(DISHES))]
    return [
        [cooked(place, [INGREDIENTS[s] for s in np.flatnonzero(usual[dish])])]
        for place, dish in enumerate(DISH)
    ]


def exchanged(seed: int = 0) -> list[list[str]]:
    """Recipes that name what is on another plate of the dish."""
    rng, order = np.random.default_rng(seed), np.arange(len(DISH))
    for dish in range(len(DISHES)):
        order[dish == DISH] = np.roll(rng.permutation(order[dish == DISH]), 1)
    return [[cooked(place, list(PLATES[other].ingredients))] for place, other in enumerate(order)]
