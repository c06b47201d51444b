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


def test_the_lock_satisfies_the_project_and_is_all_that_the_environment_takes():
    for requirement in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]:
        wanted = Requirement(requirement)
        locked = [version for name, version in PINNED if name == wanted.name.lower()]
        assert locked, requirement
        assert all(Version(version) in wanted.specifier for version in locked), requirement
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text())
    python, pip, packages = environment["dependencies"]
    wanted = Requirement(f"python{PROJECT['requires-python']}")
    assert Version(python.partition("=")[2]) in wanted.specifier
    assert (pip, packages) == ("pip", {"pip": ["-r requirements.lock"]})


def test_every_locked_package_has_a_hash_and_no_address():
    entries = re.split(r"\n(?=[\w.-]+==)", LOCK.partition("\n")[2])
    entries = [entry for entry in entries if re.match(r"[\w.-]+==", entry)]
    assert len(entries) == len(PINNED)
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in LOCK


def test_help_is_the_default_and_names_every_target():
    run = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    assert {"study", "test", "lab", "bench", "clean"} <= set(targets)
    assert all(f"make {target}" in run.stdout for target in targets if target != "help")


STUDIES = {"captioning", "triplets", "recipes", "relevance"}
ROOMS = ["runs", "learning", "inputs", "reporting"]  # each knows those before it
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
        if room in ROOMS:
            assert not rooms & {*ROOMS[ROOMS.index(room) + 1 :]}, f"{name} imports a later room"
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


HEAVY = {"datasets", "matplotlib", "nbformat", "papermill", "scipy.optimize", "scipy.stats"}
HEAVY |= {"seaborn", "sklearn", "timm", "torchvision", "transformers"}


def imported(*modules: str) -> set[str]:
    """What a process has imported that imports some modules of this house."""
    code = f"import sys, {', '.join(modules)}\nprint(*sys.modules)"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("study", sorted(STUDIES))
def test_training_imports_little_beyond_torch(study):
    assert not HEAVY & imported(f"studies.{study}.train")


def test_only_training_pays_for_what_training_imports():
    modules = imported("studies.triplets.evaluate", "studies.reporting.publish")
    assert not {"accelerate", "torchvision", "transformers"} & modules
