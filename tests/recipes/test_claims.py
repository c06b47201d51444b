"""Verdicts on cases whose verdict is plain to see."""

import numpy as np
import pandas as pd
import pytest

import meals
from studies.recipes import claims
from studies.recipes.comparisons import paired_tests
from studies.recipes.results import read, summary
from studies.reporting.tables import BOOTSTRAP

pytest_plugins = ["plates_made"]

UP, DOWN, BOTH = (0.03, 0.05), (-0.05, -0.03), (-0.01, 0.03)
BLIND, SEEING, UNSURE = (-0.01, 0.01), (0.05, 0.09), (-0.01, 0.05)
EYES = ("frequencies", "two_networks", "shared_backbone@variants")
PROMPTS = ("naive", "typical", "shuffled", "supervised")
CONTROLS = PROMPTS[:3]


def one_test(first, second, metric, interval, seeds=3):
    low, high = interval
    return {
        **{"first": first, "second": second, "metric": metric, "test": BOOTSTRAP, "seeds": seeds},
        **{"difference": (low + high) / 2, "ci_low": low, "ci_high": high, "p": 0.04},
    }


def table_of(*rows):
    return pd.DataFrame(rows, columns=list(one_test("", "", "", UP)))


def frame_of(sight, recall=0.7):
    low, high = sight
    start = {"study": "recipes", "dataset": "made_up", "model": "naive", "variant": ""}
    row = {"metric": "sight", "mean": (low + high) / 2, "ci_low": low, "ci_high": high}
    other = {"model": "supervised", "metric": "grounding_recall", "mean": recall}
    # variants do not decide
    decoy = {"variant": "other", "metric": "sight", "mean": 0.9, "ci_low": 0.8, "ci_high": 1.0}
    return pd.DataFrame([{**start, **decoy}, {**start, **row}, {**start, **other}])


@pytest.fixture
def results(sandbox, serve):
    """Return a function: systems that were run -> results."""

    def run(*systems, dataset="made_up", **options):
        for system in systems:
            if system in (*PROMPTS, "oracle"):
                serve(sandbox / "root", system, recipes=meals.own(), dataset=dataset, **options)
            else:
                serve(sandbox / "root", system, seen=meals.eyes(1.0), dataset=dataset)
        return read(dataset)

    return run


class TestTemplates:
    def judge(self, results, alike, sight, seeds=3, backwards=False):
        pair = ("supervised", "naive") if backwards else ("naive", "supervised")
        # in the table the difference is supervised − naive, the claim is about the other
        low, high = alike if backwards else sorted((-alike[0], -alike[1]))
        tests = table_of(one_test(*pair, "self_bleu", (low, high), seeds))
        return claims.templates(results, tests, frame_of(sight))

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
    def test_alike_and_blind(self, results, alike, sight, word, backwards):
        found = self.judge(results("naive", "supervised"), alike, sight, 3, backwards)
        assert found.id == "R1"
        assert found.verdict == f"{word} (3 seeds)"

    def test_the_figure(self, results):
        found = self.judge(results("naive", "supervised"), UP, (-0.0104, 0.0304))
        assert found.figure == (
            "self-BLEU naive − supervised +0.040 [+0.030, +0.050]; "
            "sight of naive +0.010 [−0.010, +0.030]"
        )

    @pytest.mark.parametrize(
        ("temperature", "words"), [(0.7, "sampled at temperature 0.7, 1 a plate"), (0.0, "greedy")]
    )
    def test_how_recipes_were_drawn_is_said(self, results, ordered, temperature, words):
        asked = {**ordered("naive").writing.model_dump(), "temperature": temperature}
        found = self.judge(results("naive", "supervised", writing=asked), UP, BLIND)
        assert words in found.experiment

    @pytest.mark.parametrize("dataset", ["tiny", "demo"])
    def test_drawn_data_is_marked(self, results, dataset):
        found = self.judge(results("naive", "supervised", dataset=dataset), UP, BLIND, 1)
        assert found.verdict == "holds (one seed, synthetic)"

    def test_nothing_to_compare(self, results):
        given = results("naive", "supervised")
        found = claims.templates(given, table_of(), frame_of(BLIND).iloc[2:])
        assert found.verdict == "not tested here: too few plates of a dish to compare"
        found = self.judge(given, UP, (np.nan, np.nan))
        assert found.verdict == "not tested here: too few plates of a dish to compare"


class TestGrounded:
    def judge(self, results, changed=(), seeds=3):
        intervals = {(c, part): UP for c in CONTROLS for part in ("precision", "recall")}
        intervals |= dict(changed)
        rows = [
            one_test(control, "supervised", f"grounding_{part}", interval, seeds)
            for (control, part), interval in intervals.items()
            if interval
        ]
        return claims.grounded(results, table_of(*rows), frame_of(BLIND))

    def test_all_six_differences(self, results):
        found = self.judge(results(*PROMPTS))
        assert (found.id, found.verdict) == ("R2", "holds (3 seeds)")
        said = [f"{part} supervised − {c}" for c in CONTROLS for part in ("precision", "recall")]
        recall, *parts = found.figure.split("; ")
        assert recall == "recall 0.700"
        assert sorted(parts) == sorted(f"{one} +0.040 [+0.030, +0.050]" for one in said)

    @pytest.mark.parametrize("part", ["precision", "recall"])
    @pytest.mark.parametrize("control", CONTROLS)
    @pytest.mark.parametrize(
        ("interval", "word"), [(DOWN, "does not hold"), (BOTH, "inconclusive")]
    )
    def test_each_of_them_decides(self, results, control, part, interval, word):
        found = self.judge(results(*PROMPTS), {(control, part): interval}.items())
        assert found.verdict == f"{word} (3 seeds)"

    def test_no_seed_in_common(self, results):
        found = self.judge(results(*PROMPTS), {("typical", "recall"): None}.items())
        assert found.verdict == "not tested here: the prompts have no seed in common"

    def test_prompts_that_were_not_run_are_named(self, results):
        found = self.judge(results("naive", "supervised", "oracle"))
        assert found.verdict == "not tested here: no run of typical or shuffled"
        assert found.figure == ""


class TestApart:
    def judge(self, results, blind, taught, seeds=3):
        return claims.apart(
            results,
            table_of(
                one_test("frequencies", "two_networks", "variant_accuracy", blind, seeds),
                # in the table the classifier comes second
                one_test(
                    "two_networks",
                    "shared_backbone@variants",
                    "variant_accuracy",
                    sorted((-taught[0], -taught[1])),
                    seeds,
                ),
            ),
        )

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
    def test_better_than_the_blind_and_how_it_stands_beside_the_taught(
        self, results, blind, taught, word, beside
    ):
        found = self.judge(results(*EYES), blind, taught)
        assert (found.id, found.verdict) == ("R3", f"{word} (3 seeds, {beside})")
        assert found.figure.startswith("two_networks − frequencies ")
        assert "; two_networks − shared_backbone@variants " in found.figure

    @pytest.mark.parametrize("missing", EYES)
    def test_systems_that_were_not_run_are_named(self, results, missing):
        found = self.judge(results(*(one for one in EYES if one != missing)), UP, UP)
        assert found.verdict == f"not tested here: no run of {missing}"

    def test_no_seed_in_common(self, results):
        found = claims.apart(results(*EYES), table_of())
        assert found.verdict == "not tested here: the systems have no seed in common"


class TestLedger:
    @pytest.mark.usefixtures("few_resamples")
    def test_from_runs(self, sandbox, serve):
        root = sandbox / "root"
        serve(root, "frequencies", seen=meals.eyes(0.1, dishes=False))
        serve(root, "two_networks", seen=meals.eyes(6.0))
        serve(root, "shared_backbone@variants", seen=meals.eyes(6.0, 1, ingredients=False))
        recipes = dict.fromkeys(("naive", "typical"), meals.templates())
        recipes |= {"shuffled": meals.exchanged(), "supervised": meals.own()}
        for system, own in recipes.items():
            serve(root, system, recipes=own)
        results = read("made_up")
        ledger = claims.ledger(results, paired_tests(results), summary(results))
        assert {one.id: one.verdict for one in ledger} == {
            "R1": "holds (one seed)",
            "R2": "holds (one seed)",
            "R3": "holds (one seed, not told from the classifier of variants)",
            "R4": "not tested here: no attention or metric-learning control was run",
        }
        assert claims.tally(ledger) == "Of the paper's 4 claims 3 hold, 1 is not tested here."

    def test_ingredients_by_dish_test_nothing(self, sandbox, serve):
        usual = np.stack([meals.PRESENT[dish == meals.DISH].any(0) for dish in meals.DISH])
        root = sandbox / "root"
        for system in EYES:
            serve(root, system, seen=meals.eyes(1.0) | {"present": list(usual)})
        for system in PROMPTS:
            file = serve(root, system, recipes=meals.own()) / "predictions.parquet"
            pd.read_parquet(file).assign(present=list(usual)).to_parquet(file)
        ledger = claims.ledger(read("made_up"), table_of(), frame_of(BLIND))
        for claim in ledger[:3]:
            assert claim.verdict.startswith(
                "not tested here: the ingredients are those of the dish and not of the plate"
            )

    @pytest.mark.parametrize("system", ["majority", "naive", "shared_backbone@variants"])
    def test_one_system_alone_tests_nothing(self, results, system):
        found = results(system)
        for claim in claims.ledger(found, table_of(), frame_of(BLIND)):
            assert claim.verdict.startswith("not tested here: no ")

    def test_systems_without_ingredients_do_not_say_that_they_are_by_dish(self, sandbox, serve):
        serve(sandbox / "root", "majority", seen=meals.eyes(0.1, ingredients=False))
        ledger = claims.ledger(read("made_up"), table_of(), frame_of(BLIND))
        assert [claim.verdict for claim in ledger[:3]] == [
            "not tested here: no run of naive or supervised",
            "not tested here: no run of naive or typical or shuffled or supervised",
            "not tested here: no run of two_networks or frequencies or shared_backbone@variants",
        ]
