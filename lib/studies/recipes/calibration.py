"""From logits to decisions: how far probabilities can be trusted, and from where on they say yes.

Temperatures and thresholds are chosen on validation images. C. Guo et al., *On calibration of
modern neural networks*, ICML 2017.
"""

import math

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0  # temperatures
EVEN = 0.5  # the threshold of those who have seen nothing


def temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """Return the T for which softmax(logits / T) is likeliest, 0.05 to 20, 1 where none is better.

    `logits` are (N, C), `true` (N,) class indices.
    """
    # late: they take as long as a third of torch
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    logits = np.asarray(logits, dtype=np.float64)
    of_true = np.take_along_axis(logits, true[:, None], axis=1)[:, 0]

    def loss(warmth: float) -> float:  # convex in 1 / T
        cold = math.exp(-warmth)
        return (logsumexp(logits * cold, axis=1) - of_true * cold).mean()

    bounds = math.log(LOWEST), math.log(HIGHEST)
    best = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return math.exp(best.x) if best.fun < loss(0.0) else 1.0


def sigmoid_temperature(logits: np.ndarray, present: np.ndarray) -> float:
    """Return the T for which sigmoid(logits / T) is likeliest, 0.05 to 20.

    `logits` and `present` (bool) are (N, S). A sigmoid is a softmax over its logit and 0.
    """
    pairs = np.stack([np.zeros(logits.size), logits.ravel()], axis=1)
    return temperature(pairs, present.ravel().astype(int))


def thresholds(probabilities: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return for each ingredient above which probability it is there, (S,): that of best F1.

    `probabilities` and `present` (bool) are (N, S). Candidates lie halfway between neighbours among
    0 and the probabilities given. All ingredients together have a common threshold, that of best
    micro-F1; an ingredient takes it unless another has a better F1, and of equally good ones that
    nearest to it.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    common = _threshold(probabilities.ravel(), present.ravel(), EVEN)
    columns = zip(probabilities.T, present.T, strict=True)
    return np.array([_threshold(*column, common) for column in columns])


def _threshold(probabilities: np.ndarray, present: np.ndarray, usual: float) -> float:
    """Return the threshold of best F1, (N,), (N,): `usual` if none is better, or the nearest."""
    values = np.unique(np.r_[0.0, probabilities])
    middle = values[:-1] + np.diff(values) / 2
    # between neighbouring floats there is nothing halfway
    middle = np.where(middle < values[1:], middle, values[:-1])
    candidates = np.r_[usual, middle[np.argsort(np.abs(middle - usual), kind="stable")]]
    said, hits = (
        len(part) - np.searchsorted(np.sort(part), candidates, side="right")
        for part in (probabilities, probabilities[present])
    )
    f1 = 2 * hits / np.maximum(said + present.sum(), 1)
    return float(candidates[f1.argmax()])
