"""What an evaluated run folder holds, computed again from its predictions alone."""

import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from studies.errors import StudyError
from studies.runs import load_run
from studies.triplets import data
from studies.triplets.evaluate import evaluate, flat_map

SYSTEMS = ["cross_entropy", "triplet", "flexible", "flexible@sum"]


@pytest.mark.parametrize("system", SYSTEMS)
class TestRunFolder:
    def test_predictions(self, colour_runs, parameters, system):
        frame = load_run(colour_runs[system]).predictions
        assert list(frame.columns) == [
            "id",
            *(f"{kind}_level{level}" for kind in ("true", "predicted") for level in (1, 2, 3)),
            "confidence",
            "map_x",
            "map_y",
        ]
        found = data.read(parameters(system))
        parts = data.split(found, parameters(system))
        wanted = [file for file, part in zip(found.files, parts, strict=True) if part == "test"]
        assert frame["id"].tolist() == wanted
        assert len(frame) == 7 * 6
        for row in frame.itertuples():
            folders = row.id.split("/")[:-1]
            folders += folders[-1:] * (3 - len(folders))
            truth = ["/".join(folders[:depth]) for depth in (1, 2, 3)]
            assert [row.true_level1, row.true_level2, row.true_level3] == truth
            assert row.predicted_level3.startswith(f"{row.predicted_level2}/")
            assert row.predicted_level2.startswith(f"{row.predicted_level1}/")
        assert frame["confidence"].between(1 / 7 - 1e-6, 1).all()
        assert np.isfinite(frame[["map_x", "map_y"]]).all(axis=None)

    def test_metrics_follow_from_the_predictions(self, colour_runs, system):
        loaded = load_run(colour_runs[system])
        frame = loaded.predictions
        right = pd.DataFrame(
            {k: frame[f"true_level{k}"] == frame[f"predicted_level{k}"] for k in (1, 2, 3)}
        )
        truth, predicted = frame["true_level3"], frame["predicted_level3"]
        wanted = {
            "macro_f1": f1_score(truth, predicted, average="macro", labels=sorted(set(truth))),
            "severe_errors": int((~right[1]).sum()),
            "accuracy": accuracy_score(truth, predicted),
            **{f"accuracy_level{k}": right[k].mean() for k in (1, 2, 3)},
            "n": 42,
            "n_classes": 7,
        }
        assert loaded.metrics == pytest.approx(wanted)
        assert list(loaded.metrics) == list(wanted)

    def test_classes(self, colour_runs, system):
        frame = pd.read_csv(colour_runs[system] / "classes.csv")
        assert list(frame.columns) == ["class", "images", "scored"]
        assert frame["class"].tolist() == sorted(frame["class"])
        assert "cold/green/green" in set(frame["class"])
        assert (frame["images"] == 30).all()
        assert frame["scored"].all()

    def test_files(self, colour_runs, system):
        names = {file.name for file in colour_runs[system].iterdir()} - {".lock"}
        assert names == {
            "params.yaml",
            "provenance.json",
            "curves.csv",
            "checkpoint",
            "model.safetensors",
            "classes.csv",
            "predictions.parquet",
            "metrics.json",
        }
        assert "seconds" not in (colour_runs[system] / "metrics.json").read_text()


def test_all_systems_are_tested_on_the_same_images(colour_runs):
    frames = [load_run(folder).predictions for folder in colour_runs.values()]
    for frame in frames[1:]:
        assert (frame["id"] == frames[0]["id"]).all()
        assert (frame["true_level3"] == frames[0]["true_level3"]).all()


@pytest.fixture
def copy(sandbox, trained):
    """A trained world of one's own, to break."""
    shutil.copytree(trained / "data", sandbox / "data", dirs_exist_ok=True)
    shutil.copytree(trained / "root", sandbox / "root")
    return sandbox


class TestOnce:
    def test_an_evaluated_run_is_left_alone(self, copy, parameters, capsys):
        folder = evaluate(parameters("triplet"))
        assert "already evaluated" in capsys.readouterr().out
        (folder / "metrics.json").unlink()
        before = (folder / "predictions.parquet").read_bytes()
        evaluate(parameters("triplet"))
        assert (folder / "predictions.parquet").read_bytes() == before

    @pytest.mark.parametrize("change", ["added", "removed", "edited"])
    def test_other_images_than_in_training_are_refused(self, copy, parameters, draw, change):
        folder = parameters("triplet").folder()
        (folder / "metrics.json").unlink()
        root = copy / "data" / "colours"
        if change == "removed":
            (root / "cold/green/00.png").unlink()
        else:
            draw(root / f"cold/green/{'00' if change == 'edited' else 'new'}.png", seed=1234)
        with pytest.raises(StudyError, match="trained on other images") as caught:
            evaluate(parameters("triplet"))
        assert "\n" not in str(caught.value)
        assert not (folder / "metrics.json").exists()

    def test_a_moved_dataset_is_the_same(self, copy, parameters, monkeypatch):
        (copy / "data").rename(copy / "moved")
        monkeypatch.setenv("STUDIES_DATA", str(copy / "moved"))
        (parameters("triplet").folder() / "metrics.json").unlink()
        assert load_run(evaluate(parameters("triplet"))).metrics["n"] == 42

    def test_min_count_leaves_classes_out(self, copy, parameters):
        for file in (copy / "data/colours/cold/green").iterdir():
            if file.stem > "19":
                file.unlink()
        settings = parameters("triplet", min_count=20, dataset="fewer")
        loaded = load_run(evaluate(settings))
        frame = pd.read_csv(loaded.folder / "classes.csv").set_index("class")
        assert frame.loc["cold/green/green", ["images", "scored"]].tolist() == [20, False]
        assert frame["scored"].sum() == loaded.metrics["n_classes"] == 6
        truth, predicted = (loaded.predictions[f"{k}_level3"] for k in ("true", "predicted"))
        labels = sorted(set(truth) - {"cold/green/green"})
        wanted = f1_score(truth, predicted, average="macro", labels=labels)
        assert loaded.metrics["macro_f1"] == pytest.approx(wanted)


class TestMap:
    @pytest.mark.parametrize("size", [0, 1, 3])
    def test_too_few_points_have_no_map(self, size):
        assert flat_map(np.ones((size, 8), np.float32), 0).tolist() == [[0, 0]] * size

    @pytest.mark.parametrize("size", [4, 5, 60])
    def test_a_collapsed_embedding_has_no_map(self, size):
        points = np.full((size, 8), 8**-0.5, np.float32)
        assert (flat_map(points, 0) == 0).all()
        points[::2] = np.nextafter(points[::2], 1)  # equal but for rounding
        assert (flat_map(points, 0) == 0).all()

    def test_neighbours_stay_neighbours(self):
        rng = np.random.default_rng(0)
        centres = np.eye(8, dtype=np.float32)[:3].repeat(10, axis=0)
        points = centres + rng.normal(0, 0.01, centres.shape).astype(np.float32)
        mapped = flat_map(points, 0)
        assert mapped.shape == (30, 2)
        assert np.array_equal(mapped, flat_map(points, 0))
        distances = np.linalg.norm(mapped[:, None] - mapped[None], axis=-1)
        nearest = np.argsort(distances, axis=1)[:, 1]
        assert (nearest // 10 == np.arange(30) // 10).all()
