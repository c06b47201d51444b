"""Readers of published layouts: from files on disk to plates."""

import json
from pathlib import Path

import numpy as np

from studies.inputs.reading import lines, read_text
from studies.paths import StudyError
from studies.recipes import ingredients
from studies.recipes.boxes import cut, read_boxes
from studies.recipes.ingredients import IngredientTable
from studies.recipes.plates import Plates


def food101(folder: Path, table: IngredientTable) -> Plates:
    """Read Food-101: `images/<dish>/<id>.jpg`, by the lists in `meta/`.

    L. Bossard, M. Guillaumin, L. Van Gool, ECCV 2014. `classes.txt` names the dishes, `train.txt`
    and `test.txt`, or `.json` in their place, the images of the published parts, `<dish>/<id>`.
    Raises StudyError when a list is wrong, a listed image is missing, or a dish has no image or no
    row in the table.
    """
    meta = folder / "meta"
    dishes = lines(meta / "classes.txt")
    for number, dish in enumerate(dishes, 1):
        if not dish or dish in dishes[: number - 1]:
            raise StudyError(
                f"{meta / 'classes.txt'} line {number}: `{dish}` is no dish or is there twice; use "
                "the published file"
            )
    listed = {part: food101_images(meta, part) for part in ("train", "test")}
    return in_parts(folder / "images", listed, dishes, table)


def food101_images(meta: Path, part: str) -> list[tuple[str, str]]:
    """Return where each image of a part is listed, and its file, from `<part>.txt` or `.json`."""
    listing, other = meta / f"{part}.txt", meta / f"{part}.json"
    if listing.exists() or not other.exists():
        named = enumerate(lines(listing), 1)
        return [(f"{listing} line {number}", f"{image}.jpg") for number, image in named if image]
    try:
        by_dish = json.loads(read_text(other))
        return [(str(other), f"{image}.jpg") for dish in by_dish for image in by_dish[dish]]
    except (ValueError, TypeError) as error:
        raise StudyError(
            f"{other}: expected lists of images by dish ({error}); use the published file"
        ) from None


def recipes5k(folder: Path) -> Plates:
    """Read Recipes5k: images of the dishes of Food-101, each with the ingredients of its recipe.

    The images are its own, `images/<dish>/<id>.jpg`, none of Food-101's, and so are its parts; all
    three are published. Raises StudyError as `food101` and `ingredients.recipes5k` do.
    """
    table = ingredients.recipes5k(folder)
    lists = ingredients.annotations(folder)
    listed = {}
    for name, part in ingredients.RECIPES5K_PARTS.items():
        listing = lists / f"{name}_images.txt"
        named = enumerate(lines(listing), 1)
        listed[part] = [(f"{listing} line {number}", image) for number, image in named]
    dishes = sorted({image.split("/")[0] for named in listed.values() for _, image in named})
    return in_parts(folder / "images", listed, dishes, table)


def in_parts(
    root: Path, listed: dict[str, list[tuple[str, str]]], dishes: list[str], table: IngredientTable
) -> Plates:
    """Return the plates of published parts; `listed` gives where and which, `<dish>/<id>.jpg`.

    Raises StudyError when an image is missing, of no dish or listed twice, a part is empty, or a
    dish has no image or no ingredients.
    """
    part_of: dict[str, str] = {}
    there: dict[str, set[str]] = {}
    for part, named in listed.items():
        if not named:
            raise StudyError(f"{root}: no image is in the {part} list; use the published lists")
        for where, image in named:
            dish, _, name = image.partition("/")
            if dish not in there:
                if dish not in dishes:
                    raise StudyError(
                        f"{where}: expected a dish of classes.txt, `/` and one of its images, "
                        f"found `{image[:60]}`; use the published lists"
                    )
                place = root / dish
                there[dish] = {one.name for one in place.iterdir()} if place.is_dir() else set()
            if image in part_of:
                both = f"in {part}" if part == part_of[image] else f"in {part_of[image]} and {part}"
                raise StudyError(f"{where}: `{image}` is listed twice, {both}; keep one line")
            if name not in there[dish]:
                raise StudyError(f"{where}: there is no image {root / image}; unpack it again")
            part_of[image] = part
    for dish in dishes:
        if dish not in there:
            raise StudyError(
                f"{root / dish}: no list names an image of it; use the published lists"
            )
    files, place_of = list(part_of), {dish: place for place, dish in enumerate(dishes)}
    of_file = [file.split("/")[0] for file in files]
    names, present = presence(
        [table.of(dish, file) for dish, file in zip(of_file, files, strict=True)]
    )
    return Plates(
        root=root,
        files=files,
        dishes=dishes,
        dish=np.array([place_of[dish] for dish in of_file]),
        ingredients=names,
        present=present,
        official=np.array(list(part_of.values())),
    )


def uecfood256(folder: Path, table: IngredientTable) -> Plates:
    """Read UEC Food-256: `category.txt`, and `<category>/` with `bb_info.txt` and `<image>.jpg`.

    Y. Kawano, K. Yanai, ECCV workshops, 2014. A plate is what lies in one box, see `boxes.cut`. A
    photograph of several dishes lies under the same name in the folder of each, and its plates stay
    in one part. An image of the table is `<category>/<image>`. Pictures without a box are left out.
    Raises StudyError when a list is wrong, an image is missing, or a dish has no image or no row in
    the table.
    """
    dishes = uecfood256_dishes(folder / "category.txt")
    given = []
    boxes = []
    for category, dish in dishes.items():
        for box in read_boxes(folder, category):
            boxes.append(box)
            given.append(table.of(dish, f"{box.category}/{box.image}"))
    names, present = presence(given)
    place_of = {category: place for place, category in enumerate(dishes)}
    return Plates(
        root=cut(folder, boxes),
        files=[box.file for box in boxes],
        dishes=list(dishes.values()),
        dish=np.array([place_of[box.category] for box in boxes]),
        ingredients=names,
        present=present,
        photographs=np.array([box.image for box in boxes]),
    )


def uecfood256_dishes(file: Path) -> dict[str, str]:
    """Return the dish of each category, in the order of their numbers."""
    dishes: dict[int, str] = {}
    for number, line in enumerate(lines(file), 1):
        category, *words = line.split() or [""]
        if not line or (number == 1 and category == "id"):
            continue
        dish = " ".join(words)
        if not category.isdecimal() or not dish:
            raise StudyError(
                f"{file} line {number}: expected the number of a category and its name, found "
                f"`{line[:60]}`; use the published file"
            )
        if int(category) in dishes or dish in dishes.values():
            raise StudyError(
                f"{file} line {number}: `{line[:60]}` has a number or name that is there already; "
                "use the published file"
            )
        dishes[int(category)] = dish
    if not dishes:
        raise StudyError(f"{file}: names no dish; use the published file")
    return {str(category): dishes[category] for category in sorted(dishes)}


def presence(given: list[tuple[str, ...]]) -> tuple[list[str], np.ndarray]:
    """Return the S ingredients of N plates, sorted, and (N, S) which plate has which."""
    names = sorted({name for one in given for name in one})
    column = {name: place for place, name in enumerate(names)}
    present = np.zeros((len(given), len(names)), dtype=bool)
    for row, one in enumerate(given):
        present[row, [column[name] for name in one]] = True
    return names, present
