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


# Published layouts.


def grocery(folder: Path) -> LabelledImages:
    """Read GroceryStoreDataset: `dataset/{train,val,test}.txt` with `path, fine id, coarse id`.

    M. Klasson, C. Zhang, H. Kjellström, WACV 2019. The category is the folder below the split's.
    Raises StudyError when a list or `classes.csv` is missing or wrong, or when an image has no
    class or two.
    """
    root = folder / "dataset"
    classes = grocery_classes(root / "classes.csv")
    trees: dict[str, Tree] = {}
    official: list[str] = []
    categories: dict[str, str] = {}
    for name in ("train", "val", "test"):
        for number, line in numbered_lines(root / f"{name}.txt"):
            where = f"{root / name}.txt line {number}"
            file, *ids = (field.strip() for field in line.split(","))
            folders = Path(file).parts
            if len(folders) < 3 or tuple(ids) not in classes:
                raise StudyError(
                    f"{where}: expected `path, fine id, coarse id` with ids of one row of "
                    f"classes.csv, found `{line}`; correct it"
                )
            category = categories.setdefault(ids[0], folders[1])
            if category != folders[1]:
                raise StudyError(
                    f"{where}: `{file}` lies in {folders[1]}, others of its class in {category}; "
                    "move it or correct its ids"
                )
            tree = (category, *classes[tuple(ids)])
            if file in trees:
                both = " and ".join(sorted({"/".join(trees[file]), "/".join(tree)}))
                raise StudyError(f"{where}: `{file}` is listed twice, in {both}; keep one line")
            trees[file] = tree
            official.append(PART_NAMES[name])
    if not trees:
        raise StudyError(f"{root}: its lists name no image; unpack the dataset again")
    refuse_same_content(root, trees)
    for name in ("train", "val", "test"):
        for file in image_files(root / name):
            if file.relative_to(root).as_posix() not in trees:
                raise StudyError(f"{file}: is in no class; list it in {name}.txt or remove it")
    return LabelledImages(root, list(trees), list(trees.values()), np.array(official))


def grocery_classes(file: Path) -> dict[tuple[str, ...], tuple[str, str]]:
    """Return the coarse and fine name of each class by its fine and coarse id, from classes.csv."""
    columns = ["Class ID (int)", "Coarse Class ID (int)", "Coarse Class Name (str)"]
    columns.append("Class Name (str)")
    classes, seen = {}, set()
    for where, cells in published_rows(file, columns):
        fine, coarse, *names = cells
        if not all(cells) or "/" in "".join(names) or fine in seen:
            raise StudyError(
                f"{where}: expected an id of its own and names without `/`; use the published file"
            )
        seen.add(fine)
        classes[fine, coarse] = tuple(names)
    return classes


def hyperkvasir(folder: Path, test_fold: int) -> LabelledImages:
    """Read HyperKvasir: `labeled-images/<tract>/<finding group>/<class>/<image>`, three levels.

    H. Borgli et al., Scientific Data 7, 2020. The official test set is the fold `test_fold`, 0 or
    1, of `2_fold_split.csv`; the other fold is for training. Equal pictures in two classes are left
    as published. Raises StudyError when images and rows of that file do not correspond.
    """
    root = folder / "labeled-images"
    files: dict[str, str] = {}
    for file in image_files(root):
        path = file.relative_to(root)
        if len(path.parts) != 4:
            raise StudyError(
                f"{file}: expected tract, finding group and class as its folders below {root}; "
                "move it there or unpack the dataset again"
            )
        if path.name in files:
            raise StudyError(
                f"{file}: has the same name as {files[path.name]}, and folds are told by the name; "
                "remove one of them"
            )
        files[path.name] = path.as_posix()
    if not files:
        raise StudyError(f"{root}: holds no images; unpack the dataset again")
    listing = folder / "2_fold_split.csv"
    folds = hyperkvasir_folds(listing, files)
    for name, file in files.items():
        if name not in folds:
            raise StudyError(f"{root / file}: is in no fold; list it in {listing} or remove it")
    trees = [Path(file).parts[:-1] for file in files.values()]
    official = np.array(["test" if folds[name] == test_fold else "train" for name in files])
    return LabelledImages(root, list(files.values()), trees, official)


def hyperkvasir_folds(listing: Path, files: dict[str, str]) -> dict[str, int]:
    """Return the fold, 0 or 1, of each image by its name; `files` gives its path by its name.

    The list has its own names for classes (`normal-cecum` for the folder `cecum`), so rows and
    images are joined by the name of the image, and each class of the list must be one folder.
    """
    folds: dict[str, int] = {}
    partner: dict[str, str] = {}  # the folder of each class, and the class of each folder
    columns = ["file-name", "class-name", "split-index"]
    for where, (name, label, fold) in published_rows(listing, columns, ";"):
        if not label or fold not in ("0", "1"):
            raise StudyError(
                f"{where}: expected `file-name;class-name;split-index` with split-index 0 or 1, "
                f"found `{name};{label};{fold}`; use the published file"
            )
        if name not in files:
            raise StudyError(
                f"{where}: there is no image `{name}` below {listing.parent / 'labeled-images'}; "
                "unpack the dataset again or remove the line"
            )
        if name in folds:
            raise StudyError(f"{where}: `{name}` is listed twice; keep one line")
        place = f"folder {Path(files[name]).parent}"
        for one, other in ((f"class {label}", place), (place, f"class {label}")):
            if partner.setdefault(one, other) != other:
                raise StudyError(
                    f"{where}: `{name}` is of {one} and {other}, others of {one} are of "
                    f"{partner[one]}; move it or correct the line"
                )
        folds[name] = int(fold)
    return folds


def published_rows(
    file: Path, columns: Sequence[str], delimiter: str = ","
) -> list[tuple[str, list[str]]]:
    """Return the place of each row of a published table, and its cells of these columns."""
    header, rows = read_rows(file, "unpack the dataset again", delimiter)
    for column in columns:
        if column not in header:
            raise StudyError(f"{file}: has no column `{column}`; use the published file")
    return [(where, [cells[column] for column in columns]) for where, cells in rows]


# Image folders and own tables.


def from_folder(root: Path) -> LabelledImages:
    """Read an image folder: each folder level is a level of the label tree.

    When the top folders are `train`, `valid` (`val`, `validation`) and `test`, they are the
    official split and no level. Branches of unequal depth are padded by repeating the lowest label.
    Raises StudyError when there is no image, or one has no class or two.
    """
    files = [file.relative_to(root) for file in image_files(root)]
    if not files:
        raise StudyError(f"{root}: holds no images ({', '.join(sorted(SUFFIXES))})")
    trees = {file.as_posix(): file.parts[:-1] for file in files}
    tops = {tree[0] for tree in trees.values() if tree}
    official = None
    if tops <= set(PART_NAMES) and "train" in tops and all(trees.values()):
        official = np.array([PART_NAMES[tree[0]] for tree in trees.values()])
        trees = {file: tree[1:] for file, tree in trees.items()}
    above = inner(trees.values())
    for file, tree in trees.items():
        if not tree or tree in above:
            raise StudyError(
                f"{root / file}: is in no class, since it lies beside or above the folders of "
                "classes; move it into one of them"
            )
    refuse_same_content(root, trees)
    return LabelledImages(root, list(trees), padded(trees.values()), official)


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
    header, rows = read_rows(table, "correct `source.file`")
    levels = label_columns(table, header)
    places: dict[str, str] = {}
    trees: dict[str, Tree] = {}
    official: list[str] = []
    for where, cells in rows:
        file = image_file(where, cells["file"], table.parent)
        if file in places:
            raise StudyError(f"{where}: `{file}` is in {places[file]} already; keep one line")
        places[file] = where.removeprefix(f"{table} ")
        trees[file] = labels_of(where, tuple(cells[level] for level in levels), groups)
        if "split" in header:
            if cells["split"] not in PART_NAMES:
                raise StudyError(
                    f"{where}: split should be train, val or test, not `{cells['split']}`"
                )
            official.append(PART_NAMES[cells["split"]])
    if not groups:
        above = inner(trees.values())
        for file, tree in trees.items():
            if tree in above:
                raise StudyError(
                    f"{table} {places[file]}: {'/'.join(tree)} has lower labels in other lines; "
                    "give the lower label here too"
                )
    refuse_same_content(table.parent, trees)
    return LabelledImages(
        table.parent,
        list(trees),
        padded(trees.values()),
        np.array(official) if official else None,
        nested=not groups,
    )


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


def labels_of(where: str, cells: Tree, groups: bool) -> Tree:
    """Return a label a group, `other` where there is none, or a path without the empty end."""
    for label in cells:
        if "/" in label:
            raise StudyError(
                f"{where}: the label `{label}` holds a `/`; write a label without, one a column"
            )
    if groups:
        if not any(cells):
            raise StudyError(f"{where}: has no label; give one or remove the line")
        return tuple(label or OTHER for label in cells)
    depth = cells.index("") if "" in cells else len(cells)
    if not depth or any(cells[depth:]):
        raise StudyError(
            f"{where}: label{depth + 1} is empty; only the lowest labels may be left out"
        )
    return cells[:depth]


# What all of them share.


def read_rows(
    file: Path, remedy: str, delimiter: str = ","
) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Return the columns and, for each row, its place and its cells by column, stripped.

    A place is `<file> line <number>`. Raises StudyError for what is no table, and for no rows.
    """
    # whatever ends a line, also in quotes
    reader = csv.reader(io.StringIO(read_text(file, remedy), newline=None), delimiter=delimiter)
    rows: list[tuple[str, dict[str, str]]] = []
    header: list[str] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not header:
                header = cells
            elif cells and len(cells) != len(header):
                raise StudyError(
                    f"{file} line {reader.line_num}: has {len(cells)} cells, the first line "
                    f"{len(header)}; give one cell a column, with quotes around a comma"
                )
            elif cells:
                where = f"{file} line {reader.line_num}"
                rows.append((where, dict(zip(header, cells, strict=True))))
    except csv.Error as error:
        raise StudyError(
            f"{file} line {reader.line_num}: not CSV ({error}); mend that line"
        ) from None
    if not rows:
        raise StudyError(f"{file}: has no row below a line of column names; {remedy}")
    return header, rows


def image_files(root: Path) -> list[Path]:
    """Return the image files below a folder, sorted, hidden ones left out."""
    return sorted(
        file
        for file in root.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not file.is_dir()
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    )


def padded(trees: Iterable[Tree]) -> list[Tree]:
    """Return label paths of one depth: shorter ones repeat their lowest label."""
    trees = list(trees)
    depth = max(map(len, trees))
    return [tree + (tree[-1],) * (depth - len(tree)) for tree in trees]


def inner(trees: Iterable[Tree]) -> set[Tree]:
    """Return every label path that has others below it, the empty one included."""
    return {tree[:depth] for tree in set(trees) for depth in range(len(tree))}


def refuse_same_content(root: Path, trees: dict[str, Tree]) -> None:
    """Raise StudyError when the same picture, byte for byte, lies in two classes.

    `trees` gives the class of each file. Missing ones are left to whoever reads the pictures.
    """
    size = {file: (root / file).stat().st_size for file in trees if (root / file).is_file()}
    times = Counter(size.values())
    first: dict[bytes, str] = {}
    for file, tree in trees.items():
        if file not in size or times[size[file]] == 1:
            continue
        same = first.setdefault((root / file).read_bytes(), file)
        if trees[same] != tree:
            raise StudyError(
                f"{root / file}: the same picture is {same}, so it is in two classes; remove one "
                "of them"
            )
