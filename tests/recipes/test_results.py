"""The tidy table, on run folders written by hand: every interval by drawing plates and scoring."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

import meals
from sentences import refused
from studies.recipes import texts
from studies.recipes.results import better, read, summary
from studies.recipes.writing import mentions
from studies.reporting import bootstrap

pytest_plugins = ["plates_made"]
pytestmark = pytest.mark.usefixtures("few_resamples")

PLATES = len(meals.IDS)


@pytest.fixture
def serves(sandbox, serve):
    """Write a run below the sandbox's root."""
    return lambda system, seed=0, **options: serve(sandbox / "root", system, seed, **options)


def rows(system):
    frame = summary(read("made_up"))
    model, _, variant = system.partition("@")
    mine = frame[(frame["model"] == model) & (frame["variant"] == variant)]
    return mine.set_index("metric")


def drawn(columns):
    """Metrics of the plates with given numbers, as scikit-learn has them."""
    dish, variant = columns["dish"], columns["variant"]
    said = np.stack(columns["dish_probabilities"]).argmax(1)
    named = np.stack(columns["named"])
    return {
        "dish_top1": lambda k: accuracy_score(dish[k], said[k]),
        "dish_macro_f1": lambda k: f1_score(
            dish[k], said[k], labels=np.unique(dish[k]), average="macro"
        ),
        "ingredient_micro_f1": lambda k: f1_score(meals.PRESENT[k], named[k], average="micro"),
        "variant_accuracy": lambda k: accuracy_score(variant[k], columns["variant_said"][k]),
    }


class TestPerceptions:
    @pytest.mark.parametrize("seeds", [[0], [1, 3, 7]])
    def test_values_and_intervals(self, serves, seeds):
        seen = {seed: meals.eyes(1.5, seed) for seed in seeds}
        for seed, columns in seen.items():
            serves("two_networks", seed, seen=columns)
        frame = rows("two_networks")
        by_seed = [drawn(seen[seed]) for seed in seeds]
        every = np.arange(PLATES)
        for metric in by_seed[0]:
            values = [one[metric](every) for one in by_seed]
            assert frame.loc[metric, "mean"] == pytest.approx(np.mean(values))
            samples = bootstrap.bootstrap(
                lambda items, k, m=metric: by_seed[k][m](items), PLATES, len(seeds)
            )
            assert frame.loc[metric, ["ci_low", "ci_high"]].tolist() == pytest.approx(
                bootstrap.interval(samples)
            )
            if len(seeds) > 1:
                assert frame.loc[metric, "std"] == pytest.approx(np.std(values, ddof=1))
        assert (frame["n_seeds"] == len(seeds)).all()
        assert (frame["n"] == PLATES).all()
        assert frame["published"].isna().all()

    def test_metrics_of_what_a_system_says(self, serves):
        serves("majority", seen=without(meals.eyes(0.1, ingredients=False), "variant_said"))
        serves("frequencies", seen=meals.eyes(0.1, dishes=False))
        serves("two_networks", seen=meals.eyes(2.0))
        dish = ["dish_top1", "dish_top5", "dish_macro_f1", "ece"]
        other = ["ingredient_micro_f1", "ingredient_macro_f1", "ingredient_map", "jaccard"]
        assert list(rows("majority").index) == dish
        assert list(rows("frequencies").index) == [*other, "variant_accuracy"]
        assert list(rows("two_networks").index) == [*dish, *other, "variant_accuracy"]


def without(columns, name):
    return {key: values for key, values in columns.items() if key != name}


class TestRecipes:
    WRITTEN = ("grounding_precision", "grounding_recall", "self_bleu")

    @pytest.fixture
    def written(self, serves):
        recipes = {0: meals.templates(), 5: meals.exchanged(5)}
        for seed, own in recipes.items():
            serves("supervised", seed, recipes=own, found={"distinct_2": 0.1 + seed})
        return recipes

    def test_means_over_plates(self, written):
        frame = rows("supervised")
        columns = [run.predictions for run in read("made_up").runs]
        for metric in self.WRITTEN:
            values = np.stack([one[metric] for one in columns])
            assert frame.loc[metric, "mean"] == pytest.approx(np.nanmean(values, 1).mean())
            samples = bootstrap.bootstrap(
                lambda items, k, v=values: float(np.nanmean(v[k][items])), PLATES, 2
            )
            assert frame.loc[metric, ["ci_low", "ci_high"]].tolist() == pytest.approx(
                bootstrap.interval(samples)
            )

    def test_sight_is_that_of_the_plates_drawn(self, written):
        row = rows("supervised").loc["sight"]
        said = [mentions(own, meals.INGREDIENTS, meals.DISHES) for own in written.values()]

        def of(items, k):
            # plates drawn twice have the same ingredients, and are not compared
            drawn = (said[k][items], meals.PRESENT[items], meals.DISH[items])
            return float(np.nanmean(texts.sight(*drawn)))

        assert row["mean"] == pytest.approx(np.mean([of(np.arange(PLATES), k) for k in (0, 1)]))
        samples = bootstrap.bootstrap(of, PLATES, 2)
        assert row[["ci_low", "ci_high"]].tolist() == pytest.approx(bootstrap.interval(samples))

    def test_distinct_2_has_no_interval(self, written):
        row = rows("supervised").loc["distinct_2"]
        assert row["mean"] == pytest.approx((0.1 + 5.1) / 2)
        assert row["std"] == pytest.approx(np.std([0.1, 5.1], ddof=1))
        assert row[["ci_low", "ci_high"]].isna().all()

    def test_what_cannot_be_compared_has_no_row(self, serves):
        folder = serves("naive", recipes=meals.own())
        file = folder / "predictions.parquet"
        frame = read("made_up").runs[0].predictions
        usual = [meals.PRESENT[dish == meals.DISH].any(0) for dish in meals.DISH]
        frame.assign(present=usual, sight=np.nan, self_bleu=np.nan).to_parquet(file)
        found = rows("naive")
        assert not {"sight", "self_bleu"} & set(found.index)
        assert found["mean"].notna().all()


class TestRead:
    def test_the_order_of_systems(self, serves):
        systems = ("oracle", "supervised", "naive", "shuffled", "typical")
        for system in systems:
            serves(system, recipes=meals.templates())
        for system in ("shared_backbone@variants", "two_networks@wide", "shared_backbone"):
            serves(system, seen=meals.eyes(1.0))
        for system in ("two_networks", "frequencies", "majority"):
            serves(system, seen=meals.eyes(1.0))
        results = read("made_up")
        eyes = ["two_networks", "two_networks@wide", "shared_backbone", "shared_backbone@variants"]
        wanted = ["naive", "typical", "shuffled", "supervised", "oracle"]
        assert list(results.systems) == ["majority", "frequencies", *eyes, *wanted]
        assert list(results.trained) == eyes
        assert list(results.prompts) == wanted
        assert list(results.perceptions) == ["majority", "frequencies", *eyes]
        assert results.items == PLATES
        assert len(results.runs) == 11

    def test_no_run(self, sandbox):
        message = refused(read, "made_up")
        assert str(sandbox / "root" / "runs" / "made_up" / "recipes") in message
        assert "run `make study DATASET=made_up STUDY=recipes` first" in message

    def test_other_plates(self, serves):
        serves("two_networks", seen=meals.eyes(1.0))
        few = {key: list(values)[1:] for key, values in meals.eyes(1.0).items()}
        serves("shared_backbone", seen=few)
        assert "runs were tested on different plates; delete those" in refused(read, "made_up")

    def test_prompts_may_be_of_fewer_plates_than_perceptions(self, serves):
        few = {key: list(values)[1:] for key, values in meals.eyes(1.0).items()}
        serves("two_networks", seen=few)
        serves("naive", recipes=meals.own())
        results = read("made_up")
        assert results.items == PLATES
        assert set(rows("two_networks")["n"]) == {PLATES - 1}
        assert set(rows("naive")["n"]) == {PLATES}


class TestBetter:
    def test_the_one_that_prompts_used(self, serves):
        serves("two_networks", seen=meals.eyes(1.0), facts={"best_score": 0.9})
        serves("naive", recipes=meals.own(), facts={"perception": "shared_backbone"})
        assert better(read("made_up")) == "shared_backbone"

    @pytest.mark.parametrize(
        ("scores", "wanted"),
        [((0.5, 0.4), "two_networks"), ((0.4, 0.5), "shared_backbone"), ((0.5,), "two_networks")],
    )
    def test_the_best_on_validation_data(self, serves, scores, wanted):
        for system, score in zip(("two_networks", "shared_backbone"), scores, strict=False):
            serves(system, seen=meals.eyes(1.0), facts={"best_score": score})
        serves("shared_backbone@variants", seen=meals.eyes(1.0), facts={"best_score": 1.0})
        assert better(read("made_up")) == wanted

    def test_none(self, serves):
        serves("majority", seen=meals.eyes(1.0))
        assert better(read("made_up")) == ""
