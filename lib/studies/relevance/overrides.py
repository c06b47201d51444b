"""Which page describes a class, where the class name leads to another one or to none."""

import csv
import difflib
import io
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from studies import paths
from studies.inputs.reading import read_text
from studies.paths import StudyError

PUBLISHED = "published"
CORRESPONDENCES = Path("imagenet_wiki", "class_article_correspondences_trainval.csv")
NONE = "-"
REMEDY = "put the table of pages there or correct its name"
WNID = re.compile(r"n\d{8}")

Pages = dict[str, str | None]  # None where a class has no page


def load(sources: Iterable[str], classes: Mapping[str, str]) -> Pages:
    """Return the pages of classes by wnid; of two sources that name a class the later counts.

    Args:
        sources: `published` for the correspondences of Bujwid and Sullivan (2021), or the path of
            a CSV file, as in `table`; both below STUDIES_DATA.
        classes: class names by wnid.

    Raises:
        StudyError: a file is not there or not as it should be, or a table has a class name that no
            class has or that several have.
    """
    pages: Pages = {}
    for source in sources:
        if source == PUBLISHED:
            given: Pages = dict(published(paths.data() / CORRESPONDENCES))
        else:
            given = by_wnid(table(paths.data() / source), classes, paths.data() / source)
        pages |= given
    return {wnid: page for wnid, page in pages.items() if wnid in classes}


def published(file: Path) -> dict[str, str]:
    """Return the first article of each class that has one in the published correspondences."""
    return {wnid: page for wnid, page in correspondences(file).items() if page != NONE}


def correspondences(file: Path) -> dict[str, str]:
    """Return the first article of each class in the published correspondences, `-` for none.

    A line is `<wnid>, <article>`, with further articles after further commas, or `-` for none.
    """
    pages = {}
    for number, line in enumerate(read_text(file, REMEDY).split("\n"), 1):
        wnid, *articles = (cell.strip() for cell in line.split(","))
        if not line.strip():
            continue
        if not WNID.fullmatch(wnid) or not articles or not articles[0]:
            raise StudyError(
                f"{file} line {number}: should be a wnid, a comma and an article, or - for none; "
                "bring the file as it was published"
            )
        pages[wnid] = articles[0]
    return pages


def table(file: Path) -> Pages:
    """Return what a CSV file with the columns `class` and `page` says, by wnid or class name.

    A page `-` leaves the class without a text.
    """
    reader = csv.reader(io.StringIO(read_text(file, REMEDY), newline=""), strict=True)
    pages: Pages = {}
    try:
        rows = [(reader.line_num, [" ".join(cell.split()) for cell in row]) for row in reader]
    except csv.Error as error:
        raise StudyError(f"{file} line {reader.line_num}: not CSV ({error}); mend it") from None
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows or rows[0][1] != ["class", "page"]:
        raise StudyError(f"{file}: its first line should be `class,page`; write that line first")
    for line, cells in rows[1:]:
        if len(cells) != 2 or not all(cells):
            raise StudyError(
                f"{file} line {line}: should be a wnid or class name, a comma and the title of a "
                "page; put quotes around a name or title that has a comma"
            )
        name, page = cells
        if name in pages:
            raise StudyError(f"{file} line {line}: {name} was there before; keep one line")
        pages[name] = None if page == NONE else page
    return pages


def by_wnid(pages: Pages, classes: Mapping[str, str], file: Path) -> Pages:
    """Return the pages by wnid; a line of the wnid counts more than one of the class name."""
    folded = {wnid: " ".join(name.split()).casefold() for wnid, name in classes.items()}
    wnids = {name: wnid for wnid, name in folded.items()}
    shared = Counter(folded.values())
    found: Pages = {}
    for name, page in pages.items():
        key = name.casefold()
        if WNID.fullmatch(name):
            continue
        if key not in wnids:
            near = difflib.get_close_matches(key, wnids, n=1)
            hint = f"did you mean {near[0]}?" if near else "write a class name or a wnid"
            raise StudyError(f"{file}: no class has the name {name}; {hint}")
        if shared[key] > 1:
            owners = " and ".join(wnid for wnid, other in folded.items() if other == key)
            raise StudyError(f"{file}: {name} is the name of {owners}; write the wnid instead")
        if wnids[key] in found:
            raise StudyError(f"{file}: the class {name} is there twice; keep one line")
        found[wnids[key]] = page
    return found | {name: page for name, page in pages.items() if WNID.fullmatch(name)}
