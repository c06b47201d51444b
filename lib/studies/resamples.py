"""A metric with its values on resampled test sets: rows of a tidy table, and paired tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from studies import statistics, tables
from studies.differences import BOOTSTRAP

TEST_COLUMNS = [
    *("first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high", "p")
]


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
            low, high = statistics.interval(over_seeds(list(self.samples.values())))
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
    for system, found in resampled.items():
        model, _, variant = system.partition("@")
        start = {"study": study, "dataset": dataset, "model": model, "variant": variant}
        known = {} if variant else (published or {}).get(model, {})
        rows += [
            {**start, "metric": metric, **one.row(), "published": known.get(metric)}
            for metric, one in found.items()
        ]
    return tables.tidy(rows)


def paired_tests(*groups: Mapping[str, Mapping[str, Resampled]]) -> pd.DataFrame:
    """Return the paired tests of every two systems of a group, in every metric that both have.

    A group gives for each system its metrics by id. One row a test, of second minus first, with
    the columns `TEST_COLUMNS`.
    """
    rows = [
        {"first": first, "second": second, "metric": metric, **found}
        for group in groups
        for (first, a), (second, b) in combinations(group.items(), 2)
        for metric in a
        if metric in b and (found := paired(a[metric], b[metric])) is not None
    ]
    return pd.DataFrame(rows, columns=TEST_COLUMNS)


def paired(first: Resampled, second: Resampled) -> dict[str, Any] | None:
    """Return the paired bootstrap of second minus first over the seeds that both were run with.

    None when they have no seed in common, or the metric was not resampled.
    """
    if first.samples is None or second.samples is None:
        return None
    pairs = matched(first, second)
    if not pairs:
        return None
    sampled = over_seeds([second.samples[b] - first.samples[a] for a, b in pairs])
    low, high = statistics.interval(sampled)
    return {
        "test": BOOTSTRAP,
        "seeds": len(pairs),
        "difference": float(np.mean([second.values[b] - first.values[a] for a, b in pairs])),
        "ci_low": low,
        "ci_high": high,
        "p": statistics.bootstrap_p(sampled),
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
    _, times = statistics.weights(1, len(samples), n_resamples=len(samples[0]))
    return np.einsum("rk,kr->r", times, np.stack(samples)) / len(samples)
