"""The tidy table and the paired tests, on run folders written by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import adjusted_rand_score, f1_score, normalized_mutual_info_score

from mistakes import CLASSES, TRUE, f1, severe, wrong
from sentences import refused
from studies.triplets.results import centred, paired_tests, pairs, read, summary

pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture
def write(sandbox, write_run):
    return lambda *arguments, **options: write_run(sandbox / "root", *arguments, **options)


def means(dataset="made_up"):
    return summary(read(dataset)).set_index("metric")


class TestSummary:
    def test_one_run(self, write):
        predicted = wrong((0, "a/x/2"), (1, "a/y/y"), (2, "b/z/1"), (50, "a/x/1"))
        clusters = np.random.default_rng(0).integers(0, 4, (60, 3))
        ranks = np.repeat([1, 2, 5, 6, 0], 12)  # 0: no other image of the class
        write("triplet", 0, TRUE, predicted, clusters=clusters, first_match=ranks)
        frame = means()
        top = [name[0] for name in TRUE]
        assert frame["mean"].to_dict() == pytest.approx(
            {
                "macro_f1": f1(predicted),
                "severe_errors": 2,
                "accuracy": 56 / 60,
                "accuracy_level1": 58 / 60,
                "accuracy_level2": 57 / 60,
                "accuracy_level3": 56 / 60,
                "nmi": normalized_mutual_info_score(TRUE, clusters[:, 2]),
                "ari": adjusted_rand_score(TRUE, clusters[:, 2]),
                "nmi_level1": normalized_mutual_info_score(top, clusters[:, 0]),
                "ari_level1": adjusted_rand_score(top, clusters[:, 0]),
                "recall_at_1": 12 / 48,
                "recall_at_5": 36 / 48,
            }
        )
        assert (frame["n"] == 60).all()
        assert frame["std"].isna().all()
        assert frame["published"].isna().all()
        assert (frame["ci_low"] < frame["mean"]).all()
        assert (frame["ci_high"] > frame["mean"]).all()

    def test_classes_held_out_are_scored_on_their_own_images(self, write):
        predicted = wrong((0, "a/x/2"), (1, "b/z/1"), (50, "a/x/1"), (20, "a/x/1"))
        held_out = ("a/x/1", "a/x/2")
        write("triplet", 0, TRUE, predicted, unscored=("a/x/2",))
        write("triplet@held_out", 0, TRUE, predicted, unscored=("a/x/2",), unseen=held_out)
        frame = summary(read("made_up"))
        alone = frame["metric"].str.startswith("unseen")
        assert set(frame.loc[~alone, "n"]) == {60}
        assert set(frame.loc[alone, "n"]) == {30}
        assert set(frame.loc[alone, "variant"]) == {"held_out"}
        unseen = frame[alone].set_index("metric")["mean"]
        # of the class that counts: 13 hits, 15 times true, 14 times predicted
        assert unseen["unseen_accuracy"] == pytest.approx(27 / 30)
        assert unseen["unseen_macro_f1"] == pytest.approx(2 * 13 / (15 + 14))

    def test_seeds_are_averaged(self, write):
        runs = {0: severe(0), 3: severe(0, 1, 2), 8: TRUE}
        for seed, predicted in runs.items():
            write("flexible@sum", seed, TRUE, predicted)
        frame = means()
        assert set(frame["model"] + "@" + frame["variant"]) == {"flexible@sum"}
        assert (frame["n_seeds"] == 3).all()
        assert frame.loc["severe_errors", "mean"] == pytest.approx(4 / 3)
        assert frame.loc["severe_errors", "std"] == pytest.approx(np.std([1, 3, 0], ddof=1))
        scores = [f1(predicted) for predicted in runs.values()]
        assert frame.loc["macro_f1", "mean"] == pytest.approx(np.mean(scores))
        assert (frame["ci_low"] <= frame["mean"]).all()
        assert (frame["ci_high"] >= frame["mean"]).all()

    def test_published_values_stand_beside_their_system_only(self, write):
        for system in ("cross_entropy", "triplet", "flexible", "flexible@sum"):
            write(system, 0, TRUE, TRUE, dataset="grocery_random")
        frame = summary(read("grocery_random")).dropna(subset="published")
        columns = ["model", "variant", "metric", "published"]
        assert frame[columns].to_numpy().tolist() == [
            ["cross_entropy", "", "macro_f1", 0.72],
            ["triplet", "", "macro_f1", 0.82],
            ["flexible", "", "macro_f1", 0.88],
        ]

    def test_names_that_look_like_numbers_or_gaps(self, write):
        for dataset, names in {"digits": ["007", "7", "1e3"], "gaps": ["NA", "null", "x"]}.items():
            true = [name for name in names for _ in range(4)]
            write("triplet", 0, true, [*true[:-1], names[0]], dataset=dataset)
            assert means(dataset).loc["accuracy", "mean"] == pytest.approx(11 / 12)

    def test_resamples_of_chance_agree_too_well_and_are_moved(self, write):
        clusters = np.random.default_rng(1).integers(0, 12, (60, 3))
        for seed in range(2):
            write("triplet", seed, TRUE, TRUE, clusters=np.roll(clusters, seed, axis=0))
        frame = means()
        for metric in ("nmi", "ari", "nmi_level1", "ari_level1"):
            low, mean, high = frame.loc[metric, ["ci_low", "mean", "ci_high"]]
            assert low < mean < high
        assert abs(frame.loc["ari", "mean"]) < 0.1
        # an image drawn twice is in one cluster with itself
        rng = np.random.default_rng(2)
        labels, clusters = np.repeat(np.arange(4), 15), rng.integers(0, 12, 60)
        drawn = rng.integers(0, 60, (200, 60))
        samples = np.array([normalized_mutual_info_score(labels[i], clusters[i]) for i in drawn])
        observed = normalized_mutual_info_score(labels, clusters)
        assert np.quantile(samples, 0.025) > observed
        moved = centred({0: samples}, observed)[0]
        assert moved.mean() == pytest.approx(observed)
        assert np.ptp(moved) == pytest.approx(np.ptp(samples))


class TestRead:
    def test_variants_come_last_and_the_plainest_method_first(self, write):
        for system in ("zzz", "flexible@sum", "flexible", "cross_entropy", "triplet@two", "hybrid"):
            write(system, 0, TRUE, TRUE)
        ordered = ["zzz", "cross_entropy", "flexible", "hybrid", "triplet@two", "flexible@sum"]
        assert list(read("made_up").systems) == ordered

    def test_other_test_images(self, write):
        assert "made_up" in refused(read, "made_up")  # no run
        write("triplet", 0, TRUE, TRUE)
        write("flexible", 0, TRUE[1:], TRUE[1:])
        assert "different images" in refused(read, "made_up")


@pytest.mark.parametrize(
    ("systems", "compared"),
    [
        ("triplet flexible hybrid", ["triplet flexible", "triplet hybrid", "flexible hybrid"]),
        ("flexible flexible@sum", ["flexible flexible@sum"]),
        ("triplet@images5 flexible@images5", ["triplet@images5 flexible@images5"]),
        ("triplet flexible@sum", []),
        ("flexible@images5 flexible@images10", []),
        # the 2×2 of margin and schedule, and the untrained controls
        ("triplet@hardest triplet@two_stages", ["triplet@hardest triplet@two_stages"]),
        ("triplet flexible@one_stage", ["triplet flexible@one_stage"]),
        ("flexible cross_entropy@untrained", ["flexible cross_entropy@untrained"]),
        ("triplet cross_entropy@untrained", []),
    ],
)
def test_which_systems_are_compared(systems, compared):
    assert pairs(systems.split()) == [tuple(pair.split()) for pair in compared]


class TestPairedTests:
    def test_sign_is_second_minus_first(self, write):
        worse = severe(0, 1, 16, 31, 46)
        write("cross_entropy", 0, TRUE, worse)
        write("flexible", 0, TRUE, TRUE)
        rows = paired_tests(read("made_up")).set_index(["metric", "test"])
        assert set(rows["first"] + rows["second"]) == {"cross_entropyflexible"}
        f1_row = rows.loc[("macro_f1", "paired bootstrap")]
        assert f1_row["difference"] == pytest.approx(1 - f1(worse))
        assert 0 < f1_row["ci_low"] < f1_row["difference"] < f1_row["ci_high"]
        severe_row = rows.loc[("severe_errors", "paired bootstrap")]
        assert severe_row["difference"] == -5
        assert severe_row["ci_low"] < -5 < severe_row["ci_high"] < 0
        assert severe_row["p"] < 0.05

    @pytest.mark.parametrize(
        ("first", "second"), [((0, 1, 2, 3), (3, 4)), ((), (5, 6)), ((1,), (1,))]
    )
    def test_mcnemar_counts_severe_errors_only(self, write, first, second):
        mild = [(50, "b/z/1"), *((i, "a/y/y") for i in range(10, 15))]
        write("triplet", 0, TRUE, wrong(*mild, *((i, "b/z/1") for i in first)))
        write("flexible", 0, TRUE, severe(*second))
        rows = paired_tests(read("made_up"))
        row = rows[rows["test"].str.contains("McNemar")].iloc[0]
        only = len(set(first) - set(second)), len(set(second) - set(first))
        assert row["difference"] == only[1] - only[0]
        wanted = binomtest(only[0], sum(only), 0.5).pvalue if sum(only) else 1
        assert row["p"] == pytest.approx(wanted)

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
        wanted = [binomtest(2, 3).pvalue, binomtest(4, 7).pvalue]
        assert exact["p"].tolist() == pytest.approx(wanted)

    def test_equal_systems_do_not_differ_and_one_has_no_comparison(self, write):
        write("triplet", 0, TRUE, severe(0, 1))
        rows = paired_tests(read("made_up"))
        assert rows.empty
        assert list(rows.columns)[:4] == ["first", "second", "metric", "test"]
        write("flexible", 0, TRUE, severe(0, 1))
        rows = paired_tests(read("made_up"))
        assert (rows["difference"] == 0).all()
        assert (rows["p"] == 1).all()

    def test_classes_held_out_are_compared(self, write):
        bad, good = wrong((0, "a/y/y"), (1, "a/y/y"), (16, "a/x/1")), wrong((0, "a/y/y"))
        write("triplet@held_out", 0, TRUE, bad, unseen=CLASSES[:2])
        write("flexible@held_out", 0, TRUE, good, unseen=CLASSES[:2])
        write("flexible", 0, TRUE, TRUE)
        rows = paired_tests(read("made_up"))
        row = rows[rows["metric"] == "unseen_macro_f1"]
        assert row["first"].tolist() == ["triplet@held_out"]
        scores = [
            f1_score(TRUE[:30], one[:30], labels=CLASSES[:2], average="macro")
            for one in (bad, good)
        ]
        assert row["difference"].item() == pytest.approx(scores[1] - scores[0])

    def test_the_space_is_compared_without_variants_and_across(self, write):
        rng, clusters = np.random.default_rng(0), {}
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
