"""Published layouts and tables of ingredients become plates: small archives and the real one."""

import csv
import difflib
import io
import itertools
import json
import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from studies.inputs.published import SOURCES

from foods import BOXES, CATEGORIES, FOOD101, INGREDIENTS101, RECIPES, RECIPES5K, SIDES
from loopback import Site, tarred, zipped
from sentences import kept, refused
from studies import paths
from studies.inputs.download import fetch
from studies.recipes import readers
from studies.recipes.readers import IngredientTable, from_csv, ingredients101

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
IMAGES = [f"{dish}/{one}" for dish, ids in FOOD101.items() for part in ids for one in part]


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
    def test_101_dishes_each_name_once_and_in_one_spelling(self):
        rows = [line.split(",") for line in TYPICAL.read_text().splitlines()[1:]]
        table = readers.table("typical")
        assert {dish.replace("_", " "): tuple(c.split(";")) for dish, c in rows} == table.rows
        assert len(rows) == len(table.rows) == 101
        names = sorted({name for row in table.rows.values() for name in row})
        for one, other in itertools.combinations(names, 2):
            assert difflib.SequenceMatcher(None, one, other).ratio() < 0.85


WORDS = st.text("abcdefgäöé'-", min_size=1, max_size=6)
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)


@st.composite
def disguised(draw, name):
    """The same name in other letters, with other white space."""
    words = [draw(st.sampled_from([word, word.upper(), word.title()])) for word in name.split()]
    spaces = st.sampled_from(["_", " ", "  ", " _ ", "\t"])
    return draw(st.sampled_from(["", " ", "_"])) + draw(spaces).join(words)


@st.composite
def tables(draw):
    """A table, and rows of cells that say the same."""
    truth = draw(st.dictionaries(NAMES, st.lists(NAMES, min_size=1, unique=True), min_size=1))
    rows = []
    for dish, names in truth.items():
        again = draw(st.lists(st.sampled_from(names), max_size=2))
        cells = [draw(disguised(name)) for name in [*names, *again]]
        rows.append([dish, draw(st.sampled_from([";", " ; ", ";;"])).join(cells)])
    return truth, rows


class TestCsv:
    def test_by_image_with_or_without_extension(self, tmp_path):
        content = "image,ingredients\npie/1.jpg,apple\npie/a.b.JPEG,tofu\npie/v1.5,kale\n"
        table = from_csv(write(tmp_path, content))
        assert list(table.rows) == ["pie/1", "pie/a.b", "pie/v1.5"]
        for image in ("pie/1", "pie/1.jpg", "pie/1.png"):
            assert table.of("anything", image) == ("apple",)
        assert table.of("pie", "pie/v1.5.jpg") == ("kale",)

    @pytest.mark.parametrize(
        "content",
        [
            "\ufeffdish,ingredients\r\npie,apple;flour\r\n",
            "\n\ndish,ingredients\n\npie,apple;flour\n,\n",
            "ingredients,dish\napple;flour,pie\n",
            'dish , ingredients\n"pie"," apple ;\tFLOUR;; apple"',
        ],
    )
    def test_the_same_table_written_otherwise(self, tmp_path, content):
        assert from_csv(write(tmp_path, content)).rows == {"pie": ("apple", "flour")}

    @settings(max_examples=30, deadline=None)
    @given(tables())
    def test_any_table_is_read_as_it_was_meant(self, tmp_path_factory, case):
        truth, rows = case
        written = io.StringIO()
        csv.writer(written).writerows([["dish", "ingredients"], *rows])
        table = from_csv(write(tmp_path_factory.mktemp("tables"), written.getvalue()))
        assert table.rows == {dish.casefold(): tuple(names) for dish, names in truth.items()}

    @pytest.mark.parametrize(
        "content",
        [
            *("", "dish,ingredients\n", "dish,ingredients\n,\n", "pie,apple;flour\npie,apple\n"),
            *("dish,image,ingredients\na,b,c", "dish;ingredients\na;b", "dish,dish\na,b"),
        ],
    )
    def test_wrong_columns_or_no_row(self, tmp_path, content):
        file = write(tmp_path, content)
        assert refused(from_csv, file).startswith(f"{file}: expected columns named `dish` or")

    @pytest.mark.parametrize(
        "row",
        ["soup,", "soup,;_; ", ",miso", "soup,miso,tofu", "soup", 'soup,"miso, tofu"', " P_ie ,a"],
    )
    def test_a_bad_row_is_named_by_its_line(self, tmp_path, row):
        file = write(tmp_path, f"dish,ingredients\np ie,apple\n\nrice,rice\n{row}\nham,ham\n")
        message = refused(from_csv, file)
        assert message.startswith(f"{file} line 5: expected one dish")
        assert "mend the line" in message

    def test_an_image_twice(self, tmp_path):
        file = write(tmp_path, "image,ingredients\npie/1.jpg,apple\npie/1.PNG,flour\n")
        assert f"{file} line 3: expected one image, not yet there" in refused(from_csv, file)

    def test_files_that_cannot_be_read(self, tmp_path):
        assert "put the table of ingredients there" in refused(from_csv, tmp_path / "no.csv")
        assert "cannot be read" in refused(from_csv, tmp_path)
        latin = write(tmp_path, "dish,ingredients\npie,crème\n".encode("latin-1"))
        assert refused(from_csv, latin).startswith(f"{latin} line 2: is not UTF-8")
        long = write(tmp_path, "dish,ingredients\npie," + "a" * 200_000)
        assert refused(from_csv, long).startswith(f"{long} line 2: not CSV (")

    def test_a_missing_row_is_named_with_the_nearest(self):
        table = IngredientTable("dish", {"apple pie": ("apple",), "ramen": ()}, "own.csv")
        assert table.of(" APPLE__pie", "") == ("apple",)
        said = "own.csv: has no row for the dish `apple_pies`, the nearest is `apple pie`; add a"
        assert refused(table.of, "apple_pies", "apple_pies/1").startswith(said)
        table = IngredientTable("image", {"pie/12": (), "sushi/7": ()}, "own.csv")
        assert "image `pie/13.jpg`, the nearest is `pie/12`" in refused(table.of, "", "pie/13.jpg")
        assert "no row" in refused(table.of, "", "Pie/12")  # an image has one spelling


class TestIngredients101:
    @pytest.mark.parametrize("name", ["annotations", "Annotations"])
    def test_small_archive(self, tmp_path, ingredients101_folder, name):
        assert ingredients101(ingredients101_folder(tmp_path, name)).rows == {
            "apple pie": ("flour", "apple", "sugar", "butter"),
            "caesar salad": ("lettuce", "parmesan cheese", "garlic"),
            "miso soup": ("miso", "tofu", "spring onion"),
        }

    @pytest.mark.parametrize(
        ("name", "line"),
        [("classes", "apple_pie"), ("classes", ""), ("ingredients_simplified", ", ,")],
    )
    def test_bad_line(self, tmp_path, ingredients101_folder, name, line):
        file = ingredients101_folder(tmp_path) / "annotations" / f"{name}.txt"
        lines = file.read_text().splitlines()
        lines[1] = line
        file.write_text("\n".join(lines))
        assert refused(ingredients101, tmp_path).startswith(f"{file} line 2: expected ")

    def test_files_that_do_not_correspond_or_are_not_there(self, tmp_path, ingredients101_folder):
        recipes = ingredients101_folder(tmp_path) / "annotations/ingredients_simplified.txt"
        with recipes.open("a") as file:
            file.write("ramen\n")
        message = refused(ingredients101, tmp_path)
        assert message.startswith(f"{recipes}: expected a line for each of the 3 of classes.txt")
        assert f"`{len(INGREDIENTS101) + 1} lines`" in message
        recipes.unlink()
        assert refused(ingredients101, tmp_path).startswith(f"{recipes}: no such file")
        shutil.rmtree(recipes.parent)
        for reader in (ingredients101, readers.recipes5k):
            assert f"{recipes.parent}: no such folder" in refused(reader, tmp_path)


class TestFood101:
    @pytest.fixture
    def folder(self, tmp_path, food101_folder):
        return food101_folder(tmp_path / "food-101")

    def message(self, folder, table=BY_DISH):
        return refused(readers.food101, folder, table)

    def test_small_archive(self, folder):
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

    def test_the_lists_written_otherwise(self, folder):
        plain = readers.food101(folder, BY_DISH)
        file = folder / "meta/test.txt"
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b" \r\n\n"))
        (folder / "meta/train.txt").unlink()  # train.json says the same
        plates = readers.food101(folder, BY_DISH)
        assert plates.files == plain.files
        assert plates.official.tolist() == plain.official.tolist()

    def test_ingredients_by_image(self, folder):
        rows = {image: (f"made {Path(image).name}",) for image in IMAGES}
        plates = readers.food101(folder, IngredientTable("image", rows))
        for file, names in ingredients_of(plates).items():
            assert names == {f"made {Path(file).stem}"}

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_missing_image(self, folder, part):
        image = f"miso_soup/{FOOD101['miso_soup'][part == 'test'][-1]}"
        (folder / "images" / f"{image}.jpg").unlink()
        listing = folder / "meta" / f"{part}.txt"
        line = listing.read_text().splitlines().index(image) + 1
        assert self.message(folder).startswith(f"{listing} line {line}: expected a dish of the")

    @pytest.mark.parametrize(
        ("part", "old", "new", "line"),
        [
            ("test", "apple_pie/103", "apple_pie/102", 3),  # an image of training
            ("train", "apple_pie/102", "apple_pie/101", 5),
            *(("train", "apple_pie/101", new, 4) for new in ("ramen/1", "apple_pie", "../meta/1")),
        ],
    )
    def test_an_image_twice_or_of_no_dish(self, folder, part, old, new, line):
        edit(folder / "meta" / f"{part}.txt", old, new)
        message = self.message(folder)
        assert message.startswith(f"{folder / 'meta' / part}.txt line {line}: expected a dish")
        assert f"found `{new}.jpg`" in message

    def test_a_class_twice_blank_or_without_images(self, folder):
        classes = folder / "meta/classes.txt"
        whole = classes.read_text()
        for instead in ("caesar_salad\ncaesar_salad\n", "caesar_salad\n\n"):
            edit(classes, "caesar_salad\n", instead)
            assert self.message(folder).startswith(f"{classes} line 3: expected a dish, each once")
            classes.write_text(whole)
        edit(classes, "apple_pie\n", "apple_pie\nbibimbap\n")
        assert self.message(folder).startswith(f"{folder / 'images/bibimbap'}: no list names")

    @pytest.mark.parametrize("content", ["", "3", '["apple_pie"]', '{"apple_pie": 3}', "null"])
    def test_lists_of_another_form(self, folder, content):
        (folder / "meta/train.txt").unlink()
        (folder / "meta/train.json").write_text(content)
        assert f"{folder / 'meta/train.json'}: expected lists of images" in self.message(folder)

    def test_missing_lists_and_ingredients(self, folder):
        table = IngredientTable("dish", {"miso soups": ("miso",), "apple pie": ("egg",)}, "own.csv")
        edit(folder / "meta/train.txt", "caesar_salad/9001\n", "")
        assert self.message(folder, table).startswith("own.csv: has no row for the dish `")
        (folder / "meta/train.json").unlink()
        (folder / "meta/train.txt").unlink()
        assert self.message(folder) == (
            f"{folder / 'meta/train.txt'}: no such file; unpack the dataset again"
        )


class TestRecipes5k:
    @pytest.fixture
    def folder(self, tmp_path, recipes5k_folder):
        return recipes5k_folder(tmp_path / "recipes5k")

    def test_small_archive(self, folder):
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

    def test_a_recipe_without_ingredients_keeps_its_line(self, folder):
        edit(folder / "annotations/ingredients_simplified_Recipes5k.txt", RECIPES[1], "")
        names = ingredients_of(readers.recipes5k(folder))
        assert names["caesar_salad/1_caesar.v2.jpg"] == set()
        assert names["apple_pie/2_spiced_pie.jpg"] == {"apple", "cinnamon", "flour", "pastry"}

    @pytest.mark.parametrize("label", ["5", "-1", "one", "", "²"])
    def test_label_that_is_no_line_of_a_recipe(self, folder, label):
        file = folder / "annotations/train_labels.txt"
        file.write_text(f"{label}\n0\n", encoding="utf-8")
        message = refused(readers.recipes5k, folder)
        assert message.startswith(f"{file} line 1: expected the number of a line of ")
        assert f"0 to 4, found `{label}`" in message

    def test_lists_that_do_not_correspond(self, folder):
        lists = folder / "annotations"
        edit(lists / "test_images.txt", "apple_pie/2_spiced_pie.jpg", "apple_pie/0_classic_pie.jpg")
        message = refused(readers.recipes5k, folder)
        assert message.startswith(f"{lists / 'test_images.txt'} line 1: expected a dish")
        with (lists / "val_labels.txt").open("a") as file:
            file.write("0\n")
        message = refused(readers.recipes5k, folder)
        assert message.startswith(f"{lists / 'val_labels.txt'}: expected a line for each of the 1")


class TestUecFood256:
    @pytest.fixture
    def folder(self, sandbox, uecfood256_folder):
        return uecfood256_folder(sandbox / "data/uecfood256/UECFOOD256")

    def test_each_box_is_a_plate_of_its_colour_and_size(self, folder):
        plates = readers.uecfood256(folder, UEC)
        truth = {
            f"{category}/{image}-{number}.png": (category, image, corners, colour)
            for (category, image), boxes in BOXES.items()
            for number, (corners, colour) in enumerate(boxes, 1)
        }
        assert plates.files == list(truth)
        assert plates.dishes == [" ".join(name.split()) for name in CATEGORIES.values()]
        names = dict(zip(CATEGORIES, plates.dishes, strict=True))
        given_ = {"1": {"rice"}, "2": {"eel", "rice"}, "10": {"chicken", "egg", "rice"}}
        for file, of_plate in ingredients_of(plates).items():
            assert of_plate == given_[file.split("/")[0]]
        for k, (category, image, (left, upper, right, lower), colour) in enumerate(truth.values()):
            assert plates.dishes[plates.dish[k]] == names[category]
            assert plates.photographs[k] == image
            pixels = np.asarray(Image.open(plates.paths[k]).convert("RGB")).astype(int)
            width = len(set(range(left, right)) & set(range(SIDES[0])))
            height = len(set(range(upper, lower)) & set(range(SIDES[1])))
            assert pixels.shape == (height, width, 3)
            assert abs(pixels - colour).mean() < 4
        assert plates.official is None

    def test_ingredients_by_image(self, folder):
        rows = {f"{category}/{image}": (f"{category} {image}",) for category, image in BOXES}
        plates = readers.uecfood256(folder, IngredientTable("image", rows))
        for file, names in ingredients_of(plates).items():
            assert names == {file.replace("/", " ").rsplit("-", 1)[0]}

    def test_pictures_are_cut_once_and_anew_when_a_box_or_a_picture_changes(self, folder, sandbox):
        first = readers.uecfood256(folder, UEC)
        assert first.root.parent == sandbox / "root/cache"
        made = {path: path.stat().st_mtime_ns for path in first.paths}
        folder = folder.rename(folder.with_name("elsewhere"))
        assert readers.uecfood256(folder, UEC).root == first.root
        assert {path: path.stat().st_mtime_ns for path in first.paths} == made
        edit(folder / "10/bb_info.txt", "7 -8 -8 24 16", "7 2 3 12 9")
        second = readers.uecfood256(folder, UEC)
        Image.new("RGB", (13, 9), "white").save(folder / "10/7.jpg")
        third = readers.uecfood256(folder, UEC)
        assert len({first.root, second.root, third.root}) == 3
        sizes = [Image.open(one.root / "10/7-1.png").size for one in (first, second, third)]
        assert sizes == [(24, 16), (10, 6), (10, 6)]

    def test_several_at_once_and_after_one_was_killed(self, folder):
        root = readers.uecfood256(folder, UEC).root
        pictures = {path.name: path.read_bytes() for path in root.rglob("*.png")}
        left = root.rename(root.with_name(f"{root.name}.partial"))
        (left / "1/12-1.png").write_bytes(b"half")
        (left / "1/99-1.png").write_bytes(b"of another time")
        with ThreadPoolExecutor(4) as pool:
            roots = set(pool.map(lambda _: readers.uecfood256(folder, UEC).root, range(4)))
        assert roots == {root}
        assert {path.name: path.read_bytes() for path in root.rglob("*.png")} == pictures
        assert not left.exists()

    def test_header_line_ends_order_and_pictures_without_a_box_do_no_harm(self, folder):
        plain = readers.uecfood256(folder, UEC)
        names = folder / "category.txt"
        header, *lines = names.read_text().splitlines()
        names.write_text("\r\n".join([header, *reversed(lines), "", ""]), newline="")
        for file in folder.glob("*/bb_info.txt"):
            header, *lines = file.read_text().splitlines()
            # the second time a box is listed, it is the same box
            file.write_text("\r\n".join([header.replace(" ", "\t"), *lines, lines[0]]), newline="")
        shutil.copy(folder / "1/305.jpg", folder / "1/306.jpg")
        plates = readers.uecfood256(folder, UEC)
        assert (plates.dishes, plates.files) == (plain.dishes, plain.files)

    @pytest.mark.parametrize(
        ("name", "old", "new", "line"),
        [
            *(
                ("2/bb_info.txt", "40 48 32 90 70", new, 3)
                for new in (
                    *("40 5 5 5 20", "40 64 0 80 20", "40 -9 3 0 20", "40 0 0 0 0"),
                    *("40 1 2 3", "40 1 2 3 4 5", "40 1 2 x 4", "40 1.5 2 3 4", "../40 1 2 3 4"),
                )
            ),
            *(
                ("category.txt", "2\teels  on rice", new, 3)
                for new in ("2", "two\teels", "1\teels", "3\trice")
            ),
        ],
    )
    def test_a_bad_line_leaves_no_half_made_folder(self, sandbox, folder, name, old, new, line):
        edit(folder / name, old, new)
        message = refused(readers.uecfood256, folder, UEC)
        assert message.startswith(f"{folder / name} line {line}: ")
        assert [name for name in kept(sandbox / "root") if not name.endswith(".lock")] == []

    def test_what_is_not_there_or_empty(self, folder, sandbox, monkeypatch):
        def message(table=UEC):
            return refused(readers.uecfood256, folder, table)

        (sandbox / "file").write_text("in the way")
        with monkeypatch.context() as patch:
            patch.setenv("STUDIES_ROOT", str(sandbox / "file"))
            assert message().startswith(f"cannot write {sandbox / 'file/cache'}/")
        assert "the dish `rice`" in message(IngredientTable("dish", {"ramen": ()}, "own.csv"))
        (folder / "10/7.jpg").write_bytes(b"<html>404")
        assert str(folder / "10/7.jpg") in message()
        (folder / "2/bb_info.txt").write_text("img x1 y1 x2 y2\n")
        assert message().startswith(f"{folder / '2/bb_info.txt'}: expected lines of")
        (folder / "category.txt").write_text("id\tname\n")
        assert message().startswith(f"{folder / 'category.txt'}: expected numbers and names")
        shutil.rmtree(folder)
        assert message().startswith(f"{folder / 'category.txt'}: no such file")


def packed(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_downloaded_archives_land_where_they_are_read(
    sandbox, monkeypatch, food101_folder, uecfood256_folder
):
    site = Site()
    site.stand_in(monkeypatch)
    made = food101_folder(sandbox / "made")
    archive = tarred(packed(made), "food-101/")
    source = SOURCES["food101"]
    part = replace(source.parts[0], sha256=sha256(archive).hexdigest())
    monkeypatch.setitem(SOURCES, "food101", replace(source, parts=(part,)))
    site.files["/cvl/food-101.tar.gz"] = archive
    plates = readers.food101(fetch("food101") / "food-101", BY_DISH)
    assert plates.files == readers.food101(made, BY_DISH).files
    made = uecfood256_folder(sandbox / "boxes")
    site.files["/dataset256.zip"] = zipped(packed(made), "UECFOOD256/")
    folder = fetch("uecfood256") / "UECFOOD256"
    assert readers.uecfood256(folder, UEC).root == readers.uecfood256(made, UEC).root
    site.close()


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
