"""Score one system: `python -m studies.recipes.evaluate -f dataset.yaml -f system.yaml`."""

from pathlib import Path

import numpy as np
import pandas as pd

from studies.inputs import images
from studies.inputs.reading import sizes
from studies.learning import compute
from studies.paths import StudyError, relative, run_command
from studies.recipes import data, metrics, texts
from studies.recipes.calibration import thresholds
from studies.recipes.model import Seen
from studies.recipes.params import Parameters
from studies.recipes.prompt import STREAM, prompts
from studies.recipes.readers import Plates
from studies.reporting.bootstrap import Metric, value
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import LoadedRun, accounted, claim, load_run, provenance

NAMES = "names.json"
RARE = 0.01  # no variant has an ingredient never or always for certain


def evaluate(parameters: Parameters) -> Path:
    """Score a system on the test set, unless that is done; return the run folder.

    Trains it first, and evaluates the systems that it builds on, where that has not been done.
    """
    folder = parameters.folder()
    if parameters.trained and not (folder / "model.safetensors").exists():
        # imported late: a run that is trained needs none of it
        from studies.recipes.train import train

        train(parameters)
    if not (folder / "metrics.json").exists():
        for system in parameters.after:
            evaluate(eyes(parameters, system))
    with claim(parameters):
        if (folder / "metrics.json").exists():
            print(f"{relative(folder)}: already evaluated", flush=True)
            return folder
        compute.prepare(parameters)
        plates = data.read(parameters)
        parts = data.split(plates, parameters)
        fingerprint = images.fingerprint(plates.paths, plates.root)
        facts = {"dataset_fingerprint": fingerprint, "images": sizes(parts)}
        if parameters.prompt is not None:
            asked = better(parameters)
            asked.refuse_other_images(fingerprint, plates.root)
            frame, scores = write(parameters, plates, parts, asked)
            facts["perception"] = asked.system
        elif parameters.trained:
            run = load_run(folder)
            run.refuse_other_images(fingerprint, plates.root)
            seen = run.model().see(data.inputs(plates, parameters)[parts == "test"])
            frame, scores = perception(parameters, plates, parts, seen)
        else:
            frame, scores = perception(parameters, plates, parts, blind(plates, parts))
        if not parameters.trained:
            write_atomic(folder / "provenance.json", to_json(provenance(**facts)))
        names = {"dishes": plates.dishes, "ingredients": plates.ingredients}
        write_atomic(folder / NAMES, to_json(names))
        write_atomic(folder / "predictions.parquet", lambda path: frame.to_parquet(path))
        write_atomic(folder / "metrics.json", to_json({**scores, "n": len(frame)}))
    return folder


def eyes(parameters: Parameters, system: str) -> Parameters:
    """Return the parameters of a system that a prompt may ask what is on a plate.

    Raises StudyError when it does not name both dishes and ingredients.
    """
    asked = parameters.sister(system)
    if not (asked.trained and asked.network.names == "dish" and asked.network.ingredient_weight):
        raise StudyError(
            f"writing.perception: `{system}` does not see both dishes and ingredients; name "
            "networks that do"
        )
    return asked


def better(parameters: Parameters) -> LoadedRun:
    """Return the perception run with the best score on validation data, the first of equals."""
    runs = [load_run(parameters.sister(system).folder()) for system in parameters.after]
    return max(runs, key=lambda run: run.provenance["best_score"])


@accounted("scoring")
def perception(
    parameters: Parameters, plates: Plates, parts: np.ndarray, seen: Seen
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return what a system says of each test plate, one row each, and its scores.

    A system of which nothing is asked (ingredients of weight 0; a baseline's other half) has no
    columns and no scores of it.
    """
    test, network, baseline = np.flatnonzero(parts == "test"), parameters.network, None
    if network is None:
        baseline = parameters.baseline.name
    dish, present = plates.dish[test], plates.present[test]
    frame = pd.DataFrame({"id": [plates.files[row] for row in test], "dish": dish})
    scores: dict[str, float] = {}
    dishes, raw = seen.dishes, seen.raw_dishes
    if network is not None and network.names == "variant":
        frame["variant_said"] = within_dish(dishes, plates, test)
        # the probability of a dish is the sum over its variants
        variant_of = np.zeros((len(plates.variants), len(plates.dishes)))
        variant_of[plates.variant, plates.dish] = 1
        dishes, raw = dishes @ variant_of, raw @ variant_of
    if baseline != "frequencies":
        frame["dish_probabilities"] = list(dishes.astype(np.float32))
        scores |= values(metrics.dish_metrics(dishes, dish), len(test))
        scores["ece_uncalibrated"] = value(metrics.dish_metrics(raw, dish)["ece"], len(test))
    if baseline == "frequencies" or (network is not None and network.ingredient_weight):
        frame["present"], frame["named"] = list(present), list(seen.named)
        frame["ingredient_probabilities"] = list(seen.ingredients.astype(np.float32))
        of_ingredients = metrics.ingredient_metrics(seen.ingredients, seen.named, present)
        scores |= values(of_ingredients, len(test))
        if plates.variants is not None:
            likely = variant_scores(seen.ingredients, plates, np.flatnonzero(parts == "train"))
            frame["variant_said"] = within_dish(likely, plates, test)
    if "variant_said" in frame:
        frame["variant"] = plates.variant[test]
        scores["variant_accuracy"] = float((frame["variant_said"] == frame["variant"]).mean())
    return frame, scores


def values(metrics: dict[str, Metric], items: int) -> dict[str, float]:
    """Return what each metric is on the test set."""
    return {name: value(metric, items) for name, metric in metrics.items()}


def blind(plates: Plates, parts: np.ndarray) -> Seen:
    """Return what training plates alone tell of each test plate: the same for all.

    The share of each dish, so that the most frequent one is named, and of each ingredient, named
    by thresholds chosen on validation data as those of a network are.
    """
    train, validation, test = (parts == part for part in ("train", "validation", "test"))
    dishes = np.bincount(plates.dish[train], minlength=len(plates.dishes)) / train.sum()
    ingredients = plates.present[train].mean(0)
    limits = thresholds(np.tile(ingredients, (validation.sum(), 1)), plates.present[validation])
    return Seen(
        *(np.tile(row, (test.sum(), 1)) for row in (dishes, ingredients, ingredients > limits)),
        np.tile(dishes, (test.sum(), 1)),
    )


def variant_scores(probabilities: np.ndarray, plates: Plates, train: np.ndarray) -> np.ndarray:
    """Return the expected log-likelihood of each variant, (N, V).

    Of ingredient probabilities p (N, S) and the share π (V, S) of each variant's plates among the
    rows `train` that have them: Σ_s p log π + (1 − p) log(1 − π).
    """
    present, variant = plates.present[train], plates.variant[train]
    profiles = [present[variant == one].mean(0) for one in range(len(plates.variants))]
    share = np.stack(profiles).clip(RARE, 1 - RARE)
    return probabilities @ np.log(share).T + (1 - probabilities) @ np.log(1 - share).T


def within_dish(scores: np.ndarray, plates: Plates, rows: np.ndarray) -> np.ndarray:
    """Return for each plate of `rows` the variant of its own dish with the highest score, (N,)."""
    dish_of = np.zeros(len(plates.variants), dtype=int)
    dish_of[plates.variant] = plates.dish
    possible = dish_of == plates.dish[rows][:, None]
    return np.where(possible, scores, -np.inf).argmax(1)


@accounted("scoring")
def write(
    parameters: Parameters, plates: Plates, parts: np.ndarray, asked: LoadedRun
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return prompt, recipes and scores of each plate, one row each, and the mean scores.

    `asked` is the run that says what is seen on the plates.
    """
    # imported late: language models take seconds, which looking need not pay
    from studies.recipes.writers import recipe_writer

    test = np.flatnonzero(parts == "test")
    places = sample(len(test), parameters)
    rows = test[places]
    asked_for = prompts(parameters, plates, parts, asked.predictions, places)
    with accounted("decoding"):
        recipes = recipe_writer(parameters).write(asked_for, parameters.writing.recipes)
    dish, present = plates.dish[rows], plates.present[rows]
    frame = pd.DataFrame({"id": [plates.files[row] for row in rows], "dish": dish})
    frame["present"], frame["prompt"], frame["recipes"] = list(present), asked_for, recipes
    named = texts.mentions(recipes, plates.ingredients, plates.dishes)
    frame["grounding_precision"], frame["grounding_recall"] = texts.grounding(named, present)
    frame["sight"] = texts.sight(named, present, dish)
    frame["self_bleu"] = texts.self_bleu(recipes, dish, present)
    if plates.references is not None:
        references = [plates.references[row] for row in rows]
        frame["bleu4"] = texts.bleu4(recipes, references)
        frame["rouge_l"] = texts.rouge_l(recipes, references)
        frame["reference"] = references
    # self-BLEU and sight need plates of one dish with different ingredients
    scores = {
        name: float(np.nanmean(frame[name]))
        for name in texts.SCORES
        if name in frame and frame[name].notna().any()
    }
    return frame, {**scores, "distinct_2": texts.distinct(recipes, dish)}


def sample(count: int, parameters: Parameters) -> np.ndarray:
    """Return the places of the test plates that get recipes, the same for every prompt."""
    wanted = min(parameters.writing.plates or count, count)
    rng = np.random.default_rng([parameters.split_seed, STREAM])
    return np.sort(rng.permutation(count)[:wanted])


if __name__ == "__main__":
    run_command(lambda: evaluate(Parameters.from_command_line()))
