"""Scores of what a network sees on a plate: the dish and the ingredients. Rates are 0 to 1.

Each metric is a function of weights (R, N), see `reporting.bootstrap`; its items are images.
"""

import numpy as np
from scipy.sparse import csr_array

from studies.reporting.bootstrap import Metric, macro_f1, mean, one_hot, over_occurring, share

BINS = 15  # of equal width, with their upper end


def dish_metrics(probabilities: np.ndarray, true: np.ndarray) -> dict[str, Metric]:
    """Return every metric of the dish by its id, of probabilities (N, C) and class indices (N,).

    Top-1, top-5 (all, where there are fewer classes), macro-F1 over the classes that occur in the
    truth, and the expected calibration error, equation (3): the mean over images of |accuracy -
    mean top probability| of their bin. Of equal probabilities the first class comes first.
    """
    images, classes = probabilities.shape
    of_true = probabilities[np.arange(images), true][:, None]
    before = np.arange(classes) < true[:, None]
    rank = ((probabilities > of_true) | ((probabilities == of_true) & before)).sum(axis=1)
    predicted = probabilities.argmax(axis=1)
    top = probabilities.max(axis=1).astype(np.float64)
    bins = np.searchsorted(np.arange(1, BINS) / BINS, top, side="left")
    gaps = csr_array(((predicted == true) - top, (bins, np.arange(images))))

    def ece(weights: np.ndarray) -> np.ndarray:
        return np.abs(gaps @ weights.T).sum(axis=0) / weights.sum(axis=1)

    return {
        "dish_top1": mean(rank < 1),
        "dish_top5": mean(rank < 5),
        "dish_macro_f1": macro_f1(one_hot(predicted, classes), one_hot(true, classes)),
        "ece": ece,
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
    named, there = (csr_array(part.T.astype(np.float64)) for part in (predicted, present))

    def micro_f1(weights: np.ndarray) -> np.ndarray:
        return share(2 * (weights @ both), weights @ (both + either))

    return {
        "ingredient_micro_f1": micro_f1,
        "ingredient_macro_f1": macro_f1(named, there),
        "ingredient_map": _mean_average_precision(probabilities, present),
        "jaccard": mean(share(both, either, 1.0)),
    }


def _mean_average_precision(probabilities: np.ndarray, present: np.ndarray) -> Metric:
    """Return the mean average precision over the ingredients that are there."""
    ranked = [_ranking(*column) for column in zip(probabilities.T, present.T, strict=True)]
    there = csr_array(present.T.astype(np.float64))

    def mean_average_precision(weights: np.ndarray) -> np.ndarray:
        drawn = weights.T
        true = there @ drawn
        average_precision = np.zeros_like(true)
        for column, (hits, retrieved) in enumerate(ranked):
            gained = hits @ drawn
            precision = share(np.cumsum(gained, axis=0), np.cumsum(retrieved @ drawn, axis=0))
            average_precision[column] = share((gained * precision).sum(axis=0), true[column])
        return over_occurring(average_precision, true)

    return mean_average_precision


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
