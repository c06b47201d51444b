"""Which captions describe the class of their image, and how much each of them counts."""

from typing import Annotated, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from studies.runs.params import Block, Positive

Curve = Literal["linear", "rank", "power"]
Unit = Annotated[float, Field(ge=0, le=1)]

BELOW_MEAN = "its class is less probable than the classes are on average"
BELOW_THRESHOLD = "its class is less probable than {threshold:g}"


class Filter(Block):
    """The filter's thresholds and the curve of the coefficients, see `relevance`."""

    threshold: Unit
    sure: Unit
    bonus: Unit
    curve: Curve
    exponent: Positive  # of the curve `power`
    lowest: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        highest, base = self.sure + self.bonus, self.threshold + self.bonus
        self.refuse(
            self.threshold > self.sure or highest > 1 or base >= 1,
            "threshold must not be above sure, sure + bonus not above 1, and threshold + bonus "
            "must be below 1",
        )
        return self


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
    settings = Filter(
        threshold=threshold, sure=sure, bonus=bonus, curve=curve, exponent=exponent, lowest=lowest
    )
    return decide(*own_and_mean(probabilities, targets), settings)


def own_and_mean(probabilities: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the filter needs of a matrix (N, C): P (N,) and the mean of each row (N,).

    Rows do not depend on each other, so that a long matrix can be reduced block by block. Raises
    ValueError as `relevance` does.
    """
    probabilities, targets = np.asarray(probabilities), np.asarray(targets)
    if probabilities.ndim != 2 or targets.shape != probabilities.shape[:1]:
        raise ValueError(
            "probabilities must be (N, C) and targets (N,), not "
            f"{probabilities.shape} and {targets.shape}"
        )
    if not np.isin(targets, np.arange(probabilities.shape[1])).all():
        raise ValueError(f"targets must be 0 to {probabilities.shape[1] - 1}")
    # nan is neither: it makes both comparisons false
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must be 0 to 1")
    own = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    # rounding may lift a mean of equal values above them, and no mean exceeds the largest
    mean = probabilities.mean(axis=1, dtype=np.float64)
    return own, np.minimum(mean, probabilities.max(axis=1))


def decide(own: np.ndarray, mean: np.ndarray, settings: Filter) -> pd.DataFrame:
    """Return what `relevance` does, of what `own_and_mean` gave."""
    below_mean, below_threshold = own < mean, own < settings.threshold
    kept = ~(below_mean | below_threshold)
    coefficient = np.full(len(own), np.nan)
    if settings.curve == "rank":
        distinct, place = np.unique(own[kept], return_inverse=True)
        steps = (distinct <= settings.sure).sum() + 1
        coefficient[kept] = np.minimum(place + 1, steps) / steps
    else:
        value = np.where(own[kept] > settings.sure, 1.0, own[kept] + settings.bonus)
        base = settings.threshold + settings.bonus
        even = (value - base) / (1 - base)
        exponent = settings.exponent if settings.curve == "power" else 1
        coefficient[kept] = np.maximum(even**exponent, settings.lowest)
    threshold = BELOW_THRESHOLD.format(threshold=settings.threshold)
    reason = np.where(below_mean, BELOW_MEAN, np.where(below_threshold, threshold, ""))
    columns = {"kept": kept, "reason": reason, "probability": own, "coefficient": coefficient}
    return pd.DataFrame(columns).astype({"reason": "str"})
