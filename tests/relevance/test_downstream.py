"""Which captions are taken, against the predictor's run folder read as a table."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from sentences import refused
from studies.relevance import data, downstream
from studies.runs.folder import load_run


@pytest.fixture
def given_(predicted, small):
    """Return a function that gives what is taken, with the training captions and the scores."""

    def take(captions, seed=0):
        parameters = small(f"downstream_{captions}", seed=0)
        parameters = parameters.model_copy(update={"seed": seed})
        if seed:  # the predictor of another seed, with the same scores
            shutil.copytree(predicted, parameters.sister("predictor").folder(), dirs_exist_ok=True)
        collection = data.read(parameters)
        known = np.flatnonzero(data.split(collection, parameters) == "train")
        rows, weight = downstream.taken(parameters, collection, known)
        return rows, weight, known, load_run(predicted).predictions

    return take


def rewrite(folder, **columns):
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame.assign(**columns).to_parquet(folder / "predictions.parquet")


def test_all(given_):
    rows, weight, known, _ = given_("all")
    assert rows.tolist() == known.tolist()
    assert weight is None


def test_kept(given_):
    rows, weight, _, scores = given_("kept")
    wanted = scores[(scores["part"] == "train") & scores["kept"]]
    assert rows.tolist() == wanted.index.tolist()
    assert 0 < len(rows) < (scores["part"] == "train").sum()
    assert weight is None


def test_weighted(given_):
    rows, weight, known, scores = given_("weighted")
    assert rows.tolist() == given_("kept")[0].tolist()
    assert len(weight) == len(scores)
    assert weight[rows].mean() == pytest.approx(1)
    share = weight[rows] / scores["coefficient"].to_numpy()[rows]
    assert share == pytest.approx(share[0])
    assert len(set(weight[rows])) > 1
    assert (weight[rows] > 0).all()
    assert (weight[np.setdiff1d(known, rows)] == 0).all()


def test_random(given_):
    rows, weight, known, _ = given_("random")
    kept = given_("kept")[0]
    assert weight is None
    assert len(rows) == len(set(rows)) == len(kept)
    assert set(rows) <= set(known)
    assert set(rows) != set(kept)
    assert given_("random")[0].tolist() == rows.tolist()
    drawn = [given_("random", seed)[0] for seed in range(1, 4)]
    assert len({tuple(one) for one in (rows, *drawn)}) == 4


def test_nothing_is_kept(given_, predicted):
    """Also where only captions of the test are kept."""
    frame = load_run(predicted).predictions
    rewrite(predicted, kept=frame["kept"] & (frame["part"] == "test"))
    for captions in ("kept", "weighted", "random"):
        told = refused(given_, captions)
        assert told.startswith(f"{predicted} keeps no training caption")
        assert "filter.threshold" in told
    assert len(given_("all")[0])


def test_other_captions(given_, predicted):
    file = predicted / "provenance.json"
    facts = json.loads(file.read_text())
    file.write_text(json.dumps(facts | {"dataset_fingerprint": "another"}))
    told = refused(given_, "kept")
    assert told.startswith(f"{predicted} was trained on other captions or class texts")
    assert len(given_("all")[0])


def test_no_scores_yet(given_, predicted):
    (predicted / "predictions.parquet").unlink()
    assert "predictions.parquet" in refused(given_, "random")
    shutil.rmtree(predicted)
    told = refused(given_, "weighted")
    assert told.startswith(f"{predicted} is not evaluated")
    assert "studies.relevance.evaluate" in told
