"""Metrics that take weights (R, N): how often each of R test sets holds each of N items.

A metric returns R values, those that it has on items repeated so. Sets are taken in blocks where
what is computed on the way is large, so that the memory needed does not grow with R.
"""

from collections.abc import Callable, Mapping

import numpy as np
from scipy.sparse import csr_array

BLOCK = 256  # test sets at once

Metric = Callable[[np.ndarray], np.ndarray]


def value(metric: Metric, items: int) -> float:
    """Return what a metric is on a test set that holds each of its items once."""
    return float(metric(np.ones((1, items)))[0])


def values(metrics: Mapping[str, Metric], items: int) -> dict[str, float]:
    """Return the `value` of each metric."""
    return {name: value(metric, items) for name, metric in metrics.items()}


def mean(values: np.ndarray) -> Metric:
    """Return the mean of what each item has, (N,), over those that have it, the others nan.

    The mean of none is nan.
    """
    values = values.astype(np.float64)
    have = ~np.isnan(values)
    filled, have = np.where(have, values, 0.0), have.astype(np.float64)
    return lambda weights: share(weights @ filled, weights @ have, np.nan)


def macro_f1(said: csr_array, there: csr_array) -> Metric:
    """Return the mean F1 over the labels that are there, of (L, N) ones and (L, N) ones.

    nan where no label is there.
    """
    hits = said.multiply(there).tocsr()

    def metric(weights: np.ndarray) -> np.ndarray:
        draws = transposed(weights)
        true = there @ draws
        f1 = share(2 * (hits @ draws), true + said @ draws)
        return over_occurring(f1, true)

    return in_blocks(metric)


def one_hot(labels: np.ndarray, number: int) -> csr_array:
    """Return the ones at the label of each item, (L, N), of numbers (N,) below `number`."""
    ones, items = np.ones(len(labels)), np.arange(len(labels))
    return csr_array((ones, (labels, items)), shape=(number, len(labels)))


def over_occurring(values: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the mean of (L, R) values over the labels that are true anywhere, nan without one."""
    occurs = true > 0
    return share(np.where(occurs, values, 0).sum(axis=0), occurs.sum(axis=0), np.nan)


def in_blocks(metric: Metric) -> Metric:
    """Return the metric, computed for `BLOCK` test sets at a time."""

    def blockwise(weights: np.ndarray) -> np.ndarray:
        starts = range(0, len(weights), BLOCK)
        return np.concatenate([metric(weights[start : start + BLOCK]) for start in starts])

    return blockwise


def transposed(weights: np.ndarray) -> np.ndarray:
    """Return weights as (N, R), laid out as products with sparse arrays want them."""
    return np.ascontiguousarray(weights.T, dtype=np.float64)


def share(part: np.ndarray, whole: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Return part / whole, and `otherwise` where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), otherwise), where=whole > 0)
