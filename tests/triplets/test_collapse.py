"""A space that collapses ends the training, in one sentence, and it stays ended."""

import json

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import load_file

from plug import pulled
from studies.runs.folder import load_run
from studies.triplets.evaluate import evaluate
from studies.triplets.objective import COLLAPSED

EPOCHS = {"epochs": 6, "validate_every": 2}


@pytest.fixture
def alike(sandbox):
    """Pictures that differ as files and not as pixels: any network embeds all at one point."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))
    for number in range(4 * 15):
        note = PngInfo()
        note.add_text("number", f"{number:02}")
        tree = ["warm/red/pale", "warm/red/dark", "warm/blue/dark", "cold/blue/pale"][number % 4]
        file = sandbox / "data/colours" / tree / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file, pnginfo=note)
    return sandbox


@pytest.fixture(params=["triplet", "flexible", "hybrid"])
def settings(request, parameters):
    return parameters(request.param, **EPOCHS)


def contents(folder) -> dict[str, bytes]:
    facts = json.loads((folder / "provenance.json").read_text())
    return {
        "curves": (folder / "curves.csv").read_bytes(),
        "model": (folder / "model.safetensors").read_bytes(),
        "end": tuple(facts[name] for name in ("best_epoch", "best_score", "stopped")),
    }


def test_a_collapsed_training_ends_in_one_sentence(alike, settings, train, capsys):
    folder = train(settings)
    said = [line for line in capsys.readouterr().out.splitlines() if "collapsed" in line]
    assert len(said) == 1
    run = load_run(folder)
    why = run.provenance["stopped"]
    assert said == [f"training stops: it {why}"]
    assert why.startswith("collapsed by epoch 2: all images are embedded within ")
    assert why.endswith("; start with semi-hard mining, or lower learning_rate")
    assert run.curves["epoch"].tolist() == [1, 2]
    points = load_file(folder / "model.safetensors")["references"]
    assert np.linalg.norm(points[:, None] - points, axis=-1).max() < COLLAPSED
    assert evaluate(settings) == folder
    assert load_run(folder).metrics["macro_f1"] < 0.5


def test_a_collapsed_training_is_never_taken_up_again(alike, settings, train, learner, monkeypatch):
    folder = train(settings)
    before = contents(folder)
    monkeypatch.setattr(learner, "training_step", lambda *_: pytest.fail("trained again"))
    train(settings)
    assert contents(folder) == before
    (folder / "model.safetensors").unlink()  # as if killed after the last checkpoint
    (folder / "provenance.json").unlink()
    train(settings)
    assert contents(folder) == before


def test_killed_before_it_collapsed_it_ends_the_same(
    alike, settings, train, learner, monkeypatch, sandbox
):
    whole = contents(train(settings))
    monkeypatch.setenv("STUDIES_ROOT", str(sandbox / "again"))
    with pulled(learner, 1, 1):
        train(settings)
    assert contents(train(settings)) == whole


def test_cross_entropy_has_no_such_alarm(alike, parameters, train):
    run = load_run(train(parameters("cross_entropy", **EPOCHS)))
    assert run.provenance["stopped"] == ""
    assert len(run.curves) == 6


def test_a_healthy_training_is_not_stopped(colour_runs):
    for folder in colour_runs.values():
        run = load_run(folder)
        assert run.provenance["stopped"] == ""
        assert len(run.curves) == run.params["epochs"]
