"""Paired tests between systems as a table to read: one row a pair of systems.

The tests are a long frame, one row a pair, metric and test, with the columns `first`, `second`,
`metric`, `test`, `difference` (second minus first), `p`, and for bootstraps `ci_low`, `ci_high`.
"""

from collections.abc import Collection

import pandas as pd

BOOTSTRAP = "paired bootstrap"


def signed(value: float, low: float, high: float, count: bool) -> str:
    """Return a difference with its interval, such as "+0.053 [−0.051, +0.133]"."""
    return f"{_signed(value, count)} [{_signed(low, count)}, {_signed(high, count)}]"


def _signed(value: float, count: bool) -> str:
    shown = f"{value:+,.1f}".removesuffix(".0") if count else f"{value:+.3f}"
    zero = not shown.strip("+-0.,")
    return shown[1:] if zero else shown.replace("-", "−")


def p_value(p: float) -> str:
    """Return a p-value to three digits; empty when it is missing."""
    if pd.isna(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def wide(tests: pd.DataFrame, metrics: dict[str, str], counts: Collection[str]) -> pd.DataFrame:
    """Return one row a pair: each metric's difference with its interval, and the p of each test.

    Args:
        tests: a long frame, as above. A test that is made seed by seed is called "<name>, seed
            <k>"; the seeds share a cell.
        metrics: metric id -> name, in the order of the columns.
        counts: ids of the metrics that are counts.
    """
    rows = []
    for (first, second), pair in tests.groupby(["first", "second"], sort=False):
        row = {"difference": f"{second} − {first}"}
        for metric, name in metrics.items():
            for test in pair[pair["metric"] == metric].itertuples():
                if test.test == BOOTSTRAP:
                    values = test.difference, test.ci_low, test.ci_high
                    row[name] = signed(*values, metric in counts)
                    row[f"p ({name})"] = p_value(test.p)
                else:
                    heading = f"p ({name}, {test.test.partition(', seed')[0]})"
                    row[heading] = ", ".join(filter(None, [row.get(heading), p_value(test.p)]))
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def between(tests: pd.DataFrame, first: str, second: str, metric: str) -> pd.Series | None:
    """Return the bootstrap of two systems in a metric as second minus first, None without one."""
    rows = tests[(tests["metric"] == metric) & (tests["test"] == BOOTSTRAP)]
    for a, b, sign in ((first, second, 1), (second, first, -1)):
        mine = (rows["first"] == a) & (rows["second"] == b)
        if mine.any():
            row = rows[mine].iloc[0].copy()
            ends = sorted(sign * row[["ci_low", "ci_high"]].to_numpy(dtype=float))
            row["first"], row["second"], row["difference"] = first, second, sign * row["difference"]
            row["ci_low"], row["ci_high"] = ends
            return row
    return None


def in_words(row: pd.Series) -> str:
    """Return a difference in words and figures, such as "b − a +0.053 [−0.051, +0.133]"."""
    said = signed(row.difference, row.ci_low, row.ci_high, False)
    return f"{row.second} − {row['first']} {said}"


def side(row: pd.Series) -> int:
    """Return on which side of zero an interval is: 1, −1, or 0 for both."""
    return int(row.ci_low > 0) - int(row.ci_high < 0)
