"""Published layouts and tables of ingredients become plates: small archives and the real one."""

import json
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foods import BOXES, CATEGORIES, FOOD101, RECIPES, RECIPES5K, SIDES
from sentences import kept, refused
from studies import paths
from studies.recipes import readers
from studies.recipes.readers import IngredientTable, from_csv, ingredients101
from studies.runs.params import read_yaml

TYPICAL = Path(readers.__file__).with_name("typical_ingredients.csv")
BY_DISH = IngredientTable(
    "dish",
    {
        "apple pie": ("apple", "flour", "butter"),
        "caesar salad": ("lettuce", "egg"),
        "ramen": ("noodles", "nori"),  # no dish of the archive
        "miso soup": ("miso", "tofu", "egg"),
    },
    "own.csv",
)
UEC = IngredientTable(
    "dish",
    {
        "rice": ("rice",),
        "eels on rice": ("eel", "rice"),
        "chicken-'n'-egg on rice": ("chicken", "egg", "rice"),
    },
    "own.csv",
)


def ingredients_of(plates):
    """Each picture's ingredients."""
    return {
        file: {name for name, there in zip(plates.ingredients, row, strict=True) if there}
        for file, row in zip(plates.files, plates.present, strict=True)
    }


def edit(file, old, new):
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))


def write(folder, content) -> Path:
    file = folder / "own.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


class TestTypical:
    def test_101_dishes(self):
        rows = [line.split(",") for line in TYPICAL.read_text().splitlines()[1:]]
        table = readers.table("typical")
        assert {dish.replace("_", " "): tuple(c.split(";")) for dish, c in rows} == table.rows
        assert len(rows) == len(table.rows) == 101


class TestCsv:
    def test_by_image_with_or_without_extension(self, tmp_path):
        content = "image,ingredients\npie/1.jpg,apple\npie/a.b.JPEG,tofu\npie/v1.5,kale\n"
        table = from_csv(write(tmp_path, content))
        assert list(table.rows) == ["pie/1", "pie/a.b", "pie/v1.5"]
        for image in ("pie/1", "pie/1.jpg", "pie/1.WebP"):
            assert table.of("anything", image) == ("apple",)
        assert table.of("pie", "pie/v1.5.jpg") == ("kale",)

    @pytest.mark.parametrize(
        "content",
        [
            "\ufeffdish,ingredients\r\npie,apple;flour\r\n",
            "ingredients,dish\napple;flour,pie\n",
            'dish , ingredients\n" P_IE"," apple ;\tFLOUR;; apple"'.replace("_", ""),
        ],
    )
    def test_the_same_table_written_otherwise(self, tmp_path, content):
        assert from_csv(write(tmp_path, content)).rows == {"pie": ("apple", "flour")}

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            *((content, "needs rows below") for content in ("", "dish,ingredients\n,\n")),
            ("pie,apple;flour\npie,apple\n", "unknown column `pie`; there are: image, ingredients"),
            ("dish,image,ingredients\na,b,c", "unknown column `image`; there are: dish, ingred"),
            ("dish;ingredients\na;b", "unknown column `dish;ingredients`; did you mean `ingr"),
            ("dish\npie", "has no column `ingredients`; its columns: dish, ingredients"),
        ],
    )
    def test_wrong_columns_or_no_row(self, tmp_path, content, said):
        file = write(tmp_path, content)
        assert refused(from_csv, file).startswith(f"{file}: {said}")

    @pytest.mark.parametrize(
        "row", ["soup,", "soup,;_; ", ",miso", 'soup,"miso, tofu"', " P_ie ,a"]
    )
    def test_a_bad_row_is_named_by_its_line(self, tmp_path, row):
        file = write(tmp_path, f"dish,ingredients\np ie,apple\n\nrice,rice\n{row}\nham,ham\n")
        message = refused(from_csv, file)
        assert message.startswith(f"{file} line 5: expected one dish")
        assert "mend the line" in message

    def test_files_that_cannot_be_read(self, tmp_path):
        assert "no.csv: no such file or directory; put it" in refused(from_csv, tmp_path / "no.csv")
        assert "is a directory; put it" in refused(from_csv, tmp_path)
        latin = write(tmp_path, "dish,ingredients\npie,crème\n".encode("latin-1"))
        assert refused(from_csv, latin).startswith(f"{latin} line 2: is not UTF-8")
        quote = write(tmp_path, 'dish,ingredients\npie,"apple\nsoup,miso')
        assert refused(from_csv, quote).startswith(f"{quote} line 3: expected one dish")


PLATES = [
    "image,dish,ingredients,variant,recipe",
    "1.png,pie,Apple; flour ;apple,apple pie,Bake.",
    '2.png,pie,leek;flour,leek pie,"Fry,\nbake."',
    "3.png,soup,Leek,leek soup,Boil.",
]


class TestTable:
    @pytest.fixture
    def plates(self, tmp_path):
        """Return a function that reads a table of three pictures, each a list of lines."""
        for k in (1, 2, 3):
            (tmp_path / f"{k}.png").write_bytes(bytes([k]))

        def read(*rows):
            file = write(tmp_path, "\n".join(rows))
            return readers.from_table(file)

        return read

    def test_plates(self, plates, tmp_path):
        found = plates(*PLATES)
        assert ingredients_of(found) == {
            **{"1.png": {"apple", "flour"}, "2.png": {"leek", "flour"}, "3.png": {"leek"}}
        }
        assert [found.dishes[k] for k in found.dish] == ["pie", "pie", "soup"]
        variants = [found.variants[k] for k in found.variant]
        assert variants == ["apple pie", "leek pie", "leek soup"]
        assert found.references == ["Bake.", "Fry,\nbake.", "Boil."]
        assert found.official is None
        less = plates(*(",".join(row.split(",")[:3]) for row in (*PLATES[:2], PLATES[3])))
        assert less.variants is less.variant is less.references is None
        assert less.fingerprint != found.fingerprint

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ('3.png,soup,"leek, salt",leek soup,Boil.', "expected ingredients joined by `;`"),
            ("3.png,soup,; ;,leek soup,Boil.", "expected ingredients joined by `;`, found `; ;`"),
            ("3.png,soup,leek,leek pie,Boil.", "`leek pie` is a variant of soup, and of pie above"),
            ("2.png,soup,leek,leek soup,Boil.", "`2.png` is listed twice"),
            ("3.png,soup,leek,leek soup,", "has no recipe"),
        ],
    )
    def test_a_bad_row_is_named_by_its_line(self, plates, tmp_path, row, said):
        message = refused(plates, *PLATES[:3], row)
        assert message.startswith(f"{tmp_path / 'own.csv'} line 5: {said}")


READERS = {
    "food101": lambda folder: readers.food101(folder, BY_DISH),
    "ingredients101": ingredients101,
    "recipes5k": readers.recipes5k,
    "uecfood256": lambda folder: readers.uecfood256(folder, UEC),
}


@pytest.fixture
def layout(request, sandbox):
    """Return a function: name of a layout -> a folder of it."""

    def write(name):
        return request.getfixturevalue(f"{name}_folder")(sandbox / "data" / name)

    return write


class TestSmallArchives:
    def test_food101(self, layout):
        folder = layout("food101")
        plates = readers.food101(folder, BY_DISH)
        truth = {
            f"{dish}/{one}.jpg": (dish, part)
            for dish, ids in FOOD101.items()
            for part, images in zip(("train", "test"), ids, strict=True)
            for one in images
        }
        assert plates.root == folder / "images"
        assert plates.dishes == sorted(FOOD101)
        named = [plates.dishes[place] for place in plates.dish]
        official = zip(named, plates.official.tolist(), strict=True)
        assert dict(zip(plates.files, official, strict=True)) == truth
        assert plates.ingredients == ["apple", "butter", "egg", "flour", "lettuce", "miso", "tofu"]
        for file, names in ingredients_of(plates).items():
            assert names == set(BY_DISH.of(file.split("/")[0], file))
        assert all(path.is_file() for path in plates.paths)
        assert plates.photographs is plates.variants is plates.references is None
        # the lists written otherwise: train.json says what train.txt does
        file = folder / "meta/test.txt"
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b" \r\n\n"))
        (folder / "meta/train.txt").unlink()
        again = readers.food101(folder, BY_DISH)
        assert again.files == plates.files
        assert again.official.tolist() == plates.official.tolist()

    @pytest.mark.parametrize("name", ["annotations", "Annotations"])
    def test_ingredients101(self, tmp_path, ingredients101_folder, name):
        assert ingredients101(ingredients101_folder(tmp_path, name)).rows == {
            "apple pie": ("flour", "apple", "sugar", "butter"),
            "caesar salad": ("lettuce", "parmesan cheese", "garlic"),
            "miso soup": ("miso", "tofu", "spring onion"),
        }

    def test_recipes5k(self, layout):
        folder = layout("recipes5k")
        plates = readers.recipes5k(folder)
        parts = {"train": "train", "val": "validation", "test": "test"}
        truth = {
            image: (parts[part], set(RECIPES[line].replace("_", " ").split(",")))
            for part, listed in RECIPES5K.items()
            for image, line in listed
        }
        names = ingredients_of(plates)
        official = dict(zip(plates.files, plates.official.tolist(), strict=True))
        assert {file: (official[file], names[file]) for file in plates.files} == truth
        assert plates.dishes == ["apple_pie", "caesar_salad"]
        assert all(path.is_file() for path in plates.paths)
        # a recipe without ingredients keeps its line
        edit(folder / "annotations/ingredients_simplified_Recipes5k.txt", RECIPES[1], "")
        names = ingredients_of(readers.recipes5k(folder))
        assert names["caesar_salad/1_caesar.v2.jpg"] == set()
        assert names["apple_pie/2_spiced_pie.jpg"] == {"apple", "cinnamon", "flour", "pastry"}


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "line"),
    [
        ("food101", "meta/test.txt", "apple_pie/103", "apple_pie/102", 3),  # one of training
        ("food101", "meta/train.txt", "apple_pie/101", "apple_pie/999", 4),
        ("food101", "meta/train.txt", "apple_pie/101", "../meta/1", 4),
        ("ingredients101", "annotations/classes.txt", "caesar_salad", "apple_pie", 2),
        ("recipes5k", "annotations/test_images.txt", "2_spiced_pie", "0_classic_pie", 1),
        *(
            ("uecfood256", "2/bb_info.txt", "48 32 90 70", new, 3)
            for new in ("5 5 5 20", "64 0 80 20", "-9 3 0 20", "1 2 3", "1 2 x 4", "1.5 2 3 4")
        ),
        ("uecfood256", "2/bb_info.txt", "40 48", "../40 48", 3),
        *(
            ("uecfood256", "category.txt", "2\teels  on rice", new, 3)
            for new in ("2", "two\teels", "1\teels", "3\trice")
        ),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_left(layout, sandbox, name, file, old, new, line):
    folder = layout(name)
    edit(folder / file, old, new)
    message = refused(READERS[name], folder)
    assert message.startswith(f"{folder / file} line {line}: ")
    assert [one for one in kept(sandbox) if one.startswith("root") and ".lock" not in one] == []


@pytest.mark.parametrize(
    ("name", "file", "content", "said"),
    [
        ("ingredients101", "annotations/ingredients_simplified.txt", "a\n,\nb", "line 2: expected"),
        ("food101", "meta/train.txt", None, "meta/train.txt: no such file"),
        *(
            ("food101", "meta/train.json", content, "meta/train.json: expected lists of images")
            for content in ("", '{"apple_pie": 3}')
        ),
        ("ingredients101", "annotations/classes.txt", "pie", "simplified.txt: expected a line for"),
        *(
            ("recipes5k", "annotations/val_labels.txt", label, "val_images.txt line 1: its label")
            for label in ("5", "²")
        ),
        ("recipes5k", "annotations/val_labels.txt", "0\n0", "val_labels.txt: expected a line for"),
        ("uecfood256", "10/7.jpg", "<html>404", "10/7.jpg"),
        ("uecfood256", "2/bb_info.txt", "img x1 y1 x2 y2", "2/bb_info.txt: expected `img x1"),
        ("uecfood256", "category.txt", "id\tname\n", "category.txt: expected the number of"),
    ],
)
def test_what_is_missing_or_of_another_form(layout, name, file, content, said):
    folder = layout(name)
    if file.startswith("meta/train"):
        (folder / "meta/train.txt").unlink()
        (folder / "meta/train.json").unlink()
    if content is not None:
        (folder / file).write_text(content)
    elif (folder / file).exists():
        (folder / file).unlink()
    assert said in refused(READERS[name], folder)


class TestUecFood256:
    @pytest.fixture
    def folder(self, layout):
        return layout("uecfood256")

    def test_each_box_is_a_plate_of_its_colour_and_size(self, folder):
        plates = readers.uecfood256(folder, UEC)
        truth = {
            f"{category}/{image}-{number}.png": (category, image, corners, colour)
            for (category, image), boxes in BOXES.items()
            for number, (corners, colour) in enumerate(boxes, 1)
        }
        assert plates.files == list(truth)
        names = {number: " ".join(name.split()) for number, name in CATEGORIES.items()}
        assert plates.dishes == sorted(names.values())
        made_of = {"1": {"rice"}, "2": {"eel", "rice"}, "10": {"chicken", "egg", "rice"}}
        for file, of_plate in ingredients_of(plates).items():
            assert of_plate == made_of[file.split("/")[0]]
        for k, (category, image, (left, upper, right, lower), colour) in enumerate(truth.values()):
            assert plates.dishes[plates.dish[k]] == names[category]
            assert plates.photographs[k] == image
            pixels = np.asarray(Image.open(plates.paths[k]).convert("RGB")).astype(int)
            width = len(set(range(left, right)) & set(range(SIDES[0])))
            height = len(set(range(upper, lower)) & set(range(SIDES[1])))
            assert pixels.shape == (height, width, 3)
            assert abs(pixels - colour).mean() < 4
        assert plates.official is None
        rows = {f"{category}/{image}": (f"{category} {image}",) for category, image in BOXES}
        plates = readers.uecfood256(folder, IngredientTable("image", rows))
        for file, of_plate in ingredients_of(plates).items():
            assert of_plate == {file.replace("/", " ").rsplit("-", 1)[0]}

    def test_pictures_are_cut_once_and_anew_when_a_box_or_a_picture_changes(self, folder, sandbox):
        first = readers.uecfood256(folder, UEC)
        assert first.root.parent == sandbox / "root/cache"
        made = {path: path.stat().st_mtime_ns for path in first.paths}
        folder = folder.rename(folder.with_name("elsewhere"))
        with ThreadPoolExecutor(4) as pool:
            again = list(pool.map(lambda _: readers.uecfood256(folder, UEC).root, range(4)))
        assert set(again) == {first.root}
        assert {path: path.stat().st_mtime_ns for path in first.paths} == made
        edit(folder / "10/bb_info.txt", "7 -8 -8 24 16", "7 2 3 12 9")
        second = readers.uecfood256(folder, UEC)
        Image.new("RGB", (13, 9), "white").save(folder / "10/7.jpg")
        third = readers.uecfood256(folder, UEC)
        assert len({first.root, second.root, third.root}) == 3
        sizes = [Image.open(one.root / "10/7-1.png").size for one in (first, second, third)]
        assert sizes == [(24, 16), (10, 6), (10, 6)]


def real_food101() -> Path | None:
    shared = paths.REPOSITORY.parent / "shared" / "data"
    named = [Path(os.environ["STUDIES_DATA"])] if "STUDIES_DATA" in os.environ else []
    folders = [base / "food101/food-101" for base in [*named, shared, paths.REPOSITORY / "data"]]
    return next((folder for folder in folders if (folder / "meta/classes.txt").exists()), None)


REAL = real_food101()


@pytest.mark.skipif(REAL is None, reason="no food101/ below STUDIES_DATA or ../shared")
def test_real_food101():
    plates = readers.food101(REAL, readers.table("typical"))
    counts = Counter(plates.official.tolist())
    assert counts in ({"train": 15_150, "test": 5_050}, {"train": 75_750, "test": 25_250})
    for part, count in counts.items():
        of_dish = Counter(plates.dish[plates.official == part].tolist())
        assert set(of_dish.values()) == {count // 101}
    listed = json.loads((REAL / "meta/test.json").read_text())
    tests = {
        file for file, part in zip(plates.files, plates.official, strict=True) if part[0:2] == "te"
    }
    assert tests == {f"{image}.jpg" for images in listed.values() for image in images}
    assert len(plates.files) == sum(1 for _ in (REAL / "images").glob("*/*.jpg"))
    dishes = Counter(name for row in readers.table("typical").rows.values() for name in row)
    a_dish = len(plates.files) // 101
    present = dict(zip(plates.ingredients, plates.present.sum(0).tolist(), strict=True))
    assert present == {name: a_dish * count for name, count in dishes.items()}


def test_every_dish_of_food101_is_in_one_broad_group(food101_folder, sandbox):
    table = readers.table("typical")
    groups = read_yaml(readers.GROUPS)
    listed = [dish for dishes in groups.values() for dish in dishes]
    assert (len(groups), len(listed)) == (20, 101)
    assert sorted(readers.row_key("dish", dish) for dish in listed) == sorted(table.rows)
    # of one group only donuts and beignets are made of the same, and cannot be told apart by it
    made_of = {(group, *sorted(table.of(dish, ""))) for group in groups for dish in groups[group]}
    assert len(made_of) == 100
    plates = replace(readers.food101(food101_folder(sandbox / "food-101"), table), grouped=True)
    assert plates.asked.dishes == ["dessert", "salad", "soup"]
    assert plates.asked.variants == ["apple_pie", "caesar_salad", "miso_soup"]
