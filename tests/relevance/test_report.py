"""The report on runs written by hand: every interval by drawing captions and scoring them."""

import html
import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn

import hearsay
import reported
from sentences import refused
from studies import paths
from studies.relevance import figures, report
from studies.relevance.report import ledger, paired_tests, place, read, summary
from studies.reporting import bootstrap
from studies.reporting.tables import BOOTSTRAP

pytest_plugins = ["captions_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

HOSTILE = "<script>alert(1)</script> | $x_1$ & <!-- \\ --> <img src=//evil.example/x.png>"
CONTROLS = ("downstream_all", "downstream_random", "downstream_kept")
CLASSIFIERS = (*CONTROLS, "downstream_weighted")
QUARTERS = tuple(f"{one}@quarter" for one in CLASSIFIERS)
TRUTH = hearsay.RELEVANT[hearsay.TEST]
TRUE = hearsay.CLASS[hearsay.TEST][TRUTH]
UP, DOWN, BOTH = (0.03, 0.05), (-0.05, -0.03), (-0.01, 0.03)
HIGH, LOW, MIDDLE = (0.6, 0.8), (0.2, 0.4), (0.4, 0.6)


@pytest.fixture
def ran(tells):
    """Return a function: systems that were run -> results."""

    def run(*systems, **options):
        for system in systems:
            says = {"downstream": hearsay.classified, "predictor": hearsay.predicted}
            kind = says.get(system.partition("_")[0].partition("@")[0], hearsay.led)
            tells(system, says=kind(1.0), **options)
        return read(options.get("dataset", "made_up"))

    return run


def filtered(says, part):
    """Metrics of the captions of a part with given numbers, as scikit-learn has them."""
    mine = part == hearsay.PART
    score = says["probability" if "probability" in says else "lead"][mine]
    truth, kept = hearsay.RELEVANT[mine], says["kept"][mine]
    return {
        "precision": lambda k: sklearn.precision_score(truth[k], kept[k]),
        "recall": lambda k: sklearn.recall_score(truth[k], kept[k]),
        "rejected": lambda k: sklearn.recall_score(~truth[k], ~kept[k]),
        "auc": lambda k: sklearn.roc_auc_score(truth[k], score[k]),
    }


def classified(says, mine):
    """Metrics of these test captions with given numbers, as scikit-learn has them."""
    true, said = hearsay.CLASS[hearsay.TEST][mine], says["said"][mine]
    return {
        "accuracy": lambda k: sklearn.accuracy_score(true[k], said[k]),
        "macro_f1": lambda k: sklearn.f1_score(
            true[k], said[k], labels=np.unique(true[k]), average="macro"
        ),
    }


class TestSummary:
    def rows(self, system):
        frame = summary(read("made_up"))
        model, _, variant = system.partition("@")
        mine = frame[(frame["model"] == model) & (frame["variant"] == variant)]
        return mine.set_index("metric")

    def same(self, frame, by_seed, items, ending=""):
        """The rows are the means over seeds and what `bootstrap` draws."""
        for metric in by_seed[0]:
            row = frame.loc[metric + ending]
            values = [one[metric](np.arange(items)) for one in by_seed]
            assert row["mean"] == pytest.approx(np.mean(values))
            samples = bootstrap.bootstrap(
                lambda drawn, k, m=metric: by_seed[k][m](drawn), items, len(by_seed)
            )
            assert row[["ci_low", "ci_high"]].tolist() == pytest.approx(bootstrap.interval(samples))
            if len(by_seed) > 1:
                assert row["std"] == pytest.approx(np.std(values, ddof=1))
            assert (row["n"], row["n_seeds"]) == (items, len(by_seed))

    def test_a_predictor_of_three_seeds(self, tells):
        says = {seed: hearsay.predicted(1.5, seed) for seed in (1, 3, 7)}
        for seed, one in says.items():
            tells("predictor", seed, says=one)
        frame = self.rows("predictor")
        for ending, part in (("", "test"), ("_trained", "train")):
            by_seed = [filtered(one, part) for one in says.values()]
            self.same(frame, by_seed, int((part == hearsay.PART).sum()), ending)
        counts = [int(one["kept"].sum()) for one in says.values()]
        assert frame.loc["kept", "mean"] == np.mean(counts)
        assert frame.loc["kept", ["n", "ci_low", "ci_high", "published"]].isna().all()

    @pytest.mark.parametrize(
        ("source", "known", "items"),
        [("caption", True, 24), ("caption", False, 48), ("image", True, 48)],
    )
    def test_captions_that_describe_their_class_and_all_images(self, tells, source, known, items):
        says = {seed: hearsay.classified(0.6, seed, source) for seed in (0, 5)}
        for seed, one in says.items():
            tells("downstream_kept@x", seed, says=one, known=known)
        frame = self.rows("downstream_kept@x")
        assert list(frame.index) == ["accuracy", "macro_f1"]
        mine = TRUTH if items == 24 else slice(None)
        self.same(frame, [classified(one, mine) for one in says.values()], items)

    def test_what_was_published_and_unknown_truth(self, ran):
        results = ran(
            *("predictor", "predictor@captions_alone", "tfidf"),
            dataset="imagenet_captions",
            known=False,
        )
        frame = summary(results)
        assert set(frame["metric"]) == {"kept"}
        assert results.relevant is None
        rows = frame.dropna(subset=["published"])
        assert rows[["model", "variant", "published"]].to_numpy().tolist() == [
            ["predictor", "", 28610]
        ]

    def test_systems_in_order_and_other_captions(self, tells):
        names = ["name_match", "tfidf", "predictor", "predictor@b", "downstream_all"]
        names += ["downstream_weighted", "downstream_all@image"]
        assert sorted(sorted(names), key=place) == names
        for system in ("tfidf", "predictor"):
            file = tells(system, says=hearsay.led(1.0)) / "predictions.parquet"
        frame = pd.read_parquet(file)
        frame.assign(id="other_" + frame["id"]).to_parquet(file)
        assert "runs were tested on different captions; delete those" in refused(read, "made_up")
        assert "no evaluated run" in refused(read, "nowhere")


class TestPairedTests:
    def same(self, second, metric, gap, samples):
        rows = paired_tests(read("made_up"))
        (row,) = rows[(rows["second"] == second) & (rows["metric"] == metric)].to_dict("records")
        assert (row["test"], row["seeds"]) == (BOOTSTRAP, 2)
        assert row["difference"] == pytest.approx(gap)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(bootstrap.interval(samples))
        assert row["p"] == pytest.approx(bootstrap.bootstrap_p(samples))

    def test_filters_against_filters_and_classifiers_against_those_of_equal_steps(self, ran):
        rows = paired_tests(
            ran(
                *("predictor", "predictor@captions_alone", "tfidf"),
                *("downstream_all", "downstream_kept", "downstream_weighted"),
                *("downstream_all@quarter", "downstream_weighted@quarter"),
                "downstream_kept@image",
            )
        )
        pairs = list(dict.fromkeys(zip(rows["first"], rows["second"], strict=True)))
        assert pairs == [
            ("tfidf", "predictor"),
            ("tfidf", "predictor@captions_alone"),
            ("predictor", "predictor@captions_alone"),
            ("downstream_all", "downstream_kept"),
            ("downstream_all", "downstream_weighted"),
            ("downstream_kept", "downstream_weighted"),
            ("downstream_all@quarter", "downstream_weighted@quarter"),
        ]
        # neither kept nor captions of training are tested
        assert set(rows["metric"][:4]) == {"precision", "recall", "rejected", "auc"}

    def test_what_some_test_sets_leave_undefined_is_not_compared(self, tells):
        probability = np.full(len(hearsay.IDS), 0.1)
        probability[hearsay.place("n0", 12)] = 0.9  # most resamples hold it, others keep nothing
        tells("tfidf", says=hearsay.led(1.0))
        tells("predictor", says=hearsay.of_probability(probability))
        assert paired_tests(read("made_up"))["metric"].tolist() == ["recall", "rejected", "auc"]

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
        self.same("downstream_weighted", "accuracy", gaps.mean(), samples)

    def test_a_baseline_stands_against_every_seed(self, tells):
        plain, trained = hearsay.led(0.5), {s: hearsay.predicted(2.0, s) for s in (3, 5)}
        tells("tfidf", 0, says=plain)
        for seed, one in trained.items():
            tells("predictor", seed, says=one)
        areas = [filtered(one, "test")["auc"] for one in (plain, *trained.values())]
        samples = bootstrap.bootstrap(lambda k, seed: areas[1 + seed](k) - areas[0](k), 48, 2)
        every = np.arange(48)
        gap = np.mean([areas[1](every), areas[2](every)]) - areas[0](every)
        self.same("predictor", "auc", gap, samples)


def one_test(first, second, metric, interval, seeds=3):
    low, high = interval
    return {
        **{"first": first, "second": second, "metric": metric, "test": BOOTSTRAP, "seeds": seeds},
        **{"difference": (low + high) / 2, "ci_low": low, "ci_high": high, "p": 0.04},
    }


def table_of(*rows):
    return pd.DataFrame(rows, columns=list(one_test("", "", "", UP)))


def verdicts(dataset="made_up"):
    results = read(dataset)
    claims = ledger(results, paired_tests(results), summary(results))
    return {claim.id: claim for claim in claims}


class TestFilterClaim:
    def judge(self, results, recall, rejected, *tests):
        intervals = {"recall": recall, "rejected": rejected, "precision": LOW}
        rows = [
            {"model": "predictor", "n_seeds": 3, "variant": variant, "metric": metric}
            | {"mean": (low + high) / 2, "ci_low": low, "ci_high": high}
            # a variant does not decide
            for variant, given in (("other", dict.fromkeys(intervals, MIDDLE)), ("", intervals))
            for metric, (low, high) in given.items()
        ]
        return report.filter_claim(results, table_of(*tests), pd.DataFrame(rows))

    @pytest.mark.parametrize(
        ("recall", "rejected", "word"),
        [
            (HIGH, HIGH, "holds"),
            (HIGH, LOW, "does not hold"),
            (MIDDLE, LOW, "does not hold"),
            (MIDDLE, HIGH, "inconclusive"),
            (HIGH, MIDDLE, "inconclusive"),
        ],
    )
    def test_both_kinds_on_their_side_of_a_half(self, ran, recall, rejected, word):
        claim = self.judge(ran("predictor"), recall, rejected)
        assert (claim.id, claim.verdict) == ("F1", f"{word} (3 seeds)")
        assert claim.figure.endswith("precision 0.300 [0.200, 0.400]")

    def test_how_it_stands_beside_baselines_is_said(self, ran):
        tests = (
            one_test("name_match", "predictor", "auc", UP),
            one_test("tfidf", "predictor", "auc", BOTH),
            # in the table the difference may be the other way round
            one_test("predictor", "clip", "auc", UP),
        )
        claim = self.judge(ran("predictor", "name_match", "tfidf", "clip"), HIGH, HIGH, *tests)
        assert claim.verdict == (
            "holds (3 seeds, AUC above name_match, AUC not told from tfidf, AUC below clip)"
        )
        assert "AUC predictor − clip −0.040 [−0.050, −0.030]" in claim.figure


class TestWeightingClaim:
    def judge(self, results, better, faster=(), backwards=False):
        """`better` and `faster` give the interval over each control."""
        rows = []
        for ending, intervals in (("", better), ("@quarter", faster)):
            for control, (low, high) in zip(CONTROLS, intervals, strict=bool(intervals)):
                pair, ends = (control, "downstream_weighted"), (low, high)
                if backwards:
                    pair, ends = pair[::-1], (-high, -low)
                rows.append(one_test(*(one + ending for one in pair), "accuracy", ends))
        return report.weighting_claim(results, table_of(*rows))

    @pytest.mark.parametrize("backwards", [False, True])
    @pytest.mark.parametrize(
        ("better", "faster", "verdict"),
        [
            ((UP, UP, UP), (UP, UP, UP), "holds (3 seeds, better, faster)"),
            ((UP, UP, UP), (DOWN, DOWN, DOWN), "holds (3 seeds, better)"),
            ((BOTH, UP, DOWN), (UP, UP, UP), "holds (3 seeds, faster)"),
            ((UP, UP, BOTH), (UP, BOTH, UP), "inconclusive (3 seeds)"),
            ((UP, UP, DOWN), (DOWN, UP, UP), "does not hold (3 seeds)"),
            ((UP, DOWN, UP), (), "does not hold (3 seeds)"),  # no test of pace
        ],
    )
    def test_better_or_faster_than_every_control(self, ran, better, faster, verdict, backwards):
        claim = self.judge(ran(*CLASSIFIERS, *QUARTERS), better, faster, backwards)
        assert (claim.id, claim.verdict) == ("F2", verdict)
        assert ("faster" in claim.figure) == bool(faster)

    def test_what_cannot_be_tested(self, tells, ran):
        results = ran(*CONTROLS)
        claim = report.weighting_claim(results, table_of())
        assert claim.verdict == "not tested here: no run of downstream_weighted"
        tells("downstream_weighted", 1, says=hearsay.classified(0.5))
        assert verdicts()["F2"].verdict == "not tested here: the systems have no seed in common"

    def test_where_truth_is_unknown_all_captions_are_tested(self, ran):
        claim = self.judge(ran(*CLASSIFIERS, known=False), (UP, UP, UP))
        assert claim.verdict == (
            "holds (3 seeds, better, tested on the class of the image, described or not)"
        )


class TestSentenceClaim:
    SYSTEMS = ("predictor", "predictor@captions_alone")

    @pytest.mark.parametrize(
        ("interval", "word"), [(UP, "holds"), (DOWN, "does not hold"), (BOTH, "inconclusive")]
    )
    def test_area_decides(self, ran, interval, word):
        low, high = interval
        tests = table_of(
            one_test(*self.SYSTEMS, "auc", (-high, -low)),
            # what speaks the other way does not matter
            one_test(*self.SYSTEMS, "precision", (low, high)),
        )
        claim = report.sentence_claim(ran(*self.SYSTEMS), tests)
        assert (claim.id, claim.verdict) == ("F3", f"{word} (3 seeds)")
        assert "; precision predictor − predictor@captions_alone " in claim.figure

    def test_what_cannot_be_tested(self, tells):
        for seed, system in enumerate(self.SYSTEMS):
            tells(system, seed, says=hearsay.predicted(1.0))
        assert verdicts()["F3"].verdict == "not tested here: the systems have no seed in common"
        for system in self.SYSTEMS:  # captions of one kind have no area
            for seed in (2, 3):
                file = tells(system, seed, says=hearsay.predicted(1.0)) / "predictions.parquet"
        for other in file.parents[2].glob("*/*/predictions.parquet"):
            frame = pd.read_parquet(other)
            frame.assign(relevant=frame["relevant"] | True).to_parquet(other)
        assert verdicts()["F3"].verdict == "not tested here: too few captions of one kind"
        assert verdicts()["F1"].figure.count("undefined") == 1


class TestFiles:
    @pytest.fixture
    def everything(self, sandbox, tells):
        """Runs of all kinds on a drawn dataset, the predictor surest of a hostile caption."""
        texts = [*hearsay.TEXTS]
        # the published file holds HTML: what a reader sees as a tag is written with entities
        texts[hearsay.place("n0", 12)] = html.escape(HOSTILE)
        hearsay.publish(sandbox / "data", texts)
        for seed in (0, 1):
            probability = hearsay.predicted(9.0, seed)["probability"]
            probability[hearsay.place("n0", 12)] = 0.9999
            tells("predictor", seed, says=hearsay.of_probability(probability), dataset="demo")
        tells("predictor@captions_alone", says=hearsay.predicted(0.0, 3), dataset="demo")
        tells("tfidf", says=hearsay.led(1.0), dataset="demo")
        for seed, system in enumerate(CLASSIFIERS):
            right = 1.0 if system == "downstream_weighted" else 0.5
            tells(system, says=hearsay.classified(right, seed), dataset="demo")
        return read("demo")

    def write(self, results):
        frame, tests = summary(results), paired_tests(results)
        claims = ledger(results, tests, frame)
        folder = paths.reports() / results.dataset
        report.write(results, frame, tests, claims)
        return folder, frame, tests, claims

    def test_tables_claims_and_entry(self, everything):
        folder, frame, _, claims = self.write(everything)
        assert {file.relative_to(folder).as_posix() for file in folder.rglob("*.*")} == {
            *(f"relevance{end}" for end in (".csv", "_tests.csv", ".md", ".tex", ".json")),
            "claims/relevance.md",
        }
        assert {claim.id: claim.verdict for claim in claims} == {
            "F1": "holds (2 seeds, synthetic, AUC above tfidf)",
            "F2": "holds (one seed, synthetic, better)",
            "F3": "holds (one seed, synthetic)",
        }
        entry = json.loads((folder / "relevance.json").read_text())
        mean = frame.query("model == 'predictor' and metric == 'kept' and variant == ''")["mean"]
        kept = f"the predictor keeps {mean.item():,.0f} of 120 captions"
        assert f"7 systems, 48 test captions; {kept}. Of the paper's 3 claims 3" in entry["lead"]
        assert [row[0] for row in entry["table"]["data"]] == [*everything.filters]
        for name in ("relevance.md", "claims/relevance.md"):
            reported.markdown_tables_are_whole((folder / name).read_text())
        reported.latex_is_whole((folder / "relevance.tex").read_text())
        before = {file: file.read_bytes() for file in folder.rglob("*.*")}
        self.write(read("demo"))
        assert {file: file.read_bytes() for file in folder.rglob("*.*")} == before

    def test_what_the_notebook_shows(self, everything):
        frame, tests = summary(everything), paired_tests(everything)
        held_out = report.scores(frame, everything.filters, figures.FILTER).html
        trained = report.scores(frame, everything.filters, figures.TRAINED).html
        assert ("kept" in held_out, "kept" in trained) == (True, False)
        assert all(name in trained for name in everything.filters)
        first, second = report.differences(everything, tests)
        assert ("AUC" in first.text, "AUC" in second.text) == (True, False)
        assert ("accuracy" in first.text, "accuracy" in second.text) == (False, True)
        assert len(list(report.curves(everything))) == 2
        assert "tfidf" not in report.cost(everything).text
        captions, shares = report.captions(everything)
        assert "&lt;script&gt;" in captions.html
        assert not {"<script", "<img"} & {*captions.html.split()}
        assert "grey cow" in shares.text
        steps = report.funnel(everything).axes[0].get_yticklabels()
        assert steps[0].get_text() == "found"
        assert "STUDY=relevance SEEDS=0,1 MODEL=predictor" in report.origin(everything).text

    @pytest.mark.parametrize("known", [True, False])
    @pytest.mark.parametrize("system", ["tfidf", "predictor", "downstream_all"])
    def test_one_system_alone(self, sandbox, ran, system, known):
        hearsay.publish(sandbox / "data")
        results = ran(system, known=known)
        folder, frame, tests, _ = self.write(results)
        assert "1 system, 48 test captions" in (folder / "relevance.json").read_text()
        assert (report.UNKNOWN in report.note(results)) == (not known)
        assert list(report.differences(results, tests)) == []
        filters = report.scores(frame, results.filters, figures.FILTER)
        assert (filters is None) == (system == "downstream_all")
        assert (report.funnel(results) is None) == (system != "predictor")
        assert (report.cost(results) is None) == (system == "tfidf")
        assert len(list(report.captions(results))) == 2 * (system == "predictor")
        for file in folder.rglob("*.*"):
            assert "nan" not in file.read_text().replace("\n", " ").split(" ")
