"""The demo's class texts are frozen, of several sentences, and of their own class."""

import hashlib
import json
import re
from collections import defaultdict

import pytest

from studies import demo
from studies.relevance.sentences import split

DIGEST = "c75fa56baa22bdd50e9d8bb575ebeffbd18f1ca50b5da803a790783ef5e0e551"
DISH = {v: dish for part in demo.TREE.values() for dish, own in part.items() for v in own}
MARKS = {  # what an encyclopaedia cannot leave out
    "margherita": "tomato mozzarella basil",
    "pepperoni": "cheese salami",
    "funghi": "mushroom champignon tomato",
    "hawaiian": "pineapple ham",
    "chicken_curry": "chicken sauce",
    "chickpea_curry": "chickpeas garbanzo",
    "tomato_soup": "tomatoes cream basil",
    "pumpkin_soup": "pumpkin squash seeds",
    "pea_soup": "peas croutons",
    "borscht": "beetroot beets dill",
    "ramen": "noodles broth pork egg",
    "udon": "noodles broth shrimp prawns",
    "caprese": "tomatoes mozzarella basil",
    "greek_salad": "feta cucumber olives lettuce",
    "caesar_salad": "lettuce chicken croutons parmesan",
    "blt": "bread bacon lettuce tomato",
    "salmon_toast": "bread salmon lox dill cucumber",
    "strawberry_tart": "pastry custard strawberries",
    "cherry_tart": "pastry jam cherries",
    "blueberry_tart": "pastry custard blueberries bilberries",
    "blueberry_pancakes": "blueberries syrup butter",
    "banana_pancakes": "banana",
    "strawberry_sundae": "vanilla strawberries sauce wafer",
    "chocolate_sundae": "vanilla chocolate fudge hazelnut wafer",
}


@pytest.fixture(scope="module")
def sentences() -> dict[str, list[str]]:
    return {variant: split(demo.article(variant)) for variant in DISH}


def test_the_articles_are_frozen():
    texts = [demo.article(variant) for variant in DISH]
    assert hashlib.sha256(json.dumps(texts).encode()).hexdigest() == DIGEST


def test_five_to_eight_sentences_of_usual_length(sentences):
    for own in sentences.values():
        assert 5 <= len(own) <= 8
        assert len(set(own)) == len(own)
        for sentence in own:
            assert 60 <= len(sentence) <= 200, sentence
            assert re.fullmatch(r"[A-Z][\w ,;:'-]+\.", sentence), sentence


def test_only_siblings_share_sentences_and_never_all_of_them(sentences):
    said_of = defaultdict(set)
    for variant, own in sentences.items():
        for sentence in own:
            said_of[sentence].add(variant)
    for classes in said_of.values():
        dishes = {DISH[variant] for variant in classes}
        assert len(dishes) == 1
        assert len(classes) == 1 or classes == {v for v in DISH if DISH[v] in dishes}
    for own in sentences.values():
        alone = sum(len(said_of[sentence]) == 1 for sentence in own)
        assert 0.4 <= alone / len(own) <= 0.7


def test_each_says_what_makes_its_class(sentences):
    for variant, marks in MARKS.items():
        text = " ".join(sentences[variant]).lower()
        assert all(re.search(rf"\b{mark}", text) for mark in marks.split()), variant


def test_an_unknown_class_has_none():
    with pytest.raises(KeyError):
        demo.article("calzone")
