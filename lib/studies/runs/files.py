"""What is made once and kept in the cache: folders, and arrays."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import filelock
import numpy as np
from filelock import FileLock

from studies.paths import StudyError

UNWRITABLE = (
    "Cannot write to the cache folder {folder} ({reason}): make room or give write permission "
    "there, or name another folder in STUDIES_ROOT."
)


def made_once(folder: Path, fill: Callable[[Path], object], sentence: str = UNWRITABLE) -> Path:
    """Return the folder, filled at the first call.

    `fill` makes the folder whose path it is given and what belongs in it. Processes may call it at
    once: one fills, the others wait. A killed call leaves no half-made folder.

    Raises:
        StudyError: `sentence`, of {folder} and {reason}, when the cache cannot be written; and
            whatever `fill` raises. After a StudyError nothing is left.

    """
    if folder.exists():
        return folder
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not folder.exists():
                shutil.rmtree(partial, ignore_errors=True)
                fill(partial)
                partial.rename(folder)
    except OSError as error:
        raise unwritable_cache(folder.parent, error, sentence) from error
    except StudyError:
        # once that is mended the folder has another name, so nobody would take up this one again
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def unwritable_cache(folder: Path, error: OSError, sentence: str = UNWRITABLE) -> StudyError:
    """Return the error of a cache folder that cannot be written."""
    return StudyError(sentence.format(folder=folder, reason=error.strerror or error))


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Begin an .npy file; rows are then appended, so that a full disk is an error and no crash.

    (Writing through a memory map of a file with holes kills the process when the disk is full.)
    """
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def cached(file: Path, make: Callable[[Path], None]) -> np.ndarray:
    """Return the array in `file`, memory-mapped read-only; `make` writes it first if need be.

    `make` gets the name of a partial file, which is renamed when it returns. Only one process
    makes a file, others wait for it. A partial file stays after a failure: `make` may go on from
    what it holds or write over it.

    Raises:
        StudyError: the cache folder cannot be written; and whatever `make` raises.

    """
    if not file.exists():
        partial = file.with_name(file.name + ".partial")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(file.with_name(file.name + ".lock")):
                if not file.exists():
                    make(partial)
                    with partial.open("rb+") as written:
                        os.fsync(written.fileno())
                    partial.replace(file)
        except OSError as error:
            raise unwritable_cache(file.parent, error) from error
    return np.load(file, mmap_mode="r")


PART = ".part"  # ending of a file that is being written


def write_atomic(path: Path, content: str | bytes | Callable[[Path], object]) -> None:
    """Write a file whole or not at all: under a temporary name beside `path`, then renamed.

    `content` is the text, the bytes, or a function that writes the file whose path it is given.
    Raises StudyError when the folder cannot be written or the disk is full; `path` is then as it
    was before.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(PART, prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> StudyError:
    """Return what to say of a file or folder that could not be written."""
    return StudyError(
        f"cannot write {path}: {error.strerror or error}; free the disk or make the folder "
        f"{path.parent} writable, then run the same command again"
    )


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; say so and wait while another process holds it.

    The operating system frees the lock when its holder dies, however it dies.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            print(f"{folder}: another process is at work here; waiting for it to end", flush=True)
            lock.acquire()
    except OSError as error:
        raise StudyError(
            f"cannot write in {folder}: {error.strerror or error}; make the folder writable or "
            "set STUDIES_ROOT to one that is"
        ) from error
    try:
        yield
    finally:
        lock.release()


def to_json(content: Any) -> str:
    """Return JSON as a person reads it."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
