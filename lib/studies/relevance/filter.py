"""Which captions describe the class of their image, and how much each of them counts."""

from typing import Literal

import numpy as np
import pandas as pd

Curve = Literal["linear", "rank", "power"]

BELOW_MEAN = "its class is less probable than the classes are on average"
BELOW_THRESHOLD = "its class is less probable than {threshold:g}"


def relevance(
    probabilities: np.ndarray,
    targets: np.ndarray,
    *,
    threshold: float = 0.5,
    sure: float = 0.9,
    bonus: float = 0.1,
    curve: Curve = "linear",
    exponent: float = 2.0,
    lowest: float = 0.001,
) -> pd.DataFrame:
    """Return what the filter says of each of N captions: kept, reason, probability, coefficient.

    `probabilities` (N, C) are those of all classes, and `targets` (N,) say which class a caption is
    of; P is the probability of that class, 0 to 1. A caption is dropped, the first reason given,
    where P is below the mean of its row, or below `threshold`. The reason of a kept one is empty,
    the coefficient of a dropped one nan.

    Of a kept caption, v is 1 where P > `sure`, else P + `bonus`, so v lies in [b, 1] with
    b = `threshold` + `bonus`. Its coefficient lies in (0, 1] by one of three curves: `linear` is
    u = (v - b) / (1 - b), `power` is u ** `exponent`, and neither is below `lowest`, which is that
    of P = `threshold`. `rank` is 1 where P > `sure`; below, the distinct P of this call, in
    ascending order, go up in equal steps to just below 1, so equal P have equal coefficients.

    Raises ValueError for arrays that do not fit each other, probabilities outside 0 to 1, targets
    that are no class, and parameters outside 0 <= threshold <= sure <= 1, 0 <= bonus,
    threshold + bonus < 1, sure + bonus <= 1, 0 < exponent, 0 < lowest <= 1.
    """
    own, mean = own_and_mean(probabilities, targets)
    return decide(
        own,
        mean,
        threshold=threshold,
        sure=sure,
        bonus=bonus,
        curve=curve,
        exponent=exponent,
        lowest=lowest,
    )


def own_and_mean(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the filter needs of a matrix (N, C): P (N,) and the mean of each row (N,).

    Rows do not depend on each other, so that a long matrix can be reduced block by block. Raises
    ValueError as `relevance` does.
    """
    probabilities, targets = np.asarray(probabilities), np.asarray(targets)
    _check_arrays(probabilities, targets)
    if not len(targets):
        return np.zeros(0), np.zeros(0)
    own = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    # rounding may lift a mean of equal values above them, and no mean exceeds the largest
    mean = np.minimum(probabilities.mean(axis=1, dtype=np.float64), probabilities.max(axis=1))
    return own, mean


def decide(
    own: np.ndarray,
    mean: np.ndarray,
    *,
    threshold: float,
    sure: float,
    bonus: float,
    curve: Curve,
    exponent: float,
    lowest: float,
) -> pd.DataFrame:
    """Return what `relevance` does, of what `own_and_mean` gave."""
    _check_parameters(threshold, sure, bonus, curve, exponent, lowest)
    count = len(own)
    below_mean, below_threshold = own < mean, own < threshold
    kept = ~(below_mean | below_threshold)
    coefficient = np.full(count, np.nan)
    if curve == "rank":
        coefficient[kept] = _ranked(own[kept], sure)
    else:
        value = np.where(own[kept] > sure, 1.0, own[kept] + bonus)
        base = threshold + bonus
        even = (value - base) / (1 - base)
        coefficient[kept] = np.maximum(even ** (exponent if curve == "power" else 1), lowest)
    reasons = np.array(["", BELOW_MEAN, BELOW_THRESHOLD.format(threshold=threshold)], dtype=object)
    reason = pd.array(reasons[np.where(below_mean, 1, np.where(below_threshold, 2, 0))], "str")
    return pd.DataFrame(
        {"kept": kept, "reason": reason, "probability": own, "coefficient": coefficient}
    )


def _ranked(own: np.ndarray, sure: float) -> np.ndarray:
    """Return the coefficients of the curve `rank`."""
    distinct, place = np.unique(own, return_inverse=True)
    steps = (distinct <= sure).sum() + 1
    return np.minimum(place + 1, steps) / steps


def _check_parameters(
    threshold: float, sure: float, bonus: float, curve: str, exponent: float, lowest: float
) -> None:
    if not 0 <= threshold <= sure <= 1:
        raise ValueError(f"0 <= threshold <= sure <= 1, not {threshold} and {sure}")
    if not (bonus >= 0 and threshold + bonus < 1 and sure + bonus <= 1):
        raise ValueError(
            "bonus must not be negative, threshold + bonus must be below 1 and sure + bonus at "
            f"most 1, not {bonus} beside {threshold} and {sure}"
        )
    if curve not in ("linear", "rank", "power"):
        raise ValueError(f"curve must be 'linear', 'rank' or 'power', not {curve!r}")
    if not 0 < exponent < np.inf:
        raise ValueError(f"exponent must be above 0 and finite, not {exponent}")
    if not 0 < lowest <= 1:
        raise ValueError(f"lowest must be above 0 and at most 1, not {lowest}")


def _check_arrays(probabilities: np.ndarray, targets: np.ndarray) -> None:
    if probabilities.ndim != 2 or targets.shape != probabilities.shape[:1]:
        raise ValueError(
            "probabilities must be (N, C) and targets (N,), not "
            f"{probabilities.shape} and {targets.shape}"
        )
    if probabilities.dtype.kind not in "fiu":
        raise ValueError(f"probabilities must be numbers, not {probabilities.dtype}")
    if not len(targets):
        return
    if targets.dtype.kind not in "iu":
        raise ValueError(f"targets must be integers, not {targets.dtype}")
    classes = probabilities.shape[1]
    outside = np.flatnonzero((targets < 0) | (targets >= classes))
    if len(outside):
        row = outside[0]
        raise ValueError(f"targets must be 0 to {classes - 1}, not {targets[row]} (row {row})")
    # nan is neither: it makes both comparisons false
    low, high = probabilities.min(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(~((low >= 0) & (high <= 1)))
    if len(wrong):
        row = wrong[0]
        found = low[row] if not low[row] >= 0 else high[row]
        raise ValueError(f"probabilities must be 0 to 1, not {found} (row {row})")
