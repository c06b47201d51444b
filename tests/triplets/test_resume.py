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
from safetensors.torch import load_file

from commands import FULL, Command
from studies.paths import REPOSITORY

TINY = REPOSITORY / "params" / "triplets" / "tiny"
GIVEN = ("-f", TINY / "dataset.yaml", "-f", TINY / "flexible.yaml", "-p", "seed=0")
RUN = Path("runs", "tiny", "triplets", "flexible", "seed0")
TRAIN, EVALUATE = "studies.triplets.train", "studies.triplets.evaluate"
EPOCHS = 20


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The root of a run made by the plain commands."""
    root = tmp_path_factory.mktemp("uninterrupted")
    for module in (TRAIN, EVALUATE):
        done = subprocess.run(
            [sys.executable, "-m", module, *map(str, GIVEN)],
            env={**os.environ, "STUDIES_ROOT": str(root)},
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
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


def finish(start, root) -> str:
    """Run both commands to their end; return what training printed."""
    said = start(root, TRAIN).finish()
    start(root, EVALUATE).finish()
    return said


def assert_same(one: Path, other: Path):
    one, other = one / RUN, other / RUN
    for name in ("metrics.json", "curves.csv", "params.yaml", "classes.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    weights, others = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert weights.keys() == others.keys()
    for name in weights:
        assert torch.equal(weights[name], others[name]), name
    frames = [pd.read_parquet(folder / "predictions.parquet") for folder in (one, other)]
    pd.testing.assert_frame_equal(*frames, check_exact=True)
    names = [
        sorted(str(f.relative_to(folder)) for f in folder.rglob("*")) for folder in (one, other)
    ]
    assert names[0] == names[1]


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


def test_killed_while_drawing_and_reading_the_plates(start, uninterrupted, tmp_path):
    root = tmp_path / "root"
    command = start(root, TRAIN)
    assert command.until(lambda: len(list(root.rglob("*.png"))) > 20)
    command.kill()
    assert not (root / RUN / "model.safetensors").exists()
    command = start(root, TRAIN)
    assert command.until(lambda: command.epochs >= 1)
    command.kill()
    finish(start, root)
    assert_same(root, uninterrupted)


def test_killed_while_writing_checkpoints(start, uninterrupted, root):
    killed = 0
    for _ in range(3):
        command = start(root, TRAIN)
        killed += kill_while_writing_a_checkpoint(command, root)
        if not command.process.exitcode:
            break
        assert halves(root)
    assert killed
    printed = finish(start, root)
    assert printed.startswith(("epoch 1/20", "resumed after epoch", str(root / RUN)))
    assert not halves(root)
    assert_same(root, uninterrupted)


def test_killed_at_random_moments(start, uninterrupted, root):
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
        assert not (root / RUN / "model.safetensors").exists()
        if resumed[-1] > EPOCHS // 2:  # a killed process may have gone some epochs beyond its goal
            break
    assert len(resumed) > 1
    printed = finish(start, root)
    after = int(re.match(r"resumed after epoch (\d+) of 20\n", printed)[1])
    assert after in (resumed[-1], resumed[-1] + 1)
    assert printed.count("\nepoch ") == EPOCHS - after
    assert_same(root, uninterrupted)


def test_stopped_by_ctrl_c(start, uninterrupted, root):
    command = start(root, TRAIN)
    assert command.until(lambda: command.epochs >= 2)
    command.signal(signal.SIGINT)
    assert command.wait() == 1
    assert command.err == "stopped; the same command goes on from here\n"
    assert finish(start, root).startswith("resumed after epoch ")
    assert_same(root, uninterrupted)


def test_killed_after_the_last_epoch_and_while_scoring(start, uninterrupted, root):
    shutil.copytree(uninterrupted / RUN, root / RUN)
    for name in ("model.safetensors", "provenance.json", "metrics.json", "predictions.parquet"):
        (root / RUN / name).unlink()
    command = start(root, TRAIN)
    assert command.wait() == 0
    assert "epoch 1" not in command.out
    command = start(root, EVALUATE)
    assert command.until((root / RUN / "classes.csv").exists)
    command.kill()
    finish(start, root)
    assert_same(root, uninterrupted)


def test_what_is_done_is_not_done_again(start, uninterrupted):
    before = {f: f.stat().st_mtime_ns for f in (uninterrupted / RUN).rglob("*.*") if f.stem}
    before = {file: time for file, time in before.items() if file.name != ".lock"}
    for module, word in ((TRAIN, "trained"), (EVALUATE, "evaluated")):
        command = start(uninterrupted, module)
        assert command.wait() == 0
        assert command.out == f"{uninterrupted / RUN}: already {word}\n{uninterrupted / RUN}\n"
    assert before == {file: file.stat().st_mtime_ns for file in before}


def test_two_same_commands_at_once(start, uninterrupted, root):
    commands = [start(root, TRAIN) for _ in range(2)]
    assert [command.wait() for command in commands] == [0, 0]
    assert [command.err for command in commands] == ["", ""]
    first, second = sorted(commands, key=lambda one: one.epochs, reverse=True)
    assert (first.epochs, second.epochs) == (EPOCHS, 0)
    lines = second.out.splitlines()
    assert lines[-2:] == [f"{root / RUN}: already trained", str(root / RUN)]
    if len(lines) == 3:
        assert lines[0] == f"{root / RUN}: another process is at work here; waiting for it to end"
    scoring = [start(root, EVALUATE) for _ in range(2)]
    assert [command.wait() for command in scoring] == [0, 0]
    assert_same(root, uninterrupted)


def one_line(command: Command) -> str:
    assert command.wait() == 1
    assert command.err.count("\n") == 1, command.err
    assert command.err.startswith("error: ")
    return command.err


def test_a_run_made_with_other_parameters_is_refused(start, uninterrupted):
    before = (uninterrupted / RUN / "params.yaml").read_bytes()
    for module in (TRAIN, EVALUATE):
        message = one_line(start(uninterrupted, module, "-p", "epochs=21", "-p", "neighbours=3"))
        assert f"{uninterrupted / RUN} was made with other parameters (" in message
        assert "epochs was 20, now 21" in message
        assert "neighbours was 5, now 3" in message
    assert (uninterrupted / RUN / "params.yaml").read_bytes() == before


def test_a_wrong_parameter_makes_nothing(start, tmp_path):
    message = one_line(start(tmp_path / "root", TRAIN, "-p", "epoch=21"))
    assert message == ("error: command line: unknown parameter `epoch`; did you mean `epochs`?\n")
    assert not (tmp_path / "root").exists()


def test_a_root_below_a_file(start, tmp_path):
    (tmp_path / "file").write_text("x")
    message = one_line(start(tmp_path / "file" / "root", TRAIN))
    assert str(tmp_path / "file") in message
    assert "Not a directory" in message
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.skipif(os.geteuid() == 0, reason="root ignores permission bits")
def test_a_root_without_write_permission(start, tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    assert "Permission denied" in one_line(start(folder, TRAIN))
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("place", "number", "epochs"),
    [("checkpoint/last.ckpt", 4, 3), ("curves.csv", 3, 2), ("model.safetensors", 1, EPOCHS)],
)
def test_a_full_disk(start, uninterrupted, root, place, number, epochs):
    name = place.rpartition("/")[2]
    message = one_line(start(root, TRAIN, name, number, TRAIN, code=FULL))
    file = root / RUN / place
    assert message.startswith(f"error: cannot write {file}: No space left on device; free the disk")
    assert message.endswith("then run the same command again\n")
    kept = torch.load(root / RUN / "checkpoint" / "last.ckpt", weights_only=True)
    assert kept["epoch"] == epochs - 1
    assert not list(root.rglob(".*.part"))
    printed = finish(start, root)
    assert printed.count("epoch ") - printed.count("resumed after epoch ") == EPOCHS - epochs
    assert_same(root, uninterrupted)


def test_a_damaged_checkpoint(start, uninterrupted, root):
    file = root / RUN / "checkpoint" / "last.ckpt"
    file.parent.mkdir(parents=True)
    content = (uninterrupted / RUN / "checkpoint" / "last.ckpt").read_bytes()
    file.write_bytes(content[: len(content) // 2])
    assert f"{file}: the checkpoint cannot be read (" in one_line(start(root, TRAIN))
    file.unlink()
    finish(start, root)
    assert_same(root, uninterrupted)
