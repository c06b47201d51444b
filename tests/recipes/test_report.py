"""Results, verdicts and files of a report, on run folders written by hand."""

from collections import defaultdict

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

import meals
import reported
from sentences import refused
from studies.recipes import data, report, texts
from studies.recipes.report import judged, read

pytest_plugins = ["plates_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

PLATES = len(meals.IDS)
EVERY = np.arange(PLATES)
DISH = ["dish_top1", "dish_top5", "dish_macro_f1", "ece"]
INGREDIENTS = ["ingredient_micro_f1", "ingredient_macro_f1", "ingredient_map", "jaccard"]
USUAL = np.stack([meals.PRESENT[dish == meals.DISH].any(0) for dish in meals.DISH])
HOSTILE = "<script>alert(1)</script> | `*_$x$"


@pytest.fixture
def serves(sandbox, serve):
    """Write a run below the sandbox's root."""
    return lambda system, seed=0, **options: serve(sandbox / "root", system, seed, **options)


def rows(system):
    frame = read("made_up").summary()
    model, _, variant = system.partition("@")
    mine = frame[(frame["model"] == model) & (frame["variant"] == variant)]
    return mine.set_index("metric")


def by_hand(columns):
    """Metrics of the plates with given numbers, as scikit-learn has them."""
    dish, variant = columns["dish"], columns["variant"]
    predicted = np.stack(columns["dish_probabilities"]).argmax(1)
    named = np.stack(columns["named"])
    return {
        "dish_top1": lambda k: accuracy_score(dish[k], predicted[k]),
        "dish_macro_f1": lambda k: f1_score(
            dish[k], predicted[k], labels=np.unique(dish[k]), average="macro"
        ),
        "ingredient_micro_f1": lambda k: f1_score(meals.PRESENT[k], named[k], average="micro"),
        "variant_accuracy": lambda k: accuracy_score(variant[k], columns["variant_said"][k]),
    }


def sight_of(recipes):
    mentioned = texts.mentions(recipes, meals.INGREDIENTS, meals.DISHES)
    # plates drawn twice have the same ingredients, and are not compared
    return lambda k: float(np.nanmean(texts.sight(mentioned[k], meals.PRESENT[k], meals.DISH[k])))


class TestMetrics:
    @pytest.mark.parametrize("kind", ["eyes", "recipes"])
    def test_of_a_run_by_weights_are_those_of_plates_repeated(self, serves, kind):
        if kind == "eyes":
            serves("two_networks", seen=meals.eyes(1.5))
            wanted = by_hand(meals.eyes(1.5))
        else:
            frame = pd.read_parquet(
                serves("supervised", recipes=meals.exchanged(5)) / "predictions.parquet"
            )
            names = ("grounding_precision", "grounding_recall", "self_bleu")
            wanted = {name: lambda k, v=frame[name]: float(v.iloc[k].mean()) for name in names}
            wanted["sight"] = sight_of(meals.exchanged(5))
        results = read("made_up")
        metrics = results.metrics(results.runs[0])
        weights = np.random.default_rng(0).integers(0, 3, (4, PLATES))
        for name, metric in wanted.items():
            values = [metric(np.repeat(EVERY, row)) for row in weights]
            assert metrics[name](weights.astype(float)) == pytest.approx(values), name

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
        frame.assign(present=list(USUAL), sight=np.nan, self_bleu=np.nan).to_parquet(file)
        frame = rows("naive")
        assert not {"sight", "self_bleu"} & set(frame.index)
        assert frame["mean"].notna().all()

    def test_plates_of_one_photograph_are_drawn_together(self, serves):
        ids = [f"{k % 4}/{k // 3}-{k % 3 + 1}.png" for k in EVERY]
        source = {"name": "uecfood256", "ingredients": "mine.csv"}
        serves("majority", seen=meals.eyes(1.0) | {"id": ids}, source=source)
        results = read("made_up")
        assert results.clusters(results.runs[0]).tolist() == [str(k // 3) for k in EVERY]


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
                *("grounding_precision", "grounding_recall", "self_bleu", "sight")
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
            # a control is better in one of six differences
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
        serves("majority", seen=meals.eyes(0.1, ingredients=False))
        assert report.BY_DISH not in report.note(read("made_up"))  # it does not say
        serves("two_networks", seen=meals.eyes(1.0) | {"present": list(USUAL)})
        results = read("made_up")
        outcomes = judged(results)
        assert [one.untested for one in outcomes[:3]] == [report.OF_DISHES] * 3
        assert report.forests(outcomes) == []
        assert report.BY_DISH in report.note(results)


class TestShown:
    def test_of_everything(self, sandbox, serves, ordered):
        data.read(ordered())
        serves("majority", seen=meals.eyes(0.1, ingredients=False))
        for seed in (0, 1):
            serves("two_networks", seed, seen=meals.eyes(3.0, seed))
        serves("naive", recipes=meals.templates())
        serves("supervised", recipes=[[HOSTILE, *one] for one in meals.own()])
        results = read("made_up")
        frame, tests, outcomes = results.summary(), results.tests(), judged(results)
        assert "two_networks" in report.shown(frame, results.perceptions).text
        assert "supervised" in report.shown(frame, results.prompts, report.asked(results)).text
        for systems, metric in ((results.prompts, "sight"), (results.perceptions, "dish_top1")):
            assert " − " in report.differences(tests, systems, [metric]).text
        assert len(report.forests(outcomes)) == 2  # R2 lacks its controls
        plates = report.plates(results)
        assert plates.text.count("Recipe, supervised: ") == 6
        assert "<script" not in plates.html
        assert "two_networks with" in report.lead(results, frame, outcomes)
        report.write(results, frame, tests, outcomes)
        folder = sandbox / "root/reports/made_up"
        names = {file.relative_to(folder).as_posix() for file in folder.rglob("*.*")}
        ends = ("recipes.csv", "recipes_tests.csv", "recipes.md", "recipes.tex", "recipes.json")
        assert names == {*ends, "claims/recipes.csv", "claims/recipes.md"}
        for name in ("recipes.md", "claims/recipes.md"):
            reported.markdown_tables_are_whole((folder / name).read_text(encoding="utf-8"))
        kept = pd.read_csv(folder / "recipes.csv").set_index(["model", "metric"])
        top1 = [by_hand(meals.eyes(3.0, seed))["dish_top1"](EVERY) for seed in (0, 1)]
        assert kept.loc[("two_networks", "dish_top1"), "mean"] == pytest.approx(np.mean(top1))
