"""Metrics with weights against numpy and scikit-learn on items that are repeated so often."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from studies.reporting import bootstrap

seeds = st.integers(0, 2**32 - 1)


def repeated(weights, *arrays):
    return [np.repeat(array, weights) for array in arrays]


@st.composite
def labelled(draw):
    """Labels said and there, of which some may not occur, and weights of three test sets."""
    n, labels = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(seeds))
    return *rng.integers(0, labels, (2, n)), labels, rng.integers(0, 3, (3, n))


@given(labelled())
def test_macro_f1_is_scikit_learns(case):
    said, there, labels, weights = case
    metric = bootstrap.macro_f1(*(bootstrap.one_hot(part, labels) for part in (said, there)))
    for found, weight in zip(metric(weights), weights, strict=True):
        guess, truth = repeated(weight, said, there)
        if len(truth):
            wanted = f1_score(
                truth, guess, labels=np.unique(truth), average="macro", zero_division=0
            )
        else:
            wanted = np.nan
        assert found == pytest.approx(wanted, nan_ok=True)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, np.nan]), min_size=1, max_size=9), seeds)
def test_a_mean_is_over_items_that_have_a_value(values, seed):
    values = np.array(values)
    weights = np.random.default_rng(seed).integers(0, 3, (4, len(values)))
    for found, weight in zip(bootstrap.mean(values)(weights), weights, strict=True):
        (drawn,) = repeated(weight, values)
        left = drawn[~np.isnan(drawn)]
        assert found == pytest.approx(left.mean() if len(left) else np.nan, nan_ok=True)


def test_the_value_is_that_of_each_item_once():
    metrics = {"mean": bootstrap.mean(np.array([True, False, True, True]))}
    assert bootstrap.value(metrics["mean"], 4) == 0.75
    assert bootstrap.values(metrics, 4) == {"mean": 0.75}


@pytest.mark.parametrize("sets", [1, bootstrap.BLOCK, 2 * bootstrap.BLOCK + 1])
def test_blocks_are_put_together_in_order(sets):
    seen = []

    def first(weights):
        seen.append(len(weights))
        return weights[:, 0]

    weights = np.arange(2 * sets).reshape(sets, 2)
    assert bootstrap.in_blocks(first)(weights).tolist() == weights[:, 0].tolist()
    assert max(seen) <= bootstrap.BLOCK


def test_shares_of_nothing():
    part, whole = np.array([1.0, 0.0]), np.array([4.0, 0.0])
    assert bootstrap.share(part, whole).tolist() == [0.25, 0]
    assert bootstrap.share(part, whole, 1.0).tolist() == [0.25, 1]
