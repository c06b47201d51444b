"""The tidy table and the paired tests, on run folders written by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from studies.errors import StudyError
from studies.triplets.results import comparisons, read, summary

CLASSES = ["a/x/1", "a/x/2", "a/y/y", "b/z/1"]
TRUE = [name for name in CLASSES for _ in range(15)]


def wrong(*places: tuple[int, str]) -> list[str]:
    """The truth but for some items: (index, what it is taken for)."""
    predicted = list(TRUE)
    for index, name in places:
        predicted[index] = name
    return predicted


def severe(*items: int) -> list[str]:
    return wrong(*((i, "b/z/1" if TRUE[i][0] == "a" else "a/y/y") for i in items))


@pytest.fixture
def write(sandbox, write_run):
    return lambda *arguments, **options: write_run(sandbox / "root", *arguments, **options)


def f1(predicted: list[str], labels=CLASSES) -> float:
    return f1_score(TRUE, predicted, labels=labels, average="macro", zero_division=0)


class TestSummary:
    def test_one_run(self, write):
        predicted = wrong((0, "a/x/2"), (1, "a/y/y"), (2, "b/z/1"), (50, "a/x/1"))
        write("triplet", 0, TRUE, predicted)
        frame = summary(read("made_up")).set_index("metric")
        assert frame["mean"].to_dict() == pytest.approx(
            {
                "macro_f1": f1(predicted),
                "severe_errors": 2,
                "accuracy": 56 / 60,
                "accuracy_level1": 58 / 60,
                "accuracy_level2": 57 / 60,
                "accuracy_level3": 56 / 60,
            }
        )
        assert (frame["n"] == 60).all()
        assert (frame["n_seeds"] == 1).all()
        assert frame["std"].isna().all()
        assert frame["published"].isna().all()
        assert (frame["ci_low"] < frame["mean"]).all()
        assert (frame["ci_high"] > frame["mean"]).all()

    def test_the_interval_of_accuracy_is_that_of_a_binomial(self, write):
        write("triplet", 0, TRUE, wrong(*((i, "b/z/1") for i in range(12))))
        row = summary(read("made_up")).set_index("metric").loc["accuracy"]
        half = 1.96 * np.sqrt(0.8 * 0.2 / 60)
        assert row["ci_low"] == pytest.approx(0.8 - half, abs=0.02)
        assert row["ci_high"] == pytest.approx(0.8 + half, abs=0.02)

    def test_without_an_error_there_is_no_spread(self, write):
        write("triplet", 0, TRUE, TRUE)
        frame = summary(read("made_up")).set_index("metric")
        assert frame.loc["macro_f1", ["mean", "ci_low", "ci_high"]].tolist() == [1, 1, 1]
        assert frame.loc["severe_errors", ["mean", "ci_low", "ci_high"]].tolist() == [0, 0, 0]

    def test_seeds_are_averaged(self, write):
        runs = {0: severe(0), 3: severe(0, 1, 2), 8: TRUE}
        for seed, predicted in runs.items():
            write("flexible@sum", seed, TRUE, predicted)
        frame = summary(read("made_up")).set_index("metric")
        assert set(frame["model"] + "@" + frame["variant"]) == {"flexible@sum"}
        assert (frame["n_seeds"] == 3).all()
        assert frame.loc["severe_errors", "mean"] == pytest.approx(4 / 3)
        assert frame.loc["severe_errors", "std"] == pytest.approx(np.std([1, 3, 0], ddof=1))
        scores = [f1(predicted) for predicted in runs.values()]
        assert frame.loc["macro_f1", "mean"] == pytest.approx(np.mean(scores))
        assert (frame["ci_low"] <= frame["mean"]).all()
        assert (frame["ci_high"] >= frame["mean"]).all()

    def test_macro_f1_leaves_rare_classes_out(self, write):
        predicted = wrong((50, "a/x/1"), (51, "a/x/1"), (3, "b/z/1"))
        write("triplet", 0, TRUE, predicted, unscored=("b/z/1",))
        frame = summary(read("made_up")).set_index("metric")
        assert frame.loc["macro_f1", "mean"] == pytest.approx(f1(predicted, CLASSES[:3]))
        assert frame.loc["accuracy", "mean"] == pytest.approx(57 / 60)

    def test_published_values_stand_beside_their_system_only(self, write):
        for system in ("cross_entropy", "triplet", "flexible", "flexible@sum"):
            write(system, 0, TRUE, TRUE, dataset="grocery_random")
            write(system, 0, TRUE, TRUE, dataset="grocery_official")
        frame = summary(read("grocery_random"))
        found = frame.dropna(subset="published")
        assert found[["model", "variant", "metric", "published"]].to_numpy().tolist() == [
            ["cross_entropy", "", "macro_f1", 0.72],
            ["triplet", "", "macro_f1", 0.82],
            ["flexible", "", "macro_f1", 0.88],
        ]
        assert summary(read("grocery_official"))["published"].isna().all()

    def test_names_that_look_like_numbers_or_gaps(self, write):
        for dataset, names in {"digits": ["007", "7", "1e3"], "gaps": ["NA", "null", "x"]}.items():
            true = [name for name in names for _ in range(4)]
            write("triplet", 0, true, [*true[:-1], names[0]], dataset=dataset)
            frame = summary(read(dataset)).set_index("metric")
            assert frame.loc["accuracy", "mean"] == pytest.approx(11 / 12)
            assert frame.loc["severe_errors", "mean"] == 1


class TestRead:
    def test_plainest_system_first(self, write):
        for system in ("zzz", "flexible@sum", "flexible", "cross_entropy", "triplet@two", "hybrid"):
            write(system, 0, TRUE, TRUE)
        assert list(read("made_up").systems) == [
            "cross_entropy",
            "triplet@two",
            "flexible",
            "flexible@sum",
            "hybrid",
            "zzz",
        ]

    def test_no_run(self, sandbox):
        with pytest.raises(StudyError, match="run `make study DATASET=made_up"):
            read("made_up")

    def test_an_unfinished_run_is_no_run(self, write):
        write("triplet", 0, TRUE, TRUE)
        (write("flexible", 0, TRUE, TRUE) / "metrics.json").unlink()
        assert list(read("made_up").systems) == ["triplet"]

    def test_other_test_images(self, write):
        write("triplet", 0, TRUE, TRUE)
        write("flexible", 0, TRUE[1:], TRUE[1:])
        with pytest.raises(StudyError, match="tested on different images"):
            read("made_up")


class TestComparisons:
    def test_sign_is_second_minus_first(self, write):
        worse = severe(0, 1, 16, 31, 46)
        write("cross_entropy", 0, TRUE, worse)
        write("flexible", 0, TRUE, TRUE)
        rows = comparisons(read("made_up")).set_index(["metric", "test"])
        assert set(rows["first"]) == {"cross_entropy"}
        assert set(rows["second"]) == {"flexible"}
        f1_row = rows.loc[("macro_f1", "paired bootstrap")]
        assert f1_row["difference"] == pytest.approx(1 - f1(worse))
        assert 0 < f1_row["ci_low"] < f1_row["difference"] < f1_row["ci_high"]
        severe_row = rows.loc[("severe_errors", "paired bootstrap")]
        assert severe_row["difference"] == -5
        assert severe_row["ci_low"] < -5 < severe_row["ci_high"] < 0
        assert severe_row["p"] < 0.05
        assert rows.loc[("severe_errors", "exact McNemar, seed 0"), "difference"] == -5

    @pytest.mark.parametrize(
        ("first", "second"), [((0, 1, 2, 3), (3, 4)), ((), (5, 6)), ((1,), (1,)), ((), ())]
    )
    def test_mcnemar(self, write, first, second):
        write("triplet", 0, TRUE, severe(*first))
        write("flexible", 0, TRUE, severe(*second))
        rows = comparisons(read("made_up"))
        row = rows[rows["test"].str.contains("McNemar")].iloc[0]
        only = len(set(first) - set(second)), len(set(second) - set(first))
        assert row["difference"] == only[1] - only[0]
        wanted = binomtest(only[0], sum(only), 0.5).pvalue if sum(only) else 1
        assert row["p"] == pytest.approx(wanted)

    def test_mcnemar_counts_severe_errors_only(self, write):
        write("triplet", 0, TRUE, wrong((0, "a/x/2"), (1, "a/y/y")))
        write("flexible", 0, TRUE, severe(20))
        rows = comparisons(read("made_up"))
        row = rows[rows["test"].str.contains("McNemar")].iloc[0]
        assert (row["difference"], row["p"]) == (1, 1)

    def test_seeds_in_common(self, write):
        for seed, items in {0: (0,), 1: (0, 1), 2: (0, 1, 2, 3)}.items():
            write("triplet", seed, TRUE, severe(*items))
        for seed, items in {1: (5,), 2: (5, 6, 7), 9: tuple(range(30))}.items():
            write("flexible", seed, TRUE, severe(*items))
        write("hybrid", 7, TRUE, TRUE)  # no seed in common with the others
        rows = comparisons(read("made_up"))
        assert set(zip(rows["first"], rows["second"], strict=True)) == {("triplet", "flexible")}
        boot = rows[rows["test"] == "paired bootstrap"].set_index("metric")
        assert (boot["seeds"] == 2).all()
        assert boot.loc["severe_errors", "difference"] == pytest.approx(((1 - 2) + (3 - 4)) / 2)
        exact = rows[rows["test"].str.contains("McNemar")]
        assert exact["test"].tolist() == ["exact McNemar, seed 1", "exact McNemar, seed 2"]
        assert exact["difference"].tolist() == [-1, -1]
        assert exact["p"].tolist() == pytest.approx(
            [binomtest(2, 3).pvalue, binomtest(4, 7).pvalue]
        )

    def test_one_system_has_no_comparison(self, write):
        write("triplet", 0, TRUE, TRUE)
        rows = comparisons(read("made_up"))
        assert isinstance(rows, pd.DataFrame)
        assert rows.empty
        assert list(rows.columns)[:4] == ["first", "second", "metric", "test"]

    def test_equal_systems_do_not_differ(self, write):
        for system in ("triplet", "flexible"):
            write(system, 0, TRUE, severe(0, 1))
        rows = comparisons(read("made_up"))
        assert (rows["difference"] == 0).all()
        assert (rows["p"] == 1).all()
