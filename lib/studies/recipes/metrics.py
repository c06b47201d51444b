"""Scores of what a network sees on a plate: the dish and the ingredients. Rates are 0 to 1.

Each metric is a function of weights (R, N), see `reporting.bootstrap`; its items are images. It is
computed from as little as suffices, which a run keeps: of probabilities, their order is enough.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from studies.reporting.bootstrap import Metric, macro_f1, mean, one_hot, over_occurring, share

BINS = 15  # of equal width, with their upper end


def listed(mask: np.ndarray) -> list[np.ndarray]:
    """Return where each row of (N, S) is true, N lists of places."""
    return [np.flatnonzero(row).astype(np.uint16) for row in mask]


def mask(listed: Sequence[Sequence[int]], places: int) -> np.ndarray:
    """Return (N, S) bool of N lists of places, which are below S."""
    return np.array([np.isin(range(places), row) for row in listed])


def dish_columns(probabilities: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
    """Return what is kept of probabilities (N, C) of dishes, given class indices (N,).

    `dish_said` (N,) is the likeliest dish and `dish_probability` (N,) its probability, float16;
    `dish_rank` (N,) says how many come before the true one. Of equal probabilities the first class
    comes first.
    """
    of_true = np.take_along_axis(probabilities, true[:, None], axis=1)
    before = np.arange(probabilities.shape[1]) < true[:, None]
    rank = ((probabilities > of_true) | ((probabilities == of_true) & before)).sum(axis=1)
    return {
        "dish_said": probabilities.argmax(axis=1),
        "dish_probability": probabilities.max(axis=1).astype(np.float16),
        "dish_rank": rank,
    }


def dish_metrics(frame: pd.DataFrame) -> dict[str, Metric]:
    """Return every metric of the dish by its id, of the true `dish` and `dish_columns`.

    Top-1, top-5 (all, where there are fewer classes), macro-F1 over the classes that occur in the
    truth, and the expected calibration error, equation (3): the mean over images of |accuracy -
    mean top probability| of their bin.
    """
    true, said, rank = (frame[name].to_numpy() for name in ("dish", "dish_said", "dish_rank"))
    top, classes = frame["dish_probability"].to_numpy(np.float64), max(*true, *said) + 1
    bins = np.searchsorted(np.arange(1, BINS) / BINS, top, side="left")
    gaps = csr_array(((said == true) - top, (bins, np.arange(len(top)))))

    def ece(weights: np.ndarray) -> np.ndarray:
        return np.abs(gaps @ weights.T).sum(axis=0) / weights.sum(axis=1)

    return {
        "dish_top1": mean(rank < 1),
        "dish_top5": mean(rank < 5),
        "dish_macro_f1": macro_f1(one_hot(said, classes), one_hot(true, classes)),
        "ece": ece,
    }


def ingredient_steps(probabilities: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return (N, S) how many probabilities of images that have the ingredient are not higher.

    `probabilities` and `present` (bool) are (N, S); equal ones count once. As scores they have the
    average precision of the probabilities: between two images that have the ingredient recall does
    not rise, so the order there does not matter.
    """
    columns = [
        np.searchsorted(np.unique(likely[there]), likely, side="right")
        for likely, there in zip(probabilities.T, present.T, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.uint16)


def ingredient_metrics(frame: pd.DataFrame, ingredients: int) -> dict[str, Metric]:
    """Return every metric of so many ingredients by its id.

    The columns `named` and `present` list those that are said and those that are there;
    `ingredient_steps` are those of all. Micro-F1, macro-F1 and mean average precision
    (scikit-learn's) over the ingredients that occur in the truth, and Jaccard: the mean over images
    of |said and there| / |said or there|, 1 where both are empty. Without any ingredient in the
    truth, macro-F1 and mean average precision are nan.
    """
    predicted, present = (mask(frame[column], ingredients) for column in ("named", "present"))
    both = (predicted & present).sum(axis=1).astype(np.float64)
    either = (predicted | present).sum(axis=1)
    named, there = (csr_array(part.T.astype(np.float64)) for part in (predicted, present))

    def micro_f1(weights: np.ndarray) -> np.ndarray:
        return share(2 * (weights @ both), weights @ (both + either))

    return {
        "ingredient_micro_f1": micro_f1,
        "ingredient_macro_f1": macro_f1(named, there),
        "ingredient_map": mean_average_precision(np.stack(frame["ingredient_steps"]), present),
        "jaccard": mean(share(both, either, 1.0)),
    }


def mean_average_precision(steps: np.ndarray, present: np.ndarray) -> Metric:
    """Return it over the ingredients that are there, of `ingredient_steps` and (N, S) bool."""
    there = csr_array(present.T.astype(np.float64))
    rankings = []  # of each ingredient: which images each step adds, those that have it and all
    for step, has in zip(steps.T, present.T, strict=True):
        rank, shape = step.max() - step, (step.max(), len(step))
        added = (np.flatnonzero(which) for which in (has, step > 0))
        rankings.append([csr_array((np.ones(len(k)), (rank[k], k)), shape) for k in added])

    def metric(weights: np.ndarray) -> np.ndarray:
        drawn = weights.T
        true = there @ drawn
        average_precision = np.zeros_like(true)
        for place, (hits, retrieved) in enumerate(rankings):
            gained = hits @ drawn
            precision = share(np.cumsum(gained, axis=0), np.cumsum(retrieved @ drawn, axis=0))
            average_precision[place] = share((gained * precision).sum(axis=0), true[place])
        return over_occurring(average_precision, true)

    return metric
