"""A dataset is divided by strata, and the same way for ever."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentences import refused
from studies.inputs.reading import PARTS, refuse_empty, sizes, stratified

LETTERS = {"train": "t", "validation": "v", "test": "x"}
STRATA = np.array([*map(int, "011000001320211120210100210")])
TESTED = np.array([*"ttttxttttttxtxxxttxtttttxtt"]) == "x"
# of the code that each study had for itself, which runs were split by: seed, published test, parts
STORED = [
    (0, False, "ttvtxtxvxtxtvtxvtxxxttxtttv"),
    (1, False, "vxxtttxvttttvxvttxxvxtttxtx"),
    (12, False, "ttxxttxvttxvxxxvvtttttxxtvt"),
    (0, True, "ttttxttvtttxtxxxvtxvvtttxtt"),
    (1, True, "ttvtxttvtttxvxxxttxttttvxtt"),
    (12, True, "tttvxttttttxvxxxttxtttvtxvt"),
]


@pytest.mark.parametrize(("seed", "published", "expected"), STORED)
def test_splits_of_earlier_runs_stay_the_same(seed, published, expected):
    parts = stratified(STRATA, (0.2, 0.3), seed, TESTED if published else None)
    assert "".join(LETTERS[part] for part in parts) == expected


@settings(max_examples=150, deadline=None)
@given(
    items=st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=120),
    shares=st.tuples(st.floats(0, 0.9), st.floats(0, 0.9)),
    seed=st.integers(0, 1000),
    published=st.booleans(),
)
def test_every_stratum_has_its_share(items, shares, seed, published):
    strata, tested = map(np.array, zip(*items, strict=True))
    validation, test = shares
    parts = stratified(strata, shares, seed, tested if published else None)
    # each item is in one part, and in one that there is
    assert parts.shape == strata.shape
    assert set(parts.tolist()) <= set(PARTS)
    if published:
        assert ((parts == "test") == tested).all()
    for stratum in set(strata.tolist()):
        mine = strata == stratum
        drawn = Counter(parts[mine & ~tested] if published else parts[mine])
        count = sum(drawn.values())
        tests = 0 if published else min(round(count * test), count - 1)
        assert drawn["test"] == tests
        if count:
            assert drawn["validation"] == min(round(count * validation), count - 1 - tests)
            assert drawn["train"] >= 1


def test_each_item_may_come_into_each_part():
    drawn = np.array([stratified(np.zeros(10), (0.3, 0.3), seed) for seed in range(60)])
    for part in PARTS:
        assert (drawn == part).any(axis=0).all()


def test_an_empty_part_is_refused():
    parts = np.array(["test", "train", "test"])
    assert sizes(parts) == {"train": 1, "validation": 0, "test": 2}
    message = refused(refuse_empty, parts, Path("/there"), "plates", "dish")
    assert message.startswith("/there: too few plates a dish for a validation set")
    refuse_empty(np.array(PARTS), Path("/there"), "images")
