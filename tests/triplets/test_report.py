"""What the report shows and writes, and verdicts on cases whose verdict is plain to see."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import linregress

import reported
from changing import change_run
from studies.reporting.claims import UNTESTED, kind
from studies.runs.folder import load_run
from studies.triplets import report
from studies.triplets.figures import Results, read

HOSTILE = "<script>alert(1)</script>"
CLASSES = ["a|b/x_y_z/*1*", f"a|b/x_y_z/{HOSTILE.replace('/', '')}", "c&d/$e$/${f}%", "c&d/#/~\\g"]
TRUE = [name for name in CLASSES for _ in range(6)]
SYSTEMS = {"cross_entropy": 7, "triplet": 4, "flexible": 2}  # wrong items
VARIANTS = {"cross_entropy@images2": 9, "flexible@images2": 8}
TUNING = pd.DataFrame(
    {
        "model": ["flexible"] * 2 + ["triplet"] * 2,
        "trial": ["base", "wide", "base", "low"],
        "setting": ["margin 1", HOSTILE, "margin 0.5", "rate 0.1"],
        "validation_macro_f1": [0.71, 0.82, 0.64, 0.53],
        "validation_severe_errors": [3, 2, 5, 6],
        "epoch": [10, 12, 14, 16],
        "images": [400] * 4,
    }
)


@pytest.fixture
def made(sandbox, write_run):
    """Return a function: results, tidy frame and tests of a dataset whose runs are hand-written."""

    def make(dataset="made_up", systems=SYSTEMS | VARIANTS):
        for system, count in systems.items():
            predicted = [*TRUE[-count:], *TRUE[count:]]  # of the last class: severe
            bits = None if dataset == "demo" else 12
            write_run(sandbox / "root", system, 0, TRUE, predicted, dataset, bits=bits)
        results = read(dataset)
        results.folder.mkdir(parents=True, exist_ok=True)
        rows = "levels,round,milliseconds,ratio\n1,0,9,1\n1,1,9,1\n2,0,10,1.1\n2,1,9,1.2\n"
        (results.folder / "levels.csv").write_text(rows)
        return results, results.tidy(), results.tests()

    return make


@pytest.fixture
def tuned(sandbox):
    """The record of tuning on `made_tuning`."""
    file = sandbox / "root/reports/made_tuning/triplets_tuning.csv"
    file.parent.mkdir(parents=True)
    TUNING.to_csv(file, index=False)


def test_one_trial_of_each_model_is_the_chosen_one(tuned, sandbox):
    other = sandbox / "root/reports/made_tuning_published/triplets_tuning.csv"
    other.parent.mkdir()
    TUNING.replace({"model": {"flexible": "flexible@published"}})[:2].to_csv(other, index=False)
    lines = report.tuning("made_up").text.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "yes" in line]
    assert [row[0] for row in rows] == ["flexible", "triplet", "flexible@published"]


class TestFiles:
    @pytest.fixture
    def folder(self, made, tuned, sandbox):
        results, frame, tests = made()
        written = results.write(frame, tests, report.judged(results), "A lead.", "A note.")
        assert written.endswith("reports/made_up")
        return sandbox / "root/reports/made_up"

    def test_all_are_there_and_made_again_the_same(self, folder):
        files = [file for file in folder.rglob("*") if file.is_file()]
        names = {f"triplets{end}" for end in (".csv", "_tests.csv", ".md", ".tex", ".json")}
        names |= {"claims/triplets.md", "claims/triplets.csv", "triplets_tuning.csv"}
        names |= {"evidence/triplets/study/levels.csv"}
        names |= {f"claims/triplets_{id}.pdf" for id in ("T1", "T3", "T8")}
        assert {file.relative_to(folder).as_posix() for file in files} == names
        before = {file: file.read_bytes() for file in files}
        results = read("made_up")
        outcomes = report.judged(results)
        (stale := folder / "claims/triplets_T9.pdf").write_bytes(b"of a claim with one condition")
        results.write(results.tidy(), results.tests(), outcomes, "A lead.", "A note.")
        assert {file: file.read_bytes() for file in before} == before
        assert not stale.exists()

    def test_markdown_and_latex_are_whole(self, folder):
        for name in ("triplets.md", "claims/triplets.md"):
            reported.markdown_tables_are_whole((folder / name).read_text(encoding="utf-8"))
        reported.latex_is_whole((folder / "triplets.tex").read_text(encoding="utf-8"))


class TestParts:
    def test_severe_errors_are_shown_and_labels_escaped(self, made, draw, sandbox):
        for i in range(1, len(TRUE)):
            draw(sandbox / "data/colours" / f"{i:03}.png", seed=i)
        shown = list(report.severe_errors(made()[0]))
        headings = [f"{system}, seed 0: {n} severe errors" for system, n in SYSTEMS.items()]
        assert [one.text for one in shown[::2]] == headings
        pictures = "".join(one.html for one in shown[1::2])
        assert pictures.count("<img") == sum(SYSTEMS.values()) - 3
        assert pictures.count("no picture: 000.png") == 3
        assert "<script" not in pictures
        assert "&lt;script" in pictures


# wrong items of 60 in each seed, as the paper claims them
CLAIMED = {
    **{"cross_entropy": 30, "triplet": 12, "flexible": 0, "flexible@four_images": 12},
    **{"flexible@hardest": 12, "flexible@shuffled": 12},
    **{"flexible@held_out": 0, "cross_entropy@held_out": 12},
    **{"cross_entropy@held_out_untrained": 30, "cross_entropy@untrained": 30},
}
TESTED = ["T1", "T3", "T4", "T5", "T6", "T7", "T11"]
LABELS = ["a/x/1", "a/x/2", "b/y/1", "b/y/2"]
RATIOS = {1: 1.1, 2: 1.4, 4: 2.1, 8: 3.0}


@pytest.fixture
def judged(sandbox, write_run):
    """Return a function: wrong items of each system -> the outcomes of five seeds by claim."""

    def judged(errors, dataset="made_up", ratios=RATIOS, **changes):
        true = [name for name in LABELS for _ in range(15)]
        for system, count in errors.items():
            unseen = LABELS if "held_out" in system else ()
            for seed in range(5):
                predicted = list(true)
                for item in np.random.default_rng(seed).permutation(60)[:count]:
                    predicted[item] = LABELS[(LABELS.index(true[item]) + 2) % 4]
                run = system, seed, true, predicted, dataset
                write_run(sandbox / "root", *run, unseen=unseen, **changes)
        results = read(dataset)
        rows = [(n, k, ratio + k / 100) for n, ratio in ratios.items() for k in range(9)]
        table = pd.DataFrame(rows, columns=["levels", "round", "ratio"])
        results.folder.mkdir(parents=True, exist_ok=True)
        table.to_csv(results.folder / "levels.csv", index=False)
        outcomes = report.judged(results)
        assert [one.claim.id for one in outcomes] == [f"T{k}" for k in range(1, 13)]
        return {one.claim.id: one for one in outcomes}

    return judged


class TestClaims:
    def test_they_hold_as_claimed_and_do_not_turned_round(self, judged):
        outcomes = judged(CLAIMED)
        assert {id: outcomes[id].verdict for id in [*TESTED, "T8"]} == dict.fromkeys(
            [*TESTED, "T8"], "holds"
        )
        steps = [len(one.steps) for one in outcomes.values()]
        assert steps == [3, 0, 2, 1, 1, 2, 3, 1, 1, 1, 2, 0]
        figures_drawn = Results("claimed", {}).forests(outcomes.values())
        assert [len(figure.axes) for figure in figures_drawn] == [1, 1, 1, 1, 1, 2, 1, 2]
        turned = {system: 30 - count for system, count in CLAIMED.items()}
        outcomes = judged(turned, "turned", {1: 1, 4: 5, 8: 9})
        assert {outcomes[id].verdict for id in [*TESTED, "T8"]} == {"does not hold"}
        assert kind(outcomes["T2"].verdict) == UNTESTED

    def test_the_plateau_is_reached_within_five_percent_of_the_best(self, write_run, sandbox):
        true = [name for name in LABELS for _ in range(3)]
        folder = write_run(sandbox / "root", "flexible", 4, true, true)
        change_run(folder)
        curve = "epoch,validation_macro_f1\n1,\n2,0.5\n3,0.759\n4,0.76\n5,0.7\n6,0.8\n"
        (folder / "curves.csv").write_text(curve)
        assert report.plateau([load_run(folder)]).values == {4: 4.0}  # .95 of .8 is .76

    def test_time_grows_with_the_exponent_of_the_levels(self, judged):
        few = {"cross_entropy": 30, "flexible": 0}
        for name, exponent, verdict in (("root", 0.5, "holds"), ("power", 1.5, "does not hold")):
            ratios = {n: 2 * n**exponent for n in (1, 2, 8)}
            (step,) = judged(few, name, ratios)["T8"].steps
            assert step.verdict == verdict
            assert step.estimate.value == pytest.approx(exponent - 1, abs=0.02)

    def test_the_gain_falls_with_every_doubling_of_parameters(self, judged):
        wrong, sizes = {"quarter": 30, "half": 21, "frozen": 3}, np.log2([0.648, 1.311, 5.172])
        errors = {f"triplet@published_{name}": count for name, count in wrong.items()}
        same = {name.replace("triplet", "flexible"): 3 for name in errors}
        (step,) = judged({"flexible": 0} | errors | same)["T10"].steps
        assert step.verdict == "holds"
        tidy = read("made_up").tidy().query("metric == 'macro_f1'").set_index(["model", "variant"])
        means = tidy["mean"].unstack(0).drop("")
        gains = (means["flexible"] - means["triplet"])[[f"published_{name}" for name in wrong]]
        assert step.estimate.value == pytest.approx(linregress(sizes, gains).slope)
        (step,) = judged({"flexible": 0} | dict([*errors.items()][:2]) | same, "few")["T10"].steps
        assert step.none == "no run of sizes"

    def test_what_is_not_tested(self, judged):
        three = {"cross_entropy": 30, "triplet": 12, "flexible": 0}
        outcomes = judged(three)
        assert {id for id in outcomes if kind(outcomes[id].verdict) == UNTESTED} == {
            *("T2", "T4", "T5", "T6", "T7", "T9", "T10", "T11", "T12")
        }
        assert "DATASET=grocery_random_frozen" in outcomes["T2"].verdict
        assert "no run of cross_entropy@frozen" in outcomes["T9"].verdict
        frozen = {"name": "frozen", "weights": "somewhere", "hidden": 8}
        outcomes = judged(three, "frozen", backbone=frozen)
        assert kind(outcomes["T1"].verdict) == UNTESTED
        assert outcomes["T2"].verdict == "holds"
        # a variant does not stand for its model
        outcomes = judged({"cross_entropy": 30, "triplet": 12, "flexible@sum": 0}, "variant")
        assert "no run of flexible" in outcomes["T1"].verdict
