"""Tables of ingredients: of a dish, or of one image."""

import csv
import difflib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from studies.inputs.reading import lines, read_text
from studies.paths import StudyError

By = Literal["dish", "image"]
RECIPES5K_PARTS = {"train": "train", "val": "validation", "test": "test"}  # its names and ours


@dataclass(frozen=True)
class IngredientTable:
    """Names of ingredients by dish, or by image.

    Attributes:
        by: what a row is of.
        rows: ingredients by name of the dish, or by id of the image, `<dish>/<id>`. Names are in
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
        wanted = row_key(self.by, name)
        if wanted not in self._found:
            nearest = difflib.get_close_matches(wanted, self._found, 1, cutoff=0)
            near = next((row for row in self.rows if row_key(self.by, row) in nearest), "none")
            raise StudyError(
                f"{self.origin}: has no row for the {self.by} `{name}`, the nearest is `{near}`; "
                "add a row or correct that name"
            )
        return self._found[wanted]

    @cached_property
    def _found(self) -> dict[str, tuple[str, ...]]:
        return {row_key(self.by, name): given for name, given in self.rows.items()}


def typical() -> IngredientTable:
    """Return typical ingredients of the dishes of Food-101, which come with this package.

    They are from general knowledge, by dish and not by plate, so all plates of a dish have the
    same ones: good enough to try things out, but it cannot answer R1 to R3, which ask about plates.
    """
    return from_csv(Path(__file__).with_name("typical_ingredients.csv"))


def from_csv(file: Path) -> IngredientTable:
    """Read a CSV file with the columns `dish` or `image`, and `ingredients`, joined by `;`.

    An image is `<dish>/<id>`, with or without extension. Raises StudyError, which names the line,
    for wrong columns or cells, a row without ingredients, and a dish or image that is there twice.
    """
    (_, header), *listed = csv_rows(file)
    by = key_column(file, header)
    rows: dict[str, tuple[str, ...]] = {}
    line_of: dict[str, int] = {}
    for line, cells in listed:
        where = f"{file} line {line}"
        name, given = dish_or_image(where, header, by, cells)
        key = row_key(by, name)
        if key in line_of:
            raise StudyError(
                f"{where}: the {by} `{name}` is in line {line_of[key]} already; keep one line"
            )
        line_of[key] = line
        rows[name if by == "dish" else key] = given
    return IngredientTable(by, rows, str(file))


def csv_rows(file: Path) -> list[tuple[int, list[str]]]:
    """Return line number and cells, with single spaces, of the header and all rows not blank."""
    text = read_text(file, "put the table of ingredients there or correct `source.ingredients`")
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        rows = [(reader.line_num, [" ".join(cell.split()) for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise StudyError(f"{file} line {reader.line_num}: not CSV ({error}); mend it") from None
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if len(rows) < 2:
        raise StudyError(
            f"{file}: lists no ingredients; write a line of column names, `dish` or `image`, and "
            "`ingredients`, then one line for each"
        )
    return rows


def key_column(file: Path, header: list[str]) -> By:
    """Return `dish` or `image`, whichever is a column; raises StudyError when columns are wrong."""
    for by in ("dish", "image"):
        if sorted(header) == sorted([by, "ingredients"]):
            return by
    raise StudyError(
        f"{file}: its columns should be `dish` or `image`, and `ingredients`, with a comma in "
        f"between, not `{','.join(header)}`; correct its first line"
    )


def dish_or_image(
    where: str, header: list[str], by: By, cells: list[str]
) -> tuple[str, tuple[str, ...]]:
    """Return what a row is of, and its ingredients; raises StudyError when either is missing."""
    if len(cells) != len(header):
        raise StudyError(
            f"{where}: has {len(cells)} cells, the first line {len(header)}; join ingredients by "
            "`;`, and put quotes around a comma"
        )
    row = dict(zip(header, cells, strict=True))
    given = names(row["ingredients"].split(";"))
    if not row[by]:
        raise StudyError(f"{where}: names no {by}; give one or remove the line")
    if not given:
        raise StudyError(f"{where}: `{row[by]}` has no ingredients; add some or remove the line")
    if any("," in name for name in given):
        raise StudyError(f"{where}: there is a comma in its ingredients; join them by `;`")
    return row[by], given


def ingredients101(folder: Path) -> IngredientTable:
    """Read Ingredients101: `ingredients_simplified.txt`, a line for each line of `classes.txt`.

    M. Bolaños, A. Ferrà, P. Radeva, ICIAP workshops, 2017. Raises StudyError when the files do not
    correspond, a dish is there twice or has no ingredients.
    """
    lists = annotations(folder)
    file = lists / "ingredients_simplified.txt"
    dishes, recipes = lines(lists / "classes.txt"), lines(file)
    if len(dishes) != len(recipes):
        raise StudyError(
            f"{file}: has {len(recipes)} lines, and classes.txt beside it {len(dishes)}, but there "
            "should be one for each dish; use the published files"
        )
    rows: dict[str, tuple[str, ...]] = {}
    for number, (dish, recipe) in enumerate(zip(dishes, recipes, strict=True), 1):
        if not dish or dish in rows:
            raise StudyError(
                f"{lists / 'classes.txt'} line {number}: `{dish}` is no dish or is there twice; "
                "use the published file"
            )
        rows[dish] = names(recipe.split(","))
        if not rows[dish]:
            raise StudyError(
                f"{file} line {number}: `{dish}` has no ingredients; use the published file"
            )
    return IngredientTable("dish", rows, str(file))


def recipes5k(folder: Path) -> IngredientTable:
    """Read Recipes5k: each image has a recipe of its own, told by its line number, from 0.

    M. Bolaños, A. Ferrà, P. Radeva, ICIAP workshops, 2017. The recipes are the lines of
    `ingredients_simplified_Recipes5k.txt`; one may have no ingredients left after simplification.
    Raises StudyError when images and labels do not correspond, a label is no line number of a
    recipe, or an image is listed twice.
    """
    lists = annotations(folder)
    file = lists / "ingredients_simplified_Recipes5k.txt"
    recipes = [names(line.split(",")) for line in lines(file)]
    rows: dict[str, tuple[str, ...]] = {}
    for part in RECIPES5K_PARTS:
        images, labels = lists / f"{part}_images.txt", lists / f"{part}_labels.txt"
        listed, numbers = lines(images), lines(labels)
        if len(listed) != len(numbers):
            raise StudyError(
                f"{labels}: has {len(numbers)} lines, and {images.name} beside it {len(listed)}, "
                "but there should be one for each image; use the published files"
            )
        for line, (image, number) in enumerate(zip(listed, numbers, strict=True), 1):
            if not number.isdecimal() or int(number) >= len(recipes):
                raise StudyError(
                    f"{labels} line {line}: expected the number of a line of {file.name}, 0 to "
                    f"{len(recipes) - 1}, found `{number}`; use the published file"
                )
            key = row_key("image", image)
            if key in rows:
                raise StudyError(f"{images} line {line}: `{image}` is listed twice; keep one line")
            rows[key] = recipes[int(number)]
    return IngredientTable("image", rows, str(file))


def annotations(folder: Path) -> Path:
    """Return the folder of the lists; the archive of Ingredients101 spells it with a capital."""
    for name in ("annotations", "Annotations"):
        if (folder / name).is_dir():
            return folder / name
    raise StudyError(f"{folder / 'annotations'}: no such folder; unpack the annotations there")


def names(given: Iterable[str]) -> tuple[str, ...]:
    """Return names of ingredients in lower case, with single spaces, each once, in their order."""
    plain = (" ".join(one.replace("_", " ").split()).lower() for one in given)
    return tuple(dict.fromkeys(name for name in plain if name))


def row_key(by: By, name: str) -> str:
    """Return how a dish or image is looked up: see `IngredientTable.of`."""
    if by == "dish":
        return " ".join(name.replace("_", " ").split()).casefold()
    stem, dot, suffix = name.rpartition(".")
    return stem if dot and suffix.lower() in ("jpg", "jpeg", "png") else name
