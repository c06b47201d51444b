"""Scores against scikit-learn, loops and hand-made cases."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from studies.triplets.metrics import accuracy_by_level, included, macro_f1, score, severe_errors

label = st.integers(0, 6)
pairs = st.lists(st.tuples(label, label), min_size=1, max_size=40)
counts_of = st.dictionaries(label, st.integers(0, 120), min_size=1)


@given(pairs, counts_of, st.integers(0, 100))
def test_macro_f1_equals_scikit_learn(items, counts, least):
    true, predicted = zip(*items, strict=True)
    classes = [name for name, count in counts.items() if count > least]
    got = macro_f1(true, predicted, counts, least)
    if not classes:
        assert math.isnan(got)
        return
    wanted = f1_score(true, predicted, labels=classes, average="macro", zero_division=0)
    assert got == pytest.approx(wanted, abs=1e-12)


@given(pairs, counts_of)
def test_macro_f1_does_not_care_what_classes_are_called(items, counts):
    true, predicted = np.array(items).T
    names = np.array(["soup", "", "NA", "pizza", "7", "é", "x|y"])
    got = macro_f1(names[true], names[predicted], {str(names[k]): n for k, n in counts.items()})
    negative = macro_f1(true - 3, predicted - 3, {k - 3: n for k, n in counts.items()})
    wanted = macro_f1(true, predicted, counts)
    assert got == pytest.approx(wanted, abs=1e-12, nan_ok=True)
    assert negative == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def test_macro_f1_by_hand():
    # class 0: 1 hit of 2 true and 1 predicted, F1 2/3; class 1: 1 of 1 and 2, 2/3; class 2: left
    # out, and its one image taken for class 1 counts against class 1
    true, predicted = [0, 0, 1, 2], [0, 2, 1, 1]
    assert macro_f1(true, predicted, {0: 51, 1: 60, 2: 50}) == pytest.approx(2 / 3)
    assert macro_f1(true, predicted, {0: 51, 1: 60, 2: 51}) == pytest.approx(4 / 9)


def test_more_than_fifty_means_more():
    counts = {3: 51, 1: 50, 2: 49, 0: 1000}
    assert included(counts) == [0, 3]
    assert included(counts, 49) == [0, 1, 3]
    assert included(counts, 0) == [0, 1, 2, 3]


def test_a_class_never_seen_counts_as_zero():
    assert macro_f1([0, 0], [0, 0], {0: 60, 9: 60}) == 0.5


def test_perfect_and_hopeless():
    assert macro_f1([0, 1, 2], [0, 1, 2], dict.fromkeys(range(3), 99)) == 1
    assert macro_f1([0, 1, 2], [1, 2, 0], dict.fromkeys(range(3), 99)) == 0


def test_empty():
    assert macro_f1([], [], {0: 60}) == 0
    assert math.isnan(macro_f1([], [], {}))
    assert math.isnan(macro_f1([0], [0], {0: 50}))
    assert severe_errors([], []) == 0
    assert severe_errors(np.zeros((0, 3), int), np.zeros((0, 3), int)) == 0


rows = st.integers(1, 4).flatmap(
    lambda depth: st.lists(
        st.tuples(*[st.lists(st.integers(0, 2), min_size=depth, max_size=depth)] * 2),
        min_size=1,
        max_size=20,
    )
)


@given(rows)
def test_severe_errors_and_levels_equal_loops(items):
    true, predicted = ([list(side) for side in part] for part in zip(*items, strict=True))
    wrong = 0
    for t, p in items:
        wrong += t[0] != p[0]
    assert severe_errors(true, predicted) == wrong
    levels = accuracy_by_level(true, predicted)
    for level in range(len(true[0])):
        right = sum(t[: level + 1] == p[: level + 1] for t, p in items)
        assert levels[level] == pytest.approx(right / len(items))
    assert levels == sorted(levels, reverse=True)


def test_a_right_leaf_below_a_wrong_branch_is_wrong():
    assert accuracy_by_level([[0, 1, 2]], [[1, 1, 2]]) == [0, 0, 0]
    assert accuracy_by_level([[0, 1, 2]], [[0, 3, 2]]) == [1, 0, 0]


def test_score_names_every_metric():
    true = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]])
    predicted = np.array([[0, 0, 0], [0, 0, 0], [1, 2, 3], [1, 2, 3]])
    counts = {0: 60, 1: 60, 2: 50, 3: 60}
    wanted = f1_score(true[:, 2], predicted[:, 2], labels=[0, 1, 3], average="macro")
    assert score(true, predicted, counts, 50) == {
        "macro_f1": pytest.approx(wanted),
        "severe_errors": 1,
        "accuracy": accuracy_score(true[:, 2], predicted[:, 2]),
        "accuracy_level1": 0.75,
        "accuracy_level2": 0.75,
        "accuracy_level3": 0.5,
        "n": 4,
        "n_classes": 3,
    }
