"""What a run of the study may be told: every mistake is one sentence that names the parameter."""

from functools import partial

import pytest
import yaml
from pydantic import ValidationError

import changing
from studies.captioning.params import Parameters
from studies.paths import REPOSITORY
from studies.runs.params import read_yaml, run_files

DATASETS = sorted(file.parent.name for file in REPOSITORY.glob("params/captioning/*/dataset.yaml"))
BASELINES = ["most_frequent", "nearest_neighbour"]
# the first words of the three systems' descriptions: projection, decoder
SYSTEMS = {
    "resnet_lstm": ("convolution", "lstm"),
    "resnet_transformer": ("linear", "transformer"),
    "clip_transformer": ("linear", "transformer"),
}
FLIPS = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.2}
VIT = {"name": "vit", "patch": 8, "width": 64, "layers": 2, "heads": 4}
FROZEN = {"name": "backbone", "weights": "openai/clip-vit-base-patch32", "trained": False}

values_of = partial(changing.values_of, "captioning")
GOOD = values_of("tiny", "resnet_transformer")  # image_size 32, width 64, cnn of three blocks


def changed(changes):
    return changing.changed(GOOD, changes)


def message(changes):
    return changing.told_of(Parameters, GOOD, changes)


class TestShippedFiles:
    @pytest.mark.parametrize("dataset", DATASETS)
    def test_every_file_is_valid_and_comes_back(self, dataset, tmp_path):
        for system in run_files("captioning", dataset):
            parameters = Parameters.check(values_of(dataset, system), {"": system})
            file = tmp_path / f"{system}.yaml"
            file.write_text(yaml.safe_dump(parameters.resolved()))
            assert Parameters.from_run(read_yaml(file), tmp_path) == parameters
            assert parameters.trained == (system not in BASELINES)

    @pytest.mark.parametrize("dataset", DATASETS)
    def test_the_systems_are_those_of_the_paper(self, dataset):
        runs = {
            system: Parameters.check(values_of(dataset, system), {"": system})
            for system in run_files("captioning", dataset)
        }
        assert {*SYSTEMS, *BASELINES} <= set(runs)
        for system, (projection, decoder) in SYSTEMS.items():
            network = runs[system].network
            assert (network.encoder.projection, network.decoder.name) == (projection, decoder)
            assert network.encoder.layers >= 1
            assert (network.encoder.grid is None) == (system == "clip_transformer")
        for name in BASELINES:
            assert runs[name].baseline.name == name

    @pytest.mark.parametrize("dataset", DATASETS)
    def test_systems_differ_in_nothing_but_their_network(self, dataset):
        shared = [
            {
                name: value
                for name, value in values_of(dataset, system).items()
                if name not in ("model", "variant", "network")
            }
            for system in SYSTEMS
        ]
        assert shared[0] == shared[1] == shared[2]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("epoch", "epochs"),
        ("min_counts", "min_count"),
        ("source.per_varient", "per_variant"),
        ("decoding.beam", "beams"),
        ("network.widht", "width"),
        ("network.encoder.head", "heads"),
        ("network.encoder.source.width", "widths"),
        ("network.decoder.layer", "layers"),
    ],
)
def test_unknown_names(name, nearest):
    told = message({name: 3})
    assert told == f"unknown parameter `{name}`; did you mean `{nearest}`?"


@pytest.mark.parametrize(
    "name",
    ["images", "baseline", "network", "decoding.beams", "network.encoder.grid", "source.name"],
)
def test_missing_names(name):
    assert message({name: ...}) == f"parameter `{name}` is missing; add it"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", 0),
        ("epochs", 2.5),
        ("patience", 0),
        ("min_count", 0),
        ("split_seed", -1),
        ("validation_share", 1.0),
        ("test_share", -0.1),
        ("image_size", 8),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("backbone_learning_rate", -0.1),
        ("warm_up", 1.0),
        ("weight_decay", -1.0),
        ("label_smoothing", 1.0),
        ("gradient_norm", 0.0),
        ("precision", "fp16"),
        ("source.per_variant", 0),
        ("decoding.beams", 0),
        ("decoding.length_penalty", -0.5),
        ("decoding.max_length", 0),
        ("network.width", 0),
        ("network.dropout", 1.0),
        ("network.encoder.projection", "conv"),
        ("network.encoder.layers", -1),
        ("network.encoder.grid", 0),
        ("network.encoder.source.widths", []),
        ("network.decoder.layers", 0),
    ],
)
def test_impossible_values(name, value):
    assert message({name: value}).startswith(f"parameter `{name}` should ")


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        ("source", {"name": "flickr8", "splits": "official"}, "did you mean `flickr8k`?"),
        ("baseline", {"name": "most_frequen"}, "did you mean `most_frequent`?"),
        ("network.encoder.source", {"name": "resnet"}, "there are: backbone, cnn, vit"),
        ("network.decoder", {"name": "gru"}, "there are: lstm, transformer"),
    ],
)
def test_unknown_kinds(name, value, nearest):
    expected = f"parameter `{name}.name` cannot be `{value['name']}`; {nearest}"
    assert message({name: value}) == expected


MOST_FREQUENT = {"name": "most_frequent"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": None}, ["network", "baseline", "null"]),
        ({"baseline": MOST_FREQUENT}, ["network", "baseline", "null"]),
        ({"epochs": 6, "validate_every": 4}, ["validate_every must divide epochs"]),
        ({"validation_share": 0.5, "test_share": 0.5}, ["validation_share + test_share"]),
        ({"network.encoder.heads": 3}, ["network.encoder.heads (3)", "width (64)"]),
        ({"network.decoder.heads": 5}, ["network.decoder.heads (5)", "width (64)"]),
        (
            {"network.encoder.source.widths": [8] * 6},
            ["network.encoder.source.widths", "6 blocks", "image_size 32"],
        ),
        (
            {"network.encoder.grid": None, "network.encoder.projection": "convolution"},
            ["network.encoder.projection", "set grid"],
        ),
        (
            {"network.encoder.grid": None, "network.encoder.source": VIT | {"patch": 12}},
            ["network.encoder.source: patch must divide image_size"],
        ),
        (
            {"network.encoder.grid": None, "network.encoder.source": VIT | {"heads": 3}},
            ["network.encoder.source: ", "heads must divide width"],
        ),
        ({"network.encoder.source": VIT}, ["network.encoder.grid is null for a vision transf"]),
        (
            {"network.encoder.source": FROZEN, "augmentation": FLIPS},
            ["frozen backbone", "augmentation is null"],
        ),
    ],
)
def test_values_that_contradict_each_other(changes, words):
    told = message(changes)
    assert all(word in told for word in words)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": None, "baseline": MOST_FREQUENT},
        {
            "network": None,
            "baseline": {
                "name": "nearest_neighbour",
                "features": {"name": "backbone", "weights": "torchvision/resnet50"},
            },
        },
        {"epochs": 6, "validate_every": 3},
        {"augmentation": FLIPS},
        {"network.encoder.source.widths": [8] * 5},
        {"network.encoder.heads": 2, "network.decoder": {"name": "lstm", "hidden": 7}},
        {"network.encoder.layers": 0},
        {"network.encoder.grid": None},
        {"network.encoder.grid": None, "network.encoder.source": VIT},
        {"network.encoder.grid": None, "network.encoder.source": FROZEN},
        {"network.encoder.source": FROZEN | {"trained": True}, "augmentation": FLIPS},
        {"network.encoder.projection": "convolution"},
        {"source": {"name": "flickr8k", "splits": "karpathy"}},
    ],
)
def test_values_that_agree(changes):
    values = changed(changes)
    parameters = Parameters.check(values, {"": "mine.yaml"})
    assert parameters.resolved() == {"study": "captioning", **values}
    assert parameters.trained == (values["baseline"] is None)


def test_blocks_cannot_be_changed():
    parameters = Parameters.check(GOOD, {"": "tiny"})
    with pytest.raises(ValidationError, match="frozen"):
        parameters.decoding.beams = 9
