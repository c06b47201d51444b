"""The paired tests between the systems of a dataset: eyes with eyes, prompts with prompts."""

from itertools import combinations

import pandas as pd

from studies.recipes.results import Results
from studies.resamples import TEST_COLUMNS, paired


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests, second minus first, by bootstrap over test plates.

    Seeds are those both were run with; a baseline is compared with each seed of the other.
    """
    rows = []
    for alike in (results.perceptions, results.prompts):
        for first, second in combinations(alike, 2):
            a, b = results.resampled[first], results.resampled[second]
            for metric in a:
                if metric in b and (found := paired(a[metric], b[metric])) is not None:
                    rows.append({"first": first, "second": second, "metric": metric, **found})
    return pd.DataFrame(rows, columns=TEST_COLUMNS)


def between(tests: pd.DataFrame, first: str, second: str, metric: str) -> pd.Series | None:
    """Return the test of two systems in a metric as second minus first, None without one."""
    for a, b, sign in ((first, second, 1), (second, first, -1)):
        mine = (tests["first"] == a) & (tests["second"] == b) & (tests["metric"] == metric)
        if mine.any():
            row = tests[mine].iloc[0].copy()
            ends = sorted(sign * row[["ci_low", "ci_high"]].to_numpy(dtype=float))
            row["first"], row["second"], row["difference"] = first, second, sign * row["difference"]
            row["ci_low"], row["ci_high"] = ends
            return row
    return None
