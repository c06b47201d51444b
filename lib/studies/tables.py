"""Tables of results: tidy to compute with, wide to read, and as Markdown, LaTeX and HTML.

The tidy frame is what is kept; everything else is made from it. Rates are 0–1, counts are counts,
and what was not run is missing in the frame and an empty cell in every table.
"""

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from studies.markup import (
    markdown_paragraph,
    markdown_text,
    to_html,
    to_latex,
    to_markdown,
)
from studies.runs import write_atomic

NAMES = ["study", "dataset", "model", "variant", "metric"]
WHOLE = ["n", "n_seeds"]
COLUMNS = [*NAMES, "n", "mean", "std", "n_seeds", "ci_low", "ci_high", "published"]
KEY = ["model", "variant", "metric"]

__all__ = [
    "COLUMNS",
    "duration",
    "legend",
    "plain",
    "read",
    "save",
    "systems",
    "tidy",
    "to_html",
    "to_latex",
    "to_markdown",
    "wide",
]


def tidy(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Return the tidy frame of the given rows, with exactly the columns `COLUMNS`.

    A row names at least study, dataset, model and metric; `variant` defaults to "", every number
    to missing. Rows of one system (model and variant) stand together, systems and their metrics
    in the order in which they first appear. `n` and `n_seeds` are Int64, other numbers float64.

    Raises:
        ValueError: an unknown column, a missing name, a number that is none, or a second row for
            the same model, variant and metric.
    """
    rows = list(rows)
    for row in rows:
        if unknown := [str(name) for name in row if name not in COLUMNS]:
            raise ValueError(f"unknown column {', '.join(unknown)}; known: {', '.join(COLUMNS)}")
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["variant"] = frame["variant"].astype(object).where(frame["variant"].notna(), "")
    for name in COLUMNS:
        if name not in NAMES:
            kind = "Int64" if name in WHOLE else "float64"
            frame[name] = pd.to_numeric(frame[name]).astype(kind)
        elif frame[name].isna().any():
            raise ValueError(f"row {int(frame[name].isna().argmax())} has no {name}")
        else:
            frame[name] = frame[name].astype(str).astype("str")
    if (twice := frame.duplicated(KEY)).any():
        raise ValueError(f"two rows for {' / '.join(frame.loc[twice.idxmax(), KEY])}")
    group = frame.groupby(["model", "variant"], sort=False).ngroup()
    return frame.iloc[group.argsort(kind="stable")].reset_index(drop=True)


def read(path: Path) -> pd.DataFrame:
    """Return the tidy frame that `save` wrote as `<study>.csv`."""
    numbers = [name for name in COLUMNS if name not in NAMES]
    frame = pd.read_csv(
        path,
        dtype=dict.fromkeys(NAMES, "str"),
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )
    return tidy(frame.to_dict("records"))


def systems(frame: pd.DataFrame) -> pd.Series:
    """Return "model" or "model@variant" of each row of a tidy frame."""
    return frame["model"] + frame["variant"].where(frame["variant"] == "", "@" + frame["variant"])


def plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a tidy frame that are of no variant, or all when there is none."""
    rows = frame[frame["variant"] == ""]
    return frame if rows.empty else rows


def of(frame: pd.DataFrame, names: Collection[str]) -> pd.DataFrame:
    """Return the rows of a tidy frame that are of some systems, by name or as keys."""
    return frame[systems(frame).isin(list(names))]


def present(frame: pd.DataFrame, metrics: Mapping[str, str]) -> dict[str, str]:
    """Return metric id -> heading or label of those metrics that a tidy frame has."""
    have = set(frame["metric"])
    return {metric: name for metric, name in metrics.items() if metric in have}


def rounded(tests: pd.DataFrame) -> pd.DataFrame:
    """Return paired tests as they are written: four decimals."""
    return tests.map(lambda x: round(x, 4) if isinstance(x, float) else x)


def value(frame: pd.DataFrame, model: str, metric: str) -> pd.Series:
    """Return the row of a tidy frame that has a metric of a model, of no variant."""
    mine = (frame["model"] == model) & (frame["variant"] == "") & (frame["metric"] == metric)
    return frame[mine].iloc[0]


def wide(
    frame: pd.DataFrame, metrics: dict[str, str], counts: Collection[str] | None = None
) -> pd.DataFrame:
    """Return a table to read: one row a system, one column of display cells a metric.

    A system is "model" or "model@variant" (column `system`). A cell reads "0.852 ± 0.004
    [0.831, 0.872]": mean, standard deviation over seeds when there are several, 95 % interval. A
    metric with any published value has a second column "<heading> published".

    Args:
        frame: a tidy frame.
        metrics: metric id -> heading, in the order of the columns; other metrics are left out.
        counts: ids of metrics to print as counts. By default those whose totals over the seeds
            and published values are whole numbers, one of them above 1.

    Raises:
        ValueError: two metrics with the same heading.
    """
    if len(set(metrics.values())) < len(metrics):
        raise ValueError(f"metrics share a heading: {', '.join(metrics.values())}")
    rows = frame.assign(system=systems(frame))
    table = pd.DataFrame({"system": rows["system"].unique()})
    for metric, heading in metrics.items():
        part = rows[rows["metric"] == metric].set_index("system")
        count = _is_count(part) if counts is None else metric in counts
        shown = {row.Index: _cell(row, count) for row in part.itertuples()}
        table[heading] = [shown.get(system, "") for system in table["system"]]
        published = part["published"].dropna()
        if len(published):
            shown = {system: _show(value, count) for system, value in published.items()}
            table[f"{heading} published"] = [shown.get(system, "") for system in table["system"]]
    return table


def _is_count(part: pd.DataFrame) -> bool:
    totals = part["mean"] * part["n_seeds"].astype("float64").fillna(1)
    values = pd.concat([totals, part["published"]]).dropna()
    return bool(((values - values.round()).abs() < 1e-6).all() and (values > 1).any())


def _cell(row: Any, count: bool) -> str:
    if pd.isna(row.mean):
        return ""
    cell = _show(row.mean, count)
    if pd.notna(row.n_seeds) and row.n_seeds > 1 and pd.notna(row.std):
        cell += f" ± {_show(row.std, count)}"
    if pd.notna(row.ci_low) and pd.notna(row.ci_high):
        cell += f" [{_show(row.ci_low, count)}, {_show(row.ci_high, count)}]"
    return cell


def _show(value: float, count: bool) -> str:
    if not count:
        return f"{value:z.3f}"
    return f"{value:z,.1f}".removesuffix(".0")


def duration(seconds: float) -> str:
    """Return `45 s`, `12 min` or `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def legend(frame: pd.DataFrame) -> str:
    """Return how to read the cells of `wide(frame, …)`: test items, seeds, brackets."""
    parts = []
    if len(items := frame["n"].dropna()):
        parts.append(f"{_range(items)} test items")
    if len(seeds := frame["n_seeds"].dropna()):
        parts.append("one seed" if seeds.max() == 1 else f"{_range(seeds)} seeds")
    if (frame["n_seeds"] > 1).any():
        parts.append("± is the standard deviation over seeds")
    if frame["ci_low"].notna().any():
        parts.append("brackets hold 95 % bootstrap intervals")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def save(
    frame: pd.DataFrame,
    tests: pd.DataFrame,
    folder: Path,
    study: str,
    metrics: dict[str, str],
    caption: str,
    note: str,
    counts: Collection[str] | None = None,
    shown: pd.DataFrame | None = None,
) -> None:
    """Write `<study>.csv`, `<study>_tests.csv`, `<study>.md` and `<study>.tex` into `folder`.

    Args:
        frame: the tidy frame.
        tests: paired tests between systems, one row a comparison, columns of the study's choice.
        folder: made if need be; each file is renamed into place when it is whole.
        study: stem of the four names.
        metrics: as in `wide`.
        caption: one sentence above the table.
        note: below the table, before the `legend` of what it shows.
        counts: as in `wide`.
        shown: the tests as the Markdown shows them, by default as they are.

    Raises:
        ValueError: `frame` is not tidy.
        StudyError: the folder cannot be written.
    """
    frame = tidy(frame.to_dict("records"))
    table = wide(frame, metrics, counts)
    note = f"{note} {legend(frame[frame['metric'].isin(metrics)])}".strip()
    title = f"**{markdown_text(caption)}**" if caption else ""
    blocks = [title, to_markdown(table).strip(), markdown_paragraph(note)]
    if len(tests):
        blocks += ["Paired tests between systems:"]
        blocks += [to_markdown(tests if shown is None else shown).strip()]
    label = "-".join([f"tab:{study}", *frame["dataset"].unique()[:1]])
    write_atomic(folder / f"{study}.csv", frame.to_csv(index=False, lineterminator="\n"))
    write_atomic(folder / f"{study}_tests.csv", tests.to_csv(index=False, lineterminator="\n"))
    write_atomic(folder / f"{study}.md", "\n\n".join(filter(None, blocks)) + "\n")
    write_atomic(folder / f"{study}.tex", to_latex(table, caption, label, note))
