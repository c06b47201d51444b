"""Small trees in the published layouts of food datasets; `foods` says what is true of them."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foods import BOXES, CATEGORIES, FOOD101, INGREDIENTS101, RECIPES, RECIPES5K, SIDES
from studies.recipes.params import Parameters
from studies.runs.params import read_yaml, run_files

TILES = {"green": (40, 180, 60), "red": (220, 40, 40), "yellow": (230, 200, 40)}
TOPPINGS = [("rice",), ("rice", "nori"), ("rice", "egg"), ("rice", "nori", "egg")]


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
    """Return a function that writes Food-101's layout with given images of given dishes."""

    def write(folder: Path, given: dict[str, tuple[list[str], list[str]]] = FOOD101) -> Path:
        meta = folder / "meta"
        text(meta / "classes.txt", sorted(given))
        for which, part in enumerate(("train", "test")):
            listed = {dish: [f"{dish}/{one}" for one in ids[which]] for dish, ids in given.items()}
            text(meta / f"{part}.txt", [image for images in listed.values() for image in images])
            (meta / f"{part}.json").write_text(json.dumps(listed))
            for seed, image in enumerate(image for images in listed.values() for image in images):
                photograph(folder / "images" / f"{image}.jpg", seed)
        return folder

    return write


@pytest.fixture(scope="session")
def uecfood256_folder():
    """Return a function that writes UEC Food-256's layout: pictures of boxes, filled each."""

    def write(folder: Path, given: dict = BOXES, categories: dict = CATEGORIES) -> Path:
        text(
            folder / "category.txt",
            ["id\tname", *(f"{number}\t{name}" for number, name in categories.items())],
        )
        shown: dict[str, list] = {}
        for (_, image), boxes in given.items():
            shown.setdefault(image, []).extend(boxes)
        for category in categories:
            lines = ["img x1 y1 x2 y2"]
            for (where, image), boxes in given.items():
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


@pytest.fixture(scope="session")
def tiles_folder():
    """Return a function that writes an easy dataset in Food-101's layout, below STUDIES_DATA.

    A dish is a colour; nori is a black bar at the top, egg a white one on the left, and rice is
    nowhere to be seen and in everything. Of each dish 12 pictures are for training and 4 for the
    test, with the same four plates in turn.
    """

    def write(data: Path) -> Path:
        folder, table = data / "food101" / "food-101", ["image,ingredients"]
        text(folder / "meta" / "classes.txt", list(TILES))
        listed = {"train": [], "test": []}
        for dish, colour in TILES.items():
            for k in range(16):
                image, given = f"{dish}/{k:02}", TOPPINGS[k % 4]
                listed["train" if k < 12 else "test"].append(image)
                table.append(f"{image},{';'.join(given)}")
                rng = np.random.default_rng([k, *colour])
                pixels = colour + rng.normal(0, 12, (16, 16, 3))
                if "nori" in given:
                    pixels[:5] *= 0.1
                if "egg" in given:
                    pixels[:, :5] = 255
                file = folder / "images" / f"{image}.jpg"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, quality=95)
        for part, images in listed.items():
            text(folder / "meta" / f"{part}.txt", images)
        text(data / "tiles.csv", table)
        return folder

    return write


@pytest.fixture(scope="session")
def tiles():
    """Return a function that gives the parameters of a system of `tiny`, on the tiles.

    `network` says what is other in its network.
    """

    @cache
    def shipped(system: str) -> dict:
        values = {}
        for file in run_files("recipes", "tiny")[system]:
            values |= read_yaml(file)
        return values

    def make(system: str = "shared_backbone", network: dict | None = None, **changes) -> Parameters:
        values = dict(shipped(system))
        if network:
            values["network"] = values["network"] | network
        smaller = {
            **{"dataset": "tiles", "seed": 0, "validation_share": 0.34, "test_share": 0.0},
            **{"source": {"name": "food101", "ingredients": "tiles.csv"}},
            **{"image_size": 16, "images": 8, "epochs": 3},
        }
        return Parameters.check(values | smaller | changes, {"": "test"})

    return make


@pytest.fixture
def few(sandbox, tiles_folder) -> Path:
    """A sandbox with the tiles."""
    tiles_folder(sandbox / "data")
    return sandbox


@pytest.fixture(scope="session")
def vit(tmp_path_factory) -> Path:
    """A tiny random vision transformer, in the layout of save_pretrained."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "image_size": 16, "patch_size": 8}
    config = transformers.ViTConfig(num_hidden_layers=1, num_attention_heads=2, **size)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    processor = transformers.ViTImageProcessor(size={"height": 16, "width": 16})
    processor.save_pretrained(folder)
    return folder
