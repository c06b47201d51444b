"""Captions to look at, against counts and places by hand."""

import datasets
import numpy as np
import pandas as pd
import pytest

import hearsay
from studies.relevance import cases
from studies.relevance.data import Collection
from studies.relevance.table import FEATURES
from studies.runs.folder import LoadedRun

NAMES = hearsay.NAMES


def collection(texts=hearsay.TEXTS):
    columns = {"image": hearsay.IDS, "wnid": hearsay.CLASS.tolist(), "text": texts}
    given = columns | {"relevant": [None] * len(texts), "reason": [""] * len(texts)}
    table = datasets.Dataset.from_dict(given, FEATURES)
    names = list(NAMES.values())
    return Collection(table, hearsay.WNIDS, names, names, [[name] for name in names], None)


@pytest.fixture
def run(tmp_path):
    """Return a function: what a system says -> its run."""

    def write(says, known=True, rows=slice(None)):
        hearsay.frame(says, known)[rows].to_parquet(tmp_path / "predictions.parquet")
        return LoadedRun(tmp_path, {})

    return write


def cells(table):
    return table.to_numpy().tolist()


class TestOutcome:
    def test_reasons_are_counted_the_most_frequent_first(self, run):
        says = hearsay.of_probability(np.full(len(hearsay.IDS), 0.1))
        says["kept"][:30] = True
        says["reason"] = np.array([""] * 30 + ["below the mean"] * 20 + ["below 0.5"] * 70)
        table = cases.outcome(run(says), collection())
        assert cells(table) == [["below 0.5", "70"], ["kept", "30"], ["below the mean", "20"]]

    def test_a_baseline_gives_no_reason(self, run):
        lead = np.where(np.arange(len(hearsay.IDS)) < 100, 1.0, -1.0)
        says = {"kept": lead > 0, "lead": lead}
        assert cells(cases.outcome(run(says), collection())) == [["kept", "100"], ["dropped", "20"]]

    def test_of_a_classifier_the_mistakes(self, run):
        said = np.array([*["n0"] * 8, *["n0"] * 5, *["n1"] * 3, *np.repeat(hearsay.WNIDS[2:], 8)])
        said[-1] = "n9"
        table = cases.outcome(run({"said": said}), collection())
        assert list(table.columns) == ["class", "taken for", "captions"]
        assert cells(table) == [["dog", "cat", "5"], ["grey cow", "n9", "1"]]

    def test_only_so_many_mistakes_are_shown(self):
        said = [f"n{place}" for place in range(9) for _ in range(9 - place)]
        frame = pd.DataFrame({"class": "x", "said": said})
        table = cases.mistakes(frame, {}, shown=4)
        assert table["taken for"].tolist() == ["n0", "n1", "n2", "n3"]
        assert table["captions"].tolist() == ["9", "8", "7", "6"]

    def test_no_mistake(self, run):
        table = cases.outcome(run({"said": hearsay.CLASS[hearsay.TEST]}), collection())
        assert table.empty
        assert list(table.columns) == ["class", "taken for", "captions"]


class TestTexts:
    def test_the_highest_and_the_lowest_score_of_held_out_captions(self, run):
        probability = np.full(len(hearsay.IDS), 0.5)
        probability[hearsay.place("n0", 3)] = 1.0  # of training
        probability[hearsay.place("n0", 15)] = 0.9
        probability[hearsay.place("n0", 18)] = 0.2
        probability[hearsay.place("n5", 12)] = 0.6
        probability[hearsay.place("n5", 13)] = 0.1234
        table = cases.texts(run(hearsay.of_probability(probability)), collection(), shown=2)
        assert list(table.columns) == ["class", "caption", "probability", "", "describes it"]
        assert cells(table) == [
            ["cat", "cat seen on day 15", "0.900", "kept", "no"],
            ["cat", "cat seen on day 18", "0.200", "dropped", "yes"],
            ["grey cow", "grey cow seen on day 12", "0.600", "kept", "yes"],
            ["grey cow", "grey cow seen on day 13", "0.123", "dropped", "no"],
        ]

    def test_a_baseline_has_its_lead(self, run):
        lead = np.where(hearsay.NUMBER == 14, 0.25, -0.5)
        table = cases.texts(run({"kept": lead > 0, "lead": lead}), collection(), shown=1)
        assert table["lead"].tolist() == ["0.250", "-0.500"]
        assert table[""].tolist() == ["kept", "dropped"]

    def test_of_a_classifier_the_first_two(self, run):
        says = {"said": np.roll(hearsay.CLASS, hearsay.EACH)[hearsay.TEST]}
        table = cases.texts(run(says), collection(), shown=2)
        assert list(table.columns) == ["class", "caption", "said", "describes it"]
        assert cells(table) == [
            ["cat", "cat seen on day 12", "grey cow", "yes"],
            ["cat", "cat seen on day 13", "grey cow", "no"],
            ["grey cow", "grey cow seen on day 12", "ant", "yes"],
            ["grey cow", "grey cow seen on day 13", "ant", "no"],
        ]

    def test_a_class_without_test_captions_or_with_one(self, run):
        mine = (hearsay.CLASS != "n0") | ~hearsay.TEST
        mine &= (hearsay.CLASS != "n5") | ~hearsay.TEST | (hearsay.NUMBER == 16)
        table = cases.texts(run(hearsay.predicted(1.0), rows=mine), collection(), shown=2)
        assert table["caption"].tolist() == ["grey cow seen on day 16"]

    def test_unknown_truth(self, run):
        for says in (hearsay.predicted(1.0), hearsay.classified(0.5)):
            table = cases.texts(run(says, known=False), collection())
            assert set(table["describes it"]) == {"unknown"}

    def test_as_many_classes_as_there_are(self, run):
        table = cases.texts(run(hearsay.predicted(1.0)), collection(), shown=99)
        assert table["class"].tolist() == [name for name in NAMES.values() for _ in range(2)]

    def test_a_long_text_is_shortened(self, run):
        texts = ["ab" * 500 for _ in hearsay.TEXTS]
        table = cases.texts(run(hearsay.predicted(1.0)), collection(texts))
        assert set(table["caption"]) == {"ab" * 80 + "…"}


def test_shortened():
    assert cases.shortened("x" * 160) == "x" * 160
    assert cases.shortened("x" * 161) == "x" * 160 + "…"
    assert cases.shortened("") == ""


class TestClasses:
    @pytest.fixture
    def filtering(self, run):
        """Of the first class 20 of 20 captions are kept, then 17, 14, 11, 8, 5."""
        each = 20 - 3 * np.repeat(np.arange(len(NAMES)), hearsay.EACH)
        return run(hearsay.of_probability(np.where(each > hearsay.NUMBER, 0.9, 0.1)))

    def test_all_where_they_are_few(self, filtering):
        table = cases.classes(filtering, NAMES)
        assert list(table.columns) == ["class", "captions", "kept", "share"]
        assert cells(table) == [
            ["cat", "20", "20", "100%"],
            ["dog", "20", "17", "85%"],
            ["owl", "20", "14", "70%"],
            ["bee", "20", "11", "55%"],
            ["ant", "20", "8", "40%"],
            ["grey cow", "20", "5", "25%"],
        ]

    def test_the_largest_and_the_smallest_shares(self, filtering):
        table = cases.classes(filtering, NAMES, shown=2)
        assert table["class"].tolist() == ["cat", "dog", "ant", "grey cow"]


@pytest.mark.parametrize(
    ("count", "shown", "places"),
    [
        (6, 2, [0, 5]),
        (6, 4, [0, 2, 3, 5]),
        (3, 9, [0, 1, 2]),
        (1, 4, [0]),
        (1000, 3, [0, 500, 999]),
    ],
)
def test_places_from_all_over(count, shown, places):
    assert cases.spaced(count, shown).tolist() == places
