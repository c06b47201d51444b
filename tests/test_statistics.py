import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from studies.reporting.bootstrap import bootstrap, bootstrap_p, interval, mcnemar, weights

TRIALS = 300


def coverage_bounds(trials: int, level: float = 0.95) -> tuple[float, float]:
    """Three and a half binomial standard deviations around the nominal level."""
    noise = 3.5 * math.sqrt(level * (1 - level) / trials)
    return level - noise, level + noise


def test_interval_covers_a_known_mean():
    rng = np.random.default_rng(1)
    covered = 0
    for trial in range(TRIALS):
        sample = rng.normal(3.0, 2.0, 80)
        samples = bootstrap(lambda i, k, s=sample: s[i].mean(), 80, n_resamples=150, seed=trial)
        low, high = interval(samples)
        covered += low <= 3.0 <= high
    lowest, highest = coverage_bounds(TRIALS)
    assert lowest < covered / TRIALS < highest


def test_interval_of_a_stratified_statistic_covers_and_is_not_too_wide():
    # Class means lie 10 apart: drawn without strata the interval would be ten times too wide and
    # cover always, which the upper bound rules out.
    rng = np.random.default_rng(2)
    strata = np.repeat(["a", "b"], [40, 60])
    centre = np.where(strata == "a", 0.0, 10.0)
    covered = 0
    for trial in range(TRIALS):
        sample = centre + rng.normal(0, 1, 100)
        samples = bootstrap(
            lambda i, k, s=sample: s[i].mean(), 100, strata=strata, n_resamples=150, seed=trial
        )
        low, high = interval(samples)
        covered += low <= 6.0 <= high
    lowest, highest = coverage_bounds(TRIALS)
    assert lowest < covered / TRIALS < highest


def test_interval_of_a_share_covers_it():
    rng = np.random.default_rng(7)
    covered = 0
    for trial in range(TRIALS):
        right = rng.random(100) < 0.7
        samples = bootstrap(lambda i, k, r=right: r[i].mean(), 100, n_resamples=150, seed=trial)
        low, high = interval(samples)
        covered += low <= 0.7 <= high
    assert 0.90 < covered / TRIALS < 0.99


def test_interval_over_items_and_seeds_covers():
    # a seed's score: its own luck and that of the items, which all seeds share
    rng = np.random.default_rng(8)
    covered = 0
    for trial in range(TRIALS):
        item, seed = rng.normal(0, 1, 60), rng.normal(0, 0.1, 5)
        samples = bootstrap(
            lambda i, k, item=item, seed=seed: item[i].mean() + seed[k],
            *(60, 5),
            n_resamples=250,
            seed=trial,
        )
        low, high = interval(samples)
        covered += low <= 0 <= high
    assert 0.90 < covered / TRIALS < 0.99


def test_spread_over_items_and_seeds_has_the_textbook_variance():
    # score = mean of item values + seed value: the variances of the two draws add up.
    rng = np.random.default_rng(3)
    of_item, of_seed = rng.normal(0, 1, 50), rng.normal(0, 0.3, 5)
    samples = bootstrap(lambda i, k: of_item[i].mean() + of_seed[k], 50, 5, n_resamples=4000)
    expected = of_item.var() / 50 + of_seed.var() / 5
    assert samples.var() == pytest.approx(expected, rel=0.1)
    assert samples.mean() == pytest.approx(of_item.mean() + of_seed.mean(), abs=0.02)


def test_all_seeds_of_a_resample_see_the_same_items_once():
    calls: list[tuple[bytes, int]] = []

    def score(items: np.ndarray, k: int) -> float:
        calls.append((items.tobytes(), k))
        return float(k)

    bootstrap(score, 30, n_seeds=4, n_resamples=50)
    seeds_of: dict[bytes, list[int]] = {}
    for items, k in calls:
        seeds_of.setdefault(items, []).append(k)
    assert len(seeds_of) == 50
    assert all(len(seeds) == len(set(seeds)) for seeds in seeds_of.values())
    assert {k for _, k in calls} == {0, 1, 2, 3}
    assert 1 < len(calls) / 50 < 4


def test_items_drawn_do_not_depend_on_the_number_of_seeds():
    value = np.random.default_rng(4).normal(size=40)

    def score(items: np.ndarray, k: int) -> float:
        return float(value[items].mean())

    np.testing.assert_allclose(
        bootstrap(score, 40, 1, n_resamples=50), bootstrap(score, 40, 5, n_resamples=50)
    )


def test_weights_are_the_draws_of_the_bootstrap():
    rng = np.random.default_rng(4)
    value = rng.normal(size=(3, 40))
    items, seeds = weights(40, 3, n_resamples=200)
    expected = bootstrap(lambda i, k: value[k, i].mean(), 40, 3, n_resamples=200)
    found = (seeds * (items @ value.T / 40)).sum(1) / 3
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert items.sum(1).tolist() == [40] * 200
    assert seeds.sum(1).tolist() == [3] * 200


def test_weights_are_drawn_once_and_cannot_be_changed():
    kept = weights(15, 2, n_resamples=30)
    again = weights(15, 2, n_resamples=30)
    for first, second in zip(kept, again, strict=True):
        assert second is first
        with pytest.raises(ValueError, match="read-only"):
            first[0] += 1


def test_seeds_drawn_do_not_depend_on_the_items():
    (_, few), (_, many) = (weights(items, 3, n_resamples=30) for items in (1, 40))
    assert few.tolist() == many.tolist()


def test_draws_repeat_and_change_with_the_seed():
    value = np.arange(20.0)
    first, again, other = (
        bootstrap(lambda i, k: value[i].mean(), 20, n_resamples=20, seed=s) for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40), st.integers(0, 2**32 - 1))
def test_stratified_draws_keep_the_class_counts(labels, seed):
    strata = np.array(labels)

    def score(items: np.ndarray, k: int) -> float:
        assert sorted(strata[items]) == sorted(labels)
        return 0.0

    bootstrap(score, len(labels), strata=strata, n_resamples=3, seed=seed)


def test_every_item_of_a_stratum_is_drawn_equally_often():
    strata = np.array([1, 0, 1, 1, 0])
    count = np.zeros(5)

    def score(items: np.ndarray, k: int) -> float:
        np.add.at(count, items, 1)
        return 0.0

    bootstrap(score, 5, strata=strata, n_resamples=4000)
    np.testing.assert_allclose(count / 4000, 1.0, atol=0.08)


def test_identical_systems_do_not_differ():
    value = np.random.default_rng(5).random(60)
    samples = bootstrap(lambda i, k: value[i].mean() - value[i].mean(), 60, 3, n_resamples=200)
    assert (samples == 0).all()
    assert interval(samples) == (0.0, 0.0)
    assert bootstrap_p(samples) == 1.0


def test_interval_is_the_percentile():
    low, high = interval(np.arange(1001), level=0.9)
    assert (low, high) == pytest.approx((50, 950))


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        (np.ones(999), 2 / 1000),
        (-np.ones(999), 2 / 1000),
        (np.r_[-np.ones(24), np.ones(975)], 50 / 1000),
        (np.r_[np.zeros(24), np.ones(975)], 50 / 1000),
        (np.r_[-np.ones(500), np.ones(499)], 1.0),
        (np.zeros(1), 1.0),
    ],
)
def test_bootstrap_p(differences, expected):
    assert bootstrap_p(differences) == pytest.approx(expected)


def test_bootstrap_p_of_equal_systems_is_about_uniform():
    rng = np.random.default_rng(6)
    found = []
    for trial in range(TRIALS):
        gap = rng.normal(0, 1, 80)
        samples = bootstrap(lambda i, k, g=gap: g[i].mean(), 80, n_resamples=150, seed=trial)
        found.append(bootstrap_p(samples))
    for level in (0.05, 0.2, 0.5, 0.8):
        noise = 3.5 * math.sqrt(level * (1 - level) / TRIALS)
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=noise)


def test_bootstrap_p_sees_a_difference():
    rng = np.random.default_rng(9)
    gap = rng.normal(0.5, 1, 80)
    assert bootstrap_p(bootstrap(lambda i, k: gap[i].mean(), 80, n_resamples=500)) < 0.01


@pytest.mark.parametrize(
    ("table", "p"),
    [((0, 5), 2 / 32), ((1, 5), 14 / 64), ((2, 10), 158 / 4096), ((3, 3), 1), ((0, 0), 1)],
)
def test_mcnemar_by_hand(table, p):
    assert mcnemar(*table) == pytest.approx(p)
    assert mcnemar(*table[::-1]) == pytest.approx(p)


@settings(deadline=None)
@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_a_binomial_test(first, second):
    wanted = binomtest(second, first + second).pvalue if first + second else 1
    assert mcnemar(first, second) == pytest.approx(wanted)


def test_mcnemar_against_counting():
    for a in range(9):
        for b in range(9):
            total = a + b
            tail = sum(math.comb(total, i) for i in range(min(a, b) + 1)) / 2**total
            assert mcnemar(a, b) == pytest.approx(min(1.0, 2 * tail)), (a, b)


def test_undefined_scores_have_no_interval_and_no_p():
    samples = np.array([0.1, math.nan, 0.3])
    assert all(map(math.isnan, interval(samples)))
    assert math.isnan(bootstrap_p(samples))


@pytest.mark.parametrize(
    "call",
    [
        lambda: bootstrap(lambda i, k: 0.0, 0),
        lambda: bootstrap(lambda i, k: 0.0, 3, n_seeds=0),
        lambda: bootstrap(lambda i, k: 0.0, 3, strata=["a", "b"]),
        lambda: interval([]),
        lambda: interval([1.0], level=95),
        lambda: bootstrap_p([]),
        lambda: mcnemar(-1, 2),
    ],
)
def test_impossible_arguments_are_refused(call):
    with pytest.raises(ValueError, match=r"\w"):
        call()
