"""The tidy table, on runs written by hand: every interval by drawing captions and scoring them."""

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn

import hearsay
from sentences import refused
from studies.relevance.results import place, read, summary
from studies.reporting import bootstrap

pytest_plugins = ["captions_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

RATES = ("precision", "recall", "rejected", "auc")


def rows(system, dataset="made_up"):
    frame = summary(read(dataset))
    model, _, variant = system.partition("@")
    mine = frame[(frame["model"] == model) & (frame["variant"] == variant)]
    return mine.set_index("metric")


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


def same(frame, by_seed, items, ending=""):
    """The rows are the means over seeds and what `statistics.bootstrap` draws."""
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


class TestFilters:
    @pytest.mark.parametrize("seeds", [[0], [1, 3, 7]])
    def test_values_and_intervals(self, tells, seeds):
        says = {seed: hearsay.predicted(1.5, seed) for seed in seeds}
        for seed, one in says.items():
            tells("predictor", seed, says=one)
        frame = rows("predictor")
        for ending, part in (("", "test"), ("_trained", "train")):
            by_seed = [filtered(one, part) for one in says.values()]
            same(frame, by_seed, int((part == hearsay.PART).sum()), ending)
        assert frame["published"].isna().all()

    def test_a_baseline_is_scored_by_its_lead(self, tells):
        says = hearsay.led(2.0)
        tells("tfidf", says=says)
        same(rows("tfidf"), [filtered(says, "test")], 48)

    def test_kept_counts_all_captions_and_has_no_interval(self, tells):
        says = {seed: hearsay.predicted(1.0, seed) for seed in (0, 2)}
        for seed, one in says.items():
            tells("predictor", seed, says=one)
        counts = [int(one["kept"].sum()) for one in says.values()]
        row = rows("predictor").loc["kept"]
        assert row["mean"] == np.mean(counts)
        assert row["std"] == pytest.approx(np.std(counts, ddof=1))
        assert row[["n", "ci_low", "ci_high"]].isna().all()

    def test_where_truth_is_unknown_only_kept_is_left(self, tells):
        tells("predictor", says=hearsay.predicted(1.0), known=False)
        assert list(rows("predictor").index) == ["kept"]
        assert read("made_up").relevant is None


class TestClassifiers:
    @pytest.mark.parametrize(
        ("read_", "known", "items"),
        [("caption", True, 24), ("caption", False, 48), ("image", True, 48), ("image", False, 48)],
    )
    def test_captions_that_describe_their_class_and_all_images(self, tells, read_, known, items):
        says = {seed: hearsay.classified(0.6, seed, read_) for seed in (0, 5)}
        for seed, one in says.items():
            tells("downstream_kept@x", seed, says=one, known=known)
        frame = rows("downstream_kept@x")
        assert list(frame.index) == ["accuracy", "macro_f1"]
        mine = hearsay.RELEVANT[hearsay.TEST] if items == 24 else slice(None)
        same(frame, [classified(one, mine) for one in says.values()], items)


class TestPublished:
    @pytest.mark.parametrize("dataset", ["imagenet_captions", "imagenet_captions_images"])
    def test_of_the_predictor_on_the_published_captions(self, tells, dataset):
        for system in ("predictor", "predictor@captions_alone"):
            tells(system, says=hearsay.predicted(1.0), dataset=dataset, known=False)
        tells("tfidf", says=hearsay.led(1.0), dataset=dataset, known=False)
        frame = summary(read(dataset)).dropna(subset=["published"])
        assert frame[["model", "variant", "metric", "published"]].to_numpy().tolist() == [
            ["predictor", "", "kept", 28610.0]
        ]

    @pytest.mark.parametrize("dataset", ["demo", "made_up", "imagenet_captions_small"])
    def test_other_captions_have_nothing_published(self, tells, dataset):
        tells("predictor", says=hearsay.predicted(1.0), dataset=dataset)
        assert summary(read(dataset))["published"].isna().all()


class TestRead:
    FILTERS = ("name_match", "tfidf", "clip", "predictor", "predictor@captions_alone")
    CLASSIFIERS = (
        *("downstream_all", "downstream_random", "downstream_kept", "downstream_weighted"),
        *("downstream_all@image", "downstream_kept@image", "downstream_all@quarter"),
    )

    def test_the_order_of_systems(self, tells):
        for system in reversed(self.CLASSIFIERS):
            tells(system, says=hearsay.classified(0.5))
        for system in self.FILTERS:
            tells(system, says=hearsay.led(1.0))
        results = read("made_up")
        assert results.dataset == "made_up"
        assert list(results.systems) == [*self.FILTERS, *self.CLASSIFIERS]
        assert list(results.filters) == [*self.FILTERS]
        assert list(results.downstream) == [*self.CLASSIFIERS]
        assert list(results.trained) == [*self.FILTERS[3:], *self.CLASSIFIERS]
        assert (results.test, results.captions, len(results.runs)) == (48, 120, 12)
        frame = summary(results)
        assert list(dict.fromkeys(frame["model"])) == [
            one for one in results.systems if "@" not in one
        ]

    def test_unknown_models_come_last_of_their_kind(self):
        names = ["name_match", "aardvark", "zebra", "aardvark@x"]
        names += ["downstream_weighted", "downstream_b", "downstream_all@image"]
        assert sorted(set(names), key=place) == names

    @pytest.mark.parametrize(
        ("system", "says"),
        [("predictor", hearsay.predicted(1.0)), ("downstream_all", hearsay.classified(0.5))],
    )
    def test_the_share_that_describes_its_class(self, tells, system, says):
        file = tells(system, says=says) / "predictions.parquet"
        frame = pd.read_parquet(file)
        test = frame.index[frame["part"] == "test"]
        frame.loc[test[:10], "relevant"] = pd.NA
        frame.to_parquet(file)
        known = hearsay.RELEVANT[hearsay.TEST][10:]
        assert read("made_up").relevant == pytest.approx(known.mean())

    def test_no_run(self, sandbox):
        message = refused(read, "made_up")
        assert str(sandbox / "root" / "runs" / "made_up" / "relevance") in message
        assert "run `make study DATASET=made_up STUDY=relevance` first" in message

    @pytest.mark.parametrize(
        ("systems", "says"),
        [
            (("tfidf", "predictor"), hearsay.led(1.0)),
            (("downstream_all", "downstream_kept"), hearsay.classified(0.5)),
        ],
    )
    def test_other_captions(self, tells, systems, says):
        for system in systems:
            folder = tells(system, says=says)
        file = folder / "predictions.parquet"
        frame = pd.read_parquet(file)
        frame.assign(id="other_" + frame["id"]).to_parquet(file)
        assert "runs were tested on different captions; delete those" in refused(read, "made_up")
