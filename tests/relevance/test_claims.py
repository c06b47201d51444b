"""Verdicts on cases whose verdict is plain to see."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn

import hearsay
from studies.relevance import claims
from studies.relevance.comparisons import paired_tests
from studies.relevance.results import read, summary
from studies.reporting.tables import BOOTSTRAP

pytest_plugins = ["captions_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

UP, DOWN, BOTH = (0.03, 0.05), (-0.05, -0.03), (-0.01, 0.03)
HIGH, LOW, MIDDLE = (0.6, 0.8), (0.2, 0.4), (0.4, 0.6)
CONTROLS = ("downstream_all", "downstream_random", "downstream_kept")
CLASSIFIERS = (*CONTROLS, "downstream_weighted")
QUARTERS = tuple(f"{one}@quarter" for one in CLASSIFIERS)


def one_test(first, second, metric, interval, seeds=3):
    low, high = interval
    return {
        **{"first": first, "second": second, "metric": metric, "test": BOOTSTRAP, "seeds": seeds},
        **{"difference": (low + high) / 2, "ci_low": low, "ci_high": high, "p": 0.04},
    }


def table_of(*rows):
    return pd.DataFrame(rows, columns=list(one_test("", "", "", UP)))


def frame_of(recall, rejected, precision=HIGH, seeds=3):
    found = {"recall": recall, "rejected": rejected, "precision": precision}
    start = {"model": "predictor", "n_seeds": seeds}
    rows = [
        {**start, "variant": variant, "metric": metric, "mean": (low + high) / 2}
        | {"ci_low": low, "ci_high": high}
        # a variant does not decide
        for variant, given in (("other", dict.fromkeys(found, MIDDLE)), ("", found))
        for metric, (low, high) in given.items()
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def results(tells):
    """Return a function: systems that were run -> results."""

    def run(*systems, **options):
        for system in systems:
            says = {"downstream": hearsay.classified, "predictor": hearsay.predicted}
            kind = says.get(system.partition("_")[0].partition("@")[0], hearsay.led)
            tells(system, says=kind(1.0), **options)
        return read(options.get("dataset", "made_up"))

    return run


def ledger(dataset="made_up"):
    found = read(dataset)
    return {one.id: one for one in claims.ledger(found, paired_tests(found), summary(found))}


class TestFilters:
    @pytest.mark.parametrize(
        ("recall", "rejected", "word"),
        [
            (HIGH, HIGH, "holds"),
            (HIGH, LOW, "does not hold"),
            (LOW, HIGH, "does not hold"),
            (MIDDLE, LOW, "does not hold"),
            (MIDDLE, HIGH, "inconclusive"),
            (HIGH, MIDDLE, "inconclusive"),
        ],
    )
    def test_both_kinds_on_their_side_of_a_half(self, results, recall, rejected, word):
        found = claims.filters(results("predictor"), table_of(), frame_of(recall, rejected))
        assert (found.id, found.verdict) == ("F1", f"{word} (3 seeds)")
        assert "(50 % describe it)" in found.experiment

    def test_precision_does_not_decide(self, results):
        found = claims.filters(results("predictor"), table_of(), frame_of(HIGH, HIGH, LOW))
        assert found.verdict == "holds (3 seeds)"
        assert found.figure == (
            "kept of those that do 0.700 [0.600, 0.800]; "
            "dropped of those that do not 0.700 [0.600, 0.800]; precision 0.300 [0.200, 0.400]"
        )

    def test_how_it_stands_beside_baselines_is_said(self, results):
        tests = table_of(
            one_test("name_match", "predictor", "auc", UP),
            one_test("tfidf", "predictor", "auc", BOTH),
            # in the table the difference may be the other way round
            one_test("predictor", "clip", "auc", UP),
        )
        systems = results("predictor", "name_match", "tfidf", "clip")
        found = claims.filters(systems, tests, frame_of(HIGH, HIGH))
        assert found.verdict == (
            "holds (3 seeds, AUC above name_match, AUC not told from tfidf, AUC below clip)"
        )
        assert "AUC predictor − name_match +0.040 [+0.030, +0.050]" in found.figure
        assert "AUC predictor − clip −0.040 [−0.050, −0.030]" in found.figure

    @pytest.mark.parametrize(
        ("probability", "verdict"),
        [
            (np.where(hearsay.RELEVANT, 0.9, 0.1), "holds"),
            (np.where(hearsay.RELEVANT, 0.1, 0.9), "does not hold"),
            (np.full(len(hearsay.IDS), 0.9), "does not hold"),
            (np.full(len(hearsay.IDS), 0.1), "does not hold"),
            (np.where(hearsay.NUMBER // 2 % 2, 0.1, 0.9), "inconclusive"),
        ],
    )
    def test_from_runs(self, tells, probability, verdict):
        tells("predictor", says=hearsay.of_probability(probability))
        assert ledger()["F1"].verdict == f"{verdict} (one seed)"

    def test_figures_are_those_of_scikit_learn(self, tells):
        says = hearsay.predicted(1.5)
        tells("predictor", says=says)
        truth, kept = hearsay.RELEVANT[hearsay.TEST], says["kept"][hearsay.TEST]
        rates = (
            ("kept of those that do", sklearn.recall_score(truth, kept)),
            ("dropped of those that do not", sklearn.recall_score(~truth, ~kept)),
            ("precision", sklearn.precision_score(truth, kept)),
        )
        for words, rate in rates:
            assert f"{words} {rate:.3f} [" in ledger()["F1"].figure

    def test_a_filter_that_keeps_nothing_has_no_precision(self, tells):
        tells("predictor", says=hearsay.of_probability(np.full(len(hearsay.IDS), 0.1)))
        assert ledger()["F1"].figure == (
            "kept of those that do 0.000 [0.000, 0.000]; "
            "dropped of those that do not 1.000 [1.000, 1.000]; precision undefined"
        )

    def test_what_some_test_sets_lack_has_no_interval(self, tells):
        probability = np.full(len(hearsay.IDS), 0.1)
        probability[hearsay.place("n0", 12)] = 0.9
        tells("predictor", says=hearsay.of_probability(probability))
        assert ledger()["F1"].figure.endswith("; precision 1.000")


class TestWeighting:
    def judge(self, results, better, faster=None, seeds=3, backwards=False):
        """`better` and `faster` give the interval over each control."""
        rows = []
        for ending, intervals in (("", better), ("@quarter", faster or ())):
            for control, interval in zip(CONTROLS, intervals, strict=bool(intervals)):
                low, high = interval
                pair, ends = (control, "downstream_weighted"), (low, high)
                if backwards:
                    pair, ends = pair[::-1], (-high, -low)
                rows.append(one_test(*(one + ending for one in pair), "accuracy", ends, seeds))
        return claims.weighting(results, table_of(*rows))

    @pytest.mark.parametrize("backwards", [False, True])
    @pytest.mark.parametrize(
        ("better", "faster", "verdict"),
        [
            ((UP, UP, UP), (UP, UP, UP), "holds (3 seeds, better, faster)"),
            ((UP, UP, UP), (DOWN, DOWN, DOWN), "holds (3 seeds, better)"),
            ((BOTH, UP, DOWN), (UP, UP, UP), "holds (3 seeds, faster)"),
            ((UP, UP, BOTH), (UP, BOTH, UP), "inconclusive (3 seeds)"),
            ((UP, UP, DOWN), (UP, BOTH, UP), "inconclusive (3 seeds)"),
            ((UP, UP, DOWN), (DOWN, UP, UP), "does not hold (3 seeds)"),
        ],
    )
    def test_better_or_faster_than_every_control(self, results, better, faster, verdict, backwards):
        given = results(*CLASSIFIERS, *QUARTERS)
        found = self.judge(given, better, faster, backwards=backwards)
        assert (found.id, found.verdict) == ("F2", verdict)

    @pytest.mark.parametrize("place", range(3))
    @pytest.mark.parametrize(
        ("interval", "word"), [(UP, "holds"), (BOTH, "inconclusive"), (DOWN, "does not hold")]
    )
    def test_each_control_decides(self, results, place, interval, word):
        better = [UP] * 3
        better[place] = interval
        found = self.judge(results(*CLASSIFIERS), better)
        assert found.verdict == f"{word} (3 seeds{', better' * (word == 'holds')})"

    def test_the_figure(self, results):
        given = results(*CLASSIFIERS, *QUARTERS)
        found = self.judge(given, (UP, DOWN, BOTH), (UP, UP, UP))
        better, faster = found.figure.split("; ")
        assert better == (
            "better: downstream_weighted − downstream_all +0.040 [+0.030, +0.050], "
            "downstream_weighted − downstream_random −0.040 [−0.050, −0.030], "
            "downstream_weighted − downstream_kept +0.010 [−0.010, +0.030]"
        )
        assert faster.startswith(
            "faster: downstream_weighted@quarter − downstream_all@quarter +0.040 ["
        )

    def test_a_quarter_of_some_is_no_test_of_pace(self, results):
        found = self.judge(results(*CLASSIFIERS, *QUARTERS[:-1]), (DOWN, DOWN, DOWN))
        assert "faster" not in found.figure
        assert found.verdict == "does not hold (3 seeds)"

    def test_quarters_without_a_common_seed_are_no_test_of_pace(self, results):
        found = self.judge(results(*CLASSIFIERS, *QUARTERS), (UP, UP, UP))
        assert "faster" not in found.figure
        assert found.verdict == "holds (3 seeds, better)"

    @pytest.mark.parametrize("missing", CLASSIFIERS)
    def test_systems_that_were_not_run_are_named(self, results, missing):
        given = results(*(one for one in CLASSIFIERS if one != missing), *QUARTERS)
        found = claims.weighting(given, table_of())
        assert found.verdict == f"not tested here: no run of {missing}"

    def test_no_seed_in_common(self, tells):
        for seed, system in enumerate(CLASSIFIERS):
            tells(system, seed, says=hearsay.classified(0.5))
        found = ledger()["F2"]
        assert found.verdict == "not tested here: the systems have no seed in common"

    def test_where_truth_is_unknown_all_captions_are_tested(self, results):
        found = self.judge(results(*CLASSIFIERS, known=False), (UP, UP, UP))
        assert found.verdict == (
            "holds (3 seeds, better, tested on the class of the image, described or not)"
        )

    @pytest.mark.parametrize(("right", "word"), [(1.0, "holds"), (0.0, "does not hold")])
    def test_from_runs(self, tells, right, word):
        says = hearsay.classified(right)
        tells("downstream_weighted", says=says)
        for seed, system in enumerate(CONTROLS):
            tells(system, says=hearsay.classified(0.5, seed))
        found = ledger()["F2"]
        assert found.verdict == f"{word} (one seed{', better' * (word == 'holds')})"
        mine = hearsay.RELEVANT[hearsay.TEST]
        true = hearsay.CLASS[hearsay.TEST][mine]
        for seed, system in enumerate(CONTROLS):
            other = sklearn.accuracy_score(true, hearsay.classified(0.5, seed)["said"][mine])
            gap = f"{right - other:+.3f}".replace("-", "−")
            assert f"downstream_weighted − {system} {gap} [" in found.figure


class TestSentences:
    SYSTEMS = ("predictor", "predictor@captions_alone")

    @pytest.mark.parametrize(
        ("interval", "word"), [(UP, "holds"), (DOWN, "does not hold"), (BOTH, "inconclusive")]
    )
    def test_area_decides(self, results, interval, word):
        low, high = interval
        tests = table_of(
            one_test(*self.SYSTEMS, "auc", (-high, -low)),
            # what speaks the other way does not matter
            one_test(*self.SYSTEMS, "precision", (low, high)),
            one_test(*self.SYSTEMS, "recall", (low, high)),
        )
        found = claims.sentences(results(*self.SYSTEMS), tests)
        assert (found.id, found.verdict) == ("F3", f"{word} (3 seeds)")
        auc, precision, recall = found.figure.split("; ")
        assert auc.startswith("AUC predictor − predictor@captions_alone ")
        assert precision.startswith("precision predictor − predictor@captions_alone ")
        assert recall.startswith("recall predictor − predictor@captions_alone ")

    @pytest.mark.parametrize(
        ("with_them", "alone", "word"),
        [(8.0, 0.0, "holds"), (0.0, 8.0, "does not hold"), (2.0, 2.0, "inconclusive")],
    )
    def test_from_runs(self, tells, with_them, alone, word):
        says = {
            "predictor": hearsay.predicted(with_them, 1),
            "predictor@captions_alone": hearsay.predicted(alone, 1),
        }
        for system, one in says.items():
            tells(system, says=one)
        found = ledger()["F3"]
        assert found.verdict == f"{word} (one seed)"
        mine, other = (
            sklearn.roc_auc_score(hearsay.RELEVANT[hearsay.TEST], one["probability"][hearsay.TEST])
            for one in says.values()
        )
        gap = f"{mine - other:+.3f}".replace("-", "−") if mine != other else "0.000"
        assert found.figure.startswith(f"AUC predictor − predictor@captions_alone {gap} [")

    @pytest.mark.parametrize("missing", SYSTEMS)
    def test_systems_that_were_not_run_are_named(self, results, missing):
        given = results(*(one for one in self.SYSTEMS if one != missing))
        found = claims.sentences(given, table_of())
        assert found.verdict == f"not tested here: no run of {missing}"

    def test_no_seed_in_common(self, tells):
        for seed, system in enumerate(self.SYSTEMS):
            tells(system, seed, says=hearsay.predicted(1.0))
        found = ledger()["F3"]
        assert found.verdict == "not tested here: the systems have no seed in common"

    def test_captions_of_one_kind_have_no_area(self, tells):
        for system in self.SYSTEMS:
            file = tells(system, says=hearsay.predicted(1.0)) / "predictions.parquet"
            frame = pd.read_parquet(file)
            frame.assign(relevant=frame["relevant"] | True).to_parquet(file)
        found = ledger()
        assert found["F3"].verdict == "not tested here: too few captions of one kind"
        assert found["F1"].figure.count("undefined") == 1


class TestLedger:
    @pytest.mark.parametrize(
        ("dataset", "mark"), [("demo", ", synthetic"), ("tiny", ", synthetic"), ("made_up", "")]
    )
    def test_drawn_data_is_marked(self, tells, dataset, mark):
        for seed in (0, 4):
            tells("predictor", seed, says=hearsay.predicted(9.0, seed), dataset=dataset)
            alone = hearsay.predicted(0.0, seed)
            tells("predictor@captions_alone", seed, says=alone, dataset=dataset)
            for system in CLASSIFIERS:
                right = hearsay.classified(float(system == "downstream_weighted"))
                tells(system, seed, says=right, dataset=dataset)
        found = ledger(dataset)
        assert {name: one.verdict for name, one in found.items()} == {
            "F1": f"holds (2 seeds{mark})",
            "F2": f"holds (2 seeds{mark}, better)",
            "F3": f"holds (2 seeds{mark})",
        }
        assert claims.tally(list(found.values())) == "Of the paper's 3 claims 3 hold."

    def test_where_truth_is_unknown_filters_are_not_tested(self, results):
        results("predictor", "predictor@captions_alone", known=False)
        for name in ("F1", "F3"):
            assert ledger()[name].verdict == claims.UNKNOWN

    def test_a_baseline_alone_tests_nothing(self, results):
        results("tfidf")
        assert {name: one.verdict for name, one in ledger().items()} == {
            "F1": "not tested here: no run of predictor",
            "F2": "not tested here: no run of downstream_weighted or downstream_all or "
            "downstream_random or downstream_kept",
            "F3": "not tested here: no run of predictor or predictor@captions_alone",
        }
