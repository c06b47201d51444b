"""From logits to decisions: how far probabilities can be trusted, and from where on they say yes.

Temperatures and thresholds are chosen on validation images. C. Guo et al., *On calibration of
modern neural networks*, ICML 2017.
"""

import math
from collections.abc import Callable

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0  # temperatures
EVEN = 0.5  # the threshold of those who have seen nothing


def temperature(logits: np.ndarray, true: np.ndarray) -> float:
    """Return the T for which softmax(logits / T) is likeliest, 0.05 to 20.

    `logits` are (N, C), `true` (N,) class indices.
    """
    from scipy.special import logsumexp

    logits = np.asarray(logits, dtype=np.float64)
    of_true = logits[np.arange(len(logits)), true]
    return _likeliest(lambda cold: (logsumexp(logits * cold, axis=1) - of_true * cold).mean())


def sigmoid_temperature(logits: np.ndarray, present: np.ndarray) -> float:
    """Return the T for which sigmoid(logits / T) is likeliest, 0.05 to 20.

    `logits` and `present` (bool) are (N, S).
    """
    logits = np.asarray(logits, dtype=np.float64)
    # -log sigmoid(z) of what is there, -log sigmoid(-z) of what is not
    wrongly = np.where(present, -logits, logits)
    return _likeliest(lambda cold: np.logaddexp(0, wrongly * cold).mean())


def _likeliest(loss: Callable[[float], float]) -> float:
    """Return the temperature of least loss, a convex function of 1 / T; 1 where none is better."""
    from scipy.optimize import minimize_scalar  # late: it takes as long as a third of torch

    best = minimize_scalar(
        lambda warmth: loss(math.exp(-warmth)),
        bounds=(math.log(LOWEST), math.log(HIGHEST)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return math.exp(best.x) if best.fun < loss(1.0) else 1.0


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
    order = np.argsort(probabilities)
    values, there = probabilities[order], present[order]
    below = np.r_[0.0, values[:-1]]
    (starts,) = np.nonzero(values > below)  # a threshold is possible just before these
    total = there.sum()
    hits = total - np.r_[0, np.cumsum(there)][starts]
    f1 = 2 * hits / np.maximum(total + len(values) - starts, 1)
    chosen = probabilities > usual
    so_far = 2 * (chosen & present).sum() / max(total + chosen.sum(), 1)
    if f1.max(initial=0) <= so_far:
        return usual
    best = starts[f1 == f1.max()]
    middle = below[best] + (values[best] - below[best]) / 2
    # between neighbouring floats there is nothing halfway
    candidates = np.where(middle < values[best], middle, below[best])
    return float(candidates[np.abs(candidates - usual).argmin()])
