"""What needs no network: saying of a plate what is usual, and telling variants by ingredients."""

import numpy as np

from studies.recipes.calibration import thresholds
from studies.recipes.model import Seen
from studies.recipes.readers import Plates

RARE = 0.01  # no variant has an ingredient never or always for certain


def blind(plates: Plates, parts: np.ndarray) -> Seen:
    """Return what training plates alone tell of each test plate: the same for all.

    The share of each dish, so that the most frequent one is named, and of each ingredient, named
    by thresholds chosen on validation data as those of a network are.
    """
    train, validation, test = (parts == part for part in ("train", "validation", "test"))
    dishes = np.bincount(plates.dish[train], minlength=len(plates.dishes)) / train.sum()
    ingredients = plates.present[train].mean(0)
    limits = thresholds(np.tile(ingredients, (validation.sum(), 1)), plates.present[validation])
    return Seen(
        *(np.tile(row, (test.sum(), 1)) for row in (dishes, ingredients, ingredients > limits)),
        np.tile(dishes, (test.sum(), 1)),
    )


# Which variant of a dish a plate is, when the dish is known, by ingredients or by a softmax: R3.
# Chance and the most frequent variant are what a system without any sight reaches.


def variant_scores(probabilities: np.ndarray, plates: Plates, train: np.ndarray) -> np.ndarray:
    """Return the expected log-likelihood of each variant, (N, V).

    Of ingredient probabilities p (N, S) and the share π (V, S) of each variant's plates among the
    rows `train` that have them: Σ_s p log π + (1 − p) log(1 − π).
    """
    present, variant = plates.present[train], plates.variant[train]
    profiles = [present[variant == one].mean(0) for one in range(len(plates.variants))]
    share = np.stack(profiles).clip(RARE, 1 - RARE)
    return probabilities @ np.log(share).T + (1 - probabilities) @ np.log(1 - share).T


def within_dish(scores: np.ndarray, plates: Plates, rows: np.ndarray) -> np.ndarray:
    """Return for each plate of `rows` the variant of its own dish with the highest score, (N,)."""
    dish_of = np.zeros(len(plates.variants), dtype=int)
    dish_of[plates.variant] = plates.dish
    possible = dish_of == plates.dish[rows][:, None]
    return np.where(possible, scores, -np.inf).argmax(1)
