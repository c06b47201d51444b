"""What an evaluated run folder holds, computed again from images, captions and pycocoevalcap.

And the trivial baselines, against a loop over all images and pixels from Pillow.
"""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from studies.captioning import data, evaluate
from studies.captioning.evaluate import (
    IDS,
    baseline,
    feature_space,
    most_frequent,
    nearest_neighbour,
)
from studies.captioning.metrics import METRICS, corpus, scored
from studies.captioning.params import NearestNeighbour
from studies.captioning.readers import CaptionedImages
from studies.inputs import images
from studies.runs.folder import load_run

# squares, and the twenty numbers of their files are four colours in turn
COLOURS = ["red", "green", "blue", "grey"]
TEST = [f"{k:02}.jpg" for k in range(4, 20, 5)]
COUNTS = ["bleu_counts", "meteor_counts"]
TRAINED = {"checkpoint", "curves.csv", "steps.csv", "model.safetensors"}
EVALUATED = {
    *("params.yaml", "provenance.json"),
    *("predictions.parquet", "items.json", "metrics.json"),
}


def colour(file: str) -> str:
    return COLOURS[int(file[:2]) % 4]


def names(folder) -> set[str]:
    return {file.name for file in folder.iterdir()} - {".lock"}


@pytest.fixture(scope="module")
def chosen(squares):
    """A system that is trained long enough to tell the colours."""
    return squares("clip_transformer", epochs=20, validate_every=5, learning_rate=0.005)


@pytest.fixture(scope="module")
def world(tmp_path_factory, flickr8k_folder, chosen):
    """Data, and a run that evaluation itself trained."""
    folder = tmp_path_factory.mktemp("evaluated")
    flickr8k_folder(folder / "data" / "flickr8k")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_ROOT", str(folder / "root"))
        patch.setenv("STUDIES_DATA", str(folder / "data"))
        evaluate.evaluate(chosen)
    return folder


@pytest.fixture
def run(world, chosen, monkeypatch):
    """The evaluated run, with the paths of the house pointing there."""
    monkeypatch.setenv("STUDIES_ROOT", str(world / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(world / "data"))
    return load_run(chosen.folder())


class TestRunFolder:
    def test_predictions_and_metrics(self, run, world, chosen):
        frame = run.predictions
        assert list(frame.columns) == ["id", "cluster", "candidate", *METRICS, *COUNTS]
        assert frame["id"].tolist() == TEST
        for row in frame.itertuples():
            assert colour(row.id) in row.candidate.split()
        assert frame["cluster"].tolist() == [0, 1, 2, 3]
        counts = [(one["part"], one["images"], one["captions"]) for one in run.items["parts"]]
        assert counts == [("train", 12, 60), ("validation", 4, 20), ("test", 4, 20)]
        files = [world / "data" / "flickr8k" / "Flicker8k_Dataset" / name for name in TEST]
        pixels = np.stack([images.decode(file, 32) for file in files])
        assert run.model().caption(pixels) == frame["candidate"].tolist()

        rows = frame.set_index("id")
        dataset = data.read(chosen)
        people = dict(zip(dataset.files, dataset.captions, strict=True))
        scores = scored(rows["candidate"].to_dict(), {name: people[name] for name in TEST})
        columns = [*METRICS, *COUNTS]
        pd.testing.assert_frame_equal(rows[columns], scores[columns], check_index_type=False)
        wanted = {IDS[metric]: value for metric, value in corpus(scores).items()}
        wanted |= {"n": 4, "distinct": frame["candidate"].nunique()}
        assert run.metrics == wanted  # and so no times
        assert names(run.folder) == TRAINED | EVALUATED
        assert run.provenance["best_epoch"] > 0  # still that of training


class TestBaselines:
    @pytest.mark.parametrize(
        ("model", "captions"),
        [
            ("most_frequent", ["a red square"] * 4),  # the first of many
            ("nearest_neighbour", [f"A {colour(name)} square ." for name in TEST]),
        ],
    )
    def test_nothing_is_trained(self, few, squares, unscored, model, captions):
        run = load_run(evaluate.evaluate(squares(model)))
        assert names(run.folder) == EVALUATED
        facts = run.provenance
        assert facts["images"] == {"train": 12, "validation": 4, "test": 4}
        assert len(facts["dataset_fingerprint"]) == 32
        assert "best_epoch" not in facts
        assert run.predictions["id"].tolist() == TEST
        assert run.predictions["candidate"].tolist() == captions
        assert run.metrics["distinct"] == len(set(captions))


class TestMostFrequent:
    def test_rare_words_do_not_make_captions_alike(self, plates, tmp_path):
        captions = [["a man swims", "a man runs", "a dog"], ["a man reads", "a dog"], ["a dish"]]
        dataset = CaptionedImages(tmp_path, ["0", "1", "2"], captions, None)
        parts = np.array(["train", "train", "test"])
        # with words below min_count unknown, `a man …` would be written three times
        assert baseline(plates("most_frequent", min_count=2), dataset, parts) == ["a dog"]

    def test_the_first_of_several_and_a_long_one_is_cut(self):
        assert most_frequent(["A cat .", "Two dogs !", "two dogs .", "a Cat", "cat"], 50) == "a cat"
        assert most_frequent(["a b c d", "a b c", "a b", "a b"], 3) == "a b c"


def named(count):
    return [[f"caption {k}", "another"] for k in range(count)]


class TestNearestNeighbour:
    def test_as_a_loop_says(self):
        rng = np.random.default_rng(0)
        known, wanted = rng.normal(size=(30, 5)), rng.normal(size=(300, 5))
        expected = []
        for one in wanted:
            cosines = [one @ other / np.linalg.norm(other) for other in known]
            expected.append(f"caption {cosines.index(max(cosines))}")
        assert nearest_neighbour(known, named(30), wanted) == expected
        scaled = (known * rng.uniform(0.1, 30, (30, 1))).astype(np.float32)
        assert nearest_neighbour(scaled, named(30), wanted) == expected

    def test_the_first_of_several_and_features_of_nothing(self):
        known = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
        assert nearest_neighbour(known, named(3), np.array([[3.0, 0.0]])) == ["caption 1"]
        with np.errstate(all="raise"):
            known = np.array([[0.0, 0.0], [1.0, 1.0]])
            found = nearest_neighbour(known, named(2), np.array([[0.0, 0.0], [0.5, 0.2]]))
        assert found == ["caption 0", "caption 1"]

    @pytest.fixture
    def album(self, sandbox):
        """Six small pictures, and their pixels."""
        rng = np.random.default_rng(0)
        pixels = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
        for k, picture in enumerate(pixels):
            Image.fromarray(picture).save(sandbox / f"{k}.png")
        return CaptionedImages(sandbox, [f"{k}.png" for k in range(6)], named(6), None), pixels

    @pytest.mark.parametrize("side", [8, 2])
    def test_thumbnails_are_pixels_less_their_mean_in_training(self, album, side):
        dataset, pixels = album
        small = [
            Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC)
            for picture in pixels
        ]
        flat = np.stack([np.asarray(one).transpose(2, 0, 1).ravel() for one in small]).astype(float)
        features = {"name": "thumbnail", "side": side}
        space = NearestNeighbour.model_validate({"name": "nearest_neighbour", "features": features})
        found = feature_space(dataset, space, np.arange(4))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, flat - flat[:4].mean(0), atol=1e-4)
