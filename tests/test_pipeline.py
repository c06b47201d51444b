"""The whole way, as a user walks it: `make study`, killed and given again, and its plain twins."""

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from studies.paths import REPOSITORY
from tiny_runs import share

BIN = os.path.dirname(sys.executable)  # noqa: PTH120
NAMES = ["-p", "dataset", "tiny", "-p", "system", "flexible"]
FILES = ["-f", "params/triplets/tiny/dataset.yaml", "-f", "params/triplets/tiny/flexible.yaml"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("pipeline root with spaces")


@pytest.fixture(scope="module")
def environment(root):
    return {
        **os.environ,
        "STUDIES_ROOT": str(root),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
    }


def study(environment, models="flexible", *options, folder=REPOSITORY):
    return subprocess.Popen(
        [sys.executable, "-m", "studies", "DATASET=tiny", f"MODEL={models}", *options],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def papermill(notebook, output, *options):
    source = f"notebooks/triplets/{notebook}.ipynb"
    return ["papermill", source, str(output), *options, "--no-progress-bar"]


def finish(process, seconds=300):
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def finished(root, environment):
    """Kill the first `make study` in the middle of training, and give the same command again."""
    first = study(environment)
    for line in first.stdout:
        if "epoch 3/" in line:
            break
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    run = root / "runs" / "tiny" / "triplets" / "flexible" / "seed0"
    assert (run / "checkpoint" / "last.ckpt").exists()
    return run, finish(study(environment))


def test_a_killed_study_goes_on_and_ends_in_a_report(root, finished):
    run, output = finished
    assert "resumed after epoch" in output or "already trained" in output
    assert output.splitlines()[-1].endswith("reports/tiny/index.html")
    for name in ("index.html", "triplets.html", "triplets.csv", "triplets.md", "triplets.tex"):
        assert (root / "reports" / "tiny" / name).stat().st_size > 0
    assert (root / "reports" / "tiny" / "claims" / "triplets.md").exists()
    for name in ("train.ipynb", "evaluate.ipynb", "provenance.json", "curves.csv"):
        assert (run / name).exists()


def test_nothing_is_done_twice(root, environment, finished):
    files = [file for file in root.rglob("*") if file.is_file() and file.name != ".lock"]
    before = {file: file.stat().st_mtime_ns for file in files}
    start = time.monotonic()
    finish(study(environment))
    assert time.monotonic() - start < 60
    assert {file: file.stat().st_mtime_ns for file in files} == before


def test_every_run_that_is_asked_for_is_made(root, environment, finished):
    run, _ = finished
    shutil.rmtree(run)
    output = finish(study(environment, "flexible,cross_entropy", "SEEDS=0,1"))
    runs = root / "runs" / "tiny" / "triplets"
    for system, seed in itertools.product(("flexible", "cross_entropy"), (0, 1)):
        assert (runs / system / f"seed{seed}" / "metrics.json").exists()
    assert "ERROR" not in output
    table = pd.read_csv(root / "reports" / "tiny" / "triplets.csv")
    assert set(table.loc[table["model"] == "flexible", "n_seeds"]) == {2}


def test_a_run_that_fails_stops_no_other(tmp_path, root, environment, finished):
    """The command is given in another folder, with a profile of Snakemake that does not count."""
    failing = root / "runs" / "tiny" / "triplets" / "triplet" / "seed0"
    shutil.rmtree(failing)  # which the report of a tiny dataset made
    failing.mkdir()
    (failing / "params.yaml").write_text("seed: 7\n")
    relative = os.path.relpath(root, tmp_path)
    other = {**environment, "STUDIES_ROOT": relative, "SNAKEMAKE_PROFILE": "/nowhere"}
    process = study(other, "flexible,cross_entropy,triplet", folder=tmp_path)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    *_, flexible, triplet, report, index, error = output.splitlines()
    assert flexible.split(maxsplit=3)[2:] == ["seed0", "made before"]
    assert "failed: " in triplet
    assert f"{failing} was made with other parameters (seed was 7, now 0;" in triplet
    assert report.split()[-2:] == ["made", "now"]
    assert (tmp_path / index.removeprefix("report: ")).exists()
    assert error.startswith("error: 1 of 4 runs and reports could not be made")
    assert "4 of 4 runs and reports, about " in output
    page = (root / "reports" / "tiny" / "triplets.html").read_text()
    missing = page.partition("<dt>missing, though params/ lists them</dt>")[2].partition("</dd>")[0]
    assert "triplet seed 0" in missing
    assert "flexible seed 0" not in missing


def test_what_stops_snakemake_is_said(root, environment, finished):
    nowhere = {**environment, "HOME": "/proc/nowhere"}
    nowhere.pop("XDG_CACHE_HOME", None)
    process = study(nowhere)
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert output.startswith("error: Snakemake stopped: ")
    assert "/proc/nowhere" in output
    assert output.count("\n") == 1


def test_a_baseline_is_evaluated_without_training(root, environment, finished):
    asked = {"most_frequent", "resnet_transformer"}
    share(root, "captioning", asked)  # the report of a tiny dataset is of all its systems
    finish(study(environment, ",".join(sorted(asked))))
    runs = root / "runs" / "tiny" / "captioning"
    names = {"params.yaml", "provenance.json", "evaluate.ipynb", "items.json", "metrics.json"}
    made = {file.name for file in (runs / "most_frequent" / "seed0").iterdir()} - {".lock"}
    assert made == {*names, "predictions.parquet"}
    assert (runs / "resnet_transformer" / "seed0" / "train.ipynb").exists()
    assert "most_frequent" in (root / "reports" / "tiny" / "captioning.csv").read_text()
    index = (root / "reports" / "tiny" / "index.html").read_text()
    assert "captioning.html" in index
    assert "triplets.html" in index


def test_papermill_alone_gives_the_same_bits(tmp_path, environment, finished):
    run, _ = finished
    alone = {**environment, "STUDIES_ROOT": str(tmp_path)}
    for name, options in (("train", NAMES), ("evaluate", FILES)):
        subprocess.run(
            papermill(name, tmp_path / f"{name}.ipynb", *options, "-p", "seed", "0"),
            cwd=REPOSITORY,
            env=alone,
            check=True,
            capture_output=True,
        )
    twin = tmp_path / "runs" / "tiny" / "triplets" / "flexible" / "seed0"
    for name in ("params.yaml", "metrics.json", "model.safetensors", "curves.csv"):
        assert (twin / name).read_bytes() == (run / name).read_bytes(), name


def test_papermill_alone_refuses_a_misspelt_parameter(tmp_path, environment):
    output = tmp_path / "train.ipynb"
    run = subprocess.run(
        papermill("train", output, *FILES, "-p", "lerning_rate", "0.1"),
        cwd=REPOSITORY,
        env={**environment, "STUDIES_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode != 0
    assert "unknown parameter `lerning_rate`" in run.stderr
    assert not (tmp_path / "runs").exists()
    cells = json.loads(output.read_text())["cells"]
    errors = [o for cell in cells for o in cell.get("outputs", []) if o["output_type"] == "error"]
    assert [len(error["traceback"]) for error in errors] == [1]


def test_missing_data_is_one_sentence(tmp_path, environment):
    process = subprocess.run(
        [sys.executable, "-m", "studies", "DATASET=grocery_random"],
        cwd=REPOSITORY,
        env={**environment, "STUDIES_ROOT": str(tmp_path), "STUDIES_DATA": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 1
    assert process.stderr.count("\n") == 1
    assert "studies.inputs.download grocery" in process.stderr
    assert list(tmp_path.iterdir()) == []
