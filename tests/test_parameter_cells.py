"""Parameters of notebooks: the cell in the file, and what a kernel makes of it."""

import ast
import json
import linecache

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from sentences import refused
from studies.paths import REPOSITORY, StudyError
from studies.runs.params import notebook_defaults, read_yaml, run_files

TINY = REPOSITORY / "params" / "triplets" / "tiny"
NOTEBOOKS = REPOSITORY / "notebooks" / "triplets"
GOOD = {**read_yaml(TINY / "dataset.yaml"), **read_yaml(TINY / "flexible.yaml"), "seed": 0}


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_the_parameters_cells_are_the_tiny_files(name):
    assert notebook_defaults(NOTEBOOKS / f"{name}.ipynb") == GOOD


def test_the_parameters_cells_are_the_same_text():
    assert cell_source("train") == cell_source("evaluate")


@pytest.mark.parametrize(
    ("name", "system"), [("train", "two_networks"), ("evaluate", "supervised")]
)
def test_the_parameters_cells_of_recipes_are_its_tiny_files(name, system):
    values = {"seed": 0}
    for file in run_files("recipes", "tiny")[system]:
        values |= read_yaml(file)
    assert notebook_defaults(REPOSITORY / "notebooks" / "recipes" / f"{name}.ipynb") == values


def cell_source(name) -> str:
    cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())["cells"]
    return next(
        "".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", ())
    )


def notebook(tmp_path, *cells):
    tagged = [
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": source}
        for source in cells
    ]
    file = tmp_path / "n.ipynb"
    file.write_text(json.dumps({"cells": tagged}))
    return file


def test_defaults_are_read_without_running(tmp_path):
    file = notebook(tmp_path, "# Parameters: x\na = -1\nb = [1, {'c': None}]\nprint(1 / 0)\n")
    assert notebook_defaults(file) == {"a": -1, "b": [1, {"c": None}]}


def test_notebooks_without_one_parameters_cell(tmp_path):
    for cells in ([], ["a = 1", "b = 1"]):
        file = notebook(tmp_path, *cells)
        assert refused(notebook_defaults, file) == f"{file}: needs one cell tagged `parameters`"


def test_notebooks_that_are_none(tmp_path):
    file = tmp_path / "n.ipynb"
    for content, words in (
        (None, "cannot be read"),
        ("{", "is no notebook"),
        ("[]", "is no noteb"),
    ):
        if content:
            file.write_text(content)
        assert refused(notebook_defaults, file).startswith(f"{file}: {words}")


@pytest.fixture
def shell(monkeypatch, tmp_path):
    """A real IPython; `run` runs cells and returns the last one's value, or raises its error."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    config = Config()
    config.HistoryManager.hist_file = ":memory:"
    InteractiveShell.clear_instance()
    ipython = InteractiveShell.instance(config=config)

    def run(*cells, history=True):
        for cell in cells:
            result = ipython.run_cell(cell, store_history=history)
            result.raise_error()
        return result.result

    yield run
    ipython.history_manager.end_session()
    InteractiveShell.clear_instance()


IMPORT = "from studies.triplets.params import Parameters\n"
CHECK = f"{IMPORT}p = Parameters.from_notebook()\np.resolved()"


def test_from_notebook_without_a_parameters_cell(shell):
    with pytest.raises(StudyError, match="run the cell tagged `parameters` first"):
        shell("dataset = 'tiny'", CHECK)


def test_from_notebook_takes_the_cell(shell):
    assert shell(cell_source("train"), CHECK) == {"study": "triplets", **GOOD}


def test_from_notebook_takes_papermills_cell(shell):
    injected = "# Parameters\nseed = 5\nepochs = 3\n"
    taken = shell("x = 1", cell_source("train"), injected, CHECK)
    assert taken == {"study": "triplets", **GOOD, "seed": 5, "epochs": 3}


def test_from_notebook_needs_no_history(shell, monkeypatch):
    """A kernel of nbval does not remember the cells that it ran."""
    monkeypatch.setattr(linecache, "cache", {})
    injected = "# Parameters\nseed = 5\n"
    taken = shell("x = 1", cell_source("train"), injected, CHECK, history=False)
    assert taken == {"study": "triplets", **GOOD, "seed": 5}
    with pytest.raises(StudyError, match="`epoch`; did you mean `epochs`"):
        shell("# Parameters\nepoch = 5\n", CHECK, history=False)


@pytest.mark.parametrize("cell", ["# Parameters\nepoch = 3\n", "# Parameters\nseed = 1\nepoch = 3"])
def test_from_notebook_refuses_a_misspelt_injected_name(shell, cell):
    assert refused(shell, cell_source("train"), cell, CHECK) == (
        "parameters cell: unknown parameter `epoch`; did you mean `epochs`?"
    )


def test_from_notebook_refuses_an_edited_cell(shell):
    misspelt = cell_source("train").replace('"margins"', '"margin"')
    with pytest.raises(StudyError, match=r"^parameters cell: unknown parameter `loss.margin`"):
        shell(misspelt, CHECK)
    with pytest.raises(StudyError, match=r"^parameters cell: parameter `seed` is missing; add it$"):
        shell(cell_source("train").replace("\nseed = 0", ""), CHECK)
    assert shell(cell_source("train"), CHECK)["seed"] == 0


def test_later_variables_are_no_parameters(shell):
    later = "images, first = [1], 2\nbatches = run = 3\nfor i in range(2): pass"
    shell(cell_source("train"), CHECK, later)
    assert shell(CHECK) == {"study": "triplets", **GOOD}
    assert shell(cell_source("train").replace("\nseed = 0", "\nseed = 9"), CHECK)["seed"] == 9


def test_a_study_error_in_ipython_is_one_line(shell, capsys):
    with pytest.raises(StudyError):
        shell("# Parameters: x\nepoch = 1\n", CHECK)
    printed = capsys.readouterr()
    shown = (printed.out + printed.err).strip()
    assert shown == "StudyError: parameters cell: unknown parameter `epoch`; did you mean `epochs`?"


def test_the_parameters_cell_is_plain_literals():
    body = ast.parse(cell_source("train")).body
    assert all(isinstance(node, ast.Assign) for node in body)
