"""The prompt: what a language model is told about a plate.

*Explicit semantic supervision in modular image-to-recipe architectures*, IKTK-2025, puts the dish
and the ingredients that two networks saw into one structured prompt; the naive prompt names the
dish alone. The paper prints no wording, so this one is ours. Both are the same but for what they
know, so that a difference in the recipes is one of knowledge.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from studies.paths import StudyError
from studies.recipes.model import Seen
from studies.recipes.params import Parameters
from studies.recipes.readers import Plates

ALTERNATIVES = 2  # other dishes that are named when the first is unsure
USUAL = 0.5  # share of a dish's training plates that have an ingredient which is typical of it
FORM = {"servings", "language", "sure"}  # what every prompt of a run is built with
STREAM = 1
LISTED = "Visible ingredients: "

Ingredients = Sequence[str] | Mapping[str, float] | None


def build_prompt(
    dish: str | Mapping[str, float],
    ingredients: Ingredients = None,
    *,
    servings: int = 2,
    language: str = "English",
    sure: float = 0.8,
) -> str:
    """Return the prompt for a recipe of a plate.

    Args:
        dish: its name, or names with their probabilities, 0 to 1. When the most probable one is
            below `sure`, up to two others follow it, each with its probability.
        ingredients: what is visible, or names with their probabilities, most probable first in the
            prompt; None for the naive prompt, which knows the dish alone. An empty one says that
            nothing was recognised.
        servings: how many people the recipe is for.
        language: the recipe's.
        sure: probability of a dish from which on it is named without doubt.

    White space in names, line ends included, becomes a space, so that a name cannot end its line.
    Raises StudyError when no dish is named or a probability is not in 0 to 1.
    """
    ranked = _ranked({dish: 1.0} if isinstance(dish, str) else dish)
    if not ranked:
        raise StudyError("a prompt needs the name of a dish; give one")
    dishes = " or ".join(_with_shares(ranked[: ALTERNATIVES + 1]))
    lines = [f"Dish: {ranked[0][0] if ranked[0][1] >= sure else dishes}"]
    if ingredients is not None:
        if isinstance(ingredients, Mapping):
            names = _with_shares(_ranked(ingredients))
        else:
            names = [_name(name) for name in ingredients]
        lines.append(f"{LISTED}{', '.join(names) or 'none recognised'}")
    lines += [f"Servings: {servings}", f"Language: {' '.join(language.split())}"]
    task = "Write a recipe for the dish on the photograph."
    form = "Answer with a title, the ingredients with their amounts, and numbered steps."
    return "\n".join([task, "", *lines, "", form])


def _ranked(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return names and probabilities, the most probable first, equal ones as they came."""
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise StudyError(f"the probability of {name!r} should be 0 to 1, not {share}")
    ranked = sorted(shares.items(), key=lambda one: -one[1])
    return [(_name(name), share) for name, share in ranked]


def _with_shares(ranked: list[tuple[str, float]]) -> list[str]:
    return [f"{name} ({share:.0%})" for name, share in ranked]


def _name(name: str) -> str:
    plain = " ".join(name.replace("_", " ").split())
    if not plain:
        raise StudyError("a name in a prompt has no letters; mend the table of dishes")
    return plain


def prompts(
    parameters: Parameters, plates: Plates, parts: np.ndarray, seen: Seen, places: np.ndarray
) -> list[str]:
    """Return the prompts of the test plates at these places among all test plates.

    `seen` is of all test plates; `another_plate` gives a plate what was seen on another one that
    was taken for the same dish, or on any other where there is none.
    """
    train, test = (np.flatnonzero(parts == part) for part in ("train", "test"))
    dishes, likely, named = seen
    predicted, ingredient_names = dishes.argmax(1), np.array(plates.ingredients)
    rng = np.random.default_rng([parameters.seed, STREAM])
    told, form = parameters.prompt, parameters.writing.model_dump(include=FORM)
    texts = []
    for place, row in zip(places, test[places], strict=True):
        ingredients: Ingredients = None
        if told.ingredients == "actual":
            ingredients = ingredient_names[plates.present[row]].tolist()
        elif told.ingredients == "typical":
            alike = plates.present[train[plates.dish[train] == predicted[place]]]
            ingredients = ingredient_names[alike.mean(0) >= USUAL].tolist()
        elif told.ingredients != "none":
            shuffled = told.ingredients == "another_plate"
            source = another(place, predicted, rng) if shuffled else place
            pairs = zip(plates.ingredients, likely[source].tolist(), named[source], strict=True)
            ingredients = {name: share for name, share, is_named in pairs if is_named}
        dish: str | dict[str, float] = plates.dishes[plates.dish[row]]
        if told.dish == "seen":
            dish = dict(zip(plates.dishes, dishes[place].clip(0, 1).tolist(), strict=True))
        texts.append(build_prompt(dish, ingredients, **form))
    return texts


def list_in(prompt: str) -> str:
    """Return what a prompt lists as visible, "" where it lists nothing."""
    return prompt.partition(LISTED)[2].partition("\n")[0]


def another(place: int, predicted: np.ndarray, rng: np.random.Generator) -> int:
    """Return another plate, taken for the same dish if there is one."""
    every = np.arange(len(predicted))
    alike = np.flatnonzero((predicted == predicted[place]) & (every != place))
    return int(rng.choice(alike if len(alike) else np.delete(every, place)))
