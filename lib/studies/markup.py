"""A frame as a table in Markdown, LaTeX or HTML that shows exactly the text of its cells."""

import re
from collections.abc import Iterable
from html import escape
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown

RANGE = r"\[[-+−]?[\d.,]+, [-+−]?[\d.,]+\]"
INTERVAL = re.compile(rf"(?P<value>.*\S) (?P<interval>{RANGE})")
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


def markdown_text(text: Any) -> str:
    """Return text for one line of Markdown, with every mark in it escaped."""
    text = re.sub(r"[\\`*|~$]", r"\\\g<0>", _text(text))
    text = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", text)
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")
    return re.sub(r"\](?=[(\[:])", r"\\]", text)


def to_markdown(table: pd.DataFrame) -> str:
    """Return a Markdown table; a cell shows exactly its text, whatever marks that text holds."""
    headings, rows, numeric = _cells(table)
    rules = ["---:" if number else "---" for number in numeric]
    lines = [map(markdown_text, headings), rules, *(map(markdown_text, row) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def show(table: pd.DataFrame) -> Markdown:
    """Return a table as notebooks show it: words left, numbers right, intervals whole, no index."""
    return Markdown(
        re.sub(RANGE, lambda found: found[0].replace(" ", "\N{NO-BREAK SPACE}"), to_markdown(table))
    )


def _latex(text: Any) -> str:
    return re.sub(r"-(?=-)|[^-]", lambda found: LATEX.get(found[0], found[0]), _text(text))


def to_latex(table: pd.DataFrame, caption: str, label: str, note: str = "") -> str:
    r"""Return a LaTeX table to \input (it needs the package booktabs), intervals below the values.

    All text is escaped; `label` is used as it is. Letters beyond Latin need XeLaTeX or LuaLaTeX.
    """
    headings, rows, numeric = _cells(table)
    body: list[str] = []
    for row in rows:
        found = [INTERVAL.fullmatch(cell) for cell in row]
        top = [m["value"] if m else cell for m, cell in zip(found, row, strict=True)]
        body.append(_latex_row(map(_latex, top)))
        if any(found):
            below = [rf"\scriptsize {_latex(m['interval'])}" if m else "" for m in found]
            body += [_latex_row(below), r"\addlinespace"]
    if body and body[-1] == r"\addlinespace":
        body.pop()
    lines = [
        r"\begin{table}[t]",
        r"\centering",
        r"\small",
        rf"\caption{{{_latex(caption)}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{{''.join('r' if number else 'l' for number in numeric)}}}",
        r"\toprule",
        _latex_row(map(_latex, headings)),
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *([r"\par\smallskip", rf"{{\footnotesize {_latex(note)}\par}}"] if note else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def to_html(table: pd.DataFrame) -> str:
    """Return a `<table>`, escaped; cells have the class `number`, or `prose` in columns of text."""
    headings, rows, numeric = _cells(table)
    long = [any(len(row[i]) > LONG for row in rows) for i in range(len(headings))]
    kinds = [
        ' class="number"' if number else ' class="prose"' if text else ""
        for number, text in zip(numeric, long, strict=True)
    ]

    def line(tag: str, cells: Iterable[str]) -> str:
        return "".join(
            f"<{tag}{kind}>{cell}</{tag.split()[0]}>"
            for kind, cell in zip(kinds, cells, strict=True)
        )

    body = "".join(f"<tr>{line('td', map(_html, row, numeric))}</tr>\n" for row in rows)
    head = line('th scope="col"', [escape(heading) for heading in headings])
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def _html(cell: str, number: bool) -> str:
    if number and (found := INTERVAL.fullmatch(cell)):
        return f"{escape(found['value'])} <small>{escape(found['interval'])}</small>"
    # an interval inside prose is not broken over two lines
    return re.sub(RANGE, r'<span class="whole">\g<0></span>', escape(cell))


def markdown_paragraph(text: str) -> str:
    """Return text as a Markdown paragraph, never a heading, a list or a quotation."""
    text = re.sub(r"^[#>+-]", r"\\\g<0>", markdown_text(text))
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", text)
