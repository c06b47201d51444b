"""What an evaluated run folder holds, computed again from its predictions alone."""

import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    adjusted_rand_score,
    f1_score,
    normalized_mutual_info_score,
)
from sklearn.neighbors import NearestNeighbors

from sentences import refused
from studies.paths import StudyError
from studies.runs.folder import load_run
from studies.triplets import data
from studies.triplets.evaluate import evaluate, flat_map

SYSTEMS = ["cross_entropy", "triplet", "flexible", "flexible@sum", "hybrid"]


@pytest.mark.parametrize("system", SYSTEMS)
class TestRunFolder:
    def test_predictions(self, colour_runs, parameters, system):
        frame = load_run(colour_runs[system]).predictions
        assert list(frame.columns) == [
            "id",
            *(
                f"{kind}_{name}"
                for kind in ("true", "predicted")
                for name in ("class", "level1", "level2", "level3")
            ),
            *(f"cluster_level{level}" for level in (1, 2, 3)),
            "first_match",
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
            assert row.true_class == row.true_level3
            assert row.predicted_class == row.predicted_level3
            assert row.predicted_level3.startswith(f"{row.predicted_level2}/")
            assert row.predicted_level2.startswith(f"{row.predicted_level1}/")
        assert [frame[f"cluster_level{k}"].nunique() for k in (1, 2, 3)] == [2, 4, 7]
        assert frame["first_match"].between(1, 41).all()
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
            "nmi": normalized_mutual_info_score(truth, frame["cluster_level3"]),
            "ari": adjusted_rand_score(truth, frame["cluster_level3"]),
            "nmi_level1": normalized_mutual_info_score(
                frame["true_level1"], frame["cluster_level1"]
            ),
            "ari_level1": adjusted_rand_score(frame["true_level1"], frame["cluster_level1"]),
            "recall_at_1": (frame["first_match"] == 1).mean(),
            "recall_at_5": (frame["first_match"] <= 5).mean(),
            "n": 42,
            "n_classes": 7,
        }
        assert loaded.metrics == pytest.approx(wanted)
        assert list(loaded.metrics) == list(wanted)

    def test_classes(self, colour_runs, system):
        frame = pd.read_csv(colour_runs[system] / "classes.csv")
        names = ["class", "level1", "level2", "level3", "images", "scored", "unseen"]
        assert list(frame.columns) == names
        assert frame["class"].tolist() == frame["level3"].tolist() == sorted(frame["class"])
        for lower, upper in (("level3", "level2"), ("level2", "level1")):
            assert (frame[lower].str.rpartition("/")[0] == frame[upper]).all()
        assert not frame["unseen"].any()
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


def test_ranks_are_those_of_the_embeddings(colour_runs, parameters):
    run = load_run(colour_runs["triplet"])
    images = data.read(parameters("triplet"))
    rows = [images.files.index(name) for name in run.predictions["id"]]
    _, embedded = run.model().look(data.inputs(images, parameters("triplet"))[rows])
    order = NearestNeighbors(n_neighbors=len(rows) - 1).fit(embedded).kneighbors()[1]
    truth = run.predictions["true_class"].to_numpy()
    same = truth[order] == truth[:, None]
    assert (run.predictions["first_match"] == same.argmax(axis=1) + 1).mean() > 0.95  # but for ties


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

    def test_classes_held_out_are_scored_alone(self, copy, parameters):
        settings = parameters("triplet", held_out=2, dataset="held_out")
        loaded = load_run(evaluate(settings))
        frame = pd.read_csv(loaded.folder / "classes.csv")
        unseen = frame.loc[frame["unseen"], "class"].tolist()
        assert len(unseen) == 2
        mine = loaded.predictions[loaded.predictions["true_class"].isin(unseen)]
        assert len(mine) == 2 * 6
        truth, predicted = mine["true_class"], mine["predicted_class"]
        wanted = f1_score(truth, predicted, average="macro", labels=unseen, zero_division=0)
        assert loaded.metrics["unseen_macro_f1"] == pytest.approx(wanted)
        assert loaded.metrics["unseen_accuracy"] == accuracy_score(truth, predicted)


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


@pytest.mark.parametrize("kept", [0, 100, -1000])
def test_a_damaged_model_is_one_sentence(colour_runs, tmp_path, kept):
    folder = shutil.copytree(colour_runs["triplet"], tmp_path / "run")
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    message = refused(load_run(folder).model)
    assert message.startswith(f"{file}: cannot be read (")
    assert message.endswith("writes it again from its checkpoint")


def test_weights_of_another_system_are_refused(colour_runs, tmp_path):
    folder = shutil.copytree(colour_runs["triplet"], tmp_path / "run")
    shutil.copy(colour_runs["cross_entropy"] / "model.safetensors", folder)
    message = refused(load_run(folder).model)
    assert message.startswith(f"{folder / 'model.safetensors'}: holds another system's weights; ")
