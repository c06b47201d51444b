"""Tables of results: tidy to compute with, wide to read, and as Markdown, LaTeX and HTML.

The tidy frame is what is kept; everything else is made from it. Rates are 0–1, counts are counts,
and what was not run is missing in the frame and an empty cell in every table.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from html import escape
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd

# A tidy frame has these columns and one row a (model, variant, metric); `variant` is "" for none.
DTYPES = {
    **dict.fromkeys(("study", "dataset", "model", "variant", "metric"), "str"),
    **{"n": "Int64", "mean": "float64", "std": "float64", "n_seeds": "Int64"},
    **dict.fromkeys(("ci_low", "ci_high", "published"), "float64"),
}


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


# Tables to read: one row a system, or one row a pair of systems.


def wide(
    frame: pd.DataFrame, metrics: Mapping[str, str], counts: Collection[str] = ()
) -> pd.DataFrame:
    """Return a table to read: one row a system, one column of display cells a metric.

    A system is "model" or "model@variant" (column `system`). A cell reads "0.852 ± 0.004
    [0.831, 0.872]": mean, standard deviation over seeds when there are several, 95 % interval. A
    metric with any published value has a second column "<heading> published".

    Args:
        frame: a tidy frame.
        metrics: metric id -> heading, in the order of the columns; other metrics are left out.
        counts: ids of metrics to print as counts.
    """
    rows = frame.assign(system=systems(frame)).set_index("system")
    table = pd.DataFrame(index=rows.index.unique())
    for metric, heading in metrics.items():
        part, count = rows[rows["metric"] == metric], metric in counts
        cells = {row.Index: _cell(row, count) for row in part.itertuples()}
        table[heading] = pd.Series(cells, dtype="str")
        if len(published := part["published"].dropna()):
            table[f"{heading} published"] = published.apply(_show, count=count)
    return table.fillna("").reset_index()


def _cell(row: Any, count: bool) -> str:
    if pd.isna(row.mean):
        return ""
    cell = _show(row.mean, count)
    if row.n_seeds > 1 and pd.notna(row.std):
        cell += f" ± {_show(row.std, count)}"
    if pd.notna(row.ci_low) and pd.notna(row.ci_high):
        low = max(row.ci_low, 0) if count else row.ci_low  # no count is below 0
        cell += f" [{_show(low, count)}, {_show(row.ci_high, count)}]"
    return cell


def _show(value: float, count: bool, sign: str = "") -> str:
    return f"{value:{sign}z{',.1f' if count else '.3f'}}".removesuffix(".0").replace("-", "−")


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
        parts.append("brackets hold 95 % intervals")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _range(values: pd.Series) -> str:
    low, high = values.min(), values.max()
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


# Paired tests are a long frame, one row a pair and metric, with the columns `first`, `second`,
# `metric`, `difference` (second minus first), `ci_low`, `ci_high` and `p`.


def wide_tests(
    tests: pd.DataFrame, metrics: Mapping[str, str], counts: Collection[str]
) -> pd.DataFrame:
    """Return one row a pair: each metric's difference with its interval, and its p.

    Args:
        tests: a long frame, as above.
        metrics: metric id -> name, in the order of the columns.
        counts: ids of the metrics that are counts.
    """
    rows = []
    for (first, second), pair in tests.groupby(["first", "second"], sort=False):
        row = {"difference": f"{second} − {first}"}
        for metric, name in metrics.items():
            for test in pair[pair["metric"] == metric].itertuples():
                values = test.difference, test.ci_low, test.ci_high
                row[name] = signed(*values, metric in counts)
                row[f"p ({name})"] = p_value(test.p)
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def signed(value: float, low: float, high: float, count: bool) -> str:
    """Return a difference with its interval, such as "+0.053 [−0.051, +0.133]"."""
    shown = (_show(number, count, "+") for number in (value, low, high))
    return "{} [{}, {}]".format(*(re.sub(r"^\+(?=[0.]+$)", "", number) for number in shown))


def p_value(p: float) -> str:
    """Return a p-value to three digits; empty when it is missing."""
    if pd.isna(p):
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


# A frame as a table in Markdown, LaTeX or HTML that shows exactly the text of its cells. (tabulate
# and pandas' Styler neither escape all marks of all three nor keep intervals apart from values.)


RANGE = r"\[[-+−]?[\d.,]+, [-+−]?[\d.,]+\]"
INTERVAL = re.compile(rf"(.*\S) ({RANGE})")
LONG = 30  # characters; a column with a longer cell is prose
NUMBER = re.compile(r"(< )?[-+−]?\d[\d.,]*(e-?\d+)?( ± [\d.,]+)?( \[.*\])?")
LATEX = {
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "`": r"\textasciigrave{}"},
    **{"±": r"$\pm$", "×": r"$\times$", "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", "→": r"$\to$"},
    **{"τ": r"$\tau$", "κ": r"$\kappa$", "–": "--", "—": "---", "…": r"\ldots{}", '"': "''"},
    # After a row's end TeX would take a bracket or a star for an argument of the line break.
    **{"[": "{[}", "]": "{]}", "*": "{*}"},
    # TeX would join two hyphens to a dash; only a hyphen before another one is looked up.
    **{"-": "-{}"},
    **{character: "\\" + character for character in "{}$&#_%"},
}


def _text(value: Any) -> str:
    if value is None or (pd.api.types.is_scalar(value) and pd.isna(value)):
        return ""
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return f"{value:.1g}" if 0 < abs(value) < 0.0005 else f"{value:z,.3f}"
    # Line breaks and control characters end a table row in one format or another.
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return " ".join(text.split())


def _cells(table: pd.DataFrame) -> tuple[list[str], list[list[str]], list[bool]]:
    """Return headings, rows of plain text, and which columns hold numbers; a named index counts."""
    if any(name is not None for name in table.index.names):
        table = table.reset_index()
    rows = [[_text(value) for value in row] for row in table.itertuples(index=False, name=None)]
    filled = [[row[i] for row in rows if row[i]] for i in range(table.shape[1])]
    numeric = [bool(column) and all(map(NUMBER.fullmatch, column)) for column in filled]
    return [_text(name) for name in table.columns], rows, numeric


def _apart(cell: str) -> tuple[str, str]:
    """Return the value of a cell, and its interval or nothing."""
    parts = INTERVAL.fullmatch(cell)
    return (parts[1], parts[2]) if parts else (cell, "")


def markdown_text(text: Any) -> str:
    """Return text for one line of Markdown, with every mark in it escaped."""
    text = re.sub(r"[\\`*|~$]", r"\\\g<0>", _text(text))
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")
    return re.sub(r"\](?=[(\[:])", r"\\]", text)


def markdown_paragraph(text: str) -> str:
    """Return text as a Markdown paragraph, never a heading, a list or a quotation."""
    text = re.sub(r"^[#>+-]", r"\\\g<0>", markdown_text(text))
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", text)


def to_markdown(table: pd.DataFrame) -> str:
    """Return a Markdown table; a cell shows exactly its text, whatever marks that text holds."""
    headings, rows, numeric = _cells(table)
    rules = ["---:" if number else "---" for number in numeric]
    lines = [map(markdown_text, headings), rules, *(map(markdown_text, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_latex(table: pd.DataFrame, caption: str, label: str, note: str = "") -> str:
    r"""Return a LaTeX table to \input (it needs the package booktabs), intervals below the values.

    All text is escaped; `label` is used as it is. Letters beyond Latin need XeLaTeX or LuaLaTeX.
    """
    headings, rows, numeric = _cells(table)
    lines = [_latex_row(headings), r"\midrule"]
    for row in rows:
        values, intervals = zip(*map(_apart, row), strict=True)
        lines.append(_latex_row(values))
        if any(intervals):
            lines += [_latex_row(intervals, r"\scriptsize "), r"\addlinespace"]
    if lines[-1] == r"\addlinespace":
        lines.pop()
    body = "\n".join(lines)
    columns = "".join("r" if number else "l" for number in numeric)
    below = f"\\par\\smallskip\n{{\\footnotesize {_latex(note)}\\par}}\n" if note else ""
    return rf"""\begin{{table}}[t]
\centering
\small
\caption{{{_latex(caption)}}}
\label{{{label}}}
\begin{{tabular}}{{{columns}}}
\toprule
{body}
\bottomrule
\end{{tabular}}
{below}\end{{table}}
"""


def _latex(text: Any) -> str:
    return re.sub(r"-(?=-)|[^-]", lambda mark: LATEX.get(mark[0], mark[0]), _text(text))


def _latex_row(cells: Iterable[str], size: str = "") -> str:
    return " & ".join(size + _latex(cell) if cell else "" for cell in cells) + r" \\"


def to_html(table: pd.DataFrame) -> str:
    """Return a `<table>`, escaped; cells have the class `number`, or `prose` in columns of text."""
    headings, rows, numeric = _cells(table)
    kinds = []
    for column, number in enumerate(numeric):
        prose = any(len(row[column]) > LONG for row in rows)
        kinds.append(' class="number"' if number else ' class="prose"' if prose else "")
    head = "".join(map('<th scope="col"{}>{}</th>'.format, kinds, map(escape, headings)))
    lines = ("".join(map("<td{}>{}</td>".format, kinds, map(_html, row, numeric))) for row in rows)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def _html(cell: str, number: bool) -> str:
    value, interval = _apart(cell)
    if number and interval:
        return f"{escape(value)} <small>{escape(interval)}</small>"
    # an interval inside prose is not broken over two lines
    return re.sub(RANGE, r'<span class="whole">\g<0></span>', escape(cell))


class Shown:
    """HTML for notebooks and pages, with the words for who reads plain text."""

    def __init__(self, html: str, text: str) -> None:
        self.html, self.text = html, text

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        """Return both for IPython."""
        return {"text/html": self.html, "text/plain": self.text}


def show(table: pd.DataFrame, caption: str = "") -> Shown:
    """Return a table as notebooks and pages show it: words left, numbers right, no index."""
    heading = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    scroll = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}">'
    html = f'<figure class="table">{heading}{scroll}{to_html(table)}</div></figure>'
    return Shown(html, f"{to_markdown(table)}{caption}")


def scores(
    frame: pd.DataFrame, metrics: Mapping[str, str], counts: Collection[str] = (), beside: str = ""
) -> Shown | None:
    """Show the rows of a tidy frame that are of some metrics, as `wide` does; None without any.

    Below them stands how to read them, and what is to be said `beside`.
    """
    rows = frame[frame["metric"].isin(metrics)]
    if rows.empty:
        return None
    return show(wide(rows, present(rows, metrics), counts), f"{legend(rows)} {beside}".strip())


def differences(
    tests: pd.DataFrame,
    metrics: Mapping[str, str],
    systems: Collection[str] | None = None,
    counts: Collection[str] = (),
) -> Shown | None:
    """Show the paired tests of `systems`, by default all, in some metrics; None without any."""
    rows = tests[tests["metric"].isin(metrics)]
    if systems is not None:
        rows = rows[rows["first"].isin(systems) & rows["second"].isin(systems)]
    return None if rows.empty else show(wide_tests(rows, metrics, counts))
