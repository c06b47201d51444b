"""The trivial baselines: what can be said of a plate without looking at it."""

import numpy as np

from studies.recipes.calibration import thresholds
from studies.recipes.model import Seen
from studies.recipes.plates import Plates


def blind(plates: Plates, parts: np.ndarray) -> Seen:
    """Return what training plates alone tell of each test plate: the same for all.

    The share of each dish, so that the most frequent one is named, and of each ingredient, named
    by thresholds chosen on validation data as those of a network are.
    """
    known, rest, test = (np.flatnonzero(parts == part) for part in ("train", "validation", "test"))
    dishes = np.bincount(plates.dish[known], minlength=len(plates.dishes)) / len(known)
    ingredients = plates.present[known].mean(0)
    limits = thresholds(np.tile(ingredients, (len(rest), 1)), plates.present[rest])
    said = np.tile(dishes, (len(test), 1))
    return Seen(
        said,
        np.tile(ingredients, (len(test), 1)),
        np.tile(ingredients > limits, (len(test), 1)),
        said,
    )
