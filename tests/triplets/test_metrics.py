"""Scores and the clusters of a space: against scikit-learn, loops and hand-made cases."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    adjusted_mutual_info_score,
    adjusted_rand_score,
    f1_score,
)

from studies.triplets import metrics
from studies.triplets.metrics import included, macro_f1, scores, severe_errors

label = st.integers(0, 6)
pairs = st.lists(st.tuples(label, label), min_size=1, max_size=40)
counts_of = st.dictionaries(label, st.integers(0, 120), min_size=1)


@settings(deadline=None)
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


def test_macro_f1_by_hand():
    # class 0: 1 hit of 2 true and 1 predicted, F1 2/3; class 1: 1 of 1 and 2, 2/3; class 2: left
    # out, and its one image taken for class 1 counts against class 1
    true, predicted = [0, 0, 1, 2], [0, 2, 1, 1]
    assert macro_f1(true, predicted, {0: 51, 1: 60, 2: 50}) == pytest.approx(2 / 3)
    assert macro_f1(true, predicted, {0: 51, 1: 60, 2: 51}) == pytest.approx(4 / 9)
    assert macro_f1([0, 0], [0, 0], {0: 60, 9: 60}) == 0.5  # a class never seen counts as zero
    assert macro_f1([], [], {0: 60}) == 0
    assert math.isnan(macro_f1([0], [0], {0: 50}))
    assert severe_errors(np.zeros((0, 3), int), np.zeros((0, 3), int)) == 0


def test_more_than_fifty_means_more():
    assert included({3: 51, 1: 50, 2: 49, 0: 1000}) == [0, 3]
    assert included({3: 51, 1: 50, 2: 49, 0: 1000}, 0) == [0, 1, 2, 3]


@st.composite
def trees(draw):
    """Paths of classes in a tree, and of some items the true and predicted class, the clusters at
    each level and the rank of the first match.
    """
    depth, size = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    paths = draw(st.lists(st.tuples(*[st.integers(0, 2)] * depth), min_size=1, max_size=7))
    paths = sorted(set(paths))
    classes = st.lists(st.integers(0, len(paths) - 1), min_size=size, max_size=size)
    clusters = st.lists(
        st.lists(st.integers(0, 4), min_size=depth, max_size=depth), min_size=size, max_size=size
    )
    ranks = st.lists(st.integers(0, 9), min_size=size, max_size=size)
    return paths, [np.array(draw(part)) for part in (classes, classes, clusters, ranks)]


def scores_by_hand(paths, scored, unseen, true, predicted, clusters, ranks) -> dict[str, float]:
    """By loops over the items as they stand, and by scikit-learn."""
    pairs = [(paths[t], paths[p]) for t, p in zip(true, predicted, strict=True)]
    having = [rank for rank in ranks if rank > 0]
    right = {
        level: sum(t[:level] == p[:level] for t, p in pairs) / len(pairs)
        for level in range(1, len(paths[0]) + 1)
    }
    wanted = {
        "macro_f1": macro_f1_of(true, predicted, scored),
        "severe_errors": sum(t[0] != p[0] for t, p in pairs),
        "accuracy": accuracy_score(true, predicted),
        **{f"accuracy_level{level}": share for level, share in right.items()},
    }
    for name, level in (("", len(paths[0])), ("_level1", 1)):
        truth = ["/".join(map(str, t[:level])) for t, _ in pairs]
        wanted[f"ami{name}"] = adjusted_mutual_info_score(truth, clusters[:, level - 1])
        wanted[f"ari{name}"] = adjusted_rand_score(truth, clusters[:, level - 1])
    for k in (1, 5):
        hits = sum(rank <= k for rank in having)
        wanted[f"recall_at_{k}"] = hits / len(having) if having else math.nan
    if unseen:
        alone = np.isin(true, unseen)
        both = [c for c in scored if c in unseen]
        wanted["unseen_macro_f1"] = macro_f1_of(true[alone], predicted[alone], both)
        wanted["unseen_accuracy"] = np.mean((true == predicted)[alone]) if any(alone) else math.nan
    return wanted


def macro_f1_of(true, predicted, classes) -> float:
    if not classes:
        return math.nan
    if not len(true):
        return 0.0
    return f1_score(true, predicted, labels=classes, average="macro", zero_division=0)


@settings(max_examples=150, deadline=None)
@given(trees(), st.integers(1, 7), st.integers(0, 7), st.integers(0, 2**32 - 1))
def test_every_score_equals_a_loop_or_scikit_learn_on_repeated_items(case, most, held, seed):
    paths, answers = case
    labels = np.array(
        [
            [sorted({p[: k + 1] for p in paths}).index(path[: k + 1]) for k in range(len(path))]
            for path in paths
        ]
    )
    scored, unseen = list(range(len(paths)))[:most], list(range(len(paths)))[::-1][:held]
    metrics_of = scores(labels, scored, unseen, *answers)
    weights = np.random.default_rng(seed).integers(0, 4, (4, len(answers[0])))
    weights[:, 0] += 1
    weights[0] = 1
    got = {name: metric(weights.astype(float)) for name, metric in metrics_of.items()}
    for place, times in enumerate(weights):
        repeated = [np.repeat(part, times, axis=0) for part in answers]
        wanted = scores_by_hand(paths, scored, unseen, *repeated)
        wanted["severe_errors"] *= len(times) / times.sum()  # of as many items as the test set has
        assert list(got) == list(wanted)
        for name in ("ami", "ami_level1"):  # of the whole test set, whatever is drawn
            wanted[name] = wanted[name] if place == 0 else got[name][0]
        one = {name: values[place] for name, values in got.items()}
        assert one == pytest.approx(wanted, abs=1e-9, nan_ok=True)


def test_a_right_leaf_below_a_wrong_branch_is_wrong():
    # labels of groups: the last may agree where the first does not
    labels, first = np.array([[0, 1], [1, 1], [0, 2]]), np.array([0])
    found = scores(labels, [0, 1, 2], [], first, np.array([1]), np.zeros((1, 2), int), first)
    names = ("accuracy_level1", "accuracy", "severe_errors")
    assert [found[name](np.ones((1, 1)))[0] for name in names] == [0, 0, 1]


def first_match_by_hand(points, classes) -> list[int]:
    """Sort all others by distance, then by their place; count until one has the class."""
    ranks = []
    for i, point in enumerate(points):
        others = [j for j in range(len(points)) if j != i]
        others.sort(key=lambda j, point=point: (math.dist(point, points[j]), j))
        hits = [rank for rank, j in enumerate(others, 1) if classes[j] == classes[i]]
        ranks.append(hits[0] if hits else 0)
    return ranks


@pytest.mark.parametrize("block", [7, 512])
@settings(max_examples=80, deadline=None)
@given(st.integers(1, 30), st.integers(1, 5), st.booleans(), st.integers(0, 2**32 - 1))
def test_first_match_equals_a_loop(block, size, width, ties, seed):
    rng = np.random.default_rng(seed)
    # images at the same distance come in their order
    points = rng.integers(-2, 3, (size, width)) if ties else rng.normal(size=(size, width))
    labels = rng.integers(0, 4, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "BLOCK", block)
        got = metrics.first_match(points, labels)
    assert got.tolist() == first_match_by_hand(points.tolist(), labels.tolist())


def test_in_a_collapsed_space_all_come_in_their_order():
    labels = np.arange(700) % 5
    got = metrics.first_match(np.full((700, 16), 0.25, np.float32), labels)
    # image k < 5 is the first of class k; its own first match is image k + 5, itself left out
    assert got.tolist() == [5, 6, 7, 8, 9] + [label + 1 for label in labels[5:].tolist()]


@pytest.mark.parametrize("number", [2, 12])
def test_well_separated_blobs_are_the_clusters(number):
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat(np.arange(number), 15))
    points = (np.eye(number)[truth] + rng.normal(0, 0.02, (len(truth), number))).astype("float32")
    found = metrics.clusters(points, number, seed=3)
    assert adjusted_rand_score(truth, found) == 1
    assert (metrics.first_match(points, truth) == 1).all()
    np.random.default_rng().normal(size=3)
    assert np.array_equal(metrics.clusters(points, number, seed=3), found)


def test_fewer_points_than_clusters_and_a_collapsed_space():
    assert sorted(metrics.clusters(np.eye(3, dtype=np.float32), 9, seed=0)) == [0, 1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = metrics.clusters(np.ones((8, 4), np.float32), 3, seed=0)
    assert set(same) == {0}


def test_other_classifiers_tell_clouds_apart_and_k_means_is_named_by_its_majority():
    rng = np.random.default_rng(0)
    centres, classes = np.array([[0, 9], [9, 0], [-9, -9.0]]), np.repeat([4, 0, 2], 20)
    points = centres[np.repeat([0, 1, 2], 20)] + rng.normal(size=(60, 2))
    fresh, wanted = centres[[2, 0, 1]], [2, 4, 0]
    named = metrics.classified(points, classes, fresh, 5, 0)
    assert list(named) == ["neighbours", "centroid", "logistic", "svm", "clusters"]
    assert all(found.tolist() == wanted for found in named.values())
    classes[:9] = 0  # fewer than half of a cloud
    assert metrics.classified(points, classes, fresh, 5, 0)["clusters"].tolist() == wanted
    same = np.ones((60, 2))  # a collapsed space
    named = metrics.classified(same, classes, fresh, 5, 0)
    assert list(named) == ["neighbours", "centroid", "logistic", "svm", "clusters"]
    assert all(found.tolist() == [np.bincount(classes).argmax()] * 3 for found in named.values())
