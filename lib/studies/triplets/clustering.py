"""How the embedding space groups test images, without a classifier.

k-means with as many clusters as labels, compared with the labels by normalised mutual information
(A. Strehl, J. Ghosh, JMLR 3, 2002; arithmetic mean of the entropies) and the adjusted Rand index
(L. Hubert, P. Arabie, J. Classification 2, 1985); and recall@k, the share of images that have one
of their own class among their k nearest others (H. Jégou et al., TPAMI 33, 2011).
"""

import warnings

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

BLOCK = 512  # images whose distances to all others are held at once


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
