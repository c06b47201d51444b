"""Verdicts on cases whose verdict is plain to see."""

import re

import pytest

from studies.triplets.claims import ledger
from studies.triplets.results import comparisons, read

TRUE = ["a/x/1"] * 40 + ["b/y/2"] * 40
FROZEN = {"name": "frozen", "weights": "somewhere", "hidden": 8}
IDS = [f"T{k}" for k in range(1, 11)]


def errors(*items: int) -> list[str]:
    other = {"a/x/1": "b/y/2", "b/y/2": "a/x/1"}
    return [other[name] if i in items else name for i, name in enumerate(TRUE)]


@pytest.fixture
def verdicts(sandbox, write_run):
    """Return a function: wrong items of each system -> the ledger by claim id."""

    def judge(wrong: dict[str, range], dataset="made_up", seeds=None, **changes):
        for system, items in wrong.items():
            for seed in (seeds or {}).get(system, [0]):
                write_run(sandbox / "root", system, seed, TRUE, errors(*items), dataset, **changes)
        results = read(dataset)
        claims = ledger(results, comparisons(results))
        assert [claim.id for claim in claims] == IDS
        return {claim.id: claim for claim in claims}

    return judge


BEST_LAST = {"cross_entropy": range(30), "triplet": range(15), "flexible": range(1)}
WORST_LAST = {"cross_entropy": range(1), "triplet": range(15), "flexible": range(30)}
EQUAL = {"cross_entropy": range(9), "triplet": range(20, 29), "flexible": range(50, 59)}


class TestVerdicts:
    def test_holds(self, verdicts):
        found = verdicts(BEST_LAST)
        assert found["T1"].verdict == "holds (one seed)"
        assert found["T3"].verdict == "holds (one seed)"

    def test_does_not_hold(self, verdicts):
        found = verdicts(WORST_LAST)
        assert found["T1"].verdict == "does not hold (one seed)"
        assert found["T3"].verdict == "does not hold (one seed)"

    def test_inconclusive(self, verdicts):
        found = verdicts(EQUAL)
        assert found["T1"].verdict == "inconclusive (one seed)"
        assert found["T3"].verdict == "inconclusive (one seed)"

    def test_one_step_up_is_not_enough(self, verdicts):
        found = verdicts(BEST_LAST | {"triplet": range(20, 51)})
        # flexible is far above both; triplet is not above cross-entropy by more than chance
        assert found["T1"].verdict == "inconclusive (one seed)"
        assert found["T3"].verdict == "holds (one seed)"

    def test_one_step_down_is_enough(self, verdicts):
        found = verdicts({"cross_entropy": range(15), "triplet": range(40), "flexible": range(1)})
        assert found["T1"].verdict == "does not hold (one seed)"
        assert found["T3"].verdict == "holds (one seed)"

    @pytest.mark.parametrize("dataset", ["tiny", "demo"])
    def test_drawn_data_is_marked(self, verdicts, dataset):
        found = verdicts(BEST_LAST, dataset)
        assert found["T1"].verdict == "holds (one seed, synthetic)"
        assert found["T3"].verdict == "holds (one seed, synthetic)"
        assert verdicts(WORST_LAST, "made_up")["T1"].verdict == "does not hold (one seed)"

    def test_scratch_says_nothing_of_the_frozen_backbone(self, verdicts):
        found = verdicts(BEST_LAST)
        assert found["T2"].verdict.startswith("not tested here: ")
        assert found["T2"].figure == ""

    def test_frozen_says_nothing_of_scratch(self, verdicts):
        found = verdicts(BEST_LAST, backbone=FROZEN)
        assert found["T1"].verdict.startswith("not tested here: ")
        assert found["T2"].verdict == "holds (one seed)"

    @pytest.mark.parametrize("missing", ["cross_entropy", "triplet", "flexible"])
    def test_all_three_approaches_are_needed(self, verdicts, missing):
        found = verdicts({name: items for name, items in BEST_LAST.items() if name != missing})
        for id in ("T1", "T3"):
            assert found[id].verdict == "not tested here: not all three approaches were run"

    def test_a_variant_does_not_stand_for_its_model(self, verdicts):
        wrong = dict(BEST_LAST)
        wrong["flexible@sum"] = wrong.pop("flexible")
        assert verdicts(wrong)["T1"].verdict.startswith("not tested here")

    def test_no_seed_in_common(self, verdicts):
        found = verdicts(BEST_LAST, seeds={"cross_entropy": [0, 1], "flexible": [5]})
        assert found["T1"].verdict == (
            "not tested here: the three approaches have no seed in common"
        )
        assert found["T3"].verdict == found["T1"].verdict

    def test_the_rest_is_not_tested(self, verdicts):
        found = verdicts(BEST_LAST)
        for id in IDS[3:]:
            assert re.match("not tested here: .*made_up", found[id].verdict)


class TestFigure:
    def test_it_shows_difference_and_interval(self, verdicts):
        figure = verdicts(BEST_LAST)["T3"].figure.replace("−", "-")
        number = r"([+-]?[\d.]+)"
        pattern = rf"flexible - {{}} {number} \[{number}, {number}\]"
        for other, difference in (("cross-entropy", -29), ("triplet", -14)):
            middle, low, high = map(float, re.search(pattern.format(other), figure).groups())
            assert middle == difference
            assert low < middle < high < 0

    def test_it_says_on_how_many_seeds_it_rests(self, verdicts):
        seeds = {"cross_entropy": [0, 1, 2], "triplet": [0, 1], "flexible": [0, 1, 2]}
        found = verdicts(BEST_LAST, seeds=seeds)
        assert found["T1"].verdict.endswith("(2 seeds)")
        assert found["T3"].verdict.endswith("(2 seeds)")
