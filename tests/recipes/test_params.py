"""What a run of the study may be told: every mistake is one sentence that names the parameter."""

from functools import partial

import pytest
import yaml

import changing
from sentences import refused
from studies.paths import REPOSITORY
from studies.recipes.params import Parameters
from studies.runs.folder import load_run
from studies.runs.params import run_files

DATASETS = sorted(file.parent.name for file in REPOSITORY.glob("params/recipes/*/dataset.yaml"))
NETWORKS = {"two_networks": False, "shared_backbone": True}  # whether there is one trunk
PROMPTS = {  # what each is told of dish and ingredients
    "naive": ("seen", "none"),
    "supervised": ("seen", "seen"),
    "oracle": ("actual", "actual"),
    "shuffled": ("seen", "another_plate"),
    "typical": ("seen", "typical"),
    "implied": ("seen", "implied"),
    "echo": ("seen", "seen"),
}
RIVALS = ("attention_pooling", "metric_learning")
FLIPS = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.2}
FROZEN = {"name": "backbone", "weights": "torchvision/densenet121", "trained": False}
TOLD = {"dish": "seen", "ingredients": "seen"}
SERVER = {
    **{"name": "server", "url": "http://localhost:8000/v1", "model": "m"},
    **{"key_variable": "OPENAI_API_KEY", "timeout": 60.0, "attempts": 5},
}

values_of = partial(changing.values_of, "recipes")
GOOD = values_of("tiny", "shared_backbone")  # image_size 32, two blocks


def message(changes):
    return changing.told_of(Parameters, GOOD, changes)


@pytest.mark.parametrize("dataset", DATASETS)
def test_shipped_files_are_the_systems_of_the_paper_and_its_controls(dataset, tmp_path):
    own = ("model", "variant", "network", "baseline", "prompt")
    shared, runs = [], {}
    for system in run_files("recipes", dataset):
        values = values_of(dataset, system)
        runs[system] = parameters = Parameters.check(values, {"": system})
        file = tmp_path / system / "params.yaml"
        file.parent.mkdir()
        file.write_text(yaml.safe_dump(parameters.resolved()))
        assert load_run(tmp_path / system).parameters == parameters
        assert (parameters.dataset, parameters.system) == (dataset, system)
        assert parameters.trained == (parameters.model in {*NETWORKS, *RIVALS})
        eyes = parameters.writing.perception if parameters.looks else []
        if parameters.prompt and parameters.variant:  # another network, with nothing else changed
            eyes = [parameters.variant]
            assert parameters.builds_on() == [runs["shared_backbone"]]
        assert parameters.looks == (parameters.model in {*PROMPTS, "dish_implied"})
        assert parameters.after == eyes
        assert parameters.by_chance == (system not in ("frequencies", "majority"))
        shared.append({name: value for name, value in values.items() if name not in own})
    # systems differ in nothing but what they are
    assert all(other == shared[0] for other in shared)
    for system, one_trunk in NETWORKS.items():
        assert runs[system].network.shared == one_trunk
        assert runs[system].network.ingredient_weight > 0
        assert runs[system].network.trunk == runs["two_networks"].network.trunk
    for system in ("frequencies", "majority"):
        assert runs[system].baseline.name == system
    controls = {"implied", "echo"} if dataset != "food101_groups" else set()
    assert set(PROMPTS) - controls <= set(runs) or dataset == "food101_scratch"
    for system in set(PROMPTS) & set(runs):
        assert (runs[system].prompt.dish, runs[system].prompt.ingredients) == PROMPTS[system]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": None}, ["a network, a baseline or a prompt", "null"]),
        ({"network": None, "prompt": TOLD, "writing": None}, ["set writing"]),
        ({"epochs": 4, "validate_every": 3}, ["validate_every must divide epochs"]),
        ({"validation_share": 0.5, "test_share": 0.5}, ["validation_share + test_share"]),
        ({"network.trunk.blocks": [1] * 4}, ["network.trunk.blocks", "4 blocks", "image_size 32"]),
        ({"network.grid": 3}, ["network.grid", "a frozen backbone"]),
        ({"network.trunk": FROZEN, "augmentation": FLIPS}, ["frozen", "augmentation is null"]),
        (
            {"network.names": "variant", "source": {"name": "food101", "ingredients": "typical"}},
            ["network.names", "have no variants"],
        ),
        (
            {"network": None, "baseline": {"name": "dish_implied"}, "writing": None},
            ["needs a network to ask: set writing"],
        ),
        ({"writing.generator": SERVER | {"key_variable": "sk-1"}}, ["not the key itself"]),
    ],
)
def test_values_that_contradict_each_other(changes, words):
    said = message(changes)
    assert all(word in said for word in words)


@pytest.mark.parametrize(
    ("source", "there", "missing"),
    [
        (("food101", "typical"), [], "food101/food-101"),
        (("food101", "typical"), ["food101/food-101"], None),
        (("food101", "ingredients101"), ["food101/food-101"], "ingredients101"),
        (("food101", "recipes5k"), ["food101/food-101"], "recipes5k"),
        (("food101", "recipes5k"), ["recipes5k"], None),  # it has photographs of its own
        (("uecfood256", "mine.csv"), [], "uecfood256/UECFOOD256"),
        (("uecfood256", "mine.csv"), ["uecfood256/UECFOOD256"], "mine.csv"),
    ],
)
def test_missing_data_is_said_before_anything_is_read(sandbox, source, there, missing):
    for folder in there:
        (sandbox / "data" / folder).mkdir(parents=True)
    changes = {"source": dict(zip(("name", "ingredients"), source, strict=True))}
    parameters = Parameters.check(changing.changed(GOOD, changes), {"": "mine.yaml"})
    if missing is None:
        parameters.require_data()
    else:
        said = refused(parameters.require_data)
        assert str(sandbox / "data" / missing) in said
        assert "STUDIES_DATA" in said
    Parameters.check(GOOD, {"": "tiny"}).require_data()  # the kitchen needs nothing
