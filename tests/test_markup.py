import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from studies.reporting.tables import markdown_paragraph, show, to_html, to_latex, to_markdown

NASTY = [
    "a|b",
    "**bold** _it_ cross_entropy `code`",
    "[x](javascript:alert(1)) ![i](y)",
    "<script>alert(1)</script> & &lt; &amp;amp;",
    "back\\slash \\| $x^2$ 50% #1 {a} ~~gone~~",
    "two\nlines\tand\u2028more\x00",
    "[0.1, 0.2] *",
]
text = st.text(max_size=30) | st.sampled_from(NASTY)


def squeezed(value: str) -> str:
    """What a cell should show: the text on one line, without characters that cannot be seen."""
    return " ".join("".join(c if c.isprintable() else " " for c in value).split())


class Cells(HTMLParser):
    """The text of each cell of the one table on a page, and every tag seen."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(text, text), min_size=1, max_size=3))
def test_markdown_shows_exactly_the_text(rows):
    table = pd.DataFrame(rows, columns=["left|<b>", "_right_"])
    shown = Cells(MarkdownIt().enable(["table", "strikethrough"]).render(to_markdown(table)))
    assert shown.rows == [
        ["left|<b>", "_right_"],
        *([squeezed(cell) for cell in cells] for cells in rows),
    ]
    assert shown.tags == {"table", "thead", "tbody", "tr", "th", "td"}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(text, text), min_size=1, max_size=3))
def test_html_shows_exactly_the_text(rows):
    shown = Cells(to_html(pd.DataFrame(rows, columns=["<i>", "b&"])))
    assert shown.rows == [["<i>", "b&"], *([squeezed(cell) for cell in cells] for cells in rows)]
    assert shown.tags <= {"table", "thead", "tbody", "tr", "th", "td", "small", "span"}


def test_html_marks_numbers_and_sets_intervals_apart():
    page = to_html(pd.DataFrame({"system": ["a", "b"], "F1": ["0.5 ± 0.1 [0.4, 0.6]", ""]}))
    assert '<th scope="col" class="number">F1</th>' in page
    assert '<td class="number">0.5 ± 0.1 <small>[0.4, 0.6]</small></td>' in page
    assert "<td>a</td>" in page


def test_signed_intervals_are_set_apart_in_numbers_and_kept_whole_in_prose():
    number, p = "+0.053 [−0.051, +0.133]", "< 0.001"
    prose = "b − a +0.053 [−0.051, +0.133]; c − a −4 [−9, +1]"
    page = to_html(pd.DataFrame({"d": [number], "p": [p], "all": [prose]}))
    assert '<td class="number">+0.053 <small>[−0.051, +0.133]</small></td>' in page
    assert '<td class="number">&lt; 0.001</td>' in page
    assert page.count('<span class="whole">[') == 2
    assert '<span class="whole">[−9, +1]</span></td>' in page


def test_notebooks_show_markdown_with_whole_intervals():
    table = pd.DataFrame({"a|b": ["c"], "d": ["+0.053 [−0.051, +0.133]"]}, index=[7])
    assert show(table).data == (
        "| a\\|b | d |\n| --- | ---: |\n| c | +0.053 [−0.051,\N{NO-BREAK SPACE}+0.133] |\n"
    )


def test_numbers_are_aligned_and_rounded_and_missing_cells_empty():
    table = pd.DataFrame(
        {"pair": ["a − b", "c"], "p": [0.00012, np.nan], "n": [12, 3], "ok": [True, None]}
    )
    assert to_markdown(table).splitlines() == [
        "| pair | p | n | ok |",
        "| --- | ---: | ---: | --- |",
        "| a − b | 0.0001 | 12 | yes |",
        "| c |  | 3 |  |",
    ]


def untex(cell: str) -> str:
    """The text that TeX prints for a cell, for the marks that occur in `NASTY`."""
    for tex, plain in [
        *((r"\textasciitilde{}", "~"), (r"\textasciicircum{}", "^"), (r"\textbar{}", "|")),
        *((r"\textless{}", "<"), (r"\textgreater{}", ">"), (r"\textasciigrave{}", "`")),
        *((r"{[}", "["), (r"{]}", "]"), ("{*}", "*"), (r"\textbackslash{}", "\0")),
    ]:
        cell = cell.replace(tex, plain)
    return re.sub(r"\\([{}$&#_%])", r"\1", cell).replace("\0", "\\")


def test_latex_escapes_everything():
    tex = to_latex(pd.DataFrame({"a": NASTY, "b": ["x"] * len(NASTY)}), "100 % of $5 & more", "t:1")
    body = tex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    cells = [re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))[0] for line in body]
    assert [untex(cell) for cell in cells] == [squeezed(cell) for cell in NASTY]
    # Unescaped specials: what is left when every escape that TeX knows is taken away.
    bare = re.sub(r"\\[{}$&#_%]|\\text\w+\{\}|\{[][*]\}", "", "".join(cells))
    assert not set("\\{}$&#_%^~<>|`") & set(bare)
    assert r"\caption{100 \% of \$5 \& more}" in tex
    assert r"\label{t:1}" in tex


def test_latex_sets_intervals_below_their_values():
    table = pd.DataFrame({"system": ["a_b", "c--d"], "F1": ["0.8 ± 0.1 [0.7, 0.9]", "0.5"]})
    assert r"""\begin{tabular}{lr}
\toprule
system & F1 \\
\midrule
a\_b & 0.8 $\pm$ 0.1 \\
 & \scriptsize {[}0.7, 0.9{]} \\
\addlinespace
c-{}-d & 0.5 \\
\bottomrule""" in to_latex(table, "c", "l")


@pytest.mark.parametrize(
    "line", ["# no heading", "- no item", "+ no item", "1. no item", "2) no item", "> none", "---"]
)
def test_a_markdown_paragraph_is_nothing_else(line):
    page = MarkdownIt().render(markdown_paragraph(line))
    assert page.replace("&gt;", ">") == f"<p>{line}</p>\n"
