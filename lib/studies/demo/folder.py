"""The kitchen as a folder of pictures, drawn once and kept in the cache."""

import csv
from pathlib import Path

from studies import paths
from studies.demo.drawing import draw
from studies.demo.world import Plate, plates
from studies.runs.files import made_once

# Raise it whenever a plate is drawn otherwise: folders drawn before are then left alone.
VERSION = 1


def kitchen(per_variant: int, seed: int = 0) -> Path:
    """Return the folder of a drawn kitchen, made at the first call.

    It holds `images/<category>/<dish>/<variant>/<id>.png` (RGB, 96×96) and `plates.csv`: one row a
    plate with `id`, `path` (from the folder), `category`, `dish`, `variant`, `ingredients` (joined
    by `;`) and `table`. Processes may call it at once; a killed call leaves no half-made folder.

    Raises `StudyError` as `plates` does, or when the cache cannot be written.
    """
    contents = plates(per_variant, seed)
    folder = paths.cache() / f"kitchen{VERSION}-{per_variant}-{seed}"
    return made_once(folder, lambda partial: _fill(partial, contents))


def _fill(folder: Path, contents: list[Plate]) -> None:
    """Draw all plates into a new folder, and list them."""
    folder.mkdir()
    with (folder / "plates.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["id", "path", "category", "dish", "variant", "ingredients", "table"])
        for plate in contents:
            labels = (plate.category, plate.dish, plate.variant)
            path = Path("images", *labels, f"{plate.id}.png")
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            draw(plate).save(folder / path)
            ingredients = ";".join(plate.ingredients)
            table.writerow([plate.id, path.as_posix(), *labels, ingredients, plate.table])
