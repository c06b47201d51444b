"""How sure a number is: bootstrap intervals over test items and seeds, and paired tests.

All systems and seeds of a study are tested on the same items, so a difference between two systems
is resampled as one score: `bootstrap(lambda items, k: score_a(items, k) - score_b(items, k), …)`.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest


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
    items = np.stack([np.bincount(rows, minlength=n_items) for rows, _ in draws])
    seeds = np.stack([times for _, times in draws])
    kept = items.astype(np.float64), seeds.astype(np.float64)
    for array in kept:
        array.flags.writeable = False
    return kept


def _draws(
    n_items: int, n_seeds: int, strata: ArrayLike | None, n_resamples: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the items of each resample, (n_items,), and how often it has each seed, (n_seeds,)."""
    if n_items < 1 or n_seeds < 1 or n_resamples < 1:
        raise ValueError(
            "a bootstrap needs at least one item, one seed and one resample, "
            f"got n_items={n_items}, n_seeds={n_seeds}, n_resamples={n_resamples}"
        )
    labels = np.zeros(n_items, dtype=np.int64) if strata is None else np.asarray(strata)
    if labels.shape != (n_items,):
        raise ValueError(f"strata has shape {labels.shape}, expected ({n_items},)")
    by_class, first, size = _blocks(labels)

    # Two streams, so that the items drawn do not depend on how many seeds there are.
    item_stream, seed_stream = np.random.default_rng(seed).spawn(2)
    for _ in range(n_resamples):
        items = by_class[first + item_stream.integers(0, size)]
        yield items, np.bincount(seed_stream.integers(0, n_seeds, n_seeds), minlength=n_seeds)


def _blocks(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return item indices sorted by class, and for each place its block's start and size."""
    _, code, count = np.unique(labels, return_inverse=True, return_counts=True)
    start = np.cumsum(count) - count
    return np.argsort(code, kind="stable"), np.repeat(start, count), np.repeat(count, count)


def interval(samples: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of bootstrap samples, (R,) -> (low, high).

    (nan, nan) if a sample is nan: a score that is undefined on some resamples has no interval.

    Raises:
        ValueError: no samples, or a level outside (0, 1).
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.size == 0:
        raise ValueError("an interval needs at least one sample")
    if not 0 < level < 1:
        raise ValueError(f"level is a share between 0 and 1, got {level}")
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
    if only_first < 0 or only_second < 0:
        raise ValueError(f"counts are not negative, got {only_first} and {only_second}")
    discordant = int(only_first) + int(only_second)
    if discordant == 0:
        return 1.0
    return float(binomtest(int(only_first), discordant, 0.5).pvalue)
