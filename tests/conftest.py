"""What all tests share: a root of their own for runs, reports and caches, and one thread."""

import os
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import pytest

CREATED = "STUDIES_ROOT" not in os.environ
if CREATED:
    # set before any import, and inherited by workers, kernels and subprocesses
    os.environ["STUDIES_ROOT"] = tempfile.mkdtemp(prefix="studies-")
os.environ.setdefault("OMP_NUM_THREADS", "1")
if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    # each kernel and command would compile all that it imports, which takes longer than running it
    sys.pycache_prefix = str(Path(__file__).resolve().parents[1] / "cache" / "bytecode")
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
    sys.dont_write_bytecode = False

# helpers whose assertions say what they compared
pytest.register_assert_rewrite("changing", "reported")

# a file is one worker's: were the longest last, the other worker would wait for it
LONGEST = ("test_browser.py", "test_pipeline.py", "test_resume.py", "test_metrics.py", ".ipynb")

LEARNERS = {
    "captioning": "TeacherForcing",
    "triplets": "Approach",
    "recipes": "TwoHeads",
    "relevance": "Reading",
}


def pytest_configure(config):
    """Let pytest-xdist hand out files in the order below, not by their number of tests."""
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    """Take the longest files first.

    By name, so that the two at work are of different studies: notebooks of one study would wait for
    each other's runs.
    """

    def place(item):
        return [not item.path.name.endswith(name) for name in LONGEST], item.path.name

    items.sort(key=place)


def pytest_unconfigure():
    """Delete the root that this process made."""
    if CREATED:
        shutil.rmtree(os.environ["STUDIES_ROOT"], ignore_errors=True)


@pytest.fixture
def sandbox(tmp_path, monkeypatch) -> Path:
    """Runs, caches and data of one test below its own folder."""
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.fixture
def elsewhere(sandbox, monkeypatch):
    """Return a function that moves to a fresh STUDIES_ROOT."""
    return lambda name: monkeypatch.setenv("STUDIES_ROOT", str(sandbox / name))


@pytest.fixture
def train(request):
    """The training of the study that the test's folder is named after."""
    # imported late: torch alone takes seconds
    return import_module(f"studies.{request.path.parent.name}.train").train


@pytest.fixture
def learner(request):
    """The class that says how the study trains."""
    study = request.path.parent.name
    return getattr(import_module(f"studies.{study}.train"), LEARNERS[study])


@pytest.fixture
def commands(tmp_path):
    """Return a function that starts a command on a root; none outlives the test."""
    from commands import Command

    started = []

    def start(root: Path, module: str, *arguments: object, code: str = "") -> Command:
        started.append(Command(tmp_path / "logs", root, module, *arguments, code=code))
        return started[-1]

    yield start
    for command in started:
        command.kill()
