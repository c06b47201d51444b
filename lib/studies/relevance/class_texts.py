"""The text that describes a class: summary and description on its page of Wikipedia."""

from collections import defaultdict
from collections.abc import Mapping

import pandas as pd

from studies.relevance.answers import Page
from studies.relevance.sentences import split
from studies.relevance.wikipedia import Wikipedia

DESCRIPTION = "description"
REPORT = ["wnid", "class", "page", "problem", "reason"]
SOURCES = ["wnid", "class", "title", "url", "revision", "date"]


def class_text(extract: str) -> str:
    """Return the lead of a page and its section Description, one paragraph a line.

    The section is any of level 2 with that title, and all subsections of it. Headings are left
    out: they are no sentences. White space is single, all else as on the page.
    """
    part, kept = "lead", []
    for line in extract.split("\n"):
        level, title = heading(line)
        if level:
            if level <= 2:
                described = level == 2 and title.casefold() == DESCRIPTION
                part = DESCRIPTION if described else ""
            elif part == "lead":
                part = ""
        elif part:
            kept.append(" ".join(line.split()))
    return "\n".join(filter(None, kept))


def heading(line: str) -> tuple[int, str]:
    """Return level and title of a line such as `== this ==`, level 0 for other lines."""
    line = " ".join(line.split())
    left, right = len(line) - len(line.lstrip("=")), len(line) - len(line.rstrip("="))
    level = min(left, right, 6)
    if not level or not line.strip("="):
        return 0, ""
    return level, line[level : len(line) - level].strip()


def collect(
    classes: Mapping[str, str],
    overrides: Mapping[str, str | None],
    wiki: Wikipedia,
    fewest: int = 1,
) -> tuple[dict[str, str], pd.DataFrame]:
    """Return the class texts by wnid, and a report of what a person should decide.

    Args:
        classes: class names by wnid.
        overrides: titles of pages by wnid, None to leave a class without a text; other classes
            have the page of their name. See `studies.relevance.overrides.load`.
        wiki: where the pages are.
        fewest: distinct sentences that a text has at least; a shorter one is left out.

    The report has a row for each class whose page is missing, a disambiguation, elsewhere or
    invalid, or without a text or with a short one; and for each that has a text which may be of
    something else, since the page is that of other classes too or the title leads to a section of
    it.

    Raises StudyError as `Wikipedia.pages`.
    """
    pages = pages_of(classes, overrides, wiki)
    found = {wnid: class_text(page.extract) for wnid, page in pages.items()}
    texts = {wnid: text for wnid, text in found.items() if distinct(text) >= fewest}
    owners = defaultdict(list)
    for wnid, page in pages.items():
        if wnid in texts:
            owners[page.title].append(wnid)
    rows = []
    for wnid, page in pages.items():
        others = [other for other in owners[page.title] if other != wnid]
        problem, reason = complaint(wnid, page, found[wnid], fewest, others)
        if problem:
            rows.append((wnid, classes[wnid], page.asked, problem, reason))
    report = pd.DataFrame(rows, columns=REPORT, dtype="str")
    return texts, report


def sources(
    classes: Mapping[str, str], overrides: Mapping[str, str | None], wiki: Wikipedia
) -> pd.DataFrame:
    """Return title, address, revision and date of the pages of class texts, for attribution."""
    rows = [
        (wnid, classes[wnid], page.title, page.url, page.revision, page.date)
        for wnid, page in pages_of(classes, overrides, wiki).items()
        if class_text(page.extract)
    ]
    frame = pd.DataFrame(rows, columns=SOURCES)
    return frame.astype({name: "Int64" if name == "revision" else "str" for name in SOURCES})


def pages_of(
    classes: Mapping[str, str], overrides: Mapping[str, str | None], wiki: Wikipedia
) -> dict[str, Page]:
    """Return the page of each class that should have one."""
    titles = {wnid: overrides.get(wnid, name) for wnid, name in classes.items()}
    pages = wiki.pages(title for title in titles.values() if title is not None)
    return {wnid: pages[title] for wnid, title in titles.items() if title is not None}


def distinct(text: str) -> int:
    """Return how many sentences a text has, each counted once."""
    return len(set(split(text)))


def complaint(wnid: str, page: Page, text: str, fewest: int, others: list[str]) -> tuple[str, str]:
    """Return what is wrong with the page of a class, as a word and as a sentence; empty if fine.

    `fewest` is how many sentences are needed; `others` are classes with the same text.
    """
    asked, title = repr(page.asked), repr(page.title)
    name = f"name another page in a table of overrides ({wnid},<title>), or - for no text"
    keep = f"let it stand if it describes the class, or {name}"
    if page.problem == "missing":
        return "missing", f"there was no page {asked} on {page.date}: {name}"
    if page.problem == "disambiguation":
        return page.problem, f"{asked} is a list of pages with that name: {name}"
    if page.problem == "invalid":
        return page.problem, f"{asked} cannot be the title of a page: {name}"
    if page.problem == "elsewhere":
        return page.problem, f"{asked} leads to another wiki: {name}"
    if not text:
        return "no text", f"the page {title} had no summary on {page.date}: {name}"
    if distinct(text) < fewest:
        said = f"the text of {title} has fewer than the {fewest} sentences that are needed"
        return "short", f"{said}: {name}"
    if page.section:
        said = f"{asked} leads to the section {page.section!r} of {title}, whose summary"
        return "section", f"{said} may be of something wider: {keep}"
    if others:
        return "shared", f"{title} is also the page of {', '.join(others)}: {keep}"
    return "", ""
