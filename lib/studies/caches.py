"""What is made once and kept in the cache: folders, and arrays."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock

from studies.errors import StudyError

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
        raise unwritable(folder.parent, error, sentence) from error
    except StudyError:
        # once that is mended the folder has another name, so nobody would take up this one again
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return folder


def unwritable(folder: Path, error: OSError, sentence: str = UNWRITABLE) -> StudyError:
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
            raise unwritable(file.parent, error) from error
    return np.load(file, mmap_mode="r")
