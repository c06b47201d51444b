"""Text files that a dataset came with or a user wrote."""

from collections.abc import Iterator
from pathlib import Path

from studies.paths import StudyError


def read_text(file: Path, remedy: str = "unpack the dataset again") -> str:
    """Return the text of a UTF-8 file, with or without byte order mark, line ends as they are.

    Raises StudyError when the file cannot be read, with what helps, or is not UTF-8.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise StudyError(f"{file}: no such file; {remedy}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise StudyError(f"{file} line {line}: is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise StudyError(f"{file}: cannot be read ({error.strerror or error}); {remedy}") from None


def lines(file: Path) -> list[str]:
    """Return the lines without white space around them, those that are blank at the end left out.

    Only line feeds end one. Other blank lines stay, since files that belong together are matched
    by line number. Raises StudyError as `read_text`, or when all are blank.
    """
    found = [line.strip() for line in read_text(file).rstrip().split("\n")]
    if not any(found):
        raise StudyError(f"{file}: is empty; unpack the dataset again")
    return found


def numbered_lines(file: Path) -> Iterator[tuple[int, str]]:
    """Yield number, from 1, and text of each line that is not blank; only line feeds end one."""
    for number, line in enumerate(read_text(file).split("\n"), 1):
        if line.strip():
            yield number, line.strip()
