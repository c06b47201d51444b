"""Training that is killed wherever it hurts ends with the files of one that never was."""

import random
import re
import shutil
import signal
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from commands import FULL, Command
from studies.paths import REPOSITORY

AUGMENTATION = "augmentation={flip: 0.5, shift: 0.1, zoom: 0.1, colour: 0.1}"
CAPTIONS = (
    *("source={name: kitchen, per_variant: 4, seed: 0}", "validation_share=0.2", "max_tokens=32"),
    "rare={captions: 3, train: 0.5, test: 0.2}",
    "filter={threshold: 0.02, sure: 0.6, bonus: 0.1, curve: linear, exponent: 1.0, lowest: 0.001}",
    "training={batch: 16, epochs: 5, learning_rate: 0.01, backbone_learning_rate: 0.0, "
    "warm_up: 0.1, weight_decay: 0.01, validate_every: 1}",
)
PREDICTOR = (
    "predictor={encoder: {name: roberta, width: 16, layers: 1, heads: 2, vocabulary: 400}, "
    "dropout: 0.25, append_sentences: true, epoch_share: 0.75}"
)
WEIGHTED = (
    "downstream={encoder: {name: bag, width: 16, vocabulary: 400}, dropout: 0.25, "
    "scores: predictor, captions: weighted}"
)


@dataclass(frozen=True)
class Case:
    """A system to train, with parameters that let it train for a moment."""

    study: str
    dataset: str
    system: str
    epochs: int
    changes: tuple[str, ...] = ()

    @property
    def run(self) -> Path:
        return Path("runs", self.dataset, self.study, self.system, "seed0")

    def arguments(self) -> tuple[object, ...]:
        folder = REPOSITORY / "params" / self.study / self.dataset
        files = ("-f", folder / "dataset.yaml", "-f", folder / f"{self.system}.yaml")
        return *files, *(word for one in ("seed=0", *self.changes) for word in ("-p", one))


TRIPLETS = Case("triplets", "tiny", "flexible", 20)
CAPTIONING = Case(
    *("captioning", "tiny", "resnet_transformer", 10),
    ("source={name: kitchen, per_variant: 2, seed: 0}", AUGMENTATION, "epochs=10", "patience=10"),
)
RECIPES = Case(
    *("recipes", "tiny", "two_networks", 6),
    (
        *("source={name: kitchen, per_variant: 3, seed: 0}", AUGMENTATION, "epochs=6"),
        "validation_share=0.34",
    ),
)
READER = Case("relevance", "demo", "predictor", 5, (*CAPTIONS, PREDICTOR))
LEARNS_FROM_IT = Case("relevance", "demo", "downstream_weighted", 5, (*CAPTIONS, WEIGHTED))
ONE_A_STUDY = [TRIPLETS, CAPTIONING, RECIPES, READER]


def system(value):
    """Return what pytest calls a parameter."""
    return value.system if isinstance(value, Case) else str(value)


def of_each(*cases: Case):
    return pytest.mark.parametrize("case", cases, ids=system)


class Trainings:
    """Trainings of a case on a root."""

    def __init__(self, case: Case, commands, root: Path) -> None:
        self.case, self.commands, self.root, self.run = case, commands, root, root / case.run

    def start(self, *more, work="train", code="") -> Command:
        module = f"studies.{self.case.study}.{work}"
        return self.commands(self.root, module, *self.case.arguments(), *more, code=code)

    def finish(self, work="train") -> str:
        """Run a command to its end, and return what it printed."""
        command = self.start(work=work)
        assert command.wait() == 0, command.err
        if self.case.study != "relevance":  # which shows what it tokenizes
            assert command.err == ""
        return command.out

    def kill(self, condition, seconds=0.0) -> int:
        """Kill a training once a condition holds; return how many epochs it had done."""
        command = self.start()
        assert command.until(lambda: condition(command))
        time.sleep(seconds)
        command.kill()
        assert command.process.exitcode == -signal.SIGKILL
        assert not (self.run / "model.safetensors").exists()
        return command.epochs

    def fail(self, *more, code="") -> str:
        """Run a training to an error in one line, and return it."""
        command = self.start(*more, code=code)
        assert command.wait() == 1
        *_, line = command.err.splitlines()
        assert self.case.study == "relevance" or command.err == f"{line}\n"
        return line


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Return a function that gives the root of a run that nothing stopped."""
    roots = {}

    def make(case: Case) -> Path:
        if case not in roots:
            folder = tmp_path_factory.mktemp("uninterrupted")
            start = partial(Command, folder / "logs")
            if case == LEARNS_FROM_IT:
                shutil.copytree(make(READER), folder / "root")
                Trainings(READER, start, folder / "root").finish("evaluate")
            printed = Trainings(case, start, folder / "root").finish()
            assert printed.splitlines()[-1] == str(folder / "root" / case.run)
            roots[case] = folder / "root"
        return roots[case]

    return make


@pytest.fixture
def fresh(uninterrupted, commands, tmp_path):
    """Return a function that gives the trainings of a case on a root with the plates drawn."""

    def make(case: Case) -> Trainings:
        shutil.copytree(uninterrupted(case) / "cache", tmp_path / "root" / "cache")
        if case == LEARNS_FROM_IT:
            predictor = uninterrupted(case) / READER.run
            shutil.copytree(predictor, tmp_path / "root" / READER.run)
        return Trainings(case, commands, tmp_path / "root")

    return make


@pytest.fixture
def assert_same(uninterrupted):
    """Compare the files of a run with those of the run that nothing stopped."""

    def compare(trainings: Trainings) -> None:
        run, other = trainings.run, uninterrupted(trainings.case) / trainings.case.run
        names = [sorted(str(f.relative_to(own)) for f in own.rglob("*")) for own in (run, other)]
        assert names[0] == names[1]
        for name in set(names[0]) - {"provenance.json", "checkpoint", "checkpoint/last.ckpt"}:
            assert (run / name).read_bytes() == (other / name).read_bytes(), name

    return compare


def epochs_in(printed: str) -> int:
    return len(re.findall(r"^epoch ", printed, re.M))


@of_each(*ONE_A_STUDY, LEARNS_FROM_IT)
def test_killed_at_random_moments(fresh, assert_same, case):
    trainings, chance, done = fresh(case), random.Random(3), 0
    while done < case.epochs // 3:
        goal = done + chance.randint(1, max(1, case.epochs // 6))
        done = trainings.kill(lambda c, goal=goal: c.epochs >= goal, chance.uniform(0, 0.05))
    printed = trainings.finish()
    after = int(re.search(rf"^resumed after epoch (\d+) of {case.epochs}$", printed, re.M)[1])
    assert after in (done, done + 1)
    assert epochs_in(printed) == case.epochs - after
    assert_same(trainings)


@of_each(*ONE_A_STUDY)
def test_killed_while_drawing_the_plates_and_in_the_first_epoch(
    commands, assert_same, tmp_path, case
):
    trainings = Trainings(case, commands, tmp_path / "root")
    trainings.kill(lambda _: len(list(trainings.root.rglob("*.png"))) > 5)
    trainings.kill(lambda _: (trainings.run / "params.yaml").exists())
    trainings.finish()
    assert_same(trainings)


def halves(run: Path) -> list[Path]:
    """Return the checkpoints that are being written."""
    return list((run / "checkpoint").glob(".last.ckpt.*"))


def test_killed_while_writing_a_checkpoint(fresh, assert_same):
    """The process stands still when a half is seen, and is killed if the half is still there."""
    trainings = fresh(TRIPLETS)
    command = trainings.start()
    while command.running:
        assert command.until(lambda: halves(trainings.run)), "never caught"
        command.signal(signal.SIGSTOP)
        time.sleep(0.02)
        if halves(trainings.run):
            command.kill()
        command.signal(signal.SIGCONT)
    assert halves(trainings.run)
    trainings.finish()
    assert_same(trainings)


def test_stopped_by_ctrl_c(fresh, assert_same):
    trainings = fresh(CAPTIONING)
    command = trainings.start()
    assert command.until(lambda: command.epochs >= 2)
    command.signal(signal.SIGINT)
    assert command.wait() == 1
    assert command.err == "stopped; the same command goes on from here\n"
    assert trainings.finish().startswith("resumed after epoch ")
    assert_same(trainings)


def test_killed_while_scoring(fresh, uninterrupted):
    trainings, whole = fresh(TRIPLETS), uninterrupted(TRIPLETS) / TRIPLETS.run
    shutil.copytree(whole, trainings.run)
    command = trainings.start(work="evaluate")
    assert command.until((trainings.run / "items.json").exists)
    command.kill()
    trainings.finish("evaluate")
    kept = [trainings.run / name for name in ("metrics.json", "predictions.parquet")]
    first = [file.read_bytes() for file in kept]
    for file in kept:
        file.unlink()
    trainings.finish("evaluate")
    assert [file.read_bytes() for file in kept] == first
    assert trainings.finish("evaluate").startswith(f"{trainings.run}: already evaluated\n")


def test_two_same_commands_at_once(fresh, assert_same):
    trainings = fresh(TRIPLETS)
    both = [trainings.start() for _ in range(2)]
    for command in both:
        command.finish()
    assert sorted(command.epochs for command in both) == [0, TRIPLETS.epochs]
    assert_same(trainings)


@pytest.mark.parametrize(
    ("case", "place", "number", "epochs"),
    [
        (TRIPLETS, "checkpoint/last.ckpt", 4, 3),
        (TRIPLETS, "curves.csv", 3, 2),
        (CAPTIONING, "steps.csv", 10, 9),
        *((case, "model.safetensors", 1, case.epochs) for case in ONE_A_STUDY),
    ],
    ids=system,
)
def test_a_full_disk_loses_nothing(fresh, assert_same, case, place, number, epochs):
    trainings = fresh(case)
    name, module = place.rpartition("/")[2], f"studies.{case.study}.train"
    message = trainings.fail(name, number, module, code=FULL)
    wanted = f"error: cannot write {trainings.run / place}: No space left on device; free the disk"
    assert message.startswith(wanted)
    kept = torch.load(trainings.run / "checkpoint" / "last.ckpt", weights_only=True)
    assert len(kept["rows"]) == epochs
    assert not list(trainings.root.rglob(".*.part"))
    assert epochs_in(trainings.finish()) == case.epochs - epochs
    assert_same(trainings)


def test_what_the_command_line_gets_wrong_changes_nothing(fresh, uninterrupted):
    trainings = fresh(TRIPLETS)
    content = yaml.safe_load((uninterrupted(TRIPLETS) / TRIPLETS.run / "params.yaml").read_text())
    assert "did you mean `epochs`?" in trainings.fail("-p", "epoch=21")
    assert not trainings.run.exists()
    trainings.run.mkdir(parents=True)
    (trainings.run / "params.yaml").write_text(yaml.safe_dump(content | {"epochs": 21}))
    message = trainings.fail()
    assert "was made with other parameters (epochs was 21, now 20)" in message


@of_each(*ONE_A_STUDY)
def test_what_is_done_is_not_done_again(uninterrupted, commands, case):
    trainings = Trainings(case, commands, uninterrupted(case))
    files = [f for f in trainings.run.rglob("*") if f.is_file() and f.name != ".lock"]
    before = [file.stat().st_mtime_ns for file in files]
    assert trainings.finish() == f"{trainings.run}: already trained\n{trainings.run}\n"
    assert before == [file.stat().st_mtime_ns for file in files]
