"""What an evaluated run folder holds, computed again from its predictions by scikit-learn."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import bernoulli
from sklearn.metrics import accuracy_score, average_precision_score, f1_score

import kitchen
import meals
from sentences import refused
from studies import paths
from studies.recipes import data, evaluate, texts, writers
from studies.recipes.model import Seen
from studies.recipes.readers import Plates
from studies.runs.folder import load_run

pytest_plugins = ["plates_made"]

DISH = ["dish_top1", "dish_top5", "dish_macro_f1", "ece"]
INGREDIENTS = ["ingredient_micro_f1", "ingredient_macro_f1", "ingredient_map", "jaccard"]
SCORED = {
    "majority": DISH,
    "frequencies": [*INGREDIENTS, "variant_accuracy"],
    "two_networks": [*DISH, *INGREDIENTS, "variant_accuracy"],
    "shared_backbone": [*DISH, *INGREDIENTS, "variant_accuracy"],
    "shared_backbone@variants": [*DISH, "variant_accuracy"],
}
KNOWN = sorted({name for plate in kitchen.plates(3) for name in plate.ingredients})
TRAINED = ("two_networks", "shared_backbone", "shared_backbone@variants")


@pytest.fixture
def run(dinner, smallest, monkeypatch):
    """Return a function: system -> its run."""
    monkeypatch.setenv("STUDIES_ROOT", str(dinner.root))
    return lambda system: load_run(smallest(system).folder())


@pytest.fixture
def copy(dinner, sandbox, monkeypatch):
    """All runs, to break."""
    shutil.copytree(dinner.root, sandbox / "root")
    monkeypatch.setattr(writers, "PLATES", 1)
    return sandbox / "root"


class TestSeen:
    @pytest.mark.parametrize("system", SCORED)
    def test_scores_are_those_of_what_the_system_says(self, run, smallest, system):
        one, frame, parameters = run(system), run(system).predictions, smallest(system)
        assert list(one.metrics) == [*SCORED[system], "n"]
        assert one.metrics["n"] == len(frame) == 24
        # the file's own folders say what is true
        names = [name.split("/") for name in frame["id"]]
        assert [meals.DISHES[dish] for dish in frame["dish"]] == [parts[1] for parts in names]
        plates = data.read(parameters)
        parts = data.split(plates, parameters)
        if system in TRAINED:
            seen = one.model().see_files([plates.root / name for name in frame["id"]])
        else:
            seen = evaluate.blind(plates, parts)
        wanted, true = {}, plates.present[parts == "test"]
        if "dish_top1" in SCORED[system]:
            dishes = seen.dishes
            if system == "shared_backbone@variants":
                dishes = np.zeros((24, len(meals.DISHES)))
                for variant, name in enumerate(meals.VARIANTS):
                    (dish,) = {plate.dish for plate in meals.PLATES if plate.variant == name}
                    dishes[:, meals.DISHES.index(dish)] += seen.dishes[:, variant]
            wanted["dish_top1"] = accuracy_score(frame["dish"], dishes.argmax(1))
            np.testing.assert_allclose(frame["dish_probability"].astype(float), dishes.max(1), 1e-3)
        if "jaccard" in SCORED[system]:
            there = true.any(0)
            precision = average_precision_score(true[:, there], seen.ingredients[:, there])
            wanted["ingredient_map"] = precision
            micro = f1_score(true, seen.named, average="micro", zero_division=0)
            wanted["ingredient_micro_f1"] = micro
        if "variant_accuracy" in SCORED[system]:
            assert [meals.VARIANTS[v] for v in frame["variant"]] == [parts[2] for parts in names]
            accuracy = accuracy_score(frame["variant"], frame["variant_said"])
            wanted["variant_accuracy"] = accuracy
            for dish, variant in zip(frame["dish"], frame["variant_said"], strict=True):
                assert variant in meals.VARIANTS_OF[dish]
        assert {name: one.metrics[name] for name in wanted} == pytest.approx(wanted, abs=1e-6)


class TestPrompts:
    def test_the_better_one_on_validation_data_is_made_first_and_asked(self, dinner, run):
        assert sorted(dinner.first) == ["shared_backbone", "supervised", "two_networks"]
        scores = {name: run(name).provenance["best_score"] for name in TRAINED[:2]}
        best = max(scores, key=scores.__getitem__)
        for system in ("naive", "supervised", "shuffled", "typical", "oracle"):
            facts, told = run(system).provenance, run(system).predictions["recipes"].explode()
            assert facts["perception"] == best
            assert facts["remarks"].get(writers.EMPTY, 0) == (told == "").sum()
            assert 0 <= facts["remarks"].get(writers.CUT, 0) <= len(told)
        asked = run(best).predictions
        prompts = run("supervised").predictions["prompt"]
        for prompt, named in zip(prompts, asked["named"], strict=True):
            (line,) = [one for one in prompt.split("\n") if one.startswith("Visible")]
            told = [one.rpartition(" (")[0] for one in line.partition(": ")[2].split(", ")]
            assert sorted(filter(None, told)) == [KNOWN[s] for s in named]

    @pytest.mark.parametrize("system", ["oracle", "majority"])
    def test_who_does_not_see_all_of_a_plate_is_not_asked(self, smallest, system):
        naive = smallest("naive")
        writing = {**naive.writing.model_dump(), "perception": [system]}
        message = refused(smallest("naive", writing=writing).builds_on)
        assert message.startswith(f"writing.perception: `{system}` does not see both")


class TestOnce:
    @pytest.mark.parametrize("system", ["supervised", "two_networks"])
    def test_other_pictures_than_those_of_training_are_refused(self, copy, smallest, system):
        folder = smallest(system).folder()
        (folder / "metrics.json").unlink()
        (drawn,) = paths.cache().glob("kitchen*/images")
        Image.new("RGB", (96, 96)).save(next(drawn.rglob("*.png")))
        # without it, the picture would be drawn again
        drawn.parent.with_name(f"{drawn.parent.name}.sha256").unlink()
        message = refused(evaluate.evaluate, smallest(system))
        assert "was trained on other images" in message
        assert not (folder / "metrics.json").exists()


PARTS = np.array(["train", "test"])[np.arange(len(meals.IDS)) % 2]
TEST = np.flatnonzero(PARTS == "test")
SEEN = Seen(*(part[TEST] for part in meals.seen(3.0)[:3]))


def visible(prompt: str) -> str:
    (line,) = [one for one in prompt.split("\n") if one.startswith("Visible ingredients: ")]
    return line.removeprefix("Visible ingredients: ")


class Echo:
    """Writes what it is told of ingredients."""

    def __init__(self):
        self.remarks = Counter({"odd": 3, "rare": 0})

    def write(self, prompts, recipes):
        return [[f"{visible(prompt)}\n{k}" for k in range(recipes)] for prompt in prompts]


class TestWrite:
    @pytest.fixture
    def wrote(self, ordered, monkeypatch):
        """Return a function: changes of the plates -> frame of recipes that echo."""
        monkeypatch.setattr(writers, "recipe_writer", lambda _: Echo())
        writing = {**ordered("supervised").writing.model_dump(), "plates": 7, "recipes": 2}
        known = {
            **{"root": Path("/nowhere"), "files": meals.IDS, "dishes": meals.DISHES},
            **{"dish": meals.DISH, "ingredients": meals.INGREDIENTS, "present": meals.PRESENT},
            "references": [f"recipe {k}" for k in range(len(meals.IDS))],
        }

        def write(**changes):
            parameters = ordered("supervised", writing=writing)
            return evaluate.write(parameters, Plates(**(known | changes)), PARTS, SEEN)

        return write

    def test_one_row_a_plate(self, wrote):
        frame, remarks = wrote()
        assert remarks == {"odd": 3}
        assert len(frame) == 7
        rows = [meals.IDS.index(name) for name in frame["id"]]
        assert rows == sorted(set(rows) & set(TEST.tolist()))
        assert frame["dish"].tolist() == meals.DISH[rows].tolist()
        for row, place in zip(frame.itertuples(), rows, strict=True):
            assert row.present.tolist() == np.flatnonzero(meals.PRESENT[place]).tolist()
            line = visible(row.prompt)
            assert row.recipes == [f"{line}\n0", f"{line}\n1"]
            # the reference itself is not kept
            assert row.bleu4 == texts.reference_scores([row.recipes], [f"recipe {place}"])["bleu4"]
        scored = ["prompt", "recipes", "self_bleu", "bleu4", "rouge_l"]
        assert frame.columns.tolist() == ["id", "cluster", "dish", "present", *scored]

    def test_without_references_and_with_ingredients_of_the_dish(self, wrote):
        usual = np.stack([meals.PRESENT[dish == meals.DISH].any(0) for dish in meals.DISH])
        frame, _ = wrote(present=usual, references=None)
        assert not {"bleu4", "rouge_l"} & {*frame.columns}
        assert frame["self_bleu"].isna().all()

    def test_every_prompt_and_seed_writes_of_the_same_plates(self, ordered):
        def places(system, plates, count=100, **changes):
            writing = {**ordered("naive").writing.model_dump(), "plates": plates}
            return evaluate.sample(count, ordered(system, writing=writing, **changes)).tolist()

        first = places("naive", 6)
        assert len(first) == 6
        assert first == sorted(set(first) & set(range(100)))
        for system in ("supervised", "oracle", "shuffled", "typical"):
            assert places(system, 6, seed=1) == first
        assert places("naive", 6, split_seed=1) != first
        assert places("naive", None, 9) == places("naive", 30, 9) == list(range(9))


# What is said without looking, and variants of a dish by their ingredients.

MEALS = Plates(
    Path("/nowhere"),
    meals.IDS,
    meals.DISHES,
    meals.DISH,
    meals.INGREDIENTS,
    meals.PRESENT,
    variants=meals.VARIANTS,
    variant=meals.VARIANT,
)
EVERY = np.arange(len(meals.IDS))


def plates(dish, present, variant=None) -> Plates:
    ingredients = [f"i{s}" for s in range(present.shape[1])]
    files, names = [f"{k}.png" for k in range(len(dish))], ["d0", "d1", "d2"]
    variants = None if variant is None else [f"v{k}" for k in range(max(variant) + 1)]
    dish = np.asarray(dish)
    rest = {"variants": variants, "variant": variant}
    return Plates(Path("/nowhere"), files, names, dish, ingredients, present, **rest)


class TestBlind:
    @settings(max_examples=50, deadline=None)
    @given(st.integers(3, 20), st.sampled_from([0.2, 0.5, 0.9]), st.integers(0, 2**32 - 1))
    def test_shares_are_counted_on_training_plates(self, count, often, seed):
        rng = np.random.default_rng(seed)
        parts = ["train", "validation", "test", *rng.choice(["train", "test"], count - 3)]
        parts = rng.permutation(parts)
        table = plates(rng.integers(0, 3, count), rng.random((count, 4)) < often)
        seen = evaluate.blind(table, parts)
        known = np.flatnonzero(parts == "train").tolist()
        counts = Counter(int(table.dish[k]) for k in known)
        has = [sum(bool(table.present[k, s]) for k in known) for s in range(4)]
        assert len(seen.dishes) == len(seen.named) == (parts == "test").sum()
        for row in range(len(seen.dishes)):
            assert seen.dishes[row] == pytest.approx([counts[c] / len(known) for c in range(3)])
            assert seen.ingredients[row] == pytest.approx([n / len(known) for n in has])
            assert seen.named[row].tolist() == seen.named[0].tolist()

    def test_what_is_named_is_chosen_on_validation_plates(self):
        share, in_validation = [9, 6, 3, 1], [[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 0, 0]]
        known = np.array([[k < count for count in share] for k in range(10)])
        present = np.vstack([known, np.array(in_validation, bool), np.zeros((2, 4), bool)])
        parts = np.array(["train"] * 10 + ["validation"] * 3 + ["test"] * 2)
        named = evaluate.blind(plates([0] * 15, present), parts).named
        assert named.tolist() == [[True, True, True, False]] * 2


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_dish_implies_the_ingredients_of_its_plates(seed):
    rng = np.random.default_rng(seed)
    parts = np.array(["train"] * 12 + ["validation"] * 5 + ["test"] * 4)
    table = plates(rng.integers(0, 3, 21), rng.random((21, 4)) < 0.5)
    likely = [rng.dirichlet(np.ones(3), count) for count in (4, 5)]
    blank = np.zeros((0, 4)), np.zeros((0, 4), bool)
    seen = evaluate.implied(Seen(likely[0], *blank), Seen(likely[1], *blank), table, parts)
    known = range(12)
    for row in range(4):
        for s in range(4):
            wanted = 0.0
            for c in range(3):
                own = [table.present[k, s] for k in known if table.dish[k] == c]
                wanted += likely[0][row, c] * (np.mean(own) if own else 0.0)
            assert seen.ingredients[row, s] == pytest.approx(wanted)
    assert (seen.dishes == likely[0]).all()
    assert (
        (seen.ingredients[:, None] > seen.ingredients) <= (seen.named[:, None] >= seen.named)
    ).all()


class TestGroups:
    @pytest.fixture
    def table(self):
        present = np.eye(3, dtype=bool)[[0, 1, 2, 0, 1, 2]]
        names = ["beet_salad", "miso_soup", "greek_salad"]
        return replace(plates([0, 1, 2, 0, 1, 2], present), dishes=names, grouped=True)

    def test_prompts_name_groups_and_dishes_are_their_variants(self, table):
        asked = table.asked
        assert (asked.dishes, asked.variants) == (["salad", "soup"], table.dishes)
        assert asked.dish.tolist() == [0, 1, 0, 0, 1, 0]
        assert asked.variant.tolist() == table.dish.tolist()
        assert asked.variant_of.tolist() == [[True, False], [False, True], [True, False]]
        assert asked.asked is asked

    def test_a_group_is_as_likely_as_its_dishes_and_a_dish_is_found_in_its_group(
        self, table, ordered
    ):
        parts = np.array(["train"] * 3 + ["test"] * 3)
        dishes = np.array([[0.3, 0.4, 0.3], [0.1, 0.2, 0.7], [0.5, 0.3, 0.2]])
        seen = Seen(dishes, np.full((3, 3), 0.5), np.zeros((3, 3), bool))
        network = ordered("two_networks").network.model_copy(update={"ingredient_weight": 0.0})
        of = ordered("two_networks").model_copy(update={"network": network})
        frame = evaluate.perception(of, table, parts, seen)
        assert frame["dish_said"].tolist() == [1, 2, 0]  # of all dishes
        assert frame["group_right"].tolist() == [True, False, True]  # .6 .4, .8 .2, .7 .3
        assert frame["variant_said"].tolist() == [0, 1, 0]
        assert frame["variant"].tolist() == [0, 1, 2]
        # by ingredients, which are all the same, the first of the group
        frame = evaluate.perception(ordered("two_networks"), table, parts, seen)
        assert frame["variant_said"].tolist() == [0, 1, 0]

    def test_the_prompt_tells_the_group_and_its_list_alone_is_a_recipe(self, table, ordered):
        parts = np.array(["train"] * 3 + ["test"] * 3)
        dishes = np.array([[0.3, 0.4, 0.3], [0.1, 0.8, 0.1], [0.5, 0.3, 0.2]])
        named = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]], bool)
        seen = Seen(dishes, np.full((3, 3), 0.5), named)
        plan = {**ordered("supervised").writing.model_dump(), "plates": None, "sure": 0.0}
        told = {"dish": "seen", "ingredients": "seen", "echo": True}
        asked = ordered("supervised", writing=plan, prompt=told)
        frame, remarks = evaluate.write(asked, table, parts, seen)
        lines = [prompt.split("\n")[2] for prompt in frame["prompt"]]
        assert lines == ["Dish: salad", "Dish: soup", "Dish: salad"]
        assert [one for (one,) in frame["recipes"]] == [
            "i0 (50%), i1 (50%)",
            "i1 (50%)",
            "none recognised",
        ]
        assert (frame["dish"].tolist(), remarks) == ([0, 1, 0], {})
        mentioned = texts.mentions(frame["recipes"], table.ingredients)[:, 0]
        assert (mentioned == named).all()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_scores_of_variants_are_expected_log_likelihoods(seed, ingredients):
    rng = np.random.default_rng(seed)
    present = rng.random((10, ingredients)) < 0.5
    table = plates([0] * 10, present, np.array([0, 1] * 5))
    train = np.arange(8)
    probabilities = rng.random((1, ingredients))
    share = np.stack([present[k:8:2].mean(0) for k in (0, 1)]).clip(
        evaluate.RARE, 1 - evaluate.RARE
    )
    wanted = np.zeros((1, 2))
    for code in range(2**ingredients):  # every plate that there could be
        there = np.array([code >> s & 1 for s in range(ingredients)])
        chance = bernoulli.pmf(there, probabilities[0]).prod()
        wanted += chance * bernoulli.logpmf(there, share).sum(1)
    found = evaluate.variant_scores(probabilities, table, train)
    np.testing.assert_allclose(found, wanted, rtol=1e-9)


def test_true_ingredients_tell_nearly_all_variants_of_the_kitchen():
    scores = evaluate.variant_scores(meals.PRESENT.astype(float), MEALS, EVERY)
    said = evaluate.within_dish(scores, MEALS, EVERY)
    assert (said == meals.VARIANT).mean() > 0.95
    # noise says other variants, but of the true dish alone
    noise = np.random.default_rng(0).normal(size=scores.shape)
    for k, variant in enumerate(evaluate.within_dish(noise, MEALS, EVERY)):
        possible = meals.VARIANTS_OF[meals.DISH[k]]
        assert variant == max(possible, key=lambda v, k=k: noise[k, v])
    # and what is typical of all plates tells none
    usual = np.tile(meals.PRESENT.mean(0), (len(EVERY), 1))
    blind_to_it = evaluate.within_dish(evaluate.variant_scores(usual, MEALS, EVERY), MEALS, EVERY)
    for dish in range(len(meals.DISHES)):
        assert len(set(blind_to_it[dish == meals.DISH])) == 1
