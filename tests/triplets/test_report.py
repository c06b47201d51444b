"""What the report shows and writes, and verdicts on cases whose verdict is plain to see."""

import csv
import re

import pandas as pd
import pytest

import reported
from studies.reporting.tables import BOOTSTRAP, rounded, to_html
from studies.triplets import audit, report
from studies.triplets.figures import paired_tests, read, summary

HOSTILE = "<script>alert(1)</script>"
CLASSES = ["a|b/x_y_z/*1*", f"a|b/x_y_z/{HOSTILE.replace('/', '')}", "c&d/$e$/${f}%", "c&d/#/~\\g"]
TRUE = [name for name in CLASSES for _ in range(6)]
SYSTEMS = {"cross_entropy": 7, "triplet": 4, "flexible": 2}  # wrong items
VARIANTS = {"cross_entropy@images2": 9, "flexible@images2": 8}
BITS = [0] * 2 + [4] * 3 + [10] * 4 + [12] + [30] * 14  # to the nearest training image
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
def made(sandbox, write_run, few_resamples):
    """Return a function: results, tidy frame and tests of a dataset whose runs are hand-written."""

    def make(dataset="made_up", systems=SYSTEMS | VARIANTS):
        for system, count in systems.items():
            predicted = [*TRUE[-count:], *TRUE[count:]]  # of the last class: severe
            write_run(sandbox / "root", system, 0, TRUE, predicted, dataset)
        runs = sandbox / "root/runs" / dataset / "triplets"
        (runs / "levels.csv").write_text("levels,milliseconds,ratio\n1,9.0,1.0\n3,9.9,1.1\n")
        ids = [f"{i:03}.png" for i in range(len(TRUE))]
        near = pd.DataFrame({"test": ids, "train": "x.png", "bits": BITS})
        near.to_csv(runs / "near_duplicates.csv", index=False)
        results = read(dataset)
        return results, summary(results), rounded(paired_tests(results))

    return make


@pytest.fixture
def tuned(sandbox):
    """The record of tuning on `made_tuning`."""
    file = sandbox / "root/reports/made_tuning/triplets_tuning.csv"
    file.parent.mkdir(parents=True)
    TUNING.to_csv(file, index=False)


class TestFiles:
    @pytest.fixture
    def folder(self, made, tuned, sandbox):
        assert report.write(*made()).endswith("reports/made_up")
        return sandbox / "root/reports/made_up"

    def test_all_are_there_and_made_again_the_same(self, folder):
        files = [file for file in folder.rglob("*") if file.is_file()]
        names = {f"triplets{end}" for end in (".csv", "_tests.csv", ".md", ".tex", ".json")}
        names |= {"claims/triplets.md", "triplets_tuning.csv"}
        assert {file.relative_to(folder).as_posix() for file in files} == names
        before = {file: file.read_bytes() for file in files}
        results = read("made_up")
        report.write(results, summary(results), rounded(paired_tests(results)))
        assert {file: file.read_bytes() for file in before} == before

    def test_tables(self, folder):
        header, *rows = csv.reader((folder / "triplets.csv").open(encoding="utf-8"))
        wanted = "study dataset model variant metric n mean std n_seeds ci_low ci_high published"
        assert header == wanted.split()
        assert len(rows) == 5 * 12
        frame = pd.read_csv(folder / "triplets.csv")
        frame = frame[frame["variant"].isna()].set_index(["model", "metric"])["mean"]
        for system, count in SYSTEMS.items():
            assert frame[system, "severe_errors"] == count
            assert frame[system, "accuracy"] == pytest.approx(1 - count / 24)
        tests = pd.read_csv(folder / "triplets_tests.csv")
        plain = ~(tests["first"] + tests["second"]).str.contains("@")
        # macro-F1, severe errors twice, and how the space clusters at two levels
        assert (plain.sum(), (~plain).sum()) == (3 * 5, 3 * 3)
        pd.testing.assert_frame_equal(pd.read_csv(folder / "triplets_tuning.csv"), TUNING)

    def test_markdown_and_latex_are_whole(self, folder):
        for name in ("triplets.md", "claims/triplets.md"):
            reported.markdown_tables_are_whole((folder / name).read_text(encoding="utf-8"))
        reported.latex_is_whole((folder / "triplets.tex").read_text(encoding="utf-8"))


class TestParts:
    def test_sentences(self, made):
        results, frame, tests = made()
        lead = report.lead(results, frame, tests)
        assert "5 systems, 24 test images, 4 classes; highest macro-F1: flexible" in lead
        assert lead.endswith("10 claims 1 holds, 2 are inconclusive, 7 are not tested here.")
        assert "all 4 classes" in report.note(results)

    def test_tuning_names_the_best_trial_of_each_model(self, tuned):
        table = TUNING.drop(columns="images").rename(columns=lambda name: name.replace("_", " "))
        table = table.rename(columns={"validation macro f1": "validation macro-F1"})
        table["validation macro-F1"] = ["0.710", "0.820", "0.640", "0.530"]
        table["chosen"] = ["", "yes", "yes", ""]
        assert to_html(table) in report.tuning("made_random").html
        assert report.tuning("fish_random") is None

    def test_near_duplicates_are_counted_and_left_out(self, made):
        counts, without = report.near_duplicates(made()[0])
        shares = re.findall(r">(\d+\.\d)%<", counts.html)
        assert shares == [f"{100 * n / 24:.1f}" for n in (2, 5, 5, 9, 10)]
        assert "all 24 test images and on the 15 without a near-duplicate" in without.text
        # those taken for another class are among the first nine images, which are left out
        for system, count in SYSTEMS.items():
            (row,) = [row for row in without.html.split("<tr>") if f"{system}</td>" in row]
            assert re.findall(r">(\d+\.0)<", row) == [f"{count}.0", "0.0"]

    def test_what_is_not_at_hand_or_not_asked_for_is_left_out(self, made, sandbox):
        results, frame, _ = made("demo", SYSTEMS)
        assert list(report.near_duplicates(results)) == []
        assert report.variants(frame) is None
        results = made("elsewhere", SYSTEMS)[0]
        (results.folder / "near_duplicates.csv").unlink()
        (said,) = report.near_duplicates(results)
        assert "Not counted here: " in said.text

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

    def test_tables_and_figures(self, made):
        results, frame, tests = made()
        for system in SYSTEMS:
            assert system in report.headline(results, frame).text
            assert system in report.space(frame).text
        assert "@" not in report.differences(tests).text
        assert all(name in report.variants(frame).text for name in VARIANTS)
        assert len(report.confusions(results)) == 3 + 2
        assert "make study DATASET=made_up STUDY=triplets SEEDS=0" in report.origin(results).text

    def test_the_cost_of_levels_is_measured_once(self, made, monkeypatch):
        results = made(systems={"flexible": 2})[0]
        file = results.folder / "levels.csv"
        before = file.read_bytes()
        report.levels_measured(results)
        assert file.read_bytes() == before
        file.unlink()
        monkeypatch.setattr(audit, "levels", lambda: pd.DataFrame({"levels": [1]}))
        report.levels_measured(results)
        assert file.read_text() == "levels\n1\n"


FROZEN = {"name": "frozen", "weights": "somewhere", "hidden": 8}
THREE = ("cross_entropy", "triplet", "flexible")
SPACE = ("cross_entropy", "cross_entropy@untrained", "flexible")
HELD_OUT = ("cross_entropy@held_out", "cross_entropy@held_out_untrained", "flexible@held_out")
SCHEDULES = ("flexible", "flexible@hardest", "triplet@hardest", "triplet@two_stages")
UP, DOWN, BOTH = (0.03, 0.05), (-0.05, -0.03), (-0.01, 0.03)
WORD = {"up": UP, "down": DOWN, "both": BOTH}


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


@pytest.fixture
def judge(sandbox, write_run):
    """Return a function: systems run, intervals of second − first -> the ledger by claim id."""

    def judge(systems, differences, dataset="made_up", seeds=3, stopped=None, levels="", **changes):
        for system in systems:
            why = (stopped or {}).get(system, "")
            true = ["a/x/1"] * 4 + ["b/y/2"] * 4
            folder = sandbox / "root/runs" / dataset / "triplets" / system
            if not folder.exists():
                write_run(sandbox / "root", system, 0, true, true, dataset, stopped=why, **changes)
        rows = [
            (first, second, metric, BOOTSTRAP, seeds, sum(interval) / 2, *interval)
            for (metric, first, second), interval in differences.items()
        ]
        columns = ["first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high"]
        results = read(dataset)
        if levels:
            (results.folder / "levels.csv").write_text(levels)
        ledger = report.ledger(results, pd.DataFrame(rows, columns=columns))
        assert [claim.id for claim in ledger] == [f"T{k}" for k in range(1, 11)]
        return {claim.id: claim for claim in ledger}

    return judge


class TestLedger:
    @pytest.mark.parametrize(("id", "systems", "differences", "wanted"), CASES)
    def test_sides(self, judge, id, systems, differences, wanted):
        def verdict(ways):
            given = {step: WORD[way] for step, way in zip(differences, ways, strict=True)}
            return judge(systems, given)[id].verdict

        assert verdict(wanted) == "holds (3 seeds)"
        other = {"up": "down", "down": "up"}
        for place in (0, -1):
            ways = list(wanted)
            ways[place] = other[ways[place]]
            assert verdict(ways) == "does not hold (3 seeds)"
            ways[place] = "both"
            assert verdict(ways) == "inconclusive (3 seeds)"
        found = judge(systems, dict.fromkeys(differences[1:], UP))[id]
        assert found.verdict == "not tested here: the systems have no seed in common"
        found = judge([*systems[1:], "hybrid"], dict.fromkeys(differences, UP), "fewer")[id]
        assert found.verdict == f"not tested here: no run of {systems[0]} on fewer"
        assert found.figure == ""

    @pytest.mark.parametrize(
        ("interval", "word"),
        [
            ((-0.02, 0.009), "holds"),
            ((0.001, 0.009), "holds"),  # a gain, too small to be called one
            ((-0.02, 0.011), "inconclusive"),
            ((0.001, 0.02), "does not hold"),
        ],
    )
    def test_four_images_do_not_help(self, judge, interval, word):
        systems = ("flexible", "flexible@four_images")
        found = judge(systems, {("macro_f1", *systems): interval})["T5"]
        assert found.verdict == f"{word} (3 seeds)"

    @pytest.mark.parametrize(
        ("ratios", "word"),
        [
            ({1: 1.2, 2: 1.9, 8: 7.9}, "holds"),
            ({1: 1.0, 2: 2.1, 8: 1.2}, "does not hold"),
            ({1: 1.3, 2: 1.3}, "does not hold"),
        ],
    )
    def test_at_most_so_many_times_as_there_are_levels(self, judge, ratios, word):
        rows = "".join(f"{level},{ratio}\n" for level, ratio in ratios.items())
        found = judge(["flexible"], {}, levels=f"levels,ratio\n{rows}")["T8"]
        assert found.verdict == word
        assert [float(one) for one in re.findall(r"×([\d.]+)", found.figure)] == [*ratios.values()]

    def test_what_is_not_tested(self, judge):
        found = judge(THREE, dict.fromkeys(ORDER, UP))
        for id in ("T2", "T9", "T10"):
            assert "DATASET=grocery_random_frozen" in found[id].verdict
        assert found["T8"].verdict.startswith("not tested here: its cost was not measured")
        found = judge(THREE, dict.fromkeys(ORDER, UP), "frozen", backbone=FROZEN)
        assert found["T1"].verdict == "not tested here: this dataset id has a frozen backbone"
        assert found["T2"].verdict == "holds (3 seeds)"
        # a variant does not stand for its model
        found = judge(["cross_entropy", "triplet", "flexible@sum"], {}, "variant")
        assert found["T1"].verdict == "not tested here: no run of flexible on variant"

    def test_words(self, judge):
        assert judge(THREE, dict.fromkeys(ORDER, UP), "demo", seeds=1)["T1"].verdict == (
            "holds (one seed, synthetic)"
        )
        figure = judge(THREE, dict.fromkeys(SEVERE, (-5, -2)))["T3"].figure
        assert figure.startswith("flexible − cross-entropy −3.5 [−5, −2]; flexible − triplet ")
        figure = judge(SPACE, dict.fromkeys(CLUSTERS, UP), "other")["T7"].figure
        assert figure.startswith("NMI of classes, flexible − cross-entropy +0.040")
        assert "NMI of categories, flexible − cross-entropy@untrained −0.040" in figure

    def test_margin_and_schedule_stand_beside_the_claim_and_do_not_decide(self, judge):
        square = steps(
            "macro_f1",
            "flexible flexible@one_stage",
            "triplet triplet@two_stages",
            "triplet flexible@one_stage",
            "flexible triplet@two_stages",
        )
        systems = (*SCHEDULES, "flexible@one_stage", "triplet", "hybrid")
        given = dict(zip([*SCHEDULE, *square], [DOWN, UP, DOWN, UP, UP, DOWN], strict=True))
        why = {"triplet@hardest": "collapsed: every image in one place", "hybrid": "stalled: so"}
        found = judge(systems, given, stopped=why)["T4"]
        assert found.verdict == "holds (3 seeds)"
        pairs = ("flexible − flexible@hardest", "triplet@two_stages − triplet@hardest")
        pairs += ("flexible − flexible@one_stage", "triplet@two_stages − triplet")
        pairs += ("flexible@one_stage − triplet", "flexible − triplet@two_stages")
        wanted = [f"{pair} +0.040 [+0.030, +0.050]" for pair in pairs]
        assert found.figure == "; ".join([*wanted, "triplet@hardest, seed 0, collapsed"])
        worse = given | dict.fromkeys(square, BOTH)
        assert judge(systems, worse)["T4"].verdict == "holds (3 seeds)"
