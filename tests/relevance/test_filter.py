"""The filter and its coefficients against the rules, row by row in exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from studies.relevance.filter import BELOW_MEAN, Filter, decide, own_and_mean, relevance

BELOW_HALF = "its class is less probable than 0.5"
COLUMNS = ["kept", "reason", "probability", "coefficient"]


@st.composite
def scored(draw, least=0):
    """Probabilities in sixty-fourths, which floats hold exactly, so that P often is the mean."""
    n, c = draw(st.integers(least, 8)), draw(st.integers(1, 5))
    probabilities = draw(arrays(np.int64, (n, c), elements=st.integers(0, 64))) / 64
    targets = draw(arrays(np.int64, n, elements=st.integers(0, c - 1)))
    return probabilities.astype(draw(st.sampled_from(["f4", "f8"]))), targets


def verdict(row, target):
    """The reason by which DESIGN drops one caption, empty where it keeps it."""
    row = [Fraction(float(p)) for p in row]
    if row[target] < sum(row) / len(row):
        return BELOW_MEAN
    return BELOW_HALF if row[target] < Fraction(1, 2) else ""


@given(scored())
def test_kept_and_reason_by_the_letter(case):
    found = relevance(*case)
    assert list(found) == COLUMNS
    assert found.index.equals(pd.RangeIndex(len(case[1])))
    reasons = [verdict(row, target) for row, target in zip(*case, strict=True)]
    assert found["reason"].tolist() == reasons
    assert found["kept"].tolist() == [not reason for reason in reasons]
    assert found["probability"].tolist() == [row[t] for row, t in zip(*case, strict=True)]


@given(scored(), st.sampled_from([1, 0.5, 2, 3]))
def test_linear_and_power_by_the_letter(case, exponent):
    linear = relevance(*case)
    power = relevance(*case, curve="power", exponent=exponent)
    for plain, bent in zip(linear.itertuples(), power.itertuples(), strict=True):
        if not plain.kept:
            assert math.isnan(plain.coefficient)
            assert math.isnan(bent.coefficient)
            continue
        v = 1 if plain.probability > 0.9 else plain.probability + 0.1
        assert plain.coefficient == max((v - 0.6) / 0.4, 0.001)
        assert bent.coefficient == pytest.approx(max(((v - 0.6) / 0.4) ** exponent, 0.001))
        assert min(plain.coefficient, bent.coefficient) >= 0.001
        assert max(plain.coefficient, bent.coefficient) <= 1


@given(scored())
def test_rank_by_the_letter(case):
    found = relevance(*case, curve="rank")
    kept = found[found["kept"]]
    rising = sorted({p for p in kept["probability"] if p <= 0.9})
    for one in kept.itertuples():
        place = len(rising) if one.probability > 0.9 else rising.index(one.probability)
        assert one.coefficient == pytest.approx((place + 1) / (len(rising) + 1))
    assert found["coefficient"].isna().tolist() == (~found["kept"]).tolist()


@given(scored(), st.integers(1, 4), st.sampled_from(["linear", "rank", "power"]))
def test_block_by_block_is_the_whole(case, size, curve):
    probabilities, targets = case
    blocks = [slice(start, start + size) for start in range(0, max(len(targets), 1), size)]
    found = [own_and_mean(probabilities[block], targets[block]) for block in blocks]
    own, mean = (np.concatenate(parts) for parts in zip(*found, strict=True))
    settings = {"threshold": 0.3, "sure": 0.7, "bonus": 0.2, "exponent": 3.0, "lowest": 0.01}
    whole = relevance(probabilities, targets, curve=curve, **settings)
    pd.testing.assert_frame_equal(decide(own, mean, Filter(curve=curve, **settings)), whole)


def test_equal_probabilities_are_not_below_their_mean():
    # the mean of some of these, as of 0.7 three times, is rounded to more than the value
    values = np.arange(50, 101) / 100
    assert any(np.full(n, p).mean() > p for n in range(1, 40) for p in values)
    for classes in range(1, 40):
        rows = np.tile(values[:, None], classes)
        assert relevance(rows, np.zeros(len(rows), int))["kept"].all()


@pytest.mark.parametrize(
    ("probabilities", "targets", "problem"),
    [
        ([[0.5, np.nan]], [0], "must be 0 to 1"),
        ([[0.5, 0.5], [0.5, 1.5]], [0, 0], "must be 0 to 1"),
        ([[0.5, 0.5]], [0, 1], r"not \(1, 2\) and \(2,\)"),
    ],
)
def test_wrong_arrays(probabilities, targets, problem):
    with pytest.raises(ValueError, match=problem):
        relevance(np.array(probabilities), np.array(targets))
