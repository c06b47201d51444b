"""Who is told what: every prompt against what is known of its plate, by loops."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import meals
from studies.recipes import texts, writing
from studies.recipes.plates import Plates
from studies.runs.folder import load_run

pytest_plugins = ["plates_made"]

PLATES = Plates(
    root=Path("/nowhere"),
    files=meals.IDS,
    dishes=meals.DISHES,
    dish=meals.DISH,
    ingredients=meals.INGREDIENTS,
    present=meals.PRESENT,
    references=[f"recipe {k}" for k in range(len(meals.IDS))],
)
PARTS = np.array(["train", "test"])[np.arange(len(meals.IDS)) % 2]
TEST, KNOWN = (np.flatnonzero(part == PARTS) for part in ("test", "train"))
SEEN = pd.DataFrame(meals.eyes(3.0)).iloc[TEST].reset_index(drop=True)
GUESSED = np.stack(SEEN["dish_probabilities"]).argmax(1)
EVERY = np.arange(len(TEST))


@pytest.fixture
def prompts(ordered):
    """Return a function: system -> prompts of all test plates."""

    def ask(system: str, **changes) -> list[str]:
        parameters = ordered(system, dataset="tiny", **changes)
        return writing.said(parameters, PLATES, KNOWN, TEST, SEEN, EVERY)

    return ask


def line(prompt: str, name: str) -> str:
    (found,) = [one for one in prompt.split("\n") if one.startswith(f"{name}: ")]
    return found.removeprefix(f"{name}: ")


def told(prompt: str) -> dict[str, str]:
    """The ingredients of a prompt, each with what is said of its probability."""
    said = line(prompt, "Visible ingredients")
    pairs = [one.partition(" (") for one in said.split(", ") if said != "none recognised"]
    return {name: share.removesuffix(")") for name, _, share in pairs}


def named(place: int) -> dict[str, str]:
    """What was seen on a test plate, with percentages."""
    row = SEEN.iloc[place]
    likely = row["ingredient_probabilities"]
    return {name: f"{likely[s]:.0%}" for s, name in enumerate(meals.INGREDIENTS) if row["named"][s]}


class TestSaid:
    def test_the_naive_prompt_knows_no_ingredient(self, prompts):
        for place, prompt in enumerate(prompts("naive")):
            assert "ingredients:" not in prompt
            best = meals.DISHES[GUESSED[place]].replace("_", " ")
            assert line(prompt, "Dish").startswith(best)

    def test_the_supervised_prompt_holds_what_is_named_with_its_probability(self, prompts):
        for place, (naive, prompt) in enumerate(
            zip(prompts("naive"), prompts("supervised"), strict=True)
        ):
            assert told(prompt) == named(place)
            shares = [int(share.removesuffix("%")) for share in told(prompt).values()]
            assert shares == sorted(shares, reverse=True)
            assert re.sub("\nVisible ingredients: .*", "", prompt) == naive

    def test_the_dish_is_doubted_below_the_limit(self, prompts):
        likely = np.stack(SEEN["dish_probabilities"])
        for place, prompt in enumerate(prompts("naive")):
            order = sorted(range(len(meals.DISHES)), key=lambda c, p=place: -likely[p, c])
            shown = [(meals.DISHES[c].replace("_", " "), likely[place, c]) for c in order[:3]]
            wanted = " or ".join(f"{name} ({share:.0%})" for name, share in shown)
            sure = shown[0][1] >= 0.8
            assert line(prompt, "Dish") == (shown[0][0] if sure else wanted)
        doubted = [" or " in line(prompt, "Dish") for prompt in prompts("naive")]
        assert 0 < sum(doubted) < len(TEST)

    def test_the_oracle_is_told_the_truth(self, prompts):
        for prompt, row in zip(prompts("oracle"), TEST, strict=True):
            assert line(prompt, "Dish") == meals.PLATES[row].dish.replace("_", " ")
            assert set(told(prompt)) == set(meals.PLATES[row].ingredients)
            assert set(told(prompt).values()) == {""}

    def test_typical_ingredients_are_those_of_half_the_training_plates(self, prompts):
        counts: dict[int, Counter] = defaultdict(Counter)
        for row in KNOWN:
            counts[meals.DISH[row]].update(meals.PLATES[row].ingredients)
        plates = Counter(meals.DISH[KNOWN].tolist())
        for place, prompt in enumerate(prompts("typical")):
            dish = GUESSED[place]  # and not the true one
            usual = {name for name, n in counts[dish].items() if 2 * n >= plates[dish]}
            assert set(told(prompt)) == usual
            assert set(told(prompt).values()) == {""}

    def test_shuffled_ingredients_were_seen_on_another_plate_of_the_guessed_dish(self, prompts):
        for place, prompt in enumerate(prompts("shuffled")):
            others = [k for k in EVERY if k != place and GUESSED[k] == GUESSED[place]]
            others = others or [k for k in EVERY if k != place]
            assert told(prompt) in [named(other) for other in others]

    def test_shuffling_is_by_seed(self, prompts):
        first = prompts("shuffled")
        assert prompts("shuffled") == first
        assert prompts("shuffled", seed=1) != first

    def test_servings_language_and_limit_are_those_of_the_parameters(self, ordered):
        settings = ordered("naive").writing.model_dump()
        settings |= {"servings": 5, "language": "Ukrainian", "sure": 0.0}
        parameters = ordered("naive", writing=settings)
        for prompt in writing.said(parameters, PLATES, KNOWN, TEST, SEEN, EVERY):
            assert (line(prompt, "Servings"), line(prompt, "Language")) == ("5", "Ukrainian")
            assert " or " not in line(prompt, "Dish")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=8), st.data())
def test_another_is_never_the_plate_itself(guessed, data):
    place, rng = data.draw(st.integers(0, len(guessed) - 1)), np.random.default_rng(0)
    alike = {k for k, dish in enumerate(guessed) if dish == guessed[place]} - {place}
    possible = alike or set(range(len(guessed))) - {place}
    drawn = [writing.another(place, np.array(guessed), rng) for _ in range(200)]
    # each of at most seven is missed once in 10¹³ times
    assert set(drawn) == possible


class TestSample:
    @pytest.mark.parametrize(("wanted", "count"), [(None, 9), (5, 5), (9, 9), (30, 9)])
    def test_places_are_of_the_test_set_each_once_in_order(self, ordered, wanted, count):
        asked = ordered("naive").writing.model_copy(update={"plates": wanted})
        found = writing.sample(9, ordered("naive").model_copy(update={"writing": asked}))
        assert len(found) == count
        assert found.tolist() == sorted(set(found.tolist()) & set(range(9)))

    def test_every_prompt_and_seed_writes_of_the_same_plates(self, ordered):
        few = {**ordered("naive").writing.model_dump(), "plates": 6}
        systems = ("naive", "supervised", "oracle", "shuffled", "typical")
        found = [
            writing.sample(100, ordered(system, seed=seed, writing=few)).tolist()
            for system in systems
            for seed in (0, 1)
        ]
        assert all(one == found[0] for one in found)
        other = ordered("naive", split_seed=1, writing=few)
        assert writing.sample(100, other).tolist() != found[0]


class TestMentions:
    KNOWN = ("cream", "vanilla ice cream", "mint", "noodles")

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Ice cream with mint", {"mint"}),
            ("Ice cream with vanilla ice cream and mint", {"vanilla ice cream", "mint"}),
            ("Ice cream\nIngredients: vanilla ice cream, cream", {"vanilla ice cream", "cream"}),
            ("Scoop the vanilla ice cream.", {"vanilla ice cream"}),
            ("Noodles", {"noodles"}),  # a dish that is an ingredient as well
        ],
    )
    def test_a_dish_is_no_ingredient(self, text, expected):
        found = writing.mentions([[text]], list(self.KNOWN), ["ice_cream", "noodles", "soup"])
        assert found.shape == (1, 1, 4)
        assert {self.KNOWN[s] for s in np.flatnonzero(found[0, 0])} == expected


class Echo:
    """Writes what it is told of ingredients."""

    def write(self, prompts, recipes):
        said = [line(prompt, "Visible ingredients") for prompt in prompts]
        return [[f"{one}\n{k}" for k in range(recipes)] for one in said]


class TestWrite:
    @pytest.fixture
    def wrote(self, sandbox, serve, ordered, monkeypatch):
        """Return a function: plates -> frame and scores of recipes that repeat their prompt."""
        monkeypatch.setattr(writing, "recipe_writer", lambda _: Echo())
        run = load_run(serve(sandbox, "two_networks", seen=SEEN.to_dict("list")))
        asked = {**ordered("supervised").writing.model_dump(), "plates": 7, "recipes": 2}

        def write(plates=PLATES):
            parameters = ordered("supervised", writing=asked)
            return (*writing.write(parameters, plates, PARTS, run), parameters)

        return write

    def test_one_row_a_plate(self, wrote, prompts):
        frame, _, parameters = wrote()
        chosen = writing.sample(len(TEST), parameters)
        rows = TEST[chosen]
        assert frame["id"].tolist() == [meals.IDS[row] for row in rows]
        assert frame["dish"].tolist() == meals.DISH[rows].tolist()
        assert np.stack(frame["present"]).tolist() == meals.PRESENT[rows].tolist()
        assert frame["reference"].tolist() == [f"recipe {row}" for row in rows]
        every = prompts("supervised")
        assert frame["prompt"].tolist() == [every[place] for place in chosen]
        for prompt, recipes in zip(frame["prompt"], frame["recipes"], strict=True):
            said = line(prompt, "Visible ingredients")
            assert recipes == [f"{said}\n0", f"{said}\n1"]

    def test_scores(self, wrote):
        frame, found, _ = wrote()
        assert list(found) == [
            *("grounding_precision", "grounding_recall", "sight", "self_bleu"),
            *("bleu4", "rouge_l", "distinct_2"),
        ]
        for prompt, present, precision, recall in frame[
            ["prompt", "present", "grounding_precision", "grounding_recall"]
        ].itertuples(index=False):
            true = {name for name, there in zip(meals.INGREDIENTS, present, strict=True) if there}
            said = set(told(prompt))
            assert precision == pytest.approx(len(said & true) / len(said) if said else 0)
            assert recall == pytest.approx(len(said & true) / len(true))
        for name in set(found) - {"distinct_2"}:
            values = [value for value in frame[name] if value == value]
            assert found[name] == pytest.approx(sum(values) / len(values))
        expected = texts.distinct(frame["recipes"], frame["dish"].to_numpy())
        assert found["distinct_2"] == expected

    def test_without_references(self, wrote):
        alone = Plates(**{**vars(PLATES), "references": None})
        frame, found, _ = wrote(alone)
        assert not {"reference", "bleu4", "rouge_l"} & {*frame.columns, *found}

    def test_ingredients_of_the_dish_leave_nothing_to_compare(self, wrote, recwarn):
        usual = np.stack([meals.PRESENT[dish == meals.DISH].any(0) for dish in meals.DISH])
        frame, found, _ = wrote(Plates(**{**vars(PLATES), "present": usual}))
        assert frame["sight"].isna().all()
        assert not {"sight", "self_bleu"} & set(found)
        assert not np.isnan(list(found.values())).any()
        assert not recwarn.list
