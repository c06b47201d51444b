"""The parts of the page and its sentences, on run folders written by hand."""

import re

import numpy as np
import pytest

import hearsay
from studies.relevance import sections
from studies.relevance.comparisons import paired_tests
from studies.relevance.results import read, summary
from studies.reporting.claims import Claim
from studies.reporting.tables import of

pytest_plugins = ["captions_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

LEDGER = [Claim("F1", "it filters", "counted", "0.1 [0, 0.2]", "inconclusive (one seed)")]
WHOLE = ["downstream_all", "downstream_kept"]


@pytest.fixture(autouse=True)
def published(sandbox):
    hearsay.publish(sandbox / "data")


@pytest.fixture
def undrawn(monkeypatch):
    """Curves take seconds to draw."""
    monkeypatch.setattr(sections, "training", lambda _: [])


@pytest.fixture
def everything(tells):
    tells("tfidf", says=hearsay.led(1.0))
    tells("predictor", says=hearsay.predicted(2.0))
    for system in WHOLE:
        tells(system, says=hearsay.classified(0.5))


def parts():
    results = read("made_up")
    found = sections.sections(results, summary(results), paired_tests(results), LEDGER)
    return {part.title: "".join(map(str, part.body)) for part in found}


def tables(part: str) -> list[str]:
    return re.findall("<table.*?</table>", part, re.DOTALL)


def cells(table: str) -> list[str]:
    """The first cell of every row."""
    return re.findall(r"<tr>\s*<td[^>]*>(.*?)</td>", table)


class TestSections:
    def test_the_tables_come_first(self, everything, undrawn):
        found = parts()
        assert list(found) == [
            *("Filters", "What it is good for", "Claims", "Differences", "Training")
        ]
        held_out, trained = tables(found["Filters"])
        assert cells(held_out) == cells(trained) == ["tfidf", "predictor"]
        assert "kept" in held_out
        assert "kept" not in trained
        assert sections.TRAINED in found["Filters"]
        # intervals, precision against recall, funnel
        assert found["Filters"].count("<svg") == 3
        (table,) = tables(found["What it is good for"])
        assert cells(table) == WHOLE
        assert found["What it is good for"].count("<svg") == 1
        assert "inconclusive (one seed)" in found["Claims"]

    def test_filters_and_classifiers_have_tables_of_differences(self, everything, undrawn):
        filters, classifiers = tables(parts()["Differences"])
        assert cells(filters) == ["predictor − tfidf"]
        assert cells(classifiers) == ["downstream_kept − downstream_all"]
        assert "AUC" in filters
        assert "accuracy" not in filters
        assert "accuracy" in classifiers
        assert "AUC" not in classifiers

    def test_training_is_of_what_was_trained(self, everything):
        found = parts()["Training"]
        assert found.count("<svg") == 2
        (cost,) = tables(found)
        assert cells(cost) == ["predictor", *WHOLE]
        assert "tfidf" not in found

    def test_a_baseline_alone(self, tells):
        tells("tfidf", says=hearsay.led(1.0))
        found = parts()
        assert list(found) == ["Filters", "Claims", "Differences"]
        assert found["Differences"] == ""
        assert "steps of the predictor" not in found["Filters"]

    def test_classifiers_alone(self, tells, undrawn):
        tells("downstream_all", says=hearsay.classified(0.5))
        found = parts()
        assert found["Filters"] == ""
        assert "held-out captions that describe their class" in found["What it is good for"]

    def test_unknown_truth_is_said(self, tells, undrawn):
        tells("predictor", says=hearsay.predicted(1.0), known=False)
        tells("downstream_all", says=hearsay.classified(0.5), known=False)
        found = parts()
        assert sections.UNKNOWN in found["Filters"]
        (table,) = tables(found["Filters"])
        assert cells(table) == ["predictor"]
        assert "precision" not in table
        # the funnel alone
        assert found["Filters"].count("<svg") == 1
        assert "held-out captions of all kinds" in found["What it is good for"]

    def test_known_truth(self, tells, undrawn):
        tells("predictor", says=hearsay.predicted(1.0))
        assert sections.UNKNOWN not in parts()["Filters"]


class TestSteps:
    def test_of_the_first_seed(self, tells):
        for seed, probability in ((0, np.where(hearsay.NUMBER, 0.1, 0.9)), (1, np.ones(120))):
            tells("predictor", seed, says=hearsay.of_probability(probability))
        steps = sections.steps(read("made_up"))
        # of 123 captions one is of no class, two are words; a caption of each class is kept
        assert steps["left"].tolist() == [123, 122, 120, 120, 6, 6]


class TestCaptions:
    def test_of_the_first_seed_of_the_predictor(self, tells):
        probability = np.full(len(hearsay.IDS), 0.5)
        probability[hearsay.place("n0", 13)] = 0.876
        tells("predictor", 0, says=hearsay.of_probability(probability))
        tells("predictor", 1, says=hearsay.of_probability(np.full(len(hearsay.IDS), 0.1)))
        (part,) = sections.captions(read("made_up"))
        assert part.title == "Captions"
        texts, classes = map(str, part.body)
        assert "cat seen on day 13" in texts
        assert "0.876" in texts
        assert sorted(cells(classes)) == sorted(hearsay.NAMES.values())

    def test_without_a_predictor(self, tells):
        tells("tfidf", says=hearsay.led(1.0))
        tells("predictor@captions_alone", says=hearsay.predicted(1.0))
        assert sections.captions(read("made_up")) == []


class TestRows:
    def test_of_some_systems(self, tells):
        tells("predictor", says=hearsay.predicted(1.0))
        tells("predictor@captions_alone", says=hearsay.predicted(1.0))
        frame = summary(read("made_up"))
        mine = of(frame, {"predictor@captions_alone": []})
        assert set(mine["variant"]) == {"captions_alone"}
        assert 0 < len(mine) < len(frame)

    def test_tables_leave_out_what_no_system_has(self, tells):
        tells("predictor", says=hearsay.predicted(1.0), known=False)
        table = sections.shown(summary(read("made_up")), {"auc": "AUC", "kept": "kept"})
        assert list(table.columns) == ["system", "kept"]
        kept = int(hearsay.predicted(1.0)["kept"].sum())
        assert table.to_numpy().tolist() == [["predictor", str(kept)]]
