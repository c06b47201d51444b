"""Verdicts: each side of each rule, in the order of the rules."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies.reporting import claims
from studies.reporting.bootstrap import Estimate, Measured, holm
from studies.reporting.claims import (
    COUNT,
    RATE,
    Claim,
    Comparison,
    Outcome,
    Step,
    forest,
    judge,
    read,
)


def about(value, margin, seeds=5, fixed=False) -> Estimate:
    """An estimate with the interval value ± margin, by the normal quantile."""
    return Estimate(value, 0.0, seeds, 100, (margin / 1.959964) ** 2, np.inf, fixed)


def compared(value, margin, side="higher", p_holm=0.01, limit=0.01, **also) -> Comparison:
    return Comparison(
        Step("f1", "a", "b", side), about(value, margin, **also), limit, p_holm=p_holm
    )


HOLDS, REVERSED = compared(0.05, 0.02), compared(-0.05, 0.02)
NONE = compared(0.0, 0.005, p_holm=0.9)
OPEN, FEW = compared(0.01, 0.03, p_holm=0.5), compared(0.05, 0.02, seeds=3)
MISSING = Comparison(Step("f1", "a", "c"), about(np.nan, 0), none="no run of c")


def spread(*values) -> dict[str, Measured]:
    """A metric of seeds alone; its differences are exact to the eye."""
    return {"m": Measured(dict(enumerate(values)))}


SYSTEMS = {
    "low": spread(0.100, 0.101, 0.102, 0.103, 0.104),
    "middle": spread(0.200, 0.203, 0.201, 0.204, 0.202),
    "high": spread(0.304, 0.301, 0.303, 0.300, 0.302),
    "again": spread(0.303, 0.302, 0.304, 0.300, 0.301),
    "wild": spread(0.1, 0.5, 0.9, 0.2, 0.4),
    "young": spread(0.301, 0.302),
}


class TestConditions:
    def test_approaches_that_were_also_trained_as_published_are_judged_twice(self):
        claim = Claim("X", "text", (Step("m", "low", "high"), Step("m", "wild@none", "high")))
        systems = {**SYSTEMS, "low@published": SYSTEMS["high"], "wild@none": SYSTEMS["low"]}
        (alone,) = judge([claim], systems)
        assert (alone.claim.condition, alone.verdict) == ("", "holds")
        tuned, published = judge([claim], {**systems, "high@published": SYSTEMS["low"]})
        assert (tuned.claim.condition, tuned.verdict) == ("tuned equally", "holds")
        assert (published.claim.condition, published.verdict) == ("as published", "does not hold")
        assert [step.step.first for step in published.steps] == ["low@published", "wild@none"]
        # Holm corrects within a condition
        assert tuned.steps[0].p_holm == alone.steps[0].p_holm

    def test_variants_are_taken_as_published_where_they_were_run_so(self):
        steps = (
            Step("m", "high@other", "high"),
            Step("m", "high@rate", "high", optional=True),
            Step("m", "high@slow", "high", optional=True),
        )
        variants = Claim("Y", "of one approach", steps)
        low, high = SYSTEMS["low"], SYSTEMS["high"]
        systems = {"high": high, "high@other": low, "high@rate": low, "high@published": low}
        (alone,) = judge([variants], systems)
        assert [step.step.first for step in alone.steps] == ["high@other", "high@rate"]
        systems |= {"high@published_other": high, "high@published_slow": high}
        tuned, published = judge([variants], systems)
        assert (tuned.verdict, published.verdict) == ("holds", "does not hold")
        assert [step.step.first for step in tuned.steps] == ["high@other", "high@rate"]
        assert [step.step.first for step in published.steps] == [
            *("high@published_other", "high@published_slow")
        ]
        assert {step.step.second for step in published.steps} == {"high@published"}


class TestStep:
    @pytest.mark.parametrize(
        ("value", "margin", "side", "p", "verdict"),
        [
            (0.05, 0.02, "higher", 0.049, "holds"),
            (0.05, 0.02, "lower", 0.049, "does not hold"),
            (-0.05, 0.02, "higher", 0.049, "does not hold"),
            (-0.05, 0.02, "lower", 0.049, "holds"),
            # on one side, but not after Holm; inside the margin or not
            (0.05, 0.02, "higher", 0.05, "inconclusive: could have seen ±0.020"),
            (-0.05, 0.02, "higher", 0.05, "inconclusive: could have seen ±0.020"),
            (0.006, 0.003, "higher", 0.05, "no difference"),
            (0.006, 0.003, "higher", 0.01, "holds"),
            (0.002, 0.007, "higher", 0.9, "no difference"),
            (0.002, 0.009, "higher", 0.9, "inconclusive: could have seen ±0.009"),
            (-0.002, 0.009, "lower", 0.9, "inconclusive: could have seen ±0.009"),
            # not above, not below the first by the margin of .01
            (0.002, 0.007, "no higher", 0.01, "holds"),
            (0.002, 0.009, "no higher", 0.9, "inconclusive: could have seen ±0.009"),
            (0.020, 0.009, "no higher", 0.01, "does not hold"),
            (-0.20, 0.009, "no higher", 0.01, "holds"),
            (-0.002, 0.007, "no lower", 0.01, "holds"),
            (-0.020, 0.009, "no lower", 0.01, "does not hold"),
            (-0.012, 0.009, "no lower", 0.9, "inconclusive: could have seen ±0.009"),
            (0.20, 0.009, "no lower", 0.01, "holds"),
        ],
    )
    def test_verdicts(self, value, margin, side, p, verdict):
        assert compared(value, margin, side, p).verdict == verdict

    @pytest.mark.parametrize(
        ("seeds", "fixed", "verdict"),
        [
            (5, False, "holds"),
            (4, False, "inconclusive: 4 of at least 5 seeds, could have seen ±0.020"),
            (1, False, "inconclusive: 1 of at least 5 seeds"),
            (1, True, "holds"),
        ],
    )
    def test_five_seeds_are_needed_unless_nothing_is_left_to_chance(self, seeds, fixed, verdict):
        assert compared(0.05, 0.02, seeds=seeds, fixed=fixed).verdict == verdict

    def test_no_interval_no_verdict(self):
        assert compared(0.05, np.nan).verdict.startswith("not tested here: f1 is undefined")
        assert compared(0.05, np.nan, seeds=1).verdict == "inconclusive: 1 of at least 5 seeds"


class TestClaim:
    @pytest.mark.parametrize(
        ("steps", "verdict"),
        [
            ([HOLDS], "holds"),
            ([OPEN], "inconclusive: could have seen ±0.030"),
            ([HOLDS, HOLDS], "holds"),
            ([NONE, NONE], "no difference"),
            ([HOLDS, REVERSED], "does not hold"),
            ([MISSING, OPEN, REVERSED], "does not hold"),
            ([HOLDS, NONE], "inconclusive: 1 of 2 steps hold"),
            ([HOLDS, OPEN], "inconclusive: 1 of 2 steps hold, could have seen ±0.030"),
            ([NONE, OPEN], "inconclusive: could have seen ±0.030"),
            ([HOLDS, FEW], "inconclusive: 1 of 2 steps hold, 3 of at least 5 seeds, could have "),
            ([HOLDS, MISSING, MISSING], "not tested here: no run of c"),
        ],
    )
    def test_all_steps_decide(self, steps, verdict):
        claim = Claim("T1", "", tuple(one.step for one in steps))
        assert Outcome(claim, tuple(steps)).verdict.startswith(verdict)

    @pytest.mark.parametrize(
        ("steps", "others", "verdict"),
        [
            ([REVERSED], [HOLDS], "holds"),
            ([HOLDS, REVERSED], [HOLDS, HOLDS], "holds"),
            ([HOLDS, REVERSED], [HOLDS, OPEN], "inconclusive: 1 of 2 steps hold, could"),
            ([NONE], [REVERSED], "no difference"),
            ([REVERSED], [REVERSED], "does not hold"),
            ([MISSING], [REVERSED], "does not hold"),
            ([MISSING], [MISSING], "not tested here: no run of c"),
        ],
    )
    def test_one_of_two_ways_will_do(self, steps, others, verdict):
        parts = [tuple(one.step for one in part) for part in (steps, others)]
        outcome = Outcome(Claim("F2", "", parts[0], alternatives=parts[1]), (*steps, *others))
        assert outcome.verdict.startswith(verdict)

    @pytest.mark.parametrize(
        ("value", "margin", "seeds", "verdict"),
        [
            (0.05, 0.02, 5, "does not hold"),
            (-0.05, 0.02, 5, "not tested here: the writer cannot tell"),
            (0.0, 0.005, 5, "not tested here: the writer cannot tell"),
            (0.05, 0.06, 5, "inconclusive: could have seen ±0.060"),
            (0.05, 0.02, 1, "inconclusive: 1 of at least 5 seeds"),
        ],
    )
    def test_a_gate_must_be_passed(self, value, margin, seeds, verdict):
        step = Step("f1", "naive", "oracle", gate="the writer cannot tell")
        gate = Comparison(step, about(value, margin, seeds), 0.01, p_holm=0.01)
        claim = Claim("R2", "", (REVERSED.step, step))
        assert Outcome(claim, (REVERSED, gate)).verdict == verdict

    def test_they_are_read_as_they_are_written_and_a_misspelt_word_is_refused(self):
        step = {"metric": "f1", "first": 0.5, "second": "a", "margin": None}
        listed = [{"id": "T1", "text": "a claim", "steps": [step], "untested": {"always": "why"}}]
        steps = (Step("f1", 0.5, "a", margin=COUNT),)
        assert read(listed) == (Claim("T1", "a claim", steps, untested={"always": "why"}),)
        with pytest.raises(ValueError, match="sied"):
            read([{**listed[0], "steps": [{**step, "sied": "lower"}]}])


def order(metric: str, *systems: str) -> tuple[Step, ...]:
    """Every pair of some systems, the highest first."""
    return tuple(Step(metric, lower, higher) for higher, lower in combinations(systems, 2))


def verdicts(*steps, **also) -> list[str]:
    (outcome,) = judge([Claim("X", "", steps, **also)], SYSTEMS)
    return [step.verdict for step in outcome.steps]


class TestJudge:
    def test_an_order_of_systems(self):
        (outcome,) = judge([Claim("T1", "", order("m", "high", "middle", "low"))], SYSTEMS)
        assert outcome.verdict == "holds"
        found = {(s.step.second, s.step.first): s.estimate.value for s in outcome.steps}
        assert found == pytest.approx(
            {("high", "middle"): 0.1, ("high", "low"): 0.2, ("middle", "low"): 0.1}
        )

    def test_what_cannot_be_tested_says_why(self):
        steps = [Step("m", "x", "y"), Step("m", "low", "y"), Step("auc", "low", "high")]
        late = {"late": {"m": Measured({7: 0.3})}}
        (outcome,) = judge([Claim("X", "", (*steps, Step("m", "low", "late")))], SYSTEMS | late)
        assert [step.verdict.removeprefix("not tested here: ") for step in outcome.steps] == [
            "no run of x or y",
            "no run of y",
            "auc was not measured",
            "the systems have no seed in common",
        ]
        claim = Claim("T2", "", (steps[0],), untested={"scratch": "no weights"})
        (outcome,) = judge([claim], SYSTEMS, ["scratch"])
        assert (outcome.verdict, outcome.steps) == ("not tested here: no weights", ())
        (outcome,) = judge([claim], SYSTEMS, ["frozen"])
        assert outcome.verdict == "not tested here: no run of x or y"
        optional = Step("m", "x", "high", optional=True), Step("m", "low", "high", optional=True)
        (outcome,) = judge([Claim("F1", "", optional)], SYSTEMS)
        assert [one.step.relation for one in outcome.steps] == ["high > low"]
        assert outcome.verdict == "holds"

    def test_a_number_is_compared_with(self):
        assert verdicts(Step("m", 0.25, "high"), Step("m", 0.35, "high")) == [
            "holds",
            "does not hold",
        ]

    @pytest.mark.parametrize(
        ("first", "items", "margin"),
        [(200.0, 1000, 20), (3.0, 1000, 1), (3.0, 20000, 20), (30.0, None, 3)],
    )
    def test_the_margin_of_a_count_depends_on_it(self, first, items, margin):
        samples = {k: np.array([first, first + 1]) for k in range(5)} if items else None
        systems = {
            name: {"m": Measured(dict.fromkeys(range(5), value), samples, items)}
            for name, value in (("a", first), ("b", first + 5))
        }
        (outcome,) = judge([Claim("T3", "", (Step("m", "a", "b", margin=COUNT),))], systems)
        assert outcome.steps[0].margin == margin

    def test_holm_is_over_one_condition_and_from_the_line_of_the_step(self):
        steps = (*order("m", "high", "middle", "low"), Step("m", "again", "high", "no lower"))
        one = Claim("A", "", steps, "as published")
        other = Claim("B", "", (Step("m", "again", "wild"),), "as published")
        alone = Claim("C", "", (Step("m", "again", "wild"), Step("m", "?", "high")), "tuned")
        outcomes = judge([one, alone, other], SYSTEMS)
        family = [*outcomes[0].steps, *outcomes[2].steps]
        lines = [0, 0, 0, -RATE, 0]
        raw = [step.estimate.p(line) for step, line in zip(family, lines, strict=True)]
        assert [step.p_holm for step in family] == pytest.approx(holm(raw))
        assert outcomes[1].steps[0].p_holm == pytest.approx(raw[-1])
        assert np.isnan(outcomes[1].steps[1].p_holm)

    def test_few_seeds_wide_intervals_and_equal_systems(self):
        steps = [Step("m", "low", "young"), Step("m", "again", "wild"), Step("m", "again", "high")]
        few, wide, none = verdicts(*steps)
        assert few.startswith("inconclusive: 2 of at least 5 seeds, could have seen ±")
        assert wide.startswith("inconclusive: could have seen ±")
        assert none == "no difference"

    @given(st.lists(st.floats(-1, 1), min_size=5, max_size=9, unique=True), st.booleans())
    def test_turned_round_a_claim_is_reversed(self, gaps, higher):
        systems = {"a": spread(*[0.0] * len(gaps)), "b": spread(*gaps)}
        sides = ("higher", "lower") if higher else ("lower", "higher")
        steps = (Step("m", "a", "b", sides[0]),), (Step("m", "b", "a", sides[1]),)
        turned = (Step("m", "a", "b", sides[1]),)
        same, mirrored, other = (judge([Claim("X", "", s)], systems)[0] for s in (*steps, turned))
        assert same.verdict == mirrored.verdict
        swapped = {"holds": "does not hold", "does not hold": "holds"}
        assert other.verdict == swapped.get(same.verdict, same.verdict)


CLAIMS = [
    Claim("T1", "high > low", order("m", "high", "low"), "as published"),
    Claim("T5", "no gain | none", (Step("m", "again", "high"), Step("m", "?", "high"))),
    Claim("T6", "a young one", (Step("m", "low", "young"),)),
    Claim("T2", "with weights", (Step("m", "low", "high"),), untested={"always": "no weights"}),
]


class TestWritten:
    OUTCOMES = tuple(judge(CLAIMS, SYSTEMS))

    def test_the_frame_has_a_row_a_claim_and_a_row_a_step(self):
        frame = claims.frame(self.OUTCOMES, "grocery_random")
        assert ",".join(frame.columns) == (
            "id,claim,condition,step,difference,ci_low,ci_high,p_holm,n_seeds,verdict,synthetic"
        )
        assert frame[["id", "step", "n_seeds"]].to_numpy().tolist() == [
            ["T1", "", 5],
            ["T1", "m: high > low", 5],
            ["T5", "", 0],
            ["T5", "m: high > again", 5],
            ["T5", "m: high > ?", 0],
            ["T6", "", 2],
            ["T6", "m: young > low", 2],
            ["T2", "", 0],
        ]
        rows, steps = frame[frame["step"] == ""], frame[frame["step"] != ""]
        assert rows["verdict"].tolist() == [one.verdict for one in self.OUTCOMES]
        assert rows["condition"].tolist() == ["as published", "", "", ""]
        assert rows[["difference", "ci_low", "ci_high", "p_holm"]].isna().all(axis=None)
        assert steps["difference"].notna().tolist() == [True, True, False, True]
        first = self.OUTCOMES[0].steps[0]
        assert steps.iloc[0][["difference", "ci_low", "ci_high", "p_holm"]].tolist() == [
            *(first.estimate.value, first.estimate.low, first.estimate.high, first.p_holm)
        ]
        assert not frame["synthetic"].any()
        assert claims.frame(self.OUTCOMES, "demo")["synthetic"].all()

    def test_the_text_tallies_and_shows_every_tested_step(self):
        first, _, *rows = claims.markdown(self.OUTCOMES, "demo").splitlines()
        wanted = "Of 4 claims 1 holds, 1 is inconclusive, 2 are not tested here (synthetic)."
        assert first == wanted
        assert len(rows) == 2 + 4 + 3  # T5's row says which run its other step lacks
        assert r"no gain \| none" in rows[4]
        assert "synthetic" not in claims.markdown(self.OUTCOMES, "grocery_random")

    def test_the_table_says_what_was_seen(self):
        table = claims.table(self.OUTCOMES)
        assert table["id"].dropna().tolist() == ["T1, as published", "T5", "T6", "T2"]
        cells = table.loc[table["difference"].notna(), "difference"].tolist()
        assert cells[0].startswith("+0.200 [+0.19")
        assert len(cells) == 3
        reversed_ = Claim("T7", "", (Step("m", "high", "low"), Step("m", "?", "high")))
        assert claims.table(judge([reversed_], SYSTEMS))["difference"].tolist()[2] == ""
        assert sum("no run of ?" in one for one in table["verdict"]) == 1
        metric = self.OUTCOMES[0].steps[0].step.metric
        named = claims.table(self.OUTCOMES, {metric: "a heading"})["claim"]
        assert named[1] == table["claim"][1].replace(metric, "a heading")


class TestForest:
    def test_a_panel_a_metric_and_a_row_a_step(self):
        steps = [HOLDS, NONE, Comparison(Step("epochs", "a", "b", "lower"), about(2, 9), 3.0)]
        outcome = Outcome(Claim("T4", "", tuple(one.step for one in steps)), tuple(steps))
        figure = forest(outcome, {"f1": "macro-F1 (0–1)"})
        rates, epochs = figure.axes
        assert rates.get_xlabel() == "difference in macro-F1 (0–1)"
        assert epochs.get_xlabel() == "difference in epochs"
        intervals = [line.get_xdata() for line in rates.lines if len(line.get_xdata()) == 2]
        assert intervals == [pytest.approx([0.03, 0.07]), pytest.approx([-0.005, 0.005])]
        points = [line.get_xdata()[0] for line in rates.lines if len(line.get_xdata()) == 1]
        assert points == [0.05, 0.0]
        bands = [band.get_datalim(rates.transData).intervalx for band in rates.collections]
        assert [tuple(band) for band in bands] == [(-0.01, 0.01), (0, 0)] * 2
        words = [text.get_text() for text in rates.texts]
        assert words == ["b > a", "holds", "b > a", "no difference"]
        assert "T4: inconclusive" in figure.words()

    def test_a_claim_without_any_estimate_has_no_figure(self):
        assert forest(Outcome(Claim("X", "", (MISSING.step,)), (MISSING,))) is None
        assert forest(Outcome(Claim("X", "", ()), (), "no weights")) is None

    @pytest.mark.parametrize("seeds", [1, 5])
    def test_nothing_leaves_the_figure(self, seeds):
        name = "cross_entropy@held_out_untrained_$1"
        step = Step("f1", name, name.replace("1", "2"), "no higher")
        one = Comparison(step, about(0.05, np.nan if seeds == 1 else 0.5, seeds), 0.01)
        figure = forest(Outcome(Claim("X", "", (step,)), (one,)))
        width = figure.bbox.width
        boxes = [text.get_window_extent() for text in figure.axes[0].texts]
        assert min(box.x0 for box in boxes) >= 0
        assert max(box.x1 for box in boxes) <= width
