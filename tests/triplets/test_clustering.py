"""How a space clusters, against scikit-learn, loops over all pairs, and blobs of known truth."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from studies.triplets import clustering

partitions = st.integers(1, 40).flatmap(
    lambda size: st.tuples(
        *[st.lists(st.integers(0, 6), min_size=size, max_size=size).map(np.array)] * 2
    )
)
ONE, EACH = np.zeros(5, dtype=int), np.arange(5)


@settings(max_examples=200)
@given(partitions)
@example((ONE, ONE))
@example((ONE, EACH))
@example((EACH, ONE))
@example((EACH, EACH))
@example((EACH, EACH[::-1] * 3))
@example((np.array([0]), np.array([4])))
@example((np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])))  # less alike than by chance
def test_nmi_and_ari_equal_scikit_learn(pair):
    labels, clusters = pair
    nmi = normalized_mutual_info_score(labels, clusters)
    assert clustering.nmi(labels, clusters) == pytest.approx(nmi, abs=1e-9)
    ari = adjusted_rand_score(labels, clusters)
    assert clustering.ari(labels, clusters) == pytest.approx(ari, abs=1e-9)


def first_match_by_hand(points, classes) -> list[int]:
    """Sort all others by distance, then by their place; count until one has the class."""
    ranks = []
    for i, point in enumerate(points):
        others = [j for j in range(len(points)) if j != i]
        others.sort(key=lambda j, point=point: (math.dist(point, points[j]), j))
        hits = [rank for rank, j in enumerate(others, 1) if classes[j] == classes[i]]
        ranks.append(hits[0] if hits else 0)
    return ranks


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_first_match_equals_a_loop(size, classes, width, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(size, width))
    labels = rng.integers(0, classes, size)
    got = clustering.first_match(points, labels)
    assert got.tolist() == first_match_by_hand(points.tolist(), labels.tolist())


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(*[st.integers(-2, 2)] * 2), min_size=1, max_size=25),
    st.integers(0, 2**32 - 1),
)
def test_images_at_the_same_distance_come_in_their_order(points, seed):
    labels = np.random.default_rng(seed).integers(0, 3, len(points))
    got = clustering.first_match(np.array(points, dtype=np.float32), labels)
    assert got.tolist() == first_match_by_hand(points, labels.tolist())


@pytest.mark.parametrize("size", [5, 40, 700])
def test_in_a_collapsed_space_all_come_in_their_order(size):
    points = np.full((size, 16), 0.25, np.float32)
    labels = np.arange(size) % 5
    got = clustering.first_match(points, labels)
    # image k < 5 is the first of class k; its own first match is image k + 5, itself left out
    firsts = [label + 5 for label in range(5)] if size > 5 else [0] * 5
    assert got.tolist() == firsts + [label + 1 for label in labels[5:].tolist()]


def test_a_block_smaller_than_the_images_changes_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    points, labels = rng.normal(size=(50, 4)), rng.integers(0, 6, 50)
    whole = clustering.first_match(points, labels)
    monkeypatch.setattr(clustering, "BLOCK", 7)
    assert np.array_equal(clustering.first_match(points, labels), whole)


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(1, 10))
def test_recall_counts_images_that_have_a_match(ranks, k):
    got = clustering.recall_at(np.array(ranks, dtype=int), k)
    having = [rank for rank in ranks if rank]
    if having:
        assert got == pytest.approx(sum(rank <= k for rank in having) / len(having))
    else:
        assert math.isnan(got)


def blobs(number: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Points on the unit sphere around directions at right angles, and their blob."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(number), size))
    points = np.eye(number)[truth] + rng.normal(0, 0.02, (len(truth), number))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32), truth


@pytest.mark.parametrize("number", [2, 5, 12])
def test_well_separated_blobs_are_the_clusters(number):
    points, truth = blobs(number, 15)
    found = clustering.clusters(points, number, seed=0)
    assert len(found) == len(points)
    assert adjusted_rand_score(truth, found) == 1
    assert (clustering.first_match(points, truth) == 1).all()


def test_clusters_depend_on_points_and_seed_alone():
    points = np.random.default_rng(0).normal(size=(80, 8)).astype(np.float32)
    first = clustering.clusters(points, 6, seed=3)
    np.random.default_rng().normal(size=3)
    assert np.array_equal(clustering.clusters(points, 6, seed=3), first)
    assert set(first) == set(range(6))


def test_fewer_points_than_clusters_and_a_collapsed_space():
    assert sorted(clustering.clusters(np.eye(3, dtype=np.float32), 9, seed=0)) == [0, 1, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = clustering.clusters(np.ones((8, 4), np.float32), 3, seed=0)
    assert set(same) == {0}
    assert clustering.nmi(np.arange(8) % 2, same) == 0
