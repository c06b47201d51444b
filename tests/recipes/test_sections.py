"""The parts of the page and its sentences, on run folders written by hand."""

import re

import numpy as np
import pandas as pd
import pytest

import meals
from studies.recipes import data, sections
from studies.recipes.comparisons import paired_tests
from studies.recipes.results import read, summary
from studies.reporting import tables
from studies.reporting.claims import Claim

pytest_plugins = ["plates_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

LEDGER = [Claim("R1", "one is better", "both", "+0.1 [0, 0.2]", "inconclusive (one seed)")]


@pytest.fixture
def serves(sandbox, serve):
    return lambda system, seed=0, **options: serve(sandbox / "root", system, seed, **options)


def parts(dataset="made_up"):
    results = read(dataset)
    frame, tests = summary(results), paired_tests(results)
    found = sections.sections(results, frame, tests, LEDGER)
    return {part.title: "".join(map(str, part.body)) for part in found}


def cells(table: str) -> list[str]:
    """The first cell of every row."""
    return re.findall(r"<tr>\s*<td[^>]*>(.*?)</td>", table)


@pytest.fixture
def undrawn(monkeypatch):
    """Curves take seconds to draw."""
    monkeypatch.setattr(sections, "training", lambda _: [])


@pytest.fixture
def everything(serves):
    serves("majority", seen=meals.eyes(0.1, ingredients=False))
    serves("two_networks", seen=meals.eyes(1.0))
    serves("shared_backbone@variants", seen=meals.eyes(1.0, ingredients=False))
    serves("naive", recipes=meals.templates())
    serves("supervised", recipes=meals.own())


class TestSections:
    def test_the_tables_come_first(self, everything, undrawn):
        found = parts()
        assert list(found) == ["Results", "Claims", "Differences", "Training"]
        seen, written = re.findall("<table.*?</table>", found["Results"], re.DOTALL)
        assert cells(seen) == ["majority", "two_networks", "shared_backbone@variants"]
        assert cells(written) == ["naive", "supervised"]
        assert "The prompts tell what two_networks sees" in found["Results"]
        assert found["Results"].count("<svg") == 2
        assert "inconclusive (one seed)" in found["Claims"]

    def test_eyes_and_prompts_have_tables_of_differences(self, everything, undrawn):
        seen, written = re.findall("<table.*?</table>", parts()["Differences"], re.DOTALL)
        assert cells(seen) == [
            "two_networks − majority",
            "shared_backbone@variants − majority",
            "shared_backbone@variants − two_networks",
        ]
        assert cells(written) == ["supervised − naive"]
        assert "dish top-1" in seen
        assert "grounding" not in seen
        assert "grounding precision" in written
        assert "dish top-1" not in written

    def test_training_is_of_what_was_trained(self, everything):
        found = parts()["Training"]
        assert found.count("<svg") == 2
        (cost,) = re.findall("<table.*?</table>", found, re.DOTALL)
        assert cells(cost) == ["two_networks", "shared_backbone@variants"]
        assert "majority" not in found

    def test_baselines_alone(self, serves):
        serves("majority", seen=meals.eyes(0.1, ingredients=False))
        found = parts()
        assert list(found) == ["Results", "Claims", "Differences"]
        assert found["Differences"] == ""
        assert found["Results"].count("<table") == 1

    def test_prompts_alone(self, serves):
        serves("naive", recipes=meals.own())
        found = parts()
        assert list(found) == ["Results", "Claims", "Differences"]
        assert cells(found["Results"]) == ["naive"]

    @pytest.mark.parametrize("by_dish", [False, True])
    def test_ingredients_by_dish_are_called_so(self, serves, by_dish):
        usual = np.stack([meals.PRESENT[dish == meals.DISH].any(0) for dish in meals.DISH])
        present = {"present": list(usual)} if by_dish else {}
        serves("frequencies", seen=meals.eyes(0.1, dishes=False) | present)
        assert ("typical ones of the dish" in parts()["Results"]) == by_dish

    def test_where_nothing_is_known_of_ingredients_nothing_is_said(self, serves):
        serves("majority", seen=meals.eyes(0.1, ingredients=False))
        assert "typical ones of the dish" not in parts()["Results"]


class TestPictures:
    def test_prompts_stand_side_by_side(self, serves, ordered):
        serves("two_networks", seen=meals.eyes(1.0))
        serves("oracle", recipes=meals.exchanged())
        assert sections.pictures(read("made_up")) == []
        serves("naive", recipes=meals.templates())
        serves("supervised", 0, recipes=meals.own())
        serves("supervised", 1, recipes=meals.exchanged())
        data.read(ordered())
        (part,) = sections.pictures(read("made_up"))
        lead, *shown = map(str, part.body)
        assert part.title == "Plates"
        assert lead.startswith("Plates from all over the test set")
        assert len(shown) == 6
        assert all(one.count("data:image/jpeg") == 1 for one in shown)
        assert all("Recipe, naive" in one and "Recipe, supervised" in one for one in shown)
        # of the first seed, the recipe of the first plate
        assert meals.own()[0][0] in shown[0]

    def test_without_photographs_it_is_said(self, serves):
        source = {"name": "food101", "ingredients": "typical"}
        serves("naive", recipes=meals.own(), dataset="food101", source=source)
        (part,) = sections.pictures(read("food101"))
        _, said = part.body
        assert said.startswith("Not shown here: ")
        assert "food-101" in said
        assert said.endswith(".")
        assert not said.endswith("..")

    def test_a_broken_photograph_stops_no_page(self, serves, ordered):
        root = data.read(ordered()).root
        (root / meals.IDS[0]).write_bytes(b"no picture")
        serves("naive", recipes=meals.own())
        (part,) = sections.pictures(read("made_up"))
        assert f"no picture: {meals.PLATES[0].id}.png" in "".join(map(str, part.body))


def test_tables_leave_out_what_no_system_has():
    frame = pd.DataFrame(
        {
            **{"model": ["a", "b"], "variant": ["", "v"], "metric": ["x", "y"]},
            **{"mean": [0.5, 0.25], "std": [None] * 2, "n_seeds": [1, 1]},
            **{"ci_low": [None] * 2, "ci_high": [None] * 2, "published": [None] * 2},
        }
    )
    table = sections.shown(frame, {"y": "Y", "z": "Z", "x": "X"})
    assert list(table.columns) == ["system", "Y", "X"]
    assert table.to_numpy().tolist() == [["a", "", "0.500"], ["b@v", "0.250", ""]]
    assert tables.of(frame, {"b@v": []})["model"].tolist() == ["b"]
