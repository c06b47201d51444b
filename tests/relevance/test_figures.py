"""Tables and figures that notebooks and reports show, from runs and captions of known content."""

import datasets
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn

import hearsay
from studies.relevance import figures
from studies.relevance.comparisons import paired_tests
from studies.relevance.data import Collection
from studies.relevance.results import read, summary
from studies.relevance.table import FEATURES
from studies.reporting.plots import style
from studies.runs.folder import load_run

pytest_plugins = ["captions_made"]

FILTER_LABELS = [f"{name} (0–1)" for name in ("precision", "recall", "rejected", "AUC")]


def labels(figure, axis="x"):
    return [getattr(one, f"get_{axis}label")().replace("\n", " ") for one in figure.axes]


def cells(table):
    return table.astype(str).to_numpy().tolist()


class TestDataset:
    @pytest.fixture
    def collection(self):
        """Return a function: the truth of five captions -> a collection of two classes."""

        def make(relevant):
            rows = [
                {"image": f"{k}.png", "wnid": wnid, "text": f"text {k}", "relevant": true}
                | {"reason": ""}
                for k, (wnid, true) in enumerate(
                    zip(("a", "a", "b", "b", "a"), relevant, strict=True)
                )
            ]
            table = datasets.Dataset.from_list(rows, FEATURES)
            sentences = [["A cat.", "It purrs."], ["A dog.", "It barks.", "It runs."]]
            return Collection(table, ["a", "b"], ["cat", "dog"], ["", ""], sentences, None)

        return make

    def test_overview_counts_by_part(self, collection):
        parts = np.array(["train", "test", "train", "train", "validation"])
        table = figures.overview(collection([True, False, False, None, None]), parts)
        assert list(table.columns) == [
            *("part", "captions", "classes", "examples", "describe their class")
        ]
        assert cells(table) == [
            ["train", "3", "2", "8", "50%"],
            ["validation", "1", "1", "2", "unknown"],
            ["test", "1", "1", "2", "0%"],
        ]

    def test_a_sample_is_from_all_over(self, collection):
        found = collection([True, False, False, None, None])
        assert cells(figures.sample(found, 3)) == [
            ["cat", "text 0", "yes"],
            ["dog", "text 2", "no"],
            ["cat", "text 4", "unknown"],
        ]

    def test_examples_have_a_sentence_of_their_class(self, collection):
        found = collection([None] * 5)
        table = figures.examples(found, 12)  # all there are
        own = {"cat": {"A cat.", "It purrs."}, "dog": {"A dog.", "It barks.", "It runs."}}
        classes = dict(
            zip(found.captions["text"], ("cat", "cat", "dog", "dog", "cat"), strict=True)
        )
        assert {tuple(row) for row in cells(table)} == {
            (name, text, sentence) for text, name in classes.items() for sentence in own[name]
        }
        assert cells(figures.examples(found, 2))[0] == cells(table)[0]


class TestTables:
    def test_scores_of_a_run(self, tells):
        found = {"precision": 0.25, "auc": 1 / 3, "recall_trained": 0.9, "kept": 28610}
        table = figures.score_table(
            load_run(tells("predictor@x", says=hearsay.predicted(1.0), found=found))
        )
        assert list(table.columns) == ["metric", "predictor@x"]
        assert cells(table) == [["precision", "0.250"], ["AUC", "0.333"], ["kept", "28,610"]]
        found = {"accuracy": 1.0, "macro_f1": 0.0}
        table = figures.score_table(
            load_run(tells("downstream_all", says=hearsay.classified(1.0), found=found))
        )
        assert cells(table) == [["accuracy", "1.000"], ["macro-F1", "0.000"]]

    @pytest.mark.usefixtures("few_resamples")
    def test_paired_tests_are_one_row_a_pair(self, tells):
        tells("tfidf", says=hearsay.led(0.5))
        tells("predictor", says=hearsay.predicted(3.0))
        for system in ("downstream_all", "downstream_kept"):
            tells(system, says=hearsay.classified(0.5))
        tests = paired_tests(read("made_up"))
        for axes, pair in (
            (figures.FILTER_AXES, "predictor − tfidf"),
            (figures.DOWNSTREAM_AXES, "downstream_kept − downstream_all"),
        ):
            table = figures.test_table(tests, axes)
            assert table["difference"].tolist() == [pair]
            names = [{**figures.FILTER, **figures.DOWNSTREAM}[metric] for metric in axes]
            wanted = [cell for name in names for cell in (name, f"p ({name})")]
            assert list(table.columns) == ["difference", *wanted]

    def test_cost_of_several_seeds(self, tells):
        runs = [
            load_run(tells("downstream_kept", seed, says=hearsay.classified(0.5), facts=facts))
            for seed, facts in (
                (0, {"seconds": 60.0, "trained_on": 1234}),
                (4, {"seconds": 7260.0, "best_epoch": 12}),
            )
        ]
        row = figures.cost({"downstream_kept": runs}).iloc[0]
        assert row["captions trained on"] == "1,234"
        assert (row["training time"], row["epoch kept"], row["seeds"]) == (
            "61 min",
            "2, 12",
            "0, 4",
        )

    def test_without_a_choice_all_training_captions_are_trained_on(self):
        assert figures.trained_on({"captions": {"train": 60, "test": 48}}) == 60


class TestDrawn:
    @pytest.mark.usefixtures("few_resamples")
    def test_metrics_that_the_frame_has(self, tells):
        tells("predictor", says=hearsay.predicted(1.0))
        tells("downstream_all", says=hearsay.classified(0.5))
        frame = summary(read("made_up"))
        filters = frame[frame["model"] == "predictor"]
        assert labels(figures.filter_figure(filters)) == FILTER_LABELS
        assert figures.downstream_figure(filters) is None
        others = frame[frame["model"] == "downstream_all"]
        assert labels(figures.downstream_figure(others)) == ["accuracy (0–1)", "macro-F1 (0–1)"]
        assert figures.filter_figure(others) is None

    @pytest.mark.usefixtures("few_resamples")
    def test_where_truth_is_unknown_there_is_nothing_to_draw(self, tells):
        tells("predictor", says=hearsay.predicted(1.0), known=False)
        assert figures.filter_figure(summary(read("made_up"))) is None

    def test_curves_against_the_step(self, tells):
        run = load_run(tells("predictor", says=hearsay.predicted(1.0)))
        figure = figures.curves({"predictor": [run]})
        assert labels(figure) == ["step", "step"]
        assert labels(figure, "y") == ["training loss (nats)", "validation accuracy (0–1)"]
        lines = [axis.get_lines()[0].get_xydata().tolist() for axis in figure.axes]
        assert lines == [[[10, 0.5], [20, 0.3]], [[10, 0.3], [20, 0.5]]]
        assert figures.curves({}) is None


class TestPrecisionRecall:
    def test_every_threshold_of_held_out_captions(self, tells):
        says = {"tfidf": hearsay.led(1.0), "predictor": hearsay.predicted(2.0)}
        filters = {system: [load_run(tells(system, says=one))] for system, one in says.items()}
        # the curve is of the first seed
        filters["predictor"].append(load_run(tells("predictor", 1, says=hearsay.predicted(9.0))))
        figure = figures.precision_recall(filters)
        assert (labels(figure), labels(figure, "y")) == (["recall (0–1)"], ["precision (0–1)"])
        truth = hearsay.RELEVANT[hearsay.TEST]
        (axis,) = figure.axes
        for line, (system, one) in zip(axis.get_lines(), says.items(), strict=True):
            assert line.get_color() == style(system).colour
            score = one["lead" if system == "tfidf" else "probability"][hearsay.TEST]
            every = {
                (
                    sklearn.recall_score(truth, score >= t),
                    sklearn.precision_score(truth, score >= t),
                )
                for t in score
            }
            points = line.get_xydata()
            assert {tuple(np.round(point, 9)) for point in points} <= {
                tuple(np.round(point, 9)) for point in every
            }
            assert sorted(set(points[:, 0])) == pytest.approx(
                sorted({recall for recall, _ in every})
            )

    def test_unknown_truth(self, tells):
        known = load_run(tells("tfidf", says=hearsay.led(1.0)))
        unknown = load_run(tells("predictor", says=hearsay.predicted(1.0), known=False))
        assert figures.precision_recall({"predictor": [unknown]}) is None
        assert figures.precision_recall({}) is None
        both = figures.precision_recall({"predictor": [unknown], "tfidf": [known]})
        assert len(both.axes[0].get_lines()) == 1


class TestFunnel:
    STEPS = ("found", "it costs $5 or $6", "usable", "kept")

    @pytest.mark.parametrize("left", [[123456, 5000, 5000, 70], [3, 0, 0, 0]])
    def test_a_bar_a_step_from_top_to_bottom(self, left):
        steps = pd.DataFrame({"step": self.STEPS, "captions": 1, "left": left})
        (axis,) = figures.funnel_figure(steps).axes
        assert [bar.get_width() for bar in axis.patches] == left
        assert [text.get_text().strip() for text in axis.texts] == [f"{one:,}" for one in left]
        # dollars are no mathematics
        names = [label.get_text().replace("\\", "") for label in axis.get_yticklabels()]
        assert names == [*self.STEPS]
        low, high = axis.get_ylim()
        assert low > high
        assert axis.get_xlim()[1] > max(left)
        assert labels(axis.figure) == ["captions left (number)"]
