"""How sure a number is: intervals over test items and seeds, and paired differences.

Two things are left to chance: which items the test set holds, and which seeds were trained with.
The variance of a mean over S seeds, or of a mean difference of two systems paired by seed and by
item, is put together from

- I, the variance of the mean over a bootstrap of clusters of items,
- B, the variance of single seeds' values, over S,
- W, the mean variance of single seeds over the same bootstrap,
- C = (W − I) / (S − 1), the part of B that comes from items that some seeds get right and others
  do not; I holds it already.

V = I + max(B − C, 0) has (S − 1) (V / max(B − C, 0))² degrees of freedom, and the normal quantile
where that term is 0. The 95 % interval is estimate ± t √V, and p comes from estimate / √V.

It covers 94–97 % where items, seeds, their interaction or all three alike make the variance, with
3, 5 or 10 seeds (`benchmarks/coverage.py`). Where seeds and their interaction with items make
nearly all of it, and items alone nearly nothing, it covers less: 88 % at worst with 3 seeds, 91 %
with 5, 93 % with 10. There B − C is the difference of a few seeds' spread and a number of the same
size; where by chance it comes out at 0 or little above, the seeds' part is missing from V and the
quantile is the normal one. Where seeds alone make all but a few hundredths of V, the same chance
leaves 91 % with 3 seeds and 94 % with 5.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.special import stdtr, stdtrit

from studies.reporting.tables import DTYPES

RESAMPLES = 2000
BLOCK = 256  # resamples at once, so that the memory that metrics need does not grow with R
TEST = "paired bootstrap"
TEST_COLUMNS = [
    *("first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high", "p")
]

# A metric of one run takes weights (R, N) float64, how often each of R test sets holds each of N
# items, and returns R values: those that it has on items repeated so, nan where it is undefined.
Metric = Callable[[np.ndarray], np.ndarray]


# From the metrics of runs to estimates.


def draws(clusters: ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return how often each resample holds each item, (R, N) uint16, read-only.

    `clusters` (N,) names the cluster of each item. A resample draws as many clusters as there are,
    with replacement, each with all its items. What is drawn depends only on which items share a
    cluster, so systems tested on the same items are paired. Kept for the next call.

    Of clusters (N, K) of K kinds, such as images and captions, each kind is drawn by itself, and an
    item is held as often as the product says (A. Owen, Ann. Appl. Stat. 1, 2007).

    Raises:
        ValueError: no items, or an item without a cluster.
    """
    clusters = np.asarray(clusters)
    if clusters.ndim == 2:
        kinds = [draws(kind, resamples, seed + place) for place, kind in enumerate(clusters.T)]
        return np.prod(kinds, axis=0, dtype=np.uint16)
    codes, _ = pd.factorize(clusters)
    if not len(codes) or codes.min() < 0:
        raise ValueError("a bootstrap needs items, and a cluster for each of them")
    return _draws(codes.astype(np.int64).tobytes(), resamples, seed)


@lru_cache(maxsize=8)
def _draws(codes: bytes, resamples: int, seed: int) -> np.ndarray:
    cluster = np.frombuffer(codes, dtype=np.int64)
    number, stream = cluster.max() + 1, np.random.default_rng(seed)
    weights = np.empty((resamples, len(cluster)), dtype=np.uint16)
    for row in weights:
        row[:] = np.bincount(stream.integers(number, size=number), minlength=number)[cluster]
    weights.flags.writeable = False
    return weights


@dataclass(frozen=True)
class Measured:
    """A metric of one system: seed -> its value, and seed -> its values on R resamples, (R,).

    `samples` is None for what has no test items, or what resampling them would distort (epochs,
    slopes, AMI, distinct n-grams). `fixed` says that chance has no part in the system, so that its
    one run stands against every seed of another. `items` is the number of test items.
    """

    values: Mapping[int, float]
    samples: Mapping[int, np.ndarray] | None = None
    items: int | None = None
    fixed: bool = False


def measure(
    runs: Mapping[int, Mapping[str, Metric]],
    clusters: ArrayLike,
    fixed: bool = False,
    resamples: int = RESAMPLES,
) -> dict[str, Measured]:
    """Return the metrics of one system by id, of seed -> metrics by id and clusters (N,)."""
    weights = draws(clusters, resamples)
    items = weights.shape[1]
    measured = {}
    for name, metric in next(iter(runs.values())).items():
        # evidence of older runs may lack one
        mine = {seed: metrics[name] for seed, metrics in runs.items() if name in metrics}
        values = {seed: value(one, items) for seed, one in mine.items()}
        samples = None
        if not isinstance(metric, Whole):
            samples = {seed: _resampled(one, weights) for seed, one in mine.items()}
        measured[name] = Measured(values, samples, items, fixed)
    return measured


def value(metric: Metric, items: int) -> float:
    """Return what a metric is on a test set that holds each of its items once."""
    return float(metric(np.ones((1, items)))[0])


def _resampled(metric: Metric, weights: np.ndarray) -> np.ndarray:
    starts = range(0, len(weights), BLOCK)
    # in this order their transpose, which products with sparse arrays want, needs no copy
    blocks = (weights[start : start + BLOCK].astype(np.float64, order="F") for start in starts)
    return np.concatenate([metric(block) for block in blocks])


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, of a system or of a difference, and how sure it is.

    `spread` is the standard deviation over seeds, nan with one; `variance` is V, nan where there
    is no interval: one seed of what has no items, or a resample on which the metric is undefined.
    `fixed` says that nothing is left to chance over seeds.
    """

    value: float
    spread: float
    seeds: int
    items: int | None
    variance: float
    freedom: float
    fixed: bool = False

    @property
    def margin(self) -> float:
        """Return half the width of the 95 % interval."""
        return float(stdtrit(self.freedom, 0.975) * np.sqrt(self.variance))

    @property
    def low(self) -> float:
        """Return the lower end of the 95 % interval."""
        return self.value - self.margin

    @property
    def high(self) -> float:
        """Return the upper end of the 95 % interval."""
        return self.value + self.margin

    def p(self, against: float = 0.0) -> float:
        """Return the two-sided p-value of its being `against`, below .05 where that is outside."""
        if self.variance == 0:
            return float(self.value == against)
        distance = abs(self.value - against) / np.sqrt(self.variance)
        return float(2 * stdtr(self.freedom, -distance))


def estimate(measured: Measured) -> Estimate:
    """Return the mean over seeds of a metric of one system."""
    values = np.array(list(measured.values.values()), dtype=np.float64)
    seeds = len(values)
    spread = values.std(ddof=1) if seeds > 1 else np.nan
    between = spread**2 / seeds  # B
    if measured.samples is None:
        variance, freedom = between, seeds - 1
    else:
        samples = np.stack(list(measured.samples.values()))
        variance, freedom = samples.mean(axis=0).var(ddof=1), np.inf  # I
        if seeds > 1:
            alone = samples.var(axis=1, ddof=1).mean()  # W
            excess = np.maximum(between - (alone - variance) / (seeds - 1), 0)
            variance += excess
            freedom = (seeds - 1) * (variance / excess) ** 2 if excess > 0 else np.inf
    average, items = values.mean(), measured.items
    return Estimate(average, spread, seeds, items, variance, freedom, measured.fixed)


def difference(first: Measured | float, second: Measured) -> Estimate | None:
    """Return what `paired` is as a mean over seeds, None without a common one.

    `first` may be a number that the second is compared with.
    """
    if not isinstance(first, Measured):
        alone = estimate(second)
        return replace(alone, value=alone.value - first)
    both = paired(first, second)
    return estimate(both) if both.values else None


def paired(first: Measured, second: Measured) -> Measured:
    """Return second minus first over the seeds that both were run with, by pair of seeds.

    What has no resamples in one of them is compared by its seeds alone.

    Raises:
        ValueError: the systems were tested on different numbers of items.
    """
    pairs = matched(first, second)
    values = {pair: second.values[pair[1]] - first.values[pair[0]] for pair in pairs}
    samples = None
    if first.samples is not None and second.samples is not None:
        if first.items != second.items:
            raise ValueError(f"tested on {first.items} and on {second.items} items")
        samples = {pair: second.samples[pair[1]] - first.samples[pair[0]] for pair in pairs}
    return Measured(values, samples, second.items, first.fixed and second.fixed)


def matched(first: Measured, second: Measured) -> list[tuple[int, int]]:
    """Return which seed of the first stands against which of the second."""
    ours, theirs = sorted(first.values), sorted(second.values)
    if first.fixed:
        return [(ours[0], seed) for seed in theirs]
    if second.fixed:
        return [(seed, theirs[0]) for seed in ours]
    return [(seed, seed) for seed in ours if seed in second.values]


# Tables of estimates.

Systems = Mapping[str, Mapping[str, Measured]]  # system -> metric -> what was measured


def summary(
    study: str, dataset: str, systems: Systems, published: Mapping[str, Mapping[str, float]] = {}
) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric.

    `published` gives for each model, of which a variant is none, what was published of it.
    """
    rows = []
    for system, metrics in systems.items():
        model, _, variant = system.partition("@")
        known = {} if variant else published.get(model, {})
        for metric, measured in metrics.items():
            one = estimate(measured)
            numbers = (one.items, one.value, one.spread, one.seeds, one.low, one.high)
            rows.append((study, dataset, model, variant, metric, *numbers, known.get(metric)))
    return pd.DataFrame(rows, columns=list(DTYPES)).astype(DTYPES)


def paired_tests(*groups: Systems) -> pd.DataFrame:
    """Return the differences of every two systems of a group, in every metric that both have.

    One row a difference, second minus first, with the columns `TEST_COLUMNS`; none where there is
    no interval.
    """
    rows = [
        (first, second, metric, TEST, one.seeds, one.value, one.low, one.high, one.p())
        for group in groups
        for first, second in combinations(group, 2)
        for metric in group[first]
        if metric in group[second]
        and (one := difference(group[first][metric], group[second][metric])) is not None
        and not np.isnan(one.variance)
    ]
    return pd.DataFrame(rows, columns=TEST_COLUMNS)


def holm(p: ArrayLike) -> np.ndarray:
    """Return p-values (K,) adjusted for their number (S. Holm, Scand. J. Statist. 6, 1979).

    The smallest is multiplied by K, the next by K − 1, and so on, none falling below one before
    it, none above 1. nan stays nan and does not count.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p)  # nan last
    factors = np.count_nonzero(~np.isnan(p)) - np.arange(len(p))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return adjusted


# Metrics.


@dataclass(frozen=True)
class Whole:
    """A metric of the whole test set, which resampling its items would distort (AMI)."""

    value: float

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return the value for each of R test sets."""
        return np.full(len(weights), self.value)


def mean(values: ArrayLike) -> Metric:
    """Return the mean of what each item has, (N,), over those that have it, the others nan.

    The mean of none is nan.
    """
    values = np.asarray(values, dtype=np.float64)
    have = ~np.isnan(values)
    filled, have = np.where(have, values, 0.0), have.astype(np.float64)
    return lambda weights: share(weights @ filled, weights @ have, np.nan)


def count(values: ArrayLike) -> Metric:
    """Return the sum of what each item has, (N,), in a test set of N items.

    A resample of clusters may hold more or fewer than N; its sum is scaled to N.
    """
    average, items = mean(values), len(np.asarray(values))
    return lambda weights: items * average(weights)


def macro_f1(predicted: csr_array, true: csr_array, labels: ArrayLike | None = None) -> Metric:
    """Return the mean F1 over some labels, of (L, N) ones and (L, N) ones, see `one_hot`.

    Labels are row numbers; by default those that are true of any item drawn. nan without one. F1
    is 0 where a label is neither predicted nor true.
    """
    hits = predicted.multiply(true).tocsr()
    rows = None if labels is None else np.asarray(labels, dtype=np.int64)

    def metric(weights: np.ndarray) -> np.ndarray:
        drawn = weights.T
        there = true @ drawn
        f1 = share(2 * (hits @ drawn), there + predicted @ drawn)
        if rows is None:
            return over_occurring(f1, there)
        return share(f1[rows].sum(axis=0), np.array(len(rows)), np.nan)

    return metric


def adjusted_rand(first: ArrayLike, second: ArrayLike) -> Metric:
    """Return the Rand index, adjusted for chance, of two labellings (N,) (classes and clusters).

    L. Hubert, P. Arabie, J. Classif. 2, 1985. It is 1 where both labellings are trivial in the
    same way, as in scikit-learn.
    """
    one, other = (np.unique(labels, return_inverse=True)[1] for labels in (first, second))
    _, both = np.unique(one * (other.max() + 1) + other, return_inverse=True)
    partitions = [one_hot(codes, codes.max() + 1) for codes in (both, one, other)]

    def ari(weights: np.ndarray) -> np.ndarray:
        size = weights.sum(axis=1)
        # ordered pairs of items that share both labels, the first, the second
        both, one, other = (((cells @ weights.T) ** 2).sum(axis=0) - size for cells in partitions)
        expected = share(one * other, size * (size - 1))
        return share(both - expected, (one + other) / 2 - expected, 1.0)

    return ari


def one_hot(labels: np.ndarray, number: int) -> csr_array:
    """Return the ones at the label of each item, (L, N), of numbers (N,) below `number`."""
    ones, items = np.ones(len(labels)), np.arange(len(labels))
    return csr_array((ones, (labels, items)), shape=(number, len(labels)))


def over_occurring(values: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the mean of (L, R) values over the labels that are true anywhere, nan without one."""
    occurs = true > 0
    return share(np.where(occurs, values, 0).sum(axis=0), occurs.sum(axis=0), np.nan)


def share(part: np.ndarray, whole: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Return part / whole, and `otherwise` where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), otherwise), where=whole > 0)
