"""A folder of the cache is made once, whole or not at all."""

import resource
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sentences import refused
from studies.paths import StudyError
from studies.runs.files import made_once


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache" / "plates"


def fill(partial: Path) -> None:
    partial.mkdir()
    (partial / "one").write_text("1" * 1000)


def kept(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def beside(folder: Path) -> set[str]:
    return {path.name for path in folder.parent.iterdir()} - {f"{folder.name}.lock"}


def test_it_is_filled_under_another_name(folder):
    def look(partial):
        assert not partial.exists()
        assert not folder.exists()
        fill(partial)
        assert not folder.exists()

    assert made_once(folder, look) == folder
    assert kept(folder) == {"one": "1" * 1000}
    assert beside(folder) == {"plates"}


def test_it_is_filled_once(folder):
    made_once(folder, fill)
    assert made_once(folder, lambda _: pytest.fail("filled again")) == folder


def test_several_at_once(folder):
    started, filled = threading.Barrier(4), []

    def count(partial):
        filled.append(partial)
        fill(partial)

    def ask(_):
        started.wait(timeout=30)
        return made_once(folder, count)

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(4))) == {folder}
    assert len(filled) == 1


def test_what_was_left_by_a_killed_call_is_thrown_away(folder):
    def stop(partial):
        fill(partial)
        (partial / "stray").touch()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made_once(folder, stop)
    assert not folder.exists()
    made_once(folder, fill)
    assert kept(folder).keys() == {"one"}
    assert beside(folder) == {"plates"}


def test_nothing_is_left_after_a_refusal(folder):
    def refuse(partial):
        fill(partial)
        raise StudyError("a plate is broken")

    assert refused(made_once, folder, refuse) == "a plate is broken"
    assert beside(folder) == set()


class TestUnwritable:
    """The size limit of a process makes writes fail, as a full disk does."""

    @pytest.fixture
    def full(self):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    def test_a_full_disk(self, folder, full):
        message = refused(made_once, folder, fill)
        assert message.startswith(f"Cannot write to the cache folder {folder.parent} (File too ")
        assert "make room" in message
        assert not folder.exists()

    def test_a_sentence_of_its_own(self, folder, full):
        own = "cannot bake in {folder}: {reason}"
        message = f"cannot bake in {folder.parent}: File too large"
        assert refused(made_once, folder, fill, own) == message

    def test_a_file_in_the_way(self, tmp_path):
        (tmp_path / "cache").touch()
        message = refused(made_once, tmp_path / "cache" / "plates", fill)
        assert message.startswith(f"Cannot write to the cache folder {tmp_path / 'cache'} (")
