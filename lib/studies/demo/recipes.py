"""What a cook would write of a plate: title, ingredients, steps."""

import numpy as np

from studies.demo.world import Plate

RECIPES_STREAM = 3

# what is in it but cannot be seen
_PANTRY = {
    "pizza": ("olive oil", "salt"),
    "curry": ("onion", "ginger"),
    "soup": ("onion", "stock"),
    "noodles": ("soy sauce", "garlic"),
    "salad": ("olive oil", "vinegar"),
    "sandwich": ("mustard", "salt"),
    "tart": ("sugar", "flour"),
    "pancakes": ("milk", "flour"),
    "ice_cream": ("sugar", "milk"),
}
# the base of the dish, what goes into it, what finishes it; two ways to say each
_STEPS = {
    "pizza": (
        ("Heat the oven and roll out the {base}.", "Stretch the {base} on a hot tray."),
        ("Cover it with {middle} and bake for 12 minutes.", "Add {middle} and bake until crisp."),
        ("Finish with {last}.", "Scatter {last} over it and serve."),
    ),
    "curry": (
        ("Fry onion and ginger, then stir in the {base}.", "Warm the {base} in a wide pan."),
        ("Add {middle} and simmer for 20 minutes.", "Stir in {middle} and cook gently."),
        ("Serve with {last}.", "Finish with {last} and serve hot."),
    ),
    "soup": (
        ("Soften the onion and pour in the {base}.", "Bring the {base} to the boil with stock."),
        ("Stir in {middle} and simmer for 15 minutes.", "Add {middle} and cook gently."),
        ("Top with {last}.", "Ladle into bowls and finish with {last}."),
    ),
    "noodles": (
        ("Heat the {base} with soy sauce.", "Bring the {base} to the boil with garlic."),
        ("Add {middle} and cook for 5 minutes.", "Divide {middle} between the bowls."),
        ("Top with {last}.", "Lay {last} on top and serve."),
    ),
    "salad": (
        ("Wash and cut the {base}.", "Arrange the {base} on a plate."),
        ("Mix in {middle}.", "Add {middle} and toss gently."),
        ("Dress it and finish with {last}.", "Scatter {last} over it and serve cold."),
    ),
    "sandwich": (
        ("Toast the {base}.", "Slice the {base} and spread mustard on it."),
        ("Lay {middle} on it.", "Cover it with {middle}."),
        ("Finish with {last}.", "Top with {last} and serve at once."),
    ),
    "tart": (
        ("Bake the {base} blind for 15 minutes.", "Line a tin with the {base} and bake it."),
        ("Fill it with {middle}.", "Spread {middle} in the shell."),
        ("Finish with {last} and chill.", "Lay {last} on top and serve cold."),
    ),
    "pancakes": (
        ("Fry each {base} until golden.", "Whisk the batter and fry one {base} at a time."),
        ("Serve with {middle}.", "Stack them with {middle}."),
        ("Finish with {last}.", "Pour or scatter {last} over the stack."),
    ),
    "ice_cream": (
        ("Scoop the {base} into a chilled bowl.", "Let the {base} soften and scoop it."),
        ("Add {middle}.", "Spoon {middle} around it."),
        ("Finish with {last}.", "Top with {last} and serve at once."),
    ),
}


def recipe(plate: Plate, seed: int = 0) -> str:
    """Return the recipe of a plate, which names every visible ingredient at least once.

    A title, a list of ingredients and numbered steps, one a line. The words are drawn by lot from a
    few ways to say the same, from a stream of their own, whatever else is drawn.
    """
    place = [ord(letter) for letter in plate.id]
    rng = np.random.default_rng([seed, RECIPES_STREAM, *place])
    base, *rest = plate.ingredients
    last = rest[-1:] if len(rest) > 1 else []
    middle = rest[: len(rest) - len(last)]
    dish = plate.dish.replace("_", " ")
    told = {"base": base, "middle": _join(middle), "last": _join(last)}
    # what characterises a plate is what lies on top
    things = _join([*middle, *last] or [base])
    title = (
        f"{dish} with {things}" if rng.random() < 0.7 else f"{dish} of the house with {things}"
    ).capitalize()
    pantry = [name for name in _PANTRY[plate.dish] if rng.random() < 0.8]
    lines = [title, f"Ingredients: {', '.join([*plate.ingredients, *pantry])}"]
    said = [ways[int(rng.integers(len(ways)))] for ways in _STEPS[plate.dish]]
    kept = [
        step.format(**told) for step, have in zip(said, (base, middle, last), strict=True) if have
    ]
    lines += [f"{number}. {step}" for number, step in enumerate(kept, 1)]
    return "\n".join(lines)


def _join(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
