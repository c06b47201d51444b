"""What all tests share: a root of their own for runs, reports and caches, and one thread."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

CREATED = "STUDIES_ROOT" not in os.environ
if CREATED:
    # set before any import, and inherited by workers, kernels and subprocesses
    os.environ["STUDIES_ROOT"] = tempfile.mkdtemp(prefix="studies-")
os.environ.setdefault("OMP_NUM_THREADS", "1")


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
