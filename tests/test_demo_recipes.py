"""The demo's recipes are frozen, and name every visible ingredient of their plate."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from studies import demo

DIGEST = "6d34083b7b37c35a81290fadf85e6e4717eb8afa69cade94a87d1837f89213aa"
PANTRY = {  # what a cook takes from the shelf
    *("olive oil", "salt", "onion", "ginger", "stock", "soy sauce", "garlic", "vinegar"),
    *("mustard", "sugar", "flour", "milk"),
}


@pytest.fixture(scope="module")
def written() -> dict[demo.Plate, str]:
    return {plate: demo.recipe(plate) for plate in demo.plates(40)}


def names(text: str) -> set[str]:
    """The ingredients of the kitchen that a text names in full, the longest first."""
    found = set()
    for name in sorted(demo.INGREDIENTS, key=len, reverse=True):  # `tomato` is in `tomato sauce`
        text, times = re.subn(rf"\b{name}\b", "", text)
        found |= {name} if times else set()
    return found


def steps(recipe: str) -> str:
    return "\n".join(line for line in recipe.split("\n")[2:])


def test_the_recipes_are_frozen():
    recipes = [demo.recipe(plate) for plate in demo.plates(5)]
    assert hashlib.sha256(json.dumps(recipes).encode()).hexdigest() == DIGEST


def test_title_ingredients_and_numbered_steps(written):
    for plate, recipe in written.items():
        title, ingredients, *rest = recipe.split("\n")
        dish = plate.dish.replace("_", " ")
        assert re.fullmatch(rf"{dish.capitalize()} (of the house )?with [a-z ,]+", title)
        assert re.fullmatch(r"Ingredients: [a-z]+( [a-z]+)*(, [a-z]+( [a-z]+)*)*", ingredients)
        assert [line.partition(". ")[0] for line in rest] == ["1", "2", "3"][: len(rest)]
        assert len(rest) == min(3, len(plate.ingredients))
        for line in rest:
            assert re.fullmatch(r"\d\. [A-Z][\w ,]+\.", line)


def test_every_visible_ingredient_is_listed_and_used(written):
    for plate, recipe in written.items():
        _, _, listed = recipe.split("\n")[1].partition(": ")
        told = listed.split(", ")
        assert tuple(told[: len(plate.ingredients)]) == plate.ingredients
        assert set(told[len(plate.ingredients) :]) <= PANTRY
        assert set(plate.ingredients) <= names(steps(recipe)), recipe


def test_nothing_that_is_not_on_the_plate_is_named(written):
    for plate, recipe in written.items():
        title, rest = recipe.split("\n", 1)
        dish = plate.dish.replace("_", " ").capitalize()
        assert names(title.removeprefix(dish) + rest) <= set(plate.ingredients), recipe


def test_titles_name_what_lies_on_top(written):
    for plate, recipe in written.items():
        _, _, things = recipe.split("\n")[0].partition(" with ")
        assert names(things) == set(plate.ingredients[1:] or plate.ingredients)


def test_they_are_the_same_in_another_process_and_whatever_else_is_drawn():
    code = """if True:
        import json
        from studies import demo
        print(json.dumps([demo.recipe(plate) for plate in reversed(demo.plates(3))]))"""
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert json.loads(output)[::-1] == [demo.recipe(plate) for plate in demo.plates(3)]


def test_plates_and_captions_are_another_stream():
    plates = demo.plates(3)
    before = [(plate, demo.captions(plate)) for plate in plates]
    for plate in plates:
        demo.recipe(plate)
    assert [(plate, demo.captions(plate)) for plate in demo.plates(3)] == before


def test_every_plate_and_seed_has_words_of_its_own(written):
    salads = [plate for plate in written if plate.variant == "greek_salad"]
    alike = sum(written[one] == written[other] for one, other in pairwise(salads))
    assert alike < len(salads) / 4
    other = [demo.recipe(plate, 1) for plate in salads]
    assert sum(a == written[b] for a, b in zip(other, salads, strict=True)) < len(salads) / 4
    # plates of the same food, by number alone
    twins = {demo.recipe(replace(salads[0], id=f"greek_salad-{k:03}")) for k in range(40)}
    assert len(twins) > 10


def test_cooks_do_not_all_say_the_same(written):
    for dish in {plate.dish for plate in written}:
        own = {plate: recipe for plate, recipe in written.items() if plate.dish == dish}
        titles = Counter(" of the house " in recipe.split("\n")[0] for recipe in own.values())
        assert min(titles[False], titles[True]) > 0.15 * len(own)
        opening = Counter(
            re.sub("|".join(sorted(demo.INGREDIENTS, key=len, reverse=True)), "…", recipe).split(
                "\n"
            )[2]
            for recipe in own.values()
        )
        assert len(opening) == 2
        assert min(opening.values()) > 0.25 * len(own)
