"""Scores of dishes and ingredients against scikit-learn, on the test set and on resampled ones."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, jaccard_score

from studies.recipes import metrics
from studies.reporting.bootstrap import value

seeds = st.integers(0, 2**32 - 1)


@st.composite
def dishes(draw):
    """Probabilities, some on the border of two bins, and classes, of which some may not occur."""
    n, c = draw(st.integers(1, 15)), draw(st.integers(1, 8))
    rng = np.random.default_rng(draw(seeds))
    return rng.integers(0, 31, (n, c)) / 30, rng.integers(0, c, n)


@st.composite
def plates(draw):
    """Probabilities, few of them different; what is said and what is there."""
    n, s = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(seeds))
    there = rng.random((n, s)) < draw(st.sampled_from([0.1, 0.4, 0.8]))
    return rng.integers(0, 5, (n, s)) / 4, rng.random((n, s)) < 0.4, there


def dish_metrics(probabilities, true):
    """The metrics of what is kept of probabilities."""
    frame = pd.DataFrame(metrics.dish_columns(probabilities, true)).assign(dish=true)
    assert frame["dish_probability"].dtype == np.float16
    return metrics.dish_metrics(frame.assign(dish_probability=probabilities.max(1)))


def ingredient_metrics(probabilities, predicted, present):
    steps = metrics.ingredient_steps(probabilities, present)
    lists = {"named": metrics.listed(predicted), "present": metrics.listed(present)}
    frame = pd.DataFrame({**lists, "ingredient_steps": list(steps)})
    return metrics.ingredient_metrics(frame, present.shape[1])


def values(by_id, items):
    return {name: value(metric, items) for name, metric in by_id.items()}


def ece(probabilities, true, bins=15):
    """The expected calibration error by a loop over bins, which hold their upper end."""
    error = 0.0
    for m in range(bins):
        inside = [
            (list(row).index(max(row)) == label, max(row))
            for row, label in zip(probabilities, true, strict=True)
            if m / bins < max(row) <= (m + 1) / bins or (m == 0 and max(row) == 0)
        ]
        if inside:
            accuracy, confidence = np.mean(inside, axis=0)
            error += len(inside) / len(true) * abs(accuracy - confidence)
    return error


def dishes_by_scikit_learn(probabilities, true):
    # among equal probabilities the lower index comes first
    ranked = [sorted(range(len(row)), key=lambda k, row=row: (-row[k], k)) for row in probabilities]
    first = [order[0] for order in ranked]
    return {
        "dish_top1": accuracy_score(true, first),
        "dish_top5": np.mean([t in order[:5] for t, order in zip(true, ranked, strict=True)]),
        "dish_macro_f1": f1_score(true, first, labels=np.unique(true), average="macro"),
        "ece": ece(probabilities, true),
    }


def ingredients_by_scikit_learn(probabilities, predicted, present):
    occur = np.flatnonzero(present.any(axis=0))
    f1 = [f1_score(present[:, j], predicted[:, j], zero_division=0) for j in occur]
    precision = [average_precision_score(present[:, j], probabilities[:, j]) for j in occur]
    # a column of nothing more, for scikit-learn takes a single one for something else
    wider = [np.c_[part, np.zeros(len(part), bool)] for part in (present, predicted)]
    return {
        "ingredient_micro_f1": f1_score(present.ravel(), predicted.ravel(), zero_division=0),
        "ingredient_macro_f1": np.mean(f1) if f1 else math.nan,
        "ingredient_map": np.mean(precision) if precision else math.nan,
        "jaccard": jaccard_score(*wider, average="samples", zero_division=1),
    }


def close(wanted):
    return pytest.approx(wanted, abs=1e-12, nan_ok=True)


@settings(deadline=None)
@given(dishes())
def test_dish_scores_equal_scikit_learn(case):
    assert values(dish_metrics(*case), len(case[0])) == close(dishes_by_scikit_learn(*case))


@settings(deadline=None)
@given(plates())
def test_ingredient_scores_equal_scikit_learn(case):
    assert values(ingredient_metrics(*case), len(case[0])) == close(
        ingredients_by_scikit_learn(*case)
    )


@st.composite
def repeated(draw, cases):
    """A case, how often three test sets hold each image, and the images of each."""
    case = draw(cases)
    rng = np.random.default_rng(draw(seeds))
    times = rng.integers(0, 3, (3, len(case[0])))
    times[times.sum(axis=1) == 0] = 1
    return case, times, [np.repeat(np.arange(len(case[0])), row) for row in times]


@settings(deadline=None)
@given(repeated(dishes()))
def test_resampled_dish_scores_are_those_of_images_repeated(given_):
    case, times, sets = given_
    wanted = [dishes_by_scikit_learn(*(part[rows] for part in case)) for rows in sets]
    for name, metric in dish_metrics(*case).items():
        assert metric(times.astype(float)) == close([one[name] for one in wanted]), name


@settings(deadline=None)
@given(repeated(plates()))
def test_resampled_ingredient_scores_are_those_of_images_repeated(given_):
    case, times, sets = given_
    wanted = [ingredients_by_scikit_learn(*(part[rows] for part in case)) for rows in sets]
    for name, metric in ingredient_metrics(*case).items():
        assert metric(times) == close([one[name] for one in wanted]), name
