"""Every mistake in a parameter is one sentence: the file, the name, the nearest valid name."""

import copy
import json
import math

import pytest
import yaml

from studies.paths import REPOSITORY, StudyError
from studies.triplets.params import Parameters

TINY = REPOSITORY / "params" / "triplets" / "tiny"
SHARED, FLEXIBLE = TINY / "dataset.yaml", TINY / "flexible.yaml"
GOOD = {**yaml.safe_load(SHARED.read_text()), **yaml.safe_load(FLEXIBLE.read_text()), "seed": 0}
STAGE = {"from_epoch": 0, "learning_rate": 0.001, "mining": "semihard"}


def flexible(margins, combine="max"):
    return {"name": "flexible_margin", "margins": margins, "combine": combine, "take": "closest"}


def hybrid(margins):
    return {**flexible(margins), "name": "hybrid", "weight": 1.0}


def table(groups):
    return {"name": "table", "file": "my/labels.csv", "groups": groups}


def refused(*files, overrides=()) -> str:
    with pytest.raises(StudyError) as caught:
        Parameters.from_files(files, overrides)
    return sentence(caught.value)


def sentence(error) -> str:
    message = str(error)
    assert "\n" not in message
    assert "pydantic" not in message.lower()
    assert "validation error" not in message.lower()
    assert len(message) < 500
    return message


@pytest.fixture
def written(tmp_path):
    """Write the tiny parameters with changes to a file; a value of `...` leaves the name out."""

    def write(**changes):
        values = copy.deepcopy(GOOD) | changes
        file = tmp_path / "mine.yaml"
        content = {name: value for name, value in values.items() if value is not ...}
        file.write_text(yaml.safe_dump(content))
        return file

    return write


def test_the_unchanged_file_is_accepted(written):
    parameters = Parameters.from_files([written()])
    assert parameters.resolved() == {"study": "triplets", **GOOD}


@pytest.mark.parametrize(
    ("changes", "name", "nearest"),
    [
        ({"epoch": 3}, "epoch", "epochs"),
        ({"learning_rates": 0.1, "seeed": 1}, "learning_rates", None),
        ({"loss": {**GOOD["loss"], "margin": 1.0}}, "loss.margin", "margins"),
        ({"loss": {**GOOD["loss"], "combin": "max"}}, "loss.combin", "combine"),
        (
            {"loss": {"name": "triplet", "margin": 1.0, "take": "closest", "margins": [1.0]}},
            "loss.margins",
            "margin",
        ),
        ({"backbone": {**GOOD["backbone"], "width": [8]}}, "backbone.width", "widths"),
        ({"source": {**GOOD["source"], "per_varient": 2}}, "source.per_varient", "per_variant"),
        ({"stages": [STAGE, {**STAGE, "minning": None}]}, "stages[1].minning", "mining"),
        (
            {"augmentation": {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.1, "color": 0}},
            "augmentation.color",
            "colour",
        ),
    ],
)
def test_unknown_names(written, changes, name, nearest):
    file = written(**changes)
    message = refused(file)
    assert message.startswith(f"{file}: unknown parameter `{name}`; ")
    if nearest:
        assert message.endswith(f"did you mean `{nearest}`?")
    else:
        assert message.endswith("there are: " + ", ".join(Parameters.model_fields))


def test_an_unknown_name_is_told_before_what_it_causes(written):
    assert "unknown parameter `epoch`" in refused(written(epochs=..., epoch=3))


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"epochs": "many"}, "epochs", ["valid integer", "'many'"]),
        ({"epochs": 2.0}, "epochs", ["valid integer", "2.0"]),
        ({"epochs": True}, "epochs", ["valid integer", "True"]),
        ({"epochs": 0}, "epochs", ["greater than or equal to 1", "not 0"]),
        ({"epochs": None}, "epochs", ["valid integer", "None"]),
        ({"test_share": 1.0}, "test_share", ["less than 1", "1.0"]),
        ({"validation_share": -0.1}, "validation_share", ["greater than or equal to 0"]),
        ({"split": "ofical"}, "split", ["'random' or 'official'", "'ofical'"]),
        ({"precision": "fp16"}, "precision", ["'32-true'", "'bf16-mixed'", "'auto'"]),
        ({"model": "Foo Bar"}, "model", ["lower-case letters", "'Foo Bar'"]),
        ({"variant": "../up"}, "variant", ["lower-case letters", "'../up'"]),
        ({"dataset": "../up"}, "dataset", ["lower-case letters"]),
        ({"images_per_class": 1}, "images_per_class", ["greater than or equal to 2", "not 1"]),
        ({"stages": []}, "stages", ["at least 1 item", "[]"]),
        (
            {"stages": [{**STAGE, "learning_rate": -0.1}]},
            "stages[0].learning_rate",
            ["greater than or equal to 0", "-0.1"],
        ),
        ({"held_out": -1}, "held_out", ["greater than or equal to 0", "-1"]),
        ({"train_per_class": 0}, "train_per_class", ["greater than or equal to 1", "not 0"]),
        ({"spare_test_of": "both"}, "spare_test_of", ["'random' or 'official'", "'both'"]),
        ({"loss": {**hybrid([1.0]), "weight": 0.0}}, "loss.weight", ["greater than 0", "0.0"]),
        ({"loss": {**GOOD["loss"], "margins": [1.0, math.inf]}}, "loss.margins[1]", ["finite"]),
        ({"loss": {**GOOD["loss"], "margins": [math.nan]}}, "loss.margins[0]", ["finite"]),
        ({"loss": {**GOOD["loss"], "combine": "mean"}}, "loss.combine", ["'max' or 'sum'"]),
        ({"loss": "triplet"}, "loss", ["`name: value` lines", "'triplet'"]),
        ({"loss": None}, "loss", ["`name: value` lines", "None"]),
    ],
)
def test_wrong_values(written, changes, name, words):
    file = written(**changes)
    message = refused(file)
    assert message.startswith(f"{file}: parameter `{name}` should ")
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"validation_share": 0.5, "test_share": 0.5}, ["validation_share + test_share"]),
        ({"stages": [{**STAGE, "from_epoch": 1}]}, ["from_epoch 0"]),
        ({"stages": [STAGE, STAGE]}, ["each later"]),
        ({"stages": [{**STAGE, "mining": None}]}, ["flexible_margin", "mining semihard"]),
        ({"loss": {"name": "cross_entropy"}}, ["cross_entropy", "mining null"]),
        ({"backbone": {"name": "scratch", "widths": [2] * 6, "hidden": 4}}, ["has 6 blocks"]),
        ({"epochs": 2, "validate_every": 3}, ["validate_every must divide epochs"]),
        ({"loss": flexible([1.0, 1.0, 0.5])}, ["margins are 1, 1, 0.5;", "equation (3)"]),
        ({"loss": flexible([0.5, 1.0, 2.0])}, ["each must be smaller than the one before"]),
        ({"loss": flexible([0.5, 0.5, 0.5], "sum")}, ["sum to 1.5;", "to 2, equation (6)"]),
        ({"loss": hybrid([1.0, 2.0])}, ["margins are 1, 2;", "equation (3)"]),
        ({"loss": hybrid([2.0, 1.0, 0.5]), "stages": [{**STAGE, "mining": None}]}, ["hybrid"]),
        ({"decide": "softmax"}, ["trains no softmax", "decide: neighbours"]),
        (
            {"loss": hybrid([2.0, 1.0, 0.5]), "decide": "softmax", "held_out": 2},
            ["cannot name classes held out", "decide: neighbours"],
        ),
        (
            {"source": table(groups=True), "loss": flexible([1.0, 0.98], "sum")},
            ["sum to 1.98;", "equation (6)"],
        ),
        ({"source": table(groups=False), "loss": flexible([1.0, 2.0])}, ["equation (3)"]),
        (
            {
                "backbone": {"name": "frozen", "weights": "w", "hidden": 4},
                "augmentation": {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.1},
            },
            ["augmentation is null"],
        ),
    ],
)
def test_values_that_contradict_each_other(written, changes, words):
    message = refused(written(**changes))
    assert "mine.yaml: " in message
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": flexible([0.667, 0.667, 0.666], "sum")},
        {"loss": flexible([0.2, 0.3, 1.5], "sum")},
        {"loss": flexible([1.5])},
        {"source": table(groups=True), "loss": flexible([0.5, 2.0, 2.0])},
        {"source": table(groups=True), "loss": flexible([1.0, 1.0], "sum")},
        {"source": table(groups=False), "loss": flexible([2.0, 1.0])},
        {"source": {"name": "hyperkvasir", "test_fold": 0}},
        {"loss": hybrid([2.0, 1.0, 0.5]), "decide": "softmax"},
        {"loss": hybrid([2.0, 1.0, 0.5]), "decide": "neighbours", "held_out": 2},
        {"stages": [{**STAGE, "learning_rate": 0.0}]},
        {"train_per_class": 5, "spare_test_of": "random"},
    ],
)
def test_values_that_agree(written, changes):
    parameters = Parameters.from_files([written(**changes)])
    assert parameters.resolved() == {"study": "triplets", **GOOD, **changes}


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"name": "hyperkvasir", "test_fold": 2}, ["`source.test_fold`", "not 2"]),
        ({"name": "hyperkvasir"}, ["`source.test_fold` is missing"]),
        ({"name": "table", "file": "a.csv"}, ["`source.groups` is missing"]),
        ({"name": "table", "file": "a.csv", "groups": 1}, ["`source.groups`", "boolean"]),
        ({"name": "table", "path": "a.csv", "groups": True}, ["`source.path`; there are: "]),
        ({"name": "hyperkvazir", "test_fold": 1}, ["did you mean `hyperkvasir`"]),
    ],
)
def test_wrong_sources(written, source, words):
    message = refused(written(source=source))
    assert "mine.yaml: " in message
    assert all(word in message for word in words)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"epochs": ...}, "epochs"),
        ({"loss": {"name": "triplet", "margin": 1.0}}, "loss.take"),
        ({"loss": {"margin": 1.0}}, "loss.name"),
        ({"stages": [STAGE, {"from_epoch": 4, "mining": None}]}, "stages[1].learning_rate"),
    ],
)
def test_missing_names(written, changes, name):
    file = written(**changes)
    assert refused(file) == f"{file}: parameter `{name}` is missing; add it"


@pytest.mark.parametrize(
    ("changes", "end"),
    [
        (
            {"loss": {"name": "tripplet"}},
            "`loss.name` cannot be `tripplet`; did you mean `triplet`?",
        ),
        (
            {"backbone": {"name": "resnet"}},
            "`backbone.name` cannot be `resnet`; there are: scratch, frozen",
        ),
        (
            {"source": {"name": "kitchn"}},
            "`source.name` cannot be `kitchn`; did you mean `kitchen`?",
        ),
    ],
)
def test_wrong_tags(written, changes, end):
    file = written(**changes)
    assert refused(file) == f"{file}: parameter {end}"


@pytest.mark.parametrize(
    ("written_as", "write"),
    [("1e-3", "1.0e-3 or 0.001"), ("2E-4", "2.0e-4 or 0.0002"), ("1.5e3", "1500.0")],
)
def test_numbers_that_yaml_takes_for_text(tmp_path, written_as, write):
    file = tmp_path / "rate.yaml"
    file.write_text(f"stages: [{{from_epoch: 0, learning_rate: {written_as}, mining: hardest}}]\n")
    message = refused(SHARED, FLEXIBLE, file, overrides=["seed=0"])
    assert message.startswith(f"{file}: parameter `stages[0].learning_rate` ")
    assert f"'{written_as}'" in message
    assert message.endswith(f"text; write {write}")
    for spelling in write.split(" or "):
        assert yaml.safe_load(spelling) == float(written_as)


def test_text_that_is_no_number_gets_no_such_hint(written):
    message = refused(written(stages=[{**STAGE, "learning_rate": "fast"}]))
    assert "YAML" not in message
    assert "'fast'" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: 1\nb: [1,\nc: }\n", [" line 3: not valid YAML"]),
        ("a: 1\n b: 2\n", [" line 2: not valid YAML"]),
        ("a: 1\n\tb: 2\n", [" line 2: not valid YAML"]),
        ("- a\n- b\n", [": must hold `name: value` lines"]),
        ("just text\n", [": must hold `name: value` lines"]),
        (b"a: \xff\xfe\n", [": not valid YAML"]),
        ("5: 3\n", ["`[5]` should be a name, not 5"]),
    ],
)
def test_unreadable_files(tmp_path, content, words):
    file = tmp_path / "bad.yaml"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refused(SHARED, FLEXIBLE, file, overrides=["seed=0"])
    assert str(file) in message
    assert all(word in message for word in words)


def test_missing_files(tmp_path):
    assert (
        refused(SHARED, tmp_path / "no.yaml") == f"{tmp_path / 'no.yaml'}: no such parameter file"
    )
    assert refused(TINY / "no.yaml") == "params/triplets/tiny/no.yaml: no such parameter file"
    assert refused(SHARED, tmp_path).startswith(f"{tmp_path}: cannot be read")


def test_an_empty_file_changes_nothing(tmp_path):
    file = tmp_path / "empty.yaml"
    file.write_text("# nothing\n")
    parameters = Parameters.from_files([SHARED, FLEXIBLE, file], ["seed=0"])
    assert parameters.resolved() == {"study": "triplets", **GOOD}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed", ["-p seed: write name=value"]),
        ("seed=[1", ["-p seed=[1", "not valid YAML"]),
        ("sed=1", ["command line: unknown parameter `sed`", "did you mean `seed`?"]),
        ("seed=-1", ["command line: parameter `seed`", "greater than or equal to 0"]),
        ("seed=", ["command line: parameter `seed`", "None"]),
        ("=1", ["command line: unknown parameter ``"]),
        ("loss.margins=3", ["command line: unknown parameter `loss.margins`"]),
    ],
)
def test_wrong_overrides(override, words):
    message = refused(SHARED, FLEXIBLE, overrides=["seed=0", override])
    assert all(word in message for word in words)


def test_later_files_win_and_overrides_win_over_files(tmp_path):
    first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
    first.write_text("epochs: 31\nneighbours: 7\nseed: 4\n")
    second.write_text("epochs: 32\nseed: 5\n")
    files = [SHARED, FLEXIBLE, first, second]
    parameters = Parameters.from_files(files, ["seed=6", "seed=7"])
    changed = (parameters.epochs, parameters.neighbours, parameters.seed)
    assert changed == (32, 7, 7)
    assert parameters.image_size == GOOD["image_size"]
    swapped = Parameters.from_files([SHARED, FLEXIBLE, second, first])
    assert (swapped.epochs, swapped.seed) == (31, 4)


def test_a_mistake_is_told_of_the_file_that_made_it(tmp_path):
    right, wrong = tmp_path / "right.yaml", tmp_path / "wrong.yaml"
    right.write_text("epochs: 5\n")
    wrong.write_text("epochs: -5\n")
    message = refused(SHARED, FLEXIBLE, right, wrong, overrides=["seed=0"])
    assert message.startswith(f"{wrong}: parameter `epochs` ")
    assert refused(wrong, FLEXIBLE, SHARED) == (
        f"{wrong} + params/triplets/tiny/flexible.yaml + params/triplets/tiny/dataset.yaml: "
        "parameter `seed` is missing; add it"
    )


def test_the_command_line(capsys):
    arguments = ["-f", str(SHARED), "-f", str(FLEXIBLE), "-p", "seed=3", "-p", "epochs=2"]
    parameters = Parameters.from_command_line(arguments)
    assert (parameters.seed, parameters.epochs, parameters.model) == (3, 2, "flexible")
    with pytest.raises(SystemExit) as caught:
        Parameters.from_command_line([])
    assert caught.value.code == 2
    assert "-f" in capsys.readouterr().err


def test_parameters_cannot_be_changed():
    parameters = Parameters.from_files([SHARED, FLEXIBLE], ["seed=0"])
    with pytest.raises(ValueError, match="frozen"):
        parameters.epochs = 3


@pytest.mark.parametrize(
    ("variant", "folder"), [("", "flexible/seed7"), ("sum", "flexible@sum/seed7")]
)
def test_the_run_folder(monkeypatch, tmp_path, variant, folder):
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path))
    parameters = Parameters.from_files(
        [SHARED, FLEXIBLE], ["seed=7", f"variant={json.dumps(variant)}"]
    )
    assert parameters.folder() == tmp_path / "runs" / "tiny" / "triplets" / folder
