import csv
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from studies.reporting.tables import COLUMNS, legend, of, present, read, rounded, save, tidy, wide


def row(model="flexible", metric="macro_f1", **values) -> dict:
    return {"study": "s", "dataset": "d", "model": model, "metric": metric, **values}


def test_tidy_has_exactly_the_columns_and_keeps_the_order():
    frame = tidy(
        [
            row("b", "f1", mean=0.5, n=10),
            row("a", "f1", variant="sum", mean=1),
            row("b", "errors", mean=3),
            row("a", "f1", variant=None),
        ]
    )
    assert list(frame.columns) == COLUMNS
    systems = list(zip(frame["model"], frame["variant"], frame["metric"], strict=True))
    assert systems == [("b", "", "f1"), ("b", "", "errors"), ("a", "sum", "f1"), ("a", "", "f1")]
    assert frame["mean"].dtype == "float64"
    assert frame["n"].dtype == "Int64"
    assert frame.loc[0, "n"] == 10
    assert frame.loc[1, "n"] is pd.NA


def test_tidy_of_nothing():
    assert list(tidy([]).columns) == COLUMNS
    assert wide(tidy([]), {"f1": "F1"}).shape == (0, 2)


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([row(meen=1)], "meen"),
        ([row(), row(mean=1)], "flexible /  / macro_f1"),
        ([row(), row(variant=None)], "two rows"),
        ([{"study": "s", "dataset": "d", "model": "m"}], "metric"),
        ([row(mean="many")], "many"),
    ],
)
def test_tidy_refuses(rows, word):
    with pytest.raises(ValueError, match=word):
        tidy(rows)


def test_wide_shows_mean_spread_interval_and_published_value():
    frame = tidy(
        [
            row(mean=0.8519, std=0.0041, n_seeds=3, ci_low=0.8312, ci_high=0.87, published=0.85),
            row(variant="sum", mean=0.8, std=0.1, n_seeds=1, ci_low=0.7, ci_high=0.9),
            row("triplet"),
            row("triplet", "severe_errors", mean=16 / 3, std=0.58, n_seeds=3, published=6),
            row("flexible", "severe_errors", mean=1084, n_seeds=1, ci_low=990, ci_high=1102.5),
            row("flexible", "left_out", mean=0.5),
        ]
    )
    metrics = {"macro_f1": "macro-F1", "severe_errors": "severe", "nmi": "NMI"}
    table = wide(frame, metrics)
    assert list(table.columns) == [
        *("system", "macro-F1", "macro-F1 published", "severe", "severe published", "NMI")
    ]
    assert table.to_numpy().tolist() == [
        ["flexible", "0.852 ± 0.004 [0.831, 0.870]", "0.850", "1,084 [990, 1,102.5]", "", ""],
        ["flexible@sum", "0.800 [0.700, 0.900]", "", "", "", ""],
        ["triplet", "", "", "5.3 ± 0.6", "6", ""],
    ]


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ([1.0, 0.0], ["1.000", "0.000"]),
        ([1.0, 2.0], ["1", "2"]),
        ([1.0, 2.25], ["1.000", "2.250"]),
        ([-0.0001], ["0.000"]),
    ],
)
def test_counts_are_told_from_rates(means, expected):
    frame = tidy(row(f"m{i}", mean=mean, n_seeds=1) for i, mean in enumerate(means))
    assert list(wide(frame, {"macro_f1": "x"})["x"]) == expected


def test_counts_can_be_named():
    frame = tidy([row(mean=1.0), row(metric="cider", mean=2.0)])
    table = wide(frame, {"macro_f1": "errors", "cider": "CIDEr"}, counts={"macro_f1"})
    assert table.to_numpy().tolist() == [["flexible", "1", "2.000"]]


def test_two_metrics_cannot_share_a_heading():
    with pytest.raises(ValueError, match="heading"):
        wide(tidy([row()]), {"a": "F1", "b": "F1"})


def test_legend_tells_items_and_seeds():
    frame = tidy([row(n=1084, n_seeds=3, ci_low=0.1), row("b", n=1084, n_seeds=1)])
    assert legend(frame) == (
        "1,084 test items; 1 to 3 seeds; ± is the standard deviation over seeds; "
        "brackets hold 95 % bootstrap intervals."
    )
    assert legend(tidy([row(mean=1)])) == ""


def test_save_writes_four_files_and_nothing_else(tmp_path: Path):
    frame = tidy([row(mean=0.5, std=0.1, n=9, n_seeds=2, ci_low=0.4, ci_high=0.6)])
    tests = pd.DataFrame({"first": ["a|b"], "second": ["c"], "p": [0.04]})
    folder = tmp_path / "reports" / "d"
    save(frame, tests, folder, "s", {"macro_f1": "macro-F1"}, "All 100 %.", "- Note_ here.")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("s.csv", "s.md", "s.tex", "s_tests.csv")
    ]
    assert list(csv.reader((folder / "s_tests.csv").open()))[1] == ["a|b", "c", "0.04"]
    page = MarkdownIt().enable("table").render((folder / "s.md").read_text())
    assert "<strong>All 100 %.</strong>" in page
    assert "<p>- Note_ here. 9 test items; 2 seeds;" in page
    assert page.count("<table>") == 2
    tex = (folder / "s.tex").read_text()
    assert r"\label{tab:s-d}" in tex
    assert r"- Note\_ here. 9 test items" in tex


def test_the_markdown_may_show_the_tests_in_other_words(tmp_path: Path):
    frame = tidy([row(mean=0.5)])
    tests, shown = pd.DataFrame({"p": [0.04]}), pd.DataFrame({"chance": ["0.040"]})
    save(frame, tests, tmp_path, "s", {"macro_f1": "macro-F1"}, "", "", shown=shown)
    assert (tmp_path / "s_tests.csv").read_text() == "p\n0.04\n"
    assert "| chance |" in (tmp_path / "s.md").read_text()


def test_what_was_saved_is_read_back_exactly(tmp_path: Path):
    frame = tidy(
        [
            row(mean=0.1 + 0.2, n=7, n_seeds=3, ci_low=1 / 3),
            row(variant="04", published=0.85),
            row("NA", variant="nan,\n|"),
        ]
    )
    save(frame, pd.DataFrame(), tmp_path, "s", {}, "", "")
    pd.testing.assert_frame_equal(read(tmp_path / "s.csv"), frame, check_exact=True)


def test_save_refuses_what_is_not_tidy(tmp_path: Path):
    with pytest.raises(ValueError, match="wrong"):
        save(tidy([row()]).assign(wrong=1), pd.DataFrame(), tmp_path, "s", {}, "", "")
    assert list(tmp_path.iterdir()) == []


def test_rows_of_systems_and_the_metrics_that_they_have():
    frame = tidy([row("a", "f1"), row("a", "f1", variant="v"), row("a", "errors"), row("b", "f1")])
    mine = of(frame, {"a@v": [], "b": [], "c": []})
    assert mine[["model", "variant"]].to_numpy().tolist() == [["a", "v"], ["b", ""]]
    assert present(mine, {"errors": "E", "f1": "F1"}) == {"f1": "F1"}
    assert list(present(frame, {"errors": "E", "map": "M", "f1": "F1"})) == ["errors", "f1"]


def test_tests_are_rounded_to_what_a_file_says():
    tests = pd.DataFrame({"first": ["a"], "seeds": [3], "p": [0.00004999], "ci_low": [-0.12345]})
    assert rounded(tests).to_numpy().tolist() == [["a", 3, 0.0, -0.1235]]
