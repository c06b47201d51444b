"""The house itself: lock, environment and Makefile agree, and the promised things are there."""

import ast
import re
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from studies.paths import REPOSITORY

LOCK = (REPOSITORY / "requirements.lock").read_text()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PINNED = re.findall(r"^([\w.-]+)==([\w.]+)", LOCK, re.MULTILINE)
REQUIRED = "jupyterlab papermill torch torchvision transformers pycocoevalcap seaborn pytest nbval"


def locked_versions(name):
    return [Version(version) for pinned, version in PINNED if pinned == name.lower()]


@pytest.mark.parametrize(
    "requirement", [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]
)
def test_the_lock_satisfies_the_project(requirement):
    wanted = Requirement(requirement)
    versions = locked_versions(wanted.name)
    assert versions
    assert all(version in wanted.specifier for version in versions)


@pytest.mark.parametrize("name", REQUIRED.split())
def test_required_packages_are_locked(name):
    assert locked_versions(name)


def test_every_locked_package_has_a_hash_and_no_address():
    entries = re.split(r"\n(?=[\w.-]+==)", LOCK.partition("\n")[2])
    entries = [entry for entry in entries if re.match(r"[\w.-]+==", entry)]
    assert len(entries) == len(PINNED)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in LOCK


def test_the_conda_environment_is_python_and_the_lock():
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    assert (
        Version(python.partition("=")[2])
        in Requirement(f"python{PROJECT['requires-python']}").specifier
    )
    assert pip == "pip"
    assert packages == {"pip": ["-r requirements.lock"]}


TOP = "notebooks lib environment.yml params reports tests README.md LICENSE CITATION.cff"


@pytest.mark.parametrize("name", TOP.split())
def test_what_must_stand_at_the_top_is_there(name):
    assert (REPOSITORY / name).exists()


def test_help_is_the_default_and_names_every_target():
    run = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    assert {"study", "test", "lab", "bench", "clean"} <= set(targets)
    assert all(f"make {target}" in run.stdout for target in targets if target != "help")


STUDIES = {"captioning", "triplets", "recipes", "relevance"}
LIB = REPOSITORY / "lib"


def imports(file) -> set[str]:
    """The modules of this house that a file imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        found.update(name for name in names if name in MODULES)
    return found


def module(file) -> str:
    return ".".join(file.relative_to(LIB).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module(file): file for file in LIB.rglob("*.py")}


def test_arrows_go_one_way():
    graph = {name: imports(file) - {name} for name, file in MODULES.items()}
    # a package that hands on a name of its own module is no circle
    graph["studies.runs"].discard("studies.runs.folder")
    for name, imported in graph.items():
        room = name.split(".")[1] if "." in name else ""
        rooms = {other.split(".")[1] for other in imported if other.startswith("studies.")}
        if name.startswith("kitchen"):
            assert not rooms, f"{name} knows the studies"
        elif room in STUDIES:
            assert not rooms & (STUDIES - {room}), f"{name} imports another study"
        else:
            assert not rooms & STUDIES, f"{name} imports a study"
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_only_training_pays_for_what_training_imports():
    code = "import sys, studies.triplets.evaluate, studies.reporting.publish\n"
    code += "print(*{'accelerate', 'torchvision', 'transformers'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
