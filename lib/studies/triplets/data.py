"""Images with a path in a label tree: where they come from and how they are split.

A class is its full path in the tree, `Fruit/Apple/Golden-Delicious`. Classes of unequal depth are
padded by repeating the lowest label, so every image has a label at each of the H levels.
"""

import csv
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from studies import demo, images, paths
from studies.errors import StudyError
from studies.triplets.params import Parameters

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
PARTS = ("train", "validation", "test")
SPLIT_FOLDERS = {"train": "train", "val": "validation", "valid": "validation", "test": "test"}


@dataclass(frozen=True)
class LabelledImages:
    """N images below `root` with labels at H levels.

    `files` are paths relative to `root`; `trees` the label paths, one tuple of H labels an image;
    `official` the published part of each image (`train`, `validation` or `test`), if any.
    """

    root: Path
    files: list[str]
    trees: list[tuple[str, ...]]
    official: np.ndarray | None

    @property
    def paths(self) -> list[Path]:
        """Return the image files."""
        return [self.root / file for file in self.files]

    @cached_property
    def names(self) -> list[list[str]]:
        """Return for each level its label paths, sorted: `["Fruit", ...], ["Fruit/Apple", ...]`."""
        depth = len(self.trees[0])
        return [
            sorted({"/".join(tree[: level + 1]) for tree in self.trees}) for level in range(depth)
        ]

    @cached_property
    def labels(self) -> np.ndarray:
        """Return (N, H) int64: at each level the index of the image's label path in `names`."""
        index = [{name: i for i, name in enumerate(level)} for level in self.names]
        return np.array(
            [
                [index[level]["/".join(tree[: level + 1])] for level in range(len(tree))]
                for tree in self.trees
            ]
        )

    @cached_property
    def classes(self) -> np.ndarray:
        """Return (C, H) int64: the labels of each class, by class index."""
        _, first = np.unique(self.labels[:, -1], return_index=True)
        return self.labels[first]

    @property
    def counts(self) -> dict[int, int]:
        """Return the images of each class in the whole dataset."""
        return dict(Counter(self.labels[:, -1].tolist()))


def read(parameters: Parameters) -> LabelledImages:
    """Return the dataset that the parameters name.

    Raises StudyError when it is missing, or an image has no class or two.
    """
    parameters.require_data()
    if parameters.source.name == "grocery":
        return grocery(paths.data() / "grocery")
    return from_folder(root(parameters))


def root(parameters: Parameters) -> Path:
    """Return the folder that image ids start from."""
    source = parameters.source
    if source.name == "kitchen":
        return demo.kitchen(source.per_variant, source.seed) / "images"
    return paths.data() / ("grocery/dataset" if source.name == "grocery" else source.folder)


def grocery(folder: Path) -> LabelledImages:
    """Read GroceryStoreDataset: `dataset/{train,val,test}.txt` with `path, fine id, coarse id`.

    M. Klasson, C. Zhang, H. Kjellström, WACV 2019. The category is the folder below the split's.
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
            official.append(SPLIT_FOLDERS[name])
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
    for column in columns:
        if column not in (table.fieldnames or []):
            raise StudyError(f"{file}: has no column `{column}`; use the published file")
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


def read_text(file: Path) -> str:
    """Return the text of a label file; raises StudyError when it is missing or not UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise StudyError(f"{file}: no such file; unpack the dataset again") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise StudyError(f"{file} line {line}: not UTF-8 text; save the file as UTF-8") from None


def from_folder(root: Path) -> LabelledImages:
    """Read an image folder: each folder level is a level of the label tree.

    When the top folders are `train`, `valid` (or `val`) and `test`, they are the official split
    and no level. Branches of unequal depth are padded by repeating the lowest label.
    """
    found = image_files(root)
    if not found:
        raise StudyError(f"{root}: holds no images ({', '.join(sorted(SUFFIXES))})")
    files = [file.relative_to(root).as_posix() for file in found]
    branches = [Path(file).parts[:-1] for file in files]
    tops = {branch[0] for branch in branches if branch}
    splits = tops <= set(SPLIT_FOLDERS) and "train" in tops
    official = None
    if splits and all(branches):
        official = np.array([SPLIT_FOLDERS[branch[0]] for branch in branches])
        branches = [branch[1:] for branch in branches]
    inner = {branch[:depth] for branch in set(branches) for depth in range(len(branch))}
    for file, branch in zip(files, branches, strict=True):
        if not branch or branch in inner:
            raise StudyError(
                f"{root / file}: is in no class, since it lies beside or above the folders of "
                "classes; move it into one of them"
            )
    depth = max(map(len, branches))
    trees = [branch + (branch[-1],) * (depth - len(branch)) for branch in branches]
    refuse_same_content(root, files, trees)
    return LabelledImages(root, files, trees, official)


def image_files(root: Path) -> list[Path]:
    """Return the image files below a folder, sorted, hidden ones left out."""
    return sorted(
        file
        for file in root.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not file.is_dir()
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    )


def refuse_two_classes(root: Path, files: list[str], trees: list[tuple[str, ...]]) -> None:
    """Raise StudyError when a file is listed with two classes, or twice."""
    first: dict[str, tuple[str, ...]] = {}
    for file, tree in zip(files, trees, strict=True):
        if file in first:
            both = " and ".join(sorted({"/".join(first[file]), "/".join(tree)}))
            raise StudyError(f"{root / file}: is listed twice, in {both}; keep one line")
        first[file] = tree


def refuse_same_content(root: Path, files: list[str], trees: list[tuple[str, ...]]) -> None:
    """Raise StudyError when the same picture, byte for byte, lies in two classes.

    Missing files are left to whoever reads the pictures.
    """
    size = {file: (root / file).stat().st_size for file in files if (root / file).is_file()}
    times = Counter(size.values())
    first: dict[bytes, int] = {}
    for i, file in enumerate(files):
        if file not in size or times[size[file]] == 1:
            continue
        j = first.setdefault((root / file).read_bytes(), i)
        if trees[j] != trees[i]:
            raise StudyError(
                f"{root / file}: the same picture is {files[j]}, so it is in two classes; remove "
                "one of them"
            )


def split(dataset: LabelledImages, parameters: Parameters) -> np.ndarray:
    """Return (N,) `train`, `validation` or `test`.

    `random` is stratified by class. `official` keeps the published test set; the validation set is
    a stratified share of what remains, since published ones need not cover all classes. Of each
    class at least one image is trained on, unless the published test set holds them all.
    """
    rng = np.random.default_rng(parameters.split_seed)
    parts = np.full(len(dataset.files), "train", dtype=object)
    test_share = parameters.test_share
    candidates = np.ones(len(parts), dtype=bool)
    if parameters.split == "official":
        if dataset.official is None or "test" not in dataset.official:
            raise StudyError(f"{dataset.root}: has no official split; set split: random")
        candidates = dataset.official != "test"
        parts[~candidates] = "test"
        test_share = 0.0
    for label in range(len(dataset.classes)):
        members = rng.permutation(np.flatnonzero(candidates & (dataset.labels[:, -1] == label)))
        spare = max(0, len(members) - 1)
        tests = min(round(len(members) * test_share), spare)
        validations = min(round(len(members) * parameters.validation_share), spare - tests)
        parts[members[:tests]] = "test"
        parts[members[tests : tests + validations]] = "validation"
    for part in PARTS:
        if part not in parts:
            raise StudyError(
                f"{dataset.root}: too few images a class for a {part} set; add images or change "
                "validation_share and test_share"
            )
    return parts.astype(str)


def inputs(dataset: LabelledImages, parameters: Parameters) -> np.ndarray:
    """Return what the network reads, in the order of `files`, memory-mapped.

    (N, 3, S, S) uint8 pixels, or (N, F) float features of a frozen backbone.
    """
    if parameters.backbone.name == "frozen":
        # imported late: torchvision and transformers take seconds, which scratch runs need not pay
        from studies.features import features

        return features(dataset.paths, dataset.root, parameters.backbone.weights)
    return images.load(dataset.paths, parameters.image_size, dataset.root)
