"""Scores of a classifier over a label tree. Rates are 0 to 1, counts are counts."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike


def included(counts: Mapping[int, int], min_count: int = 50) -> list[int]:
    """Return the classes with more than `min_count` images in the whole dataset."""
    return sorted(label for label, count in counts.items() if count > min_count)


def macro_f1(
    true: ArrayLike, predicted: ArrayLike, counts: Mapping[int, int], min_count: int = 50
) -> float:
    """Return the unweighted mean of F1 over classes with more than `min_count` images, 0 to 1.

    `true` and `predicted` are (N,) classes, all integers or all names; `counts` the images of each
    class in the whole dataset, training included. Predictions of a class left out count as misses
    of the true one. A class that is neither true nor predicted anywhere has F1 = 0. NaN without a
    class.
    """
    groups = [np.asarray(group) for group in (true, predicted, included(counts, min_count))]
    _, codes = np.unique(np.concatenate(groups), return_inverse=True)
    return f1_over(*np.split(codes, np.cumsum([len(group) for group in groups[:2]])))


def f1_over(true: np.ndarray, predicted: np.ndarray, classes: Sequence[int]) -> float:
    """Return the mean F1 over the given classes: F1 = 2·hits / (times true + times predicted)."""
    if len(classes) == 0:
        return float("nan")
    size = 1 + max(max(classes), *(int(part.max(initial=0)) for part in (true, predicted)))
    hits = np.bincount(true[true == predicted], minlength=size)
    either = np.bincount(true, minlength=size) + np.bincount(predicted, minlength=size)
    f1 = 2 * hits / np.maximum(either, 1)
    return float(f1[list(classes)].mean())


def severe_errors(true: ArrayLike, predicted: ArrayLike) -> int:
    """Return how many predictions have a wrong top label.

    `true` and `predicted` are (N, H) labels, top level first.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    return int((true[:, 0] != predicted[:, 0]).sum()) if len(true) else 0


def accuracy_by_level(true: ArrayLike, predicted: ArrayLike) -> list[float]:
    """Return for each level the share of items whose labels are right down to that level.

    `true` and `predicted` are (N, H) labels, top level first; N must not be 0.
    """
    right = np.asarray(true) == np.asarray(predicted)
    return np.logical_and.accumulate(right, axis=1).mean(axis=0).tolist()


def score(
    true: np.ndarray, predicted: np.ndarray, counts: Mapping[int, int], min_count: int
) -> dict[str, float]:
    """Return every metric of the study by its id.

    `true` and `predicted` are (N, H) label indices; the last level is the class.
    """
    levels = accuracy_by_level(true, predicted)
    return {
        "macro_f1": macro_f1(true[:, -1], predicted[:, -1], counts, min_count),
        "severe_errors": severe_errors(true, predicted),
        "accuracy": levels[-1],
        **{f"accuracy_level{level}": value for level, value in enumerate(levels, 1)},
        "n": len(true),
        "n_classes": len(included(counts, min_count)),
    }
