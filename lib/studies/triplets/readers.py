"""From files on disk to labelled images: published layouts, image folders, and own tables."""

import csv
import io
import posixpath
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from studies.inputs.reading import numbered_lines, read_text
from studies.paths import StudyError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
PART_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
OTHER = "other"

Tree = tuple[str, ...]


@dataclass(frozen=True)
class LabelledImages:
    """N images below `root` with labels at H levels: a path in a label tree, or H groups of labels.

    In a tree a class is its full path, `Fruit/Apple/Golden-Delicious`. Classes of unequal depth are
    padded by repeating the lowest label, so every image has a label at each of the H levels. Groups
    are independent of each other, such as colour and shape: level i then means group i, and a class
    is a combination of labels, `red/round`.

    `files` are paths relative to `root`; `trees` the labels, one tuple of H an image, from the top
    level down or group by group; `official` the published part of each image (`train`,
    `validation` or `test`), if any; `nested` is whether the levels are those of a tree.
    """

    root: Path
    files: list[str]
    trees: list[Tree]
    official: np.ndarray | None
    nested: bool = True

    @property
    def paths(self) -> list[Path]:
        """Return the image files."""
        return [self.root / file for file in self.files]

    @cached_property
    def _levels(self) -> list[tuple[list[str], np.ndarray]]:
        depths = range(1, len(self.trees[0]) + 1)
        start = 0 if self.nested else -1
        return [coded(["/".join(tree[:depth][start:]) for tree in self.trees]) for depth in depths]

    @property
    def names(self) -> list[list[str]]:
        """Return for each level its label names, sorted.

        In a tree they are label paths: `["Fruit", ...], ["Fruit/Apple", ...]`; of groups the plain
        labels: `["green", "red"], ["long", "round"]`.
        """
        return [names for names, _ in self._levels]

    @cached_property
    def labels(self) -> np.ndarray:
        """Return (N, H) int64: at each level the index of the image's label in `names`."""
        return np.stack([index for _, index in self._levels], axis=1)

    @cached_property
    def _classes(self) -> tuple[list[str], np.ndarray]:
        return coded(["/".join(tree) for tree in self.trees])

    @property
    def class_names(self) -> list[str]:
        """Return the name of each class, all its labels joined by `/`, sorted."""
        return self._classes[0]

    @property
    def class_index(self) -> np.ndarray:
        """Return (N,) int64: the index of each image's class in `class_names`.

        In a tree it is the label of the lowest level; of groups it is that of their combination.
        """
        return self._classes[1]

    @cached_property
    def classes(self) -> np.ndarray:
        """Return (C, H) int64: the labels of each class, by class index."""
        _, first = np.unique(self.class_index, return_index=True)
        return self.labels[first]

    def in_words(self, classes: np.ndarray, start: str = "") -> dict[str, list[str]]:
        """Return the name of each of some classes (N,), and its label at each level, as columns.

        They are called `class`, `level1` to `levelH`, with `start` before.
        """
        columns = {f"{start}class": [self.class_names[label] for label in classes]}
        for level, names in enumerate(self.names):
            labels = self.classes[classes, level]
            columns[f"{start}level{level + 1}"] = [names[label] for label in labels]
        return columns

    @property
    def counts(self) -> dict[int, int]:
        """Return the images of each class in the whole dataset."""
        return dict(Counter(self.class_index.tolist()))


def coded(labels: list[str]) -> tuple[list[str], np.ndarray]:
    """Return the different labels, sorted, and (N,) int64, the index of each label among them."""
    names, index = np.unique(labels, return_inverse=True)
    return names.tolist(), index


# Published layouts. The index of a frame says where a row stands, in a file or on disk.


def grocery(folder: Path) -> LabelledImages:
    """Read GroceryStoreDataset: `dataset/{train,val,test}.txt` with `path, fine id, coarse id`.

    M. Klasson, C. Zhang, H. Kjellström, WACV 2019. The category is the folder below the split's.
    Raises StudyError when a list or `classes.csv` is missing or wrong, or when an image has no
    class or two.
    """
    root, ids = folder / "dataset", ["fine", "coarse"]
    columns = ["Class ID (int)", "Coarse Class ID (int)", "Coarse Class Name (str)"]
    classes = published_table(root / "classes.csv", [*columns, "Class Name (str)"])
    classes.columns = [*ids, "level2", "level3"]
    slash = (classes["level2"] + classes["level3"]).str.contains("/")
    refuse(
        classes,
        (classes == "").any(axis=1) | slash | classes["fine"].duplicated(),
        "expected an id of its own and names without `/`; use the published file",
    )
    lines = [
        (f"{root / name}.txt line {number}", line, PART_NAMES[name])
        for name in ("train", "val", "test")
        for number, line in numbered_lines(root / f"{name}.txt")
    ]
    if not lines:
        raise StudyError(f"{root}: its lists name no image; unpack the dataset again")
    images = pd.DataFrame(lines, columns=["place", "line", "part"]).set_index("place")
    fields = images["line"].str.split(r"\s*,\s*", expand=True, regex=True).reindex(columns=range(4))
    images[["file", *ids]] = fields[[0, 1, 2]]
    images = images.join(classes.set_index(ids), on=ids)
    images["level1"] = images["file"].str.split("/").str[1]
    refuse(
        images,
        images["level3"].isna() | fields[3].notna() | (images["file"].str.count("/") < 2),
        "expected `path, fine id, coarse id` with ids of one row of classes.csv, found `{line}`; "
        "correct it",
    )
    refuse_others(
        images,
        *("fine", "level1"),
        "`{file}` lies in {level1}, others of its class in {first}; move it or correct its ids",
    )
    refuse(images, images["file"].duplicated(), "`{file}` is listed twice; keep one line")
    on_disk = pd.concat([image_files(root, name) for name in ("train", "val", "test")])
    unlisted = ~on_disk["file"].isin(images["file"])
    refuse(on_disk, unlisted, "is in no class; list it in the .txt of its split or remove it")
    return labelled(root, images["file"], images[["level1", "level2", "level3"]], images["part"])


def hyperkvasir(folder: Path, test_fold: int) -> LabelledImages:
    """Read HyperKvasir: `labeled-images/<tract>/<finding group>/<class>/<image>`, three levels.

    H. Borgli et al., Scientific Data 7, 2020. The official test set is the fold `test_fold`, 0 or
    1, of `2_fold_split.csv`; the other fold is for training. The list has its own names for classes
    (`normal-cecum` for the folder `cecum`), so rows and images are joined by the name of the image,
    and each class of the list must be one folder. Equal pictures in two classes are left as
    published. Raises StudyError when images and rows of that file do not correspond.
    """
    root, listing = folder / "labeled-images", folder / "2_fold_split.csv"
    images = image_files(root)
    if images.empty:
        raise StudyError(f"{root}: holds no images; unpack the dataset again")
    images[["folder", "name"]] = images["file"].str.rpartition("/")[[0, 2]]
    refuse(
        images,
        images["file"].str.count("/") != 3,
        "expected tract, finding group and class as its folders; move it there or unpack the "
        "dataset again",
    )
    refuse(
        images,
        images["name"].duplicated(),
        "another image has the same name, and folds are told by the name; remove one of them",
    )
    folds = published_table(listing, ["file-name", "class-name", "split-index"], ";")
    folds.columns = ["name", "label", "fold"]
    refuse(
        folds,
        (folds["label"] == "") | ~folds["fold"].isin(["0", "1"]),
        "expected `file-name;class-name;split-index` with split-index 0 or 1, found "
        "`{name};{label};{fold}`; use the published file",
    )
    folds = folds.join(images.set_index("name")["folder"], on="name")
    refuse(
        folds,
        folds["folder"].isna(),
        "there is no image `{name}`; unpack the dataset again or remove the line",
    )
    refuse(folds, folds["name"].duplicated(), "`{name}` is listed twice; keep one line")
    fold = images["name"].map(folds.set_index("name")["fold"])
    refuse(images, fold.isna(), f"is in no fold; list it in {listing.name} or remove it")
    for one, other in (("label", "folder"), ("folder", "label")):
        refuse_others(
            folds,
            *(one, other),
            f"`{{name}}` is of class {{label}} and in {{folder}}, others of {{{one}}} are of "
            "{first}; move it or correct the line",
        )
    parts = np.where(fold == str(test_fold), "test", "train")
    levels = images["folder"].str.split("/", expand=True)
    return labelled(root, images["file"], levels, parts, equal_pictures=True)


def published_table(file: Path, columns: Sequence[str], delimiter: str = ",") -> pd.DataFrame:
    """Return these columns of a published table."""
    rows = read_table(file, "unpack the dataset again", delimiter)
    for column in columns:
        if column not in rows:
            raise StudyError(f"{file}: has no column `{column}`; use the published file")
    return rows[list(columns)]


# Image folders and own tables.


def from_folder(root: Path) -> LabelledImages:
    """Read an image folder: each folder level is a level of the label tree.

    When the top folders are `train`, `valid` (`val`, `validation`) and `test`, they are the
    official split and no level. Branches of unequal depth are padded by repeating the lowest label.
    Raises StudyError when there is no image, or one has no class or two.
    """
    images = image_files(root)
    if images.empty:
        raise StudyError(f"{root}: holds no images ({', '.join(sorted(SUFFIXES))})")
    folders = images["file"].str.rpartition("/")[0]
    tops, official = folders.str.partition("/")[0], None
    if set(tops) <= set(PART_NAMES) and "train" in set(tops):
        official, folders = tops.map(PART_NAMES), folders.str.partition("/")[2]
    levels = folders.str.split("/", expand=True).fillna("")
    refuse_upper(
        images,
        levels,
        "is in no class, since it lies beside or above the folders of classes; move it into one "
        "of them",
    )
    return labelled(root, images["file"], levels, official)


def from_table(table: Path, groups: bool) -> LabelledImages:
    """Read a CSV file, one line an image, with the levels of a label tree or groups of labels.

    | column | holds |
    | --- | --- |
    | `file` | path of the image, relative to the folder of the CSV file |
    | `label1`, `label2`, … | its labels, as many columns as there are levels or groups |
    | `split` | may be left out: `train`, `val` (`valid`, `validation`) or `test` |

    In a tree `label1` is the top level; cells left empty at the end of a line repeat the lowest
    label. Groups are independent of each other, such as colour and shape, and `label1` is the one
    whose errors count as severe; an empty cell means that the image has no label of that group, and
    becomes `other`.

    Raises StudyError, which names the line, for a wrong column or cell, a missing image, and an
    image that is listed twice or has no class.
    """
    root, rows = table.parent, read_table(table, "correct `source.file`")
    labels = sum(name.startswith("label") for name in rows)
    wanted = ["file", *(f"label{k}" for k in range(1, max(labels, 1) + 1))]
    if set(rows) - {"split"} != set(wanted):
        raise StudyError(
            f"{table}: its columns are {', '.join(rows)}; they should be {', '.join(wanted)}, and "
            "split where there is a published one"
        )
    levels = rows[wanted[1:]]
    rows["path"] = rows["file"].map(posixpath.normpath)
    outside = rows["path"].str.startswith("/") | rows["path"].str.split("/").str[0].isin(
        ["..", "."]
    )
    refuse(
        rows,
        outside,
        "`{file}` is no path below the table's folder; put the image there and write its path "
        "relative to that folder",
    )
    missing = ~rows["path"].map(lambda path: (root / path).is_file())
    refuse(rows, missing, "there is no image `{path}`; put it there or correct it")
    refuse(rows, rows["path"].duplicated(), "`{path}` is listed twice; keep one line")
    slash = levels.apply(lambda column: column.str.contains("/")).any(axis=1)
    refuse(rows, slash, "a label holds a `/`; write labels without, one a column")
    if groups:
        refuse(rows, (levels == "").all(axis=1), "has no label; give one or remove the line")
        levels = levels.replace("", OTHER)
    else:
        refuse_upper(
            rows,
            levels,
            "lacks a label, only the lowest of a class may be left out; give it here too",
        )
    official = None
    if "split" in rows:
        official = rows["split"].map(PART_NAMES)
        refuse(rows, official.isna(), "split should be train, val or test, not `{split}`")
    return labelled(root, rows["path"], levels, official, nested=not groups)


# What all of them share.


def read_table(file: Path, remedy: str, delimiter: str = ",") -> pd.DataFrame:
    """Return the cells of a CSV file as stripped text, the index `<file> line <number>`.

    Raises StudyError for what is no table, with what helps, and for no rows.
    """
    # whatever ends a line, also in quotes
    reader = csv.reader(io.StringIO(read_text(file, remedy), newline=None), delimiter=delimiter)
    rows: dict[str, list[str]] = {}
    header: list[str] = []
    try:
        for row in reader:
            cells, where = [cell.strip() for cell in row], f"{file} line {reader.line_num}"
            if not header:
                header = cells
            elif cells and len(cells) != len(header):
                raise StudyError(
                    f"{where}: has {len(cells)} cells, the first line {len(header)}; give one cell "
                    "a column, with quotes around a comma"
                )
            elif cells:
                rows[where] = cells
    except csv.Error as error:
        raise StudyError(
            f"{file} line {reader.line_num}: not CSV ({error}); mend that line"
        ) from None
    if not rows:
        raise StudyError(f"{file}: has no row below a line of column names; {remedy}")
    for name in header:
        if header.count(name) > 1:
            raise StudyError(f"{file}: has two columns `{name}`; remove or rename one")
    return pd.DataFrame.from_dict(rows, orient="index", columns=header, dtype="str")


def image_files(root: Path, below: str = "") -> pd.DataFrame:
    """Return the image files below a folder of `root`, sorted, hidden ones left out.

    The column `file` is the path relative to `root`, the index the whole path.
    """
    paths = sorted(
        file.relative_to(root)
        for file in (root / below).rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not file.is_dir()
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    )
    index = [str(root / path) for path in paths]
    return pd.DataFrame({"file": [path.as_posix() for path in paths]}, index, dtype="str")


def refuse(rows: pd.DataFrame, wrong: pd.Series, sentence: str) -> None:
    """Raise StudyError for the first wrong row; the sentence may name its cells, `{file}`."""
    if wrong.any():
        row = rows[wrong].iloc[0]
        raise StudyError(f"{row.name}: {sentence.format(**row)}")


def refuse_others(rows: pd.DataFrame, one: str, other: str, sentence: str) -> None:
    """Raise StudyError when rows with the same `one` do not have the same `other`, `{first}`."""
    first = rows.groupby(one)[other].transform("first")
    refuse(rows.assign(first=first), rows[other] != first, sentence)


def refuse_upper(rows: pd.DataFrame, levels: pd.DataFrame, sentence: str) -> None:
    """Raise StudyError for labels that are no class: none, with a gap, or upper ones of others."""
    trees = [without_end(row) for row in levels.to_numpy().tolist()]
    above = {tree[:depth] for tree in set(trees) for depth in range(len(tree))}
    wrong = [not tree or "" in tree or tree in above for tree in trees]
    refuse(rows, pd.Series(wrong, rows.index), sentence)


def without_end(labels: list[str]) -> Tree:
    """Return labels without the empty ones at their end."""
    return tuple(labels[: max((k for k, label in enumerate(labels, 1) if label), default=0)])


def labelled(
    root: Path,
    files: Iterable[str],
    levels: pd.DataFrame,
    official: Iterable[str] | None,
    *,
    nested: bool = True,
    equal_pictures: bool = False,
) -> LabelledImages:
    """Return images with a column a level; shorter label paths repeat their lowest label.

    Raises StudyError when the same picture, byte for byte, is in two classes, unless
    `equal_pictures`. Missing files are left to whoever reads the pictures.
    """
    files = list(files)
    trees = [tuple(row) for row in levels.replace("", np.nan).ffill(axis=1).to_numpy().tolist()]
    size = {file: (root / file).stat().st_size for file in files if (root / file).is_file()}
    times = Counter(size.values())
    first: dict[bytes, tuple[str, Tree]] = {}
    for file, tree in zip(files, trees, strict=True):
        if equal_pictures or times[size.get(file)] < 2:
            continue
        twin, other = first.setdefault((root / file).read_bytes(), (file, tree))
        if other != tree:
            raise StudyError(
                f"{root / file}: the same picture is {twin}, so it is in two classes; remove one "
                "of them"
            )
    parts = None if official is None else np.array(list(official))
    return LabelledImages(root, files, trees, parts, nested)
