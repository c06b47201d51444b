"""Which systems are compared, and what the paired tests say, on run folders written by hand."""

import numpy as np
import pytest

import meals
from studies.recipes import texts
from studies.recipes.comparisons import paired_tests
from studies.recipes.results import read
from studies.recipes.writing import mentions
from studies.reporting import bootstrap
from studies.reporting.tables import BOOTSTRAP

pytest_plugins = ["plates_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

PLATES = len(meals.IDS)
COLUMNS = ["first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high", "p"]


@pytest.fixture
def serves(sandbox, serve):
    return lambda system, seed=0, **options: serve(sandbox / "root", system, seed, **options)


def of_pair(rows, first, second):
    return rows[(rows["first"] == first) & (rows["second"] == second)].set_index("metric")


def top1(columns):
    """Whether the dish is right, (N,)."""
    return np.stack(columns["dish_probabilities"]).argmax(1) == columns["dish"]


class TestPairs:
    def test_eyes_stand_against_eyes_and_prompts_against_prompts(self, serves):
        for system in ("shared_backbone@variants", "two_networks", "majority"):
            serves(system, seen=meals.eyes(1.0, ingredients=False))
        for system in ("oracle", "naive", "supervised"):
            serves(system, recipes=meals.templates())
        rows = paired_tests(read("made_up"))
        assert list(rows.columns) == COLUMNS
        assert set(rows["test"]) == {BOOTSTRAP}
        pairs = list(dict.fromkeys(zip(rows["first"], rows["second"], strict=True)))
        assert pairs == [
            ("majority", "two_networks"),
            ("majority", "shared_backbone@variants"),
            ("two_networks", "shared_backbone@variants"),
            ("naive", "supervised"),
            ("naive", "oracle"),
            ("supervised", "oracle"),
        ]
        assert not rows.duplicated(["first", "second", "metric"]).any()

    def test_only_what_both_have_is_compared(self, serves):
        serves("majority", seen=meals.eyes(0.1, ingredients=False))
        serves("frequencies", seen=meals.eyes(0.1, dishes=False))
        serves("two_networks", seen=meals.eyes(1.0))
        rows = paired_tests(read("made_up"))
        dish = {"dish_top1", "dish_top5", "dish_macro_f1", "ece"}
        assert set(of_pair(rows, "majority", "two_networks").index) == {*dish, "variant_accuracy"}
        assert not dish & set(of_pair(rows, "frequencies", "two_networks").index)
        assert set(of_pair(rows, "majority", "frequencies").index) == {"variant_accuracy"}

    def test_distinct_2_is_not_tested(self, serves):
        for system in ("naive", "supervised"):
            serves(system, recipes=meals.templates())
        assert set(paired_tests(read("made_up"))["metric"]) == {
            *("grounding_precision", "grounding_recall", "self_bleu", "sight")
        }

    def test_one_system_or_no_common_seed(self, serves):
        serves("two_networks", 0, seen=meals.eyes(1.0))
        serves("shared_backbone", 1, seen=meals.eyes(1.0))
        rows = paired_tests(read("made_up"))
        assert rows.empty
        assert list(rows.columns) == COLUMNS


class TestDifferences:
    def test_common_seeds_are_averaged_and_resampled(self, serves):
        first = {0: meals.eyes(1.0, 0), 1: meals.eyes(1.0, 1), 2: meals.eyes(1.0, 2)}
        second = {1: meals.eyes(2.0, 3), 2: meals.eyes(2.0, 4), 9: meals.eyes(2.0, 5)}
        for system, seen in (("two_networks", first), ("shared_backbone", second)):
            for seed, columns in seen.items():
                serves(system, seed, seen=columns)
        row = of_pair(paired_tests(read("made_up")), "two_networks", "shared_backbone")
        row = row.loc["dish_top1"]
        gaps = [top1(second[s]).astype(float) - top1(first[s]) for s in (1, 2)]
        samples = bootstrap.bootstrap(lambda items, k: float(gaps[k][items].mean()), PLATES, 2)
        assert row["seeds"] == 2
        assert row["difference"] == pytest.approx(np.mean(gaps))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(bootstrap.interval(samples))
        assert row["p"] == pytest.approx(bootstrap.bootstrap_p(samples))

    def test_a_baseline_stands_against_every_seed(self, serves):
        plain, trained = meals.eyes(0.1), {3: meals.eyes(2.0, 3), 5: meals.eyes(2.0, 5)}
        serves("majority", 0, seen=plain)
        for seed, columns in trained.items():
            serves("two_networks", seed, seen=columns)
        row = of_pair(paired_tests(read("made_up")), "majority", "two_networks").loc["dish_top1"]
        gap = np.mean([top1(one) for one in trained.values()]) - top1(plain).mean()
        assert row["seeds"] == 2
        assert row["difference"] == pytest.approx(gap)
        assert row["ci_low"] < gap < row["ci_high"]

    def test_sight_is_resampled_by_pairs_of_plates(self, serves):
        recipes = {"naive": meals.templates(), "supervised": meals.own()}
        for system, own in recipes.items():
            serves(system, recipes=own)
        row = of_pair(paired_tests(read("made_up")), "naive", "supervised").loc["sight"]
        said = [mentions(own, meals.INGREDIENTS, meals.DISHES) for own in recipes.values()]

        def gap(items, _):
            blind, sees = (
                np.nanmean(texts.sight(one[items], meals.PRESENT[items], meals.DISH[items]))
                for one in said
            )
            return float(sees - blind)

        samples = bootstrap.bootstrap(gap, PLATES)
        assert row["difference"] == pytest.approx(gap(np.arange(PLATES), 0))
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(bootstrap.interval(samples))
        assert row["ci_low"] > 0.1  # templates see nothing, and these name all
