"""Temperatures against a grid of them, and thresholds against every one there is."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_expit, log_softmax
from sklearn.metrics import f1_score

from studies.recipes.calibration import sigmoid_temperature, temperature, thresholds

GRID = np.exp(np.linspace(np.log(0.05), np.log(20), 4000))
seeds = st.integers(0, 2**32 - 1)


def least(loss):
    """The temperature of a fine grid with the least loss."""
    return GRID[np.argmin([loss(t) for t in GRID])]


@settings(deadline=None, max_examples=15)
@given(seeds, st.floats(0.3, 3))
def test_temperature_is_the_likeliest_of_a_grid(seed, scale):
    rng = np.random.default_rng(seed)
    logits, true = scale * rng.normal(0, 2, (30, 3)), rng.integers(0, 3, 30)
    logits[np.arange(30), true] += 1
    rows = np.arange(30)
    wanted = least(lambda t: -log_softmax(logits / t, axis=1)[rows, true].mean())
    assert temperature(logits, true) == pytest.approx(wanted, rel=3e-3)


@settings(deadline=None, max_examples=15)
@given(seeds, st.floats(0.3, 3))
def test_sigmoid_temperature_is_the_likeliest_of_a_grid(seed, scale):
    rng = np.random.default_rng(seed)
    logits, present = scale * rng.normal(0, 2, (20, 3)), rng.random((20, 3)) < 0.4
    logits += 2 * scale * present

    def loss(t):
        return -log_expit(np.where(present, logits, -logits) / t).mean()

    assert sigmoid_temperature(logits, present) == pytest.approx(least(loss), rel=3e-3)


def test_temperatures_stay_in_their_bounds():
    right = np.eye(2)
    true = np.array([0, 1])
    assert temperature(right, true) == pytest.approx(0.05, rel=1e-2)
    assert temperature(right, 1 - true) == pytest.approx(20, rel=1e-2)
    assert sigmoid_temperature(right - 0.5, right > 0.5) == pytest.approx(0.05, rel=1e-2)
    assert sigmoid_temperature(right - 0.5, right < 0.5) == pytest.approx(20, rel=1e-2)


def test_logits_that_say_nothing_keep_their_temperature():
    assert temperature(np.zeros((3, 2)), np.array([0, 1, 1])) == 1
    assert sigmoid_temperature(np.zeros((3, 2)), np.eye(3, 2) > 0) == 1


def f1(probabilities, present, threshold):
    return f1_score(present, probabilities > threshold, zero_division=0)


def by_trying(probabilities, present, usual):
    """The threshold of best F1 among all midpoints: the usual one, or the nearest to it."""
    values = sorted({0.0, *probabilities.tolist()})
    middles = [(low + high) / 2 for low, high in pairwise(values)]
    scores = [f1(probabilities, present, middle) for middle in middles]
    if not middles or max(scores) <= f1(probabilities, present, usual):
        return usual
    best = [m for m, score in zip(middles, scores, strict=True) if score == max(scores)]
    return min(best, key=lambda m: abs(m - usual))


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 3), seeds)
def test_thresholds_equal_trying_all(n, s, seed):
    rng = np.random.default_rng(seed)
    probabilities, present = rng.integers(0, 9, (n, s)) / 8, rng.random((n, s)) < 0.4
    common = by_trying(probabilities.ravel(), present.ravel(), 0.5)
    wanted = [by_trying(probabilities[:, j], present[:, j], common) for j in range(s)]
    assert thresholds(probabilities, present).tolist() == wanted


def test_neighbouring_floats_are_told_apart():
    near = np.array([0.3, np.nextafter(0.3, 1)])[:, None]
    cut = thresholds(near, np.array([[False], [True]]))
    assert (near > cut).ravel().tolist() == [False, True]


def test_nothing_there_leaves_the_even_threshold():
    assert thresholds(np.full((3, 2), 0.7), np.zeros((3, 2), bool)).tolist() == [0.5, 0.5]
    assert thresholds(np.zeros((3, 2)), np.ones((3, 2), bool)).tolist() == [0.5, 0.5]
