"""The demo kitchen is frozen, drawn the same everywhere, and hard enough to be worth studying."""

import csv
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

from studies import demo
from studies.paths import StudyError

DIGEST = "2cba5d4b188918de98d3d458f08f0c6f0cc1fa84b2cbaa92f1188b0b3df0cbe3"
MEAN_COLOURS = {  # red, green and blue of 255
    "main": (133.9, 106.7, 89.1),
    "bowl": (135.6, 113.4, 95.1),
    "cold_plate": (129.0, 117.2, 102.5),
    "sweet": (134.0, 115.4, 100.5),
}


@pytest.fixture(scope="module")
def pictures() -> dict[demo.Plate, np.ndarray]:
    return {plate: np.asarray(demo.draw(plate)) for plate in demo.plates(12)}


def _run(code: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
    )


def _digest(plates: list[demo.Plate]) -> str:
    return hashlib.sha256(json.dumps([asdict(plate) for plate in plates]).encode()).hexdigest()


def test_the_plates_are_frozen():
    assert _digest(demo.plates(5)) == DIGEST


def test_the_look_is_frozen(pictures):
    for category, expected in MEAN_COLOURS.items():
        colours = [p.mean((0, 1)) for plate, p in pictures.items() if plate.category == category]
        np.testing.assert_allclose(np.mean(colours, 0), expected, atol=2.0, err_msg=category)


def test_the_tree_has_three_levels_of_unequal_size_and_unique_variants():
    dishes = [dish for category in demo.TREE.values() for dish in category]
    variants = [v for category in demo.TREE.values() for dish in category.values() for v in dish]
    assert len(set(dishes)) == len(dishes) == 9
    assert len(set(variants)) == len(variants) == 24
    assert len({len(v) for category in demo.TREE.values() for v in category.values()}) > 1
    assert [plate.variant for plate in demo.plates(1)] == variants


def test_a_plate_depends_on_its_number_and_seed_only():
    few, many, other = demo.plates(2), demo.plates(9), demo.plates(9, seed=1)
    assert set(few) < set(many)
    assert len({plate.id for plate in many}) == len(many)
    assert not {plate.seed for plate in many} & {plate.seed for plate in other}


def test_rare_variants_have_fewer_plates():
    counts = Counter(plate.variant for plate in demo.plates(60))
    assert max(counts.values()) == 60
    assert sorted(n for n in counts.values() if n < 60) == [30, 42, 42, 42, 42]


@pytest.mark.parametrize(("per_variant", "seed"), [(0, 0), (-3, 0), (5, -1)])
def test_impossible_kitchens_are_refused(per_variant, seed):
    with pytest.raises(StudyError, match=f"per_variant={per_variant}, seed={seed}"):
        demo.plates(per_variant, seed)


def test_ingredients_vary_but_tell_the_variants_apart():
    by_variant: dict[str, set[frozenset[str]]] = {}
    for plate in demo.plates(40):
        assert set(plate.ingredients) <= set(demo.INGREDIENTS)
        by_variant.setdefault(plate.variant, set()).add(frozenset(plate.ingredients))
    assert all(len(sets) > 1 for sets in by_variant.values())
    seen = [ingredients for sets in by_variant.values() for ingredients in sets]
    assert len(seen) == len(set(seen))


def test_drawing_is_the_same_twice_and_in_another_process():
    code = """if True:
        import hashlib
        from studies import demo
        pixels = [demo.draw(plate).tobytes() for plate in demo.plates(2)]
        print(hashlib.sha256(b"".join(pixels)).hexdigest())"""
    pixels = [demo.draw(plate).tobytes() for plate in demo.plates(2)]
    assert pixels == [demo.draw(plate).tobytes() for plate in demo.plates(2)]
    output, _ = _run(code, PYTHONHASHSEED="7").communicate(timeout=60)
    assert output.strip() == hashlib.sha256(b"".join(pixels)).hexdigest()


def test_no_two_pictures_are_alike(pictures):
    assert len({picture.tobytes() for picture in pictures.values()}) == len(pictures)


@pytest.mark.parametrize("size", [32, 96, 131])
def test_any_size_can_be_drawn(size):
    picture = demo.draw(demo.plates(1)[0], size)
    assert (picture.mode, picture.size) == ("RGB", (size, size))


def test_every_visible_ingredient_is_drawn_on_the_plate(pictures):
    down, across = np.mgrid[0:96, 0:96] / 96 - 0.5
    for plate in list(pictures)[::4]:
        right, low = plate.shift
        outside = np.hypot(across - right, down - low) > 1.05 * plate.zoom
        for name in plate.ingredients:
            others = tuple(other for other in plate.ingredients if other != name)
            without = np.asarray(demo.draw(replace(plate, ingredients=others)), int)
            changed = np.abs(without - pictures[plate]).max(2)
            assert (changed > 8).sum() >= 5, f"{name} cannot be seen on {plate.id}"
            assert not (changed * outside).any(), f"{name} lies beside the plate of {plate.id}"


def test_every_condition_changes_the_picture():
    plate = replace(
        demo.plates(1)[0],
        **{"table": "wood", "plate_shape": "round", "plate_colour": "white", "blur": 0.0},
        **{"distractors": (), "occlusion": ""},
    )
    changes = [{"table": "slate"}, {"table": "marble"}, {"plate_colour": "blue"}, {"blur": 0.02}]
    changes += [{"plate_shape": shape} for shape in ("square", "bowl")]
    changes += [{"distractors": (name,)} for name in ("fork", "glass", "napkin", "crumbs")]
    changes += [{"occlusion": name} for name in ("napkin", "fork", "shadow", "glare")]
    pictures = {demo.draw(replace(plate, **change)).tobytes() for change in changes}
    assert len(pictures | {demo.draw(plate).tobytes()}) == len(changes) + 1


def _colours(picture: np.ndarray) -> np.ndarray:
    """Return the colour histogram of the picture's middle, freed from the colour of the light."""
    middle = picture[28:-28, 28:-28].reshape(-1, 3)
    bins = np.clip(middle / middle.mean(0) * 3, 0, 7).astype(int) @ (64, 8, 1)
    return np.sqrt(np.bincount(bins, minlength=512) / len(bins))


def test_the_variants_can_be_learned_but_not_perfectly(pictures):
    features = np.array([_colours(picture) for picture in pictures.values()])
    variants = np.array([plate.variant for plate in pictures])
    train = np.array([int(plate.id[-3:]) % 2 == 0 for plate in pictures])
    distances = ((features[~train, None] - features[None, train]) ** 2).sum(2)
    nearest = variants[train][distances.argmin(1)]
    score = f1_score(variants[~train], nearest, average="macro")
    assert 5 / 24 < score < 0.98


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path))
    return tmp_path / "cache"


def test_the_kitchen_is_a_folder_of_pictures_and_a_table(cache):
    folder = demo.kitchen(1, seed=3)
    assert folder == cache / "kitchen1-1-3"
    with (folder / "plates.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {folder / row["path"] for row in rows} == set(folder.rglob("*.png"))
    for row, plate in zip(rows, demo.plates(1, seed=3), strict=True):
        assert (row["id"], row["variant"], row["table"]) == (plate.id, plate.variant, plate.table)
        assert row["path"] == f"images/{plate.category}/{plate.dish}/{plate.variant}/{plate.id}.png"
        assert tuple(row["ingredients"].split(";")) == plate.ingredients
        with Image.open(folder / row["path"]) as picture:
            assert picture.tobytes() == demo.draw(plate).tobytes()


def test_a_kitchen_is_made_once(cache, monkeypatch):
    folder = demo.kitchen(1)
    monkeypatch.setattr("studies.demo.folder.draw", lambda plate: pytest.fail("drawn again"))
    assert demo.kitchen(1) == folder


def test_a_killed_kitchen_leaves_nothing_half_made(cache, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            "studies.demo.folder.draw", lambda plate: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            demo.kitchen(1)
    assert not (cache / "kitchen1-1-0").exists()
    assert len(list(demo.kitchen(1).rglob("*.png"))) == 24


def test_two_processes_may_make_the_same_kitchen(cache):
    code = "from studies import demo; print(demo.kitchen(2))"
    processes = [_run(code, STUDIES_ROOT=str(cache.parent)) for _ in range(2)]
    folders = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert folders == [str(cache / "kitchen1-2-0")] * 2
    assert len(list((cache / "kitchen1-2-0").rglob("*.png"))) == len(demo.plates(2))
    assert not list(cache.glob("*.partial"))
