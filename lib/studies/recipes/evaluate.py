"""Score one system: `python -m studies.recipes.evaluate -f dataset.yaml -f system.yaml`."""

from pathlib import Path

import numpy as np
import pandas as pd

from studies.inputs import images
from studies.inputs.splits import sizes
from studies.learning import compute
from studies.paths import StudyError, relative, run_command
from studies.recipes import data, metrics, variants, writing
from studies.recipes.baselines import blind
from studies.recipes.model import Seen
from studies.recipes.params import Parameters
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import LoadedRun, claim, load_run, provenance

NAMES = "names.json"


def evaluate(parameters: Parameters) -> Path:
    """Score a system on the test set, unless that is done; return the run folder.

    Trains it first, and evaluates the systems that it builds on, where that has not been done.
    """
    folder = parameters.folder()
    if parameters.trained and not (folder / "model.safetensors").exists():
        # imported late: Lightning alone takes seconds
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
        test = np.flatnonzero(parts == "test")
        print_of = images.fingerprint(plates.paths, plates.root)
        facts = {
            "dataset_fingerprint": print_of,
            "images": sizes(parts),
        }
        if parameters.prompt is not None:
            asked = better(parameters)
            asked.refuse_other_images(print_of, plates.root)
            frame, found = writing.write(parameters, plates, parts, asked)
            facts["perception"] = asked.system
        elif parameters.trained:
            run = load_run(folder)
            run.refuse_other_images(print_of, plates.root)
            seen = run.model().see(data.inputs(plates, parameters)[test])
            frame, found = perception(parameters, plates, parts, seen)
        else:
            frame, found = perception(parameters, plates, parts, blind(plates, parts))
        if not parameters.trained:
            write_atomic(folder / "provenance.json", to_json(provenance(**facts)))
        names = {"dishes": plates.dishes, "ingredients": plates.ingredients}
        write_atomic(folder / NAMES, to_json(names))
        write_atomic(folder / "predictions.parquet", lambda path: frame.to_parquet(path))
        write_atomic(folder / "metrics.json", to_json({**found, "n": len(frame)}))
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


def perception(
    parameters: Parameters, plates: data.Plates, parts: np.ndarray, seen: Seen
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return what a system says of each test plate, one row each, and its scores.

    A system of which nothing is asked (ingredients of weight 0; a baseline's other half) has no
    columns and no scores of it.
    """
    test = np.flatnonzero(parts == "test")
    frame = pd.DataFrame({"id": [plates.files[row] for row in test]})
    frame["dish"] = plates.dish[test]
    found: dict[str, float] = {}
    dishes, raw = seen.dishes, seen.raw_dishes
    named_variants = parameters.trained and parameters.network.names == "variant"
    if named_variants:
        frame["variant_said"] = variants.within_dish(seen.dishes, plates, test)
        dishes, raw = (by_dish(one, plates) for one in (dishes, raw))
    if parameters.baseline is None or parameters.baseline.name == "majority":
        frame["dish_probabilities"] = list(dishes.astype(np.float32))
        found |= metrics.dish_scores(dishes, plates.dish[test])
        found["ece_uncalibrated"] = metrics.dish_scores(raw, plates.dish[test])["ece"]
    if says_ingredients(parameters):
        frame["present"] = list(plates.present[test])
        frame["named"] = list(seen.named)
        frame["ingredient_probabilities"] = list(seen.ingredients.astype(np.float32))
        found |= metrics.ingredient_scores(seen.ingredients, seen.named, plates.present[test])
        if plates.variants is not None:
            known = variants.profiles(plates, np.flatnonzero(parts == "train"))
            likely = variants.by_ingredients(seen.ingredients, known)
            frame["variant_said"] = variants.within_dish(likely, plates, test)
    if "variant_said" in frame:
        frame["variant"] = plates.variant[test]
        found["variant_accuracy"] = float((frame["variant_said"] == frame["variant"]).mean())
    return frame, found


def says_ingredients(parameters: Parameters) -> bool:
    """Return whether a system names ingredients."""
    if parameters.trained:
        return parameters.network.ingredient_weight > 0
    return parameters.baseline.name == "frequencies"


def by_dish(probabilities: np.ndarray, plates: data.Plates) -> np.ndarray:
    """Return probabilities of dishes (N, C): each the sum over its variants (N, V)."""
    member = np.zeros((len(plates.variants), len(plates.dishes)))
    member[plates.variant, plates.dish] = 1
    return probabilities @ member


if __name__ == "__main__":
    run_command(lambda: evaluate(Parameters.from_command_line()))
