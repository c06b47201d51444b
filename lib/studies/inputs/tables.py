"""Tables and lists: read with the place of every row, and refused with it."""

import csv
import io
import posixpath
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from studies.inputs.reading import PARTS, read_text
from studies.paths import StudyError
from studies.runs.params import suggestion

PART_NAMES = {**{part: part for part in PARTS}, "val": "validation", "valid": "validation"}
PART_NAMES |= {"training": "train", "testing": "test"}  # and all of them in any case
JOINERS = "\u200c\u200d"  # unseen, but Persian, Hindi and emoji are spelt with them


def read_table(
    file: Path,
    columns: Sequence[str] = (),
    delimiter: str = ",",
    header: Sequence[str] = (),
    remedy: str = "unpack the dataset again or use the published file",
) -> pd.DataFrame:
    """Return the cells of a CSV file as stripped text, the index `<file> line <number>`.

    Of all columns, or of some; a file without names of columns is given a `header`. Raises
    StudyError for what is no such table, with the `remedy` where it or a column is missing.
    """
    csv.field_size_limit(2**31 - 1)  # an open quote makes one cell of the rest, and wrong counts
    # whatever ends a line, also in quotes
    reader = csv.reader(io.StringIO(read_text(file, remedy), newline=None), delimiter=delimiter)
    rows = {f"{file} line {reader.line_num}": [cell.strip() for cell in row] for row in reader}
    rows = {where: cells for where, cells in rows.items() if any(cells)}
    header = header or rows.pop(next(iter(rows), ""), ())
    for where, cells in rows.items():
        if len(cells) != len(header):
            raise StudyError(
                f"{where}: has {len(cells)} cells for {len(header)} columns; give one cell a "
                "column, with quotes around a comma"
            )
    if not rows or len(set(header)) < len(header):
        raise StudyError(f"{file}: needs rows below a line of different column names; mend it")
    for column in columns:
        if column not in header:
            raise StudyError(f"{file}: has no column `{column}`; {remedy}")
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=list(header), dtype="str")
    return frame[list(columns or header)]


def read_lines(file: Path, pattern: str, form: str, header: str = "") -> pd.DataFrame:
    """Return what the named groups of a pattern find in each line that is not blank.

    The index is that of `read_table`. The first line is left out where its first word is that of a
    header. Raises StudyError, which says the form, for a line of another, or when there is none.
    """
    rows = enumerate(read_text(file).split("\n"), 1)  # only line feeds end one
    found = {f"{file} line {number}": row.strip() for number, row in rows if row.strip()}
    first = next(iter(found), "")
    if header and found and found[first].split()[0] == header:
        del found[first]
    frame = pd.Series(found, dtype="str").str.extract(f"^(?:{pattern})$")
    for where in [file] if frame.empty else frame.index[frame.isna().any(axis=1)]:
        line = found.get(where, "")[:60]
        raise StudyError(f"{where}: expected {form}, found `{line}`; use the published file")
    return frame


def refuse_columns(
    file: Path, rows: pd.DataFrame, needed: Sequence[str], others: Sequence[str] = ()
) -> None:
    """Raise StudyError when a column is unknown, or one of those needed is not there."""
    known = [*needed, *others]
    for column in rows:
        if column not in known:
            raise StudyError(f"{file}: unknown column `{column}`{suggestion(column, known)}")
    for column in needed:
        if column not in rows:
            raise StudyError(f"{file}: has no column `{column}`; its columns: {', '.join(known)}")


def refuse(rows: pd.DataFrame, wrong: pd.Series, sentence: str) -> None:
    """Raise StudyError for the first wrong row; the sentence may name its cells, `{file}`."""
    if wrong.any():
        row = rows[wrong].iloc[0]
        cells = {name: " ".join(str(cell).split())[:200] for name, cell in row.items()}
        raise StudyError(f"{row.name}: {sentence.format(**cells)}")


def refuse_others(rows: pd.DataFrame, one: str, other: str, sentence: str) -> None:
    """Raise StudyError when rows with the same `one` do not have the same `other`.

    The sentence may name cells of the first row with that `one`, `{first_file}`.
    """
    first = rows.groupby(rows[one].to_numpy()).transform("first").add_prefix("first_")
    refuse(rows.join(first), rows[other] != first[f"first_{other}"], sentence)


def spelt(name: str) -> str:
    """Return a name in Unicode's NFC, without invisible characters, and without space around it."""
    signs = unicodedata.normalize("NFC", name)
    seen = (sign for sign in signs if sign in JOINERS or unicodedata.category(sign) != "Cf")
    return "".join(seen).strip(JOINERS).strip()


def refuse_alike(rows: pd.DataFrame, column: str) -> None:
    """Raise StudyError for a name, `spelt`, that differs from another only by case or joiners."""
    keys = rows[column].str.casefold().str.replace(f"[{JOINERS}]", "", regex=True)
    sentence = f"`{{{column}}}` and `{{first_{column}}}` differ only by case; give both one name"
    refuse_others(rows.assign(key=keys), "key", column, sentence)


# Tables of a user's own: a line an item, and images beside.


def own_table(
    file: Path,
    needed: Sequence[str],
    others: Sequence[str] = (),
    *,
    blank: Sequence[str] = (),
    once: str = "",
    names: Sequence[str] = (),
    image: str = "image",
) -> pd.DataFrame:
    """Read a table of a user's own, with the columns `needed` and those of `others` that are there.

    Cells are empty in `blank` columns only, and of the column `once` each is another. `names` are
    `spelt`. The column `image` holds paths relative to the folder of the file. `split`, which any
    table may have, becomes `part`. Raises StudyError, with the line, for what is otherwise, an
    image that is not there, names that differ only by case, and a split that is no part.
    """
    rows = read_table(file, remedy="put it there or correct its name")
    refuse_columns(file, rows, needed, [*others, "split"])
    for column in rows.columns.intersection(names):
        rows[column] = rows[column].map(spelt)
        refuse_alike(rows, column)
    for column in rows.columns.difference(blank, sort=False):
        refuse(rows, rows[column] == "", f"has no {column}; fill the cell or remove the line")
    if image in rows:
        paths = rows[image].map(posixpath.normpath)
        refuse(
            rows,
            paths.str.match(r"/|\.\.?(/|$)"),
            f"`{{{image}}}` is no path below the table's folder; put the image there and write its "
            "path relative to that folder",
        )
        rows[image] = paths
        missing = ~paths.map(lambda path: (file.parent / path).is_file())
        refuse(rows, missing, f"there is no image `{{{image}}}`; put it there or correct the list")
    if once:
        refuse(rows, rows[once].duplicated(), f"`{{{once}}}` is listed twice; keep one line")
    if "split" in rows:
        rows["part"] = rows["split"].str.casefold().map(PART_NAMES)
        refuse(rows, rows["part"].isna(), "split should be train, val or test, not `{split}`")
    return rows


def token_captions(file: Path) -> pd.DataFrame:
    """Return the lines of a token file of Flickr8k: `image`, `number` and `caption`, all text.

    Raises StudyError for a line that is no `<image>#<number>`, tab, caption, or is there twice.
    """
    pattern = r"(?P<image>[^#\t]*)#(?P<number>\d+)\t\s*(?P<caption>.+)"
    return numbered(read_lines(file, pattern, "`<image>#<number>`, a tab and a caption"))


def numbered(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows; raise StudyError when a caption is there twice by its image and number."""
    twice = rows.duplicated(["image", "number"])
    refuse(rows, twice, "`{image}#{number}` is there twice; keep one line")
    return rows
