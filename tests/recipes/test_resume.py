"""Training that is killed wherever it hurts ends with the files of one that never was."""

import random
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from commands import FULL, Command
from studies.paths import REPOSITORY

TINY = REPOSITORY / "params" / "recipes" / "tiny"
EPOCHS = 6
GIVEN = (
    *("-f", TINY / "dataset.yaml", "-f", TINY / "two_networks.yaml", "-p", "seed=0"),
    *("-p", "source={name: kitchen, per_variant: 3, seed: 0}", "-p", "validation_share=0.34"),
    *("-p", "augmentation={flip: 0.5, shift: 0.1, zoom: 0.1, colour: 0.1}"),
    *("-p", f"epochs={EPOCHS}"),
)
RUN = Path("runs", "tiny", "recipes", "two_networks", "seed0")
TRAIN = "studies.recipes.train"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The root of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    command = Command(folder / "logs", folder / "root", TRAIN, *GIVEN)
    assert command.finish().splitlines()[-1] == str(folder / "root" / RUN)
    return folder / "root"


@pytest.fixture
def start(commands):
    """Start the training on a root."""
    return lambda root, *more, code="": commands(root, TRAIN, *GIVEN, *more, code=code)


@pytest.fixture
def root(uninterrupted, tmp_path):
    """A root with the plates drawn already."""
    shutil.copytree(uninterrupted / "cache", tmp_path / "root" / "cache")
    return tmp_path / "root"


def assert_same(one: Path, other: Path):
    one, other = one / RUN, other / RUN
    for name in ("model.safetensors", "curves.csv", "params.yaml"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    made = [sorted(str(f.relative_to(own)) for f in own.rglob("*")) for own in (one, other)]
    assert made[0] == made[1]


def test_killed_at_random_moments(start, uninterrupted, root):
    chance = random.Random(3)
    resumed = []
    while not resumed or (len(resumed) < 2 and resumed[-1] < 3):
        command = start(root)
        goal = (resumed[-1] if resumed else 0) + 1
        assert command.until(lambda goal=goal, c=command: c.epochs >= goal)
        time.sleep(chance.uniform(0, 0.05))
        command.kill()
        assert command.process.exitcode == -signal.SIGKILL
        resumed.append(command.epochs)
        assert not (root / RUN / "model.safetensors").exists()
    printed = start(root).finish()
    after = int(re.match(rf"resumed after epoch (\d+) of {EPOCHS}\n", printed)[1])
    assert after in (resumed[-1], resumed[-1] + 1)
    assert printed.count("\nepoch ") == EPOCHS - after
    assert_same(root, uninterrupted)


@pytest.mark.parametrize(
    ("place", "number", "epochs"),
    [("checkpoint/last.ckpt", 3, 2), ("model.safetensors", 1, EPOCHS)],
)
def test_a_full_disk_loses_nothing(start, uninterrupted, root, place, number, epochs):
    command = start(root, place.rpartition("/")[2], number, TRAIN, code=FULL)
    assert command.wait() == 1
    file = root / RUN / place
    wanted = f"error: cannot write {file}: No space left on device; free the disk"
    assert command.err.startswith(wanted)
    assert command.err.count("\n") == 1
    kept = torch.load(root / RUN / "checkpoint" / "last.ckpt", weights_only=True)
    assert len(kept["rows"]) == epochs
    assert not list(root.rglob(".*.part"))
    printed = start(root).finish()
    assert len(re.findall(r"^epoch ", printed, re.M)) == EPOCHS - epochs
    assert_same(root, uninterrupted)
