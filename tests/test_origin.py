"""Where a report comes from, of runs written by hand."""

import pytest

from studies.reporting.results import report_command, run_facts
from studies.runs.files import to_json
from studies.runs.folder import LoadedRun

TRAINED = {
    "python": "3.12.0",
    "packages": {"torch": "2.11.0", "numpy": "2.4.6"},
    "git": {"commit": "abc1234", "dirty": False},
    "platform": "Linux",
    "dataset_fingerprint": "f00d",
    "images": {"train": 6000, "validation": 1000, "test": 999},
    "device": "NVIDIA H100",
    "threads": 2,
}


@pytest.fixture
def run(tmp_path):
    """Return a function: what makes a run -> the run; a baseline lacks what training notes."""

    def make(system="resnet_lstm", seed=0, trained=True, dataset="demo", **facts):
        model, _, variant = system.partition("@")
        known = TRAINED if trained else {k: TRAINED[k] for k in list(TRAINED)[:6]}
        folder = tmp_path / system / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "provenance.json").write_text(to_json(known | facts), encoding="utf-8")
        params = {"dataset": dataset, "model": model, "variant": variant, "seed": seed}
        return LoadedRun(folder, params)

    return make


class TestCommand:
    def test_one_set_of_seeds(self, run):
        systems = {name: [run(name, seed) for seed in (2, 0, 10)] for name in ("a", "b@wide")}
        assert report_command("captioning", systems) == (
            "make study DATASET=demo STUDY=captioning SEEDS=0,2,10"
        )

    def test_several_sets_of_seeds(self, run):
        seeds = {"most_frequent": [0], "a": [1, 0], "nearest": [0], "a@wide": [0, 1], "b": [7]}
        systems = {name: [run(name, seed) for seed in of] for name, of in seeds.items()}
        assert report_command("triplets", systems).splitlines() == [
            "make study DATASET=demo STUDY=triplets SEEDS=0 MODEL=most_frequent,nearest",
            "make study DATASET=demo STUDY=triplets SEEDS=0,1 MODEL=a,a@wide",
            "make study DATASET=demo STUDY=triplets SEEDS=7 MODEL=b",
        ]


class TestFacts:
    def test_of_equal_runs_everything_stands_once(self, run):
        assert run_facts([run(seed=0), run(seed=3)]) == {
            "dataset": "demo, fingerprint f00d",
            "images": "6,000 train, 1,000 validation, 999 test",
            "seeds": "0, 3",
            "commit": "abc1234",
            "software": "Python 3.12.0, torch 2.11.0, numpy 2.4.6",
            "device": "NVIDIA H100",
            "threads": "2",
            "platform": "Linux",
        }

    def test_differences_stand_side_by_side(self, run):
        other = {
            "python": "3.11.2",
            "packages": {"torch": "2.15.0", "numpy": "2.4.6"},
            "git": {"commit": "def5678", "dirty": True},
            "device": "cpu",
            "threads": 1,
        }
        found = run_facts([run("a"), run("b", **other), run("c")])
        assert found["software"] == "Python 3.12.0, 3.11.2, torch 2.11.0, 2.15.0, numpy 2.4.6"
        assert found["commit"] == "abc1234, def5678, with uncommitted changes"
        assert found["device"] == "NVIDIA H100, cpu"
        assert found["threads"] == "2, 1"
        assert found["platform"] == "Linux"

    @pytest.mark.parametrize("first", [True, False])
    def test_a_baseline_was_trained_on_no_device(self, run, first):
        runs = [run("most_frequent", trained=False), run("resnet_lstm")]
        found = run_facts(runs if first else runs[::-1])
        assert found == run_facts(runs[1:])

    def test_baselines_alone(self, run):
        found = run_facts([run("most_frequent", trained=False)])
        assert (found["device"], found["threads"]) == ("", "")
        assert found["software"] == "Python 3.12.0, torch 2.11.0, numpy 2.4.6"

    def test_seeds_stand_in_the_order_of_numbers(self, run):
        assert run_facts([run(seed=seed) for seed in (0, 10, 2)])["seeds"] == "0, 2, 10"
