"""Rows and paired tests from resampled values, against a bootstrap that scores every resample."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.reporting import bootstrap
from studies.reporting.bootstrap import (
    TEST_COLUMNS,
    Resampled,
    matched,
    over_seeds,
    paired,
    paired_tests,
)
from studies.reporting.tables import BOOTSTRAP

ITEMS, RESAMPLES = 12, 60
SCORES = np.random.default_rng(0).random((6, ITEMS))  # of each seed on each item


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    few = partial(bootstrap.weights, n_resamples=RESAMPLES)
    monkeypatch.setattr(bootstrap, "weights", few)


def resampled(by_seed, fixed=False, sampled=True) -> Resampled:
    """The mean of item scores, seed -> (ITEMS,)."""
    drawn, _ = bootstrap.weights(ITEMS)
    return Resampled(
        ITEMS,
        {seed: float(scores.mean()) for seed, scores in by_seed.items()},
        {seed: drawn @ scores / ITEMS for seed, scores in by_seed.items()} if sampled else None,
        fixed,
    )


def of_seeds(seeds, fixed=False) -> Resampled:
    """A metric of nothing, run with these seeds."""
    return Resampled(1, dict.fromkeys(seeds, 0.0), None, fixed)


def looped(*scores):
    """The bootstrap of the mean over seeds, item by item."""
    return bootstrap.bootstrap(
        lambda items, k: float(np.mean([scores[k][i] for i in items])),
        ITEMS,
        len(scores),
        n_resamples=RESAMPLES,
    )


class TestRow:
    @pytest.mark.parametrize("seeds", [[7], [0, 3], [5, 0, 2]])
    def test_mean_spread_and_interval(self, seeds):
        by_seed = {seed: SCORES[k] for k, seed in enumerate(seeds)}
        row = resampled(by_seed).row()
        means = [scores.mean() for scores in by_seed.values()]
        assert row["mean"] == pytest.approx(sum(means) / len(means))
        assert (row["n"], row["n_seeds"]) == (ITEMS, len(seeds))
        expected = bootstrap.interval(looped(*by_seed.values()))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(expected)
        if len(seeds) == 1:
            assert row["std"] is None
        else:
            assert row["std"] == pytest.approx(np.std(means, ddof=1))

    def test_what_is_not_resampled_has_no_interval(self):
        row = resampled({0: SCORES[0], 1: SCORES[1]}, sampled=False).row()
        assert (row["ci_low"], row["ci_high"]) == (None, None)
        assert row["mean"] == pytest.approx(SCORES[:2].mean())
        assert row["n_seeds"] == 2


class TestPaired:
    def test_second_minus_first_over_common_seeds(self):
        first = resampled({0: SCORES[0], 1: SCORES[1], 4: SCORES[2]})
        second = resampled({4: SCORES[3], 1: SCORES[4], 9: SCORES[5]})
        found = paired(first, second)
        gaps = [SCORES[4] - SCORES[1], SCORES[3] - SCORES[2]]  # seeds 1 and 4
        samples = looped(*gaps)
        assert set(TEST_COLUMNS) == {"first", "second", "metric", *found}
        assert (found["test"], found["seeds"]) == (BOOTSTRAP, 2)
        assert found["difference"] == pytest.approx(np.mean(gaps))
        assert (found["ci_low"], found["ci_high"]) == pytest.approx(bootstrap.interval(samples))
        assert found["p"] == bootstrap.bootstrap_p(samples)

    @pytest.mark.parametrize("place", ["first", "second"])
    def test_a_system_without_chance_stands_against_every_seed(self, place):
        plain, trained = {0: SCORES[0]}, {3: SCORES[1], 8: SCORES[2]}
        pair = [resampled(plain, fixed=True), resampled(trained)]
        gaps, sign = [SCORES[1] - SCORES[0], SCORES[2] - SCORES[0]], 1
        if place == "second":
            pair, gaps, sign = pair[::-1], [-gap for gap in gaps], -1
        found = paired(*pair)
        assert found["seeds"] == 2
        assert found["difference"] == pytest.approx(sign * (SCORES[1:3].mean() - SCORES[0].mean()))
        assert (found["ci_low"], found["ci_high"]) == pytest.approx(
            bootstrap.interval(looped(*gaps))
        )

    def test_two_systems_without_chance(self):
        pair = [resampled({seed: SCORES[seed]}, fixed=True) for seed in (0, 2)]
        found = paired(*pair)
        assert found["seeds"] == 1
        assert found["difference"] == pytest.approx(SCORES[2].mean() - SCORES[0].mean())

    def test_equal_systems_do_not_differ(self):
        same = resampled({0: SCORES[0], 1: SCORES[1]})
        found = paired(same, same)
        assert (found["difference"], found["ci_low"], found["ci_high"], found["p"]) == (0, 0, 0, 1)

    def test_no_common_seed(self):
        assert paired(resampled({0: SCORES[0]}), resampled({1: SCORES[0]})) is None

    @pytest.mark.parametrize("sampled", [(True, False), (False, True)])
    def test_what_is_not_resampled_is_not_tested(self, sampled):
        pair = [resampled({0: SCORES[0]}, sampled=one) for one in sampled]
        assert paired(*pair) is None

    @given(st.sets(st.integers(0, 9), min_size=1), st.sets(st.integers(0, 9), min_size=1))
    def test_matched_seeds_are_those_of_both(self, a, b):
        pair = of_seeds(a), of_seeds(b)
        assert matched(*pair) == [(seed, seed) for seed in range(10) if {seed} <= a & b]

    def test_runs_of_one_seed_stand_against_each_other(self):
        # as folders they come 0, 10, 2 and 10, 2, 3
        assert matched(of_seeds([0, 10, 2]), of_seeds([10, 2, 3])) == [(2, 2), (10, 10)]

    def test_the_order_of_folders_does_not_matter_to_a_system_without_chance(self):
        plain, trained = of_seeds([0], fixed=True), of_seeds([0, 10, 2])
        assert matched(plain, trained) == [(0, 0), (0, 2), (0, 10)]
        assert matched(trained, plain) == [(0, 0), (2, 0), (10, 0)]


class TestPairedTests:
    def test_every_two_systems_of_a_group_in_what_both_have(self):
        one, other = resampled({0: SCORES[0]}), resampled({0: SCORES[1]})
        eyes = {"a": {"f1": one, "ece": one}, "b": {"f1": other}, "c": {"ece": other, "f1": one}}
        rows = paired_tests(eyes, {"d": {"f1": one}, "e": {"f1": other}})
        assert list(rows.columns) == TEST_COLUMNS
        assert rows[["first", "second", "metric"]].to_numpy().tolist() == [
            ["a", "b", "f1"],
            ["a", "c", "f1"],
            ["a", "c", "ece"],
            ["b", "c", "f1"],
            ["d", "e", "f1"],
        ]
        gap = SCORES[1].mean() - SCORES[0].mean()
        assert rows["difference"].tolist() == pytest.approx([gap, 0, gap, -gap, gap])

    def test_what_is_not_tested_has_no_row(self):
        seeds = {"a": {"f1": resampled({0: SCORES[0]})}, "b": {"f1": resampled({1: SCORES[0]})}}
        rows = paired_tests(seeds, {"alone": {"f1": resampled({0: SCORES[0]})}})
        assert rows.empty
        assert list(rows.columns) == TEST_COLUMNS


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 10**6))
def test_over_seeds_is_a_mean_over_the_seeds_drawn(count, seed):
    samples = [*np.random.default_rng(seed).normal(size=(count, 2000))]
    _, times = bootstrap.weights(ITEMS, count)
    found = over_seeds([one[: len(times)] for one in samples])
    for r, drawn in enumerate(times):
        told = [samples[k][r] for k in range(count) for _ in range(int(drawn[k]))]
        assert len(told) == count
        assert found[r] == pytest.approx(sum(told) / count)
