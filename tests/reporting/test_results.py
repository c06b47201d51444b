"""Where a report comes from, of runs written by hand."""

import pytest

from studies.reporting.results import report_command, run_facts
from studies.runs.files import to_json
from studies.runs.folder import LoadedRun

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
        params = {"dataset": "demo", "model": model, "variant": variant, "seed": seed}
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
