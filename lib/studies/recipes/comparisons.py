"""The paired tests between the systems of a dataset: eyes with eyes, prompts with prompts."""

import pandas as pd

from studies import resamples
from studies.recipes.results import Results


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests, second minus first, by bootstrap over test plates.

    Seeds are those both were run with; a baseline is compared with each seed of the other.
    """
    groups = (results.perceptions, results.prompts)
    return resamples.paired_tests(
        *({system: results.resampled[system] for system in alike} for alike in groups)
    )


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
