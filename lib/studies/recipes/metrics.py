"""Scores of what a network sees on a plate: the dish and the ingredients. Rates are 0 to 1.

Each metric is a function of weights (R, N), which say how often each of R test sets holds each of N
images, and returns its R values: those that it has on images repeated so. Sets are taken in blocks,
so the memory needed does not grow with R.
"""

from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array

from studies.recipes.calibration import gaps

BLOCK = 256  # test sets at once

Metric = Callable[[np.ndarray], np.ndarray]


def dish_scores(probabilities: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Return the scores of the dishes said, by id; see `dish_metrics`."""
    return _once(dish_metrics(probabilities, true), len(true))


def ingredient_scores(
    probabilities: np.ndarray, predicted: np.ndarray, present: np.ndarray
) -> dict[str, float]:
    """Return the scores of the ingredients said, by id; see `ingredient_metrics`."""
    return _once(ingredient_metrics(probabilities, predicted, present), len(present))


def _once(metrics: dict[str, Metric], images: int) -> dict[str, float]:
    weights = np.ones((1, images))
    return {name: float(metric(weights)[0]) for name, metric in metrics.items()}


def dish_metrics(probabilities: np.ndarray, true: np.ndarray) -> dict[str, Metric]:
    """Return every metric of the dish by its id, of probabilities (N, C) and class indices (N,).

    Top-1, top-5 (all, where there are fewer classes), macro-F1 over the classes that occur in the
    truth, and the expected calibration error. Of equal probabilities the first class comes first.
    """
    images, classes = probabilities.shape
    of_true = probabilities[np.arange(images), true][:, None]
    before = np.arange(classes) < true[:, None]
    rank = ((probabilities > of_true) | ((probabilities == of_true) & before)).sum(axis=1)
    said = np.eye(classes)[probabilities.argmax(axis=1)]
    place, gap = gaps(probabilities, true)
    binned = csr_array((gap, (place, np.arange(images))))

    def ece(weights: np.ndarray) -> np.ndarray:
        return np.abs(binned @ weights.T).sum(axis=0) / weights.sum(axis=1)

    return {
        "dish_top1": _mean(rank < 1),
        "dish_top5": _mean(rank < 5),
        "dish_macro_f1": _macro_f1(said, np.eye(classes)[true]),
        "ece": _in_blocks(ece),
    }


def ingredient_metrics(
    probabilities: np.ndarray, predicted: np.ndarray, present: np.ndarray
) -> dict[str, Metric]:
    """Return every metric of the ingredients by its id, of (N, S), (N, S) bool and (N, S) bool.

    Micro-F1, macro-F1 and mean average precision (scikit-learn's) over the ingredients that occur
    in the truth, and Jaccard: the mean over images of |said and there| / |said or there|, 1 where
    both are empty. Without any ingredient in the truth, macro-F1 and mean average precision are
    nan.
    """
    both = (predicted & present).sum(axis=1).astype(np.float64)
    either = (predicted | present).sum(axis=1)

    def micro_f1(weights: np.ndarray) -> np.ndarray:
        return share(2 * (weights @ both), weights @ (both + either))

    return {
        "ingredient_micro_f1": micro_f1,
        "ingredient_macro_f1": _macro_f1(predicted, present),
        "ingredient_map": _mean_average_precision(probabilities, present),
        "jaccard": _mean(share(both, either, 1.0)),
    }


def _in_blocks(metric: Metric) -> Metric:
    """Return the metric, computed for `BLOCK` test sets at a time."""

    def blockwise(weights: np.ndarray) -> np.ndarray:
        starts = range(0, len(weights), BLOCK)
        return np.concatenate([metric(weights[start : start + BLOCK]) for start in starts])

    return blockwise


def _mean(values: np.ndarray) -> Metric:
    """Return the mean of what each image has, (N,)."""
    return lambda weights: weights @ values.astype(np.float64) / weights.sum(axis=1)


def _macro_f1(said: np.ndarray, there: np.ndarray) -> Metric:
    """Return the mean F1 over the labels that are there, of (N, L) and (N, L)."""
    hits, said, there = (
        csr_array(part.T.astype(np.float64)) for part in (said * there, said, there)
    )

    def macro_f1(weights: np.ndarray) -> np.ndarray:
        draws = np.ascontiguousarray(weights.T, dtype=np.float64)
        true = there @ draws
        f1 = share(2 * (hits @ draws), true + said @ draws)
        return _over_occurring(f1, true)

    return _in_blocks(macro_f1)


def _mean_average_precision(probabilities: np.ndarray, present: np.ndarray) -> Metric:
    """Return the mean average precision over the ingredients that are there."""
    ranked = [_ranking(*column) for column in zip(probabilities.T, present.T, strict=True)]

    def mean_average_precision(weights: np.ndarray) -> np.ndarray:
        draws = np.ascontiguousarray(weights.T, dtype=np.float64)
        true = present.T.astype(np.float64) @ draws
        found = np.zeros_like(true)
        for column, (hits, said) in enumerate(ranked):
            gained = hits @ draws
            precision = share(np.cumsum(gained, axis=0), np.cumsum(said @ draws, axis=0))
            found[column] = share((gained * precision).sum(axis=0), true[column])
        return _over_occurring(found, true)

    return _in_blocks(mean_average_precision)


def _ranking(probabilities: np.ndarray, present: np.ndarray) -> tuple[csr_array, csr_array]:
    """Return which images each step of a ranking adds, positives and all, (steps, N) each.

    A step ends at a probability that a positive has, the highest first: between them recall does
    not rise, so average precision needs no other. Images of one probability come together.
    """
    steps = np.unique(-probabilities[present])
    step = np.searchsorted(steps, -probabilities)  # the first that lets an image in
    images = np.arange(len(step))

    def added(which: np.ndarray) -> csr_array:
        places = (step[which], images[which])
        return csr_array((np.ones(len(places[0])), places), shape=(len(steps), len(step)))

    return added(present), added(step < len(steps))


def _over_occurring(values: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the mean of (L, R) values over the labels that are true anywhere, nan without one."""
    occurs = true > 0
    return share(np.where(occurs, values, 0).sum(axis=0), occurs.sum(axis=0), np.nan)


def share(part: np.ndarray, whole: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Return part / whole, and `otherwise` where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), otherwise), where=whole > 0)
