"""The whole pipeline, killed wherever it hurts, ends with the numbers of one that never was."""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from commands import FULL, Command

GIVEN = ("-p", "dataset=tiny", "-p", "system=flexible", "-p", "seed=0")
RUN = Path("runs", "tiny", "triplets", "flexible", "seed0")
TRAIN, EVALUATE = "studies.triplets.train", "studies.triplets.evaluate"
EPOCHS = 20


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The root of a run made by the plain commands."""
    root = tmp_path_factory.mktemp("uninterrupted")
    for module in (TRAIN, EVALUATE):
        command = [sys.executable, "-m", module, *GIVEN]
        environment = {**os.environ, "STUDIES_ROOT": str(root)}
        done = subprocess.run(
            command, env=environment, cwd=root, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == str(root / RUN)
    return root


@pytest.fixture
def start(commands):
    """Start commands on a root."""
    return lambda root, module, *more, code="": commands(root, module, *GIVEN, *more, code=code)


@pytest.fixture
def root(uninterrupted, tmp_path):
    """A root with the plates drawn already."""
    shutil.copytree(uninterrupted / "cache", tmp_path / "root" / "cache")
    return tmp_path / "root"


@pytest.fixture
def finish(start, uninterrupted):
    """Run both commands to their end, compare every bit, and return what training printed."""

    def finish(root) -> str:
        said = start(root, TRAIN).finish()
        start(root, EVALUATE).finish()
        one, other = root / RUN, uninterrupted / RUN
        for name in ("metrics.json", "curves.csv", "params.yaml", "classes.csv"):
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
        weights, others = (load_file(folder / "model.safetensors") for folder in (one, other))
        assert weights.keys() == others.keys()
        for name in weights:
            assert torch.equal(weights[name], others[name]), name
        frames = [pd.read_parquet(folder / "predictions.parquet") for folder in (one, other)]
        pd.testing.assert_frame_equal(*frames, check_exact=True)
        names = [
            {str(file.relative_to(folder)) for file in folder.rglob("*")} for folder in (one, other)
        ]
        assert names[0] == names[1]
        return said

    return finish


def halves(root: Path) -> list[Path]:
    """Return the checkpoints that are being written."""
    return list((root / RUN / "checkpoint").glob(".last.ckpt.*"))


def kill_while_writing_a_checkpoint(command: Command, root: Path) -> bool:
    """Stop the process when a temporary file is seen, and kill it if the file is still there."""
    while command.until(lambda: halves(root)):
        command.signal(signal.SIGSTOP)
        time.sleep(0.02)
        if halves(root) and command.running:
            command.kill()
            return True
        command.signal(signal.SIGCONT)
    return False


def test_killed_while_drawing_and_reading_the_plates(start, finish, tmp_path):
    root = tmp_path / "root"
    command = start(root, TRAIN)
    assert command.until(lambda: len(list(root.rglob("*.png"))) > 20)
    command.kill()
    command = start(root, TRAIN)
    assert command.until(lambda: command.epochs >= 1)
    command.kill()
    assert not (root / RUN / "model.safetensors").exists()
    finish(root)


def test_killed_while_writing_checkpoints(start, finish, root):
    killed = 0
    for _ in range(3):
        command = start(root, TRAIN)
        killed += kill_while_writing_a_checkpoint(command, root)
        if not command.process.exitcode:
            break
        assert halves(root)
    assert killed
    assert finish(root).startswith(("epoch 1/20", "resumed after epoch", str(root / RUN)))
    assert not halves(root)


def test_killed_at_random_moments(start, finish, root):
    chance = random.Random(3)
    resumed = []
    for _ in range(5):
        command = start(root, TRAIN)
        goal = (resumed[-1] if resumed else 0) + chance.randint(1, 3)
        assert command.until(lambda goal=goal, c=command: c.epochs >= goal)
        time.sleep(chance.uniform(0, 0.2))
        command.kill()
        assert command.process.exitcode == -signal.SIGKILL
        resumed.append(command.epochs)
        if resumed[-1] > EPOCHS // 2:  # a killed process may have gone some epochs beyond its goal
            break
    assert len(resumed) > 1
    printed = finish(root)
    after = int(re.match(r"resumed after epoch (\d+) of 20\n", printed)[1])
    assert after in (resumed[-1], resumed[-1] + 1)
    assert printed.count("\nepoch ") == EPOCHS - after


def test_stopped_by_ctrl_c(start, finish, root):
    command = start(root, TRAIN)
    assert command.until(lambda: command.epochs >= 2)
    command.signal(signal.SIGINT)
    assert command.wait() == 1
    assert command.err == "stopped; the same command goes on from here\n"
    assert finish(root).startswith("resumed after epoch ")


def test_killed_after_the_last_epoch_and_while_scoring(start, finish, uninterrupted, root):
    shutil.copytree(uninterrupted / RUN, root / RUN)
    for name in ("model.safetensors", "provenance.json", "metrics.json", "predictions.parquet"):
        (root / RUN / name).unlink()
    assert "epoch 1" not in start(root, TRAIN).finish()
    command = start(root, EVALUATE)
    assert command.until((root / RUN / "classes.csv").exists)
    command.kill()
    finish(root)


def test_what_is_done_is_not_done_again(start, uninterrupted):
    before = {f: f.stat().st_mtime_ns for f in (uninterrupted / RUN).rglob("*.*") if f.stem}
    before = {file: time for file, time in before.items() if file.name != ".lock"}
    for module, word in ((TRAIN, "trained"), (EVALUATE, "evaluated")):
        printed = start(uninterrupted, module).finish()
        assert printed == f"{uninterrupted / RUN}: already {word}\n{uninterrupted / RUN}\n"
    assert before == {file: file.stat().st_mtime_ns for file in before}


def test_two_same_commands_at_once(start, finish, root):
    for module in (TRAIN, EVALUATE):
        commands = [start(root, module) for _ in range(2)]
        for command in commands:
            command.finish()
        if module == TRAIN:
            assert sorted(command.epochs for command in commands) == [0, EPOCHS]
    finish(root)


def one_line(command: Command) -> str:
    assert command.wait() == 1
    assert command.err.count("\n") == 1, command.err
    assert command.err.startswith("error: ")
    return command.err


def test_what_the_command_line_gets_wrong_changes_nothing(start, uninterrupted, tmp_path):
    resolved = yaml.safe_load((uninterrupted / RUN / "params.yaml").read_text())
    other = tmp_path / "root" / RUN / "params.yaml"
    other.parent.mkdir(parents=True)
    other.write_text(yaml.safe_dump(resolved | {"epochs": 21}))
    for module in (TRAIN, EVALUATE):
        message = one_line(start(tmp_path / "root", module))
        assert "was made with other parameters (epochs was 21, now 20)" in message
    assert "did you mean `epochs`?" in one_line(start(tmp_path / "new", TRAIN, "-p", "epoch=21"))
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("x")
    assert "Not a directory" in one_line(start(tmp_path / "file" / "root", TRAIN))


@pytest.mark.parametrize(
    ("place", "number", "epochs"),
    [("checkpoint/last.ckpt", 4, 3), ("curves.csv", 3, 2), ("model.safetensors", 1, EPOCHS)],
)
def test_a_full_disk(start, finish, root, place, number, epochs):
    name = place.rpartition("/")[2]
    message = one_line(start(root, TRAIN, name, number, TRAIN, code=FULL))
    assert f"cannot write {root / RUN / place}: No space left on device" in message
    kept = torch.load(root / RUN / "checkpoint" / "last.ckpt", weights_only=True)
    assert kept["epoch"] == epochs - 1
    assert not list(root.rglob(".*.part"))
    printed = finish(root)
    assert printed.count("epoch ") - printed.count("resumed after epoch ") == EPOCHS - epochs
