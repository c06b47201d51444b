"""Which systems are compared, and what the paired tests say, on run folders written by hand."""

import numpy as np
import pytest
from sklearn import metrics as sklearn

import hearsay
from studies.relevance.comparisons import paired_tests
from studies.relevance.results import read
from studies.reporting import bootstrap
from studies.reporting.tables import BOOTSTRAP

pytest_plugins = ["captions_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

COLUMNS = ["first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high", "p"]
TRUTH = hearsay.RELEVANT[hearsay.TEST]
TRUE = hearsay.CLASS[hearsay.TEST][TRUTH]


def of_pair(first, second):
    rows = paired_tests(read("made_up"))
    return rows[(rows["first"] == first) & (rows["second"] == second)].set_index("metric")


def area(says, items=slice(None)):
    score = says["probability" if "probability" in says else "lead"][hearsay.TEST]
    return sklearn.roc_auc_score(TRUTH[items], score[items])


def same(row, gap, samples, seeds):
    assert row["seeds"] == seeds
    assert row["difference"] == pytest.approx(gap)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(bootstrap.interval(samples))
    assert row["p"] == pytest.approx(bootstrap.bootstrap_p(samples))


class TestPairs:
    def test_filters_stand_against_filters_and_classifiers_against_those_of_equal_steps(
        self, tells
    ):
        for system in ("predictor", "predictor@captions_alone"):
            tells(system, says=hearsay.predicted(1.0))
        tells("tfidf", says=hearsay.led(1.0))
        for system in ("downstream_all", "downstream_kept", "downstream_weighted"):
            tells(system, says=hearsay.classified(0.5))
        for system in ("downstream_all@quarter", "downstream_weighted@quarter"):
            tells(system, says=hearsay.classified(0.5))
        tells("downstream_kept@image", says=hearsay.classified(0.5, read="image"))
        rows = paired_tests(read("made_up"))
        assert list(rows.columns) == COLUMNS
        assert set(rows["test"]) == {BOOTSTRAP}
        pairs = list(dict.fromkeys(zip(rows["first"], rows["second"], strict=True)))
        assert pairs[:3] == [
            ("tfidf", "predictor"),
            ("tfidf", "predictor@captions_alone"),
            ("predictor", "predictor@captions_alone"),
        ]
        assert set(pairs[3:]) == {
            ("downstream_all", "downstream_kept"),
            ("downstream_all", "downstream_weighted"),
            ("downstream_kept", "downstream_weighted"),
            ("downstream_all@quarter", "downstream_weighted@quarter"),
        }
        assert not rows.duplicated(["first", "second", "metric"]).any()

    def test_neither_kept_nor_captions_of_training_are_tested(self, tells):
        tells("tfidf", says=hearsay.led(1.0))
        tells("predictor", says=hearsay.predicted(1.0))
        assert set(of_pair("tfidf", "predictor").index) == {
            *("precision", "recall", "rejected", "auc")
        }

    def test_where_truth_is_unknown_filters_are_not_compared(self, tells):
        tells("tfidf", says=hearsay.led(1.0), known=False)
        tells("predictor", says=hearsay.predicted(1.0), known=False)
        for system in ("downstream_all", "downstream_kept"):
            tells(system, says=hearsay.classified(0.5), known=False)
        rows = paired_tests(read("made_up"))
        assert set(rows["first"]) == {"downstream_all"}
        assert set(rows["metric"]) == {"accuracy", "macro_f1"}

    def test_what_some_test_sets_leave_undefined_is_not_compared(self, tells):
        probability = np.full(len(hearsay.IDS), 0.1)
        probability[hearsay.place("n0", 12)] = 0.9  # most resamples hold it, others keep nothing
        tells("tfidf", says=hearsay.led(1.0))
        tells("predictor", says=hearsay.of_probability(probability))
        rows = of_pair("tfidf", "predictor")
        assert set(rows.index) == {"recall", "rejected", "auc"}
        assert rows.notna().all(axis=None)

    def test_one_system_or_no_common_seed(self, tells):
        tells("downstream_all", 0, says=hearsay.classified(0.5))
        tells("downstream_kept", 1, says=hearsay.classified(0.5))
        tells("predictor", 0, says=hearsay.predicted(1.0))
        rows = paired_tests(read("made_up"))
        assert rows.empty
        assert list(rows.columns) == COLUMNS


class TestDifferences:
    def test_common_seeds_are_averaged_and_resampled(self, tells):
        first = {seed: hearsay.classified(0.4, seed) for seed in (0, 1, 2)}
        second = {seed: hearsay.classified(0.7, seed + 10) for seed in (1, 2, 9)}
        for system, says in (("downstream_all", first), ("downstream_weighted", second)):
            for seed, one in says.items():
                tells(system, seed, says=one)
        right = [
            [(one[seed]["said"][TRUTH] == TRUE).astype(float) for seed in (1, 2)]
            for one in (first, second)
        ]
        gaps = np.array(right[1]) - right[0]
        samples = bootstrap.bootstrap(lambda items, k: float(gaps[k][items].mean()), len(TRUE), 2)
        row = of_pair("downstream_all", "downstream_weighted").loc["accuracy"]
        same(row, gaps.mean(), samples, 2)

    def test_a_baseline_stands_against_every_seed(self, tells):
        plain, trained = hearsay.led(0.5), {s: hearsay.predicted(2.0, s) for s in (3, 5)}
        tells("tfidf", 0, says=plain)
        for seed, one in trained.items():
            tells("predictor", seed, says=one)
        both = list(trained.values())
        samples = bootstrap.bootstrap(
            lambda items, k: area(both[k], items) - area(plain, items), len(TRUTH), 2
        )
        gap = np.mean([area(one) for one in both]) - area(plain)
        same(of_pair("tfidf", "predictor").loc["auc"], gap, samples, 2)
