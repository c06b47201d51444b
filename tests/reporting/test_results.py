"""Where a report comes from, of runs written by hand."""

import shutil

import pandas as pd
import pytest
import yaml

from reported import tidy
from studies import paths
from studies.paths import StudyError
from studies.reporting.results import read_runs, report_command, run_facts
from studies.runs.files import to_json
from studies.runs.folder import LoadedRun
from studies.runs.params import load_parameters, run_files
from studies.triplets.figures import Results

EVALUATED = {
    "python": "3.12.0",
    "packages": {"torch": "2.11.0", "numpy": "2.4.6"},
    "git": {"commit": "abc1234", "dirty": False},
    "platform": "Linux",
    "dataset_fingerprint": "f00d",
    "images": {"train": 6000, "validation": 1000, "test": 999},
}
TRAINED = {**EVALUATED, "device": "NVIDIA H100", "threads": 2}


@pytest.fixture
def run(tmp_path):
    """Return a function: what makes a run -> the run; a baseline lacks what training notes."""

    def make(system="resnet_lstm", seed=0, known=TRAINED, **facts):
        folder = tmp_path / system / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "provenance.json").write_text(to_json(known | facts), encoding="utf-8")
        model, _, variant = system.partition("@")
        names = {"study": "captioning", "dataset": "demo", "model": model, "variant": variant}
        params = {**names, "seed": seed}
        return LoadedRun(folder, params)

    return make


def test_the_command_has_a_line_for_every_set_of_seeds(run):
    seeds = {"most_frequent": [0], "a": [1, 0], "nearest": [0], "a@wide": [0, 1], "b": [7]}
    systems = {name: [run(name, seed) for seed in of] for name, of in seeds.items()}
    assert report_command("triplets", systems).splitlines() == [
        "make study DATASET=demo STUDY=triplets SEEDS=0 MODEL=most_frequent,nearest",
        "make study DATASET=demo STUDY=triplets SEEDS=0,1 MODEL=a,a@wide",
        "make study DATASET=demo STUDY=triplets SEEDS=7 MODEL=b",
    ]


def test_facts_of_equal_runs_stand_once_and_differences_side_by_side(run):
    assert run_facts([run(seed=seed) for seed in (0, 10, 2)]) == {
        "dataset": "demo, fingerprint f00d",
        "images": "6,000 train, 1,000 validation, 999 test",
        "seeds": "0, 2, 10",
        "commit": "abc1234",
        "software": "Python 3.12.0, torch 2.11.0, numpy 2.4.6",
        "device": "NVIDIA H100",
        "threads": "2",
        "platform": "Linux",
    }
    baseline = run("most_frequent", known=EVALUATED)  # trained on no device
    other = run("b", git={"commit": "def5678", "dirty": True})
    facts = run_facts([baseline, run("a"), other])
    assert facts["commit"] == "abc1234, def5678, with uncommitted changes"
    assert (facts["device"], facts["threads"]) == ("NVIDIA H100", "2")


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Return a function: system and changes -> the folder of its run on the groceries."""
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path))

    def make(system, seed=0, **changes):
        params = load_parameters("triplets", "grocery_random", system, seed)
        folder = params.folder()
        (folder / "checkpoint").mkdir(parents=True)
        (folder / "params.yaml").write_text(yaml.safe_dump({**params.resolved(), **changes}))
        (folder / "provenance.json").write_text(to_json(TRAINED))
        pd.DataFrame({"id": ["a", "b"]}).to_parquet(folder / "predictions.parquet")
        names = "metrics.json", "curves.csv", "model.safetensors", "train.ipynb", ".lock"
        for name in (*names, "checkpoint/state"):
            (folder / name).write_text(name)
        return folder

    return make


class TestEvidence:
    def test_it_is_everything_but_weights_checkpoints_and_notebooks(self, trained):
        folder = trained("flexible")
        (run,) = read_runs("grocery_random", "triplets", "images")
        assert run.folder == paths.evidence("grocery_random") / "triplets/flexible/seed0"
        kept = {file.name: file.read_bytes() for file in run.folder.iterdir()}
        names = {"metrics.json", "curves.csv", "params.yaml", "provenance.json"}
        assert kept == {n: (folder / n).read_bytes() for n in (*names, "predictions.parquet")}
        shutil.rmtree(paths.runs())
        assert [run] == read_runs("grocery_random", "triplets", "images")
        with pytest.raises(StudyError, match=r"has no model\.safetensors"):
            run.model()

    def test_what_params_no_longer_say_is_left_out_by_name(self, trained):
        trained("flexible")
        trained("triplet")
        assert len(read_runs("grocery_random", "triplets", "images")) == 2
        shutil.rmtree(paths.runs())
        stale = paths.evidence("grocery_random") / "triplets" / "triplet/seed0/params.yaml"
        stale.write_text(stale.read_text().replace("epochs: 80", "epochs: 81"))
        runs = read_runs("grocery_random", "triplets", "images")
        assert [run.system for run in runs] == ["flexible"]
        said = Results("grocery_random", {"flexible": runs}).origin().text
        assert "from committed evidence: every row\n" in said
        assert "left out, as params/ says otherwise: triplet seed 0 (epochs)\n" in said
        others = sorted({*run_files("triplets", "grocery_random")} - {"flexible"})
        absent = "; ".join(f"{system} seed 0" for system in others)
        assert said.endswith(f"missing, though params/ lists them: {absent}")

    def test_a_run_with_other_settings_than_params_is_read_where_it_was_made(self, trained):
        trained("flexible")
        mine = trained("triplet", variant="mine", epochs=3)
        runs = read_runs("grocery_random", "triplets", "images")
        assert {run.system: run.folder == mine for run in runs} == {
            "flexible": False,
            "triplet@mine": True,
        }
        said = Results("grocery_random", {run.system: [run] for run in runs}).origin().text
        assert "from committed evidence: flexible seed 0" in said


def test_the_tidy_frame_is_read_back_exactly(sandbox):
    row = {"study": "triplets", "dataset": "d", "model": "flexible", "metric": "macro_f1"}
    rows = [{**row, "mean": 0.1 + 0.2, "n": 7, "n_seeds": 3, "ci_low": 1 / 3}]
    rows += [
        {**row, "variant": "04", "published": 0.85},
        {**row, "model": "NA", "variant": "nan,\n|"},
    ]
    frame = tidy(rows)
    Results("d", {}).write(frame, pd.DataFrame(), [], "A lead.", "- Note_ here.")
    options = {"keep_default_na": False, "na_values": dict.fromkeys(frame.columns[5:], "")}
    file = paths.reports() / "d/triplets.csv"
    read = pd.read_csv(file, dtype=dict(frame.dtypes), **options)
    pd.testing.assert_frame_equal(read, frame, check_exact=True)
