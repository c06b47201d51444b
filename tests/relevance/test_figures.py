"""Tables and figures that notebooks and reports show, from runs and captions of known content."""

import json

import datasets
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sklearn

import hearsay
from studies.relevance import figures
from studies.relevance.captions import NO_CLASS, NO_TEXT, ONE_WORD, TWICE, features
from studies.relevance.data import Collection
from studies.relevance.evaluate import about
from studies.relevance.figures import FOUND, KEPT, USABLE
from studies.relevance.filter import BELOW_MEAN
from studies.reporting.plots import style
from studies.runs.folder import LoadedRun, load_run

pytest_plugins = ["captions_made"]

LOW = "its class is less probable than 0.5"


def labels(figure, axis="x"):
    return [getattr(one, f"get_{axis}label")().replace("\n", " ") for one in figure.axes]


def collection(texts=hearsay.TEXTS, wnids=hearsay.CLASS, reasons=None):
    """Captions of the six classes of `hearsay`, each with two sentences."""
    columns = {
        "image": hearsay.IDS[: len(texts)],
        "wnid": list(wnids),
        "text": texts,
        "relevant": [None] * len(texts),
        "reason": reasons or [""] * len(texts),
    }
    names = list(hearsay.NAMES.values())
    sentences = [[f"A {name}.", f"The {name} naps."] for name in names]
    table = datasets.Dataset.from_dict(columns, features())
    return Collection(table, hearsay.WNIDS, names, names, sentences, None)


class TestFunnel:
    def test_every_step_says_what_it_drops_and_leaves(self, tmp_path):
        found = [TWICE, "", NO_TEXT, NO_CLASS, "", "", NO_TEXT, "", "", ONE_WORD, ""]
        texts = hearsay.TEXTS[: len(found)]
        captions = collection(texts, ["n0"] * len(found), reasons=found)
        (tmp_path / "items.json").write_text(json.dumps(about(captions)))
        filtered = ["", LOW, BELOW_MEAN, "", LOW, LOW]
        pd.DataFrame({"reason": filtered}).to_parquet(tmp_path / "predictions.parquet")
        steps = figures.funnel(LoadedRun(tmp_path, {}))
        assert list(steps.itertuples(index=False, name=None)) == [
            (FOUND, 11, 11),
            (NO_CLASS, 1, 10),
            (NO_TEXT, 2, 8),
            (ONE_WORD, 1, 7),
            (TWICE, 1, 6),
            (USABLE, 6, 6),
            (BELOW_MEAN, 1, 5),
            (LOW, 3, 2),
            (KEPT, 2, 2),
        ]


class TestThresholds:
    def test_the_one_of_validation_by_every_threshold(self, tells):
        runs, wanted = [], []
        for seed in (0, 1):
            says = hearsay.predicted(2.0, seed)
            says["reason"][:3] = says["reason"][-3:] = BELOW_MEAN
            says["kept"] &= says["reason"] != BELOW_MEAN
            runs.append(load_run(tells("predictor", seed, says=says)))
            score = np.where(says["reason"] == BELOW_MEAN, -1, says["probability"])

            def youden(part, threshold, score=score):
                truth = hearsay.RELEVANT[part == hearsay.PART]
                kept = score[part == hearsay.PART] >= threshold
                return sklearn.balanced_accuracy_score(truth, kept) * 2 - 1

            best = max(figures.THRESHOLDS, key=lambda one: youden("validation", one))
            # the threshold of these runs' parameters is 0.05
            linear = np.where(score > 0.9, 1, (score - 0.05) / 0.85) * (score >= 0.05)
            shares = [
                np.average(hearsay.RELEVANT[hearsay.TEST], weights=one[hearsay.TEST])
                for one in (score >= 0.5, linear, linear**2)
            ]
            both = youden("validation", best), youden("test", best), youden("test", 0.5)
            wanted.append([best, *both, *shares])
        others = [load_run(tells("tfidf", says=hearsay.led(1.0)))]
        figure, table = figures.thresholds({"predictor": runs, "tfidf": others})
        assert labels(figure, "y") == ["J on validation", "J on test"]
        (row,) = (line for line in table.text.split("\n") if line[:2] == "| " and "0." in line)
        system, *found = row.strip("| ").split(" | ")
        assert system == "predictor"
        del found[6]  # by rank
        assert [*map(float, found)] == pytest.approx(list(np.mean(wanted, axis=0)), abs=5e-4)
        unknown = tells("predictor@unknown", says=says, known=False)
        assert figures.thresholds({"predictor@unknown": [load_run(unknown)]}) == []


class TestCurves:
    def test_precision_and_recall_at_every_threshold(self, tells):
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
            rates = (sklearn.recall_score, sklearn.precision_score)
            every = {tuple(np.round(rate(truth, score >= t), 9) for rate in rates) for t in score}
            points = {tuple(np.round(point, 9)) for point in line.get_xydata()}
            assert points <= every
            assert {recall for recall, _ in points} == {recall for recall, _ in every}
