"""Recipes for the test plates: who is told what, what they write, and how good it is."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from studies.recipes import texts
from studies.recipes.llm import recipe_writer
from studies.recipes.params import Parameters
from studies.recipes.plates import Plates
from studies.recipes.prompt import build_prompt
from studies.runs.folder import LoadedRun

USUAL = 0.5  # share of a dish's training plates that have an ingredient which is typical of it
STREAM = 1


def write(
    parameters: Parameters, plates: Plates, parts: np.ndarray, perception: LoadedRun
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return prompt, recipes and scores of each plate, one row each, and the mean scores.

    `perception` is the run that says what is seen on the plates.
    """
    test = np.flatnonzero(parts == "test")
    chosen = sample(len(test), parameters)
    seen = perception.predictions
    known = np.flatnonzero(parts == "train")
    prompts = said(parameters, plates, known, test, seen, chosen)
    written = recipe_writer(parameters).write(prompts, parameters.writing.recipes)
    rows = test[chosen]
    frame = pd.DataFrame({"id": [plates.files[row] for row in rows]})
    frame["dish"], frame["present"] = plates.dish[rows], list(plates.present[rows])
    frame["prompt"], frame["recipes"] = prompts, written
    references = None if plates.references is None else [plates.references[row] for row in rows]
    scores = by_plate(written, plates, rows, references)
    frame = frame.assign(**scores)
    if references is not None:
        frame["reference"] = references
    # self-BLEU and sight need plates of one dish with different ingredients
    found = {
        name: float(np.nanmean(values))
        for name, values in scores.items()
        if not np.isnan(values).all()
    }
    found["distinct_2"] = texts.distinct(written, plates.dish[rows])
    return frame, found


def sample(count: int, parameters: Parameters) -> np.ndarray:
    """Return the places of the test plates that get recipes, the same for every prompt."""
    wanted = min(parameters.writing.plates or count, count)
    rng = np.random.default_rng([parameters.split_seed, STREAM])
    return np.sort(rng.permutation(count)[:wanted])


def said(
    parameters: Parameters,
    plates: Plates,
    known: np.ndarray,
    test: np.ndarray,
    seen: pd.DataFrame,
    chosen: np.ndarray,
) -> list[str]:
    """Return the prompt of each chosen test plate.

    `seen` has one row a test plate; `another_plate` gives a plate what was seen on another one that
    was taken for the same dish, or on any other where there is none.
    """
    dishes = np.stack(seen["dish_probabilities"])
    named, likely = np.stack(seen["named"]), np.stack(seen["ingredient_probabilities"])
    guessed = dishes.argmax(1)
    rng = np.random.default_rng([parameters.seed, STREAM])
    prompts = []
    for place in chosen:
        told = parameters.prompt.ingredients
        ingredients: Sequence[str] | dict[str, float] | None = None
        if told == "actual":
            ingredients = names(plates.ingredients, plates.present[test[place]])
        elif told == "typical":
            alike = plates.present[known[plates.dish[known] == guessed[place]]]
            ingredients = names(plates.ingredients, alike.mean(0) >= USUAL)
        elif told != "none":
            source = place if told == "seen" else another(place, guessed, rng)
            ingredients = {
                plates.ingredients[s]: float(likely[source, s])
                for s in np.flatnonzero(named[source])
            }
        dish: str | dict[str, float] = plates.dishes[plates.dish[test[place]]]
        if parameters.prompt.dish == "seen":
            dish = dict(zip(plates.dishes, dishes[place].clip(0, 1).tolist(), strict=True))
        writing = parameters.writing
        prompts.append(
            build_prompt(
                dish,
                ingredients,
                servings=writing.servings,
                language=writing.language,
                sure=writing.sure,
            )
        )
    return prompts


def another(place: int, guessed: np.ndarray, rng: np.random.Generator) -> int:
    """Return another plate, of the same guessed dish if there is one."""
    others = np.flatnonzero(guessed == guessed[place])
    others = others[others != place]
    if not len(others):
        others = np.delete(np.arange(len(guessed)), place)
    return int(rng.choice(others))


def names(ingredients: list[str], present: np.ndarray) -> list[str]:
    """Return the names of the ingredients that are there."""
    return [ingredients[place] for place in np.flatnonzero(present)]


def by_plate(
    written: list[list[str]], plates: Plates, rows: np.ndarray, references: list[str] | None
) -> dict[str, np.ndarray]:
    """Return the scores of each plate's recipes by id, (N,) each."""
    present, dish = plates.present[rows], plates.dish[rows]
    mentioned = mentions(written, plates.ingredients, plates.dishes)
    precision, recall = texts.grounding(mentioned, present)
    scores = {
        "grounding_precision": precision,
        "grounding_recall": recall,
        "sight": texts.sight(mentioned, present, dish),
        "self_bleu": texts.self_bleu(written, dish, present),
    }
    if references is not None:
        scores["bleu4"] = texts.bleu4(written, references)
        scores["rouge_l"] = texts.rouge_l(written, references)
    return scores


def mentions(written: list[list[str]], ingredients: list[str], dishes: list[str]) -> np.ndarray:
    """Return which ingredients each recipe names, (N, K, S).

    A dish's name is not one: "ice cream" names no cream.
    """
    also = [name for name in dishes if name.replace("_", " ") not in ingredients]
    return texts.named(written, [*ingredients, *also])[:, :, : len(ingredients)]
