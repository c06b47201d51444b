"""Notebooks run as papermill runs them, but refuse wrong parameters, and keep the house's rules."""

import ast
import json
import re
import subprocess
import sys

import nbformat
import pytest

from studies.paths import REPOSITORY, StudyError
from studies.runs import notebooks
from studies.runs.notebooks import Labelled, execute, label

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


def sentence(caught) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- refusals, before a kernel starts


@pytest.fixture
def no_kernel(monkeypatch):
    """Make any use of papermill fail."""
    monkeypatch.setitem(sys.modules, "papermill", None)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["sed=1"], "command line: unknown parameter `sed`; did you mean `seed`?"),
        (["epochs=1", "xyz=1"], "command line: unknown parameter `xyz`; there are: dataset, "),
        (["seed"], "-p seed: write name=value"),
        (["seed=[1"], "-p seed=[1: the value is not valid YAML"),
        (["seed=-1"], "command line: parameter `seed` should be greater"),
        (["seed=0", "epochs=1e1"], "command line: parameter `epochs` should be a valid integer"),
    ],
)
def test_wrong_overrides(no_kernel, tmp_path, overrides, words):
    output = tmp_path / "new" / "out.ipynb"
    with pytest.raises(StudyError) as caught:
        execute(REPOSITORY / "notebooks/triplets/train.ipynb", output, GIVEN, overrides)
    assert sentence(caught).startswith(words)
    assert not output.parent.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("epoch: 3\n", "unknown parameter `epoch`; did you mean `epochs`?"),
        ("epochs: 0\n", "parameter `epochs` should be greater"),
        ("loss: {name: triplet, margins: 1.0, take: closest}", "unknown parameter `loss.margins`"),
        ("a: [\n", "not valid YAML"),
    ],
)
def test_wrong_files(no_kernel, tmp_path, content, words):
    file, output = tmp_path / "mine.yaml", tmp_path / "out.ipynb"
    file.write_text(content)
    with pytest.raises(StudyError) as caught:
        execute(REPOSITORY / "notebooks/triplets/train.ipynb", output, [*GIVEN, file], ["seed=0"])
    assert sentence(caught).startswith(str(file))
    assert words in str(caught.value)
    assert not output.exists()


def test_names_without_files(no_kernel, write, tmp_path):
    with pytest.raises(StudyError, match=r"unknown parameter `datset`; did you mean `dataset`\?$"):
        execute(write("# Parameters: x\ndataset = 'a'"), tmp_path / "o.ipynb", [], ["datset=b"])
    with pytest.raises(StudyError, match=r"^-p dataset: write name=value"):
        execute(write("# Parameters: x\ndataset = 'a'"), tmp_path / "o.ipynb", [], ["dataset"])


def test_a_missing_notebook_and_a_missing_file(no_kernel, write, tmp_path):
    with pytest.raises(StudyError) as caught:
        execute(tmp_path / "no.ipynb", tmp_path / "o.ipynb")
    assert sentence(caught).startswith(f"{tmp_path / 'no.ipynb'}: cannot be read")
    with pytest.raises(StudyError, match=r"no such parameter file$"):
        execute(write("# Parameters: x\na = 1"), tmp_path / "o.ipynb", [tmp_path / "no.yaml"])


def test_importing_the_module_starts_nothing_slow():
    code = "import sys, studies.runs.notebooks; print({'papermill', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_command_line(monkeypatch, tmp_path):
    file = str(REPOSITORY / "notebooks/triplets/train.ipynb")
    arguments = ["notebooks", file, str(tmp_path / "o.ipynb"), "-p", "sed=1"]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as caught:
        notebooks.main()
    assert caught.value.code == (
        "error: command line: unknown parameter `sed`; did you mean `seed`?"
    )


# --- runs


def test_a_notebook_runs_with_its_parameters(write, tmp_path, capsys):
    names = json.loads((REPOSITORY / "notebooks/triplets/train.ipynb").read_text())["cells"]
    cell = next(
        "".join(c["source"]) for c in names if "parameters" in c["metadata"].get("tags", ())
    )
    check = "from studies.triplets.params import Parameters\np = Parameters.from_notebook()"
    tell = "print(p.model, p.seed, p.epochs, p.loss.margins)\nprint('second line')"
    file, output = write(cell, check, tell), tmp_path / "new" / "out.ipynb"
    execute(file, output, GIVEN, ["seed=3", "epochs=15"])
    assert printed(output) == "flexible 3 15 [2.0, 1.0, 0.5]\nsecond line\n"
    done = nbformat.read(output, as_version=4)
    assert done.metadata.papermill.exception is None
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{output}  flexible 3 15 [2.0, 1.0, 0.5]", f"{output}  second line"]
    assert nbformat.read(file, as_version=4).cells[0].outputs == []


def test_a_study_error_in_a_cell_is_one_line(write, tmp_path):
    tell = "from studies.paths import StudyError\nprint('before')\nraise StudyError('no <b>disk')"
    file, output = write("# Parameters: x\na = 1", tell, "print('after')"), tmp_path / "out.ipynb"
    with pytest.raises(StudyError) as caught:
        execute(file, output, [], ["a=2"])
    assert sentence(caught) == f"no <b>disk (cell 3 of {output})"
    assert printed(output) == "before\n"
    cells = nbformat.read(output, as_version=4).cells
    errors = [o for c in cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert [error.traceback for error in errors] == [["StudyError: no <b>disk"]]
    assert errors[0].ename == "StudyError"


def test_another_error_in_a_cell_keeps_its_traceback(write, tmp_path):
    file, output = write("# Parameters: x\na = 1", "print('before')", "1 / 0"), tmp_path / "o.ipynb"
    with pytest.raises(StudyError) as caught:
        execute(file, output)
    assert sentence(caught) == f"ZeroDivisionError: division by zero (cell 3 of {output})"
    assert printed(output) == "before\n"
    cells = nbformat.read(output, as_version=4).cells
    errors = [o for c in cells for o in c.get("outputs", []) if o.output_type == "error"]
    assert "Traceback" in "".join(errors[0].traceback)


def test_a_kernel_that_dies(write, tmp_path):
    die = "import os, signal\nprint('before')\nos.kill(os.getpid(), signal.SIGKILL)"
    file, output = write("# Parameters: x\na = 1", die), tmp_path / "o.ipynb"
    with pytest.raises(StudyError) as caught:
        execute(file, output)
    assert sentence(caught).startswith(f"{output}: the kernel died")
    assert nbformat.read(output, as_version=4).cells


def test_an_output_that_cannot_be_written(write, tmp_path):
    (tmp_path / "file").write_text("x")
    output = tmp_path / "file" / "o.ipynb"
    with pytest.raises(StudyError) as caught:
        execute(write("# Parameters: x\na = 1"), output)
    assert sentence(caught).startswith(f"cannot write {output}: ")


def test_labels(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path))
    run = tmp_path / "runs" / "tiny" / "triplets" / "flexible" / "seed0"
    assert label(run / "train.ipynb") == "tiny/triplets/flexible/seed0"
    assert label(tmp_path / "x.ipynb") == str(tmp_path / "x.ipynb")
    stream = Labelled("here", sys.stdout)
    stream.write("one\ntwo\n")
    stream.write("three")
    assert capsys.readouterr().out == "here  one\nhere  two\nhere  three\n"


# --- the notebooks of this repository


@pytest.fixture(params=NOTEBOOKS, ids=lambda file: f"{file.parent.name}-{file.stem}")
def committed(request):
    nbformat.validate(nbformat.read(request.param, as_version=4))
    return nbformat.read(request.param, as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks():
    assert {file.stem for file in NOTEBOOKS} == {"train", "evaluate", "report", "judgements"}


def test_prose_comes_first(committed):
    first = committed.cells[0]
    assert first.cell_type == "markdown"
    assert re.match(r"# \w+ \d: \w+", first.source)
    assert "**Question.**" in first.source


def test_one_parameters_cell(committed):
    tagged = [c for c in committed.cells if "parameters" in c.metadata.get("tags", [])]
    assert len(tagged) == 1
    assert tagged[0] is code(committed)[0]
    assert tagged[0].source.startswith("# Parameters: ")
    assert sum(cell.source.startswith("# Parameters") for cell in committed.cells) == 1
    names = [node.targets[0].id for node in ast.parse(tagged[0].source).body]
    assert len(set(names)) == len(names)
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
        # parameters are data: long, and read line by line
        most = 50 if "parameters" in cell.metadata.get("tags", ()) else 40
        assert len(cell.source.splitlines()) <= most


def test_kernel_and_cell_ids(committed):
    assert committed.metadata.kernelspec.name == "python3"
    assert "papermill" not in committed.metadata
    ids = [cell.id for cell in committed.cells]
    assert len(set(ids)) == len(ids)


def test_stored_outputs_do_not_depend_on_the_machine(committed):
    for cell in code(committed):
        assert "papermill" not in cell.metadata
        text = json.dumps(cell.outputs)
        assert not re.search(r"/(home|root|Users|tmp|work|mnt|var|usr|opt)/|[A-Z]:\\\\", text), text
        assert "it/s" not in text
        assert "s/it" not in text
        assert "tqdm" not in text
        assert "widget-view" not in text
        assert all(output.output_type != "error" for output in cell.outputs)
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                assert "nbval-ignore-output" in cell.metadata.tags
    assert not re.search(r"/(home|root|Users|tmp)/", "".join(c.source for c in committed.cells))
