"""Bring the class texts of ImageNet: `python -m studies.relevance.collect --contact <mail>`.

One page of Wikipedia a class, one a second. An interrupted collection goes on where it was, and
with another table of overrides only the pages that are new are asked for.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from studies import paths
from studies.inputs.download import require
from studies.paths import StudyError
from studies.relevance import class_texts, overrides
from studies.relevance.classes import imagenet
from studies.relevance.params import FILE, SOURCES, TEXTS
from studies.relevance.wikipedia import API, Wikipedia
from studies.runs.files import write_atomic
from studies.runs.params import relative

FEWEST = 2  # sentences of a class text, as in the paper
REPORT = "class_report.csv"


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
    refuse_read_only(folder)
    tables = [str(Path(file).resolve()) for file in own]
    pages = overrides.load([overrides.PUBLISHED, *tables], classes)
    texts, report = class_texts.collect(classes, pages, wiki, FEWEST)
    if not texts:
        raise StudyError(
            f"no page at {wiki.api} is one of a class with {FEWEST} sentences; check the address"
        )
    named = {wnid: classes[wnid] for wnid in texts}
    table = pd.DataFrame({"wnid": texts.keys(), "class": named.values(), "text": texts.values()})
    write(folder / REPORT, report)
    write(folder / SOURCES, class_texts.sources(named, pages, wiki))
    write(folder / TEXTS, table)  # last: with it the collection is complete
    return len(classes), len(texts), len(report)


def write(file: Path, table: pd.DataFrame) -> None:
    """Write a table whole or not at all."""
    write_atomic(file, table.to_csv(index=False, lineterminator="\n"))


def refuse_read_only(folder: Path) -> None:
    """Raise StudyError when nothing can be written in a folder."""
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise StudyError(
            f"cannot write in {folder}: {error.strerror or error}; make the folder writable, or "
            "name a data folder of your own in STUDIES_DATA"
        ) from error


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
    try:
        wiki = Wikipedia(options.contact, options.api, options.rate)
        classes, texts, undecided = collect(wiki, options.overrides)
    except StudyError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
    print(f"{texts:,} of {classes:,} classes have a text, {undecided:,} need a decision:")
    for name in (TEXTS, SOURCES, REPORT):
        print(relative(paths.data() / FILE.parent / name))


if __name__ == "__main__":
    main()
