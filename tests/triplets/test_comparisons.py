"""Which systems are compared, and what the paired tests say, on run folders written by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import f1_score, normalized_mutual_info_score

from mistakes import CLASSES, TRUE, f1, severe, wrong
from studies.triplets.comparisons import paired_tests, pairs
from studies.triplets.results import read

pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture
def write(sandbox, write_run):
    return lambda *arguments, **options: write_run(sandbox / "root", *arguments, **options)


class TestPairs:
    @pytest.mark.parametrize(
        ("systems", "compared"),
        [
            ("triplet flexible hybrid", ["triplet flexible", "triplet hybrid", "flexible hybrid"]),
            ("flexible flexible@sum", ["flexible flexible@sum"]),
            ("triplet@images5 flexible@images5", ["triplet@images5 flexible@images5"]),
            ("triplet flexible@sum", []),
            ("triplet@images5 flexible@images10", []),
            ("flexible@images5 flexible@images10", []),
            # the 2×2 of margin and schedule, and the untrained controls
            ("triplet@hardest triplet@two_stages", ["triplet@hardest triplet@two_stages"]),
            ("triplet flexible@one_stage", ["triplet flexible@one_stage"]),
            ("flexible triplet@two_stages", ["flexible triplet@two_stages"]),
            ("flexible cross_entropy@untrained", ["flexible cross_entropy@untrained"]),
            (
                "cross_entropy@held_out_untrained flexible@held_out",
                ["cross_entropy@held_out_untrained flexible@held_out"],
            ),
            ("triplet cross_entropy@untrained", []),
            ("flexible", []),
        ],
    )
    def test_pairs(self, systems, compared):
        assert pairs(systems.split()) == [tuple(pair.split()) for pair in compared]


class TestPairedTests:
    def test_sign_is_second_minus_first(self, write):
        worse = severe(0, 1, 16, 31, 46)
        write("cross_entropy", 0, TRUE, worse)
        write("flexible", 0, TRUE, TRUE)
        rows = paired_tests(read("made_up")).set_index(["metric", "test"])
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
        rows = paired_tests(read("made_up"))
        row = rows[rows["test"].str.contains("McNemar")].iloc[0]
        only = len(set(first) - set(second)), len(set(second) - set(first))
        assert row["difference"] == only[1] - only[0]
        wanted = binomtest(only[0], sum(only), 0.5).pvalue if sum(only) else 1
        assert row["p"] == pytest.approx(wanted)

    def test_mcnemar_counts_severe_errors_only(self, write):
        write("triplet", 0, TRUE, wrong((0, "a/x/2"), (1, "a/y/y")))
        write("flexible", 0, TRUE, severe(20))
        rows = paired_tests(read("made_up"))
        row = rows[rows["test"].str.contains("McNemar")].iloc[0]
        assert (row["difference"], row["p"]) == (1, 1)

    def test_seeds_in_common(self, write):
        for seed, items in {0: (0,), 1: (0, 1), 2: (0, 1, 2, 3)}.items():
            write("triplet", seed, TRUE, severe(*items))
        for seed, items in {1: (5,), 2: (5, 6, 7), 9: tuple(range(30))}.items():
            write("flexible", seed, TRUE, severe(*items))
        write("hybrid", 7, TRUE, TRUE)  # no seed in common with the others
        rows = paired_tests(read("made_up"))
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
        rows = paired_tests(read("made_up"))
        assert isinstance(rows, pd.DataFrame)
        assert rows.empty
        assert list(rows.columns)[:4] == ["first", "second", "metric", "test"]

    def test_equal_systems_do_not_differ(self, write):
        for system in ("triplet", "flexible"):
            write(system, 0, TRUE, severe(0, 1))
        rows = paired_tests(read("made_up"))
        assert (rows["difference"] == 0).all()
        assert (rows["p"] == 1).all()

    def test_backwards_is_the_same_with_the_other_sign(self, write):
        predicted = severe(0, 1, 16, 31, 46), severe(3)
        found = []
        for dataset, order in {"there": (0, 1), "back": (1, 0)}.items():
            for system, k in zip(("triplet", "flexible"), order, strict=True):
                write(system, 0, TRUE, predicted[k], dataset=dataset)
            found.append(paired_tests(read(dataset)).set_index(["metric", "test"]))
        there, back = found
        assert there["difference"].tolist() == pytest.approx((-back["difference"]).tolist())
        assert there["p"].tolist() == pytest.approx(back["p"].tolist())
        boot = there["ci_low"].notna()
        assert there.loc[boot, "ci_low"].tolist() == pytest.approx(
            (-back["ci_high"])[boot].tolist()
        )


class TestMetrics:
    def test_classes_held_out_are_compared(self, write):
        held_out = {"unseen": CLASSES[:2]}
        bad, good = wrong((0, "a/y/y"), (1, "a/y/y"), (16, "a/x/1")), wrong((0, "a/y/y"))
        write("triplet@held_out", 0, TRUE, bad, **held_out)
        write("flexible@held_out", 0, TRUE, good, **held_out)
        write("flexible", 0, TRUE, TRUE)
        rows = paired_tests(read("made_up"))
        row = rows[rows["metric"] == "unseen_macro_f1"]
        assert row[["first", "second"]].to_numpy().tolist() == [
            ["triplet@held_out", "flexible@held_out"]
        ]
        scores = [
            f1_score(TRUE[:30], one[:30], labels=CLASSES[:2], average="macro")
            for one in (bad, good)
        ]
        assert row["difference"].item() == pytest.approx(scores[1] - scores[0])

    def test_the_space_is_compared_without_variants_and_across(self, write):
        rng = np.random.default_rng(0)
        clusters = {}
        for system in ("cross_entropy", "flexible", "flexible@sum", "cross_entropy@untrained"):
            clusters[system] = rng.integers(0, 4, (60, 3))
            write(system, 0, TRUE, TRUE, clusters=clusters[system])
        rows = paired_tests(read("made_up"))
        rows = rows[rows["metric"] == "nmi"].set_index(["first", "second"])
        assert set(rows.index) == {
            ("cross_entropy", "flexible"),
            ("flexible", "cross_entropy@untrained"),
        }
        for (first, second), row in rows.iterrows():
            scores = [
                normalized_mutual_info_score(TRUE, clusters[name][:, 2]) for name in (first, second)
            ]
            assert row["difference"] == pytest.approx(scores[1] - scores[0])
            assert row["ci_low"] < row["difference"] < row["ci_high"]
