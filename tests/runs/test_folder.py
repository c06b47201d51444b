"""A run folder survives full disks, killed processes, rivals and changed parameters."""

import hashlib
import json
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from sentences import refused
from studies import paths
from studies.paths import StudyError
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import (
    SPENT,
    accounted,
    claim,
    finished,
    git_state,
    load_run,
    provenance,
    read_weights,
    refuse_damaged,
)
from studies.runs.params import RunParameters


class Parameters(RunParameters):
    study = "things"
    source: None = None
    size: int


@pytest.fixture
def root(sandbox):
    return sandbox / "root"


def parameters(**changes) -> Parameters:
    values = {"dataset": "d", "model": "m", "variant": "", "seed": 0, "threads": 1}
    return Parameters(**{**values, "precision": "32-true", "size": 3, **changes})


# --- claims


def test_a_claim_makes_the_folder_and_its_parameters(root):
    with claim(parameters()) as folder:
        assert folder == root / "runs" / "d" / "things" / "m" / "seed0"
    content = yaml.safe_load((folder / "params.yaml").read_text())
    assert content == {"study": "things", **parameters().model_dump(exclude_defaults=True)}
    before = (folder / "params.yaml").stat().st_mtime_ns
    with claim(parameters()):
        pass
    assert (folder / "params.yaml").stat().st_mtime_ns == before


def test_what_a_run_cost_is_added_up(root, monkeypatch):
    monkeypatch.setattr("studies.runs.folder.SPENT", SPENT - SPENT)
    clock = iter([1.0, 2.0, 5.0, 9.0, 10.0])
    monkeypatch.setattr("studies.runs.folder.processor_seconds", lambda: next(clock))
    with claim(parameters()) as folder:
        write_atomic(folder / "provenance.json", to_json({"git": None}))
        with accounted("scoring"), accounted("decoding"):
            pass
    spent = {"training": 0.0, "decoding": 3.0, "scoring": 5.0, "all": 10.0}
    own = {"params.yaml": hashlib.sha256((folder / "params.yaml").read_bytes()).hexdigest()}
    told = {"git": None, "processor_seconds": spent, "digests": own}
    assert load_run(folder).provenance == told
    with claim(parameters()):
        pass  # nothing is done, and nothing written
    clock = iter([11.0, 18.123, 20.0])
    with claim(parameters()):
        accounted("training")(lambda: None)()
    spent |= {"training": 7.12, "all": 20.0}
    assert load_run(folder).provenance["processor_seconds"] == spent


def test_a_claim_refuses_other_parameters_and_names_them(root):
    with claim(parameters()) as folder:
        pass
    before = (folder / "params.yaml").read_bytes()
    with pytest.raises(StudyError) as caught, claim(parameters(size=4, threads=2)):
        pytest.fail("claimed")
    assert re.findall(r"(\w+) was (\S+), now ([^);]+)", str(caught.value)) == [
        ("threads", "1", "2"),
        ("size", "3", "4"),
    ]
    assert (folder / "params.yaml").read_bytes() == before
    with claim(parameters()):
        pass  # the refusal has let go of the lock


def test_a_claim_clears_away_what_a_killed_writer_left(root, commands):
    code = """
import os, signal, sys
from pathlib import Path
from studies.runs.files import to_json, write_atomic
def content(path):
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
write_atomic(Path(sys.argv[1]), content)
"""
    with claim(parameters()) as folder:
        pass
    (folder / "checkpoint").mkdir()
    for name in ("metrics.json", "checkpoint/last.ckpt"):
        assert commands(root, "kill", folder / name, code=code).wait() == -9
    halves = [file for file in folder.rglob("*") if file.is_file() and "half" in file.read_text()]
    assert len(halves) == 2
    (folder / ".own").write_text("kept")
    with claim(parameters()):
        assert not any(file.exists() for file in halves)
    left = {str(file.relative_to(folder)) for file in folder.rglob("*")}
    assert left == {".lock", ".own", "params.yaml", "checkpoint"}


# --- reading back


def make_run(metrics=None, **changes) -> Path:
    with claim(parameters(**changes)) as folder:
        if metrics is not None:
            write_atomic(folder / "metrics.json", json.dumps(metrics))
    return folder


def test_load_run_reads_everything(root):
    folder = make_run({"f1": 0.5}, variant="v")
    frame = pd.DataFrame({"id": ["a", "b"], "true": [1, 2]})
    frame.to_parquet(folder / "predictions.parquet")
    (folder / "curves.csv").write_text("epoch,loss\n1,0.5\n")
    (folder / "provenance.json").write_text('{"device": "cpu"}')
    for given in (folder, str(folder)):
        run = load_run(given)
        assert run.system == "m@v"
        assert run.folder == folder
        assert run.params == parameters(variant="v").resolved()
        assert run.metrics == {"f1": 0.5}
        assert run.provenance == {"device": "cpu"}
        pd.testing.assert_frame_equal(run.predictions, frame)
        assert run.curves.to_dict("list") == {"epoch": [1], "loss": [0.5]}


def test_a_run_without_a_model_and_a_folder_that_is_no_run(root, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "studies.things.params", sys.modules[__name__])
    run = load_run(make_run())
    with pytest.raises(StudyError, match=r"has no model\.safetensors"):
        run.model()
    for member in ("metrics", "predictions", "curves", "provenance"):
        with pytest.raises(StudyError, match=rf"has no {member}\."):
            getattr(run, member)
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(StudyError, match="is no run folder"):
            load_run(folder)


def test_finished_runs_are_the_evaluated_ones(root):
    make_run({}, model="b", seed=1)
    make_run({}, model="b", seed=0)
    make_run({}, model="a", variant="x")
    make_run(None, model="c")
    make_run({}, dataset="other")
    found = [(run.system, run.params["seed"]) for run in finished(paths.runs() / "d" / "things")]
    assert found == [("a@x", 0), ("b", 0), ("b", 1)]


FILES = "params.yaml", "provenance.json", "predictions.parquet", "items.json", "metrics.json"


@pytest.fixture
def evaluated(root):
    with claim(parameters()) as folder:
        pass
    (folder / "checkpoint").mkdir()
    evaluate(folder)
    return folder


def evaluate(folder) -> None:
    with claim(parameters()):
        for name in ("provenance", "items", "metrics"):
            write_atomic(folder / f"{name}.json", to_json({"f1": 0.5, "name": name}))
        frame = pd.DataFrame({"id": ["a", "b"], "true": [1, 2]})
        write_atomic(folder / "predictions.parquet", lambda path: frame.to_parquet(path))


def everything(folder) -> list[object]:
    run = load_run(folder)
    return [run.params, run.provenance, run.metrics, run.items, run.predictions.to_dict()]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0.2, 0.5, 0.8, None])
def test_a_changed_or_shortened_file_is_told_and_made_again(evaluated, name, place):
    whole, content = everything(evaluated), (evaluated / name).read_bytes()
    half = len(content) // 2 if place is None else int(len(content) * place)
    rest = b"" if place is None else bytes([content[half] ^ 1]) + content[half + 1 :]
    (evaluated / name).write_bytes(content[:half] + rest)
    for read in (everything, refuse_damaged, lambda _: claim(parameters()).__enter__()):
        message = refused(read, evaluated)
        assert message.startswith(f"{evaluated / name}: is not what the run wrote; delete ")
    for file in evaluated.iterdir():
        if file.is_file():
            file.unlink()
    evaluate(evaluated)
    assert everything(evaluated) == whole


def test_what_is_made_anew_may_be_otherwise(evaluated):
    (evaluated / "items.json").write_text("{}")
    message = refused(refuse_damaged, evaluated)
    (evaluated / "metrics.json").unlink()
    refuse_damaged(evaluated)  # what a killed evaluation left
    (evaluated / "params.yaml").write_text("{}")
    assert refused(refuse_damaged, evaluated) == message.replace("items.json", "params.yaml")


# --- provenance


def test_provenance_says_what_a_result_was_made_with():
    facts = provenance(device="abacus", threads=3)
    assert facts["packages"]["torch"] == version("torch")
    assert (facts["device"], facts["threads"]) == ("abacus", 3)
    assert json.loads(json.dumps(facts)) == facts
    if (status := Path("/proc/self/status")).exists():
        peak = int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1])
        assert facts["peak_memory_mib"] == pytest.approx(peak / 1024, rel=0.05)


@pytest.fixture
def repository(monkeypatch, tmp_path):
    """A repository with one commit that stands in for this one; returns `git`."""
    folder = tmp_path / "repository"
    folder.mkdir()
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    monkeypatch.setattr(paths, "REPOSITORY", folder)

    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        command = ["git", "-C", str(folder), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    return git


def test_git_state(repository):
    repository("init", "--quiet")
    assert git_state() == {"commit": None, "dirty": None}
    file = paths.REPOSITORY / "file"
    file.write_text("1")
    repository("add", "file")
    repository("commit", "--quiet", "-m", "one")
    commit = repository("rev-parse", "HEAD")
    assert git_state() == {"commit": commit, "dirty": False}
    (paths.REPOSITORY / "untracked").write_text("1")
    assert git_state() == {"commit": commit, "dirty": False}
    file.write_text("2")
    assert git_state() == {"commit": commit, "dirty": True}


# --- weights

ADVICE = "; delete it, and the command that trained the run writes it again from its checkpoint"


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({"one": torch.arange(3.0), "two": torch.eye(2)}, file, {"said": '{"names": ["a"]}'})
    return file


def names(file) -> list[str]:
    with read_weights(file) as (said, _):
        return said["names"]


@pytest.mark.parametrize("kept", [None, 0, 30, -1])
def test_a_file_cut_short_or_missing(file, kept):
    content = file.read_bytes()[:kept]
    file.unlink()
    if kept is not None:
        file.write_bytes(content)
    message = refused(names, file)
    assert message.startswith(f"{file}: cannot be read (")
    assert message.endswith(ADVICE)


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"said": "["}, {"said": "{}"}])
def test_metadata_that_cannot_be_taken_apart(file, metadata):
    save_file({"one": torch.zeros(1)}, file, metadata)
    assert refused(names, file).endswith(ADVICE)


def test_a_network_that_does_not_fit(file):
    with (
        pytest.raises(StudyError, match="holds another system's weights"),
        read_weights(file) as (_, tensors),
    ):
        nn.Linear(3, 2).load_state_dict(tensors)
