"""Verdicts on cases whose verdict is plain to see."""

import re

import pandas as pd
import pytest

from studies.reporting.tables import BOOTSTRAP
from studies.triplets import claims
from studies.triplets.comparisons import paired_tests
from studies.triplets.results import read

TRUE = ["a/x/1"] * 4 + ["b/y/2"] * 4
FROZEN = {"name": "frozen", "weights": "somewhere", "hidden": 8}
IDS = [f"T{k}" for k in range(1, 11)]
THREE = ("cross_entropy", "triplet", "flexible")
SPACE = ("cross_entropy", "cross_entropy@untrained", "flexible")
HELD_OUT = ("cross_entropy@held_out", "cross_entropy@held_out_untrained", "flexible@held_out")
SCHEDULES = ("flexible", "flexible@hardest", "triplet@hardest", "triplet@two_stages")
SQUARE = (*SCHEDULES, "flexible@one_stage", "triplet")
UP, DOWN, BOTH = (0.03, 0.05), (-0.05, -0.03), (-0.01, 0.03)
WORD = {"up": UP, "down": DOWN, "both": BOTH}


@pytest.fixture
def judge(sandbox, write_run):
    """Return a function: systems run, intervals of second − first -> the ledger by claim id."""

    def judge(systems, differences, dataset="made_up", seeds=3, stopped=None, levels="", **changes):
        for system in systems:
            why = (stopped or {}).get(system, "")
            write_run(sandbox / "root", system, 0, TRUE, TRUE, dataset, stopped=why, **changes)
        rows = [
            {
                **{"first": first, "second": second, "metric": metric, "test": BOOTSTRAP},
                **{"seeds": seeds, "difference": sum(interval) / 2},
                **dict(zip(("ci_low", "ci_high"), interval, strict=True)),
            }
            for (metric, first, second), interval in differences.items()
        ]
        columns = ["first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high"]
        results = read(dataset)
        if levels:
            (results.folder / "levels.csv").write_text(levels)
        ledger = claims.ledger(results, pd.DataFrame(rows, columns=columns))
        assert [claim.id for claim in ledger] == IDS
        return {claim.id: claim for claim in ledger}

    return judge


def steps(metric: str, *pairs: str) -> list[tuple[str, str, str]]:
    return [(metric, *pair.split()) for pair in pairs]


ORDER = steps("macro_f1", "triplet flexible", "cross_entropy triplet")
SEVERE = steps("severe_errors", "cross_entropy flexible", "triplet flexible")
SCHEDULE = steps("macro_f1", "flexible flexible@hardest", "triplet@hardest triplet@two_stages")
UNSEEN = steps(
    "unseen_macro_f1",
    "cross_entropy@held_out flexible@held_out",
    "cross_entropy@held_out_untrained flexible@held_out",
)
CONTROLS = "cross_entropy flexible", "flexible cross_entropy@untrained"
CLUSTERS = steps("nmi", *CONTROLS) + steps("nmi_level1", *CONTROLS)
# a claim, what is run, its differences, and of each whether the claim wants it up or down
CASES = [
    ("T1", THREE, ORDER, ["up", "up"]),
    ("T3", THREE, SEVERE, ["down", "down"]),
    ("T4", SCHEDULES, SCHEDULE, ["down", "up"]),  # hardest alone must be the lower one
    ("T6", HELD_OUT, UNSEEN, ["up", "up"]),
    ("T7", SPACE, CLUSTERS, ["up", "down", "up", "down"]),
]
OTHER = {"up": "down", "down": "up"}


@pytest.mark.parametrize(("id", "systems", "differences", "wanted"), CASES)
class TestSides:
    def test_every_interval_on_the_claimed_side(self, judge, id, systems, differences, wanted):
        given = {step: WORD[way] for step, way in zip(differences, wanted, strict=True)}
        assert judge(systems, given)[id].verdict == "holds (3 seeds)"

    @pytest.mark.parametrize("place", [0, -1])
    def test_one_on_the_other_side(self, judge, id, systems, differences, wanted, place):
        ways = list(wanted)
        ways[place] = OTHER[ways[place]]
        given = {step: WORD[way] for step, way in zip(differences, ways, strict=True)}
        assert judge(systems, given)[id].verdict == "does not hold (3 seeds)"

    @pytest.mark.parametrize("place", [0, -1])
    def test_one_on_both_sides(self, judge, id, systems, differences, wanted, place):
        ways = list(wanted)
        ways[place] = "both"
        given = {step: WORD[way] for step, way in zip(differences, ways, strict=True)}
        assert judge(systems, given)[id].verdict == "inconclusive (3 seeds)"

    def test_a_system_that_was_not_run_is_named(self, judge, id, systems, differences, wanted):
        given = dict.fromkeys(differences, UP)
        found = judge([*systems[1:], "hybrid"], given)[id]
        assert found.verdict == f"not tested here: no run of {systems[0]} on made_up"
        assert found.figure == ""

    def test_no_seed_in_common(self, judge, id, systems, differences, wanted):
        found = judge(systems, dict.fromkeys(differences[1:], UP))[id]
        assert found.verdict == "not tested here: the systems have no seed in common"


@pytest.mark.parametrize(
    ("interval", "word"),
    [
        ((-0.05, -0.01), "holds"),
        ((-0.02, 0.009), "holds"),
        ((0.001, 0.009), "holds"),  # a gain, too small to be called one
        ((-0.02, 0.011), "inconclusive"),
        ((0.001, 0.02), "does not hold"),
    ],
)
def test_four_images_do_not_help(judge, interval, word):
    systems = ("flexible", "flexible@four_images")
    found = judge(systems, {("macro_f1", *systems): interval})["T5"]
    assert found.verdict == f"{word} (3 seeds)"
    assert found.figure.startswith("flexible@four_images − flexible ")


class TestLevels:
    HEADER = "levels,milliseconds,ratio,ratio_low,ratio_high\n"

    @pytest.mark.parametrize(
        ("rows", "word"),
        [
            ("1,9,1.0,1,1\n2,9,1.1,1,1\n8,9,1.2,1,1\n", "holds"),
            ("1,9,1.2,1,1\n2,9,1.9,1,1\n8,9,7.9,1,1\n", "holds"),
            ("1,9,1.0,1,1\n2,9,2.1,1,1\n8,9,1.2,1,1\n", "does not hold"),
            ("1,9,1.3,1,1\n2,9,1.3,1,1\n", "does not hold"),
        ],
    )
    def test_at_most_so_many_times_as_there_are_levels(self, judge, rows, word):
        found = judge(["flexible"], {}, levels=self.HEADER + rows)["T8"]
        assert found.verdict == word
        ratios = [float(ratio) for ratio in re.findall(r"×([\d.]+)", found.figure)]
        assert ratios == [float(line.split(",")[2]) for line in rows.split()]

    def test_not_measured(self, judge):
        found = judge(["flexible"], {})["T8"]
        assert found.verdict == "not tested here: its cost was not measured beside these runs"


class TestNotTested:
    @pytest.mark.parametrize("id", ["T2", "T9", "T10"])
    def test_what_needs_large_weights(self, judge, id):
        found = judge(THREE, dict.fromkeys(ORDER, UP))[id]
        assert found.figure == ""
        assert re.match("not tested here: it needs the weights of ConvNeXt-XLarge", found.verdict)
        assert "make study DATASET=grocery_random_frozen" in found.verdict

    def test_a_frozen_backbone_tests_the_order_on_itself(self, judge):
        found = judge(THREE, dict.fromkeys(ORDER, UP), backbone=FROZEN)
        assert found["T1"].verdict == "not tested here: this dataset id has a frozen backbone"
        assert found["T2"].verdict == "holds (3 seeds)"

    def test_every_absent_system_is_named_once(self, judge):
        found = judge(["hybrid"], {})
        assert found["T3"].verdict == (
            "not tested here: no run of cross_entropy or flexible or triplet on made_up"
        )
        assert found["T7"].verdict == (
            "not tested here: no run of cross_entropy or flexible or cross_entropy@untrained "
            "on made_up"
        )

    def test_a_variant_does_not_stand_for_its_model(self, judge):
        found = judge(["cross_entropy", "triplet", "flexible@sum"], dict.fromkeys(ORDER, UP))
        assert found["T1"].verdict == "not tested here: no run of flexible on made_up"


class TestWords:
    def test_seeds(self, judge):
        found = judge(THREE, dict.fromkeys(ORDER, UP), seeds=1)
        assert found["T1"].verdict == "holds (one seed)"

    @pytest.mark.parametrize("dataset", ["tiny", "demo"])
    def test_drawn_data_is_marked(self, judge, dataset):
        found = judge(THREE, dict.fromkeys(ORDER, UP), dataset, seeds=1)
        assert found["T1"].verdict == "holds (one seed, synthetic)"

    def test_the_figure_shows_difference_and_interval_the_way_it_is_claimed(self, judge):
        given = {SCHEDULE[0]: (-0.06, -0.02), SCHEDULE[1]: (0.01, 0.03)}
        assert judge(SCHEDULES, given)["T4"].figure == (
            "flexible − flexible@hardest +0.040 [+0.020, +0.060]; "
            "triplet@two_stages − triplet@hardest +0.020 [+0.010, +0.030]"
        )

    def test_counts_and_categories(self, judge):
        figure = judge(THREE, dict.fromkeys(SEVERE, (-5, -2)))["T3"].figure
        assert figure.startswith("flexible − cross-entropy −3.5 [−5, −2]; flexible − triplet ")
        figure = judge(SPACE, dict.fromkeys(CLUSTERS, UP), "other")["T7"].figure
        assert figure.startswith("NMI of classes, flexible − cross-entropy +0.040")
        assert "NMI of categories, flexible − cross-entropy@untrained −0.040" in figure

    def test_margin_and_schedule_stand_beside_the_claim(self, judge):
        square = steps(
            "macro_f1",
            "flexible flexible@one_stage",
            "triplet triplet@two_stages",
            "triplet flexible@one_stage",
            "flexible triplet@two_stages",
        )
        given = dict(zip([*SCHEDULE, *square], [DOWN, UP, DOWN, UP, UP, DOWN], strict=True))
        found = judge(SQUARE, given)["T4"]
        assert found.verdict == "holds (3 seeds)"
        assert found.figure.count("; ") == 5
        for pair in (
            "flexible − flexible@one_stage",
            "triplet@two_stages − triplet",
            "flexible@one_stage − triplet",
            "flexible − triplet@two_stages",
        ):
            assert f"; {pair} +0.040 [+0.030, +0.050]" in found.figure
        # what stands beside a claim does not decide on it
        worse = given | dict.fromkeys(square, BOTH)
        assert judge(SQUARE, worse, "other")["T4"].verdict == "holds (3 seeds)"

    def test_systems_that_stopped_are_named(self, judge):
        why = {"triplet@hardest": "collapsed: every image in one place", "hybrid": "stalled: so"}
        given = {SCHEDULE[0]: DOWN, SCHEDULE[1]: UP}
        figure = judge([*SCHEDULES, "hybrid"], given, stopped=why)["T4"].figure
        assert figure.endswith("; triplet@hardest, seed 0, collapsed")
        assert "stalled" not in figure


class TestFromRuns:
    def test_the_best_last(self, sandbox, write_run, few_resamples):
        true = ["a/x/1"] * 30 + ["b/y/2"] * 30
        for system, errors in {"cross_entropy": 24, "triplet": 12, "flexible": 1}.items():
            predicted = ["b/y/2"] * errors + true[errors:]
            write_run(sandbox / "root", system, 0, true, predicted)
        results = read("made_up")
        tests = paired_tests(results)
        found = {claim.id: claim for claim in claims.ledger(results, tests)}
        assert found["T1"].verdict == found["T3"].verdict == "holds (one seed)"
        assert found["T3"].figure.startswith("flexible − cross-entropy −23 [")
        assert claims.tally(results, tests) == (
            "Of the paper's 10 claims 2 hold, 8 are not tested here."
        )


def test_the_tally_counts_every_kind(judge):
    differences = {ORDER[0]: UP, ORDER[1]: DOWN} | dict.fromkeys(SEVERE, DOWN)
    differences[SEVERE[0]] = BOTH
    judge(THREE, differences, "demo")
    results = read("demo")
    frame = pd.DataFrame(
        [
            {
                **{"first": first, "second": second, "metric": metric, "test": BOOTSTRAP},
                **{"seeds": 1, "difference": 0.0, "ci_low": low, "ci_high": high},
            }
            for (metric, first, second), (low, high) in differences.items()
        ]
    )
    assert claims.tally(results, frame) == (
        "Of the paper's 10 claims 1 does not hold, 1 is inconclusive, 8 are not tested here "
        "(synthetic)."
    )
