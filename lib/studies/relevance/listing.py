"""A long JSON list, record by record."""

import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO

from studies.paths import StudyError

CHUNK = 1 << 20  # characters read at once
LONGEST = 1 << 24  # characters of a record
AGAIN = "fetch it again"


def records(file: Path) -> Iterator[tuple[str, dict]]:
    """Yield the objects of a JSON list, each with its place for messages: file and number, from 1.

    The file is never in memory as a whole. Raises StudyError when it is missing, no UTF-8, no list
    of objects, empty, or ends too early, after the records before that place.
    """
    try:
        with file.open(encoding="utf-8-sig") as stream:
            yield from _parsed(file, _Window(stream))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise StudyError(
            f"{file}: no such file; put the published file there or point STUDIES_DATA at the "
            "folder that holds it"
        ) from None
    except UnicodeDecodeError:
        raise StudyError(f"{file}: not UTF-8 text; {AGAIN}") from None


def _parsed(file: Path, window: "_Window") -> Iterator[tuple[str, dict]]:
    if window.mark() != "[":
        raise StudyError(f"{file}: is no JSON list; {AGAIN}")
    window.skip()
    if window.mark() == "]":
        raise StudyError(f"{file}: lists no record; {AGAIN}")
    for number in count(1):
        where = f"{file} record {number}"
        if window.mark() != "{":
            problem = "expected `{`" if window.mark() else "the file ends early"
            raise StudyError(f"{where}: {problem}; {AGAIN}")
        yield where, window.value(where)
        if window.mark() == "]":
            break
        if window.mark() != ",":
            problem = "expected `,` or `]` after it" if window.mark() else "the file ends after it"
            raise StudyError(f"{where}: {problem}; {AGAIN}")
        window.skip()
    window.skip()
    if window.mark():
        raise StudyError(f"{file}: goes on after the end of its list; {AGAIN}")


class _Window:
    """The part of a text that is being read."""

    def __init__(self, stream: IO[str]) -> None:
        self.stream, self.text, self.place = stream, "", 0
        self.decoder = json.JSONDecoder()

    def mark(self) -> str:
        """Return the next character that is no white space, empty at the end."""
        while True:
            while self.place < len(self.text):
                if self.text[self.place] not in " \t\r\n":
                    return self.text[self.place]
                self.place += 1
            if not self._more():
                return ""

    def skip(self) -> None:
        """Go on by one character."""
        self.place += 1

    def value(self, where: str) -> dict:
        """Return the object that begins here, and go on behind it."""
        while True:
            try:
                value, self.place = self.decoder.raw_decode(self.text, self.place)
                return value
            except RecursionError:
                raise StudyError(f"{where}: is nested too deeply; {AGAIN}") from None
            except ValueError as error:  # damaged, or not read to its end
                if len(self.text) - self.place > LONGEST or not self._more():
                    problem = getattr(error, "msg", error)
                    raise StudyError(f"{where}: is damaged ({problem}); {AGAIN}") from None

    def _more(self) -> bool:
        """Read on, as much again as is left, so that a long record is not copied many times."""
        left = self.text[self.place :]
        read = self.stream.read(max(CHUNK, len(left)))
        self.text, self.place = left + read, 0
        return bool(read)
