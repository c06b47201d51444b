"""Bring the class texts of ImageNet: `python -m studies.relevance.collect --contact <mail>`.

One page of Wikipedia a class, one a second: its summary, and its section Description. An
interrupted collection goes on where it was, and with another table of overrides only the pages that
are new are asked for.
"""

import argparse
import difflib
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from studies import paths
from studies.inputs.download import require
from studies.inputs.tables import read_lines, read_table, refuse
from studies.paths import StudyError, one_sentence, relative
from studies.relevance.params import FILE, SOURCES, TEXTS
from studies.relevance.sentences import split
from studies.relevance.wikipedia import API, SAID, Page, Wikipedia
from studies.runs.files import unwritable, write_atomic

FEWEST = 2  # sentences of a class text, as in the paper
REPORT = "class_report.csv"
CORRESPONDENCES = Path("imagenet_wiki", "class_article_correspondences_trainval.csv")
WNID = re.compile(r"n\d{8}")
NONE = "-"  # in place of a page: there is none
HEADING = re.compile(r"(=+)[^=](?:.*[^=])?(=+)")
REASONS = SAID["reasons"]

Titles = dict[str, str | None]  # of a page by wnid, None where a class has no page


def collect(wiki: Wikipedia, own: Sequence[Path] = ()) -> tuple[int, int, int]:
    """Write the class texts, their sources and what a person should decide beside the captions.

    `own` are tables of overrides, which count more than the published correspondences, later ones
    more than earlier ones. Returns how many classes there are, how many of them have a text, and
    how many need a decision. Raises StudyError when the captions or the correspondences are not
    there, when a table is not as it should be, when their folder cannot be written, when no class
    has a text, and as `Wikipedia.pages`; what was there before then stays as it was.
    """
    classes = imagenet()
    folder = require("imagenet_captions", paths.data() / FILE).parent
    try:  # before an hour of questions
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise unwritable(folder / TEXTS, error) from error
    published = correspondences(paths.data() / CORRESPONDENCES)
    titles: Titles = {wnid: page for wnid, page in published.items() if page != NONE}
    for file in own:
        titles |= overrides(file.resolve(), classes)
    titles = {wnid: titles.get(wnid, name) for wnid, name in classes.items()}
    asked = {wnid: title for wnid, title in titles.items() if title is not None}
    found = wiki.pages(asked.values())
    pages = {wnid: found[title] for wnid, title in asked.items()}
    frame = class_texts(classes, pages)
    described, undecided = frame["text"] != "", frame["problem"] != ""
    if not described.any():
        raise StudyError(
            f"no page at {wiki.api} is one of a class with {FEWEST} sentences; check the address"
        )
    for name, rows, columns in (
        (REPORT, undecided, ["class", "page", "problem", "reason"]),
        (SOURCES, described, ["class", "title", "url", "revision", "date"]),
        (TEXTS, described, ["class", "text"]),  # last: with it the collection is complete
    ):
        table = frame.loc[rows, columns].to_csv(index_label="wnid", lineterminator="\n")
        write_atomic(folder / name, table)
    return len(classes), int(described.sum()), int(undecided.sum())


def imagenet() -> dict[str, str]:
    """Return the names of ImageNet's classes by wnid, in its order, which is that of wnids.

    The wnids are those of the published correspondences; the names are torchvision's, which tell
    apart what ImageNet calls `crane` twice. No two are equal, but `Cardigan` is a dog and
    `cardigan` a jacket. Raises StudyError when the correspondences are not there or not whole.
    """
    # imported late: torchvision takes seconds
    from torchvision.models import ResNet50_Weights

    names = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]
    file = require("imagenet_wiki", paths.data() / CORRESPONDENCES)
    wnids = sorted(correspondences(file))
    if len(wnids) != len(names):
        raise StudyError(
            f"{file}: has {len(wnids):,} classes, and ImageNet has {len(names):,}; bring the file "
            "as it was published"
        )
    return dict(zip(wnids, names, strict=True))


def correspondences(file: Path) -> dict[str, str]:
    """Return the first article of each class in the correspondences of Bujwid and Sullivan (2021).

    A line is `<wnid>, <article>`, with further articles after further commas, or `-` for none.
    """
    form = "a wnid, a comma and an article, or - for none"
    pattern = rf"(?P<wnid>{WNID.pattern})\s*,\s*(?P<page>[^,\s][^,]*?)\s*(?:,.*)?"
    pages = read_lines(file, pattern, form)
    return dict(zip(pages["wnid"], pages["page"], strict=True))


def overrides(file: Path, classes: Mapping[str, str]) -> Titles:
    """Return the pages that a table of a user names: CSV with the columns `class` and `page`.

    A class is a wnid or a name, in small or capital letters; a line of the wnid counts more than
    one of the name. A page `-` leaves the class without a text. Raises StudyError when the file is
    no such table, when no class or several have a name, and when a class is there twice.
    """
    remedy = "put a table there that begins with `class,page`"
    rows = read_table(file, ("class", "page"), remedy=remedy)
    problem = "should be a wnid or class name, a comma and the title of a page; give both"
    refuse(rows, rows.eq("").any(axis=1), problem)
    wnids = defaultdict(list)
    for wnid, name in classes.items():
        wnids[name.casefold()].append(wnid)
    by_name: Titles = {}
    by_wnid: Titles = {}
    for where, *cells in rows.itertuples():
        name, page = (" ".join(cell.split()) for cell in cells)
        titles, owners = by_wnid, [name]
        if not WNID.fullmatch(name):
            titles, owners = by_name, wnids.get(name.casefold(), [])
        if len(owners) != 1:
            near = difflib.get_close_matches(name.casefold(), wnids, n=1)
            hint = f"did you mean {' or '.join(owners or near or ['a wnid'])}?"
            raise StudyError(f"{where}: {len(owners)} classes have the name {name}; {hint}")
        if owners[0] in titles:
            raise StudyError(f"{where}: {name} was there before; keep one line")
        titles[owners[0]] = None if page == NONE else page
    return by_name | by_wnid


def class_texts(classes: Mapping[str, str], pages: Mapping[str, Page]) -> pd.DataFrame:
    """Return by wnid what the page of each class says, and what a person should decide.

    `classes` are names, and `pages` the pages of those that should have one, by wnid. The columns
    are `class`, `page`, what `Page` holds, `text`, `problem` and `reason`. A text of fewer than
    `FEWEST` distinct sentences is left out, which is a problem as a missing page is; and so is a
    text that may be of something else, since the page is that of other classes too or the title
    leads to a section of it.
    """
    texts = {wnid: class_text(page.extract) for wnid, page in pages.items()}
    long = {wnid: text for wnid, text in texts.items() if len(set(split(text))) >= FEWEST}
    owners = defaultdict(list)
    for wnid in long:
        owners[pages[wnid].title].append(wnid)
    rows = {}
    for wnid, page in pages.items():
        others = [other for other in owners[page.title] if other != wnid]
        suspect = "section" if page.section else "shared" if others else ""
        too_short = "short" if texts[wnid] else "no text"
        problem = page.problem or (suspect if wnid in long else too_short)
        told = {**page.model_dump(), "wnid": wnid, "others": ", ".join(others), "fewest": FEWEST}
        keep = REASONS["stand"] if wnid in long else ""
        reason = f"{REASONS[problem]}: {keep}{REASONS['else']}".format(**told) if problem else ""
        names = {"class": classes[wnid], "page": page.asked, "text": long.get(wnid, "")}
        rows[wnid] = told | names | {"problem": problem, "reason": reason}
    columns = [*Page.model_fields, "class", "page", "text", "reason"]
    return pd.DataFrame(list(rows.values()), list(rows), columns, dtype=object)


def class_text(extract: str) -> str:
    """Return the lead of a page and its section Description, one paragraph a line.

    The section is any of level 2 with that title, and all subsections of it. Headings are left
    out: they are no sentences. White space is single, all else as on the page.
    """
    paragraphs = []
    kept, described = True, False
    for paragraph in extract.split("\n"):
        line = " ".join(paragraph.split())
        if heading := HEADING.fullmatch(line):
            level = min(len(heading[1]), len(heading[2]))
            title = line[level : len(line) - level].strip()
            if level <= 2:
                described = level == 2 and title.casefold() == "description"
            kept = described
        elif kept and line:
            paragraphs.append(line)
    return "\n".join(paragraphs)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.relevance.collect", description=__doc__.partition(":")[0]
    )
    parser.add_argument(
        "--contact", required=True, help="your mail address or web page, which Wikipedia wants"
    )
    parser.add_argument(
        "--overrides",
        nargs="+",
        action="extend",
        default=[],
        type=Path,
        metavar="FILE",
        help="CSV with the columns class,page: which page describes a class; - for none",
    )
    parser.add_argument("--api", default=API, metavar="URL", help="of a MediaWiki (%(default)s)")
    parser.add_argument("--rate", default=1.0, type=float, help="requests a second (%(default)s)")
    options = parser.parse_args(arguments)
    with one_sentence():
        wiki = Wikipedia(options.contact, options.api, options.rate)
        classes, texts, undecided = collect(wiki, options.overrides)
    print(f"{texts:,} of {classes:,} classes have a text, {undecided:,} need a decision:")
    for name in (TEXTS, SOURCES, REPORT):
        print(relative(paths.data() / FILE.with_name(name)))


if __name__ == "__main__":
    main()
