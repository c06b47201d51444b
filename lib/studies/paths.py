"""Where things lie: every path of the project, resolved from the repository root.

A kernel may start in any folder, so nothing here depends on the working directory. The root is
the folder that holds `lib/`; `STUDIES_ROOT` puts runs, reports and caches elsewhere (tests do),
and `STUDIES_DATA` names the folder of the published datasets.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def root() -> Path:
    """Return the folder that `runs/`, `reports/` and `cache/` are made in."""
    return Path(os.environ.get("STUDIES_ROOT", REPOSITORY)).resolve()


def data() -> Path:
    """Return the folder of the published datasets; a relative `STUDIES_DATA` starts at the root."""
    return (REPOSITORY / os.environ.get("STUDIES_DATA", "data")).resolve()


def runs() -> Path:
    """Return the folder of all run folders."""
    return root() / "runs"


def reports() -> Path:
    """Return the folder of all reports."""
    return root() / "reports"


def evidence(dataset: str) -> Path:
    """Return the folder of what committed reports are made from: runs by study, and `study/`."""
    return reports() / dataset / "evidence"


def cache() -> Path:
    """Return the folder of what can be made again: decoded images, features, the demo's plates."""
    return root() / "cache"


def relative(file: Path) -> str:
    """Return the path as a reader of the repository would write it."""
    file = Path(file).resolve()
    return str(file.relative_to(REPOSITORY) if REPOSITORY in file.parents else file)


def printed(file: Path) -> str:
    """Return the path as who gave the command finds it; `make study` has its jobs elsewhere."""
    file, here = Path(file).resolve(), Path(os.environ.get("STUDIES_HERE", Path.cwd()))
    return str(file.relative_to(here) if here in file.parents else file)


# The one exception for what a user can put right.


class StudyError(Exception):
    """Something a user can mend; the message says what is wrong, where, and what to do.

    Commands print it as one line and exit with status 1; a notebook shows that line in place of
    a traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython prints for this exception."""
        return [f"{type(self).__name__}: {self}"]


# How a command line begins and ends: its argument, and one line for what came of it.


def dataset_argument(purpose: str) -> str:
    """Return the one argument, a dataset id, of a command whose help says `purpose`."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("dataset")
    return parser.parse_args().dataset


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the process with one sentence on what a user can mend, and when a person stops it."""
    try:
        yield
    except (StudyError, OSError) as error:  # the latter of a disk or folder that the user has
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")


def run_command(work: Callable[[], Path]) -> None:
    """Do the work of a command and print the file or folder that it made."""
    with one_sentence():
        print(printed(work()))
