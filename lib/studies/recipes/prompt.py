"""The prompt: what a language model is told about a plate.

*Explicit semantic supervision in modular image-to-recipe architectures*, IKTK-2025, puts the dish
and the ingredients that two networks saw into one structured prompt; the naive prompt names the
dish alone. The paper prints no wording, so this one is ours. Both are the same but for what they
know, so that a difference in the recipes is one of knowledge.
"""

from collections.abc import Mapping, Sequence

from studies.paths import StudyError

ALTERNATIVES = 2  # other dishes that are named when the first is unsure


def build_prompt(
    dish: str | Mapping[str, float],
    ingredients: Sequence[str] | Mapping[str, float] | None = None,
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
    lines = [f"Dish: {_dish(dish, sure)}"]
    if ingredients is not None:
        lines.append(f"Visible ingredients: {_ingredients(ingredients)}")
    lines += [f"Servings: {servings}", f"Language: {' '.join(language.split())}"]
    task = "Write a recipe for the dish on the photograph."
    form = "Answer with a title, the ingredients with their amounts, and numbered steps."
    return "\n".join([task, "", *lines, "", form])


def _dish(dish: str | Mapping[str, float], sure: float) -> str:
    if isinstance(dish, str):
        return _name(dish)
    ranked = _ranked(dish)
    if not ranked:
        raise StudyError("a prompt needs the name of a dish; give one")
    (first, probability), *others = ranked
    if probability >= sure:
        return first
    shown = [f"{first} ({probability:.0%})"]
    shown += [f"{name} ({share:.0%})" for name, share in others[:ALTERNATIVES]]
    return " or ".join(shown)


def _ingredients(ingredients: Sequence[str] | Mapping[str, float]) -> str:
    if isinstance(ingredients, Mapping):
        names = [f"{name} ({share:.0%})" for name, share in _ranked(ingredients)]
    else:
        names = [_name(one) for one in ingredients]
    return ", ".join(names) or "none recognised"


def _ranked(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return names and probabilities, the most probable first, equal ones as they came."""
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise StudyError(f"the probability of {name!r} should be 0 to 1, not {share}")
    ranked = sorted(shares.items(), key=lambda one: -one[1])
    return [(_name(name), share) for name, share in ranked]


def _name(name: str) -> str:
    plain = " ".join(name.replace("_", " ").split())
    if not plain:
        raise StudyError("a name in a prompt has no letters; mend the table of dishes")
    return plain
