"""Scores against scikit-learn: weights are its sample weights, or items that are repeated."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sklearn

from studies.relevance.metrics import class_metrics, filter_metrics, scored_items, scores

CLASSES = np.array(["ape", "bee", "cat", "dog"])


@st.composite
def filtered(draw):
    """Kept, scores with many ties, truth, and how often two test sets hold each item."""
    n = draw(st.integers(1, 12))
    kept, relevant = (draw(arrays(bool, n)) for _ in range(2))
    score = draw(arrays(np.int64, n, elements=st.integers(0, 5))) / 5
    return kept, score, relevant, draw(arrays(np.int64, (2, n), elements=st.integers(0, 3)))


def same(found, wanted):
    assert found == pytest.approx(wanted, nan_ok=True)


class TestFilter:
    @given(filtered())
    def test_rates_and_area(self, case):
        kept, score, relevant, weights = case
        found = {name: metric(weights) for name, metric in filter_metrics(*case[:3]).items()}
        assert set(found) == {"precision", "recall", "rejected", "youden", "auc"}
        for row, weight in enumerate(weights):
            given_ = {"sample_weight": weight, "zero_division": np.nan}
            held = weight > 0
            some = held.any()  # scikit-learn refuses what holds nothing
            wanted = {
                "precision": sklearn.precision_score(relevant, kept, **given_) if some else np.nan,
                "recall": sklearn.recall_score(relevant, kept, **given_) if some else np.nan,
                "rejected": sklearn.recall_score(~relevant, ~kept, **given_) if some else np.nan,
                "auc": np.nan,
            }
            wanted["youden"] = wanted["recall"] + wanted["rejected"] - 1
            if len(np.unique(relevant[held])) == 2:
                wanted["auc"] = sklearn.roc_auc_score(relevant, score, sample_weight=weight)
            for name, value in wanted.items():
                same(found[name][row], value)


class TestClassifier:
    @given(st.integers(1, 12).flatmap(lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 3)),
        arrays(np.int64, n, elements=st.integers(0, 3)),
        arrays(np.int64, (2, n), elements=st.integers(0, 3)),
    )))  # fmt: skip
    def test_repeated_items(self, case):
        said, true, weights = CLASSES[case[0]], CLASSES[case[1]], case[2]
        found = {name: metric(weights) for name, metric in class_metrics(said, true).items()}
        assert set(found) == {"accuracy", "macro_f1"}
        for row, times in enumerate(weights):
            items = np.repeat(np.arange(len(true)), times)
            if not len(items):
                assert math.isnan(found["accuracy"][row])
                assert math.isnan(found["macro_f1"][row])
                continue
            same(found["accuracy"][row], sklearn.accuracy_score(true[items], said[items]))
            labels = np.unique(true[items])  # classes of the truth
            given_ = {"labels": labels, "average": "macro", "zero_division": 0}
            same(found["macro_f1"][row], sklearn.f1_score(true[items], said[items], **given_))


def frame(**columns):
    given_ = pd.DataFrame(columns)
    return given_.assign(relevant=pd.array(columns["relevant"], dtype="boolean"))


class TestRun:
    def test_a_filter_is_scored_apart_on_what_it_was_trained_on(self):
        predictions = frame(
            part=["train", "train", "validation", "test", "test", "test"],
            relevant=[True, False, False, True, False, None],
            kept=[True, True, True, True, False, True],
            probability=[0.8, 0.7, 0.1, 0.3, 0.6, 0.9],
        )
        items = {ending: list(one.index) for ending, one in scored_items(predictions).items()}
        assert items == {"": [3, 4], "_trained": [0, 1]}
        assert scores(predictions) == {
            **{"precision": 1.0, "recall": 1.0, "rejected": 1.0, "youden": 1.0, "auc": 0.0},
            **{"precision_trained": 0.5, "recall_trained": 1.0, "rejected_trained": 0.0},
            **{"youden_trained": 0.0, "auc_trained": 1.0, "kept": 5},
        }
        highest = predictions.assign(highest=[0, 0, 0, 0.9, 0.8, 1])
        assert scores(highest)["auc_no_class"] == 1.0

    def test_without_truth_only_the_kept_are_counted(self):
        columns = {"part": ["train", "test"], "kept": [True, True], "lead": [0.2, 0.1]}
        assert scores(frame(relevant=[None, None], **columns)) == {"kept": 2}

    def test_a_classifier_is_scored_on_captions_that_describe_their_class(self):
        columns = {"said": ["a", "b", "b"], "class": ["a", "a", "b"], "part": ["test"] * 3}
        known = frame(relevant=[True, False, True], **columns)
        assert scores(known) == {"accuracy": 1.0, "macro_f1": 1.0}
        # an image shows its class whatever its caption says
        assert scores(known.assign(read="image"))["accuracy"] == pytest.approx(2 / 3)
        assert scores(frame(relevant=[None] * 3, **columns))["accuracy"] == pytest.approx(2 / 3)
