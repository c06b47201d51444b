"""Readers of published layouts and of tables of ingredients: from files on disk to plates."""

import difflib
import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from studies import paths
from studies.inputs import images, tables
from studies.inputs.folders import is_picture
from studies.inputs.reading import PARTS, lines, read_text
from studies.paths import StudyError
from studies.runs.files import made_once
from studies.runs.params import read_yaml

GROUPS = Path(__file__).with_name("food_groups.yaml")
By = Literal["dish", "image"]
# Raise it whenever the same boxes give other pictures: folders cut before are then left alone.
VERSION = 1


@dataclass(frozen=True)
class Plates(images.Pictures):
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
        grouped: whether prompts name a dish's broad group, see `food_groups.yaml`.
        tables: what else a run reads, below `root`: a table of the user's own.

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
    grouped: bool = False
    tables: tuple[Path, ...] = ()

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

    @property
    def width(self) -> int:
        """Return how many pixels some 200 of the pictures are wide, their median."""
        some = self.paths[:: max(1, len(self.files) // 200)]
        return int(np.median([images.open_rgb(path).width for path in some]))

    @cached_property
    def asked(self) -> "Plates":
        """Return the plates as prompts name them: groups for dishes, and dishes for variants."""
        if not self.grouped:
            return self
        group_of = {dish: group for group, dishes in read_yaml(GROUPS).items() for dish in dishes}
        names, group = np.unique([group_of[dish] for dish in self.dishes], return_inverse=True)
        broad = {"dishes": names.tolist(), "dish": group[self.dish], "grouped": False}
        return replace(self, variants=self.dishes, variant=self.dish, **broad)

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


def aligned(first: Path, second: Path) -> pd.DataFrame:
    """Return the lines of two files beside each other, in columns of the files' names.

    Raises StudyError when they do not correspond.
    """
    one, other = lines(first), lines(second)
    if len(one) != len(other):
        raise StudyError(
            f"{second}: expected a line for each of the {len(one)} of {first.name} beside it, not "
            f"{len(other)}; use the published files"
        )
    where = [f"{first} line {number}" for number in range(1, len(one) + 1)]
    return pd.DataFrame({first.name: one, second.name: other}, where, dtype="str")


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
    return name.rpartition(".")[0] if is_picture(name) else name


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
    rows = tables.read_table(file, remedy="put it there or correct its name")
    by = "dish" if "dish" in rows else "image"
    tables.refuse_columns(file, rows, [by, "ingredients"])
    return ingredient_table(by, rows, ";", file)


def ingredients101(folder: Path) -> IngredientTable:
    """Read Ingredients101: `ingredients_simplified.txt`, a line for each line of `classes.txt`.

    M. Bolaños, A. Ferrà, P. Radeva, ICIAP workshops, 2017. Raises StudyError when the files do not
    correspond, a dish is there twice or has no ingredients.
    """
    file = annotations(folder) / "ingredients_simplified.txt"
    rows = aligned(file.with_name("classes.txt"), file).set_axis(["dish", "ingredients"], axis=1)
    return ingredient_table("dish", rows, ",", file)


def ingredient_table(by: By, rows: pd.DataFrame, separator: str, origin: Path) -> IngredientTable:
    """Return the table of rows with the columns `dish` or `image`, and `ingredients`.

    Raises StudyError for a row without one of both, or with one that is there twice.
    """
    keys = rows[by].map(lambda name: row_key(by, name))
    names = rows["ingredients"].str.split(separator).map(ingredient_names)
    wrong = (keys == "") | keys.duplicated() | (names.map(len) == 0)
    wrong |= rows["ingredients"].str.contains(",;".replace(separator, ""))
    tables.refuse(
        rows,
        wrong,
        f"expected one {by}, not yet there, and ingredients joined by `{separator}`, found "
        f"`{{{by}}}` and `{{ingredients}}`; mend the line",
    )
    return IngredientTable(by, dict(zip(keys, names, strict=True)), str(origin))


def annotations(folder: Path) -> Path:
    """Return the folder of the lists; the archive of Ingredients101 spells it with a capital."""
    capital = folder / "Annotations"
    return capital if capital.is_dir() else folder / "annotations"


# Plates of a user's own, and of published layouts.


def from_table(file: Path) -> Plates:
    """Read a CSV file, a line a plate; `image` is relative to its folder.

    | column | holds |
    | --- | --- |
    | `image`, `dish`, `ingredients` | the latter joined by `;` |
    | `variant` | may be left out: of the dish, of one dish only |
    | `split` | may be left out: `train`, `val` or `test` |
    | `recipe` | may be left out: what a recipe of the plate is compared with |

    Raises StudyError as `own_table`, for an image that is listed twice, a variant of two dishes,
    and names that differ only by case.
    """
    needed, names = ["image", "dish", "ingredients"], ["dish", "variant"]
    rows = tables.own_table(file, needed, ["variant", "recipe"], once="image", names=names)
    made_of = rows["ingredients"].map(tables.spelt).str.split(";").map(ingredient_names)
    wrong = (made_of.map(len) == 0) | rows["ingredients"].str.contains(",")
    sentence = "expected ingredients joined by `;`, found `{ingredients}`; mend the line"
    tables.refuse(rows, wrong, sentence)
    more = {}
    if "variant" in rows:
        both = "`{variant}` is a variant of {dish}, and of {first_dish} above; give it two names"
        tables.refuse_others(rows, "variant", "dish", both)
        variants, more["variant"] = np.unique(rows["variant"].tolist(), return_inverse=True)
        more["variants"] = variants.tolist()
    if "recipe" in rows:
        more["references"] = rows["recipe"].tolist()
    if "part" in rows:
        more["official"] = rows["part"].to_numpy("str")
    files, dishes = rows["image"].tolist(), rows["dish"].tolist()
    return Plates.of(file.parent, files, dishes, made_of, tables=(file,), **more)


def food101(folder: Path, table: IngredientTable) -> Plates:
    """Read Food-101: `images/<dish>/<id>.jpg`, by the lists in `meta/`.

    L. Bossard, M. Guillaumin, L. Van Gool, ECCV 2014. `train.txt` and `test.txt`, or `.json` in
    their place, name the images of the published parts, `<dish>/<id>`. Raises StudyError when a
    list is wrong, a listed image is missing, or a dish has no row in the table.
    """
    parts = []
    for part in ("train", "test"):
        listing, other = (folder / "meta" / f"{part}.{ending}" for ending in ("txt", "json"))
        if listing.exists() or not other.exists():
            listed = tables.read_lines(listing, "(?P<image>.+)", "an image")
        else:
            try:
                images = [image for dish in json.loads(read_text(other)).values() for image in dish]
                listed = pd.DataFrame({"image": images}, [other] * len(images), dtype="str")
            except (ValueError, TypeError, AttributeError) as error:
                raise StudyError(
                    f"{other}: expected lists of images by dish ({error}); use the published file"
                ) from None
        parts.append(listed.assign(image=listed["image"] + ".jpg", part=part))
    return in_parts(folder / "images", pd.concat(parts), table)


def recipes5k(folder: Path) -> Plates:
    """Read Recipes5k: images of the dishes of Food-101, each with the ingredients of its recipe.

    M. Bolaños, A. Ferrà, P. Radeva, ICIAP workshops, 2017. The images are its own,
    `images/<dish>/<id>.jpg`, none of Food-101's, and so are its parts; all three are published. The
    label of an image is the line, from 0, of its recipe in `ingredients_simplified_Recipes5k.txt`;
    one may have no ingredients left after simplification. Raises StudyError when images and labels
    do not correspond, a label is no line of a recipe, and as `food101` does.
    """
    lists, parts = annotations(folder), []
    file = lists / "ingredients_simplified_Recipes5k.txt"
    recipes = {str(k): ingredient_names(line.split(",")) for k, line in enumerate(lines(file))}
    for name, part in zip(("train", "val", "test"), PARTS, strict=True):
        rows = aligned(lists / f"{name}_images.txt", lists / f"{name}_labels.txt")
        rows = rows.set_axis(["image", "label"], axis=1).assign(part=part)
        sentence = f"its label should be a line of {file.name}, from 0, not `{{label}}`"
        tables.refuse(rows, ~rows["label"].isin(recipes), f"{sentence}; use the published files")
        parts.append(rows)
    images = pd.concat(parts)
    made_of = zip(images["image"].map(partial(row_key, "image")), images["label"], strict=True)
    rows_of = {image: recipes[label] for image, label in made_of}
    return in_parts(folder / "images", images, IngredientTable("image", rows_of, str(file)))


def in_parts(root: Path, listed: pd.DataFrame, table: IngredientTable) -> Plates:
    """Return the plates of published parts: rows of `image`, `<dish>/<id>.jpg`, and `part`.

    Raises StudyError when an image is missing or listed twice, or a dish has no ingredients.
    """
    files = listed["image"]
    there = {file.relative_to(root).as_posix() for file in root.glob("*/*")}
    tables.refuse(
        listed,
        ~files.isin(there) | files.duplicated(),
        "expected a dish, `/` and an image of it that is there, each once, found `{image}`; unpack "
        "the dataset again or mend the list",
    )
    dishes = files.str.split("/").str[0].tolist()
    ingredients = list(map(table.of, dishes, files))
    return Plates.of(root, files.tolist(), dishes, ingredients, official=listed["part"].to_numpy())


def uecfood256(folder: Path, table: IngredientTable) -> Plates:
    """Read UEC Food-256: `category.txt`, and `<category>/` with `bb_info.txt` and `<image>.jpg`.

    Y. Kawano, K. Yanai, ECCV workshops, 2014. A plate is what lies in one box, see `cut`; a box
    that is listed twice counts once. A photograph of several dishes lies under the same name in the
    folder of each, and its plates stay in one part. An image of the table is `<category>/<image>`.
    Pictures without a box are left out. Raises StudyError when a list is wrong, an image is
    missing, or a dish has no image or no row in the table.
    """
    form, pattern = "the number of a category and its name", r"0*(?P<category>\d+)\s+(?P<dish>.+)"
    categories = tables.read_lines(folder / "category.txt", pattern, form, "id")
    categories["dish"] = categories["dish"].str.split().str.join(" ")
    twice = categories["category"].duplicated() | categories["dish"].duplicated()
    sentence = "`{category} {dish}` should be there once; use the published file"
    tables.refuse(categories, twice, sentence)
    form = "`img x1 y1 x2 y2`, an image and four whole numbers"
    pattern = r"(?P<image>[^/\s]+)\s+(?P<corners>-?\d+(?:\s+-?\d+){3})"
    parts = []
    for one in categories.itertuples():
        boxes = tables.read_lines(folder / one.category / "bb_info.txt", pattern, form, "img")
        boxes["corners"] = boxes["corners"].str.split().str.join(" ")
        parts.append(boxes.drop_duplicates().assign(category=one.category, dish=one.dish))
    boxes = pd.concat(parts)
    number = (boxes.groupby(["category", "image"]).cumcount() + 1).astype(str)
    boxes["source"] = boxes["category"] + "/" + boxes["image"] + ".jpg"
    boxes["file"] = boxes["category"] + "/" + boxes["image"] + "-" + number + ".png"
    return Plates.of(
        cut(folder, boxes),
        boxes["file"].tolist(),
        boxes["dish"].tolist(),
        list(map(table.of, boxes["dish"], boxes["source"])),
        photographs=boxes["image"].to_numpy(),
    )


def cut(root: Path, boxes: pd.DataFrame) -> Path:
    """Return the folder of the boxes cut out, made once.

    A box is a row: `file` of what is cut out, `source`, the photograph, and `corners`, left, upper,
    right, lower, pixels, of which right and lower are just outside, and is clipped to its
    photograph.

    The folder lies in the cache, and its name holds the contents of all photographs and lists of
    boxes. Processes may call it at once; a killed call leaves no half-made folder. Raises
    StudyError when nothing is left of a box, a photograph is missing or damaged, or the cache
    cannot be written.
    """
    read = {*boxes["source"], *(boxes["category"] + "/bb_info.txt")}
    digest = images.fingerprint([root / name for name in sorted(read)], root)

    def cut_out(folder: Path, where: str, file: str, source: str, corners: str) -> None:
        photograph = images.open_rgb(root / source)
        left, upper, right, lower = map(int, corners.split())
        width, height = photograph.size
        inside = max(left, 0), max(upper, 0), min(right, width), min(lower, height)
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            raise StudyError(
                f"{where}: the box `{corners}` holds nothing of {source}, {width}×{height} pixels; "
                "correct or remove the line"
            )
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        photograph.crop(inside).save(folder / file)

    def fill(folder: Path) -> None:
        columns = (boxes[name] for name in ("file", "source", "corners"))
        with ThreadPoolExecutor(images.WORKERS) as pool:
            done = pool.map(partial(cut_out, folder), boxes.index, *columns)
            bar = {"total": len(boxes), "desc": "cutting out boxes", "unit": "box", "delay": 2}
            list(tqdm(done, **bar))

    return made_once(paths.cache() / f"uecfood256-{digest}-v{VERSION}", fill)
