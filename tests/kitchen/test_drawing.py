"""The pictures look as they did, show all that is on a plate, and differ."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import kitchen

MEAN_COLOURS = {  # red, green and blue of 255
    "main": (133.9, 106.7, 89.1),
    "bowl": (135.6, 113.4, 95.1),
    "cold_plate": (129.0, 117.2, 102.5),
    "sweet": (134.0, 115.4, 100.5),
}


@pytest.fixture(scope="module")
def pictures() -> dict[kitchen.Plate, np.ndarray]:
    return {plate: np.asarray(kitchen.draw(plate)) for plate in kitchen.plates(12)}


def test_the_look_is_frozen(pictures):
    for category, expected in MEAN_COLOURS.items():
        colours = [p.mean((0, 1)) for plate, p in pictures.items() if plate.category == category]
        np.testing.assert_allclose(np.mean(colours, 0), expected, atol=2.0, err_msg=category)
    assert len({picture.tobytes() for picture in pictures.values()}) == len(pictures)


def test_every_visible_ingredient_is_drawn_on_the_plate(pictures):
    down, across = np.mgrid[0:96, 0:96] / 96 - 0.5
    drawn = set()
    for plate in list(pictures)[::3]:
        right, low = plate.shift
        outside = np.hypot(across - right, down - low) > 1.05 * plate.zoom
        for name in plate.ingredients:
            others = tuple(other for other in plate.ingredients if other != name)
            without = np.asarray(kitchen.draw(replace(plate, ingredients=others)), int)
            changed = np.abs(without - pictures[plate]).max(2)
            assert (changed > 8).sum() >= 5, f"{name} cannot be seen on {plate.id}"
            assert not (changed * outside).any(), f"{name} lies beside the plate of {plate.id}"
            drawn.add(name)
    assert drawn == set(kitchen.INGREDIENTS)


def test_every_condition_changes_the_picture():
    bare = {"table": "wood", "plate_shape": "round", "plate_colour": "white", "blur": 0.0}
    plate = replace(kitchen.plates(1)[0], **bare, distractors=(), occlusion="")
    changes = [{"table": "slate"}, {"table": "marble"}, {"plate_colour": "blue"}, {"blur": 0.02}]
    changes += [{"plate_shape": shape} for shape in ("square", "bowl")]
    changes += [{"distractors": (name,)} for name in ("fork", "glass", "napkin", "crumbs")]
    changes += [{"occlusion": name} for name in ("napkin", "fork", "shadow", "glare")]
    pictures = {kitchen.draw(replace(plate, **change)).tobytes() for change in changes}
    assert len(pictures | {kitchen.draw(plate).tobytes()}) == len(changes) + 1


def test_a_folder_of_pictures_and_a_table(tmp_path):
    folder, plates = tmp_path / "kitchen", kitchen.plates(1, seed=3)
    kitchen.write_images(folder, plates)
    with (folder / "plates.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {folder / row["path"] for row in rows} == set(folder.rglob("*.png"))
    for row, plate in zip(rows, plates, strict=True):
        assert (row["id"], row["variant"], row["table"]) == (plate.id, plate.variant, plate.table)
        assert row["path"] == f"images/{plate.category}/{plate.dish}/{plate.variant}/{plate.id}.png"
        assert tuple(row["ingredients"].split(";")) == plate.ingredients
        with Image.open(folder / row["path"]) as picture:
            assert picture.tobytes() == kitchen.draw(plate).tobytes()
