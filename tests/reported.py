"""How tests look at the files of a report, and tidy frames that they make up."""

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd

from studies.reporting.tables import DTYPES


def tidy(rows) -> pd.DataFrame:
    """The tidy frame of rows that leave out the numbers that they do not have, or the variant."""
    frame = pd.DataFrame(rows).reindex(columns=list(DTYPES))
    frame["variant"] = frame["variant"].astype(object).fillna("")
    return frame.astype(DTYPES)


class Page(HTMLParser):
    """A page with its tags, the addresses that it names, its text and its source."""

    def __init__(self, file: Path):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.file = file
        self.source = file.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def markdown_tables_are_whole(text: str) -> None:
    lines = text.splitlines()
    assert sum(line.startswith("|") for line in lines) >= 4
    for before, after in pairwise(lines):
        if before.startswith("|") and after.startswith("|"):
            cells = [len(re.findall(r"(?<!\\)\|", line)) for line in (before, after)]
            assert cells[0] == cells[1]
    assert "<script" not in text


def latex_is_whole(text: str) -> None:
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    assert text.count("{") == text.count("}")
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert not re.search(r"(?<!\\)[_%#$]", body.replace(r"$\pm$", ""))
