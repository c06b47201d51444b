"""Results, verdicts and files of a report, on run folders written by hand."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

import meals
from sentences import refused
from studies.recipes import data, figures, report, texts
from studies.recipes.report import paired_tests, read, summary
from studies.reporting import bootstrap
from studies.reporting.tables import BOOTSTRAP

pytest_plugins = ["plates_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

PLATES = len(meals.IDS)
EVERY = np.arange(PLATES)
EYES = ("frequencies", "two_networks", "shared_backbone@variants")
PROMPTS = ("naive", "typical", "shuffled", "supervised")
DISH = ["dish_top1", "dish_top5", "dish_macro_f1", "ece"]
INGREDIENTS = ["ingredient_micro_f1", "ingredient_macro_f1", "ingredient_map", "jaccard"]
USUAL = np.stack([meals.PRESENT[dish == meals.DISH].any(0) for dish in meals.DISH])


@pytest.fixture
def serves(sandbox, serve):
    """Write a run below the sandbox's root."""
    return lambda system, seed=0, **options: serve(sandbox / "root", system, seed, **options)


@pytest.fixture
def results(serves):
    """Return a function: systems that were run -> results."""

    def run(*systems, dataset="made_up", **options):
        for system in systems:
            if system in (*PROMPTS, "oracle"):
                serves(system, recipes=meals.own(), dataset=dataset, **options)
            else:
                serves(system, seen=meals.eyes(1.0), dataset=dataset)
        return read(dataset)

    return run


def rows(system):
    frame = summary(read("made_up"))
    model, _, variant = system.partition("@")
    mine = frame[(frame["model"] == model) & (frame["variant"] == variant)]
    return mine.set_index("metric")


def of_pair(tests, first, second):
    return tests[(tests["first"] == first) & (tests["second"] == second)].set_index("metric")


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


class TestSummary:
    @pytest.mark.parametrize("seeds", [[0], [1, 3, 7]])
    def test_values_and_intervals_of_eyes(self, serves, seeds):
        for seed in seeds:
            serves("two_networks", seed, seen=meals.eyes(1.5, seed))
        frame = rows("two_networks")
        assert list(frame.index) == [*DISH, *INGREDIENTS, "variant_accuracy"]
        by_seed = [by_hand(meals.eyes(1.5, seed)) for seed in seeds]
        for metric in by_seed[0]:
            values = [one[metric](EVERY) for one in by_seed]
            assert frame.loc[metric, "mean"] == pytest.approx(np.mean(values))
            samples = bootstrap.bootstrap(
                lambda items, k, m=metric: by_seed[k][m](items), PLATES, len(seeds)
            )
            interval = frame.loc[metric, ["ci_low", "ci_high"]].tolist()
            assert interval == pytest.approx(bootstrap.interval(samples))
            if len(seeds) > 1:
                assert frame.loc[metric, "std"] == pytest.approx(np.std(values, ddof=1))
        assert (frame["n_seeds"] == len(seeds)).all()
        assert (frame["n"] == PLATES).all()

    def test_values_and_intervals_of_recipes(self, serves):
        recipes = {0: meals.templates(), 5: meals.exchanged(5)}
        for seed, own in recipes.items():
            serves("supervised", seed, recipes=own, found={"distinct_2": 0.1 + seed})
        frame = rows("supervised")
        frames = [run.predictions for run in read("made_up").runs]
        metrics = {
            name: [lambda k, v=one[name]: float(v.iloc[k].mean()) for one in frames]
            for name in ("grounding_precision", "grounding_recall", "self_bleu")
        }
        metrics["sight"] = [sight_of(own) for own in recipes.values()]
        for name, by_seed in metrics.items():
            mean = np.mean([metric(EVERY) for metric in by_seed])
            assert frame.loc[name, "mean"] == pytest.approx(mean)
            samples = bootstrap.bootstrap(lambda items, k, m=by_seed: m[k](items), PLATES, 2)
            interval = frame.loc[name, ["ci_low", "ci_high"]].tolist()
            assert interval == pytest.approx(bootstrap.interval(samples))
        row = frame.loc["distinct_2"]
        assert row[["mean", "std"]].tolist() == pytest.approx([2.6, np.std([0.1, 5.1], ddof=1)])
        assert row[["ci_low", "ci_high"]].isna().all()

    def test_what_cannot_be_compared_has_no_row(self, serves):
        file = serves("naive", recipes=meals.own()) / "predictions.parquet"
        frame = pd.read_parquet(file)
        frame.assign(present=list(USUAL), sight=np.nan, self_bleu=np.nan).to_parquet(file)
        frame = rows("naive")
        assert not {"sight", "self_bleu"} & set(frame.index)
        assert frame["mean"].notna().all()


class TestRead:
    def test_the_order_of_systems(self, results):
        eyes = ["two_networks", "two_networks@wide", "shared_backbone", "shared_backbone@variants"]
        prompts = ["naive", "typical", "shuffled", "supervised", "oracle"]
        order = ["majority", "frequencies", *eyes, *prompts]
        given = results(*reversed(order))
        assert list(given.systems) == order
        assert list(given.trained) == eyes
        assert list(given.prompts) == prompts
        assert list(given.perceptions) == ["majority", "frequencies", *eyes]
        assert (given.items, len(given.runs)) == (PLATES, 11)

    def test_prompts_may_be_of_fewer_plates_but_alike_systems_of_the_same(self, serves):
        few = {key: list(values)[1:] for key, values in meals.eyes(1.0).items()}
        assert "no evaluated run" in refused(read, "made_up")
        serves("two_networks", seen=few)
        serves("naive", recipes=meals.own())
        assert read("made_up").items == PLATES
        serves("shared_backbone", seen=meals.eyes(1.0))
        assert "runs were tested on different plates; delete those" in refused(read, "made_up")

    def test_whose_eyes_prompts_used(self, serves):
        serves("majority", seen=meals.eyes(1.0))
        assert read("made_up").eyes == ""
        serves("shared_backbone@variants", seen=meals.eyes(1.0), facts={"best_score": 1.0})
        serves("two_networks", seen=meals.eyes(1.0), facts={"best_score": 0.4})
        serves("shared_backbone", seen=meals.eyes(1.0), facts={"best_score": 0.5})
        assert read("made_up").eyes == "shared_backbone"
        serves("naive", recipes=meals.own(), facts={"perception": "two_networks"})
        assert read("made_up").eyes == "two_networks"


class TestPairedTests:
    def test_eyes_stand_against_eyes_and_prompts_against_prompts(self, serves):
        serves("majority", seen=meals.eyes(0.1, ingredients=False))
        serves("frequencies", seen=meals.eyes(0.1, dishes=False))
        serves("two_networks", seen=meals.eyes(1.0))
        for system in ("naive", "supervised", "oracle"):
            serves(system, recipes=meals.templates())
        tests = paired_tests(read("made_up"))
        assert set(tests["test"]) == {BOOTSTRAP}
        pairs = list(dict.fromkeys(zip(tests["first"], tests["second"], strict=True)))
        assert pairs == [
            ("majority", "frequencies"),
            ("majority", "two_networks"),
            ("frequencies", "two_networks"),
            ("naive", "supervised"),
            ("naive", "oracle"),
            ("supervised", "oracle"),
        ]
        metrics = [list(of_pair(tests, *pair).index) for pair in pairs[:4]]
        assert metrics[:2] == [["variant_accuracy"], [*DISH, "variant_accuracy"]]
        assert metrics[2] == [*INGREDIENTS, "variant_accuracy"]
        assert set(metrics[3]) == {"grounding_precision", "grounding_recall", "self_bleu", "sight"}
        for column in ("difference", "ci_low", "ci_high", "p"):
            assert tests[column].tolist() == tests[column].round(4).tolist()

    def test_sight_is_resampled_by_pairs_of_plates(self, serves):
        serves("naive", recipes=meals.templates())
        serves("supervised", recipes=meals.own())
        row = of_pair(paired_tests(read("made_up")), "naive", "supervised").loc["sight"]
        blind, sees = sight_of(meals.templates()), sight_of(meals.own())
        samples = bootstrap.bootstrap(lambda items, _: sees(items) - blind(items), PLATES)
        interval = [row["ci_low"], row["ci_high"]]
        assert interval == pytest.approx(bootstrap.interval(samples), abs=5e-5)
        assert row["ci_low"] > 0.1  # templates see nothing, and these name all


UP, DOWN, BOTH = (0.03, 0.05), (-0.05, -0.03), (-0.01, 0.03)
BLIND, SEEING, UNSURE = (-0.01, 0.01), (0.05, 0.09), (-0.01, 0.05)


def one_test(first, second, metric, interval, backwards=False, seeds=3):
    """A paired test of second minus first; `backwards` it stands the other way in the table."""
    low, high = interval
    if backwards:
        (first, second), (low, high) = (second, first), (-high, -low)
    return {
        **{"first": first, "second": second, "metric": metric, "test": BOOTSTRAP, "seeds": seeds},
        **{"difference": (low + high) / 2, "ci_low": low, "ci_high": high, "p": 0.04},
    }


def table_of(*tests):
    return pd.DataFrame(tests, columns=list(one_test("", "", "", UP)))


def frame_of(sight, recall=0.7):
    low, high = sight
    start = {"study": "recipes", "dataset": "made_up", "model": "naive", "variant": ""}
    row = {"metric": "sight", "mean": (low + high) / 2, "ci_low": low, "ci_high": high}
    other = {"model": "supervised", "metric": "grounding_recall", "mean": recall}
    # variants do not decide
    decoy = {"variant": "other", "metric": "sight", "mean": 0.9, "ci_low": 0.8, "ci_high": 1.0}
    return pd.DataFrame([{**start, **decoy}, {**start, **row}, {**start, **other}])


def judged(claim, results, tests, sight=BLIND):
    """The row of the ledger."""
    ledger = report.ledger(results, tests, frame_of(sight))
    return {row.id: row for row in ledger}[claim]


class TestLedger:
    @pytest.mark.parametrize("backwards", [False, True])
    @pytest.mark.parametrize(
        ("alike", "sight", "word"),
        [
            (UP, BLIND, "holds"),
            (DOWN, BLIND, "does not hold"),
            (UP, SEEING, "does not hold"),
            (BOTH, SEEING, "does not hold"),
            (BOTH, BLIND, "inconclusive"),
            (UP, UNSURE, "inconclusive"),
        ],
    )
    def test_r1_asks_for_alike_and_blind(self, results, alike, sight, word, backwards):
        tests = table_of(one_test("supervised", "naive", "self_bleu", alike, backwards))
        row = judged("R1", results("naive", "supervised"), tests, sight)
        assert row.verdict == f"{word} (3 seeds)"

    def test_r1_says_how_recipes_were_drawn_and_what_was_found(self, results, ordered):
        writing = {**ordered("naive").writing.model_dump(), "temperature": 0.0}
        given = results("naive", "supervised", dataset="demo", writing=writing)
        tests = table_of(one_test("supervised", "naive", "self_bleu", UP, seeds=1))
        row = judged("R1", given, tests, (-0.0104, 0.0304))
        assert "greedy, 1 a plate" in row.experiment
        assert row.figure == (
            "self-BLEU naive − supervised +0.040 [+0.030, +0.050]; "
            "sight of naive +0.010 [−0.010, +0.030]"
        )
        assert row.verdict == "inconclusive (one seed, synthetic)"
        for sight, empty in ((BLIND, table_of()), ((np.nan, np.nan), tests)):
            row = judged("R1", given, empty, sight)
            assert row.verdict == "not tested here: too few plates of a dish to compare"

    @pytest.mark.parametrize("part", ["precision", "recall"])
    @pytest.mark.parametrize("control", PROMPTS[:3])
    def test_r2_asks_for_six_differences(self, results, control, part):
        given = results(*PROMPTS)
        steps = {(c, p): UP for c in PROMPTS[:3] for p in ("precision", "recall")}

        def judge(interval):
            changed = (steps | {(control, part): interval}).items()
            tests = [one_test(c, "supervised", f"grounding_{p}", i) for (c, p), i in changed if i]
            return judged("R2", given, table_of(*tests))

        row = judge(UP)
        assert row.verdict == "holds (3 seeds)"
        recall, *parts = row.figure.split("; ")
        assert recall == "recall 0.700"
        wanted = [f"{p} supervised − {c} +0.040 [+0.030, +0.050]" for c, p in steps]
        assert sorted(parts) == sorted(wanted)
        assert judge(DOWN).verdict == "does not hold (3 seeds)"
        assert judge(BOTH).verdict == "inconclusive (3 seeds)"
        assert judge(None).verdict == "not tested here: the prompts have no seed in common"

    @pytest.mark.parametrize(
        ("blind", "taught", "word", "beside"),
        [
            (UP, UP, "holds", "better than the classifier of variants"),
            (UP, BOTH, "holds", "not told from the classifier of variants"),
            (UP, DOWN, "holds", "the classifier of variants is better"),
            (DOWN, UP, "does not hold", "better than the classifier of variants"),
            (BOTH, UP, "inconclusive", "better than the classifier of variants"),
        ],
    )
    def test_r3_asks_for_better_than_the_blind(self, results, blind, taught, word, beside):
        tests = table_of(
            one_test("frequencies", "two_networks", "variant_accuracy", blind),
            # in the table the classifier comes second
            one_test(EYES[2], "two_networks", "variant_accuracy", taught, backwards=True),
        )
        given = results(*EYES)
        row = judged("R3", given, tests)
        assert row.verdict == f"{word} (3 seeds, {beside})"
        assert row.figure.startswith("two_networks − frequencies ")
        assert "; two_networks − shared_backbone@variants " in row.figure
        row = judged("R3", given, table_of())
        assert row.verdict == "not tested here: the systems have no seed in common"

    def test_from_runs(self, serves):
        serves("frequencies", seen=meals.eyes(0.1, dishes=False))
        serves("two_networks", seen=meals.eyes(6.0))
        serves("shared_backbone@variants", seen=meals.eyes(6.0, 1, ingredients=False))
        recipes = dict.fromkeys(("naive", "typical"), meals.templates())
        recipes |= {"shuffled": meals.exchanged(), "supervised": meals.own()}
        for system, own in recipes.items():
            serves(system, recipes=own)
        given = read("made_up")
        ledger = report.ledger(given, paired_tests(given), summary(given))
        assert {row.id: row.verdict for row in ledger} == {
            "R1": "holds (one seed)",
            "R2": "holds (one seed)",
            "R3": "holds (one seed, not told from the classifier of variants)",
            "R4": "not tested here: no attention or metric-learning control was run",
        }

    def test_ingredients_by_dish_test_nothing(self, serves):
        for system in EYES:
            serves(system, seen=meals.eyes(1.0) | {"present": list(USUAL)})
        for row in report.ledger(read("made_up"), table_of(), frame_of(BLIND))[:3]:
            assert row.verdict.startswith("not tested here: the ingredients are those of the dish")
        assert report.BY_DISH in report.note(read("made_up"))

    def test_systems_that_were_not_run_are_named(self, serves):
        # nor does a system without ingredients say that they are by dish
        serves("majority", seen=meals.eyes(0.1, ingredients=False))
        ledger = report.ledger(read("made_up"), table_of(), frame_of(BLIND))
        assert [row.verdict for row in ledger[:3]] == [
            "not tested here: no run of naive or supervised",
            "not tested here: no run of naive or typical or shuffled or supervised",
            "not tested here: no run of two_networks or frequencies or shared_backbone@variants",
        ]


class TestShown:
    def test_of_everything(self, sandbox, serves, ordered):
        data.read(ordered())
        serves("majority", seen=meals.eyes(0.1, ingredients=False))
        for seed in (0, 1):
            serves("two_networks", seed, seen=meals.eyes(3.0, seed))
        serves("naive", recipes=meals.templates())
        serves("supervised", recipes=meals.own())
        given = read("made_up")
        frame, tests = summary(given), paired_tests(given)
        seen, written = report.seen(given, frame).text, report.written(given, frame).text
        assert seen.count("\n| ") == 3
        assert "| two_networks |" in seen
        assert written.count("\n| ") == 3
        assert "The prompts tell what two_networks sees" in written
        assert "supervised − naive" in report.differences(tests, given.prompts, ["sight"]).text
        seen = report.differences(tests, given.perceptions, figures.TESTED).text
        assert "two_networks − majority" in seen
        assert "majority" not in report.cost(given).text
        assert report.plates(given).text.count("Recipe, supervised: ") == 6
        assert "SEEDS=0,1 MODEL=two_networks" in report.origin(given).text
        claims = report.ledger(given, tests, frame)
        lead = report.lead(given, frame, claims)
        assert lead.startswith("4 systems, 43 test pictures; highest dish top-1: two_networks with")
        assert "Of the paper's 4 claims " in lead
        report.write(given, frame, tests, claims)
        folder = sandbox / "root/reports/made_up"
        names = {file.relative_to(folder).as_posix() for file in folder.rglob("*.*")}
        assert names == {
            *("recipes.csv", "recipes_tests.csv", "recipes.md", "recipes.tex"),
            *("recipes.json", "claims/recipes.md"),
        }
        kept = pd.read_csv(folder / "recipes.csv").set_index(["model", "metric"])
        top1 = [by_hand(meals.eyes(3.0, seed))["dish_top1"](EVERY) for seed in (0, 1)]
        assert kept.loc[("two_networks", "dish_top1"), "mean"] == pytest.approx(np.mean(top1))
        assert kept.loc[("supervised", "grounding_recall"), "mean"] == 1.0

    @pytest.mark.parametrize("system", ["frequencies", "naive"])
    def test_of_one_system_alone(self, serves, monkeypatch, system):
        source = {"name": "food101", "ingredients": "typical"}  # whose photographs are not here
        if system == "naive":
            serves(system, recipes=meals.own(), source=source)
        else:
            serves(system, seen=meals.eyes(1.0, dishes=False))
        given = read("made_up")
        frame, tests = summary(given), paired_tests(given)
        alone = system == "naive"
        assert (report.seen(given, frame) is None) == alone
        assert (report.written(given, frame) is None) != alone
        assert report.differences(tests, given.systems, figures.TESTED) is None
        assert report.cost(given) is figures.curves(given.trained) is None
        assert figures.calibration(given.systems) is None
        plates = report.plates(given)
        assert plates.text.startswith("Not shown here: ") if alone else plates is None
        report.write(given, frame, tests, report.ledger(given, tests, frame))
