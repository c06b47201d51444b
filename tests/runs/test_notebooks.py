"""Notebooks run as papermill runs them, but refuse wrong parameters, and keep the house's rules."""

import ast
import json
import re
import subprocess
import sys

import nbformat
import pytest

from sentences import refused
from studies.paths import REPOSITORY
from studies.runs.notebooks import execute, resolved

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*/*.ipynb"))
TINY = REPOSITORY / "params" / "triplets" / "tiny"
GIVEN = [TINY / "dataset.yaml", TINY / "flexible.yaml"]


@pytest.fixture
def write(tmp_path):
    """Write a throw-away notebook of code cells; the first is the parameters cell."""

    def make(*cells, folder="triplets"):
        made = [nbformat.v4.new_code_cell(source) for source in cells]
        made[0].metadata["tags"] = ["parameters"]
        file = tmp_path / folder / "mine.ipynb"
        file.parent.mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=made), file)
        return file

    return make


def printed(file) -> str:
    """Return the text that the cells of a notebook printed."""
    cells = nbformat.read(file, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


# --- refusals, before a kernel starts


@pytest.fixture
def no_kernel(monkeypatch):
    """Make any use of papermill fail."""
    monkeypatch.setitem(sys.modules, "papermill", None)


@pytest.mark.parametrize(
    ("content", "overrides", "words"),
    [
        ("", ["sed=1"], "command line: unknown parameter `sed`; did you mean `seed`?"),
        ("epochs: 0\n", [], "mine.yaml: parameter `epochs` should be greater"),
    ],
)
def test_wrong_parameters(no_kernel, tmp_path, content, overrides, words):
    file, output = tmp_path / "mine.yaml", tmp_path / "new" / "out.ipynb"
    file.write_text(content)
    notebook = REPOSITORY / "notebooks/triplets/train.ipynb"
    assert words in refused(execute, notebook, output, [*GIVEN, file], overrides)
    assert not output.parent.exists()


def test_any_way_of_naming_a_run_is_the_same_to_the_notebook():
    notebook = REPOSITORY / "notebooks/triplets/train.ipynb"
    choice = {"dataset": "tiny", "system": "flexible", "seed": 3, "changes": {}}
    named = [f"{name}={value}" for name, value in choice.items()]
    assert resolved(notebook, [], named) == resolved(notebook, GIVEN, ["seed=3"]) == choice
    changed = {**choice, "system": "flexible@epochs_2", "changes": {"epochs": 2}}
    assert resolved(notebook, [], [*named[:3], "changes={epochs: 2}"]) == changed
    assert resolved(notebook, GIVEN, ["seed=3", "epochs=2"]) == changed


def test_importing_the_module_starts_nothing_slow():
    code = "import sys, studies.runs.notebooks; print({'papermill', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


# --- runs


def test_a_notebook_runs_with_its_parameters(write, tmp_path, capsys, monkeypatch):
    """It does so in this environment, though a user's `python3` is one that is gone."""
    spec = tmp_path / "jupyter" / "kernels" / "python3" / "kernel.json"
    spec.parent.mkdir(parents=True)
    gone = {"argv": ["/gone/python", "{connection_file}"], "display_name": "x", "language": "R"}
    spec.write_text(json.dumps({**gone, "env": {"MINE": "set"}}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    cell = "# Parameters: x\ndataset = ''\nsystem = ''\nseed = 0\nchanges = {}"
    check = "from studies.triplets.params import Parameters\np = Parameters.from_notebook()"
    tell = "print(p.system, p.seed, p.epochs, p.loss.margins)\nprint('second line')"
    where = "import os, sys\nprint(sys.executable, os.environ.get('MINE'))"
    file, output = write(cell, check, tell, where), tmp_path / "new" / "out.ipynb"
    output.parent.mkdir()
    output.with_suffix(".error").write_text("of another day")
    execute(file, output, GIVEN, ["seed=3", "epochs=15"])
    told = f"second line\n{sys.executable} None\n"
    assert printed(output) == f"flexible@epochs_15 3 15 [2.0, 1.0, 0.5]\n{told}"
    assert not output.with_suffix(".error").exists()
    assert nbformat.read(output, as_version=4).metadata.papermill.exception is None
    assert capsys.readouterr().out.splitlines()[1] == f"{output}  second line"


@pytest.mark.parametrize(
    ("cell", "words", "short"),
    [
        ("from studies.paths import StudyError\nraise StudyError('a <b>')", "a <b>", True),
        ("1 / 0", "ZeroDivisionError: division by zero", False),
    ],
)
def test_an_error_in_a_cell(write, tmp_path, capsys, cell, words, short):
    file, output = write("# Parameters: x\na = 1", "print('before')", cell), tmp_path / "o.ipynb"
    sentence = f"{words} (cell 3 of {output})"
    assert refused(execute, file, output) == sentence
    assert output.with_suffix(".error").read_text() == f"{sentence}\n"
    traceback = capsys.readouterr().err
    assert ("----> 1 1 / 0" in traceback, "Error" in traceback) == (not short, not short)
    assert printed(output) == "before\n"
    cells = nbformat.read(output, as_version=4).cells
    errors = [o for c in cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert (len(errors[0].traceback) == 1) == short


def test_a_kernel_that_dies(write, tmp_path):
    die = "import os, signal\nprint('before')\nos.kill(os.getpid(), signal.SIGKILL)"
    file, output = write("# Parameters: x\na = 1", die), tmp_path / "o.ipynb"
    assert refused(execute, file, output).startswith(f"{output}: the kernel died")
    assert nbformat.read(output, as_version=4).cells


# --- the notebooks of this repository


@pytest.fixture(params=NOTEBOOKS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def committed(request):
    nbformat.validate(nbformat.read(request.param, as_version=4))
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_one_parameters_cell(committed):
    tagged = [c for c in committed.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert tagged[0] is code(committed)[0]
    assert sum(cell.source.startswith("# Parameters") for cell in committed.cells) == 1
    names = [node.targets[0].id for node in ast.parse(tagged[0].source).body]
    assert names in (["dataset"], ["source"], ["dataset", "system", "seed", "changes"])
    assert ".from_notebook()" in code(committed)[1].source
    later = {t for cell in code(committed)[1:] for t in notebooks_names(cell.source)}
    assert not later & set(names)


def notebooks_names(source):
    nodes = ast.walk(ast.parse(source))
    return [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def test_nothing_is_defined_in_a_notebook(committed):
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    for cell in code(committed):
        nodes = list(ast.walk(ast.parse(cell.source)))
        assert not any(isinstance(node, defined) for node in nodes), cell.source
        assert len(cell.source.splitlines()) <= 25


def test_stored_outputs_do_not_depend_on_the_machine(committed):
    for cell in code(committed):
        assert "papermill" not in cell.metadata
        text = json.dumps(cell.outputs)
        assert not re.search(r"/(home|root|Users|tmp|work|mnt|var|usr|opt)/|[A-Z]:\\\\", text), text
        assert not re.search("it/s|s/it|tqdm|widget-view", text), text
        assert all(output.output_type != "error" for output in cell.outputs)
        for output in cell.outputs:
            assert not {"image/png", "image/svg+xml"} & set(output.get("data", {}))
    assert not re.search(r"/(home|root|Users|tmp)/", "".join(c.source for c in committed.cells))
