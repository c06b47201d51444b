"""What is said without looking, and variants of a dish by their ingredients, by hand and scipy."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bernoulli
from sklearn.metrics import f1_score

import meals
from studies.recipes.baselines import RARE, blind, variant_scores, within_dish
from studies.recipes.readers import Plates

MEALS = Plates(
    Path("/nowhere"),
    meals.IDS,
    meals.DISHES,
    meals.DISH,
    meals.INGREDIENTS,
    meals.PRESENT,
    variants=meals.VARIANTS,
    variant=meals.VARIANT,
)
EVERY = np.arange(len(meals.IDS))
seeds = st.integers(0, 2**32 - 1)


def plates(dish, present, variant=None) -> Plates:
    ingredients = [f"i{s}" for s in range(present.shape[1])]
    files, names = [f"{k}.png" for k in range(len(dish))], ["d0", "d1", "d2"]
    variants = None if variant is None else [f"v{k}" for k in range(max(variant) + 1)]
    dish = np.asarray(dish)
    rest = {"variants": variants, "variant": variant}
    return Plates(Path("/nowhere"), files, names, dish, ingredients, present, **rest)


class TestBlind:
    @settings(max_examples=50, deadline=None)
    @given(st.integers(3, 20), st.sampled_from([0.2, 0.5, 0.9]), seeds)
    def test_shares_are_counted_on_training_plates(self, count, often, seed):
        rng = np.random.default_rng(seed)
        parts = ["train", "validation", "test", *rng.choice(["train", "test"], count - 3)]
        parts = rng.permutation(parts)
        table = plates(rng.integers(0, 3, count), rng.random((count, 4)) < often)
        seen = blind(table, parts)
        known = np.flatnonzero(parts == "train").tolist()
        counts = Counter(int(table.dish[k]) for k in known)
        has = [sum(bool(table.present[k, s]) for k in known) for s in range(4)]
        assert len(seen.dishes) == len(seen.named) == (parts == "test").sum()
        for row in range(len(seen.dishes)):
            assert seen.dishes[row] == pytest.approx([counts[c] / len(known) for c in range(3)])
            assert seen.ingredients[row] == pytest.approx([n / len(known) for n in has])
            assert seen.raw_dishes[row].tolist() == seen.dishes[row].tolist()
            assert seen.named[row].tolist() == seen.named[0].tolist()

    def test_what_is_named_is_chosen_on_validation_plates(self):
        share, in_validation = [9, 6, 3, 1], [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]]
        known = np.array([[k < count for count in share] for k in range(10)])
        present = np.vstack([known, np.array(in_validation, bool), np.zeros((2, 4), bool)])
        parts = np.array(["train"] * 10 + ["validation"] * 3 + ["test"] * 2)
        named = blind(plates([0] * 15, present), parts).named
        # of all that could be named of every plate, nothing has a better F1 an ingredient
        for s in range(4):
            answers, true = np.full(3, named[0, s]), present[10:13, s]
            best = max(f1_score(true, np.full(3, way), zero_division=0) for way in (False, True))
            assert f1_score(true, answers, zero_division=0) == best
        assert named.tolist() == [[True, True, True, False]] * 2


@settings(max_examples=50, deadline=None)
@given(seeds, st.integers(1, 4))
def test_scores_of_variants_are_expected_log_likelihoods(seed, ingredients):
    rng = np.random.default_rng(seed)
    present = rng.random((10, ingredients)) < 0.5
    table = plates([0] * 10, present, np.array([0, 1] * 5))
    train = np.arange(8)
    probabilities = rng.random((1, ingredients))
    share = np.stack([present[k:8:2].mean(0) for k in (0, 1)]).clip(RARE, 1 - RARE)
    wanted = np.zeros((1, 2))
    for code in range(2**ingredients):  # every plate that there could be
        there = np.array([code >> s & 1 for s in range(ingredients)])
        chance = bernoulli.pmf(there, probabilities[0]).prod()
        wanted += chance * bernoulli.logpmf(there, share).sum(1)
    np.testing.assert_allclose(variant_scores(probabilities, table, train), wanted, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(seeds)
def test_only_variants_of_the_true_dish_can_be_said(seed):
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(meals.IDS))[:9]
    scores = rng.normal(size=(9, len(meals.VARIANTS)))
    predicted = within_dish(scores, MEALS, rows)
    for k, row in enumerate(rows):
        possible = meals.VARIANTS_OF[meals.DISH[row]]
        assert predicted[k] == max(possible, key=lambda v, k=k: scores[k, v])


def test_true_ingredients_tell_nearly_all_variants_of_the_kitchen():
    scores = variant_scores(meals.PRESENT.astype(float), MEALS, EVERY)
    assert (within_dish(scores, MEALS, EVERY) == meals.VARIANT).mean() > 0.95
    # and what is typical of all plates tells none
    usual = np.tile(meals.PRESENT.mean(0), (len(EVERY), 1))
    blind_to_it = within_dish(variant_scores(usual, MEALS, EVERY), MEALS, EVERY)
    for dish in range(len(meals.DISHES)):
        assert len(set(blind_to_it[dish == meals.DISH])) == 1
