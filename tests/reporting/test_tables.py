import re
from xml.etree import ElementTree

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from reported import tidy
from studies.reporting import tables
from studies.reporting.bootstrap import TEST_COLUMNS
from studies.reporting.tables import wide


def row(model="flexible", metric="macro_f1", **values) -> dict:
    return {"study": "s", "dataset": "d", "model": model, "metric": metric, **values}


def test_rows_of_systems_and_the_metrics_that_they_have():
    frame = tidy([row("a", "f1"), row("a", "f1", variant="v"), row("a", "errors", n=7), row("b")])
    mine = tables.of(frame, {"a@v": [], "b": [], "c": []})
    assert mine[["model", "variant"]].to_numpy().tolist() == [["a", "v"], ["b", ""]]
    assert tables.present(mine, {"errors": "E", "f1": "F1"}) == {"f1": "F1"}
    assert list(tables.present(frame, {"errors": "E", "map": "M", "f1": "F1"})) == ["errors", "f1"]


def test_wide_shows_mean_spread_interval_and_published_value():
    low = {"ci_low": -0.4, "ci_high": 11}
    frame = tidy(
        [
            row(mean=0.8519, std=0.0041, n_seeds=3, ci_low=0.8312, ci_high=0.87, published=0.85),
            row(variant="sum", mean=-0.0001, std=0.1, n_seeds=1, ci_low=-0.7, ci_high=0.9),
            row("triplet"),
            row("triplet", "severe_errors", mean=16 / 3, std=0.58, n_seeds=3, published=6, **low),
            row("flexible", "severe_errors", mean=1084, n_seeds=1, ci_low=990, ci_high=1102.5),
            row("flexible", "left_out", mean=0.5),
        ]
    )
    metrics = {"macro_f1": "macro-F1", "severe_errors": "severe", "nmi": "NMI"}
    table = wide(frame, metrics, ["severe_errors"])
    assert list(table.columns) == [
        *("system", "macro-F1", "macro-F1 published", "severe", "severe published", "NMI")
    ]
    assert table.to_numpy().tolist() == [
        ["flexible", "0.852 ± 0.004 [0.831, 0.870]", "0.850", "1,084 [990, 1,102.5]", "", ""],
        ["flexible@sum", "0.000 [−0.700, 0.900]", "", "", "", ""],
        ["triplet", "", "", "5.3 ± 0.6 [0, 11]", "6", ""],
    ]
    assert wide(tidy([]), metrics).shape == (0, 4)


# Differences between systems.


def test_a_pair_of_systems_is_a_row():
    shown = ["< 0.001", "0.001", "0.050", "1.000", ""]
    assert [*map(tables.p_value, (0.0004, 0.001, 0.0496, 1, None))] == shown
    assert tables.signed(-1.5, -1200, 0, True) == "−1.5 [−1,200, 0]"
    rows = [
        ("a", "b", "f1", "", 1, 0.053, -0.051, 0.133, 0.38),
        ("a", "b", "errors", "", 1, -1, -7, 5, 0.82),
        ("a", "c", "f1", "", 1, 0.1, 0.05, 0.15, 0.001),
        ("a", "c", "left_out", "", 1, 9, 9, 9, 0.001),
    ]
    names = {"f1": "macro-F1", "errors": "severe errors"}
    table = tables.wide_tests(pd.DataFrame(rows, columns=TEST_COLUMNS), names, counts={"errors"})
    assert table.loc[0].to_dict() == {
        "difference": "b − a",
        "macro-F1": "+0.053 [−0.051, +0.133]",
        "p (macro-F1)": "0.380",
        "severe errors": "−1 [−7, +5]",
        "p (severe errors)": "0.820",
    }
    assert [*table.loc[1]] == ["c − a", "+0.100 [+0.050, +0.150]", "0.001", "", ""]
    assert tables.wide_tests(pd.DataFrame(columns=TEST_COLUMNS), names, ()).empty


# Markup shows exactly the text of the cells.

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


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(text, text), min_size=1, max_size=3))
def test_markdown_and_html_show_exactly_the_text(rows):
    table = pd.DataFrame(rows, columns=["left|<b>", "_right_ &"])
    markdown = MarkdownIt().enable(["table", "strikethrough"]).render(tables.to_markdown(table))
    for page, more in ((markdown, set()), (tables.to_html(table), {"small", "span"})):
        shown = ElementTree.fromstring(page)
        cells = [["".join(cell.itertext()) for cell in line] for line in shown.iter("tr")]
        assert cells == [[*table.columns], *([*map(squeezed, line)] for line in rows)]
        tags = {element.tag for element in shown.iter()}
        assert tags <= {"table", "thead", "tbody", "tr", "th", "td"} | more


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
    table = pd.DataFrame({"a": NASTY, "b": ["x"] * len(NASTY)})
    tex = tables.to_latex(table, "100 % of $5 & more", "t:1")
    body = tex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    cells = [re.split(r"(?<!\\) & ", line.removesuffix(r" \\"))[0] for line in body]
    assert [untex(cell) for cell in cells] == [squeezed(cell) for cell in NASTY]
    # Unescaped specials: what is left when every escape that TeX knows is taken away.
    bare = re.sub(r"\\[{}$&#_%]|\\text\w+\{\}|\{[][*]\}", "", "".join(cells))
    assert not set("\\{}$&#_%^~<>|`") & set(bare)
    assert r"\caption{100 \% of \$5 \& more}" in tex
