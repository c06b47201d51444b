"""What is said without looking, against counting by hand."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from studies.recipes.baselines import blind
from studies.recipes.plates import Plates


def plates(dish, present, dishes=3) -> Plates:
    ingredients = [f"i{s}" for s in range(present.shape[1])]
    files = [f"{k}.png" for k in range(len(dish))]
    names = [f"d{c}" for c in range(dishes)]
    return Plates(Path("/nowhere"), files, names, np.asarray(dish), ingredients, present)


@st.composite
def tables(draw):
    """Plates and their parts, none of which is empty."""
    count = draw(st.integers(3, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    parts = np.array(["train", "validation", "test", *rng.choice(["train", "test"], count - 3)])
    present = rng.random((count, 4)) < draw(st.sampled_from([0.2, 0.5, 0.9]))
    return plates(rng.integers(0, 3, count), present), rng.permutation(parts)


@settings(max_examples=50, deadline=None)
@given(tables())
def test_shares_are_counted_on_training_plates(given_):
    table, parts = given_
    seen = blind(table, parts)
    known = [k for k, part in enumerate(parts) if part == "train"]
    tests = sum(part == "test" for part in parts)
    counts = Counter(int(table.dish[k]) for k in known)
    has = [sum(bool(table.present[k, s]) for k in known) for s in range(4)]
    assert seen.dishes.shape == (tests, 3)
    assert seen.ingredients.shape == seen.named.shape == (tests, 4)
    for row in range(tests):
        assert seen.dishes[row] == pytest.approx([counts[c] / len(known) for c in range(3)])
        assert seen.ingredients[row] == pytest.approx([count / len(known) for count in has])
        assert seen.raw_dishes[row].tolist() == seen.dishes[row].tolist()
        assert seen.named[row].tolist() == seen.named[0].tolist()


def test_the_most_frequent_dish_in_training_is_named():
    # dish 2 is the most frequent one elsewhere
    dish = [0, 1, 1, 2, 2, 2, 2]
    parts = np.array(["train"] * 3 + ["validation"] * 2 + ["test"] * 2)
    assert blind(plates(dish, np.ones((7, 1), bool)), parts).dishes.argmax(1).tolist() == [1, 1]


def test_what_is_named_is_chosen_on_validation_plates():
    share, in_validation = [9, 6, 3, 1], [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]]
    known = np.array([[k < count for count in share] for k in range(10)])
    present = np.vstack([known, np.array(in_validation, bool), np.zeros((2, 4), bool)])
    parts = np.array(["train"] * 10 + ["validation"] * 3 + ["test"] * 2)
    named = blind(plates([0] * 15, present), parts).named
    # of all that could be named of every plate, nothing has a better F1 an ingredient
    for s in range(4):
        said, true = np.full(3, named[0, s]), present[10:13, s]
        best = max(f1_score(true, np.full(3, way), zero_division=0) for way in (False, True))
        assert f1_score(true, said, zero_division=0) == best
    assert named.tolist() == [[True, True, True, False]] * 2
