"""A path is written as a reader of the repository would write it."""

import os

from studies.paths import REPOSITORY, relative


def test_below_the_repository(monkeypatch, tmp_path):
    file = REPOSITORY / "params" / "triplets" / "tiny"
    assert relative(file) == "params/triplets/tiny"
    monkeypatch.chdir(tmp_path)
    assert relative(os.path.relpath(file)) == "params/triplets/tiny"


def test_elsewhere(monkeypatch, tmp_path):
    assert relative(tmp_path / "page.html") == str(tmp_path / "page.html")
    monkeypatch.chdir(tmp_path)
    assert relative("page.html") == str(tmp_path / "page.html")
    assert relative(REPOSITORY.parent) == str(REPOSITORY.parent)
