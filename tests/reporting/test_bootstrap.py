"""Weighted metrics, intervals and differences, against loops, closed forms and libraries."""

import importlib.util

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import adjusted_rand_score, f1_score

from studies.paths import REPOSITORY
from studies.reporting.bootstrap import (
    TEST_COLUMNS,
    Measured,
    adjusted_rand,
    count,
    difference,
    draws,
    estimate,
    holm,
    macro_f1,
    matched,
    mean,
    measure,
    one_hot,
    paired_tests,
    summary,
    value,
)

ITEMS, RESAMPLES = 12, 300  # more resamples than go into one block
SCORES = np.random.default_rng(0).random((6, ITEMS))  # of each seed on each item
CLUSTERS = np.arange(ITEMS) // 2
numbers = st.integers(0, 2**32 - 1)


def system(seeds, fixed=False, resamples=RESAMPLES) -> Measured:
    """The mean score, on row k of `SCORES` for the k-th seed."""
    runs = {seed: {"m": mean(SCORES[k])} for k, seed in enumerate(seeds)}
    return measure(runs, CLUSTERS, fixed, resamples)["m"]


class TestDraws:
    def test_clusters_are_drawn_whole_and_as_many_as_there_are(self):
        weights = draws([7, 7, 3, 7, 3, 5], 500)
        assert weights.shape == (500, 6)
        np.testing.assert_array_equal(weights[:, [0, 0, 2]], weights[:, [1, 3, 4]])
        times = weights[:, [0, 2, 5]]
        assert (times.sum(axis=1) == 3).all()
        # each cluster is in a resample a binomial number of times
        assert times.mean(axis=0) == pytest.approx([1, 1, 1], abs=0.15)
        assert times.var(axis=0) == pytest.approx([2 / 3] * 3, abs=0.15)

    def test_they_depend_on_who_shares_a_cluster_and_on_the_seed_alone(self):
        weights = draws(["b", "a", "b", "c"], 50)
        assert draws([1, 9, 1, 4], 50) is weights
        assert draws([1, 9, 1, 4], 50, seed=1).tolist() != weights.tolist()
        with pytest.raises(ValueError, match="read-only"):
            weights[0, 0] = 1

    @pytest.mark.parametrize("clusters", [[], [1.0, np.nan], ["a", None]])
    def test_every_item_needs_a_cluster(self, clusters):
        with pytest.raises(ValueError, match="cluster"):
            draws(clusters)


@st.composite
def labelled(draw):
    """Two labellings of some items, in which some labels may not occur, and weights of two sets."""
    n, labels = draw(st.integers(1, 12)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(numbers))
    weights = rng.integers(0, 3, (2, n))
    weights[:, 0] += 1  # an item at least
    return *rng.integers(0, labels, (2, n)), labels, weights


class TestMetrics:
    @given(labelled())
    def test_they_are_scikit_learns_on_repeated_items(self, case):
        said, there, labels, weights = case
        ones = one_hot(said, labels), one_hot(there, labels)
        found = {"f1": macro_f1(*ones), "all": macro_f1(*ones, range(labels))}
        found["ari"] = adjusted_rand(said, there)
        values = {name: metric(weights.astype(float)) for name, metric in found.items()}
        for r, weight in enumerate(weights):
            guess, truth = np.repeat(said, weight), np.repeat(there, weight)
            f1 = {"average": "macro", "zero_division": 0}
            assert {name: value[r] for name, value in values.items()} == pytest.approx(
                {
                    "f1": f1_score(truth, guess, labels=np.unique(truth), **f1),
                    "all": f1_score(truth, guess, labels=range(labels), **f1),
                    "ari": adjusted_rand_score(truth, guess),
                },
                abs=1e-12,
            )

    @given(st.lists(st.sampled_from([0.0, 0.5, 1.0, np.nan]), min_size=1, max_size=9), numbers)
    def test_means_and_counts_are_over_items_that_have_a_value(self, values, seed):
        weights = np.random.default_rng(seed).integers(0, 3, (4, len(values)))
        averages, sums = (metric(values)(weights.astype(float)) for metric in (mean, count))
        for average, total, weight in zip(averages, sums, weights, strict=True):
            drawn = np.repeat(values, weight)
            left = drawn[~np.isnan(drawn)]
            assert average == pytest.approx(left.mean() if len(left) else np.nan, nan_ok=True)
            assert total == pytest.approx(average * len(values), nan_ok=True)

    def test_a_set_without_a_true_label_has_no_f1(self):
        ones = one_hot(np.array([0, 1]), 2)
        assert np.isnan(macro_f1(ones, ones)(np.zeros((1, 2)))).all()

    def test_the_value_is_that_of_each_item_once(self):
        assert value(count([True, False, True, True]), 4) == 3


def test_a_run_is_measured_on_every_resample():
    found = measure({4: {"m": mean(SCORES[0]), "n": count(SCORES[1])}}, CLUSTERS, True, RESAMPLES)
    weights = draws(CLUSTERS, RESAMPLES)
    for name, row, factor in (("m", SCORES[0], 1), ("n", SCORES[1], ITEMS)):
        looped = [factor * np.repeat(row, times).mean() for times in weights]
        np.testing.assert_allclose(found[name].samples[4], looped)
        assert found[name].values == {4: pytest.approx(factor * row.mean())}
        assert (found[name].items, found[name].fixed) == (ITEMS, True)


class TestEstimate:
    @pytest.mark.parametrize("seeds", [2, 3, 6])
    def test_the_formula_by_loops(self, seeds):
        found = estimate(system(range(seeds)))
        samples = [
            [np.repeat(SCORES[k], times).mean() for k in range(seeds)]
            for times in draws(CLUSTERS, RESAMPLES)
        ]
        of_mean = np.var([sum(row) / seeds for row in samples], ddof=1)
        between = np.var([SCORES[k].mean() for k in range(seeds)], ddof=1) / seeds
        alone = sum(np.var([row[k] for row in samples], ddof=1) for k in range(seeds)) / seeds
        excess = max(between - (alone - of_mean) / (seeds - 1), 0)
        assert found.variance == pytest.approx(of_mean + excess)
        quantile = stats.norm.ppf(0.975)
        if excess:
            quantile = stats.t.ppf(0.975, (seeds - 1) * (found.variance / excess) ** 2)
        margin = quantile * (of_mean + excess) ** 0.5
        assert (found.value, found.seeds) == (pytest.approx(SCORES[:seeds].mean()), seeds)
        assert (found.low, found.high) == pytest.approx(
            (found.value - margin, found.value + margin)
        )

    @pytest.mark.parametrize(("spread", "normal"), [(0.0, True), (0.5, False)])
    def test_the_quantile_is_normal_where_seeds_add_nothing(self, spread, normal):
        samples = np.random.default_rng(1).normal(size=200)
        of_seeds = spread * np.arange(5)
        found = estimate(
            Measured(dict(enumerate(of_seeds)), {k: samples + of_seeds[k] for k in range(5)}, 9)
        )
        assert np.isinf(found.freedom) == normal
        if normal:
            assert found.margin == pytest.approx(1.959964 * samples.std(ddof=1))

    def test_one_seed_is_the_mean_of_normal_items(self):
        scores = np.random.default_rng(2).normal(3, 2, 400)
        found = estimate(measure({0: {"m": mean(scores)}}, range(400))["m"])
        expected = stats.norm.interval(0.95, scores.mean(), scores.std() / 20)
        assert (found.low, found.high) == pytest.approx(expected, abs=0.02)
        assert np.isnan(found.spread)

    def test_items_that_are_drawn_together_count_once(self):
        scores = np.repeat(np.random.default_rng(2).normal(3, 2, 200), 2)
        by_item, by_pair = (
            estimate(measure({0: {"m": mean(scores)}}, clusters)["m"])
            for clusters in (range(400), np.arange(400) // 2)
        )
        assert by_pair.variance / by_item.variance == pytest.approx(2, rel=0.15)

    @given(st.lists(st.floats(-9, 9), min_size=2, max_size=9, unique=True), st.floats(-9, 9))
    def test_what_has_no_items_is_students(self, values, against):
        found = estimate(Measured(dict(enumerate(values))))
        student = stats.ttest_1samp(values, against)
        if np.std(values) > 1e-6:  # below, scipy's precision is lost
            interval = student.confidence_interval(0.95)
            assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
            assert found.p(against) == pytest.approx(student.pvalue, abs=1e-9)
            assert (found.p(against) < 0.05) == (not found.low <= against <= found.high)

    def test_one_seed_of_what_has_no_items_has_no_interval(self):
        found = estimate(Measured({3: 0.5}))
        assert found.value == 0.5
        assert np.isnan([found.low, found.high, found.p()]).all()

    def test_a_resample_without_a_value_leaves_no_interval(self):
        samples = {0: np.array([0.4, np.nan, 0.6]), 1: np.array([0.4, 0.5, 0.6])}
        found = estimate(Measured({0: 0.5, 1: 0.5}, samples, 9))
        assert found.value == 0.5
        assert np.isnan([found.low, found.high, found.p()]).all()

    def test_what_never_varies_is_certain(self):
        found = estimate(Measured({0: 0.5, 1: 0.5}, {k: np.full(9, 0.5) for k in (0, 1)}, 9))
        assert (found.low, found.high, found.p(0.5), found.p()) == (0.5, 0.5, 1, 0)

    @given(st.integers(1, 6), st.floats(-0.5, 1.5))
    def test_p_is_below_5_percent_outside_the_interval(self, seeds, against):
        found = estimate(system(range(seeds), resamples=60))
        assert (found.p(against) < 0.05) == (not found.low <= against <= found.high)


class TestDifference:
    def test_second_minus_first_over_common_seeds_and_the_same_items(self):
        first, second = system([0, 1, 4]), system([9, 4, 1])
        found = difference(first, second)
        gaps = {1: SCORES[2] - SCORES[1], 4: SCORES[1] - SCORES[2]}
        runs = {seed: {"m": mean(gap)} for seed, gap in gaps.items()}
        expected = estimate(measure(runs, CLUSTERS, resamples=RESAMPLES)["m"])
        assert found.seeds == 2
        assert [found.value, found.low, found.high] == pytest.approx(
            [expected.value, expected.low, expected.high]
        )

    def test_turned_round_it_is_the_same(self):
        pair = system([0, 1, 2]), system([2, 1, 0])
        one, other = difference(*pair), difference(*pair[::-1])
        assert (one.value, one.low) == pytest.approx((-other.value, -other.high))
        assert one.p() == pytest.approx(other.p())

    def test_equal_systems_do_not_differ(self):
        found = difference(system([0, 1]), system([0, 1]))
        assert (found.value, found.low, found.high, found.p()) == (0, 0, 0, 1)

    @pytest.mark.parametrize(
        ("first", "second", "pairs"),
        [
            # as folders, runs come 0, 10, 2
            (([0, 10, 2], False), ([10, 2, 3], False), [(2, 2), (10, 10)]),
            (([0], True), ([0, 10, 2], False), [(0, 0), (0, 2), (0, 10)]),
            (([0, 10, 2], False), ([7], True), [(0, 7), (2, 7), (10, 7)]),
            (([0], True), ([7], True), [(0, 7)]),
            (([0], False), ([7], False), []),
        ],
    )
    def test_which_seed_stands_against_which(self, first, second, pairs):
        systems = [Measured(dict.fromkeys(s, 0.0), fixed=fixed) for s, fixed in (first, second)]
        assert matched(*systems) == pairs

    def test_a_system_without_chance_stands_against_every_seed(self):
        plain, trained = system([0], fixed=True), system([3, 8, 9])
        found = difference(plain, trained)
        assert (found.seeds, found.fixed) == (3, False)
        assert found.value == pytest.approx(SCORES[:3].mean() - SCORES[0].mean())
        assert difference(plain, plain).fixed

    def test_no_common_seed(self):
        assert difference(system([0]), system([1])) is None

    def test_a_number_shifts_the_value_and_nothing_else(self):
        alone = estimate(system([0, 1, 2]))
        found = difference(0.25, system([0, 1, 2]))
        assert (found.value, found.low) == pytest.approx((alone.value - 0.25, alone.low - 0.25))
        assert found.p() == pytest.approx(alone.p(0.25))

    def test_without_resamples_of_one_the_seeds_alone_count(self):
        bare = Measured({0: 0.1, 1: 0.3, 2: 0.2})
        found = difference(bare, system([0, 1, 2]))
        gaps = SCORES[:3].mean(axis=1) - [0.1, 0.3, 0.2]
        assert found.p() == pytest.approx(stats.ttest_1samp(gaps, 0).pvalue)

    def test_other_items_are_refused(self):
        other = measure({0: {"m": mean(SCORES[0, 1:])}}, CLUSTERS[1:], resamples=RESAMPLES)["m"]
        with pytest.raises(ValueError, match="12 and on 11 items"):
            difference(system([0]), other)


SYSTEMS = {
    "plain": {"f1": system([0], fixed=True)},
    "net": {"f1": system([0, 1]), "epochs": Measured({0: 3.0, 1: 5.0})},
    "net@big": {"f1": system([2])},
}


class TestTables:
    def test_a_tidy_row_for_each_metric_of_each_system(self):
        frame = summary("triplets", "demo", SYSTEMS, {"net": {"f1": 0.7}})
        rows = frame.set_index(["model", "variant", "metric"])
        assert list(rows.index) == [
            ("plain", "", "f1"),
            ("net", "", "f1"),
            ("net", "", "epochs"),
            ("net", "big", "f1"),
        ]
        assert rows["n"].tolist() == [ITEMS, ITEMS, pd.NA, ITEMS]
        assert rows["n_seeds"].tolist() == [1, 2, 2, 1]
        epochs = rows.loc[("net", "", "epochs")]
        assert (epochs["mean"], epochs["std"]) == (4, pytest.approx(2**0.5))
        assert epochs["ci_high"] == pytest.approx(4 + 12.7062047)
        assert rows["published"].dropna().to_dict() == {("net", "", "f1"): 0.7}
        assert rows["std"].isna().tolist() == [True, False, False, True]

    def test_every_two_systems_of_a_group_in_what_both_have(self):
        tests = paired_tests(SYSTEMS, {"alone": SYSTEMS["net"]})
        assert list(tests.columns) == TEST_COLUMNS
        assert tests[["first", "second", "metric", "seeds"]].to_numpy().tolist() == [
            ["plain", "net", "f1", 2],
            ["plain", "net@big", "f1", 1],
        ]
        gap = SCORES[:2].mean() - SCORES[0].mean()
        assert tests["difference"].tolist() == pytest.approx([gap, 0])

    def test_what_is_not_tested_has_no_row(self):
        tests = paired_tests({"a": {"x": Measured({0: 1.0})}, "b": {"x": Measured({0: 2.0})}})
        assert tests.empty
        assert list(tests.columns) == TEST_COLUMNS


@given(st.lists(st.one_of(st.floats(0, 1), st.just(np.nan)), max_size=8))
def test_holm_rejects_what_the_procedure_rejects(p):
    adjusted = holm(p)
    assert np.isnan(adjusted).tolist() == np.isnan(p).tolist()
    known = sorted(one for one in p if not np.isnan(one))
    for level in (0.01, 0.05, 0.3):
        rejected = 0  # step down until one is not small enough
        while rejected < len(known) and known[rejected] <= level / (len(known) - rejected):
            rejected += 1
        bound = known[rejected - 1] if rejected else -1.0
        borderline = np.isclose(adjusted, level, rtol=1e-9)
        for one, found, near in zip(p, adjusted, borderline, strict=True):
            assert near or np.isnan(one) or (found <= level) == (one <= bound)


@pytest.fixture(scope="module")
def benchmark():
    """The simulation of `benchmarks/coverage.py`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY / "benchmarks")
        file = REPOSITORY / "benchmarks" / "coverage.py"
        spec = importlib.util.spec_from_file_location("coverage_benchmark", file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    module.RESAMPLES = 250
    return module


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("case", ["items", "seeds", "their interaction", "all three"])
def test_the_interval_covers_the_true_difference(benchmark, case, seeds):
    found = [one for one, _ in benchmark.simulate(benchmark.CASES[case], seeds, 1000)]
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.93 <= covered <= 0.97
    assert covered == pytest.approx(np.mean([one.p() >= 0.05 for one in found]))
