"""Intervals, p-values and weighted metrics against closed forms, counting and loops."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from studies.reporting import bootstrap as resampling
from studies.reporting.bootstrap import Resampled, bootstrap, bootstrap_p, interval, weights
from studies.reporting.tables import BOOTSTRAP

TRIALS = 300
stream_seeds = st.integers(0, 2**32 - 1)


def normal(rng):
    sample = rng.normal(3.0, 2.0, 80)
    return lambda items, k: sample[items].mean() - 3.0, 80


def stratified(rng):
    # Class means lie 10 apart: drawn without strata the interval would be ten times too wide and
    # cover always, which the upper bound rules out.
    strata = np.repeat(["a", "b"], [40, 60])
    sample = np.where(strata == "a", 0.0, 10.0) + rng.normal(0, 1, 100)
    return lambda items, k: sample[items].mean() - 6.0, 100, 1, strata


def share_right(rng):
    right = rng.random(100) < 0.7
    return lambda items, k: right[items].mean() - 0.7, 100


def items_and_seeds(rng):
    # a seed's score: its own luck and that of the items, which all seeds share
    of_item, of_seed = rng.normal(0, 1, 60), rng.normal(0, 0.1, 5)
    return lambda items, k: of_item[items].mean() + of_seed[k], 60, 5


@pytest.mark.parametrize(
    ("draw", "seed"), [(normal, 1), (stratified, 2), (share_right, 7), (items_and_seeds, 8)]
)
def test_intervals_cover_the_truth_as_often_as_they_say(draw, seed):
    rng = np.random.default_rng(seed)
    covered = 0
    for trial in range(TRIALS):
        low, high = interval(bootstrap(*draw(rng), n_resamples=250, seed=trial))
        covered += low <= 0 <= high
    # three and a half binomial standard deviations below 95 %
    assert 0.906 < covered / TRIALS < 0.99


def test_spread_over_items_and_seeds_has_the_textbook_variance():
    # score = mean of item values + seed value: the variances of the two draws add up.
    rng = np.random.default_rng(3)
    of_item, of_seed = rng.normal(0, 1, 50), rng.normal(0, 0.3, 5)
    samples = bootstrap(lambda i, k: of_item[i].mean() + of_seed[k], 50, 5, n_resamples=4000)
    expected = of_item.var() / 50 + of_seed.var() / 5
    assert samples.var() == pytest.approx(expected, rel=0.1)
    assert samples.mean() == pytest.approx(of_item.mean() + of_seed.mean(), abs=0.02)


def test_all_seeds_of_a_resample_see_the_same_items_once():
    seeds_of: dict[bytes, list[int]] = {}

    def score(items: np.ndarray, k: int) -> float:
        seeds_of.setdefault(items.tobytes(), []).append(k)
        return float(k)

    bootstrap(score, 30, n_seeds=4, n_resamples=50)
    assert len(seeds_of) == 50
    assert all(len(seeds) == len(set(seeds)) for seeds in seeds_of.values())
    assert set().union(*seeds_of.values()) == {0, 1, 2, 3}


def test_weights_are_the_draws_of_the_bootstrap():
    value = np.random.default_rng(4).normal(size=(3, 40))
    items, seeds = weights(40, 3, n_resamples=200)
    expected = bootstrap(lambda i, k: value[k, i].mean(), 40, 3, n_resamples=200)
    samples = (seeds * (items @ value.T / 40)).sum(1) / 3
    np.testing.assert_allclose(samples, expected, rtol=0, atol=1e-12)
    assert items.sum(1).tolist() == [40] * 200
    assert seeds.sum(1).tolist() == [3] * 200


def test_weights_are_drawn_once_and_cannot_be_changed():
    for first, second in zip(*(weights(15, 2, n_resamples=30) for _ in range(2)), strict=True):
        assert second is first
        with pytest.raises(ValueError, match="read-only"):
            first[0] += 1


def test_the_draws_of_items_and_of_seeds_do_not_depend_on_each_other():
    (few, one), (_, many) = (weights(n, 3, n_resamples=30) for n in (5, 40))
    assert one.tolist() == many.tolist()
    assert few.tolist() == weights(5, 1, n_resamples=30)[0].tolist()
    assert few.tolist() != weights(5, 1, n_resamples=30, seed=1)[0].tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=40), stream_seeds)
def test_stratified_draws_keep_the_class_counts(labels, seed):
    strata = np.array(labels)

    def score(items: np.ndarray, k: int) -> float:
        assert sorted(strata[items]) == sorted(labels)
        return 0.0

    bootstrap(score, len(labels), strata=strata, n_resamples=3, seed=seed)


def test_every_item_of_a_stratum_is_drawn_equally_often():
    count = np.zeros(5)

    def score(items: np.ndarray, k: int) -> float:
        np.add.at(count, items, 1)
        return 0.0

    bootstrap(score, 5, strata=np.array([1, 0, 1, 1, 0]), n_resamples=4000)
    np.testing.assert_allclose(count / 4000, 1.0, atol=0.08)


def test_interval_is_the_percentile():
    assert interval(np.arange(1001), level=0.9) == pytest.approx((50, 950))


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        (-np.ones(999), 2 / 1000),
        (np.r_[-np.ones(20), np.zeros(4), np.ones(975)], 50 / 1000),
        (np.r_[-np.ones(500), np.ones(499)], 1.0),
        (np.zeros(1), 1.0),
    ],
)
def test_bootstrap_p(differences, expected):
    assert bootstrap_p(differences) == pytest.approx(expected)


def test_bootstrap_p_of_equal_systems_is_about_uniform_and_sees_a_difference():
    rng = np.random.default_rng(6)
    found = []
    for trial in range(TRIALS):
        gap = rng.normal(0, 1, 80)
        samples = bootstrap(lambda i, k, g=gap: g[i].mean(), 80, n_resamples=150, seed=trial)
        found.append(bootstrap_p(samples))
    for level in (0.05, 0.2, 0.5, 0.8):
        noise = 3.5 * math.sqrt(level * (1 - level) / TRIALS)
        assert np.mean(np.array(found) <= level) == pytest.approx(level, abs=noise)
    gap = rng.normal(0.5, 1, 80)
    assert bootstrap_p(bootstrap(lambda i, k: gap[i].mean(), 80, n_resamples=500)) < 0.01


def test_mcnemar_against_counting():
    for a, b in np.ndindex(9, 9):
        tail = sum(math.comb(a + b, i) for i in range(min(a, b) + 1)) / 2 ** (a + b)
        assert resampling.mcnemar(a, b) == pytest.approx(min(1.0, 2 * tail)), (a, b)


def test_undefined_scores_have_no_interval_and_no_p():
    samples = np.array([0.1, math.nan, 0.3])
    assert all(map(math.isnan, interval(samples)))
    assert math.isnan(bootstrap_p(samples))


@pytest.mark.parametrize(
    "call",
    [
        *(partial(bootstrap, lambda i, k: 0.0, *sizes) for sizes in ((0,), (3, 0), (3, 1, "ab"))),
        *(partial(interval, []), partial(interval, [1.0], level=95)),
        *(partial(bootstrap_p, []), partial(resampling.mcnemar, -1, 2)),
    ],
)
def test_impossible_arguments_are_refused(call):
    with pytest.raises(ValueError, match=r"\w"):
        call()


# Metrics with weights against numpy and scikit-learn on items that are repeated so often.


@st.composite
def labelled(draw):
    """Predicted and true labels, of which some may not occur, and weights of three test sets."""
    n, labels = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(stream_seeds))
    return *rng.integers(0, labels, (2, n)), labels, rng.integers(0, 3, (3, n))


@given(labelled())
def test_macro_f1_is_scikit_learns(case):
    predicted, true, labels, weights = case
    metric = resampling.macro_f1(*(resampling.one_hot(part, labels) for part in (predicted, true)))
    for score, weight in zip(metric(weights), weights, strict=True):
        drawn, guess = np.repeat(true, weight), np.repeat(predicted, weight)
        expected = math.nan
        if len(drawn):
            how = {"labels": np.unique(drawn), "average": "macro", "zero_division": 0}
            expected = f1_score(drawn, guess, **how)
        assert score == pytest.approx(expected, nan_ok=True)


@given(st.lists(st.sampled_from([0.0, 0.5, 1.0, np.nan]), min_size=1, max_size=9), stream_seeds)
def test_a_mean_is_over_items_that_have_a_value(values, seed):
    values = np.array(values)
    weights = np.random.default_rng(seed).integers(0, 3, (4, len(values)))
    once = values[~np.isnan(values)].mean() if (~np.isnan(values)).any() else np.nan
    metric = resampling.mean(values)
    assert resampling.values({"m": metric}, len(values))["m"] == pytest.approx(once, nan_ok=True)
    for score, weight in zip(metric(weights), weights, strict=True):
        drawn = np.repeat(values, weight)
        left = drawn[~np.isnan(drawn)]
        assert score == pytest.approx(left.mean() if len(left) else np.nan, nan_ok=True)


@pytest.mark.parametrize("sets", [1, resampling.BLOCK, 2 * resampling.BLOCK + 1])
def test_blocks_are_put_together_in_order(sets):
    sizes = []

    def first(weights):
        sizes.append(len(weights))
        return weights[:, 0]

    weights = np.arange(2 * sets).reshape(sets, 2)
    assert resampling.in_blocks(first)(weights).tolist() == weights[:, 0].tolist()
    assert max(sizes) <= resampling.BLOCK


def test_shares_of_nothing():
    part, whole = np.array([1.0, 0.0]), np.array([4.0, 0.0])
    assert resampling.share(part, whole).tolist() == [0.25, 0]
    assert resampling.share(part, whole, 1.0).tolist() == [0.25, 1]


# Rows and paired tests, against a bootstrap that scores every resample.

ITEMS, RESAMPLES = 12, 60
SCORES = np.random.default_rng(0).random((6, ITEMS))  # of each seed on each item


@pytest.fixture
def few_resamples(monkeypatch):
    monkeypatch.setattr(resampling, "weights", partial(weights, n_resamples=RESAMPLES))


def resampled(by_seed, fixed=False, sampled=True) -> Resampled:
    """The mean of item scores, seed -> (ITEMS,)."""
    drawn, _ = weights(ITEMS, n_resamples=RESAMPLES)
    return Resampled(
        ITEMS,
        {seed: float(scores.mean()) for seed, scores in by_seed.items()},
        {seed: drawn @ scores / ITEMS for seed, scores in by_seed.items()} if sampled else None,
        fixed,
    )


def looped(*scores):
    """The bootstrap of the mean over seeds, item by item."""

    def mean(items: np.ndarray, k: int) -> float:
        return float(np.mean([scores[k][i] for i in items]))

    return bootstrap(mean, ITEMS, len(scores), n_resamples=RESAMPLES)


@pytest.mark.usefixtures("few_resamples")
class TestResampled:
    @pytest.mark.parametrize("seeds", [[7], [0, 3], [5, 0, 2]])
    def test_a_row_has_mean_spread_and_interval(self, seeds):
        by_seed = {seed: SCORES[k] for k, seed in enumerate(seeds)}
        row = resampled(by_seed).row()
        means = [scores.mean() for scores in by_seed.values()]
        assert row["mean"] == pytest.approx(sum(means) / len(means))
        assert (row["n"], row["n_seeds"]) == (ITEMS, len(seeds))
        expected = interval(looped(*by_seed.values()))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(expected)
        spread = np.std(means, ddof=1) if len(seeds) > 1 else None
        assert row["std"] == (spread if spread is None else pytest.approx(spread))

    def test_what_is_not_resampled_has_no_interval_and_no_test(self):
        bare, full = (resampled({0: SCORES[0], 1: SCORES[1]}, sampled=s) for s in (False, True))
        row = bare.row()
        assert (row["ci_low"], row["ci_high"], row["n_seeds"]) == (None, None, 2)
        assert row["mean"] == pytest.approx(SCORES[:2].mean())
        assert resampling.paired(bare, full) is resampling.paired(full, bare) is None

    def test_second_minus_first_over_common_seeds(self):
        first = resampled({0: SCORES[0], 1: SCORES[1], 4: SCORES[2]})
        second = resampled({4: SCORES[3], 1: SCORES[4], 9: SCORES[5]})
        test = resampling.paired(first, second)
        gaps = [SCORES[4] - SCORES[1], SCORES[3] - SCORES[2]]  # seeds 1 and 4
        samples = looped(*gaps)
        assert set(resampling.TEST_COLUMNS) == {"first", "second", "metric", *test}
        assert (test["test"], test["seeds"]) == (BOOTSTRAP, 2)
        assert test["difference"] == pytest.approx(np.mean(gaps))
        assert (test["ci_low"], test["ci_high"]) == pytest.approx(interval(samples))
        assert test["p"] == bootstrap_p(samples)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_a_system_without_chance_stands_against_every_seed(self, sign):
        trained = {3: SCORES[1], 8: SCORES[2]}
        pair = [resampled({0: SCORES[0]}, fixed=True), resampled(trained)][::sign]
        gaps = [sign * (scores - SCORES[0]) for scores in trained.values()]
        test = resampling.paired(*pair)
        assert test["seeds"] == 2
        assert test["difference"] == pytest.approx(np.mean(gaps))
        assert (test["ci_low"], test["ci_high"]) == pytest.approx(interval(looped(*gaps)))

    def test_equal_systems_do_not_differ(self):
        same = resampled({0: SCORES[0], 1: SCORES[1]})
        test = resampling.paired(same, same)
        assert (test["difference"], test["ci_low"], test["ci_high"], test["p"]) == (0, 0, 0, 1)

    def test_every_two_systems_of_a_group_in_what_both_have(self):
        one, other, late = (resampled({seed: SCORES[k]}) for seed, k in ((0, 0), (0, 1), (1, 0)))
        eyes = {"a": {"f1": one, "ece": one}, "b": {"f1": other}, "c": {"ece": other, "f1": one}}
        rows = resampling.paired_tests(
            eyes, {"d": {"f1": one}, "e": {"f1": other}}, {"alone": eyes["a"]}
        )
        assert (
            list(rows.columns) == list(resampling.paired_tests().columns) == resampling.TEST_COLUMNS
        )
        names = [*zip(rows["first"] + rows["second"], rows["metric"], strict=True)]
        wanted = [("ab", "f1"), ("ac", "f1"), ("ac", "ece"), ("bc", "f1"), ("de", "f1")]
        assert names == wanted
        gap = SCORES[1].mean() - SCORES[0].mean()
        assert rows["difference"].tolist() == pytest.approx([gap, 0, gap, -gap, gap])
        assert resampling.paired_tests({"a": {"f1": one}, "f": {"f1": late}}).empty


def of_seeds(seeds, fixed=False) -> Resampled:
    """A metric of nothing, run with these seeds."""
    return Resampled(1, dict.fromkeys(seeds, 0.0), None, fixed)


@given(st.lists(st.integers(0, 20), unique=True), st.lists(st.integers(0, 20), unique=True))
def test_matched_seeds_are_those_of_both_in_order(a, b):
    assert resampling.matched(of_seeds(a), of_seeds(b)) == [
        (seed, seed) for seed in sorted({*a} & {*b})
    ]


def test_the_order_of_folders_does_not_matter_to_a_system_without_chance():
    plain, trained = of_seeds([0], fixed=True), of_seeds([0, 10, 2])
    assert resampling.matched(plain, trained) == [(0, 0), (0, 2), (0, 10)]
    assert resampling.matched(trained, plain) == [(0, 0), (2, 0), (10, 0)]
    assert resampling.matched(plain, plain) == [(0, 0)]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 10**6))
def test_over_seeds_is_a_mean_over_the_seeds_drawn(count, seed):
    samples = [*np.random.default_rng(seed).normal(size=(count, 2000))]
    means = resampling.over_seeds(samples)
    for r, drawn in enumerate(weights(ITEMS, count)[1]):
        of_drawn = [samples[k][r] for k in range(count) for _ in range(int(drawn[k]))]
        assert len(of_drawn) == count
        assert means[r] == pytest.approx(sum(of_drawn) / count)
