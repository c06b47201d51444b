"""Variants of a dish by their ingredients: scipy's Bernoulli, and loops."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bernoulli

import meals
from studies.recipes.plates import Plates
from studies.recipes.variants import RARE, by_ingredients, profiles, within_dish

PLATES = Plates(
    root=Path("/nowhere"),
    files=meals.IDS,
    dishes=meals.DISHES,
    dish=meals.DISH,
    ingredients=meals.INGREDIENTS,
    present=meals.PRESENT,
    variants=meals.VARIANTS,
    variant=meals.VARIANT,
)
seeds = st.integers(0, 2**32 - 1)


def test_profiles_are_shares_of_the_known_plates():
    known = np.random.default_rng(0).permutation(len(meals.IDS))
    # one plate of each variant at least
    first = [int(np.flatnonzero(v == meals.VARIANT)[0]) for v in range(len(meals.VARIANTS))]
    known = np.unique([*known[:20], *first])
    found = profiles(PLATES, known)
    for v in range(len(meals.VARIANTS)):
        mine = [meals.PRESENT[k].astype(int) for k in known if meals.VARIANT[k] == v]
        assert found[v] == pytest.approx(sum(mine) / len(mine))


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 4), st.integers(1, 5), st.integers(1, 4))
def test_certain_ingredients_give_the_likelihood_of_bernoulli(seed, plates, ingredients, variants):
    rng = np.random.default_rng(seed)
    there = rng.integers(0, 2, (plates, ingredients))
    share = rng.integers(0, 5, (variants, ingredients)) / 4  # never and always among them
    found = by_ingredients(there.astype(float), share)
    expected = bernoulli.logpmf(there[:, None], share.clip(RARE, 1 - RARE)).sum(2)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 4))
def test_unsure_ingredients_give_its_expectation(seed, ingredients):
    rng = np.random.default_rng(seed)
    likely, share = rng.random((1, ingredients)), rng.random((2, ingredients))
    expected = np.zeros((1, 2))
    for code in range(2**ingredients):  # every plate that there could be
        there = np.array([code >> s & 1 for s in range(ingredients)])
        chance = bernoulli.pmf(there, likely[0]).prod()
        expected += chance * bernoulli.logpmf(there, share.clip(RARE, 1 - RARE)).sum(1)
    np.testing.assert_allclose(by_ingredients(likely, share), expected, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_only_variants_of_the_true_dish_can_be_said(seed):
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(meals.IDS))[:9]
    scores = rng.normal(size=(9, len(meals.VARIANTS)))
    found = within_dish(scores, PLATES, rows)
    for k, row in enumerate(rows):
        possible = [
            v for v in range(len(meals.VARIANTS)) if v in meals.VARIANTS_OF[meals.DISH[row]]
        ]
        assert found[k] == max(possible, key=lambda v, k=k: scores[k, v])


def test_true_ingredients_tell_nearly_all_variants_of_the_kitchen():
    known = profiles(PLATES, np.arange(len(meals.IDS)))
    rows = np.arange(len(meals.IDS))
    said = within_dish(by_ingredients(meals.PRESENT.astype(float), known), PLATES, rows)
    assert (said == meals.VARIANT).mean() > 0.95
    # and what is typical of all plates tells none
    usual = np.tile(meals.PRESENT.mean(0), (len(rows), 1))
    blind = within_dish(by_ingredients(usual, known), PLATES, rows)
    for dish in range(len(meals.DISHES)):
        assert len(set(blind[dish == meals.DISH])) == 1
