"""Training that is killed wherever it hurts ends with the files of one that never was."""

import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from commands import Command
from studies.paths import REPOSITORY

DEMO = REPOSITORY / "params" / "relevance" / "demo"
EPOCHS = 5
SHARED = (
    *("-p", "seed=0", "-p", "source={name: kitchen, per_variant: 4, seed: 0}"),
    *("-p", "rare={examples: 20, train: 0.5, test: 0.2}", "-p", "validation_share=0.2"),
    *("-p", "max_tokens=32", "-p"),
    "filter={threshold: 0.02, sure: 0.6, bonus: 0.1, curve: linear, exponent: 1.0, lowest: 0.001}",
)
TRAINING = (
    f"training={{batch: 16, epochs: {EPOCHS}, learning_rate: 0.01, backbone_learning_rate: 0.0, "
    "warm_up: 0.1, weight_decay: 0.01, validate_every: 1}"
)
ENCODER = "encoder: {name: roberta, width: 16, layers: 1, heads: 2, vocabulary: 400}"
OWN = {
    "predictor": (
        f"predictor={{{ENCODER}, dropout: 0.25, append_sentences: true, epoch_share: 0.75}}"
    ),
    "downstream_weighted": (
        "downstream={encoder: {name: bag, width: 16, vocabulary: 400}, dropout: 0.25, "
        "scores: predictor, captions: weighted}"
    ),
}
TRAIN, EVALUATE = "studies.relevance.train", "studies.relevance.evaluate"


def given(system):
    files = ("-f", DEMO / "dataset.yaml", "-f", DEMO / f"{system}.yaml")
    return (*files, *SHARED, "-p", OWN[system], "-p", TRAINING)


def run_of(root, system):
    return root / "runs" / "demo" / "relevance" / system / "seed0"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The root of an evaluated predictor and a classifier that nothing stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    for module, system in ((EVALUATE, "predictor"), (TRAIN, "downstream_weighted")):
        command = Command(folder / "logs", folder / "root", module, *given(system))
        assert command.wait() == 0, command.err  # it shows what it tokenizes
        assert command.out.splitlines()[-1] == str(run_of(folder / "root", system))
    return folder / "root"


@pytest.fixture
def start(commands):
    """Start a training on a root."""
    return lambda root, system, *more, code="": commands(
        root, TRAIN, *given(system), *more, code=code
    )


@pytest.fixture
def root(uninterrupted, tmp_path):
    """Return a function that gives a root with what a system builds on."""

    def make(system):
        shutil.copytree(uninterrupted / "cache", tmp_path / "root" / "cache")
        if system != "predictor":
            predictor = run_of(uninterrupted, "predictor")
            shutil.copytree(predictor, run_of(tmp_path / "root", "predictor"))
        return tmp_path / "root"

    return make


def finish(start, root, system) -> str:
    """Run the command to its end; return what it printed."""
    command = start(root, system)
    assert command.wait() == 0, command.err
    return command.out


def assert_same(one: Path, other: Path, system: str):
    one, other = run_of(one, system), run_of(other, system)
    for name in ("model.safetensors", "curves.csv", "params.yaml"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize("system", OWN)
def test_killed_at_a_random_moment(start, uninterrupted, root, system):
    place, chance = root(system), random.Random(system)
    command = start(place, system)
    assert command.until(lambda: command.epochs >= 2)
    time.sleep(chance.uniform(0, 0.05))
    command.kill()
    assert command.process.exitcode == -signal.SIGKILL
    killed = command.epochs
    assert not (run_of(place, system) / "model.safetensors").exists()
    printed = finish(start, place, system)
    after = int(re.search(rf"^resumed after epoch (\d+) of {EPOCHS}$", printed, re.M)[1])
    assert after in (killed, killed + 1)
    assert len(re.findall("^epoch ", printed, re.M)) == EPOCHS - after
    assert_same(place, uninterrupted, system)


def test_killed_before_the_first_epoch(start, uninterrupted, tmp_path):
    """With nothing of it left: plates, captions, tokens."""
    place = tmp_path / "root"
    command = start(place, "predictor")
    assert command.until(lambda: len(list(place.rglob("*.png"))) > 5)
    command.kill()
    command = start(place, "predictor")
    assert command.until((run_of(place, "predictor") / "params.yaml").exists)
    command.kill()
    finish(start, place, "predictor")
    assert_same(place, uninterrupted, "predictor")
