"""What a prompt says: its lines, their order, and what no name can do to them."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sentences import refused
from studies.recipes.prompt import build_prompt

# names as tables of dishes have them, and worse
words = st.text(st.sampled_from("ab é_-'(%,:\n\r\t\x0b\x85\u2028"), min_size=1, max_size=8)
names = words.filter(lambda name: name.replace("_", " ").strip())
shares = st.floats(0, 1)
told = st.one_of(names, st.dictionaries(names, shares, min_size=1, max_size=5))
seen = st.one_of(st.none(), st.lists(names, max_size=4), st.dictionaries(names, shares, max_size=4))


def line(prompt: str, name: str) -> str:
    """The one line of a prompt that begins with a name."""
    (found,) = [one for one in prompt.splitlines() if one.startswith(f"{name}: ")]
    return found.removeprefix(f"{name}: ")


class TestLines:
    def test_a_whole_prompt(self):
        prompt = build_prompt("caesar_salad", {"egg": 0.514, "kale": 0.9}, servings=3)
        assert prompt == (
            "Write a recipe for the dish on the photograph.\n"
            "\n"
            "Dish: caesar salad\n"
            "Visible ingredients: kale (90%), egg (51%)\n"
            "Servings: 3\n"
            "Language: English\n"
            "\n"
            "Answer with a title, the ingredients with their amounts, and numbered steps."
        )

    @given(told, seen, st.integers(1, 99), names)
    def test_no_name_ends_its_line(self, dish, ingredients, servings, language):
        prompt = build_prompt(dish, ingredients, servings=servings, language=language)
        heads = ["Dish"] + ["Visible ingredients"] * (ingredients is not None)
        heads += ["Servings", "Language"]
        lines = prompt.splitlines()
        assert len(lines) == len(heads) + 4
        assert [lines[1], lines[-2]] == ["", ""]
        for head, one in zip(heads, lines[2:-2], strict=True):
            assert one.startswith(f"{head}: ")
            assert one == " ".join(one.split())
        assert line(prompt, "Servings") == str(servings)

    @given(told, seen.filter(lambda one: one is not None))
    def test_naive_and_supervised_differ_in_the_ingredients_alone(self, dish, ingredients):
        naive, supervised = build_prompt(dish).split("\n"), build_prompt(dish, ingredients)
        lines = supervised.split("\n")
        (place,) = [k for k, one in enumerate(lines) if one.startswith("Visible ingredients: ")]
        assert lines[:place] + lines[place + 1 :] == naive

    @given(st.lists(names, min_size=1, max_size=5))
    def test_ingredients_stand_as_they_came(self, ingredients):
        plain = [" ".join(name.replace("_", " ").split()) for name in ingredients]
        assert line(build_prompt("soup", ingredients), "Visible ingredients") == ", ".join(plain)

    @pytest.mark.parametrize("nothing", [[], {}])
    def test_nothing_recognised_is_said(self, nothing):
        prompt = build_prompt("soup", nothing)
        assert line(prompt, "Visible ingredients") == "none recognised"
        assert "none" not in build_prompt("soup")


class TestOrder:
    @given(st.lists(st.integers(0, 100), min_size=1, max_size=6))
    def test_the_most_probable_ingredient_comes_first_equal_ones_as_they_came(self, percents):
        known = {f"n{k}": percent / 100 for k, percent in enumerate(percents)}
        order = sorted(range(len(percents)), key=lambda k: (-percents[k], k))
        shown = [f"n{k} ({percents[k]}%)" for k in order]
        assert line(build_prompt("soup", known), "Visible ingredients") == ", ".join(shown)

    @given(st.lists(st.integers(0, 100), min_size=1, max_size=6), st.integers(0, 100))
    def test_an_unsure_dish_has_up_to_two_others(self, percents, sure):
        known = {f"d_{k}": percent / 100 for k, percent in enumerate(percents)}
        order = sorted(range(len(percents)), key=lambda k: (-percents[k], k))
        said = line(build_prompt(known, sure=sure / 100), "Dish")
        if max(percents) >= sure:
            assert said == f"d {order[0]}"
        else:
            assert said == " or ".join(f"d {k} ({percents[k]}%)" for k in order[:3])

    def test_a_name_alone_is_sure(self):
        assert line(build_prompt("miso_soup", sure=1.0), "Dish") == "miso soup"
        assert line(build_prompt({"miso_soup": 1.0}, sure=1.0), "Dish") == "miso soup"


class TestMistakes:
    @pytest.mark.parametrize("share", [-0.01, 1.01, float("nan"), 70])
    def test_a_probability_that_is_none(self, share):
        for given_ in (({"a\nb": share},), ("soup", {"a\nb": share})):
            message = refused(build_prompt, *given_)
            assert repr("a\nb") in message
            assert str(share) in message

    @pytest.mark.parametrize("dish", ["", " ", "_\n_", {"": 1.0}])
    def test_a_name_without_letters(self, dish):
        assert refused(build_prompt, dish).startswith("a name in a prompt has no letters")

    @pytest.mark.parametrize("ingredients", [["egg", "_"], {"\t": 0.5}])
    def test_an_ingredient_without_letters(self, ingredients):
        message = refused(build_prompt, "soup", ingredients)
        assert message.startswith("a name in a prompt has no letters")

    def test_no_dish(self):
        assert refused(build_prompt, {}) == "a prompt needs the name of a dish; give one"

    @given(names, names)
    def test_names_that_read_alike_are_each_named(self, one, other):
        assume(one != other)
        prompt = build_prompt("soup", {one: 0.5, other: 0.5})
        assert line(prompt, "Visible ingredients").count("(50%)") == 2
