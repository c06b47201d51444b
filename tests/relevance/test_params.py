"""What a run of the study may be told: every mistake is one sentence that names the parameter."""

from functools import partial

import pytest
import yaml

import changing
from studies.paths import REPOSITORY
from studies.relevance.params import Parameters
from studies.runs.folder import load_run
from studies.runs.params import run_files

DATASETS = sorted(file.parent.name for file in REPOSITORY.glob("params/relevance/*/dataset.yaml"))
CAPTIONS = ["all", "kept", "weighted", "random"]
PIXELS = {"name": "pixels", "size": 32, "widths": [4, 8]}
COLLECTED = {"name": "imagenet_captions", "images": None}

values_of = partial(changing.values_of, "relevance")
PREDICTOR = values_of("demo", "predictor")
DOWNSTREAM = values_of("demo", "downstream_weighted")


def message(changes, good=PREDICTOR):
    return changing.told_of(Parameters, good, changes)


class TestShippedFiles:
    @pytest.mark.parametrize("dataset", DATASETS)
    def test_every_file_is_valid_and_comes_back(self, dataset, tmp_path):
        for system in run_files("relevance", dataset):
            parameters = Parameters.check(values_of(dataset, system), {"": system})
            file = tmp_path / system / "params.yaml"
            file.parent.mkdir()
            file.write_text(yaml.safe_dump(parameters.resolved()))
            assert load_run(tmp_path / system).parameters == parameters
            assert (parameters.dataset, parameters.system) == (dataset, system)
            networks = ("predictor", "small_loss", "downstream")
            assert parameters.trained == system.startswith(networks)

    @pytest.mark.parametrize("dataset", DATASETS)
    def test_those_who_are_compared_differ_in_nothing_else(self, dataset):
        own = ("model", "variant", "predictor", "baseline", "downstream", "training")
        systems = {system: values_of(dataset, system) for system in run_files("relevance", dataset)}
        shared = [
            {name: value for name, value in values.items() if name not in own}
            for system, values in systems.items()
            # which are variants of the captions and of the sentences themselves
            if not system.partition("@")[2].startswith(("named", "noise", "random_sentences"))
        ]
        assert all(other == shared[0] for other in shared)
        for ending in {system.partition("@")[2] for system in systems if "downstream" in system}:
            names = ["@".join(filter(None, (f"downstream_{one}", ending))) for one in CAPTIONS]
            trained = [systems[name] for name in names]
            assert all(other["training"] == trained[0]["training"] for other in trained)
            alike = [one["downstream"] | {"captions": ""} for one in trained]
            assert all(other == alike[0] for other in alike)
        if "predictor@captions_alone" in systems:
            alone, whole = systems["predictor@captions_alone"], systems["predictor"]
            assert alone["training"] == whole["training"]
            assert alone["predictor"] == whole["predictor"] | {"append_sentences": False}


@pytest.mark.parametrize(
    ("good", "changes", "words"),
    [
        (PREDICTOR, {"training": None}, ["training", "others need it"]),
        (PREDICTOR, {"training.epochs": 4, "training.validate_every": 3}, ["validate_every"]),
        (PREDICTOR, {"filter.threshold": 0.8, "filter.sure": 0.7}, ["filter", "above sure"]),
        (
            DOWNSTREAM,
            {"downstream.encoder": PIXELS, "source": COLLECTED},
            ["looks at images", "source.images"],
        ),
        (DOWNSTREAM, {"downstream.encoder": PIXELS | {"size": 6}}, ["size", "at least 7"]),
    ],
)
def test_values_that_contradict_each_other(good, changes, words):
    told = message(changes, good)
    assert all(word in told for word in words)
