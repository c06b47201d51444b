"""What an evaluated run folder holds, computed again from its predictions alone."""

import shutil

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, adjusted_rand_score, f1_score
from sklearn.neighbors import NearestNeighbors

from sentences import refused
from studies.reporting.bootstrap import value
from studies.runs.folder import load_run
from studies.triplets import data
from studies.triplets.evaluate import evaluate, flat_map
from studies.triplets.figures import OTHERS, of_runs


@pytest.mark.parametrize("system", ["cross_entropy", "triplet", "flexible@sum", "hybrid"])
class TestRunFolder:
    def test_predictions(self, colour_runs, parameters, system):
        frame = load_run(colour_runs[system]).predictions
        labels = ("class", "level1", "level2", "level3")
        columns = ["id", *(f"{kind}_{name}" for kind in ("true", "predicted") for name in labels)]
        columns += [*(f"cluster_level{k}" for k in (1, 2, 3)), "first_match", "confidence"]
        columns += [f"by_{name}" for name in OTHERS]
        columns += ["map_x", "map_y", "cluster", "bits_to_training"]
        assert list(frame.columns) == columns
        found = data.read(parameters(system))
        parts = data.split(found, parameters(system))
        wanted = [file for file, part in zip(found.files, parts, strict=True) if part == "test"]
        assert frame["id"].tolist() == wanted
        for row in frame.itertuples():
            folders = row.id.split("/")[:-1]
            folders += folders[-1:] * (3 - len(folders))
            truth = ["/".join(folders[:depth]) for depth in (1, 2, 3)]
            assert [row.true_level1, row.true_level2, row.true_level3] == truth
            assert (row.true_class, row.predicted_class) == (row.true_level3, row.predicted_level3)
            assert row.predicted_level3.startswith(f"{row.predicted_level2}/")
        assert [frame[f"cluster_level{k}"].nunique() for k in (1, 2, 3)] == [2, 4, 7]
        assert frame["confidence"].between(1 / 7 - 1e-4, 1).all()
        assert np.isfinite(frame[["map_x", "map_y"]]).all(axis=None)

    def test_metrics_follow_from_the_predictions(self, colour_runs, system):
        loaded = load_run(colour_runs[system])
        frame, metrics = loaded.predictions, dict(loaded.metrics)
        truth, predicted = frame["true_class"], frame["predicted_class"]
        assert metrics["macro_f1"] == pytest.approx(f1_score(truth, predicted, average="macro"))
        clustered = adjusted_rand_score(truth, frame["cluster_level3"])
        assert metrics["ari"] == pytest.approx(clustered)
        assert (metrics.pop("n"), metrics.pop("n_classes")) == (42, 7)
        # as the report computes them again, each of which is tested by itself
        again = of_runs([loaded]).metrics(loaded)
        again = {name: value(metric, 42) for name, metric in again.items()}
        assert metrics == pytest.approx(again, abs=1e-12)
        assert isinstance(metrics["severe_errors"], int)


def test_ranks_are_those_of_the_embeddings(colour_runs, parameters):
    run = load_run(colour_runs["triplet"])
    images = data.read(parameters("triplet"))
    rows = [images.files.index(name) for name in run.predictions["id"]]
    _, embedded = run.model().look(data.inputs(images, parameters("triplet"))[rows])
    order = NearestNeighbors(n_neighbors=len(rows) - 1).fit(embedded).kneighbors()[1]
    truth = run.predictions["true_class"].to_numpy()
    same = truth[order] == truth[:, None]
    assert (run.predictions["first_match"] == same.argmax(axis=1) + 1).mean() > 0.95  # but for ties


@pytest.fixture
def copy(sandbox, trained):
    """A trained world of one's own, to break."""
    shutil.copytree(trained / "data", sandbox / "data", dirs_exist_ok=True)
    shutil.copytree(trained / "root", sandbox / "root")
    return sandbox


class TestOnce:
    def test_an_evaluated_run_is_left_alone_wherever_its_data_lie(
        self, copy, parameters, capsys, monkeypatch
    ):
        folder = evaluate(parameters("triplet"))
        assert "already evaluated" in capsys.readouterr().out
        (folder / "metrics.json").unlink()
        before = (folder / "predictions.parquet").read_bytes()
        (copy / "data").rename(copy / "moved")
        monkeypatch.setenv("STUDIES_DATA", str(copy / "moved"))
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
        assert "trained on other images" in refused(evaluate, parameters("triplet"))
        assert not (folder / "metrics.json").exists()

    def test_small_classes_do_not_count_and_those_held_out_are_scored_alone(self, copy, parameters):
        for file in (copy / "data/colours/cold/green").iterdir():
            if file.stem > "19":
                file.unlink()
        settings = parameters("triplet", min_count=20, held_out=2, dataset="other")
        loaded = load_run(evaluate(settings))
        frame = pd.DataFrame(loaded.items["classes"]).set_index("class")
        assert frame.loc["cold/green/green", ["images", "scored"]].tolist() == [20, False]
        assert frame["scored"].sum() == loaded.metrics["n_classes"] == 6
        unseen = frame.index[frame["unseen"]]
        assert len(unseen) == 2
        everything = loaded.predictions
        mine = everything[everything["true_class"].isin(unseen)]
        scored = set(frame.index[frame["scored"]])
        for name, rows, labels in (("", everything, scored), ("unseen_", mine, scored & {*unseen})):
            pair = rows["true_class"], rows["predicted_class"]
            wanted = f1_score(*pair, average="macro", labels=sorted(labels), zero_division=0)
            assert loaded.metrics[f"{name}macro_f1"] == pytest.approx(wanted)
            assert loaded.metrics[f"{name}accuracy"] == accuracy_score(*pair)


class TestMap:
    @pytest.mark.parametrize("size", [0, 1, 3, 4, 60])
    def test_few_points_and_a_collapsed_embedding_have_no_map(self, size):
        points = np.full((size, 8), 8**-0.5, np.float32)
        points[::2] = np.nextafter(points[::2], 1)  # equal but for rounding
        assert flat_map(points, 0).tolist() == [[0, 0]] * size
