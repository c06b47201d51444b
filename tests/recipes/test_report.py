"""Results, verdicts and files of a report, on run folders written by hand."""

from collections import Counter, defaultdict

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

import meals
import reported
from sentences import refused
from studies.recipes import data, figures, metrics, readers, report
from studies.recipes.report import judged, read
from studies.reporting import tables
from studies.reporting.results import keep

pytest_plugins = ["plates_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

PLATES = len(meals.IDS)
EVERY = np.arange(PLATES)
DISH = ["dish_top1", "dish_top5", "dish_macro_f1", "ece"]
INGREDIENTS = ["ingredient_micro_f1", "ingredient_macro_f1", "ingredient_map", "jaccard"]
USUAL = np.stack([meals.PRESENT[dish == meals.DISH].any(0) for dish in meals.DISH])
PAIR = ("naive", "supervised")
HOSTILE = "<script>alert(1)</script> | `*_$x$"


@pytest.fixture
def serves(sandbox, serve):
    """Write a run below the sandbox's root."""
    return lambda system, seed=0, **options: serve(sandbox / "root", system, seed, **options)


def rows(system):
    frame = read("made_up").tidy()
    model, _, variant = system.partition("@")
    mine = frame[(frame["model"] == model) & (frame["variant"] == variant)]
    return mine.set_index("metric")


def by_hand(columns):
    """Metrics of the plates with given numbers, as scikit-learn has them."""
    dish, variant = columns["dish"], columns["variant"]
    predicted, named = columns["dish_said"], metrics.mask(columns["named"], len(meals.INGREDIENTS))
    return {
        "dish_top1": lambda k: accuracy_score(dish[k], predicted[k]),
        "dish_macro_f1": lambda k: f1_score(
            dish[k], predicted[k], labels=np.unique(dish[k]), average="macro"
        ),
        "ingredient_micro_f1": lambda k: f1_score(meals.PRESENT[k], named[k], average="micro"),
        "variant_accuracy": lambda k: accuracy_score(variant[k], columns["variant_said"][k]),
    }


class TestMetrics:
    def test_means_and_spread_over_seeds(self, serves):
        seeds = [1, 3, 7]
        for seed in seeds:
            serves("two_networks", seed, seen=meals.eyes(1.5, seed))
            serves("naive", seed, recipes=meals.own(), found={"distinct_2": 0.1 + seed})
        frame = rows("two_networks")
        assert list(frame.index) == [*DISH, *INGREDIENTS, "variant_accuracy"]
        for metric in by_hand(meals.eyes(1.5)):
            values = [by_hand(meals.eyes(1.5, seed))[metric](EVERY) for seed in seeds]
            row = frame.loc[metric, ["mean", "std", "n", "n_seeds"]].tolist()
            assert row == pytest.approx([np.mean(values), np.std(values, ddof=1), PLATES, 3])
        row = rows("naive").loc["distinct_2"]
        assert row[["mean", "std"]].tolist() == pytest.approx([0.1 + 11 / 3, np.std(seeds, ddof=1)])

    def test_what_cannot_be_compared_has_no_row(self, serves):
        file = serves("naive", recipes=meals.own()) / "predictions.parquet"
        frame = pd.read_parquet(file)
        frame.assign(present=metrics.listed(USUAL), self_bleu=np.nan).to_parquet(file)
        frame = rows("naive")
        assert not {"sight", "self_bleu"} & set(frame.index)
        assert frame["mean"].notna().all()


class TestRead:
    def test_prompts_may_be_of_fewer_plates_but_alike_systems_of_the_same(self, serves):
        few = {key: list(values)[1:] for key, values in meals.eyes(1.0).items()}
        assert "no evaluated run" in refused(read, "made_up")
        serves("two_networks", seen=few)
        serves("naive", recipes=meals.own())
        assert read("made_up").items == PLATES
        serves("shared_backbone", seen=meals.eyes(1.0))
        assert "different plates" in refused(read, "made_up")

    def test_eyes_stand_against_eyes_and_prompts_against_prompts(self, serves):
        serves("majority", seen=meals.eyes(0.1, ingredients=False))
        serves("frequencies", seen=meals.eyes(0.1, dishes=False))
        for seed in (0, 1):
            serves("two_networks", seed, seen=meals.eyes(1.0, seed))
        serves("naive", 0, recipes=meals.templates())
        serves("supervised", 0, recipes=meals.own())
        serves("oracle", 1, recipes=meals.own())
        compared = defaultdict(set)
        for row in read("made_up").tests().itertuples():
            compared[row.first, row.second, row.seeds].add(row.metric)
        assert compared == {
            ("majority", "frequencies", 1): {"variant_accuracy"},
            # the one run of a baseline against each seed, a prompt's against the same seed
            ("majority", "two_networks", 2): {*DISH, "variant_accuracy"},
            ("frequencies", "two_networks", 2): {*INGREDIENTS, "variant_accuracy"},
            ("naive", "supervised", 1): {
                *("grounding_precision", "grounding_recall", "hallucination", "self_bleu", "sight")
            },
        }


WRITTEN = {"own": meals.own, "templates": meals.templates, "exchanged": meals.exchanged}
GOOD = {
    **{"naive": "templates", "typical": "templates", "shuffled": "exchanged"},
    **{"supervised": "own", "oracle": "own"},
}
UNTESTED, GATE = "not tested here: ", "told what is on the plate"


class TestClaims:
    @pytest.fixture
    def verdicts(self, serves):
        """Return a function: what prompts write, and how sharp eyes are -> claim id -> verdict."""

        def judge(written, blind=0.1, sees=6.0, seeds=range(5)):
            serves("frequencies", seen=meals.eyes(blind, dishes=False))
            for seed in seeds:
                serves("two_networks", seed, seen=meals.eyes(sees, seed))
                for system, recipes in written.items():
                    serves(system, seed, recipes=WRITTEN[recipes]())
            return {one.claim.id: one.verdict for one in judged(read("made_up"))}

        return judge

    @pytest.mark.parametrize(
        ("changes", "r1", "r2"),
        [
            ({}, "holds", "holds"),
            # the naive prompt's recipes are not alike, and not blind
            ({"naive": "own", "supervised": "templates"}, "does not hold", UNTESTED + GATE),
            # alike as well, but blind
            ({"supervised": "templates"}, "inconclusive", None),
            # a control is better in one of seven differences
            ({"typical": "own", "supervised": "exchanged"}, "holds", "does not hold"),
            ({"shuffled": "own"}, "holds", "inconclusive"),
        ],
    )
    def test_sides_of_prompts(self, verdicts, changes, r1, r2):
        found = verdicts(GOOD | changes)
        assert found["R1"].partition(": ")[0] == r1
        assert r2 is None or found["R2"].startswith(r2)
        assert found["R4"].startswith(UNTESTED)

    @pytest.mark.parametrize(
        ("blind", "sees", "verdict"),
        [(0.1, 6.0, "holds"), (6.0, 0.1, "does not hold"), (2.0, 2.0, "inconclusive")],
    )
    def test_sides_of_eyes(self, verdicts, blind, sees, verdict):
        assert verdicts({}, blind, sees)["R3"].startswith(verdict)

    def test_few_seeds_and_systems_that_were_not_run(self, verdicts):
        found = verdicts({"naive": "templates"}, seeds=range(4))
        assert found["R1"] == f"{UNTESTED}no run of supervised"
        assert found["R2"].startswith(f"{UNTESTED}no run of ")
        assert found["R3"].startswith("inconclusive: 4 of at least 5 seeds")

    def test_ingredients_by_dish_test_nothing(self, serves):
        usual = {"present": metrics.listed(USUAL)}
        serves("majority", seen=meals.eyes(0.1, ingredients=False) | usual)
        serves("two_networks", seen=meals.eyes(1.0, ingredients=False) | usual)
        results = read("made_up")
        outcomes = judged(results)
        assert [one.untested for one in outcomes[:3]] == [outcomes[0].claim.untested["by_dish"]] * 3
        assert not any(one.steps for one in outcomes[:3])
        assert results.paper["by_dish"] in report.note(results)


class TestShown:
    def test_of_everything(self, sandbox, serves, ordered):
        data.read(ordered())
        serves("majority", seen=meals.eyes(0.1, ingredients=False))
        for seed in (0, 1):
            serves("two_networks", seed, seen=meals.eyes(3.0, seed))
        serves("naive", recipes=meals.templates())
        serves("supervised", recipes=[[HOSTILE, *one] for one in meals.own()])
        results = read("made_up")
        frame, tests, outcomes = results.tidy(), results.tests(), judged(results)
        assert report.asked(results).startswith("The prompts tell what two_networks sees")
        plates = figures.cases({name: runs[0] for name, runs in results.prompts.items()})
        assert plates.text.count("Prompt supervised, recipe: ") == 6
        assert "<script" not in plates.html
        (axis,) = figures.trade(tables.of(frame, results.prompts)).axes
        points = [line.get_xydata()[0] for line in axis.lines if line.get_marker() != "None"]
        means = frame.set_index(["model", "metric"])["mean"]
        wanted = [(means[name]["hallucination"], means[name]["grounding_recall"]) for name in PAIR]
        np.testing.assert_allclose(sorted(map(tuple, points)), sorted(wanted))
        lead = report.lead(results, frame, outcomes)
        assert "two_networks with" in lead
        results.write(frame, tests, outcomes, lead, report.note(results))
        folder = sandbox / "root/reports/made_up"
        for name in ("recipes.md", "claims/recipes.md"):
            reported.markdown_tables_are_whole((folder / name).read_text(encoding="utf-8"))
        kept = pd.read_csv(folder / "recipes.csv").set_index(["model", "metric"])
        top1 = [by_hand(meals.eyes(3.0, seed))["dish_top1"](EVERY) for seed in (0, 1)]
        assert kept.loc[("two_networks", "dish_top1"), "mean"] == pytest.approx(np.mean(top1))


def test_the_evidence_alone_makes_the_same_report(dinner, sandbox, monkeypatch):
    def tables():
        results = read("tiny")
        outcomes = judged(results)
        axes = figures.calibration(results.trained).axes
        drawn = [line.get_xydata().tolist() for axis in axes for line in axis.lines]
        said = figures.cases({name: runs[0] for name, runs in results.prompts.items()}).text
        return results, results.tidy(), results.tests(), outcomes, drawn, said

    monkeypatch.setenv("STUDIES_ROOT", str(dinner.root))
    results, frame, tests, outcomes, drawn, _ = tables()
    remarks = sum((Counter(run.provenance.get("remarks")) for run in results.runs), Counter())
    odd = report.failures(results)
    assert odd["prompt"].tolist() == list(results.prompts)
    assert {what: odd[what].sum() for what in remarks} == remarks
    for run in results.runs:  # the report says what the run does
        rows = frame[(frame["model"] == run.params["model"])]
        rows = rows[rows["variant"] == run.params["variant"]].set_index("metric")["mean"]
        assert {**run.metrics, "n": 0} == pytest.approx({**rows.to_dict(), "n": 0}, abs=1e-12)
        keep(run, sandbox / "root/runs/tiny/recipes" / run.system / run.folder.name)
    monkeypatch.setenv("STUDIES_ROOT", str(sandbox / "root"))
    monkeypatch.setattr(data, "read", lambda _: readers.food101(sandbox / "nowhere", None))
    _, again, tested, judgements, redrawn, said = tables()
    pd.testing.assert_frame_equal(again, frame)
    pd.testing.assert_frame_equal(tested, tests)
    assert [one.verdict for one in judgements] == [one.verdict for one in outcomes]
    assert redrawn == drawn
    assert said.startswith("Not shown here: ")
    assert {file.suffix for file in (sandbox / "root/runs").rglob("*.*")} == {
        *(".csv", ".json", ".parquet", ".yaml")
    }
