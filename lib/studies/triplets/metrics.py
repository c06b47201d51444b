"""Scores of a classifier over a label tree, and of its embedding space without a classifier.

Rates are 0 to 1, counts are counts. The space: k-means with as many clusters as labels, compared
with the labels by normalised mutual information (A. Strehl, J. Ghosh, JMLR 3, 2002; arithmetic mean
of the entropies) and the adjusted Rand index (L. Hubert, P. Arabie, J. Classification 2, 1985); and
recall@k, the share of images that have one of their own class among their k nearest others
(H. Jégou et al., TPAMI 33, 2011).
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

BLOCK = 512  # images whose distances to all others are held at once


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


# The embedding space. NMI and ARI are computed for each resample of a bootstrap, a hundred times
# faster than scikit-learn's, which check their inputs every time.


def clusters(embedded: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Return (N,) the k-means cluster of each embedding (N, d), the best of four starts."""
    means = KMeans(min(number, len(embedded)), n_init=4, random_state=seed)
    with warnings.catch_warnings():
        # of a collapsed space there are fewer distinct points than clusters: its score tells
        warnings.simplefilter("ignore", ConvergenceWarning)
        return means.fit_predict(embedded)


def first_match(embedded: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return (N,) which of the other images, nearest first, is the first of the same class.

    1 is the nearest; 0 where no other image has the class. Images at the same distance come in
    their order.
    """
    rank = np.zeros(len(embedded), dtype=np.int64)
    place = np.arange(len(embedded))
    for start in range(0, len(embedded), BLOCK):
        own = place[start : start + BLOCK]
        distances = cdist(embedded[own], embedded, "sqeuclidean")
        distances[own - start, own] = np.inf
        same = classes[own][:, None] == classes
        same[own - start, own] = False
        to_same = np.where(same, distances, np.inf)
        first, nearest = to_same.argmin(1)[:, None], to_same.min(1)[:, None]
        before = (distances < nearest) | ((distances == nearest) & (place < first))
        rank[own] = np.where(same.any(1), before.sum(1) + 1, 0)
    return rank


def recall_at(rank: np.ndarray, k: int) -> float:
    """Return the share of images with a match among the k nearest, of those that have a match."""
    having = rank > 0
    return float((rank[having] <= k).mean()) if having.any() else float("nan")


def nmi(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Return the normalised mutual information of two partitions (N,), (N,) of integers, 0 to 1."""
    joint, rows, columns = contingency(labels, clusters)
    nonzero = joint > 0
    total = joint.sum()
    expected = np.outer(rows, columns)[nonzero]
    mutual = (joint[nonzero] / total * np.log(joint[nonzero] * total / expected)).sum()
    entropies = sum(-(part / total * np.log(part / total)).sum() for part in (rows, columns))
    return float(np.clip(mutual / (entropies / 2), 0, 1)) if entropies > 0 else 1.0


def ari(labels: np.ndarray, clusters: np.ndarray) -> float:
    """Return the adjusted Rand index of two partitions (N,), (N,) of integers: 0 for chance."""
    joint, rows, columns = contingency(labels, clusters)

    def pairs(counts: np.ndarray) -> float:
        return float((counts * (counts - 1.0)).sum() / 2)

    together, in_rows, in_columns = pairs(joint), pairs(rows), pairs(columns)
    chance = in_rows * in_columns / max(pairs(joint.sum()), 1.0)
    best = (in_rows + in_columns) / 2
    return (together - chance) / (best - chance) if best != chance else 1.0


def contingency(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return how often labels meet, (R, C), and the sums of rows and columns; no empty ones."""
    width = int(second.max()) + 1
    joint = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width)
    joint = joint.reshape(-1, width)
    joint = joint[joint.any(1)][:, joint.any(0)]
    return joint, joint.sum(1), joint.sum(0)


# What a system said, and every score of it.


@dataclass(frozen=True)
class Answers:
    """What a system said of N test items: arrays whose first axis is the item.

    `true` and `predicted` (N,) are class indices, `clusters` (N, H) the k-means cluster at each
    level, `first_match` (N,) see `first_match`.
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
        "nmi": lambda a: nmi(a.true, a.clusters[:, -1]),
        "ari": lambda a: ari(a.true, a.clusters[:, -1]),
        "nmi_level1": lambda a: nmi(labels[a.true, 0], a.clusters[:, 0]),
        "ari_level1": lambda a: ari(labels[a.true, 0], a.clusters[:, 0]),
        "recall_at_1": lambda a: recall_at(a.first_match, 1),
        "recall_at_5": lambda a: recall_at(a.first_match, 5),
    }
    if len(unseen):
        among = sorted(set(scored) & set(unseen))

        def alone(score: Score) -> Score:
            return lambda a: score(a.at(np.isin(a.true, unseen)))

        found["unseen_macro_f1"] = alone(lambda a: f1_over(a.true, a.predicted, among))
        found["unseen_accuracy"] = alone(found["accuracy"])
    return found
