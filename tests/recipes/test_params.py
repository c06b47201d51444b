"""What a run of the study may be told: every mistake is one sentence that names the parameter."""

from functools import partial

import pytest
import yaml
from pydantic import ValidationError

import changing
from sentences import refused
from studies.paths import REPOSITORY
from studies.recipes.params import Parameters
from studies.runs.params import read_yaml, run_files
from studies.triplets.params import Parameters as Triplets

DATASETS = sorted(file.parent.name for file in REPOSITORY.glob("params/recipes/*/dataset.yaml"))
WITH_RECIPES = ["demo", "food101", "recipes5k", "tiny", "uecfood256"]
BASELINES = ["frequencies", "majority"]
NETWORKS = {"two_networks": False, "shared_backbone": True}  # whether there is one trunk
PROMPTS = {  # what each is told of dish and ingredients
    "naive": ("seen", "none"),
    "supervised": ("seen", "seen"),
    "oracle": ("actual", "actual"),
    "shuffled": ("seen", "another_plate"),
    "typical": ("seen", "typical"),
}
FLIPS = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.2}
FROZEN = {"name": "backbone", "weights": "torchvision/densenet121", "trained": False}

values_of = partial(changing.values_of, "recipes")
GOOD = values_of("tiny", "shared_backbone")  # image_size 32, two blocks
PROMPT = values_of("tiny", "supervised")


def changed(changes, good=GOOD):
    return changing.changed(good, changes)


def message(changes, good=GOOD):
    return changing.told_of(Parameters, good, changes)


class TestShippedFiles:
    @pytest.mark.parametrize("dataset", DATASETS)
    def test_every_file_is_valid_and_comes_back(self, dataset, tmp_path):
        for system in run_files("recipes", dataset):
            parameters = Parameters.check(values_of(dataset, system), {"": system})
            file = tmp_path / f"{system}.yaml"
            file.write_text(yaml.safe_dump(parameters.resolved()))
            assert Parameters.from_run(read_yaml(file), tmp_path) == parameters
            assert (parameters.dataset, parameters.system) == (dataset, system)
            assert parameters.trained == (system.partition("@")[0] in NETWORKS)

    @pytest.mark.parametrize("dataset", DATASETS)
    def test_the_systems_are_those_of_the_paper_and_its_controls(self, dataset):
        runs = {
            system: Parameters.check(values_of(dataset, system), {"": system})
            for system in run_files("recipes", dataset)
        }
        assert {*NETWORKS, *BASELINES} <= set(runs)
        for system, shared in NETWORKS.items():
            assert runs[system].network.shared == shared
            assert runs[system].network.ingredient_weight > 0
        for name in BASELINES:
            assert runs[name].baseline.name == name
        assert set(PROMPTS) <= set(runs) or dataset not in WITH_RECIPES
        for name in set(PROMPTS) & set(runs):
            prompt = runs[name].prompt
            assert (prompt.dish, prompt.ingredients) == PROMPTS[name]

    @pytest.mark.parametrize("dataset", DATASETS)
    def test_systems_differ_in_nothing_but_what_they_are(self, dataset):
        own = ("model", "variant", "network", "baseline", "prompt")
        shared = [
            {name: value for name, value in values_of(dataset, system).items() if name not in own}
            for system in run_files("recipes", dataset)
        ]
        assert all(other == shared[0] for other in shared)
        trunks = [values_of(dataset, system)["network"]["trunk"] for system in NETWORKS]
        assert trunks[0] == trunks[1]

    def test_those_who_write_are_asked_after_those_who_see(self):
        for dataset in WITH_RECIPES:
            for system in run_files("recipes", dataset):
                after = Parameters.check(values_of(dataset, system), {"": system}).after
                assert after == (list(NETWORKS) if system in PROMPTS else [])


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("epoch", "epochs"),
        ("writin", "writing"),
        ("source.per_varient", "per_variant"),
        ("network.name", "names"),
        ("network.ingredients_weight", "ingredient_weight"),
        ("network.trunk.growht", "growth"),
        ("writing.serving", "servings"),
        ("writing.generator.width_", "width"),
    ],
)
def test_unknown_names(name, nearest):
    told = message({name: 3})
    assert told == f"unknown parameter `{name}`; did you mean `{nearest}`?"


@pytest.mark.parametrize(
    "name",
    ["images", "baseline", "prompt", "network", "writing", "writing.sure", "network.trunk.stem"],
)
def test_missing_names(name):
    assert message({name: ...}) == f"parameter `{name}` is missing; add it"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("images", 0),
        ("epochs", 2.5),
        ("split_seed", -1),
        ("validation_share", 1.0),
        ("test_share", -0.1),
        ("image_size", 8),
        ("learning_rate", 0.0),
        ("learning_rate", float("nan")),
        ("backbone_learning_rate", -0.1),
        ("warm_up", 1.0),
        ("weight_decay", -1.0),
        ("validate_every", 0),
        ("precision", "fp16"),
        ("source.per_variant", 0),
        ("network.shared", "yes"),
        ("network.names", "dishes"),
        ("network.ingredient_weight", -1.0),
        ("network.ingredient_weight", float("inf")),
        ("network.trunk.growth", 0),
        ("network.trunk.blocks", []),
        ("network.trunk.blocks", [2, 0]),
        ("network.trunk.stem", 0),
        ("writing.perception", []),
        ("writing.plates", 0),
        ("writing.recipes", 0),
        ("writing.temperature", -0.1),
        ("writing.max_tokens", 0),
        ("writing.sure", 1.1),
        ("writing.generator.learning_rate", 0.0),
    ],
)
def test_impossible_values(name, value):
    where = f"{name}[1]" if value == [2, 0] else name
    assert message({name: value}).startswith(f"parameter `{where}` should ")


SERVER = {
    **{"name": "server", "url": "http://localhost:8000/v1", "model": "m"},
    **{"key_variable": "OPENAI_API_KEY", "timeout": 60.0, "attempts": 5},
}


@pytest.mark.parametrize(
    ("name", "value", "nearest"),
    [
        (
            "source",
            {"name": "food-101", "ingredients": "typical"},
            "did you mean `food101`?",
        ),
        ("network.trunk", {"name": "vit"}, "there are: densenet, backbone"),
        ("writing.generator", SERVER | {"name": "serve"}, "did you mean `server`?"),
    ],
)
def test_unknown_kinds(name, value, nearest):
    expected = f"parameter `{name}.name` cannot be `{value['name']}`; {nearest}"
    assert message({name: value}) == expected


MAJORITY = {"name": "majority"}
TOLD = {"dish": "seen", "ingredients": "seen"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network": None}, ["a network, a baseline or a prompt", "null"]),
        ({"baseline": MAJORITY}, ["a network, a baseline or a prompt", "null"]),
        ({"prompt": TOLD}, ["a network, a baseline or a prompt", "null"]),
        ({"network": None, "prompt": TOLD, "writing": None}, ["set writing"]),
        ({"writing.generator.seed": 0}, ["writing.generator.seed is that of source"]),
        ({"epochs": 4, "validate_every": 3}, ["validate_every must divide epochs"]),
        ({"validation_share": 0.5, "test_share": 0.5}, ["validation_share + test_share"]),
        (
            {"network.trunk.blocks": [1] * 4},
            ["network.trunk.blocks", "4 blocks", "image_size 32"],
        ),
        (
            {"network.trunk": FROZEN, "augmentation": FLIPS},
            ["frozen backbone", "augmentation is null"],
        ),
        (
            {
                "network.names": "variant",
                "source": {"name": "food101", "ingredients": "typical"},
            },
            ["network.names", "only the kitchen"],
        ),
    ],
)
def test_values_that_contradict_each_other(changes, words):
    told = message(changes)
    assert all(word in told for word in words)


@pytest.mark.parametrize(
    "changes",
    [
        {"network": None, "baseline": MAJORITY},
        {"network": None, "baseline": {"name": "frequencies"}, "writing": None},
        {"network": None, "prompt": TOLD},
        {"writing": None},
        {"epochs": 6, "validate_every": 3},
        {"augmentation": FLIPS},
        {"network.trunk.blocks": [1] * 3},
        {"network.names": "variant", "network.ingredient_weight": 0.0},
        {"network.trunk": FROZEN},
        {"network.trunk": FROZEN | {"trained": True}, "augmentation": FLIPS},
        {"source": {"name": "uecfood256", "ingredients": "mine.csv"}},
        {"writing.plates": 3, "writing.temperature": 0.0},
        {"writing.generator": SERVER},
        {"writing.generator": {"name": "local", "model": "gpt2", "batch": 4}},
    ],
)
def test_values_that_agree(changes):
    values = changed(changes)
    parameters = Parameters.check(values, {"": "mine.yaml"})
    assert parameters.resolved() == {"study": "recipes", **values}
    assert parameters.trained == (values["network"] is not None)


def test_blocks_cannot_be_changed():
    parameters = Parameters.check(GOOD, {"": "tiny"})
    with pytest.raises(ValidationError, match="frozen"):
        parameters.network.shared = False


class TestSister:
    """The parameters of a system that another one builds on."""

    @pytest.mark.parametrize("sister", [*NETWORKS, "shared_backbone@variants", "typical"])
    def test_it_is_what_the_command_line_would_give(self, sister):
        given = ["seed=3", "epochs=8", "image_size=48"]
        files = run_files("recipes", "tiny")
        asked = Parameters.from_files(files["naive"], given)
        assert asked.sister(sister) == Parameters.from_files(files[sister], given)

    def test_its_sister_is_the_one_that_was_asked(self):
        first = Parameters.from_files(run_files("recipes", "tiny")["oracle"], ["seed=1"])
        assert first.sister("shared_backbone@variants").sister("oracle") == first

    def test_it_is_trained_in_a_folder_of_its_own(self):
        first = Parameters.check(PROMPT, {"": "tiny"})
        folders = {first.folder(), *(first.sister(system).folder() for system in NETWORKS)}
        assert {folder.parent.name for folder in folders} == {"supervised", *NETWORKS}
        assert {folder.parent.parent for folder in folders} == {first.folder().parent.parent}

    @pytest.mark.parametrize(
        ("unknown", "nearest"),
        [("two_network", "two_networks"), ("share_backbone", "shared_backbone")],
    )
    def test_there_is_none_of_that_name(self, unknown, nearest):
        first = Parameters.check(PROMPT, {"": "tiny"})
        expected = f"supervised builds on `{unknown}`, which tiny does not have"
        told = refused(first.sister, unknown)
        assert told.startswith(expected)
        assert f"`{nearest}`" in told

    def test_values_that_do_not_fit_it(self):
        """Four blocks fit the pictures of a prompt, which sees none, but not those of a network."""
        first = Parameters.check(changed({"image_size": 16}, PROMPT), {"": "tiny"})
        assert first.sister("two_networks").image_size == 16
        demo = Parameters.from_files(
            run_files("recipes", "food101_scratch")["majority"], ["seed=0"]
        )
        small = Parameters.check(
            {**demo.model_dump(), "image_size": 16}, dict.fromkeys(["", "image_size"], "mine.yaml")
        )
        told = refused(small.sister, "two_networks")
        assert told.startswith("params/recipes/food101_scratch/two_networks.yaml: ")
        assert "too many for image_size 16" in told

    def test_other_studies_wait_for_nobody(self):
        files = run_files("triplets", "tiny")
        for system in files:
            assert Triplets.from_files(files[system], ["seed=0"]).after == []


class TestData:
    """What is missing is said before anything is read."""

    @pytest.mark.parametrize(
        ("source", "there", "missing"),
        [
            (("food101", "typical"), [], "food101/food-101"),
            (("food101", "ingredients101"), [], "food101/food-101"),
            (("food101", "ingredients101"), ["food101/food-101"], "ingredients101"),
            (("food101", "recipes5k"), ["food101/food-101"], "recipes5k"),
            (("food101", "mine.csv"), ["food101/food-101"], "mine.csv"),
            (("uecfood256", "mine.csv"), [], "uecfood256/UECFOOD256"),
            (("uecfood256", "mine.csv"), ["uecfood256/UECFOOD256"], "mine.csv"),
        ],
    )
    def test_one_sentence_says_where_it_should_be(self, sandbox, source, there, missing):
        for folder in there:
            (sandbox / "data" / folder).mkdir(parents=True)
        given = dict(zip(("name", "ingredients"), source, strict=True))
        parameters = Parameters.check(changed({"source": given}), {"": "mine.yaml"})
        told = refused(parameters.require_data)
        assert str(sandbox / "data" / missing) in told
        assert "STUDIES_DATA" in told

    @pytest.mark.parametrize(
        ("source", "there"),
        [
            (("food101", "typical"), ["food101/food-101"]),
            (("food101", "recipes5k"), ["recipes5k"]),  # it has photographs of its own
            (("food101", "ingredients101"), ["food101/food-101", "ingredients101"]),
        ],
    )
    def test_nothing_is_missing(self, sandbox, source, there):
        for folder in there:
            (sandbox / "data" / folder).mkdir(parents=True)
        given = dict(zip(("name", "ingredients"), source, strict=True))
        assert (
            Parameters.check(changed({"source": given}), {"": "mine.yaml"}).require_data() is None
        )

    def test_the_kitchen_needs_nothing(self, sandbox):
        assert Parameters.check(GOOD, {"": "tiny"}).require_data() is None
