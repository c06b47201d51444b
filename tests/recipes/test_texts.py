"""Measures of recipes against loops, pycocoevalcap called with every reference, and hand cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocoevalcap.bleu.bleu import Bleu

from studies.recipes.texts import (
    IGNORED,
    REPEATED,
    distinct_2,
    failures,
    grounding,
    hallucination,
    mentions,
    reference_scores,
    self_bleu,
    sight,
)
from studies.reporting.bootstrap import estimate, measure

KITCHEN = ["tomato", "tomato sauce", "cherry", "cherry jam", "olives", "bay leaf", "egg"]


def names_in(text, names=tuple(KITCHEN)):
    """Which names a text names, as a list of bools."""
    return mentions([[text]], names)[0, 0].tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 TOMATOES and 3 cherries", {"tomato", "cherry"}),
        ("Tomato\n sauces", {"tomato sauce"}),
        ("tomato-sauce, cherry_jam", {"tomato sauce", "cherry jam"}),
        ("tomato sauce with a tomato", {"tomato", "tomato sauce"}),
        ("tomato. Sauce", {"tomato"}),
        ("an olive, two bay leaves", {"olives", "bay leaf"}),
        ("eggplant, nutmeg-egg7, eggy", set()),
        ("the jam of a cherry", {"cherry"}),
        ("no egg", {"egg"}),
        ("", set()),
    ],
)
def test_what_a_text_names(text, expected):
    there = zip(KITCHEN, names_in(text), strict=True)
    assert {name for name, is_there in there if is_there} == expected


def test_names_are_no_patterns_and_may_be_accented_repeated_or_blank():
    assert names_in("an egg, two eggs", ["egg", "eggs"]) == [True, True]
    assert names_in("two eggs", ["egg", "eggs"]) == [False, True]
    names = ["salt (fine)", "cre\u0300me", "c.t", "Egg", "egg", " ", ""]
    assert names_in("CRÈME, salt (fine), cat", names) == [True, True] + [False] * 5
    assert names_in("EGG", names) == [False, False, False, True, True, False, False]
    assert names_in(" s  es \n", names) == [False] * 7
    assert names_in("egg", []) == []
    assert names_in("egg", [" "]) == [False]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ice cream with mint", {"mint"}),
        ("Ice cream with vanilla ice cream and mint", {"vanilla ice cream", "mint"}),
        ("Ice cream\nIngredients: vanilla ice cream, cream", {"vanilla ice cream", "cream"}),
        ("Noodles", {"noodles"}),  # a dish that is an ingredient as well
    ],
)
def test_a_dish_is_no_ingredient(text, expected):
    known = ["cream", "vanilla ice cream", "mint", "noodles"]
    mentioned = mentions([[text]], known, ["ice_cream", "noodles", "soup"])
    assert mentioned.shape == (1, 1, 4)
    assert {known[s] for s in np.flatnonzero(mentioned[0, 0])} == expected


NAMES = [("ab",), ("cd",), ("ab", "cd"), ("cd", "ab", "cd"), ("eg", "ab")]
spoken = st.lists(st.sampled_from(["ab", "cd", "eg", "abs", "cds", "egs", "abcd"]), max_size=12)


@given(spoken, st.permutations(NAMES))
def test_named_equals_reading_word_by_word(text, names):
    wanted, place = set(), 0
    while place < len(text):
        here = [
            name
            for name in names
            if text[place : place + len(name)] in ([*name], [*name[:-1], name[-1] + "s"])
        ]
        if here:
            wanted.add(max(here, key=len))
        place += len(max(here, key=len)) if here else 1
    found = mentions([[" ".join(text)]], [" ".join(name) for name in names])
    assert found.shape == (1, 1, len(names))
    assert [name in wanted for name in names] == found[0, 0].tolist()


@st.composite
def plates(draw, most=7):
    """What recipes name (N, K, S), what is there (N, S), and the dish (N,)."""
    n, k, s = draw(st.integers(1, most)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.random((n, k, s)) < 0.5, rng.random((n, s)) < 0.5, rng.integers(0, 2, n)


@given(plates())
def test_grounding_equals_a_loop(case):
    said, present, _ = case
    precision, recall = grounding(said, present)
    for n, texts in enumerate(said):
        there = set(np.flatnonzero(present[n]))
        own = [set(np.flatnonzero(text)) for text in texts]
        right = [len(one & there) / len(one) if one else 0 for one in own]
        assert precision[n] == pytest.approx(np.mean(right), abs=1e-12)
        if there:
            found = [len(one & there) / len(there) for one in own]
            assert recall[n] == pytest.approx(np.mean(found), abs=1e-12)
        else:
            assert math.isnan(recall[n])


def f1(said, there):
    """F1 of two sets; nothing said of nothing is right."""
    return 2 * len(said & there) / (len(said) + len(there)) if said or there else 1.0


@given(plates(), st.data())
def test_sight_of_plates_repeated_equals_a_loop_over_pairs(case, data):
    said, present, dish = case
    there = [frozenset(np.flatnonzero(row)) for row in present]

    def fit(recipe, plate):
        return np.mean([f1(set(np.flatnonzero(text)), there[plate]) for text in said[recipe]])

    times = data.draw(st.lists(st.integers(0, 3), min_size=len(dish), max_size=len(dish)))
    drawn = np.repeat(np.arange(len(dish)), times).tolist()
    values = []
    for i in drawn:
        gains = [
            (fit(i, i) + fit(j, j) - fit(i, j) - fit(j, i)) / 2
            for j in drawn
            if dish[j] == dish[i] and there[j] != there[i]
        ]
        values += [np.mean(gains)] if gains else []
    wanted = np.mean(values) if values else math.nan
    (got,) = sight(said, present, dish)(np.array([times], dtype=float))
    assert got == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def test_interval_of_sight_covers_zero_where_recipes_are_blind():
    rng = np.random.default_rng(1)
    trials, covered = 200, 0
    for _ in range(trials):
        said, present = (
            rng.random((40, 1, 5)) < 0.5,
            rng.random((40, 5)) < [0.9, 0.5, 0.5, 0.2, 0.1],
        )
        metric = sight(said, present, np.zeros(40))
        one = estimate(measure({0: {"sight": metric}}, np.arange(40), resamples=200)["sight"])
        covered += one.low <= 0 <= one.high
    assert 0.89 < covered / trials < 0.99


recipe = st.lists(st.sampled_from("abcd"), max_size=9).map(" ".join)


@st.composite
def cookbooks(draw):
    """K recipes for each of N plates, their dishes and ingredients."""
    n, k = draw(st.integers(1, 6)), draw(st.integers(1, 2))
    recipes = draw(st.lists(st.lists(recipe, min_size=k, max_size=k), min_size=n, max_size=n))
    column = st.lists(st.integers(0, 1), min_size=n, max_size=n)
    dish, *present = (draw(column) for _ in range(3))
    return recipes, np.array(dish), np.array(present, dtype=bool).T


@settings(deadline=None)
@given(cookbooks())
def test_self_bleu_is_pycocoevalcaps_with_every_reference(case):
    recipes, dish, present = case
    found = self_bleu(*case)
    for i, texts in enumerate(recipes):
        others = [
            text
            for j, own in enumerate(recipes)
            for text in own
            if dish[j] == dish[i] and (present[j] != present[i]).any()
        ]
        if others:
            scores = [
                Bleu(4).compute_score({0: others}, {0: [text]}, verbose=0)[0][3]
                for text in texts
                if text
            ]
            wanted = np.mean(scores) if scores else math.nan
            assert found[i] == pytest.approx(wanted, abs=1e-12, nan_ok=True)
        else:
            assert math.isnan(found[i])


@settings(deadline=None)
@given(st.lists(recipe, min_size=2, max_size=2), recipe)
def test_bleu_is_pycocoevalcaps_over_the_recipes_of_a_plate(texts, reference):
    scores = [
        Bleu(4).compute_score({0: [reference]}, {0: [text]}, verbose=0)[0][3] for text in texts
    ]
    assert reference_scores([texts], [reference])["bleu4"] == pytest.approx(
        [np.mean(scores)], abs=1e-12
    )


@given(cookbooks())
def test_distinct_equals_a_loop(case):
    recipes, dish, _ = case
    shares = []
    for one in dish:  # each plate counts its dish's share
        grams = []
        for texts, other in zip(recipes, dish, strict=True):
            for text in texts if other == one else ():
                said = text.split()
                grams += [" ".join(said[i : i + 2]) for i in range(len(said) - 1)]
        shares.append(len(set(grams)) / len(grams) if grams else 0)
    assert distinct_2(recipes, dish) == pytest.approx(np.mean(shares), abs=1e-12)


def subsequence(a, b):
    """The length of the longest common subsequence, by trying whether to skip."""
    if not a or not b:
        return 0
    if a[0] == b[0]:
        return 1 + subsequence(a[1:], b[1:])
    return max(subsequence(a[1:], b), subsequence(a, b[1:]))


@settings(deadline=None)
@given(st.lists(recipe, min_size=1, max_size=2), recipe)
def test_rouge_equals_its_definition(texts, reference):
    scores = []
    for text in texts:
        shared = subsequence(text.split(), reference.split())
        if not shared:
            scores.append(0)
            continue
        precision, recall = shared / len(text.split()), shared / len(reference.split())
        scores.append((1 + 1.2**2) * precision * recall / (recall + 1.2**2 * precision))
    assert reference_scores([texts], [reference])["rouge_l"] == pytest.approx(
        [np.mean(scores)], abs=1e-12
    )


def test_a_text_without_words_scores_nothing_and_nothing_is_printed(capsys):
    recipes, present, dish = [["", "…"], ["a b c d", ""]], np.eye(2) > 0, np.zeros(2)
    # nobody learns from nothing whether it is a template
    np.testing.assert_allclose(self_bleu(recipes, dish, present), [np.nan, 0], atol=1e-6)
    scores = reference_scores(recipes, ["", "!"])
    np.testing.assert_allclose(scores["bleu4"], 0, atol=1e-6)
    np.testing.assert_array_equal(scores["rouge_l"], 0)
    assert distinct_2([["", "…"]], np.zeros(1)) == 0
    assert not mentions(recipes, ["egg"]).any()
    assert capsys.readouterr().out == ""


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_what_is_named_is_there_or_made_up(seed):
    rng = np.random.default_rng(seed)
    named, present = rng.random((4, 2, 5)) < 0.4, rng.random((4, 5)) < 0.5
    precision, _ = grounding(named, present)
    some = named.any(2).mean(1)  # the share of recipes that name any
    assert hallucination(named, present) + precision == pytest.approx(some)


def test_recipes_that_repeat_themselves_or_ignore_their_list_are_counted():
    known = ["egg", "rice noodle", "nori"]
    lists = [["egg (50%), nori"], ["rice noodle"], ["none recognised"], [""]]
    recipes = [
        ["Boil the eggs.", "Fry it well."],
        ["rice, rice noodles", "noodle"],
        ["mmm " * 20, "Boil the water"],
        ["a b c d a b c d", "a b c a b c a b c a"],
    ]
    wanted = {REPEATED: 2, IGNORED: 2}
    assert failures(recipes, lists, known) == wanted
