"""From files on disk to labelled images: published layouts, image folders, and own tables."""

from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from studies.inputs import tables
from studies.inputs.folders import AGAIN, image_files, some, take_parts
from studies.inputs.images import Pictures
from studies.inputs.tables import PART_NAMES, own_table, read_table, refuse, refuse_others, spelt

OTHER = "other"


@dataclass
class LabelledImages(Pictures):
    """N images below `root` with labels at H levels: a path in a label tree, or H groups of labels.

    In a tree a class is its full path, `Fruit/Apple/Golden-Delicious`. Classes of unequal depth are
    padded by repeating the lowest label, so every image has a label at each of the H levels. Groups
    are independent of each other, such as colour and shape: level i then means group i, and a class
    is a combination of labels, `red/round`.

    Attributes:
        root: the folder of the images.
        files: their paths relative to it.
        trees: the labels, one tuple of H an image, from the top level down or group by group.
        official: (N,) the published part of each, `train`, `validation` or `test`, if any.
        nested: whether the levels are those of a tree.
        notes: in words, what was left out, and what was taken as one.
        tables: what else a run reads, below `root`: a table of the user's own.
        names: for each level its labels, sorted; in a tree they are paths, `["Fruit", ...],
            ["Fruit/Apple", ...]`, of groups the plain labels.
        labels: (N, H) int64, at each level the index of the image's label in `names`.
        class_names: the name of each class, all its labels joined by `/`, sorted.
        class_index: (N,) int64, the index of each image's class in `class_names`.
        classes: (C, H) int64, the labels of each class.
        counts: the images of each class, in the whole dataset.

    """

    root: Path
    files: list[str]
    trees: list[tuple[str, ...]]
    official: np.ndarray | None
    nested: bool = True
    notes: list[str] = field(default_factory=list)
    tables: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        start, depths = (0 if self.nested else -1), range(1, len(self.trees[0]) + 1)
        texts = [["/".join(tree[:depth][start:]) for tree in self.trees] for depth in depths]
        coded = [np.unique(level, return_inverse=True) for level in texts]
        self.names = [names.tolist() for names, _ in coded]
        self.labels = np.stack([index for _, index in coded], axis=1)
        classes = ["/".join(tree) for tree in self.trees]
        names, first, self.class_index, counts = np.unique(
            classes, return_index=True, return_inverse=True, return_counts=True
        )
        self.class_names, self.classes = names.tolist(), self.labels[first]
        self.counts = dict(enumerate(counts.tolist()))

    def in_words(self, classes: np.ndarray, start: str = "") -> dict[str, list[str]]:
        """Return the name of each of some classes (N,), and its label at each level, as columns.

        They are called `class`, `level1` to `levelH`, with `start` before.
        """
        columns = {f"{start}class": [self.class_names[label] for label in classes]}
        for level, names in enumerate(self.names):
            labels = self.classes[classes, level]
            columns[f"{start}level{level + 1}"] = [names[label] for label in labels]
        return columns


# Published layouts. The index of a frame says where a row stands, in a file or on disk.


def grocery(folder: Path) -> LabelledImages:
    """Read GroceryStoreDataset: `dataset/{train,val,test}.txt` with `path, fine id, coarse id`.

    M. Klasson, C. Zhang, H. Kjellström, WACV 2019. The category is the folder below the split's.
    Raises StudyError when a list or `classes.csv` is missing or wrong, or when an image has no
    class or two.
    """
    root, ids = folder / "dataset", ["fine", "coarse"]
    columns = ["Class ID (int)", "Coarse Class ID (int)", "Coarse Class Name (str)"]
    classes = read_table(root / "classes.csv", [*columns, "Class Name (str)"])
    classes.columns = [*ids, "level2", "level3"]
    refuse(classes, classes["fine"].duplicated(), "another class has this id; correct it")
    images = pd.concat(
        read_table(root / f"{name}.txt", header=["file", *ids]).assign(part=PART_NAMES[name])
        for name in ("train", "val", "test")
    )
    images = images.join(classes.set_index(ids), on=ids)
    images["level1"] = images["file"].str.split("/").str[1]
    refuse(
        images,
        images["level3"].isna() | (images["file"].str.count("/") < 2),
        "expected a path below train/, val/ or test/ and the ids of one row of classes.csv, found "
        "`{file}, {fine}, {coarse}`; correct it",
    )
    refuse_others(
        images,
        *("fine", "level1"),
        "`{file}` lies in {level1}, others of its class in {first_level1}; move it or correct its "
        "ids",
    )
    found = labelled(root, images, images[["level1", "level2", "level3"]])
    on_disk, _ = image_files(root)
    unlisted = on_disk[~on_disk["file"].isin(images["file"])]
    wrong = unlisted["file"].str.match("(train|val|test)/")
    refuse(unlisted, wrong, "is in no class; list it in the .txt of its split or remove it")
    return found


def hyperkvasir(folder: Path, test_fold: int) -> LabelledImages:
    """Read HyperKvasir: `labeled-images/<tract>/<finding group>/<class>/<image>`, three levels.

    H. Borgli et al., Scientific Data 7, 2020. The official test set is the fold `test_fold`, 0 or
    1, of `2_fold_split.csv`; the other fold is for training. The list has its own names for classes
    (`normal-cecum` for the folder `cecum`), so rows and images are joined by the name of the image,
    and each class of the list must be one folder. Equal pictures in two classes are left as
    published. Raises StudyError when images and rows of that file do not correspond.
    """
    root = folder / "labeled-images"
    images, _ = image_files(root)
    images[["folder", "name"]] = images["file"].str.rpartition("/")[[0, 2]]
    refuse(
        images,
        images["file"].str.count("/") != 3,
        f"expected `<tract>/<finding group>/<class>/<image>`; move it there or {AGAIN}",
    )
    folds = read_table(folder / "2_fold_split.csv", ["file-name", "class-name", "split-index"], ";")
    folds.columns = ["name", "label", "fold"]
    refuse(folds, ~folds["fold"].isin(["0", "1"]), "split-index should be 0 or 1, not `{fold}`")
    for rows, others in ((folds, images), (images, folds)):
        refuse(
            rows,
            rows["name"].duplicated() | ~rows["name"].isin(others["name"]),
            "`{name}` should be one image and stand in one line of 2_fold_split.csv, since folds "
            f"are told by the name; correct that or {AGAIN}",
        )
    images = images.join(folds.set_index("name"), on="name")
    for one, other in (("label", "folder"), ("folder", "label")):
        refuse_others(
            images,
            *(one, other),
            "is of class {label} in 2_fold_split.csv, and {first_file} of {first_label}; move it "
            "or correct its line",
        )
    images["part"] = np.where(images["fold"] == str(test_fold), "test", "train")
    return labelled(root, images, images["folder"].str.split("/", expand=True), twins=True)


# Image folders and own tables.


def from_folder(root: Path) -> LabelledImages:
    """Read an image folder: each folder level is a level of the label tree.

    What is a picture, `image_files` says. Folders at the top that are named as parts, such as
    `train`, `valid` and `test`, are the official split and no level (`take_parts`). Branches of
    unequal depth are padded by repeating the lowest label; of labels, `labelled` says more.
    Raises StudyError when there is no image, or one has no class or two.
    """
    images, left_out = image_files(root)
    folders = images["file"].str.rpartition("/")[0]
    levels, parts = take_parts(root, folders.str.split("/", expand=True).fillna(""))
    found = labelled(root, images if parts is None else images.assign(part=parts), levels)
    found.notes += left_out
    return found


def from_table(table: Path, groups: bool) -> LabelledImages:
    """Read a CSV file, one line an image, with the levels of a label tree or groups of labels.

    | column | holds |
    | --- | --- |
    | `file` | path of the image, relative to the folder of the CSV file |
    | `label1`, `label2`, … | its labels, as many columns as there are levels or groups |
    | `split` | may be left out: `train`, `val` or `test`, spelt as in `PART_NAMES`, in any case |

    In a tree `label1` is the top level; cells left empty at the end of a line repeat the lowest
    label. Groups are independent of each other, such as colour and shape, and `label1` is the one
    whose errors count as severe; an empty cell means that the image has no label of that group, and
    becomes `other`.

    Raises StudyError, which names the line, for a wrong column or cell, a missing image, and an
    image that is listed twice or has no class.
    """
    count = sum(name.startswith("label") for name in read_table(table))
    labels = [f"label{k}" for k in range(1, max(count, 1) + 1)]
    rows = own_table(table, ["file", *labels], blank=labels, image="file")
    found = labelled(table.parent, rows, rows[labels], nested=not groups)
    return replace(found, tables=(table,))


# What all of them share.


def labelled(
    root: Path, images: pd.DataFrame, levels: pd.DataFrame, nested: bool = True, twins: bool = False
) -> LabelledImages:
    """Return images, `file` and if published `part`, with the labels of a column a level.

    Labels are compared as `spelt`: two spellings are one label, which is noted. Shorter label
    paths repeat their lowest label, absent groups become `other`. A group, or a level at the top of
    a tree, in which all have the same label tells nothing apart and is no level; this is noted too.

    Raises StudyError for labels that differ only by case, and for an image that is missing, listed
    twice, in no class, or in two: the same picture, byte for byte, unless `twins` may be.
    """
    missing = ~images["file"].map(lambda file: (root / file).is_file())
    refuse(images, missing, "there is no image `{file}`; put it there or correct the list")
    refuse(images, images["file"].duplicated(), "`{file}` is listed twice; keep one line")
    slash = joined(levels, "").str.contains("/")
    refuse(images, slash, "a label holds a `/`; write labels without, one a column")
    spellings = Counter(map(spelt, pd.unique(levels.to_numpy().ravel())))
    levels = levels.map(spelt)
    paths = joined(levels).str.rstrip("/")
    above = {path[:end] for path in set(paths) for end, sign in enumerate(path) if sign == "/"}
    gap = ("/" + paths).str.contains("//") | paths.isin(above)
    refuse(
        images,
        (paths == "") | (gap & nested),
        "is in no class: it has no label, a gap between labels, or only the upper labels of a "
        "class; give it all of them, or move it into the folder of a class",
    )
    if not twins:
        size = images["file"].map(lambda file: (root / file).stat().st_size)
        alike = images[["file"]].assign(path=paths)[size.duplicated(keep=False)]
        alike["content"] = alike["file"].map(lambda file: (root / file).read_bytes())
        sentence = "the same picture is {first_file}, so it is in two classes; remove one of them"
        refuse_others(alike, "content", "path", sentence)
    gaps = levels.replace("", np.nan)
    filled = gaps.ffill(axis=1) if nested else gaps.fillna(OTHER)
    for k in range(filled.shape[1]):
        label = joined(filled.iloc[:, 0 if nested else k : k + 1])
        tables.refuse_alike(label.to_frame("label"), "label")
    same = filled.nunique() == 1
    same = same.cummin() if nested else same
    same.iloc[-1] &= not same.all()
    notes = some("spellings taken as one", [name for name, n in spellings.items() if n > 1])
    notes += some("no level, since all have it", filled.loc[:, same].iloc[0].tolist())
    trees = list(filled.loc[:, ~same].itertuples(index=False, name=None))
    official = images["part"].to_numpy(dtype="str") if "part" in images else None
    return LabelledImages(root, images["file"].tolist(), trees, official, nested, notes)


def joined(levels: pd.DataFrame, between: str = "/") -> pd.Series:
    """Return the labels of each row as one; pandas' own `agg` by row takes a hundred times."""
    return pd.Series(map(between.join, levels.to_numpy()), levels.index, dtype="str")
