"""The demo's captions are frozen, and say what is on the plate and nothing else."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from studies import demo
from studies.captioning import data
from studies.captioning.params import Parameters
from studies.runs.params import run_files

DIGEST = "3f3fa0b7a3961af73d8878850b14bc12ef6633e08a77e83567895a78e174fe8b"
NAMES = {  # what each variant may be called
    "margherita": "(margherita )?pizza",
    "pepperoni": "(pepperoni )?pizza",
    "funghi": "(mushroom )?pizza",
    "hawaiian": "(hawaiian )?pizza",
    "chicken_curry": "(chicken )?curry",
    "chickpea_curry": "(chickpea )?curry",
    "tomato_soup": "(tomato )?soup",
    "pumpkin_soup": "(pumpkin )?soup",
    "pea_soup": "(pea )?soup",
    "borscht": "borscht|soup",
    "ramen": "ramen|noodle soup",
    "udon": "udon noodles|noodle soup",
    "caprese": "(caprese )?salad",
    "greek_salad": "(greek )?salad",
    "caesar_salad": "(caesar )?salad",
    "blt": "(blt|open) sandwich",
    "salmon_toast": "salmon toast|open sandwich",
    "strawberry_tart": "(strawberry )?tart",
    "cherry_tart": "(cherry )?tart",
    "blueberry_tart": "(blueberry )?tart",
    "blueberry_pancakes": "(blueberry )?pancakes",
    "banana_pancakes": "(banana )?pancakes",
    "strawberry_sundae": "strawberry sundae|ice cream",
    "chocolate_sundae": "chocolate sundae|ice cream",
}
TABLES = {
    "wooden table": "wood",
    "marble table": "marble",
    "dark slate": "slate",
    "checked tablecloth": "checked cloth",
    "linen tablecloth": "linen",
    "tiled table": "tiles",
}
SHAPES = {"bowl": "bowl", "square plate": "square", "plate": "round"}
COLOURS = {"dark": "charcoal", "brown": "terracotta"}
BETWEEN = (
    "a an the it of in on with and holding served someone topped garnished covered next to beside "
    "behind around some folded fork glass water napkin crumbs wooden board slices"
)
VESSEL = r"\b(\w+) (bowl|square plate|plate)\b"


@pytest.fixture(scope="module")
def said() -> dict[demo.Plate, list[str]]:
    return {plate: demo.captions(plate) for plate in demo.plates(40)}


def spellings(ingredient):
    """A pattern of an ingredient, one or many."""
    return rf"\b{re.sub('y$', '(y|ie)', ingredient)}(s|es)?\b"


def mentioned(plate, caption):
    """The ingredients that a caption names beside the dish itself, and what is left of it."""
    rest = re.sub(VESSEL, "", re.sub(rf"\b({NAMES[plate.variant]})\b", "", caption, count=1))
    found = set()
    for ingredient in sorted(demo.INGREDIENTS, key=len, reverse=True):  # `cream` is in `ice cream`
        rest, times = re.subn(spellings(ingredient), "", rest)
        found |= {ingredient} if times else set()
    return found, rest


def test_the_captions_are_frozen():
    captions = [demo.captions(plate) for plate in demo.plates(5)]
    assert hashlib.sha256(json.dumps(captions).encode()).hexdigest() == DIGEST


def test_five_plain_captions_a_plate(said):
    for captions in said.values():
        assert len(captions) == 5
        for caption in captions:
            assert re.fullmatch(r"[a-z]+( [a-z]+)+ \.", caption)


def test_they_are_the_same_in_another_process_and_whatever_else_is_drawn():
    code = """if True:
        import json
        from studies import demo
        print(json.dumps([demo.captions(plate) for plate in reversed(demo.plates(3))]))"""
    environment = os.environ | {"PYTHONHASHSEED": "7"}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    captions = [demo.captions(plate) for plate in demo.plates(3)]
    assert json.loads(output)[::-1] == captions


def test_every_plate_and_seed_has_words_of_its_own(said):
    plates = [plate for plate in said if plate.variant == "greek_salad"]
    assert all(said[one] != said[other] for one, other in pairwise(plates))
    assert all(demo.captions(plate, 1) != said[plate] for plate in plates)
    assert all(demo.captions(replace(one, id="another-000")) != said[one] for one in plates)


def test_people_do_not_all_say_the_same(said):
    assert np.mean([len(set(captions)) for captions in said.values()]) > 3
    for captions in said.values():
        assert len(set(captions)) > 1


def test_the_dish_is_named(said):
    for plate, captions in said.items():
        for caption in captions:
            assert re.search(rf"\b({NAMES[plate.variant]})\b", caption), caption


def test_only_visible_ingredients_are_named(said):
    named = Counter()
    for plate, captions in said.items():
        for caption in captions:
            found, _ = mentioned(plate, caption)
            assert found <= set(plate.ingredients), caption
            assert len(found) <= 2
            named[len(found)] += 1
    assert min(named[count] for count in (0, 1, 2)) > 500


def test_what_lies_on_a_dish_is_named_sooner_or_later():
    for plate in demo.plates(1):
        heard = [one for seed in range(60) for one in demo.captions(plate, seed)]
        for ingredient in plate.ingredients[1:]:
            assert any(re.search(spellings(ingredient), one) for one in heard), ingredient


def test_table_and_plate_are_those_that_are_seen(said):
    for plate, captions in said.items():
        for caption in captions:
            for words, table in TABLES.items():
                assert words not in caption or plate.table == table
            for colour, shape in re.findall(VESSEL, caption):
                assert plate.plate_shape == SHAPES[shape]
                assert plate.plate_colour == COLOURS.get(colour, colour)
            assert "wooden board" not in caption or plate.plate_shape == "board"


def test_only_things_beside_the_plate_are_named(said):
    for plate, captions in said.items():
        for caption in captions:
            for thing in ("fork", "glass", "napkin", "crumbs"):
                assert thing not in caption or thing in plate.distractors
    named = Counter(
        thing for plate, own in said.items() for thing in plate.distractors if thing in str(own)
    )
    assert len(named) == 4


def test_nothing_else_is_said(said):
    known = set(BETWEEN.split())
    known |= {word for table in TABLES for word in table.split()}
    for plate, captions in said.items():
        for caption in captions:
            _, rest = mentioned(plate, caption)
            assert set(re.findall(r"\w+", rest)) <= known, caption


def test_articles_fit_their_nouns(said):
    text = " ".join(caption for captions in said.values() for caption in captions)
    assert not re.findall(r"\ba [aeiou]\w+|\ban [^aeiou]\w+", text)
    masses = "soup|curry|ramen|borscht|ice cream|pancakes|noodles"
    assert not re.findall(rf"\ban? (\w+ )?(?:{masses})\b", text)
    counted = "pizza|salad|sandwich|toast|tart|sundae"
    assert not re.findall(rf"(?:someone served|holding) (?!an? )(?:\w+ )?(?:{counted})\b", text)


def test_the_demo_is_large_enough_to_tell_systems_apart_and_its_vocabulary_small():
    settings = Parameters.from_files(run_files("captioning", "demo")["resnet_lstm"], ["seed=0"])
    plates = demo.plates(settings.source.per_variant, settings.source.seed)
    captions = [demo.captions(plate, settings.source.seed) for plate in plates]
    dataset = data.CaptionedImages(Path("/nowhere"), [one.id for one in plates], captions, None)
    parts = Counter(data.split(dataset, settings))
    assert parts["test"] >= 200
    assert parts["validation"] >= 100
    words = {word for own in captions for caption in own for word in caption.split()}
    assert 100 <= len(words) <= 150
