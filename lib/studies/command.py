"""How a command line begins and ends: its argument, and one line for what came of it."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from studies.errors import StudyError
from studies.paths import relative


def dataset_argument(purpose: str) -> str:
    """Return the one argument, a dataset id, of a command whose help says `purpose`."""
    parser = argparse.ArgumentParser(description=purpose)
    parser.add_argument("dataset")
    return parser.parse_args().dataset


@contextmanager
def one_sentence() -> Iterator[None]:
    """End the process with one sentence on a StudyError, and when a person stops it."""
    try:
        yield
    except StudyError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")


def run(work: Callable[[], Path]) -> None:
    """Do the work of a command and print the file or folder that it made."""
    with one_sentence():
        print(relative(work()))
