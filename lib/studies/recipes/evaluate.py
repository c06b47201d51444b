"""Score one system: `python -m studies.recipes.evaluate -f dataset.yaml -f system.yaml`."""

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from studies.inputs.reading import sizes
from studies.learning import compute
from studies.paths import run_command
from studies.recipes import data, metrics, texts
from studies.recipes.calibration import thresholds
from studies.recipes.model import Seen
from studies.recipes.params import Parameters
from studies.recipes.prompt import STREAM, list_in, prompts
from studies.recipes.readers import Plates
from studies.reporting.bootstrap import Metric, mean, value
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import LoadedRun, accounted, load_run, provenance

# how to write predictions: steps of some hundred ingredients a plate take half the space so
SMALL = {
    **{"compression": "zstd", "compression_level": 19, "use_dictionary": False},
    "use_byte_stream_split": ["ingredient_steps.list.element"],
}
RARE = 0.01  # no variant has an ingredient never or always for certain


@compute.once
def evaluate(parameters: Parameters, folder: Path) -> None:
    """Score a system on the test set."""
    plates = data.read(parameters)
    parts = data.split(plates, parameters)
    fingerprint = plates.fingerprint
    facts = {"dataset_fingerprint": fingerprint, "images": sizes(parts)}
    names, told = plates.dishes, parameters.prompt
    if not (parameters.trained or parameters.looks):
        seen = blind(plates, parts)
    else:
        run = load_run(folder) if parameters.trained else better(parameters)
        run.refuse_other_images(fingerprint, plates.root)
        facts["perception"], network = run.system, run.model()
        inputs = data.inputs(plates, network.parameters)
        seen = network.see(inputs[parts == "test"])
        if parameters.baseline is not None or (told and told.ingredients == "implied"):
            seen = implied(seen, network.see(inputs[parts == "validation"]), plates, parts)
    if told is not None:
        names = list(dict.fromkeys([*plates.asked.dishes, *names]))
        frame, facts["remarks"] = write(parameters, plates, parts, seen)
        odd = facts["remarks"] or "none"
        print(f"{parameters.system}: {len(frame)} plates, odd recipes: {odd}")
    else:
        frame = perception(parameters, plates, parts, seen)
    if not parameters.trained:
        write_atomic(folder / "provenance.json", to_json(provenance(**facts)))
    items = {"dishes": names, "ingredients": plates.ingredients}
    write_atomic(folder / "items.json", to_json(items))
    write_atomic(folder / "predictions.parquet", lambda path: frame.to_parquet(path, **SMALL))
    write_atomic(folder / "metrics.json", to_json(scores(load_run(folder))))


def better(parameters: Parameters) -> LoadedRun:
    """Return the perception run with the best score on validation data, the first of equals."""
    runs = (load_run(one.folder()) for one in parameters.builds_on())
    return max(runs, key=lambda run: run.provenance["best_score"])


def on_plates(plates: Plates, rows: np.ndarray) -> pd.DataFrame:
    """Return what is true of some plates, one row each: id, cluster, dish, ingredients."""
    return pd.DataFrame(
        {
            "id": [plates.files[row] for row in rows],
            "cluster": plates.clusters[rows],
            "dish": plates.dish[rows],
            "present": metrics.listed(plates.present[rows]),
        }
    )


@accounted("scoring")
def perception(
    parameters: Parameters, plates: Plates, parts: np.ndarray, seen: Seen
) -> pd.DataFrame:
    """Return what a system says of each test plate, one row each.

    A system of which nothing is asked (ingredients of weight 0; a baseline's other half) has no
    columns of it.
    """
    test, network = np.flatnonzero(parts == "test"), parameters.network
    of_dish = network is not None or parameters.baseline.name == "majority"
    of_ingredients = network.ingredient_weight > 0 if network is not None else not of_dish
    frame, dishes, asked = on_plates(plates, test), seen.dishes, plates.asked
    by_variant = network is not None and network.names == "variant"
    if by_variant or (of_dish and plates.grouped):
        frame["variant_said"] = within_dish(dishes, asked, test)
        of_broad = dishes @ asked.variant_of.astype(float)  # the sum over its variants
        if by_variant:
            dishes = of_broad
        else:
            frame["group_right"] = of_broad.argmax(1) == asked.dish[test]
    if of_dish:
        frame = frame.assign(**metrics.dish_columns(dishes, plates.dish[test]))
    if of_ingredients:
        frame["named"] = metrics.listed(seen.named)
        steps = metrics.ingredient_steps(seen.ingredients, plates.present[test])
        frame["ingredient_steps"] = list(steps)
        if asked.variants is not None:
            likely = variant_scores(seen.ingredients, asked, np.flatnonzero(parts == "train"))
            frame["variant_said"] = within_dish(likely, asked, test)
    if "variant_said" in frame:
        frame["variant"] = asked.variant[test]
    return frame


def measures(run: LoadedRun) -> dict[str, Metric]:
    """Return the metrics of a run by id, each a function of weights (R, N) of its test plates."""
    frame, items = run.predictions, run.items
    count, by_id = len(items["ingredients"]), {}
    if "recipes" in frame:
        present = metrics.mask(frame["present"], count)
        named = texts.mentions(frame["recipes"], items["ingredients"], items["dishes"])
        precision, recall = texts.grounding(named, present)
        by_id |= {"grounding_precision": mean(precision), "grounding_recall": mean(recall)}
        by_id["hallucination"] = mean(texts.hallucination(named, present))
        by_id["sight"] = texts.sight(named, present, frame["dish"].to_numpy())
        by_id |= {name: mean(frame[name]) for name in texts.SCORES if name in frame}
    if "dish_said" in frame:
        by_id |= metrics.dish_metrics(frame)
    if "named" in frame:
        by_id |= metrics.ingredient_metrics(frame, count)
    if "group_right" in frame:
        by_id["group_top1"] = mean(frame["group_right"])
    if "variant_said" in frame:
        by_id["variant_accuracy"] = mean(frame["variant_said"] == frame["variant"])
    return by_id


@accounted("scoring")
def scores(run: LoadedRun) -> dict[str, float]:
    """Return what the metrics of a run are on the test set, but those without plates to compare."""
    frame = run.predictions
    found = {name: value(metric, len(frame)) for name, metric in measures(run).items()}
    if "recipes" in frame:
        found["distinct_2"] = texts.distinct_2(frame["recipes"], frame["dish"].to_numpy())
    kept = {name: score for name, score in found.items() if not np.isnan(score)}
    return {**kept, "n": len(frame)}


def blind(plates: Plates, parts: np.ndarray) -> Seen:
    """Return what training plates alone tell of each test plate: the same for all.

    The share of each dish, so that the most frequent one is named, and of each ingredient, named
    by thresholds chosen on validation data as those of a network are.
    """
    train, validation, test = (parts == part for part in ("train", "validation", "test"))
    dishes = np.bincount(plates.dish[train], minlength=len(plates.dishes)) / train.sum()
    ingredients = plates.present[train].mean(0)
    limits = thresholds(np.tile(ingredients, (validation.sum(), 1)), plates.present[validation])
    said = dishes, ingredients, ingredients > limits
    return Seen(*(np.tile(row, (test.sum(), 1)) for row in said))


def implied(seen: Seen, held_out: Seen, plates: Plates, parts: np.ndarray) -> Seen:
    """Return what CNN-1 alone implies of the ingredients: Σ P(dish) · share of its plates.

    `seen` is of test plates, `held_out` of validation plates, on which thresholds are chosen as
    those of a network are.
    """
    train, validation = (parts == part for part in ("train", "validation"))
    own = shares(plates.present[train], plates.dish[train], len(plates.dishes), 0.0)
    limits = thresholds(held_out.dishes @ own, plates.present[validation])
    ingredients = seen.dishes @ own
    return Seen(seen.dishes, ingredients, ingredients > limits)


def shares(present: np.ndarray, of: np.ndarray, count: int, unknown: float) -> np.ndarray:
    """Return how many of the plates (N, S) of each class (N,) have an ingredient, (count, S)."""
    means = pd.DataFrame(present).groupby(of).mean()
    return means.reindex(range(count), fill_value=unknown).to_numpy()


def variant_scores(probabilities: np.ndarray, plates: Plates, train: np.ndarray) -> np.ndarray:
    """Return the expected log-likelihood of each variant, (N, V).

    Of ingredient probabilities p (N, S) and the share π (V, S) of each variant's plates among the
    rows `train` that have them: Σ_s p log π + (1 − p) log(1 − π).
    """
    # one that is not trained on is as likely with an ingredient as without
    own = shares(plates.present[train], plates.variant[train], len(plates.variants), 0.5)
    share = own.clip(RARE, 1 - RARE)
    return probabilities @ np.log(share).T + (1 - probabilities) @ np.log(1 - share).T


def within_dish(scores: np.ndarray, plates: Plates, rows: np.ndarray) -> np.ndarray:
    """Return for each plate of `rows` the variant of its own dish with the highest score, (N,)."""
    possible = plates.variant_of[:, plates.dish[rows]].T
    return np.where(possible, scores, -np.inf).argmax(1)


@accounted("scoring")
def write(
    parameters: Parameters, plates: Plates, parts: np.ndarray, seen: Seen
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Return prompt, recipes and scores of each plate, one row each, and the writer's remarks.

    `seen` is what the prompts tell.
    """
    # imported late: language models take seconds, which looking need not pay
    from studies.recipes.writers import recipe_writer

    if plates.grouped:
        plates = plates.asked
        seen = seen._replace(dishes=seen.dishes @ plates.variant_of.astype(float))
    test = np.flatnonzero(parts == "test")
    places = sample(len(test), parameters)
    rows = test[places]
    frame = on_plates(plates, rows)
    frame["prompt"] = prompts(parameters, plates, parts, seen, places)
    lists, remarks = [[list_in(prompt)] for prompt in frame["prompt"]], Counter()
    recipes = lists
    if not parameters.prompt.echo:
        with accounted("decoding"):
            writer = recipe_writer(parameters)
            recipes = writer.write(frame["prompt"], parameters.writing.recipes)
        remarks = writer.remarks + texts.failures(recipes, lists, plates.ingredients)
    frame["recipes"] = recipes
    frame["self_bleu"] = texts.self_bleu(recipes, plates.dish[rows], plates.present[rows])
    if plates.references is not None:
        references = [plates.references[row] for row in rows]
        frame = frame.assign(**texts.reference_scores(recipes, references))
    return frame, dict(+remarks)


def sample(count: int, parameters: Parameters) -> np.ndarray:
    """Return the places of the test plates that get recipes, the same for every prompt."""
    wanted = min(parameters.writing.plates or count, count)
    rng = np.random.default_rng([parameters.split_seed, STREAM])
    return np.sort(rng.permutation(count)[:wanted])


if __name__ == "__main__":
    run_command(lambda: evaluate(Parameters.from_command_line()))
