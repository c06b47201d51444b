"""Labels in a CSV file, one line an image: `file,label1,label2,label3,split`.

| column | holds |
| --- | --- |
| `file` | path of the image, relative to the folder of the CSV file |
| `label1`, `label2`, … | its labels, as many columns as there are levels or groups |
| `split` | may be left out; the published split: `train`, `val` (`valid`, `validation`), `test` |

In a tree `label1` is the top level; cells left empty at the end of a line repeat the lowest label.
Groups are independent of each other, such as colour and shape, and `label1` is the one whose errors
count as severe; an empty cell means that the image has no label of that group, and becomes `other`.
"""

import csv
import io
import posixpath
from pathlib import Path

import numpy as np

from studies.inputs.reading import read_text
from studies.paths import StudyError
from studies.triplets.labels import LabelledImages
from studies.triplets.listing import PART_NAMES, inner, padded, refuse_same_content

OTHER = "other"


def from_table(table: Path, groups: bool) -> LabelledImages:
    """Read a CSV file of images with the levels of a label tree, or with groups of labels.

    Raises StudyError, which names the line, for a wrong column or cell, a missing image, and an
    image that is listed twice or has no class.
    """
    header, rows = read_rows(table)
    levels = label_columns(table, header)
    line_of: dict[str, int] = {}
    trees, parts = [], []
    for line, cells in rows:
        where = f"{table} line {line}"
        file = image_file(where, cells["file"], table.parent)
        if file in line_of:
            raise StudyError(f"{where}: `{file}` is in line {line_of[file]} already; keep one line")
        line_of[file] = line
        labels = tuple(cells[level] for level in levels)
        trees.append(grouped(where, labels) if groups else branch(where, labels))
        parts.append(part(where, cells["split"]) if "split" in header else "")
    if not groups:
        refuse_upper_labels(table, trees, list(line_of.values()))
        trees = padded(trees)
    refuse_same_content(table.parent, list(line_of), trees)
    official = np.array(parts) if "split" in header else None
    return LabelledImages(table.parent, list(line_of), trees, official, nested=not groups)


def read_rows(table: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Return the columns and, for each row, its line number and its cells by column, stripped."""
    text = read_text(table, "correct `source.file`")
    reader = csv.reader(io.StringIO(text, newline=None))  # whatever ends a line, also in quotes
    rows: list[tuple[int, dict[str, str]]] = []
    header: list[str] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not header:
                header = cells
            elif cells and len(cells) != len(header):
                raise StudyError(
                    f"{table} line {reader.line_num}: has {len(cells)} cells, the first line "
                    f"{len(header)}; give one cell a column, with quotes around a comma"
                )
            elif cells:
                rows.append((reader.line_num, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise StudyError(
            f"{table} line {reader.line_num}: not CSV ({error}); mend that line"
        ) from None
    if not rows:
        raise StudyError(f"{table}: lists no image; write a line of column names, then the images")
    return header, rows


def label_columns(table: Path, header: list[str]) -> list[str]:
    """Return `label1`, `label2`, … of the header; raises StudyError unless it is as said above."""
    levels = [f"label{k}" for k in range(1, sum(name.startswith("label") for name in header) + 1)]
    known = ["file", *(levels or ["label1"]), "split"]
    for name in header:
        if name not in known:
            raise StudyError(
                f"{table}: has an unknown column `{name}`; columns are file, label1, label2, … "
                "without a gap, and split"
            )
        if header.count(name) > 1:
            raise StudyError(f"{table}: has two columns `{name}`; remove or rename one")
    for name in known[:-1]:
        if name not in header:
            raise StudyError(f"{table}: has no column `{name}`; add it, with commas in between")
    return levels


def image_file(where: str, file: str, folder: Path) -> str:
    """Return the path of an image below the table's folder, in its shortest spelling."""
    path = posixpath.normpath(file) if file else ""
    if not path or path.split("/")[0] == ".." or posixpath.isabs(path):
        raise StudyError(
            f"{where}: `{file}` is no path below {folder}; put the image there and write its path "
            "relative to that folder"
        )
    if not (folder / path).is_file():
        raise StudyError(f"{where}: there is no image {folder / path}; put it there or correct it")
    return path


def branch(where: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return a path in the label tree, without the empty cells at its end."""
    path = labels[: next((k for k, label in enumerate(labels) if not label), len(labels))]
    if not path or any(labels[len(path) :]):
        raise StudyError(
            f"{where}: label{len(path) + 1} is empty; only the lowest labels may be left out"
        )
    return plain(where, path)


def grouped(where: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return one label a group, `other` where there is none."""
    if not any(labels):
        raise StudyError(f"{where}: has no label; give one or remove the line")
    return plain(where, tuple(label or OTHER for label in labels))


def plain(where: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels; raises StudyError when one holds a slash, which joins labels to a path."""
    for label in labels:
        if "/" in label:
            raise StudyError(
                f"{where}: the label `{label}` holds a `/`; write a label without, one a column"
            )
    return labels


def part(where: str, name: str) -> str:
    """Return `train`, `validation` or `test`."""
    if name not in PART_NAMES:
        raise StudyError(f"{where}: split should be train, val or test, not `{name}`")
    return PART_NAMES[name]


def refuse_upper_labels(table: Path, trees: list[tuple[str, ...]], lines: list[int]) -> None:
    """Raise StudyError when an image has only the upper labels of a class of others."""
    above = inner(trees)
    for tree, line in zip(trees, lines, strict=True):
        if tree in above:
            raise StudyError(
                f"{table} line {line}: {'/'.join(tree)} has lower labels in other lines; give the "
                "lower label here too"
            )
