"""How sure a number is: bootstrap intervals over test items and seeds, and paired tests.

All systems and seeds of a study are tested on the same items, so a difference between two systems
is resampled as one score: `bootstrap(lambda items, k: score_a(items, k) - score_b(items, k), …)`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.stats import binomtest

from studies.reporting import tables
from studies.reporting.tables import BOOTSTRAP


def bootstrap(
    score: Callable[[np.ndarray, int], float],
    n_items: int,
    n_seeds: int = 1,
    strata: ArrayLike | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> np.ndarray:
    """Return the scores of resampled test sets, (n_resamples,) float64.

    `score(items, k)` gives the score of seed k on the test items with the indices `items`,
    (n_items,) int64. A resample draws one set of items with replacement, the same for all seeds,
    and `n_seeds` seeds with replacement; its value is the mean score over the drawn seeds. With
    `strata`, (n_items,) class labels, items are drawn within their class, so that every resample
    holds as many items of each class as the test set.

    What is drawn depends only on the arguments other than `score`, so two calls that differ in
    `score` alone are paired.

    Raises:
        ValueError: no items, no seeds, no resamples, or `strata` of another length.
    """
    values = np.empty(n_resamples)
    for r, (items, times) in enumerate(_draws(n_items, n_seeds, strata, n_resamples, seed)):
        values[r] = sum(times[k] * score(items, int(k)) for k in np.flatnonzero(times)) / n_seeds
    return values


@lru_cache(maxsize=8)
def weights(
    n_items: int, n_seeds: int = 1, n_resamples: int = 2000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each resample holds each item, (n_resamples, n_items), and each seed.

    The draws are those of `bootstrap`. A score made of sums over items needs no loop over
    resamples: the sums are `items @ counts`. Drawing takes long, so the arrays, which are
    read-only, are kept for the next call. Raises ValueError as `bootstrap` does.
    """
    draws = list(_draws(n_items, n_seeds, None, n_resamples, seed))
    items = np.stack([np.bincount(rows, minlength=n_items) for rows, _ in draws]).astype(np.float64)
    seeds = np.stack([times for _, times in draws]).astype(np.float64)
    items.flags.writeable = seeds.flags.writeable = False
    return items, seeds


def _draws(
    n_items: int, n_seeds: int, strata: ArrayLike | None, n_resamples: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the items of each resample, (n_items,), and how often it has each seed, (n_seeds,)."""
    if min(n_items, n_seeds, n_resamples) < 1:
        raise ValueError(
            f"a bootstrap of {n_items} items, {n_seeds} seeds, {n_resamples} resamples"
        )
    labels = np.zeros(n_items, dtype=np.int64) if strata is None else np.asarray(strata)
    if labels.shape != (n_items,):
        raise ValueError(f"strata has shape {labels.shape}, expected ({n_items},)")
    # item indices sorted by class, and for each place its class's start and size
    _, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    by_class = np.argsort(codes, kind="stable")
    start, size = np.repeat([np.cumsum(counts) - counts, counts], counts, axis=1)

    # Two streams, so that the items drawn do not depend on how many seeds there are.
    item_stream, seed_stream = np.random.default_rng(seed).spawn(2)
    for _ in range(n_resamples):
        items = by_class[start + item_stream.integers(0, size)]
        yield items, np.bincount(seed_stream.integers(0, n_seeds, n_seeds), minlength=n_seeds)


def interval(samples: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap samples, (R,) -> (low, high).

    (nan, nan) if a sample is nan: a score that is undefined on some resamples has no interval.

    Raises:
        ValueError: no samples, or a level above 1.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.size == 0:
        raise ValueError("an interval needs at least one sample")
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_p(differences: ArrayLike) -> float:
    """Return the two-sided p-value of "no difference" from resampled differences, (R,) -> (0, 1].

    Twice the share of resamples on the rarer side of zero, where exact zeros count on both sides
    and the observed sample counts as one more resample: p = 2 (1 + min(#{d ≤ 0}, #{d ≥ 0})) /
    (R + 1), at most 1. It is never 0, and nan if a difference is nan.

    Raises:
        ValueError: no differences.
    """
    differences = np.asarray(differences, dtype=np.float64)
    if differences.size == 0:
        raise ValueError("a p-value needs at least one difference")
    if np.isnan(differences).any():
        return float("nan")
    rarer = min((differences <= 0).sum(), (differences >= 0).sum())
    return float(min(1.0, 2 * (1 + rarer) / (differences.size + 1)))


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    Args:
        only_first: items on which only the first system errs.
        only_second: items on which only the second system errs.

    Without a single discordant item nothing speaks against equality, and p is 1.

    Raises:
        ValueError: a negative count.
    """
    if only_first == only_second == 0:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


# Metrics that take weights (R, N): how often each of R test sets holds each of N items.
#
# A metric returns R values, those that it has on items repeated so. Sets are taken in blocks where
# what is computed on the way is large, so that the memory needed does not grow with R.


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


def macro_f1(predicted: csr_array, true: csr_array) -> Metric:
    """Return the mean F1 over the labels that are true, of (L, N) ones and (L, N) ones.

    nan where no label is true.
    """
    hits = predicted.multiply(true).tocsr()

    def metric(weights: np.ndarray) -> np.ndarray:
        draws = transposed(weights)
        occurrences = true @ draws
        f1 = share(2 * (hits @ draws), occurrences + predicted @ draws)
        return over_occurring(f1, occurrences)

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


# A metric with its values on resampled test sets: rows of a tidy table, and paired tests.


PAIR = ["first", "second", "metric", "test"]
TEST_COLUMNS = [*PAIR, "seeds", "difference", "ci_low", "ci_high", "p"]


@dataclass(frozen=True)
class Resampled:
    """A metric of one system, by seed: on the test set, and on R resampled ones, (R,) each.

    `fixed` says that chance has no part in the system, so that its one run stands against every
    seed of another. `samples` may be None for a metric that resampling would distort.
    """

    items: int | None  # in the test set; None for what is no score on one
    values: dict[int, float]
    samples: dict[int, np.ndarray] | None
    fixed: bool = False

    def row(self) -> dict[str, Any]:
        """Return n, mean, std over seeds, number of seeds and 95 % interval, for `tables.tidy`."""
        values = list(self.values.values())
        low, high = None, None
        if self.samples is not None:
            low, high = interval(over_seeds(list(self.samples.values())))
        return {
            "n": self.items,
            "mean": float(np.mean(values)),
            "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
            "n_seeds": len(values),
            "ci_low": low,
            "ci_high": high,
        }


def summary(
    study: str,
    dataset: str,
    resampled: Mapping[str, Mapping[str, Resampled]],
    published: Mapping[str, Mapping[str, float]] | None = None,
) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric.

    `resampled` gives for each system its metrics by id, `published` for each model what was
    published of it, which is not of its variants.
    """
    rows = []
    for system, metrics in resampled.items():
        model, _, variant = system.partition("@")
        known = {} if variant else (published or {}).get(model, {})
        names = {"study": study, "dataset": dataset, "model": model, "variant": variant}
        for metric, one in metrics.items():
            rows.append({**names, "metric": metric, **one.row(), "published": known.get(metric)})
    return tables.tidy(rows)


def paired_tests(*groups: Mapping[str, Mapping[str, Resampled]]) -> pd.DataFrame:
    """Return the paired tests of every two systems of a group, in every metric that both have.

    A group gives for each system its metrics by id. One row a test, of second minus first, with
    the columns `TEST_COLUMNS`.
    """
    rows = [
        {"first": first, "second": second, "metric": metric, **test}
        for group in groups
        for (first, a), (second, b) in combinations(group.items(), 2)
        for metric in a
        if metric in b and (test := paired(a[metric], b[metric])) is not None
    ]
    return pd.DataFrame(rows, columns=TEST_COLUMNS)


def paired(first: Resampled, second: Resampled) -> dict[str, Any] | None:
    """Return the paired bootstrap of second minus first over the seeds that both were run with.

    None when they have no seed in common, or the metric was not resampled.
    """
    pairs = matched(first, second)
    if first.samples is None or second.samples is None or not pairs:
        return None
    samples = over_seeds([second.samples[b] - first.samples[a] for a, b in pairs])
    low, high = interval(samples)
    return {
        "test": BOOTSTRAP,
        "seeds": len(pairs),
        "difference": float(np.mean([second.values[b] - first.values[a] for a, b in pairs])),
        "ci_low": low,
        "ci_high": high,
        "p": bootstrap_p(samples),
    }


def matched(first: Resampled, second: Resampled) -> list[tuple[int, int]]:
    """Return which seed of the first stands against which of the second."""
    a, b = list(first.values), list(second.values)
    if first.fixed and not second.fixed:
        return [(a[0], seed) for seed in sorted(b)]
    if second.fixed:
        return [(seed, b[0]) for seed in sorted(a)]
    return [(seed, seed) for seed in sorted(set(a) & set(b))]


def over_seeds(samples: list[np.ndarray]) -> np.ndarray:
    """Return the mean over the seeds that each resample draws, (R,), of K arrays (R,)."""
    if len(samples) == 1:
        return samples[0]
    # which seeds are drawn does not depend on the items, so one item will do
    _, times = weights(1, len(samples), n_resamples=len(samples[0]))
    return np.einsum("rk,kr->r", times, np.stack(samples)) / len(samples)
