"""Scores of a classifier over a label tree, and of its embedding space without a classifier.

Rates are 0 to 1, counts are counts. The space: k-means with as many clusters as labels, compared
with the labels by mutual information adjusted for chance (N. X. Vinh et al., JMLR 11, 2010; mean of
the entropies) and the adjusted Rand index (L. Hubert, P. Arabie, J. Classification 2, 1985); and
recall@k, the share of images that have one of their own class among their k nearest others
(H. Jégou et al., TPAMI 33, 2011).
"""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from studies.reporting import bootstrap
from studies.reporting.bootstrap import Metric, Whole, one_hot
from studies.runs.folder import accounted

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
    true, predicted = np.asarray(true), np.asarray(predicted)
    scores = []
    for label in included(counts, min_count):
        said, holds = predicted == label, true == label
        scores.append(2 * (said & holds).sum() / max(said.sum() + holds.sum(), 1))
    return float(np.mean(scores)) if scores else float("nan")


def severe_errors(true: ArrayLike, predicted: ArrayLike) -> int:
    """Return how many predictions have a wrong top label.

    `true` and `predicted` are (N, H) labels, top level first.
    """
    true, predicted = np.asarray(true), np.asarray(predicted)
    return int((true[:, 0] != predicted[:, 0]).sum()) if len(true) else 0


# The embedding space.


@accounted("scoring")
def clusters(embedded: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Return (N,) the k-means cluster of each embedding (N, d), the best of four starts."""
    # late: training, which needs the scores, clusters nothing
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    means = KMeans(min(number, len(embedded)), n_init=4, random_state=seed)
    with warnings.catch_warnings():
        # of a collapsed space there are fewer distinct points than clusters: its score tells
        warnings.simplefilter("ignore", ConvergenceWarning)
        return means.fit_predict(embedded)


def nearest(references: np.ndarray, classes: np.ndarray, neighbours: int) -> Any:
    """Return k-NN among embeddings (R, d) of `classes` (R,), weighted by inverse distance."""
    # late: it costs half as much as torch, and a softmax does without
    from sklearn.neighbors import KNeighborsClassifier

    knn = KNeighborsClassifier(min(neighbours, len(references)), weights="distance")
    return knn.fit(references, classes)


@accounted("scoring")
def classified(
    references: np.ndarray, classes: np.ndarray, embedded: np.ndarray, neighbours: int, seed: int
) -> dict[str, np.ndarray]:
    """Return what other classifiers on the embeddings take N images for, (N,) classes by name.

    They learn from the embeddings (R, d) of `classes` (R,) and name `embedded` (N, d). Of k-means
    each cluster has the name of most of its references. In a collapsed space all name one class.
    """
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import NearestCentroid
    from sklearn.svm import LinearSVC

    learners = {
        "centroid": NearestCentroid(),
        "logistic": LogisticRegression(C=10.0, max_iter=1000),
        "svm": LinearSVC(random_state=seed),
    }
    if not np.ptp(references, axis=0).any():  # collapsed: nothing tells one class from another
        most = np.full(len(embedded), np.bincount(classes).argmax())
        return dict.fromkeys(["neighbours", *learners, "clusters"], most)
    fitted = {"neighbours": nearest(references, classes, neighbours)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of units that are 0 throughout
        fitted |= {name: one.fit(references, classes) for name, one in learners.items()}
    named = {name: one.predict(embedded) for name, one in fitted.items()}
    number = len(np.unique(classes))
    means = KMeans(number, n_init=4, random_state=seed).fit(references.astype(np.float64))
    votes = np.zeros((number, classes.max() + 1))
    np.add.at(votes, (means.labels_, classes), 1)
    found = means.predict(embedded.astype(np.float64))
    return {**named, "clusters": votes.argmax(1)[found]}


def first_match(embedded: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return (N,) which of the other images, nearest first, is the first of the same class.

    1 is the nearest; 0 where no other image has the class. Images at the same distance come in
    their order.
    """
    from scipy.spatial.distance import cdist

    rank = np.zeros(len(embedded), dtype=np.int64)
    place = np.arange(len(embedded))
    for start in range(0, len(embedded), BLOCK):
        own = place[start : start + BLOCK]
        distances = cdist(embedded[own], embedded, "sqeuclidean")
        distances[own - start, own] = np.inf
        same = classes[own][:, None] == classes
        same[own - start, own] = False
        matches = np.take_along_axis(same, distances.argsort(1, kind="stable"), axis=1)
        rank[own] = np.where(same.any(1), matches.argmax(1) + 1, 0)
    return rank


# Every score of what a system said.


@accounted("scoring")
def scores(
    labels: np.ndarray,
    scored: Sequence[int],
    unseen: Sequence[int],
    true: np.ndarray,
    predicted: np.ndarray,
    clusters: np.ndarray,
    first_match: np.ndarray,
    others: Mapping[str, np.ndarray] = {},
) -> dict[str, Metric]:
    """Return every metric of the study by its id, each a function of weights (R, N).

    Args:
        labels: (C, H) labels of each class.
        scored: the classes that macro-F1 counts.
        unseen: the classes held out of training, for which macro-F1 and accuracy are also given.
        true: (N,) class of each test item.
        predicted: (N,) what it is taken for.
        clusters: (N, H) its k-means cluster at each level.
        first_match: (N,) see `first_match`.
        others: what `classified` says.

    """
    from sklearn.metrics import adjusted_mutual_info_score  # late, as above

    says, holds = (one_hot(classes, len(labels)) for classes in (predicted, true))
    right = labels[true] == labels[predicted]  # (N, H)
    spaces = {"": (true, clusters[:, -1]), "_level1": (labels[true, 0], clusters[:, 0])}
    metrics = {
        "macro_f1": bootstrap.macro_f1(says, holds, scored),
        "severe_errors": bootstrap.count(~right[:, 0]),
        "accuracy": bootstrap.mean(true == predicted),
        **{f"accuracy_level{k}": bootstrap.mean(level) for k, level in enumerate(right.T, 1)},
    }
    for suffix, partitions in spaces.items():
        metrics[f"ami{suffix}"] = Whole(adjusted_mutual_info_score(*partitions))
        metrics[f"ari{suffix}"] = bootstrap.adjusted_rand(*partitions)
    for k in (1, 5):
        matched = np.where(first_match > 0, first_match <= k, np.nan)
        metrics[f"recall_at_{k}"] = bootstrap.mean(matched)
    for name, classes in others.items():
        says_other = one_hot(classes, len(labels))
        metrics[f"macro_f1_{name}"] = bootstrap.macro_f1(says_other, holds, scored)
    if len(unseen):
        alone = np.isin(true, unseen)
        among = sorted(set(scored) & set(unseen))
        on_unseen = bootstrap.macro_f1(says * alone, holds * alone, among)
        metrics["unseen_macro_f1"] = on_unseen
        metrics["unseen_accuracy"] = bootstrap.mean(np.where(alone, true == predicted, np.nan))
    return metrics
