"""Readers of published layouts and of image folders: from files on disk to labelled images."""

import csv
from pathlib import Path

import numpy as np

from studies.inputs.reading import read_text
from studies.paths import StudyError
from studies.triplets.labels import LabelledImages
from studies.triplets.listing import (
    PART_NAMES,
    SUFFIXES,
    image_files,
    inner,
    padded,
    refuse_same_content,
    refuse_two_classes,
)


def grocery(folder: Path) -> LabelledImages:
    """Read GroceryStoreDataset: `dataset/{train,val,test}.txt` with `path, fine id, coarse id`.

    M. Klasson, C. Zhang, H. Kjellström, WACV 2019. The category is the folder below the split's.
    Raises StudyError when a list or `classes.csv` is missing or wrong, or when an image has no
    class or two.
    """
    root = folder / "dataset"
    classes = grocery_classes(root / "classes.csv")
    files, trees, official = [], [], []
    categories: dict[str, str] = {}
    for name in ("train", "val", "test"):
        listing = root / f"{name}.txt"
        for number, line in enumerate(read_text(listing).splitlines(), 1):
            if not line.strip():
                continue
            file, *ids = (field.strip() for field in line.split(","))
            folders = Path(file).parts
            if len(folders) < 3 or tuple(ids) not in classes:
                raise StudyError(
                    f"{listing} line {number}: expected `path, fine id, coarse id` with ids of one "
                    f"row of classes.csv, found `{line}`; correct it"
                )
            category = categories.setdefault(ids[0], folders[1])
            if category != folders[1]:
                raise StudyError(
                    f"{listing} line {number}: `{file}` lies in {folders[1]}, others of its class "
                    f"in {category}; move it or correct its ids"
                )
            files.append(file)
            trees.append((category, *classes[tuple(ids)]))
            official.append(PART_NAMES[name])
    if not files:
        raise StudyError(f"{root}: its lists name no image; unpack the dataset again")
    refuse_two_classes(root, files, trees)
    refuse_same_content(root, files, trees)
    listed = set(files)
    for name in ("train", "val", "test"):
        for file in image_files(root / name):
            if file.relative_to(root).as_posix() not in listed:
                raise StudyError(f"{file}: is in no class; list it in {name}.txt or remove it")
    return LabelledImages(root, files, trees, np.array(official))


def grocery_classes(file: Path) -> dict[tuple[str, ...], tuple[str, str]]:
    """Return the coarse and fine name of each class by its fine and coarse id, from classes.csv."""
    columns = ["Class ID (int)", "Coarse Class ID (int)", "Coarse Class Name (str)"]
    columns.append("Class Name (str)")
    table = csv.DictReader(read_text(file).splitlines())
    refuse_missing_columns(file, table, columns)
    classes, seen = {}, set()
    for row in table:
        fine, coarse, *names = (row[column] or "" for column in columns)
        if not all((fine, coarse, *names)) or "/" in "".join(names) or fine in seen:
            raise StudyError(
                f"{file} line {table.line_num}: expected an id of its own and names without `/`; "
                "use the published file"
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
    table = csv.DictReader(read_text(listing).splitlines(), delimiter=";")
    columns = ["file-name", "class-name", "split-index"]
    refuse_missing_columns(listing, table, columns)
    folds: dict[str, int] = {}
    folder_of: dict[str, str] = {}
    class_of: dict[str, str] = {}
    for row in table:
        where = f"{listing} line {table.line_num}"
        name, label, fold = ((row[column] or "").strip() for column in columns)
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
        place = str(Path(files[name]).parent)
        if folder_of.setdefault(label, place) != place:
            raise StudyError(
                f"{where}: `{name}` lies in {place}, others of class {label} in "
                f"{folder_of[label]}; move it or correct the line"
            )
        if class_of.setdefault(place, label) != label:
            raise StudyError(
                f"{where}: `{name}` is of class {label}, others in {place} of class "
                f"{class_of[place]}; move it or correct the line"
            )
        folds[name] = int(fold)
    return folds


def from_folder(root: Path) -> LabelledImages:
    """Read an image folder: each folder level is a level of the label tree.

    When the top folders are `train`, `valid` (`val`, `validation`) and `test`, they are the
    official split and no level. Branches of unequal depth are padded by repeating the lowest label.
    Raises StudyError when there is no image, or one has no class or two.
    """
    found = image_files(root)
    if not found:
        raise StudyError(f"{root}: holds no images ({', '.join(sorted(SUFFIXES))})")
    files = [file.relative_to(root).as_posix() for file in found]
    branches = [Path(file).parts[:-1] for file in files]
    tops = {branch[0] for branch in branches if branch}
    splits = tops <= set(PART_NAMES) and "train" in tops
    official = None
    if splits and all(branches):
        official = np.array([PART_NAMES[branch[0]] for branch in branches])
        branches = [branch[1:] for branch in branches]
    above = inner(branches)
    for file, branch in zip(files, branches, strict=True):
        if not branch or branch in above:
            raise StudyError(
                f"{root / file}: is in no class, since it lies beside or above the folders of "
                "classes; move it into one of them"
            )
    trees = padded(branches)
    refuse_same_content(root, files, trees)
    return LabelledImages(root, files, trees, official)


def refuse_missing_columns(file: Path, table: csv.DictReader, columns: list[str]) -> None:
    """Raise StudyError when the header of a published table lacks a column."""
    for column in columns:
        if column not in (table.fieldnames or []):
            raise StudyError(f"{file}: has no column `{column}`; use the published file")
