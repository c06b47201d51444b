"""Files and folders that appear whole or not at all; what is made once and kept in the cache."""

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout

from studies import paths
from studies.paths import StudyError

PART = ".part"  # ending of a file that is being written, in the name of which two never agree


@contextmanager
def whole(path: Path, partial: Path | None = None, *, resume: bool = False) -> Iterator[Path]:
    """Yield the name beside `path` of a file or folder that takes its place after the block.

    Until then `path` is as it was. What is half made is removed, also what a killed process left;
    with `resume` it stays for the next call. Only one process at a time may use the same `partial`.

    Raises:
        StudyError: the folder cannot be written, or the disk is full.

    """
    partial = partial or path.with_name(f"{path.name}.partial")
    before = path.with_name(f"{path.name}.before")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not resume:
            remove(partial)
        yield partial
        if partial.is_file():
            with partial.open("rb") as file:
                os.fsync(file.fileno())
        if path.is_dir():  # which no rename replaces
            remove(before)
            path.rename(before)
        partial.replace(path)
        remove(before)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        if not resume:
            remove(partial)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there and can be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    elif path.parent.is_dir():
        path.unlink(missing_ok=True)


def unwritable(path: Path, error: OSError) -> StudyError:
    """Return what to say of a file or folder that could not be written."""
    variable = "STUDIES_DATA" if path.is_relative_to(paths.data()) else "STUDIES_ROOT"
    return StudyError(
        f"cannot write {path}: {error.strerror or error}; free the disk or make the folder "
        f"{path.parent} writable, or name another in {variable}, then run the same command again"
    )


def write_atomic(path: Path, content: str | bytes | Callable[[Path], object]) -> None:
    """Write a file as `whole` does; any number of processes may write it at once.

    `content` is the text, the bytes, or a function that writes the file whose path it is given.
    """
    path = Path(path)
    with whole(path, path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{PART}")) as partial:
        if callable(content):
            content(partial)
        else:
            partial.write_bytes(content.encode() if isinstance(content, str) else content)


def made_once(path: Path, make: Callable[[Path], object], *, resume: bool = False) -> Path:
    """Return a file or folder of the cache, which `make` makes as `whole` does at the first call.

    `make` is given the path to make; with `resume` it may go on from what a call before left
    there. Processes may call it at once: one makes it, the others wait. Its digest lies beside it,
    and what is no longer as it was made is made again.
    """
    note = path.with_name(f"{path.name}.sha256")

    def intact() -> bool:
        return path.exists() and (not note.exists() or note.read_text() == digest(path))

    if not intact():
        with locked(path.parent, path.name):
            if not intact():
                if path.exists():
                    print(f"{path}: is damaged, and is made again", flush=True)
                with whole(path, resume=resume) as partial:
                    make(partial)
                    write_atomic(note, digest(partial))
    return path


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and contents of all files in a folder.

    (Reading a file takes as long, so that a cache may be checked whenever it is opened.)
    """
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    files = sorted(file for file in path.rglob("[!.]*") if file.is_file())
    content = "".join(f"{digest(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256(content.encode()).hexdigest()


def cached(file: Path, make: Callable[[Path], object], *, resume: bool = False) -> np.ndarray:
    """Return the array in `file`, which is `made_once`, memory-mapped read-only."""
    return np.load(made_once(file, make, resume=resume), mmap_mode="r")


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Begin an .npy file; rows are then appended, so that a full disk is an error and no crash.

    (Writing through a memory map of a file with holes kills the process when the disk is full.)
    """
    header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


@contextmanager
def locked(folder: Path, name: str = "") -> Iterator[None]:
    """Hold the lock of a folder or of what has a `name` in it.

    While another process holds it, say so and wait. The operating system frees the lock when its
    holder dies, however it dies.
    """
    lock = FileLock(folder / f"{name}.lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            print(f"{folder / name}: another process is at work here; waiting for it", flush=True)
            lock.acquire()
    except OSError as error:
        raise unwritable(folder / (name or ".lock"), error) from error
    try:
        yield
    finally:
        lock.release()


def to_json(content: Any) -> str:
    """Return JSON as a person reads it."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def sealed(content: dict[str, Any]) -> str:
    """Return JSON with a last entry, the digest of the others."""
    own = hashlib.sha256(to_json(content).encode()).hexdigest()
    return to_json(content | {"digest": own})


def unsealed(text: str) -> dict[str, Any]:
    """Return what was `sealed`, or other JSON; raises ValueError when it is damaged."""
    content = json.loads(text)
    if content.pop("digest", "") and sealed(content) != text:
        raise ValueError("is not what was written")
    return content


def duration(seconds: float) -> str:
    """Return `45 s`, `12 min` or `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
