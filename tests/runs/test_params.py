"""Every mistake in a parameter is one sentence: the file, the name, the nearest valid name."""

import copy
import json
import math

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from sentences import refused
from studies.paths import REPOSITORY, StudyError
from studies.runs.params import notebook_defaults, read_yaml, requested, run_files
from studies.triplets.params import Parameters

TINY = REPOSITORY / "params" / "triplets" / "tiny"
SHARED, FLEXIBLE = TINY / "dataset.yaml", TINY / "flexible.yaml"
GOOD = {**yaml.safe_load(SHARED.read_text()), **yaml.safe_load(FLEXIBLE.read_text()), "seed": 0}
STAGE = {"from_epoch": 0, "learning_rate": 0.001, "mining": "semihard"}
CHOICE = {"dataset": "tiny", "system": "flexible", "seed": 0, "changes": {}}


def flexible(margins, combine="max"):
    return {"name": "flexible_margin", "margins": margins, "combine": combine, "take": "closest"}


def hybrid(margins):
    return {**flexible(margins), "name": "hybrid", "weight": 1.0}


def table(groups):
    return {"name": "table", "file": "my/labels.csv", "groups": groups}


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


# --- files


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": ..., "epoch": 3}, "unknown parameter `epoch`; did you mean `epochs`?"),
        ({"learning_rates": 0.1}, "unknown parameter `learning_rates`; there are: "),
        ({"stages": [STAGE, {**STAGE, "minning": None}]}, "`stages[1].minning`; did you mean"),
        ({"loss": {"name": "tripplet"}}, "`loss.name` cannot be `tripplet`; did you mean"),
        ({"epochs": ...}, "parameter `epochs` is missing; add it"),
        ({"loss": {"margin": 1.0}}, "parameter `loss.name` is missing; add it"),
        ({"epochs": True}, "parameter `epochs` should be a valid integer, not True"),
        ({"dataset": "../up"}, "parameter `dataset` should hold lower-case letters"),
        ({"model": "mine\n"}, "parameter `model` should hold lower-case letters"),
        (
            {"source": {"name": "folder", "folder": 2024}},
            "`source.folder` should be a valid string",
        ),
        ({"source": {"name": "folder", "folder": 2024}}, 'quotes, `folder: "2024"`'),
        ({"source": {"name": "folder", "folder": True}}, 'quotes, `folder: "true"`'),
        (
            {"source": {"name": "folder", "folders": "x"}},
            "`source.folders`; did you mean `folder`?",
        ),
        ({"variant": "../up"}, "parameter `variant` should hold lower-case letters"),
        ({"loss": {**GOOD["loss"], "margins": [1.0, math.inf]}}, "`loss.margins[1]` should be a f"),
        ({"loss": "triplet"}, "parameter `loss` should hold `name: value` lines, not 'triplet'"),
        ({"validation_share": 0.5, "test_share": 0.5}, "validation_share + test_share"),
        ({"stages": [{**STAGE, "from_epoch": 1}]}, "from_epoch 0"),
        ({"stages": [STAGE, STAGE]}, "each later"),
        ({"stages": [{**STAGE, "mining": None}]}, "mining semihard"),
        ({"loss": {"name": "cross_entropy"}}, "mining null"),
        ({"backbone": {"name": "scratch", "widths": [2] * 6, "hidden": 4}}, "has 6 blocks"),
        ({"epochs": 2, "validate_every": 3}, "validate_every must divide epochs"),
        ({"loss": flexible([0.5, 1.0, 2.0])}, "equation (3)"),
        ({"source": table(groups=False), "loss": flexible([1.0, 2.0])}, "equation (3)"),
        ({"source": table(groups=True), "loss": flexible([1.0, 0.98], "sum")}, "equation (6)"),
        ({"decide": "softmax"}, "decide: neighbours"),
        ({"loss": hybrid([2.0]), "decide": "softmax", "held_out": 2}, "held out"),
        ({"loss": flexible([0.667, 0.667, 0.666], "sum")}, None),
        ({"source": table(groups=True), "loss": flexible([0.5, 2.0, 2.0])}, None),
        ({"loss": hybrid([2.0, 1.0, 0.5]), "decide": "softmax"}, None),
    ],
)
def test_values(written, changes, words):
    file = written(**changes)
    if words is None:
        resolved = Parameters.from_files([file]).resolved()
        assert resolved == {"study": "triplets", **GOOD, **changes}
    else:
        message = refused(Parameters.from_files, [file])
        assert message.startswith(f"{file}: ")
        assert words in message
        assert "pydantic" not in message.lower()


def test_unreadable_files(tmp_path):
    file = tmp_path / "bad.yaml"
    for content, place in (
        (b"", ": cannot be read: No such file"),
        (b"a: 1\nb: [1,\nc: }\n", " line 3: "),
        (b"a: \xff\xfe\n", ": not valid YAML"),
        (b"epochs: 1\nstages: []\nepochs: 2\n", " line 3: `epochs` stands twice; keep one"),
        (
            b"stages:\n- from_epoch: 0\n  mining: no\n  from_epoch: 1\n",
            " line 4: `from_epoch` stand",
        ),
    ):
        if content:
            file.write_bytes(content)
        message = refused(Parameters.from_files, [SHARED, FLEXIBLE, file], ["seed=0"])
        assert message.startswith(f"{file}{place}")


def test_later_files_win_and_a_mistake_is_told_of_the_file_that_made_it(tmp_path):
    right, wrong = tmp_path / "1.yaml", tmp_path / "2.yaml"
    right.write_text("epochs: 31\nseed: 4\n")
    wrong.write_text("epochs: -5\n")
    changed = Parameters.from_files([SHARED, FLEXIBLE, right], ["seed=6", "seed=7"])
    assert (changed.epochs, changed.seed, changed.image_size) == (31, 7, GOOD["image_size"])
    message = refused(Parameters.from_files, [SHARED, FLEXIBLE, right, wrong])
    assert message.startswith(f"{wrong}: parameter `epochs` ")
    wrong.write_text("validation_share: 1e-3\n")  # which YAML takes for text
    message = refused(Parameters.from_files, [SHARED, FLEXIBLE, wrong], ["seed=0"])
    assert message.endswith("write 0.001")
    for override in ("seed", "seed=[1", "sed=1", "seed=", "seed=010", "seed=1_0", "seed=1:30"):
        assert "seed" in refused(Parameters.from_files, [SHARED, FLEXIBLE], [override])


def test_what_looks_like_text_is_text(tmp_path):
    file, texts = (
        tmp_path / "a.yaml",
        ["010", "1_0", "0x1F", "1:30", "no", "On", "2024-01-01", "1e3"],
    )
    values = {
        "10": 10,
        "-3": -3,
        "+0": 0,
        "0.50": 0.5,
        ".5": 0.5,
        "1.0e-3": 0.001,
        "-.inf": -math.inf,
    }
    values |= {"true": True, "False": False, "null": None, "~": None, "": None, "'10'": "10"}
    for written, value in [*zip(texts, texts, strict=True), *values.items()]:
        file.write_text(f"a: {written}")
        assert read_yaml(file) == {"a": value}
        assert type(read_yaml(file)["a"]) is type(value)
    file.write_text("a: {b: &b {<<: {c: 1}, c: 2}}\nd: {<<: *b, c: 3}")  # a merge is no name twice
    assert read_yaml(file) == {"a": {"b": {"c": 2}}, "d": {"c": 3}}


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
LIKE_NUMBERS = st.text("0123456789+-._:eExon")


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(scalars | LIKE_NUMBERS | st.sampled_from(["no", "null", "2024", "007", "y"])))
def test_what_is_written_is_read_back(tmp_path, values):
    file = tmp_path / "a.yaml"
    file.write_text(yaml.safe_dump({"a": values}), encoding="utf-8")
    assert read_yaml(file) == {"a": values}


FOLDERS = sorted(file.parent for file in (REPOSITORY / "params").glob("*/*/dataset.yaml"))
TRIALS = sorted((REPOSITORY / "params").glob("*/*/trials/*.yaml"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: "-".join(folder.parts[-2:]))
def test_every_shipped_file_is_valid_and_named_for_what_it_says(folder):
    module = __import__(f"studies.{folder.parent.name}.params", fromlist=["Parameters"])
    systems = run_files(folder.parent.name, folder.name)
    assert set(systems) == {file.stem for file in folder.glob("*.*")} - {"dataset"}
    for system, files in systems.items():
        parameters = module.Parameters.from_files(files, ["seed=0"])
        names = (parameters.study, parameters.dataset, parameters.system)
        assert names == (folder.parent.name, folder.name, system)
        assert not set(read_yaml(files[0])) & set(read_yaml(files[1]))
        assert all(file.read_text().startswith("# Purpose: ") for file in files)


@pytest.mark.parametrize("file", TRIALS, ids=lambda file: f"{file.parts[-3]}-{file.stem}")
def test_every_trial_is_valid_and_no_two_are_the_same(file):
    listed, shared = read_yaml(file), read_yaml(file.parents[1] / "dataset.yaml")
    tried = []
    for name, trial in listed["trials"].items():
        values = {**shared, **listed["base"], **trial, "variant": name, "seed": 0}
        Parameters.check(values, {"": f"{file} {name}"})
        assert {**values, "variant": ""} not in tried, name
        tried.append({**values, "variant": ""})
    counts = {len(read_yaml(other)["trials"]) for other in file.parent.glob("*.yaml")}
    assert counts == {len(tried)}  # baselines are tuned like the method


def test_the_runs_asked_for(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path))
    files = requested("tiny", ["captioning"], ["most_frequent", "resnet_lstm"], [0, 2])
    runs = tmp_path / "runs" / "tiny" / "captioning"
    assert [str(file.relative_to(runs)) for file in files] == [
        "most_frequent/seed0/metrics.json",  # chance has no part in a baseline
        "resnet_lstm/seed0/model.safetensors",
        "resnet_lstm/seed0/metrics.json",
        "resnet_lstm/seed2/model.safetensors",
        "resnet_lstm/seed2/metrics.json",
    ]


# --- dataset, system, seed, changes


def chosen(**changes):
    return Parameters.from_names({**CHOICE, **changes}, "here")


def test_a_choice_is_the_files_of_its_system():
    assert chosen().resolved() == {"study": "triplets", **GOOD}
    rows = chosen().table().set_index("parameter")["value"]
    assert {name: yaml.safe_load(value) for name, value in rows.items()} == chosen().resolved()


def test_changes_have_a_name_of_their_own():
    changed = chosen(changes={"epochs": 2})
    assert (changed.system, changed.epochs) == ("flexible@epochs_2", 2)
    assert chosen(system="flexible@mine", changes={"epochs": 2}).system == "flexible@mine"
    assert chosen(changes={"epochs": GOOD["epochs"]}).system == "flexible"  # no change
    first, second = (chosen(changes={"loss": flexible([2.0, m, 0.1])}) for m in (1.0, 0.5))
    assert first.system != second.system
    # values by name, and the command line, are the same run
    named = {name: value for name, value in GOOD.items() if name not in CHOICE}
    assert chosen(**named) == chosen()
    assert chosen(**named | {"epochs": 3}).system == "flexible@epochs_3"
    line = ["-p", "dataset=tiny", "-p", "system=flexible", "-p", "seed=3"]
    assert Parameters.from_command_line(line) == chosen(seed=3)
    assert "did you mean `flexible`?" in refused(lambda: chosen(system="flexibel"))
    assert "did you mean `epochs`?" in refused(lambda: chosen(changes={"epoch": 1}))
    assert "no system `5`" in refused(lambda: chosen(**GOOD | {"model": 5}))
    assert "no system `2024`" in refused(lambda: chosen(system=2024))  # papermill's -p system 2024


# --- cells


def test_notebooks_without_one_parameters_cell(tmp_path):
    cell = {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": "a = -1"}
    file = tmp_path / "n.ipynb"
    file.write_text(json.dumps({"cells": [cell]}))
    assert notebook_defaults(file) == {"a": -1}
    for content in ('{"cells": []}', json.dumps({"cells": [cell] * 2}), "{"):
        file.write_text(content)
        assert refused(notebook_defaults, file).startswith(f"{file}: ")


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """A real IPython; `run` runs cells and returns the last one's value, or raises its error."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = Config()
    config.HistoryManager.hist_file = ":memory:"
    InteractiveShell.clear_instance()
    ipython = InteractiveShell.instance(config=config)

    def run(*cells):
        for cell in cells:
            # a kernel of nbval does not remember the cells that it ran
            result = ipython.run_cell(cell, store_history=False)
            result.raise_error()
        return result.result

    yield run
    ipython.history_manager.end_session()
    InteractiveShell.clear_instance()


CELL = "# Parameters: x\ndataset = 'tiny'\nsystem = 'flexible'\nseed = 0\nchanges = {}\n"
CHECK = "from studies.triplets.params import Parameters\nParameters.from_notebook().resolved()"


def test_from_notebook_takes_both_cells_and_no_later_variables(shell):
    with pytest.raises(StudyError, match="run the cell tagged `parameters` first"):
        shell("dataset = 'tiny'", CHECK)
    assert shell(CELL, CHECK) == {"study": "triplets", **GOOD}
    assert shell("# Parameters\nseed = 5\n", CHECK)["seed"] == 5
    shell("images, epoch = [1], 2\nfor i in range(2): pass")
    assert shell(CHECK)["seed"] == 5
    assert shell(CELL.replace("seed = 0", "seed = 9"), CHECK)["seed"] == 9
    with pytest.raises(StudyError, match="did you mean `epochs`"):
        shell(CELL, "# Parameters\nepoch = 3\n", CHECK)
