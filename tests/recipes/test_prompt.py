"""What prompts say: their lines, what no name can do to them, and who is told what of a plate."""

import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import meals
from sentences import refused
from studies.recipes import prompt as prompting
from studies.recipes.model import Seen
from studies.recipes.prompt import build_prompt
from studies.recipes.readers import Plates

pytest_plugins = ["plates_made"]

# names as tables of dishes have them, and worse
words = st.text(st.sampled_from("ab é_-'(%,:\n\r\t\x0b\x85\u2028"), min_size=1, max_size=8)
names = words.filter(lambda name: name.replace("_", " ").strip())
shares = st.floats(0, 1)
dishes = st.one_of(names, st.dictionaries(names, shares, min_size=1, max_size=5))
seen = st.one_of(st.lists(names, max_size=4), st.dictionaries(names, shares, max_size=4))


def line(prompt: str, name: str) -> str:
    """The one line of a prompt that begins with a name."""
    (found,) = [one for one in prompt.splitlines() if one.startswith(f"{name}: ")]
    return found.removeprefix(f"{name}: ")


class TestBuildPrompt:
    @given(dishes, seen, st.integers(1, 99), names)
    def test_no_name_ends_its_line_and_naive_lacks_the_ingredients_alone(
        self, dish, ingredients, servings, language
    ):
        options = {"servings": servings, "language": language}
        lines = build_prompt(dish, ingredients, **options).splitlines()
        heads = ["Dish: ", "Visible ingredients: ", "Servings: ", "Language: "]
        assert len(lines) == len(heads) + 4
        assert [lines[1], lines[-2]] == ["", ""]
        for head, one in zip(heads, lines[2:-2], strict=True):
            assert one.startswith(head)
            assert one == " ".join(one.split())
        assert build_prompt(dish, **options).splitlines() == [*lines[:3], *lines[4:]]

    @pytest.mark.parametrize("share", [-0.01, 1.01, float("nan"), 70])
    def test_a_probability_that_is_none(self, share):
        for values in (({"a\nb": share},), ("soup", {"a\nb": share})):
            message = refused(build_prompt, *values)
            assert repr("a\nb") in message
            assert str(share) in message

    def test_names_without_letters(self):
        for values in (("_\n_",), ({"": 1.0},), ("soup", ["egg", "_"]), ("soup", {"\t": 0.5})):
            assert refused(build_prompt, *values).startswith("a name in a prompt has no letters")
        assert refused(build_prompt, {}) == "a prompt needs the name of a dish; give one"


PLATES = Plates(
    root=Path("/nowhere"),
    files=meals.IDS,
    dishes=meals.DISHES,
    dish=meals.DISH,
    ingredients=meals.INGREDIENTS,
    present=meals.PRESENT,
)
PARTS = np.array(["train", "test"])[np.arange(len(meals.IDS)) % 2]
TEST, KNOWN = (np.flatnonzero(part == PARTS) for part in ("test", "train"))
SEEN = Seen(*(part[TEST] for part in meals.seen(3.0)[:3]))
GUESSED = SEEN.dishes.argmax(1)
EVERY = np.arange(len(TEST))


@pytest.fixture
def prompts(ordered):
    """Return a function: system -> prompts of all test plates."""

    def ask(system: str, **changes) -> list[str]:
        parameters = ordered(system, dataset="tiny", **changes)
        return prompting.prompts(parameters, PLATES, PARTS, SEEN, EVERY)

    return ask


def told(prompt: str) -> dict[str, str]:
    """The ingredients of a prompt, each with what is said of its probability."""
    listed = line(prompt, "Visible ingredients")
    pairs = [one.partition(" (") for one in listed.split(", ") if listed != "none recognised"]
    return {name: share.removesuffix(")") for name, _, share in pairs}


def named(place: int) -> dict[str, str]:
    """What was seen on a test plate, with percentages."""
    _, likely, there = (part[place] for part in SEEN)
    return {name: f"{likely[s]:.0%}" for s, name in enumerate(meals.INGREDIENTS) if there[s]}


class TestPrompts:
    def test_naive_and_supervised_tell_of_what_is_seen(self, prompts):
        likely, doubted = SEEN.dishes, 0
        for place, (naive, prompt) in enumerate(
            zip(prompts("naive"), prompts("supervised"), strict=True)
        ):
            assert told(prompt) == named(place)
            assert re.sub("\nVisible ingredients: .*", "", prompt) == naive
            order = sorted(range(len(meals.DISHES)), key=lambda c, p=place: -likely[p, c])
            shown = [(meals.DISHES[c].replace("_", " "), likely[place, c]) for c in order[:3]]
            doubts = " or ".join(f"{name} ({share:.0%})" for name, share in shown)
            assert line(prompt, "Dish") == (shown[0][0] if shown[0][1] >= 0.8 else doubts)
            doubted += shown[0][1] < 0.8
        assert 0 < doubted < len(TEST)

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
            assert set(told(prompt).values()) <= {""}

    def test_shuffled_ingredients_were_seen_on_another_plate_of_the_guessed_dish(self, prompts):
        shuffled = prompts("shuffled")
        for place, prompt in enumerate(shuffled):
            others = [k for k in EVERY if k != place and GUESSED[k] == GUESSED[place]]
            others = others or [k for k in EVERY if k != place]
            assert told(prompt) in [named(other) for other in others]
        assert prompts("shuffled") == shuffled
        assert prompts("shuffled", seed=1) != shuffled
