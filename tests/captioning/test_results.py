"""The tidy table, on run folders written by hand."""

import numpy as np
import pytest

from sentences import refused
from spoken import IMAGES, Spoken, captions, people
from studies.captioning.results import read, summary
from studies.reporting import bootstrap

pytestmark = pytest.mark.usefixtures("few_resamples")

# errors of a system on each image, see `spoken.captions`; none is wholly right or wrong
ERRORS = np.random.default_rng(0).integers(0, 5, (3, IMAGES)).tolist()
METRICS = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
IDS = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider")


@pytest.fixture
def write(sandbox, write_run):
    def write(system, seed=0, errors=ERRORS[0], **options):
        given = people(len(errors))
        return write_run(sandbox / "root", system, seed, captions(errors), given, **options)

    return write


def rows(dataset="made_up"):
    return summary(read(dataset)).set_index("metric")


class TestSummary:
    def test_one_run(self, write):
        write("resnet_lstm@narrow")
        frame = rows()
        wanted = Spoken(captions(ERRORS[0]), people()).corpus()
        assert list(frame.index) == list(IDS)
        assert frame["mean"].tolist() == pytest.approx([wanted[metric] for metric in METRICS])
        for column, value in {
            "study": "captioning",
            "dataset": "made_up",
            "model": "resnet_lstm",
            "variant": "narrow",
            "n": IMAGES,
            "n_seeds": 1,
        }.items():
            assert (frame[column] == value).all()
        assert frame[["std", "published"]].isna().all(axis=None)
        assert (frame["ci_low"] < frame["mean"]).all()
        assert (frame["mean"] < frame["ci_high"]).all()

    def test_seeds_are_averaged(self, write):
        for seed, errors in zip((0, 4, 10), ERRORS, strict=True):
            write("resnet_lstm", seed, errors)
        frame = rows()
        of_seeds = [Spoken(captions(errors), people()).corpus() for errors in ERRORS]
        for metric, name in zip(METRICS, IDS, strict=True):
            values = [one[metric] for one in of_seeds]
            assert frame.loc[name, "mean"] == pytest.approx(np.mean(values))
            assert frame.loc[name, "std"] == pytest.approx(np.std(values, ddof=1))
        assert (frame["n_seeds"] == 3).all()
        assert (frame["n"] == IMAGES).all()

    @pytest.mark.parametrize("seeds", [1, 3])
    def test_intervals_are_those_of_captions_drawn_and_scored_again(self, write, seeds):
        for seed in range(seeds):
            write("clip_transformer", seed, ERRORS[seed])
        frame = rows()
        known = [Spoken(captions(errors), people()) for errors in ERRORS]
        for metric, name in zip(METRICS, IDS, strict=True):
            samples = bootstrap.bootstrap(
                lambda items, k, m=metric: known[k].corpus(items.tolist())[m], IMAGES, seeds
            )
            assert frame.loc[name, ["ci_low", "ci_high"]].tolist() == pytest.approx(
                bootstrap.interval(samples), rel=1e-6
            )

    def test_without_an_error_there_is_no_spread(self, write):
        write("resnet_lstm", errors=[0] * IMAGES)
        frame = rows().drop("cider")  # which weighs words, and rare ones more
        assert frame[["mean", "ci_low", "ci_high"]].to_numpy() == pytest.approx(1)

    def test_scores_of_a_run_are_those_it_was_given(self, write):
        write("resnet_lstm")
        (kept,) = read("made_up").scores["resnet_lstm"]
        known = Spoken(captions(ERRORS[0]), people())
        np.testing.assert_allclose(kept.by_image[list(METRICS)], known.by_image[list(METRICS)])
        assert kept.bleu_counts.tolist() == known.bleu_counts
        assert kept.meteor_counts.tolist() == known.meteor_counts


class TestPublished:
    SYSTEMS = ("most_frequent", "resnet_lstm", "resnet_transformer", "clip_transformer")

    def test_beside_their_system_only(self, write):
        for system in (*self.SYSTEMS, "clip_transformer@trained"):
            write(system, dataset="flickr8k")
        frame = summary(read("flickr8k")).dropna(subset="published")
        # slides of A. Kochetkov and D. Khoroshenko: BLEU-4, METEOR, ROUGE-L, CIDEr
        table = {
            "resnet_lstm": (0.194, 0.216, 0.461, 0.516),
            "resnet_transformer": (0.229, 0.232, 0.477, 0.613),
            "clip_transformer": (0.253, 0.245, 0.501, 0.684),
        }
        wanted = [
            [model, "", metric, value]
            for model, values in table.items()
            for metric, value in zip(IDS[3:], values, strict=True)
        ]
        found = frame[["model", "variant", "metric", "published"]]
        assert found.to_numpy().tolist() == wanted

    @pytest.mark.parametrize("dataset", ["flickr8k_scratch", "flickr8k_karpathy", "demo"])
    def test_not_on_other_data(self, write, dataset):
        for system in self.SYSTEMS:
            write(system, dataset=dataset)
        assert summary(read(dataset))["published"].isna().all()


class TestRead:
    def test_baselines_come_first_and_variants_last(self, write):
        mixed = (
            "zzz",
            "clip_transformer",
            "resnet_lstm@a",
            "nearest_neighbour",
            "resnet_transformer",
            "nearest_neighbour@pooled",
            "aaa",
            "most_frequent",
            "resnet_lstm",
        )
        for system in mixed:
            write(system)
        results = read("made_up")
        assert list(results.systems) == [
            "most_frequent",
            "nearest_neighbour",
            "resnet_lstm",
            "resnet_transformer",
            "clip_transformer",
            "aaa",
            "zzz",
            "nearest_neighbour@pooled",
            "resnet_lstm@a",
        ]
        assert list(results.systems) == list(dict.fromkeys(summary(results).pipe(system_of)))
        assert results.trained == [
            "resnet_lstm",
            "resnet_transformer",
            "clip_transformer",
            "aaa",
            "zzz",
            "resnet_lstm@a",
        ]

    def test_runs_of_a_system_are_its_seeds(self, write):
        for seed in (0, 2, 11):
            write("resnet_lstm", seed)
        write("most_frequent")
        results = read("made_up")
        assert sorted(results.seeds("resnet_lstm")) == [0, 2, 11]
        assert results.seeds("most_frequent") == [0]
        assert len(results.runs) == 4
        assert results.items == IMAGES

    def test_no_run(self, sandbox):
        message = refused(read, "made_up")
        assert str(sandbox / "root" / "runs" / "made_up" / "captioning") in message
        assert "run `make study DATASET=made_up STUDY=captioning` first" in message

    def test_an_unfinished_run_is_no_run(self, write):
        write("resnet_lstm")
        (write("clip_transformer") / "metrics.json").unlink()
        assert list(read("made_up").systems) == ["resnet_lstm"]

    def test_other_test_images(self, write):
        write("resnet_lstm")
        write("clip_transformer", errors=ERRORS[0][1:])
        assert "runs were tested on different images; delete those" in refused(read, "made_up")

    def test_a_run_that_lost_its_predictions(self, write):
        write("resnet_lstm")
        folder = write("clip_transformer")
        (folder / "predictions.parquet").unlink()
        message = refused(read, "made_up")
        assert message.startswith(f"{folder} has no predictions.parquet: run its command again")


def system_of(frame):
    return frame["model"] + frame["variant"].where(frame["variant"] == "", "@" + frame["variant"])
