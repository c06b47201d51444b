"""The tidy table, on run folders written by hand."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from mistakes import CLASSES, TRUE, f1, severe, wrong
from studies.paths import StudyError
from studies.triplets.results import read, summary, unbiased

pytestmark = pytest.mark.usefixtures("few_resamples")


@pytest.fixture
def write(sandbox, write_run):
    return lambda *arguments, **options: write_run(sandbox / "root", *arguments, **options)


class TestSummary:
    def test_one_run(self, write):
        predicted = wrong((0, "a/x/2"), (1, "a/y/y"), (2, "b/z/1"), (50, "a/x/1"))
        clusters = np.random.default_rng(0).integers(0, 4, (60, 3))
        ranks = np.repeat([1, 2, 5, 6, 0], 12)  # 0: no other image of the class
        write("triplet", 0, TRUE, predicted, clusters=clusters, first_match=ranks)
        frame = summary(read("made_up")).set_index("metric")
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
        assert (frame["n_seeds"] == 1).all()
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
        assert (frame.loc[~alone, "n"] == 60).all()
        assert (frame.loc[alone, "n"] == 30).all()
        assert set(frame.loc[alone, "variant"]) == {"held_out"}
        unseen = frame[alone].set_index("metric")
        # of the class that counts: 13 hits, 15 times true, 14 times predicted
        assert unseen.loc["unseen_accuracy", "mean"] == pytest.approx(27 / 30)
        assert unseen.loc["unseen_macro_f1", "mean"] == pytest.approx(2 * 13 / (15 + 14))

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
        write("flexible", 0, TRUE, TRUE, dataset="grocery_official")
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


class TestClusters:
    def test_the_interval_of_chance_holds_its_mean(self, write):
        clusters = np.random.default_rng(1).integers(0, 12, (60, 3))
        for seed in range(2):
            write("triplet", seed, TRUE, TRUE, clusters=np.roll(clusters, seed, axis=0))
        frame = summary(read("made_up")).set_index("metric")
        for metric in ("nmi", "ari", "nmi_level1", "ari_level1"):
            low, mean, high = frame.loc[metric, ["ci_low", "mean", "ci_high"]]
            assert low < mean < high
        assert abs(frame.loc["ari", "mean"]) < 0.1

    def test_resamples_of_chance_agree_too_well(self):
        # what `unbiased` is for: an image drawn twice is in one cluster with itself
        rng = np.random.default_rng(2)
        labels, clusters = np.repeat(np.arange(4), 15), rng.integers(0, 12, 60)
        drawn = rng.integers(0, 60, (200, 60))
        samples = np.array([normalized_mutual_info_score(labels[i], clusters[i]) for i in drawn])
        observed = normalized_mutual_info_score(labels, clusters)
        assert np.quantile(samples, 0.025) > observed
        moved = unbiased("nmi", samples, observed)
        assert moved.mean() == pytest.approx(observed)
        assert np.ptp(moved) == pytest.approx(np.ptp(samples))

    @pytest.mark.parametrize("metric", ["macro_f1", "severe_errors", "recall_at_1"])
    def test_other_metrics_are_left_alone(self, metric):
        samples = np.array([0.1, 0.4])
        assert unbiased(metric, samples, 0.9) is samples


class TestRead:
    def test_variants_come_last_and_the_plainest_method_first(self, write):
        for system in ("zzz", "flexible@sum", "flexible", "cross_entropy", "triplet@two", "hybrid"):
            write(system, 0, TRUE, TRUE)
        assert list(read("made_up").systems) == [
            "zzz",
            "cross_entropy",
            "flexible",
            "hybrid",
            "triplet@two",
            "flexible@sum",
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
