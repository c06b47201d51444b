"""Scores of a classifier over a label tree. Rates are 0 to 1, counts are counts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike

from studies.triplets import clustering


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


@dataclass(frozen=True)
class Answers:
    """What a system said of N test items: arrays whose first axis is the item.

    `true` and `predicted` (N,) are class indices, `clusters` (N, H) the k-means cluster at each
    level, `first_match` (N,) see `clustering.first_match`.
    """

    true: np.ndarray
    predicted: np.ndarray
    clusters: np.ndarray
    first_match: np.ndarray

    def at(self, items: np.ndarray) -> "Answers":
        """Return the answers on some items: indices, repeated or not, or a mask."""
        return Answers(*(getattr(self, field.name)[items] for field in fields(self)))


Score = Callable[[Answers], float]


def scores(labels: np.ndarray, scored: Sequence[int], unseen: Sequence[int]) -> dict[str, Score]:
    """Return every metric of the study by its id, each a function of the answers.

    `labels` (C, H) are the labels of each class, `scored` the classes that macro-F1 counts,
    `unseen` those held out of training, for which macro-F1 and accuracy are also given alone.
    """
    depth = labels.shape[1]

    def accuracy(level: int) -> Score:
        return lambda a: float((labels[a.true, level] == labels[a.predicted, level]).mean())

    found: dict[str, Score] = {
        "macro_f1": lambda a: f1_over(a.true, a.predicted, scored),
        "severe_errors": lambda a: severe_errors(labels[a.true], labels[a.predicted]),
        "accuracy": lambda a: float((a.true == a.predicted).mean()),
        **{f"accuracy_level{k + 1}": accuracy(k) for k in range(depth)},
        "nmi": lambda a: clustering.nmi(a.true, a.clusters[:, -1]),
        "ari": lambda a: clustering.ari(a.true, a.clusters[:, -1]),
        "nmi_level1": lambda a: clustering.nmi(labels[a.true, 0], a.clusters[:, 0]),
        "ari_level1": lambda a: clustering.ari(labels[a.true, 0], a.clusters[:, 0]),
        "recall_at_1": lambda a: clustering.recall_at(a.first_match, 1),
        "recall_at_5": lambda a: clustering.recall_at(a.first_match, 5),
    }
    if len(unseen):
        among = sorted(set(scored) & set(unseen))

        def alone(score: Score) -> Score:
            return lambda a: score(a.at(np.isin(a.true, unseen)))

        found["unseen_macro_f1"] = alone(lambda a: f1_over(a.true, a.predicted, among))
        found["unseen_accuracy"] = alone(found["accuracy"])
    return found
