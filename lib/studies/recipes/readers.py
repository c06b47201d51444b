"""Readers of published layouts and of tables of ingredients: from files on disk to plates."""

import csv
import difflib
import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from studies import paths
from studies.inputs import images
from studies.inputs.reading import PARTS, lines, numbered_lines, read_text
from studies.paths import StudyError
from studies.runs.files import made_once

By = Literal["dish", "image"]
# Raise it whenever the same boxes give other pictures: folders cut before are then left alone.
VERSION = 1


@dataclass(frozen=True)
class Plates:
    """N pictures of C dishes with S ingredients.

    Attributes:
        root: the folder that files are relative to.
        files: N picture files.
        dishes: C names.
        dish: (N,) index into `dishes`.
        ingredients: S names.
        present: (N, S) whether an ingredient is there.
        official: (N,) published part, `train`, `validation` or `test`; None for no published split.
        photographs: (N,) what each was cut out of; plates of one photograph stay in one part. None
            where each is a photograph of its own.
        variants: names of variants of dishes; None where dishes have none.
        variant: (N,) index into `variants`; None likewise.
        references: N recipes; None where there are none.

    """

    root: Path
    files: list[str]
    dishes: list[str]
    dish: np.ndarray
    ingredients: list[str]
    present: np.ndarray
    official: np.ndarray | None = None
    photographs: np.ndarray | None = None
    variants: list[str] | None = None
    variant: np.ndarray | None = None
    references: list[str] | None = None

    @classmethod
    def of(
        cls,
        root: Path,
        files: list[str],
        dish_names: list[str],
        ingredients: Iterable[Sequence[str]],
        **rest: Any,
    ) -> "Plates":
        """Return plates of which each has the name of its dish and of its ingredients."""
        dishes, dish = np.unique(dish_names, return_inverse=True)
        ingredients = list(ingredients)
        names = sorted(set().union(*ingredients))
        present = np.array([np.isin(names, own) for own in ingredients])
        return cls(root, files, dishes.tolist(), dish, names, present, **rest)

    @cached_property
    def paths(self) -> list[Path]:
        """Return the picture files."""
        return [self.root / file for file in self.files]

    @cached_property
    def variant_of(self) -> np.ndarray:
        """Return (V, C) whether a variant is one of a dish."""
        owned = np.zeros((len(self.variants), len(self.dishes)), dtype=bool)
        owned[self.variant, self.dish] = True
        return owned

    @cached_property
    def clusters(self) -> np.ndarray:
        """Return (N,) a number for the photograph of each plate."""
        if self.photographs is None:
            return np.arange(len(self.files))
        return np.unique(self.photographs, return_inverse=True)[1]


def unexpected(
    where: object, found: str, expected: str, remedy: str = "use the published file"
) -> StudyError:
    """Return what to say of a place in a file that holds something else than expected."""
    return StudyError(f"{where}: expected {expected}, found `{found[:60]}`; {remedy}")


def entries(
    file: Path, pattern: str, expected: str, header: str = ""
) -> Iterator[tuple[str, re.Match[str]]]:
    """Yield where each line that is not blank stands, and what a pattern finds in it.

    Raises StudyError, which says what is expected, at a line of another form, but for a first one
    that begins as the header, and when there is none.
    """
    last = None
    for number, line in numbered_lines(file):
        where, found = f"{file} line {number}", re.fullmatch(pattern, line)
        if found:
            yield where, found
            last = number
        elif not header or number > 1 or not line.startswith(header):
            raise unexpected(where, line, expected)
    if last is None:
        raise unexpected(file, "", expected)


# Tables of ingredients: of a dish, or of one image.


@dataclass(frozen=True)
class IngredientTable:
    """Names of ingredients by dish, or by image.

    Attributes:
        by: what a row is of.
        rows: ingredients by `row_key` of the dish, or of the image, `<dish>/<id>`. Names are in
            lower case, with single spaces, each once.
        origin: what messages call the table.

    """

    by: By
    rows: dict[str, tuple[str, ...]]
    origin: str = "the table of ingredients"

    def of(self, dish: str, image: str) -> tuple[str, ...]:
        """Return the ingredients of an image, `<dish>/<id>` with or without extension, of a dish.

        Names of dishes are compared without regard to case, and `_` is a space. Raises StudyError
        when there is no row.
        """
        name = dish if self.by == "dish" else image
        key = row_key(self.by, name)
        if key not in self.rows:
            (nearest,) = difflib.get_close_matches(key, self.rows, 1, cutoff=0)
            raise StudyError(
                f"{self.origin}: has no row for the {self.by} `{name}`, the nearest is "
                f"`{nearest}`; add a row or correct that name"
            )
        return self.rows[key]


def row_key(by: By, name: str) -> str:
    """Return how a dish or image is looked up: see `IngredientTable.of`."""
    if by == "dish":
        return " ".join(name.replace("_", " ").split()).casefold()
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and suffix.lower() in ("jpg", "jpeg", "png") else name


def ingredient_names(listed: Iterable[str]) -> tuple[str, ...]:
    """Return names of ingredients in lower case, with single spaces, each once, in their order."""
    names = (" ".join(name.replace("_", " ").split()).lower() for name in listed)
    return tuple(dict.fromkeys(name for name in names if name))


def table(name: str) -> IngredientTable:
    """Return the table of ingredients of that name, or of a CSV file below STUDIES_DATA.

    `typical` are typical ingredients of the dishes of Food-101, which come with this package. They
    are from general knowledge, by dish and not by plate, so all plates of a dish have the same
    ones: good enough to try things out, but they cannot answer R1 to R3, which ask about plates.
    """
    if name == "ingredients101":
        return ingredients101(paths.data() / "ingredients101")
    if name == "typical":
        return from_csv(Path(__file__).with_name("typical_ingredients.csv"))
    return from_csv(paths.data() / name)


def from_csv(file: Path) -> IngredientTable:
    """Read a CSV file with the columns `dish` or `image`, and `ingredients`, joined by `;`.

    An image is `<dish>/<id>`, with or without extension. Raises StudyError, which names the line,
    for wrong columns or cells, a row without ingredients, and a dish or image that is there twice.
    """
    text = read_text(file, "put the table of ingredients there or correct `source.ingredients`")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        numbered = [(reader.line_num, [" ".join(cell.split()) for cell in row]) for row in reader]
    except csv.Error as error:
        raise StudyError(f"{file} line {reader.line_num}: not CSV ({error}); mend it") from None
    (_, header), *listed = [(line, row) for line, row in numbered if any(row)] or [(1, [])]
    by = "dish" if "dish" in header else "image"
    if not listed or sorted(header) != sorted([by, "ingredients"]):
        expected = "columns named `dish` or `image`, and `ingredients`, and a line for each"
        raise unexpected(file, ",".join(header), expected, "correct its first line")
    rows: dict[str, tuple[str, ...]] = {}
    for line, row in listed:
        named = dict(zip(header, row, strict=False))
        names = ingredient_names(named.get("ingredients", "").split(";"))
        key = row_key(by, named.get(by, ""))
        if len(row) != 2 or not key or not names or "," in named["ingredients"] or key in rows:
            expected = f"one {by}, not yet there, a comma, and its ingredients joined by `;`"
            raise unexpected(f"{file} line {line}", ",".join(row), expected, "mend the line")
        rows[key] = names
    return IngredientTable(by, rows, str(file))


def ingredients101(folder: Path) -> IngredientTable:
    """Read Ingredients101: `ingredients_simplified.txt`, a line for each line of `classes.txt`.

    M. Bolaños, A. Ferrà, P. Radeva, ICIAP workshops, 2017. Raises StudyError when the files do not
    correspond, a dish is there twice or has no ingredients.
    """
    classes, file = (
        annotations(folder) / name for name in ("classes.txt", "ingredients_simplified.txt")
    )
    rows: dict[str, tuple[str, ...]] = {}
    for number, (dish, recipe) in enumerate(aligned(classes, file), 1):
        key, names = row_key("dish", dish), ingredient_names(recipe.split(","))
        if not key or key in rows or not names:
            expected = f"a dish, each once, and ingredients in that line of {file.name}"
            raise unexpected(f"{classes} line {number}", f"{dish}: {recipe}", expected)
        rows[key] = names
    return IngredientTable("dish", rows, str(file))


def annotations(folder: Path) -> Path:
    """Return the folder of the lists; the archive of Ingredients101 spells it with a capital."""
    capital = folder / "Annotations"
    return capital if capital.is_dir() else folder / "annotations"


def aligned(*files: Path) -> list[tuple[str, str]]:
    """Return the lines of two files in pairs; raises StudyError when they do not correspond."""
    first, second = map(lines, files)
    if len(first) != len(second):
        expected = f"a line for each of the {len(first)} of {files[0].name} beside it"
        raise unexpected(files[1], f"{len(second)} lines", expected)
    return list(zip(first, second, strict=True))


# Plates of published layouts.


def food101(folder: Path, table: IngredientTable) -> Plates:
    """Read Food-101: `images/<dish>/<id>.jpg`, by the lists in `meta/`.

    L. Bossard, M. Guillaumin, L. Van Gool, ECCV 2014. `train.txt` and `test.txt`, or `.json` in
    their place, name the images of the published parts, `<dish>/<id>`. Raises StudyError when a
    list is wrong, a listed image is missing, or a dish has no row in the table.
    """
    listed = []
    for part in ("train", "test"):
        listing, other = (folder / "meta" / f"{part}.{ending}" for ending in ("txt", "json"))
        if listing.exists() or not other.exists():
            named = [(f"{listing} line {line}", image) for line, image in numbered_lines(listing)]
        else:
            try:
                by_dish = json.loads(read_text(other))
                named = [(other, image) for dish in by_dish for image in by_dish[dish]]
            except (ValueError, TypeError) as error:
                raise unexpected(other, str(error), "lists of images by dish") from None
        listed += [(part, where, f"{image}.jpg") for where, image in named]
    return in_parts(folder / "images", listed, table)


def recipes5k(folder: Path) -> Plates:
    """Read Recipes5k: images of the dishes of Food-101, each with the ingredients of its recipe.

    M. Bolaños, A. Ferrà, P. Radeva, ICIAP workshops, 2017. The images are its own,
    `images/<dish>/<id>.jpg`, none of Food-101's, and so are its parts; all three are published. The
    label of an image is the line, from 0, of its recipe in `ingredients_simplified_Recipes5k.txt`;
    one may have no ingredients left after simplification. Raises StudyError when images and labels
    do not correspond, a label is no line of a recipe, and as `food101` does.
    """
    lists = annotations(folder)
    file = lists / "ingredients_simplified_Recipes5k.txt"
    recipes = [ingredient_names(line.split(",")) for line in lines(file)]
    listed, rows = [], {}
    for name, part in zip(("train", "val", "test"), PARTS, strict=True):
        listing, labels = lists / f"{name}_images.txt", lists / f"{name}_labels.txt"
        for line, (image, label) in enumerate(aligned(listing, labels), 1):
            if not label.isdecimal() or int(label) >= len(recipes):
                expected = f"the number of a line of {file.name}, 0 to {len(recipes) - 1}"
                raise unexpected(f"{labels} line {line}", label, expected)
            rows[row_key("image", image)] = recipes[int(label)]
            listed.append((part, f"{listing} line {line}", image))
    return in_parts(folder / "images", listed, IngredientTable("image", rows, str(file)))


def in_parts(
    root: Path, listed: Iterable[tuple[str, Path | str, str]], table: IngredientTable
) -> Plates:
    """Return the plates of published parts, listed as part, where it says so, `<dish>/<id>.jpg`.

    Raises StudyError when an image is missing or listed twice, or a dish has no ingredients.
    """
    there = {file.relative_to(root).as_posix() for file in root.glob("*/*")}
    part_of: dict[str, str] = {}
    for part, where, image in listed:
        if image not in there or image in part_of:
            expected = f"a dish, `/` and an image of it below {root}, each once"
            raise unexpected(where, image, expected, "unpack the dataset again or mend the list")
        part_of[image] = part
    dish_names = [image.split("/")[0] for image in part_of]
    ingredients = [table.of(*pair) for pair in zip(dish_names, part_of, strict=True)]
    official = np.array(list(part_of.values()))
    return Plates.of(root, list(part_of), dish_names, ingredients, official=official)


def uecfood256(folder: Path, table: IngredientTable) -> Plates:
    """Read UEC Food-256: `category.txt`, and `<category>/` with `bb_info.txt` and `<image>.jpg`.

    Y. Kawano, K. Yanai, ECCV workshops, 2014. A plate is what lies in one box, see `cut`. A
    photograph of several dishes lies under the same name in the folder of each, and its plates stay
    in one part. An image of the table is `<category>/<image>`. Pictures without a box are left out.
    Raises StudyError when a list is wrong, an image is missing, or a dish has no image or no row in
    the table.
    """
    dishes: dict[int, str] = {}
    expected = "the number of a category and its name, each once"
    for where, found in entries(folder / "category.txt", r"(\d+)\s+(.+)", expected, "id"):
        number, dish = int(found[1]), " ".join(found[2].split())
        if number in dishes or dish in dishes.values():
            raise unexpected(where, found[0], expected)
        dishes[number] = dish
    plates = [
        (box, dishes[category])
        for category in sorted(dishes)
        for box in read_boxes(folder / str(category) / "bb_info.txt")
    ]
    return Plates.of(
        cut(folder, [box for box, _ in plates]),
        [box.file for box, _ in plates],
        [dish for _, dish in plates],
        [table.of(dish, box.source) for box, dish in plates],
        photographs=np.array([Path(box.source).stem for box, _ in plates]),
    )


class Box(NamedTuple):
    """The box around a dish in a photograph."""

    file: str  # of what is cut out, `<category>/<image>-<number>.png`; the boxes are numbered
    source: str  # of the photograph, `<category>/<image>.jpg`
    corners: tuple[int, ...]  # left, upper, right, lower, pixels; right and lower are just outside
    where: str  # the line that says so


def read_boxes(listing: Path) -> list[Box]:
    """Return the boxes of `<category>/bb_info.txt`: an image and four corners in each line.

    A box that is listed twice counts once. Raises StudyError when the file is missing or has a line
    of another kind, or no box.
    """
    category, boxes = listing.parent.name, {}
    expected = "`img x1 y1 x2 y2`, an image and four whole numbers"
    for where, found in entries(listing, r"([^/\s]+)((?:\s+-?\d+){4})", expected, "img"):
        corners_of = boxes.setdefault(found[1], {})
        corners_of.setdefault(tuple(map(int, found[2].split())), where)
    return [
        Box(f"{category}/{image}-{number}.png", f"{category}/{image}.jpg", corners, where)
        for image, corners_of in boxes.items()
        for number, (corners, where) in enumerate(corners_of.items(), 1)
    ]


def cut(root: Path, boxes: list[Box]) -> Path:
    """Return the folder of the boxes cut out, made once.

    It lies in the cache, and its name holds the contents of all photographs and lists of boxes.
    Processes may call it at once; a killed call leaves no half-made folder. A box is clipped to its
    photograph. Raises StudyError when nothing is left of a box, a photograph is missing or damaged,
    or the cache cannot be written.
    """
    read = {box.source for box in boxes} | {f"{Path(box.file).parent}/bb_info.txt" for box in boxes}
    digest = images.fingerprint([root / name for name in sorted(read)], root)

    def cut_out(folder: Path, box: Box) -> None:
        photograph = images.open_rgb(root / box.source)
        left, upper, right, lower = box.corners
        width, height = photograph.size
        inside = max(left, 0), max(upper, 0), min(right, width), min(lower, height)
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            expected = f"a box that holds something of {box.source}, {width}×{height} pixels"
            found = " ".join(map(str, box.corners))
            raise unexpected(box.where, found, expected, "correct or remove the line")
        (folder / box.file).parent.mkdir(parents=True, exist_ok=True)
        photograph.crop(inside).save(folder / box.file)

    def fill(folder: Path) -> None:
        with ThreadPoolExecutor(images.WORKERS) as pool:
            done = pool.map(partial(cut_out, folder), boxes)
            bar = {"total": len(boxes), "desc": "cutting out boxes", "unit": "box", "delay": 2}
            list(tqdm(done, **bar))

    return made_once(paths.cache() / f"uecfood256-{digest}-v{VERSION}", fill)
