"""What notebooks show of plates and runs: figures, and tables to look at."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve

from studies.inputs.images import open_rgb
from studies.inputs.reading import PARTS
from studies.recipes import data, metrics
from studies.recipes.params import Parameters
from studies.recipes.readers import Plates
from studies.reporting import plots, publish
from studies.reporting.results import all_curves, cost_table
from studies.reporting.tables import Shown, show
from studies.runs.folder import LoadedRun, load_run

SEEN = {
    "dish_top1": "dish top-1",
    "dish_top5": "dish top-5",
    "ece": "ECE",
    "ingredient_micro_f1": "ingredient micro-F1",
    "ingredient_map": "ingredient mAP",
    "variant_accuracy": "variant accuracy",
    "dish_macro_f1": "dish macro-F1",
    "ingredient_macro_f1": "ingredient macro-F1",
    "jaccard": "Jaccard",
}
WRITTEN = {
    "grounding_precision": "grounding precision",
    "grounding_recall": "grounding recall",
    "sight": "sight",
    "self_bleu": "self-BLEU",
    "distinct_2": "distinct-2",
    "bleu4": "BLEU-4",
    "rouge_l": "ROUGE-L",
}
NAMES = {**SEEN, **WRITTEN}
AXES = {metric: f"{name} (0–1)" for metric, name in NAMES.items()} | {"sight": "sight (−1 to 1)"}
TESTED = ("dish_top1", "ingredient_micro_f1", "ingredient_map", "variant_accuracy")
SEEN_AXES = {metric: AXES[metric] for metric in TESTED[:3]}
WRITTEN_AXES = {metric: AXES[metric] for metric in [*WRITTEN][:4]}
CURVES = {
    "train_loss": "training loss, (1) + weight × (2) (nats)",
    "validation_dish_top1": "validation dish top-1 (0–1)",
    "validation_ingredient_map": "validation ingredient mAP (0–1)",
}
NAMED = 4  # ingredients in a caption


def overview(plates: Plates, parts: np.ndarray) -> pd.DataFrame:
    """Return how many pictures, dishes and ingredients every part holds."""
    rows = []
    for part in PARTS:
        dish, present = plates.dish[parts == part], plates.present[parts == part]
        counts = f"{len(dish):,}", len(np.unique(dish)), int(present.any(0).sum())
        rows.append((part, *counts, f"{present.sum(1).mean():.1f}"))
    names = ["part", "pictures", "dishes", "ingredients", "ingredients a picture"]
    return pd.DataFrame(rows, columns=names)


def sample(plates: Plates, shown: int = 6) -> Figure:
    """Draw a few pictures from all over the dataset, each with its dish and ingredients."""
    items = []
    for row in spread(len(plates.files), shown):
        names = names_of(plates.ingredients, plates.present[row])
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        caption = f"{spoken(plates.dishes[plates.dish[row]])}: {', '.join(names[:NAMED])}{more}"
        items.append((open_rgb(plates.paths[row]), caption))
    return plots.images(items, columns=3)


def spread(count: int, shown: int) -> list[int]:
    """Return so many places from all over a list."""
    return np.linspace(0, count - 1, shown).round().astype(int).tolist()


def spoken(name: str) -> str:
    """Return the name of a dish or a variant as it is said."""
    return name.replace("_", " ")


def names_of(ingredients: list[str], present: np.ndarray) -> list[str]:
    """Return the names of the ingredients that are there."""
    return [ingredients[place] for place in np.flatnonzero(present)]


def score_table(run: LoadedRun) -> pd.DataFrame:
    """Return a run's scores on the test set, one row a metric."""
    names = WRITTEN if run.params["prompt"] is not None else SEEN
    scores = {
        names[metric]: f"{run.metrics[metric]:.3f}" for metric in names if metric in run.metrics
    }
    return pd.DataFrame({"metric": scores.keys(), run.system: scores.values()})


def look(run: LoadedRun, shown: int = 6) -> Figure | None:
    """Draw test pictures with what a network says of them, for a prompt the one that it asked.

    None for a trivial baseline, which does not look.
    """
    if run.params["prompt"] is not None:
        run = load_run(run.folder.parents[1] / run.provenance["perception"] / run.folder.name)
    if run.params["network"] is None:
        return None
    plates, eyes = data.read(Parameters.from_run(run.params, run.folder)), run.model()
    ids = run.predictions["id"]
    files = [plates.root / ids[row] for row in spread(len(ids), shown)]
    seen, items = eyes.see_files(files), []
    for file, dishes, likely, named in zip(
        files, seen.dishes, seen.ingredients, seen.named, strict=True
    ):
        best, order = dishes.argmax(), np.argsort(-likely, kind="stable")
        names = [f"{eyes.ingredients[k]} {likely[k]:.0%}" for k in order if named[k]]
        caption = f"{spoken(eyes.dishes[best])} {dishes[best]:.0%}: {', '.join(names)}"
        items.append((open_rgb(file), caption))
    return plots.images(items, columns=3)


def cases(runs: Mapping[str, LoadedRun], shown: int = 6) -> Shown:
    """Show test plates, each with what is on it, the last run's prompt and every run's recipe.

    Raises StudyError when the photographs are not there.
    """
    first, last = next(iter(runs.values())), list(runs.values())[-1]
    plates = data.read(Parameters.from_run(first.params, first.folder))
    frame, blocks, words = last.predictions, [], []
    for row in spread(len(frame), shown):
        plate = frame.iloc[row]
        names = names_of(plates.ingredients, plate["present"])
        texts = {
            "On the plate": f"{spoken(plates.dishes[plate['dish']])}: {', '.join(names)}",
            "Prompt": plate["prompt"],
        }
        for name, run in runs.items():
            texts[f"Recipe, {name}"] = run.predictions.iloc[row]["recipes"][0]
        blocks.append(publish.case(plates.root / plate["id"], texts))
        words += [f"{heading}: {text}" for heading, text in texts.items()]
    return Shown("".join(blocks), "\n".join(words))


def curves(systems: Mapping[str, list[LoadedRun]]) -> Figure | None:
    """Draw the loss and what chooses the epoch against the step; None without a system."""
    if not systems:
        return None
    frame = all_curves(systems)
    return plots.curves(frame, "step", {name: CURVES[name] for name in CURVES if name in frame})


def calibration(systems: Mapping[str, list[LoadedRun]]) -> Figure | None:
    """Draw how often dishes said with some probability are right, first seed of every system.

    None without a network.
    """
    frames = []
    for system, (run, *_) in systems.items():
        if run.params["network"] is not None and "dish_probabilities" in run.predictions:
            likely = np.stack(run.predictions["dish_probabilities"])
            hits = likely.argmax(1) == run.predictions["dish"]
            right, said = calibration_curve(hits, likely.max(1), n_bins=metrics.BINS)
            frames.append(pd.DataFrame({"said": said, "right": right, "system": system}))
    if not frames:
        return None
    ends = [0.0, 1.0]
    frames.append(pd.DataFrame({"said": ends, "right": ends, "system": "perfect"}))
    axes = {"right": "share that is right (0–1)"}
    return plots.curves(
        pd.concat(frames), "said", axes, x_label="probability of the dish said (0–1)", columns=1
    )


def cost(systems: Mapping[str, Sequence[LoadedRun]]) -> Shown:
    """Show what the training of each system cost."""
    return show(cost_table(systems, "precision", lambda facts: facts["precision"]))
