"""Small trees in the published layouts of food datasets; `foods` says what is true of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foods import BOXES, CATEGORIES, FOOD101, INGREDIENTS101, RECIPES, RECIPES5K, SIDES


def photograph(file: Path, seed: int = 0) -> None:
    """Write a small picture of noise."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)


def text(file: Path, lines: list[str]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture(scope="session")
def food101_folder():
    """Return a function that writes Food-101's layout with the images of `FOOD101`."""

    def write(folder: Path) -> Path:
        meta = folder / "meta"
        text(meta / "classes.txt", sorted(FOOD101))
        text(meta / "labels.txt", [dish.replace("_", " ").title() for dish in sorted(FOOD101)])
        for which, part in enumerate(("train", "test")):
            listed = {
                dish: [f"{dish}/{one}" for one in ids[which]] for dish, ids in FOOD101.items()
            }
            text(meta / f"{part}.txt", [image for images in listed.values() for image in images])
            (meta / f"{part}.json").write_text(json.dumps(listed))
            for seed, image in enumerate(image for images in listed.values() for image in images):
                photograph(folder / "images" / f"{image}.jpg", seed)
        return folder

    return write


@pytest.fixture(scope="session")
def uecfood256_folder():
    """Return a function that writes UEC Food-256's layout: pictures of `BOXES`, filled each."""

    def write(folder: Path) -> Path:
        text(
            folder / "category.txt",
            ["id\tname", *(f"{number}\t{name}" for number, name in CATEGORIES.items())],
        )
        shown: dict[str, list] = {}
        for (_, image), boxes in BOXES.items():
            shown.setdefault(image, []).extend(boxes)
        for category in CATEGORIES:
            lines = ["img x1 y1 x2 y2"]
            for (where, image), boxes in BOXES.items():
                if where == category:
                    lines += [" ".join(map(str, (image, *corners))) for corners, _ in boxes]
                    picture = Image.new("RGB", SIDES, (128, 128, 128))
                    for corners, colour in shown[image]:
                        picture.paste(colour, corners)
                    file = folder / str(category) / f"{image}.jpg"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    picture.save(file, quality=100, subsampling=0)
            text(folder / str(category) / "bb_info.txt", lines)
        return folder

    return write


@pytest.fixture(scope="session")
def ingredients101_folder():
    """Return a function that writes Ingredients101's layout."""

    def write(folder: Path, name: str = "annotations") -> Path:
        text(folder / name / "classes.txt", list(INGREDIENTS101))
        text(folder / name / "ingredients_simplified.txt", list(INGREDIENTS101.values()))
        return folder

    return write


@pytest.fixture(scope="session")
def recipes5k_folder():
    """Return a function that writes Recipes5k's layout."""

    def write(folder: Path) -> Path:
        lists = folder / "annotations"
        text(lists / "ingredients_simplified_Recipes5k.txt", RECIPES)
        for part, listed in RECIPES5K.items():
            text(lists / f"{part}_images.txt", [image for image, _ in listed])
            text(lists / f"{part}_labels.txt", [str(line) for _, line in listed])
            for image, line in listed:
                photograph(folder / "images" / image, line)
        return folder

    return write
