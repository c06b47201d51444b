"""All texts are frozen; captions, recipes and class texts are true of their plates."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

import kitchen

TRUTH = yaml.safe_load(Path(__file__).with_name("truth.yaml").read_text(encoding="utf-8"))
CLASSES = TRUTH["classes"]
DISH = {v: dish for part in kitchen.TREE.values() for dish, own in part.items() for v in own}
VESSEL = r"\b(\w+) (bowl|square plate|plate)\b"
DIGESTS = {
    "captions": "3f3fa0b7a3961af73d8878850b14bc12ef6633e08a77e83567895a78e174fe8b",
    "recipes": "6d34083b7b37c35a81290fadf85e6e4717eb8afa69cade94a87d1837f89213aa",
    "web": "206cb7f7780c9540e90d21e3f6fd799c845a84dbb02be053e58f871f1a9db694",
    "articles": "c75fa56baa22bdd50e9d8bb575ebeffbd18f1ca50b5da803a790783ef5e0e551",
}


def digest(contents) -> str:
    return hashlib.sha256(json.dumps(contents).encode()).hexdigest()


@pytest.fixture(scope="module")
def captioned() -> dict[kitchen.Plate, list[str]]:
    return {plate: kitchen.captions(plate) for plate in kitchen.plates(40)}


@pytest.fixture(scope="module")
def cooked() -> dict[kitchen.Plate, str]:
    return {plate: kitchen.recipe(plate) for plate in kitchen.plates(40)}


def mentioned(text: str) -> tuple[set[str], str]:
    """The ingredients that a text names, one or many, the longest first, and what is left of it."""
    found = set()
    for name in sorted(kitchen.INGREDIENTS, key=len, reverse=True):  # `cream` is in `ice cream`
        text, times = re.subn(rf"\b{re.sub('y$', '(y|ie)', name)}(s|es)?\b", "", text)
        found |= {name} if times else set()
    return found, text


def test_all_are_frozen():
    plates = kitchen.plates(5)
    assert digest([kitchen.captions(plate) for plate in plates]) == DIGESTS["captions"]
    assert digest([kitchen.recipe(plate) for plate in plates]) == DIGESTS["recipes"]
    assert digest([kitchen.web(plate) for plate in plates]) == DIGESTS["web"]
    assert digest([kitchen.article(variant) for variant in DISH]) == DIGESTS["articles"]


class TestCaptions:
    def test_the_dish_is_named_and_only_what_can_be_seen(self, captioned):
        known = {*TRUTH["between"].split(), *" ".join(TRUTH["tables"]).split()}
        named = Counter()
        for plate, captions in captioned.items():
            assert len(captions) == 5
            for caption in captions:
                assert re.fullmatch(r"[a-z]+( [a-z]+)+ \.", caption)
                name = rf"\b({CLASSES[plate.variant]['caption']})\b"
                rest, times = re.subn(name, "", caption, count=1)
                assert times == 1, caption
                found, rest = mentioned(re.sub(VESSEL, "", rest))
                assert found <= set(plate.ingredients), caption
                assert set(re.findall(r"\w+", rest)) <= known, caption
                named[len(found)] += 1
        assert set(named) == {0, 1, 2}
        different = [len(set(captions)) for captions in captioned.values()]
        assert sum(different) > 3 * len(different)

    def test_table_plate_and_things_beside_it_are_those_that_are_seen(self, captioned):
        for plate, captions in captioned.items():
            for caption in captions:
                for words, table in TRUTH["tables"].items():
                    assert words not in caption or plate.table == table
                for colour, shape in re.findall(VESSEL, caption):
                    assert plate.plate_shape == TRUTH["shapes"][shape]
                    assert plate.plate_colour == TRUTH["colours"].get(colour, colour)
                assert "wooden board" not in caption or plate.plate_shape == "board"
                things = set(re.findall("fork|glass|napkin|crumbs", caption))
                assert things <= set(plate.distractors)


class TestRecipes:
    def test_every_visible_ingredient_is_listed_and_used_and_no_other(self, cooked):
        for plate, recipe in cooked.items():
            title, listed, *steps = recipe.split("\n")
            dish = plate.dish.replace("_", " ").capitalize()
            assert re.fullmatch(rf"{dish} (of the house )?with [a-z ,]+", title)
            head, _, names = listed.partition(": ")
            assert head == "Ingredients"
            assert tuple(names.split(", ")[: len(plate.ingredients)]) == plate.ingredients
            assert [step[:3] for step in steps] == ["1. ", "2. ", "3. "][: len(plate.ingredients)]
            assert mentioned("\n".join(steps))[0] == set(plate.ingredients)
            assert mentioned(listed)[0] == set(plate.ingredients)
            on_top = set(plate.ingredients[1:] or plate.ingredients)
            assert mentioned(title.removeprefix(dish))[0] == on_top


def test_each_article_says_what_makes_its_class():
    for variant, truth in CLASSES.items():
        text = kitchen.article(variant).lower()
        assert all(re.search(rf"\b{mark}", text) for mark in truth["article"]), variant
