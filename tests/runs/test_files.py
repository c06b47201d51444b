"""Files and folders appear whole or not at all: full disks, killed processes, several at once."""

import errno
import os
import resource
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from sentences import refused
from studies import paths
from studies.paths import StudyError
from studies.runs.files import cached, locked, made_once, unwritable, whole, write_atomic

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix not in {".lock", ".sha256"}}


@pytest.fixture
def full_disk():
    """The size limit of a process makes writes fail, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


class TestWriteAtomic:
    def test_it_writes(self, tmp_path):
        file = tmp_path / "new" / "folder" / "file.txt"
        for content in ("text ä\n", b"\x00\xff", lambda path: path.write_bytes(b"made")):
            write_atomic(file, content)
            wanted = content.encode() if isinstance(content, str) else content
            assert file.read_bytes() == (b"made" if callable(content) else wanted)
            assert list(file.parent.iterdir()) == [file]

    @pytest.mark.parametrize(
        ("error", "message"), [(FULL, "No space left on device"), (KeyboardInterrupt(), None)]
    )
    @pytest.mark.parametrize("old", [[], ["file.txt"]])
    def test_a_failed_write_leaves_everything_as_it_was(self, tmp_path, error, message, old):
        for name in old:
            (tmp_path / name).write_text("old")

        def content(path):
            assert path.parent == tmp_path  # a rename is atomic on one file system only
            path.write_bytes(b"half")
            raise error

        with pytest.raises((StudyError, KeyboardInterrupt), match=message):
            write_atomic(tmp_path / "file.txt", content)
        assert [file.name for file in tmp_path.iterdir()] == old
        assert all(file.read_text() == "old" for file in tmp_path.iterdir())


class TestUnwritable:
    def test_the_folder_is_a_file(self, tmp_path):
        (tmp_path / "folder").write_text("a file")
        file = tmp_path / "folder" / "below" / "file"
        message = f"cannot write {file}: "
        assert refused(write_atomic, file, "x").startswith(message)
        assert refused(made_once, file, lambda _: None).startswith(message)
        with pytest.raises(StudyError, match=r"cannot write .*STUDIES_ROOT"), locked(file.parent):
            pass
        assert "name another in STUDIES_DATA" in str(unwritable(paths.data() / "plates", FULL))
        assert (tmp_path / "folder").read_text() == "a file"


class TestWhole:
    def test_a_folder_takes_the_place_of_another_and_of_what_a_kill_left(self, tmp_path):
        folder = tmp_path / "folder"
        (tmp_path / "folder.before").mkdir()
        (tmp_path / "folder.partial").mkdir()
        for number in range(3):
            with whole(folder) as partial:
                assert not partial.exists()
                partial.mkdir()
                (partial / str(number)).touch()
                assert not folder.exists() or names(folder) == {str(number - 1)}
            assert names(folder) == {str(number)}
            assert names(tmp_path) == {"folder"}


def fill(partial):
    partial.mkdir()
    (partial / "one").write_text("1" * 1000)


class TestMadeOnce:
    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "cache" / "plates"

    def test_a_killed_or_refused_filling_leaves_nothing(self, folder):
        left = folder.with_name("plates.partial")
        left.mkdir(parents=True)
        (left / "stray").touch()

        def refuse(partial):
            assert not partial.exists()
            fill(partial)
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            made_once(folder, refuse)
        assert names(folder.parent) == set()
        made_once(folder, fill)
        assert made_once(folder, lambda _: pytest.fail("filled again")) == folder
        assert names(folder) == {"one"}
        assert names(folder.parent) == {"plates"}

    def test_several_at_once(self, folder):
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

    @pytest.mark.parametrize("name", ["plates", "plates/one", "plates/two"])
    def test_what_is_damaged_is_made_again(self, tmp_path, name, capsys):
        """A file, a file of a folder, and one that is added to a folder."""
        made = tmp_path / name.partition("/")[0]

        def make(partial):
            partial.write_bytes(bytes(9)) if name == "plates" else fill(partial)

        made_once(made, make)
        before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        (tmp_path / name).write_bytes(bytes(8) + b"\1")
        assert made_once(made, make) == made
        assert capsys.readouterr().out == f"{made}: is damaged, and is made again\n"
        after = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        assert after == before
        made_once(made, lambda _: pytest.fail("made again"))

    def test_a_full_disk(self, folder, full_disk):
        assert "File too large" in refused(made_once, folder, fill)
        assert names(folder.parent) == set()

    @pytest.mark.parametrize("resume", [True, False])
    def test_an_array_may_go_on_from_what_is_there(self, tmp_path, resume):
        seen = []

        def make(partial):
            seen.append(partial.exists())
            with partial.open("wb") as file:
                np.save(file, np.arange(3))
            if len(seen) == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cached(tmp_path / "a.npy", make, resume=resume)
        array = cached(tmp_path / "a.npy", make, resume=resume)
        assert array.tolist() == [0, 1, 2]
        assert not array.flags.writeable
        assert seen == [False, resume]
        assert names(tmp_path) == {"a.npy"}


HOLD = """
import sys, time
from pathlib import Path
from studies.runs.files import locked
folder, note, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
with locked(folder):
    note.write_text("in")
    time.sleep(seconds)
    note.write_text("out")
"""


class TestLocked:
    def test_a_second_process_says_that_it_waits_and_goes_on_after_a_kill(self, commands, tmp_path):
        first, second, folder = (tmp_path / name for name in ("first", "second", "folder"))
        holder = commands(tmp_path, "hold", folder, first, 600, code=HOLD)
        assert holder.until(first.exists)
        waiter = commands(tmp_path, "hold", folder, second, 0, code=HOLD)
        assert waiter.until(lambda: waiter.out)
        assert waiter.out.startswith(f"{folder}: another process is at work here; ")
        assert not second.exists()
        holder.kill()
        assert waiter.wait() == 0
        assert second.read_text() == "out"
        assert first.read_text() == "in"
        assert waiter.err == ""
