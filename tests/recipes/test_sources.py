"""Published layouts of food become plates: against small archives and the real Food-101."""

import hashlib
import json
import os
import shutil
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foods import BOXES, CATEGORIES, FOOD101, RECIPES, RECIPES5K, SIDES
from loopback import Site, tarred, zipped
from sentences import kept, refused
from studies import paths
from studies.inputs.download import SOURCES, fetch
from studies.paths import StudyError
from studies.recipes import sources
from studies.recipes.ingredients import IngredientTable, ingredients101, typical

BY_DISH = IngredientTable(
    "dish",
    {
        "Apple pie": ("apple", "flour", "butter"),
        "caesar salad": ("lettuce", "egg"),
        "ramen": ("noodles", "nori"),  # no dish of the archive
        "miso_soup": ("miso", "tofu", "egg"),
    },
    "own.csv",
)
UEC = IngredientTable(
    "dish",
    {
        "rice": ("rice",),
        "Eels_on_Rice": ("eel", "rice"),
        "chicken-'n'-egg on rice": ("chicken", "egg", "rice"),
    },
    "own.csv",
)
IMAGES = [f"{dish}/{one}" for dish, ids in FOOD101.items() for part in ids for one in part]


def pairs(plates):
    """Each picture with the names of its ingredients."""
    for file, row in zip(plates.files, plates.present, strict=True):
        yield file, {name for name, there in zip(plates.ingredients, row, strict=True) if there}


def edit(file, old, new):
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))


class TestFood101:
    @pytest.fixture
    def folder(self, tmp_path, food101_folder):
        return food101_folder(tmp_path / "food-101")

    def test_small_archive(self, folder):
        plates = sources.food101(folder, BY_DISH)
        truth = {
            f"{dish}/{one}.jpg": (dish, part)
            for dish, ids in FOOD101.items()
            for part, images in zip(("train", "test"), ids, strict=True)
            for one in images
        }
        assert plates.root == folder / "images"
        assert plates.dishes == sorted(FOOD101)
        assert len(plates.files) == len(truth)
        named = [plates.dishes[place] for place in plates.dish]
        read = zip(plates.files, zip(named, plates.official, strict=True), strict=True)
        assert dict(read) == truth
        assert plates.ingredients == ["apple", "butter", "egg", "flour", "lettuce", "miso", "tofu"]
        for file, given in pairs(plates):
            assert given == set(BY_DISH.of(file.split("/")[0], file))
        assert all(path.is_file() for path in plates.paths)
        assert plates.photographs is plates.variants is plates.references is None

    def test_the_other_form_of_the_lists(self, folder):
        plain = sources.food101(folder, BY_DISH)
        for part in ("train", "test"):
            (folder / "meta" / f"{part}.txt").unlink()
        plates = sources.food101(folder, BY_DISH)
        assert plates.files == plain.files
        assert plates.official.tolist() == plain.official.tolist()

    def test_line_ends_blank_lines_and_a_byte_order_mark_do_no_harm(self, folder):
        plain = sources.food101(folder, BY_DISH)
        for name in ("train.txt", "test.txt", "classes.txt"):
            file = folder / "meta" / name
            content = file.read_bytes().replace(b"\n", b" \r\n")
            if name != "classes.txt":
                content = content.replace(b"\n", b"\n\n")
            file.write_bytes(b"\xef\xbb\xbf" + content + b"\n")
        assert sources.food101(folder, BY_DISH).files == plain.files

    def test_ingredients_by_image(self, folder):
        rows = {image: (f"made {Path(image).name}",) for image in IMAGES}
        plates = sources.food101(folder, IngredientTable("image", rows))
        assert len(plates.ingredients) == len(plates.files)
        for file, given in pairs(plates):
            assert given == {f"made {Path(file).stem}"}

    def test_ingredients101(self, folder, tmp_path, ingredients101_folder):
        table = ingredients101(ingredients101_folder(tmp_path / "ingredients101"))
        for file, given in pairs(sources.food101(folder, table)):
            assert ("parmesan cheese" in given) == file.startswith("caesar_salad")


class TestBadFood101:
    """Each ends in one sentence that names the file, and the line where there is one."""

    @pytest.fixture
    def folder(self, tmp_path, food101_folder):
        return food101_folder(tmp_path / "food-101")

    def message(self, folder, table=BY_DISH):
        return refused(sources.food101, folder, table)

    def test_missing_folder(self, folder):
        shutil.rmtree(folder)
        expected = f"{folder / 'meta/classes.txt'}: no such file; unpack the dataset again"
        assert self.message(folder) == expected

    @pytest.mark.parametrize("what", ["images", "images/apple_pie"])
    def test_missing_images(self, folder, what):
        shutil.rmtree(folder / what)
        assert f"there is no image {folder / 'images'}" in self.message(folder)

    @pytest.mark.parametrize("part", ["train", "test"])
    @pytest.mark.parametrize("dish", FOOD101)
    def test_missing_image(self, folder, dish, part):
        image = f"{dish}/{FOOD101[dish][part == 'test'][-1]}"
        (folder / "images" / f"{image}.jpg").unlink()
        listing = folder / "meta" / f"{part}.txt"
        line = listing.read_text().splitlines().index(image) + 1
        expected = (
            f"{listing} line {line}: there is no image {folder / 'images' / image}.jpg; unpack"
        )
        assert self.message(folder).startswith(expected)

    def test_an_image_in_train_and_in_test(self, folder):
        edit(folder / "meta/test.txt", "apple_pie/103", "apple_pie/102")
        said = "line 3: `apple_pie/102.jpg` is listed twice, in train and test; keep one line"
        assert self.message(folder) == f"{folder / 'meta/test.txt'} {said}"

    def test_an_image_twice_in_one_list(self, folder):
        edit(folder / "meta/train.txt", "apple_pie/102", "apple_pie/101")
        said = "line 5: `apple_pie/101.jpg` is listed twice, in train; keep one line"
        assert self.message(folder) == f"{folder / 'meta/train.txt'} {said}"

    @pytest.mark.parametrize(
        "line", ["ramen/1", "apple_pie", "/apple_pie/101", "../meta/1", "Apple_pie/101"]
    )
    def test_an_image_of_no_dish(self, folder, line):
        edit(folder / "meta/train.txt", "apple_pie/101", line)
        said = self.message(folder)
        assert said.startswith(
            f"{folder / 'meta/train.txt'} line 4: expected a dish of classes.txt"
        )
        assert f"found `{line}.jpg`" in said

    def test_a_class_without_images(self, folder):
        edit(folder / "meta/classes.txt", "apple_pie\n", "apple_pie\nbibimbap\n")
        expected = f"{folder / 'images/bibimbap'}: no list names an image of it; use the published"
        assert self.message(folder).startswith(expected)

    @pytest.mark.parametrize("instead", ["caesar_salad\ncaesar_salad\n", "caesar_salad\n\n"])
    def test_a_class_twice_or_blank(self, folder, instead):
        edit(folder / "meta/classes.txt", "caesar_salad\n", instead)
        said = self.message(folder)
        assert said.startswith(f"{folder / 'meta/classes.txt'} line 3: ")
        assert "is no dish or is there twice" in said

    @pytest.mark.parametrize("form", ["txt", "json"])
    @pytest.mark.parametrize("part", ["train", "test"])
    def test_empty_part(self, folder, part, form):
        for name in ("train", "test"):
            if form == "json":
                (folder / "meta" / f"{name}.txt").unlink()
        (folder / "meta" / f"{part}.{form}").write_text("{}" if form == "json" else "\n")
        said = self.message(folder)
        assert said.startswith(
            f"{folder / 'images'}: no image is in the {part} list; use the published lists"
            if form == "json"
            else f"{folder / 'meta' / part}.txt: is empty; unpack the dataset again"
        )

    @pytest.mark.parametrize("content", ["", "[", "3", '["apple_pie"]', '{"apple_pie": 3}', "null"])
    def test_lists_of_another_form(self, folder, content):
        (folder / "meta/train.txt").unlink()
        (folder / "meta/train.json").write_text(content)
        expected = f"{folder / 'meta/train.json'}: expected lists of images by dish ("
        assert self.message(folder).startswith(expected)

    @pytest.mark.parametrize("name", ["train", "test", "classes"])
    def test_missing_list(self, folder, name):
        for form in ("txt", "json"):
            (folder / "meta" / f"{name}.{form}").unlink(missing_ok=True)
        expected = f"{folder / 'meta' / name}.txt: no such file; unpack the dataset again"
        assert self.message(folder) == expected

    @pytest.mark.parametrize("name", ["train.txt", "classes.txt", "test.json"])
    def test_wrong_encoding(self, folder, name):
        file = folder / "meta" / name
        (folder / "meta/test.txt").unlink()
        file.write_bytes(b"a\n" + "crème".encode("latin-1"))
        assert self.message(folder) == f"{file} line 2: is not UTF-8; save the file as UTF-8"

    def test_a_folder_in_place_of_a_list(self, folder):
        (folder / "meta/train.txt").unlink()
        (folder / "meta/train.txt").mkdir()
        assert self.message(folder).startswith(f"{folder / 'meta/train.txt'}: cannot be read (")

    def test_a_dish_without_ingredients(self, folder):
        rows = {dish: given for dish, given in BY_DISH.rows.items() if dish != "miso_soup"}
        said = self.message(
            folder, IngredientTable("dish", rows | {"miso soups": ("miso",)}, "own.csv")
        )
        expected = "own.csv: has no row for the dish `miso_soup`, the nearest is `miso soups`; add"
        assert said.startswith(expected)

    def test_an_image_without_ingredients(self, folder):
        rows = dict.fromkeys(IMAGES, ("egg",))
        del rows["apple_pie/9002"]
        rows["apple_pie/9003"] = ("egg",)
        said = self.message(folder, IngredientTable("image", rows, "own.csv"))
        expected = (
            "own.csv: has no row for the image `apple_pie/9002.jpg`, the nearest is `apple_pie/"
        )
        assert said.startswith(expected)


class TestRecipes5k:
    @pytest.fixture
    def folder(self, tmp_path, recipes5k_folder):
        return recipes5k_folder(tmp_path / "recipes5k")

    def test_small_archive(self, folder):
        plates = sources.recipes5k(folder)
        parts = {"train": "train", "val": "validation", "test": "test"}
        truth = {
            image: (parts[part], set(RECIPES[line].replace("_", " ").split(",")))
            for part, listed in RECIPES5K.items()
            for image, line in listed
        }
        official = dict(zip(plates.files, plates.official, strict=True))
        assert {file: (official[file], given) for file, given in pairs(plates)} == truth
        assert plates.dishes == ["apple_pie", "caesar_salad"]
        assert all(
            plates.dishes[place] == file.split("/")[0]
            for file, place in zip(plates.files, plates.dish, strict=True)
        )
        assert all(path.is_file() for path in plates.paths)

    def test_a_recipe_without_ingredients_is_a_plate_without(self, folder):
        file = folder / "annotations" / "ingredients_simplified_Recipes5k.txt"
        edit(file, RECIPES[1], "")
        plates = sources.recipes5k(folder)
        assert dict(pairs(plates))["caesar_salad/1_caesar.v2.jpg"] == set()
        assert "anchovy" not in plates.ingredients

    def test_missing_image(self, folder):
        image = RECIPES5K["val"][0][0]
        (folder / "images" / image).unlink()
        listing = folder / "annotations" / "val_images.txt"
        expected = (
            f"{listing} line 1: there is no image {folder / 'images' / image}; unpack it again"
        )
        assert refused(sources.recipes5k, folder) == expected

    def test_listed_twice(self, folder):
        image = RECIPES5K["val"][0][0]
        edit(folder / "annotations" / "test_images.txt", RECIPES5K["test"][1][0], image)
        assert f"test_images.txt line 2: `{image}` is listed twice" in refused(
            sources.recipes5k, folder
        )

    def test_missing_folder(self, tmp_path):
        assert "no such folder; unpack the annotations" in refused(sources.recipes5k, tmp_path)


class TestUecFood256:
    @pytest.fixture
    def folder(self, sandbox, uecfood256_folder):
        return uecfood256_folder(sandbox / "data/uecfood256/UECFOOD256")

    def test_each_box_is_a_plate_of_its_colour_and_size(self, folder):
        plates = sources.uecfood256(folder, UEC)
        truth = {
            f"{category}/{image}-{number}.png": (category, image, corners, colour)
            for (category, image), boxes in BOXES.items()
            for number, (corners, colour) in enumerate(boxes, 1)
        }
        assert plates.files == list(truth)
        assert plates.dishes == [" ".join(name.split()) for name in CATEGORIES.values()]
        names = dict(zip(CATEGORIES, plates.dishes, strict=True))
        for k, (category, image, (left, upper, right, lower), colour) in enumerate(truth.values()):
            assert plates.dishes[plates.dish[k]] == names[category]
            assert plates.photographs[k] == image
            pixels = np.asarray(Image.open(plates.paths[k]).convert("RGB")).astype(int)
            width = len(set(range(left, right)) & set(range(SIDES[0])))
            height = len(set(range(upper, lower)) & set(range(SIDES[1])))
            assert pixels.shape == (height, width, 3)
            assert abs(pixels - colour).mean() < 4
        assert plates.official is None

    def test_ingredients(self, folder):
        plates = sources.uecfood256(folder, UEC)
        assert plates.ingredients == ["chicken", "eel", "egg", "rice"]
        truth = {"1": {"rice"}, "2": {"eel", "rice"}, "10": {"chicken", "egg", "rice"}}
        for file, given in pairs(plates):
            assert given == truth[file.split("/")[0]]

    def test_ingredients_by_image(self, folder):
        rows = {f"{category}/{image}": (f"{category} {image}",) for category, image in BOXES}
        plates = sources.uecfood256(folder, IngredientTable("image", rows))
        for file, given in pairs(plates):
            assert given == {file.replace("/", " ").rsplit("-", 1)[0]}

    def test_one_photograph_in_two_folders_is_one(self, folder):
        plates = sources.uecfood256(folder, UEC)
        same = [k for k, file in enumerate(plates.files) if "/12-" in file]
        assert [plates.files[k].split("/")[0] for k in same] == ["1", "2"]
        assert len({plates.photographs[k] for k in same}) == 1
        assert len(set(plates.photographs)) == len({image for _, image in BOXES})

    def test_pictures_are_cut_once(self, folder, sandbox):
        plates = sources.uecfood256(folder, UEC)
        assert plates.root.parent == sandbox / "root/cache"
        before = {path: path.stat().st_mtime_ns for path in plates.paths}
        again = sources.uecfood256(folder, UEC)
        assert again.root == plates.root
        assert {path: path.stat().st_mtime_ns for path in again.paths} == before
        moved = folder.rename(folder.with_name("elsewhere"))
        assert sources.uecfood256(moved, UEC).root == plates.root

    @pytest.mark.parametrize("what", ["box", "picture"])
    def test_another_box_or_picture_is_cut_anew(self, folder, what):
        first = sources.uecfood256(folder, UEC)
        if what == "box":
            edit(folder / "10/bb_info.txt", "7 -8 -8 24 16", "7 2 3 12 9")
        else:
            Image.new("RGB", (10, 6), "white").save(folder / "10/7.jpg")
        second = sources.uecfood256(folder, UEC)
        assert first.root != second.root
        assert Image.open(second.root / "10/7-1.png").size == (10, 6)
        assert Image.open(first.root / "10/7-1.png").size == (24, 16)

    def test_several_at_once_and_after_one_was_killed(self, folder, sandbox):
        root = sources.uecfood256(folder, UEC).root
        pictures = {path.name: path.read_bytes() for path in root.rglob("*.png")}
        root.rename(root.with_name(f"{root.name}.partial"))
        left = root.with_name(f"{root.name}.partial")
        (left / "1/12-1.png").write_bytes(b"half")
        (left / "1/99-1.png").write_bytes(b"of another time")
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: sources.uecfood256(folder, UEC).root, range(4)))
        assert set(found) == {root}
        assert {path.name: path.read_bytes() for path in root.rglob("*.png")} == pictures
        assert not left.exists()

    def test_header_line_ends_and_order_do_no_harm(self, folder):
        plain = sources.uecfood256(folder, UEC)
        names = folder / "category.txt"
        header, *lines = names.read_text().splitlines()
        names.write_text("\r\n".join([header, *reversed(lines), "", ""]), newline="")
        for file in folder.glob("*/bb_info.txt"):
            header, *lines = file.read_text().splitlines()
            # the second time a box is listed, it is the same box
            file.write_text("\r\n".join([header.replace(" ", "\t"), *lines, lines[0]]), newline="")
        plates = sources.uecfood256(folder, UEC)
        assert plates.dishes == plain.dishes
        assert plates.files == plain.files

    def test_pictures_without_a_box_are_left_out(self, folder):
        shutil.copy(folder / "1/305.jpg", folder / "1/306.jpg")
        assert not any("306" in file for file in sources.uecfood256(folder, UEC).files)


class TestBadUecFood256:
    """Each ends in one sentence, and no half-made folder stays."""

    @pytest.fixture
    def folder(self, sandbox, uecfood256_folder):
        return uecfood256_folder(sandbox / "data/uecfood256/UECFOOD256")

    @pytest.fixture(autouse=True)
    def _no_pictures_are_left(self, sandbox):
        yield
        assert [name for name in kept(sandbox / "root") if not name.endswith(".lock")] == []
        assert not list(sandbox.rglob("*.partial"))

    def message(self, folder, table=UEC):
        return refused(sources.uecfood256, folder, table)

    @pytest.mark.parametrize(
        "corners",
        [
            "5 5 5 20",
            "5 20 30 20",
            "30 5 10 20",
            "64 0 80 20",
            "0 48 20 60",
            "-9 3 0 20",
            "0 0 0 0",
        ],
    )
    def test_empty_box(self, folder, corners):
        edit(folder / "2/bb_info.txt", "40 48 32 90 70", f"40 {corners}")
        expected = (
            f"{folder / '2/bb_info.txt'} line 3: the box {corners} holds nothing of 2/40.jpg, "
            "which has 64×48 pixels; correct or remove the line"
        )
        assert self.message(folder) == expected

    @pytest.mark.parametrize(
        "line", ["40 1 2 3", "40 1 2 3 4 5", "40 1 2 x 4", "40 1.5 2 3 4", "../40 1 2 3 4", "40"]
    )
    def test_bad_line(self, folder, line):
        edit(folder / "2/bb_info.txt", "40 48 32 90 70", line)
        said = self.message(folder)
        assert said.startswith(f"{folder / '2/bb_info.txt'} line 3: expected `img x1 y1 x2 y2`, an")
        assert f"found `{line}`" in said

    def test_missing_image(self, folder):
        (folder / "2/40.jpg").unlink()
        assert self.message(folder).startswith(f"The image {folder / '2/40.jpg'} is missing: ")

    @pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
    def test_damaged_image(self, folder, damage):
        file = folder / "10/7.jpg"
        whole = file.read_bytes()
        content = {"truncated": whole[: len(whole) // 2], "text": b"<html>404", "empty": b""}
        file.write_bytes(content[damage])
        assert str(file) in self.message(folder)

    def test_missing_or_empty_boxes(self, folder):
        file = folder / "2/bb_info.txt"
        file.write_text("img x1 y1 x2 y2\n")
        assert self.message(folder) == f"{file}: lists no box; use the published file"
        file.write_text("\n")
        assert self.message(folder) == f"{file}: is empty; unpack the dataset again"
        file.unlink()
        assert self.message(folder) == f"{file}: no such file; unpack the dataset again"

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("2", "expected the number of a category and its name, found `2`"),
            ("two\teels", "expected the number of a category and its name, found `two eels`"),
            ("1\teels", "`1 eels` has a number or name that is there already"),
            ("3\trice", "`3 rice` has a number or name that is there already"),
        ],
    )
    def test_bad_category(self, folder, line, said):
        edit(folder / "category.txt", "2\teels  on rice", line)
        expected = f"{folder / 'category.txt'} line 3: {said}; use the published file"
        assert self.message(folder).replace("\t", " ") == expected

    def test_a_category_without_a_folder(self, folder):
        edit(folder / "category.txt", "10\t", "11\tramen\n10\t")
        table = IngredientTable("dish", UEC.rows | {"ramen": ("noodles",)})
        expected = f"{folder / '11/bb_info.txt'}: no such file; unpack the dataset again"
        assert self.message(folder, table) == expected

    def test_no_category(self, folder):
        (folder / "category.txt").write_text("id\tname\n")
        expected = f"{folder / 'category.txt'}: names no dish; use the published file"
        assert self.message(folder) == expected

    def test_missing_folder(self, folder):
        shutil.rmtree(folder)
        expected = f"{folder / 'category.txt'}: no such file; unpack the dataset again"
        assert self.message(folder) == expected

    def test_a_dish_without_ingredients(self, folder):
        rows = {dish: given for dish, given in UEC.rows.items() if "eels" not in dish.lower()}
        said = self.message(folder, IngredientTable("dish", rows, "own.csv"))
        assert said.startswith("own.csv: has no row for the dish `eels on rice`, the nearest is `")

    def test_a_cache_that_cannot_be_written(self, folder, sandbox, monkeypatch):
        (sandbox / "file").write_text("in the way")
        monkeypatch.setenv("STUDIES_ROOT", str(sandbox / "file"))
        said = self.message(folder)
        assert said.startswith(f"cannot write {sandbox / 'file/cache'}/")


def packed(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class TestDownloaded:
    """Archives in their published layouts, from the loopback device, land where they are read."""

    @pytest.fixture
    def site(self, sandbox, monkeypatch):
        site = Site()
        site.stand_in(monkeypatch)
        yield site
        site.close()

    @pytest.fixture
    def serve_food101(self, site, sandbox, food101_folder, monkeypatch):
        """Serve a small Food-101 whose checksum counts as the published one."""
        archive = tarred(packed(food101_folder(sandbox / "made")), "food-101/")
        digest = hashlib.sha256(archive).hexdigest()
        source = SOURCES["food101"]
        small = replace(source, parts=(replace(source.parts[0], sha256=digest),))

        def serve(body=archive, known=True):
            site.files["/cvl/food-101.tar.gz"] = body
            monkeypatch.setitem(SOURCES, "food101", small if known else source)
            return archive

        return serve

    def test_food101(self, serve_food101, sandbox):
        serve_food101()
        folder = fetch("food101") / "food-101"
        assert folder == sandbox / "data/food101/food-101"
        here, made = (sources.food101(one, BY_DISH) for one in (folder, sandbox / "made"))
        assert here.files == made.files
        assert all(path.is_file() for path in here.paths)

    def test_another_archive_than_the_published_one(self, serve_food101, sandbox):
        serve_food101(known=False)
        with pytest.raises(StudyError, match=r"another checksum than expected \(d97d15e4"):
            fetch("food101")
        assert not (sandbox / "data/food101").exists()

    def test_uecfood256(self, site, sandbox, uecfood256_folder):
        made = uecfood256_folder(sandbox / "made")
        site.files["/dataset256.zip"] = zipped(packed(made), "UECFOOD256/")
        folder = fetch("uecfood256") / "UECFOOD256"
        assert folder == sandbox / "data/uecfood256/UECFOOD256"
        assert sources.uecfood256(folder, UEC).root == sources.uecfood256(made, UEC).root

    def test_damaged(self, site, sandbox, uecfood256_folder):
        whole = zipped(packed(uecfood256_folder(sandbox / "made")), "UECFOOD256/")
        site.files["/dataset256.zip"] = whole[: len(whole) // 2]
        with pytest.raises(StudyError, match="neither a zip nor a tar archive, or is damaged"):
            fetch("uecfood256")
        assert not (sandbox / "data/uecfood256/UECFOOD256").exists()
        site.files["/dataset256.zip"] = whole
        folder = fetch("uecfood256") / "UECFOOD256"
        assert len(sources.uecfood256(folder, UEC).files) == sum(map(len, BOXES.values()))


def real_food101() -> Path | None:
    shared = paths.REPOSITORY.parent / "shared" / "data"
    named = [Path(os.environ["STUDIES_DATA"])] if "STUDIES_DATA" in os.environ else []
    found = [base / "food101/food-101" for base in [*named, shared, paths.REPOSITORY / "data"]]
    return next((folder for folder in found if (folder / "meta/classes.txt").exists()), None)


REAL = real_food101()


@pytest.fixture(scope="module")
def plates():
    return sources.food101(REAL, typical())


@pytest.mark.skipif(REAL is None, reason="no food101/ below STUDIES_DATA or ../shared")
class TestRealFood101:
    def test_parts(self, plates):
        counts = Counter(plates.official)
        assert counts in ({"train": 15_150, "test": 5_050}, {"train": 75_750, "test": 25_250})
        for part, ids in (("train", counts["train"]), ("test", counts["test"])):
            of_dish = Counter(plates.dish[plates.official == part].tolist())
            assert set(of_dish.values()) == {ids // 101}
        listed = json.loads((REAL / "meta/test.json").read_text())
        tests = {
            file for file, part in zip(plates.files, plates.official, strict=True) if part == "test"
        }
        assert tests == {f"{image}.jpg" for images in listed.values() for image in images}
        assert len(plates.files) == sum(1 for _ in (REAL / "images").glob("*/*.jpg"))

    def test_the_typical_table_covers_its_101_dishes(self, plates):
        table = Path(sources.__file__).with_name("typical_ingredients.csv")
        cells = [line.split(",") for line in table.read_text().splitlines()[1:]]
        assert plates.dishes == [dish for dish, _ in cells]
        dishes = Counter(name for _, given in cells for name in given.split(";"))
        assert plates.ingredients == sorted(dishes)
        a_dish = len(plates.files) // 101
        counted = dict(zip(plates.ingredients, plates.present.sum(0).tolist(), strict=True))
        assert counted == {name: a_dish * count for name, count in dishes.items()}
