"""The paired tests between the systems of a dataset."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from studies.reporting import bootstrap
from studies.reporting.tables import BOOTSTRAP
from studies.triplets.metrics import Answers, Score
from studies.triplets.results import Results, unbiased

TESTED = ("macro_f1", "severe_errors", "unseen_macro_f1")  # metrics with paired tests
SPACE = ("nmi", "nmi_level1")  # tested between systems without variant, and across
ACROSS = [
    {"triplet@hardest", "triplet@two_stages"},
    {"triplet", "flexible@one_stage"},
    {"triplet@two_stages", "flexible"},
    {"cross_entropy@untrained", "flexible"},
    {"cross_entropy@held_out_untrained", "flexible@held_out"},
]


def pairs(systems: Iterable[str]) -> list[tuple[str, str]]:
    """Return which systems are compared: models under the same variant, a variant with none.

    And those of `ACROSS`.
    """
    found = []
    for first, second in combinations(systems, 2):
        (model, _, variant), (other, _, others) = first.partition("@"), second.partition("@")
        same_model = model == other and not variant
        if variant == others or same_model or {first, second} in ACROSS:
            found.append((first, second))
    return found


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests between systems, second minus first, on the seeds both were run with.

    Macro-F1 and severe errors: bootstrap over test items (within class for macro-F1) and seeds.
    Severe errors also, seed by seed: exact McNemar on the items.
    """
    rows = []
    for first, second in pairs(results.systems):
        common = sorted(set(results.seeds(first)) & set(results.seeds(second)))
        if not common:
            continue
        a, b = (
            [results.answers[name][results.seeds(name).index(seed)] for seed in common]
            for name in (first, second)
        )
        pair = {"first": first, "second": second}
        rows += [
            {**pair, **bootstrapped(results, metric, results.scores[first][metric], a, b)}
            for metric in TESTED
            + (SPACE if "@" not in first + second or {first, second} in ACROSS else ())
            if metric in results.scores[first] and metric in results.scores[second]
        ]
        for k, seed in enumerate(common):
            test = f"exact McNemar, seed {seed}"
            rows.append({**pair, "test": test, **severe_mcnemar(results.labels, a[k], b[k])})
    columns = ["first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high", "p"]
    return pd.DataFrame(rows, columns=columns)


def bootstrapped(
    results: Results, metric: str, score: Score, first: list[Answers], second: list[Answers]
) -> dict[str, Any]:
    """Return the paired bootstrap of a difference, second minus first, seed by seed."""

    def difference(items: np.ndarray, k: int) -> float:
        return score(second[k].at(items)) - score(first[k].at(items))

    everything = np.arange(len(results.truth))
    samples = bootstrap.bootstrap(difference, len(everything), len(first), results.strata(metric))
    observed = float(np.mean([difference(everything, k) for k in range(len(first))]))
    samples = unbiased(metric, samples, observed)
    low, high = bootstrap.interval(samples)
    return {
        "metric": metric,
        "test": BOOTSTRAP,
        "seeds": len(first),
        "difference": observed,
        "ci_low": low,
        "ci_high": high,
        "p": bootstrap.bootstrap_p(samples),
    }


def severe_mcnemar(labels: np.ndarray, first: Answers, second: Answers) -> dict[str, Any]:
    """Return McNemar's exact test on the severe errors of two runs, second minus first."""
    wrong = [labels[a.predicted, 0] != labels[a.true, 0] for a in (first, second)]
    only_first = int((wrong[0] & ~wrong[1]).sum())
    only_second = int((wrong[1] & ~wrong[0]).sum())
    return {
        "metric": "severe_errors",
        "seeds": 1,
        "difference": only_second - only_first,
        "p": bootstrap.mcnemar(only_first, only_second),
    }
