"""Tables of ingredients: the one that comes along, a user's own, and the published ones."""

import csv
import difflib
import io
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foods import INGREDIENTS101, RECIPES, RECIPES5K
from sentences import refused
from studies import paths
from studies.recipes.ingredients import (
    IngredientTable,
    from_csv,
    ingredients101,
    recipes5k,
    typical,
)

TYPICAL = paths.REPOSITORY / "lib/studies/recipes/typical_ingredients.csv"


def rows_by_hand():
    lines = TYPICAL.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "dish,ingredients"
    return [(dish, given.split(";")) for dish, given in (line.split(",") for line in lines[1:])]


class TestTypical:
    def test_is_the_file_as_it_stands(self):
        table = typical()
        assert table.by == "dish"
        assert {dish: list(given) for dish, given in table.rows.items()} == dict(rows_by_hand())

    def test_101_dishes_of_three_to_eight_ingredients(self):
        rows = rows_by_hand()
        assert len(rows) == len({dish for dish, _ in rows}) == 101
        assert {len(given) for _, given in rows} <= set(range(3, 9))

    @pytest.mark.parametrize(("dish", "given"), rows_by_hand()[::10])
    def test_the_file_is_written_as_it_is_read(self, dish, given):
        assert dish == "_".join(dish.lower().split())
        assert given == [" ".join(name.lower().split()) for name in given]
        assert len(given) == len(set(given))

    def test_no_ingredient_has_two_spellings(self):
        names = {name for _, given in rows_by_hand() for name in given}
        for one, other in itertools.combinations(sorted(names), 2):
            assert difflib.SequenceMatcher(None, one, other).ratio() < 0.85
            assert other not in (f"{one}s", f"{one}es", one.replace("y", "ies"))


WORDS = st.text("abcdefgäöé'-", min_size=1, max_size=6)
NAMES = st.lists(WORDS, min_size=1, max_size=3).map(" ".join)
SPACES = st.sampled_from(["_", " ", "  ", " _ ", "\t"])


@st.composite
def disguised(draw, name):
    """The same name in other letters, with other white space."""
    words = [draw(st.sampled_from([word, word.upper(), word.title()])) for word in name.split()]
    return draw(st.sampled_from(["", " ", "_"])) + draw(SPACES).join(words)


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


class TestFromCsv:
    def write(self, folder, content):
        file = folder / "own.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def test_by_dish(self, tmp_path):
        table = from_csv(self.write(tmp_path, "dish,ingredients\npie,Apple;flour\nSoup,miso\n"))
        assert table.by == "dish"
        assert table.rows == {"pie": ("apple", "flour"), "Soup": ("miso",)}

    def test_by_image_with_or_without_extension(self, tmp_path):
        content = (
            "image,ingredients\npie/1.jpg,apple\npie/2,egg\npie/a.b.JPEG,tofu\npie/v1.5,kale\n"
        )
        table = from_csv(self.write(tmp_path, content))
        assert table.by == "image"
        assert list(table.rows) == ["pie/1", "pie/2", "pie/a.b", "pie/v1.5"]
        for image in ("pie/1", "pie/1.jpg", "pie/1.png"):
            assert table.of("anything", image) == ("apple",)
        assert table.of("pie", "pie/v1.5.jpg") == ("kale",)

    @pytest.mark.parametrize(
        "content",
        [
            "\ufeffdish,ingredients\npie,apple;flour\n",
            "dish,ingredients\r\npie,apple;flour\r\n",
            "\n\ndish,ingredients\n\npie,apple;flour\n,\n",
            "ingredients,dish\napple;flour,pie\n",
            'dish , ingredients\n"pie"," apple ;\tFLOUR;; apple"',
        ],
    )
    def test_the_same_table_written_otherwise(self, tmp_path, content):
        assert from_csv(self.write(tmp_path, content)).rows == {"pie": ("apple", "flour")}

    @settings(max_examples=30, deadline=None)
    @given(tables())
    def test_any_table_is_read_as_it_was_meant(self, tmp_path_factory, case):
        truth, rows = case
        written = io.StringIO()
        csv.writer(written).writerows([["dish", "ingredients"], *rows])
        file = self.write(tmp_path_factory.mktemp("tables"), written.getvalue())
        assert from_csv(file).rows == {dish: tuple(names) for dish, names in truth.items()}


class TestBadCsv:
    """Each ends in one sentence that names the file, and the line where there is one."""

    def message(self, folder, content):
        file = TestFromCsv().write(folder, content)
        said = refused(from_csv, file)
        assert said.startswith(str(file))
        return said.removeprefix(str(file))

    def test_missing(self, tmp_path):
        expected = f"{tmp_path / 'no.csv'}: no such file; put the table of ingredients there"
        assert refused(from_csv, tmp_path / "no.csv").startswith(expected)

    def test_a_folder(self, tmp_path):
        assert refused(from_csv, tmp_path).startswith(f"{tmp_path}: cannot be read (")

    @pytest.mark.parametrize(
        "header",
        [
            "dish,image,ingredients",
            "name,ingredients",
            "ingredients",
            "dish",
            "dish,dish,ingredients",
            "dish,ingredient",
            "dish,ingredients,notes",
            "dish;ingredients",
            "pie,apple;flour",
        ],
    )
    def test_wrong_columns(self, tmp_path, header):
        said = self.message(tmp_path, f"{header}\npie,apple\n")
        assert said.startswith(": its columns should be `dish` or `image`, and `ingredients`")
        assert f"not `{header}`" in said

    @pytest.mark.parametrize(
        "content", ["", "\n \n", "dish,ingredients\n", "dish,ingredients\n,\n"]
    )
    def test_empty(self, tmp_path, content):
        assert self.message(tmp_path, content).startswith(": lists no ingredients; write a line")

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            ("soup,", "`soup` has no ingredients"),
            ("soup,;_; ", "`soup` has no ingredients"),
            (",miso;tofu", "names no dish"),
            ("soup,miso,tofu", "has 3 cells, the first line 2; join ingredients by `;`"),
            ("soup", "has 1 cells, the first line 2"),
            ('soup,"miso, tofu"', "there is a comma in its ingredients; join them by `;`"),
            ("PIE,miso", "the dish `PIE` is in line 2 already; keep one line"),
        ],
    )
    def test_bad_row(self, tmp_path, row, said):
        content = f"dish,ingredients\npie,apple\n\nrice,rice\n{row}\nham,ham\n"
        assert self.message(tmp_path, content).startswith(f" line 5: {said}")

    @pytest.mark.parametrize("again", ["pie/1", "pie/1.jpg", "pie/1.PNG"])
    def test_an_image_twice(self, tmp_path, again):
        content = f"image,ingredients\npie/1.jpg,apple\n{again},flour\n"
        said = f" line 3: the image `{again}` is in line 2 already; keep one line"
        assert self.message(tmp_path, content) == said

    @pytest.mark.parametrize(
        "dish", ["french toast", "French_Toast", " french  toast", "FRENCH toast"]
    )
    def test_a_dish_twice_in_two_spellings(self, tmp_path, dish):
        content = f"dish,ingredients\nfrench_toast,egg\n{dish},bread\n"
        assert "is in line 2 already" in self.message(tmp_path, content)

    def test_not_utf8(self, tmp_path):
        content = "dish,ingredients\npie,apple\ncrème,crème\n".encode("latin-1")
        assert self.message(tmp_path, content) == " line 3: is not UTF-8; save the file as UTF-8"

    def test_not_csv(self, tmp_path):
        content = "dish,ingredients\npie," + "a" * 200_000
        assert self.message(tmp_path, content).startswith(" line 2: not CSV (")


class TestLookUp:
    @pytest.mark.parametrize("dish", ["fish_and_chips", "Fish and Chips", " fish  and_chips"])
    @pytest.mark.parametrize("row", ["fish_and_chips", "FISH and chips"])
    def test_names_of_dishes_are_compared_loosely(self, dish, row):
        table = IngredientTable("dish", {"pie": ("apple",), row: ("potato",)})
        assert table.of(dish, f"{dish}/1") == ("potato",)

    def test_a_missing_dish_is_named_with_the_nearest_row(self):
        table = IngredientTable("dish", {"Apple pie": (), "ramen": (), "sushi": ()}, "own.csv")
        said = "own.csv: has no row for the dish `apple_pies`, the nearest is `Apple pie`; add a "
        assert refused(table.of, "apple_pies", "apple_pies/1").startswith(said)

    def test_a_missing_image_is_named_with_the_nearest_row(self):
        table = IngredientTable("image", {"pie/12": (), "sushi/7": ()}, "own.csv")
        said = "own.csv: has no row for the image `pie/13.jpg`, the nearest is `pie/12`; add a row"
        assert refused(table.of, "pie", "pie/13.jpg").startswith(said)

    def test_an_image_is_another_in_another_case(self):
        assert "no row" in refused(IngredientTable("image", {"pie/a": ()}).of, "pie", "pie/A.jpg")


class TestIngredients101:
    @pytest.mark.parametrize("name", ["annotations", "Annotations"])
    def test_small_archive(self, tmp_path, ingredients101_folder, name):
        table = ingredients101(ingredients101_folder(tmp_path, name))
        assert table.by == "dish"
        assert table.rows == {
            "apple_pie": ("flour", "apple", "sugar", "butter"),
            "caesar_salad": ("lettuce", "parmesan cheese", "garlic"),
            "miso_soup": ("miso", "tofu", "spring onion"),
        }

    @pytest.mark.parametrize("file", ["classes.txt", "ingredients_simplified.txt"])
    def test_line_ends_and_a_byte_order_mark_do_no_harm(
        self, tmp_path, ingredients101_folder, file
    ):
        plain = ingredients101(ingredients101_folder(tmp_path)).rows
        place = tmp_path / "annotations" / file
        content = place.read_bytes().replace(b"\n", b" \r\n")
        place.write_bytes(b"\xef\xbb\xbf" + content + b"\n\n")
        assert ingredients101(tmp_path).rows == plain

    @pytest.mark.parametrize(("file", "counts"), [("classes", (3, 4)), ("ingredients", (4, 3))])
    def test_line_counts_differ(self, tmp_path, ingredients101_folder, file, counts):
        lists = ingredients101_folder(tmp_path) / "annotations"
        recipes = lists / "ingredients_simplified.txt"
        with (lists / "classes.txt" if file == "classes" else recipes).open("a") as place:
            place.write("ramen\n")
        said = f"{recipes}: has {counts[0]} lines, and classes.txt beside it {counts[1]}, but there"
        assert refused(ingredients101, tmp_path).startswith(said)

    @pytest.mark.parametrize(
        ("file", "line", "said"),
        [
            ("classes.txt", "apple_pie", "`apple_pie` is no dish or is there twice"),
            ("classes.txt", "", "`` is no dish or is there twice"),
            ("ingredients_simplified.txt", "", "`caesar_salad` has no ingredients"),
            ("ingredients_simplified.txt", ", ,", "`caesar_salad` has no ingredients"),
        ],
    )
    def test_bad_line(self, tmp_path, ingredients101_folder, file, line, said):
        place = ingredients101_folder(tmp_path) / "annotations" / file
        lines = place.read_text().splitlines()
        lines[1] = line
        place.write_text("\n".join(lines))
        expected = f"{place} line 2: {said}; use the published file"
        assert refused(ingredients101, tmp_path) == expected

    @pytest.mark.parametrize("file", ["classes.txt", "ingredients_simplified.txt"])
    def test_missing_empty_or_not_utf8(self, tmp_path, ingredients101_folder, file):
        place = ingredients101_folder(tmp_path) / "annotations" / file
        place.write_bytes(place.read_bytes() + "crème".encode("latin-1"))
        assert f"{place} line {len(INGREDIENTS101) + 1}: is not UTF-8" in refused(
            ingredients101, tmp_path
        )
        place.write_bytes(b"\n")
        assert refused(ingredients101, tmp_path) == f"{place}: is empty; unpack the dataset again"
        place.unlink()
        assert refused(ingredients101, tmp_path).startswith(f"{place}: no such file; unpack")

    def test_missing_folder(self, tmp_path):
        said = f"{tmp_path / 'annotations'}: no such folder; unpack the annotations there"
        assert refused(ingredients101, tmp_path) == said
        assert refused(recipes5k, tmp_path) == said


class TestRecipes5k:
    def test_small_archive(self, tmp_path, recipes5k_folder):
        table = recipes5k(recipes5k_folder(tmp_path))
        assert table.by == "image"
        truth = {
            image.removesuffix(".jpg"): tuple(RECIPES[line].replace("_", " ").split(","))
            for listed in RECIPES5K.values()
            for image, line in listed
        }
        assert table.rows == truth
        assert table.of("caesar_salad", "caesar_salad/1_caesar.v2.jpg")[0] == "romaine lettuce"

    def test_a_recipe_without_ingredients_keeps_its_line(self, tmp_path, recipes5k_folder):
        lists = recipes5k_folder(tmp_path) / "annotations"
        file = lists / "ingredients_simplified_Recipes5k.txt"
        file.write_text(file.read_text().replace(RECIPES[1], ""))
        rows = recipes5k(tmp_path).rows
        assert rows["caesar_salad/1_caesar.v2"] == ()
        assert rows["apple_pie/2_spiced_pie"] == ("apple", "cinnamon", "flour", "pastry")

    @pytest.mark.parametrize("label", ["5", "-1", "one", "", "1.0", "²"])
    def test_label_that_is_no_line_of_a_recipe(self, tmp_path, recipes5k_folder, label):
        file = recipes5k_folder(tmp_path) / "annotations" / "train_labels.txt"
        file.write_text(f"{label}\n0\n", encoding="utf-8")
        said = f"{file} line 1: expected the number of a line of ingredients_simplified_Recipes5k"
        message = refused(recipes5k, tmp_path)
        assert message.startswith(said)
        assert f"0 to 4, found `{label}`" in message

    @pytest.mark.parametrize("part", ["train", "val", "test"])
    def test_counts_differ(self, tmp_path, recipes5k_folder, part):
        file = recipes5k_folder(tmp_path) / "annotations" / f"{part}_labels.txt"
        count = len(RECIPES5K[part])
        file.write_text(file.read_text() + "0\n")
        said = f"{file}: has {count + 1} lines, and {part}_images.txt beside it {count}, but there "
        assert refused(recipes5k, tmp_path).startswith(said)

    @pytest.mark.parametrize("part", ["train", "test"])
    def test_an_image_twice(self, tmp_path, recipes5k_folder, part):
        lists = recipes5k_folder(tmp_path) / "annotations"
        image, _ = RECIPES5K["train"][0]
        for kind, more in (("images", image), ("labels", "0")):
            file = lists / f"{part}_{kind}.txt"
            file.write_text(f"{file.read_text()}{more}\n")
        said = f"{lists / part}_images.txt line 3: `{image}` is listed twice; keep one line"
        assert refused(recipes5k, tmp_path) == said

    @pytest.mark.parametrize(
        "name", ["test_images", "val_labels", "ingredients_simplified_Recipes5k"]
    )
    def test_missing_list(self, tmp_path, recipes5k_folder, name):
        file = recipes5k_folder(tmp_path) / "annotations" / f"{name}.txt"
        file.unlink()
        assert refused(recipes5k, tmp_path).startswith(f"{file}: no such file; unpack")
