"""The house itself: lock, environment and Makefile agree, and the promised things are there."""

import re
import subprocess
import sys
import tomllib

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


@pytest.mark.parametrize(
    "name",
    [
        "notebooks",
        "lib",
        "environment.yml",
        "params",
        "reports",
        "tests",
        "README.md",
        "LICENSE",
        "CITATION.cff",
    ],
)
def test_what_must_stand_at_the_top_is_there(name):
    assert (REPOSITORY / name).exists()


def test_help_is_the_default_and_names_every_target():
    run = subprocess.run(["make"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    assert {"study", "test", "lab", "bench", "clean"} <= set(targets)
    assert all(f"make {target}" in run.stdout for target in targets if target != "help")


def test_no_study_imports_another():
    for file in (REPOSITORY / "lib" / "studies").glob("*/*.py"):
        imported = re.findall(r"^\s*from studies\.(\w+)", file.read_text(), re.MULTILINE)
        others = {"captioning", "triplets", "recipes", "relevance"} - {file.parent.name}
        assert not others & set(imported), file


def test_only_training_pays_for_what_training_imports():
    code = (
        "import sys, studies.triplets.evaluate, studies.triplets.report, studies.reporting.index\n"
    )
    code += "print(*{'lightning', 'torchvision', 'transformers'} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
