"""What notebooks and reports show of plates and runs: figures, and tables to look at."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve

from studies.inputs.images import open_rgb
from studies.inputs.splits import PARTS
from studies.recipes import data, metrics
from studies.recipes.params import Parameters
from studies.reporting import pages, plots, tables
from studies.reporting.results import all_curves, cost_table
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
TESTED = ("dish_top1", "ingredient_micro_f1", "ingredient_map", "variant_accuracy")
SEEN_AXES = {
    "dish_top1": "dish top-1 (0–1)",
    "ingredient_micro_f1": "ingredient micro-F1 (0–1)",
    "ingredient_map": "ingredient mAP (0–1)",
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
WRITTEN_AXES = {
    "grounding_precision": "grounding precision (0–1)",
    "grounding_recall": "grounding recall (0–1)",
    "sight": "sight (−1 to 1)",
    "self_bleu": "self-BLEU (0–1)",
}
CURVES = {
    "train_loss": "training loss, (1) + weight × (2) (nats)",
    "validation_dish_top1": "validation dish top-1 (0–1)",
    "validation_ingredient_map": "validation ingredient mAP (0–1)",
}
SHOWN = 4  # ingredients named in a caption


def overview(plates: data.Plates, parts: np.ndarray) -> pd.DataFrame:
    """Return how many pictures, dishes and ingredients every part holds."""
    rows = []
    for part in PARTS:
        mine = parts == part
        rows.append(
            {
                "part": part,
                "pictures": f"{int(mine.sum()):,}",
                "dishes": len(np.unique(plates.dish[mine])),
                "ingredients": int(plates.present[mine].any(0).sum()),
                "ingredients a picture": f"{plates.present[mine].sum(1).mean():.1f}",
            }
        )
    return pd.DataFrame(rows)


def sample(plates: data.Plates, shown: int = 6) -> Figure:
    """Draw a few pictures from all over the dataset, each with its dish and ingredients."""
    rows = np.linspace(0, len(plates.files) - 1, shown).round().astype(int)
    items = [
        (
            open_rgb(plates.paths[row]),
            f"{spoken(plates.dishes[plates.dish[row]])}: "
            + listed(plates.ingredients, plates.present[row]),
        )
        for row in rows
    ]
    return plots.images(items, columns=3)


def spoken(name: str) -> str:
    """Return the name of a dish or a variant as it is said."""
    return name.replace("_", " ")


def listed(ingredients: list[str], present: np.ndarray) -> str:
    """Return the names of the ingredients that are there, the first few."""
    names = [ingredients[place] for place in np.flatnonzero(present)]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def score_table(run: LoadedRun) -> pd.DataFrame:
    """Return a run's scores on the test set, one row a metric."""
    names = WRITTEN if run.params["prompt"] is not None else SEEN
    shown = {
        names[metric]: f"{run.metrics[metric]:.3f}" for metric in names if metric in run.metrics
    }
    return pd.DataFrame({"metric": shown.keys(), run.system: shown.values()})


def look(run: LoadedRun, shown: int = 6) -> Figure | None:
    """Draw test pictures with what a network says of them, for a prompt the one that it asked.

    None for a trivial baseline, which does not look.
    """
    if run.params["prompt"] is not None:
        run = load_run(run.folder.parents[1] / run.provenance["perception"] / run.folder.name)
    if run.params["network"] is None:
        return None
    parameters = Parameters.from_run(run.params, run.folder)
    plates, eyes = data.read(parameters), run.model()
    ids = run.predictions["id"]
    chosen = [ids[row] for row in np.linspace(0, len(ids) - 1, shown).round().astype(int)]
    files = [plates.root / name for name in chosen]
    seen = eyes.see_files(files)
    items = []
    for file, dishes, likely, named in zip(
        files, seen.dishes, seen.ingredients, seen.named, strict=True
    ):
        best = dishes.argmax()
        said = [
            f"{eyes.ingredients[place]} {likely[place]:.0%}"
            for place in np.argsort(-likely, kind="stable")
            if named[place]
        ]
        items.append(
            (open_rgb(file), f"{spoken(eyes.dishes[best])} {dishes[best]:.0%}: {', '.join(said)}")
        )
    return plots.images(items, columns=3)


def cases(runs: dict[str, LoadedRun], shown: int = 6) -> list[Markup]:
    """Return test plates, each with what is on it, the last run's prompt and every run's recipe.

    Raises StudyError when the photographs are not there.
    """
    first, *_, last = [*runs.values()] * 2
    plates = data.read(Parameters.from_run(first.params, first.folder))
    frames = {name: run.predictions for name, run in runs.items()}
    told = last.predictions
    parts = []
    for row in np.linspace(0, len(told) - 1, shown).round().astype(int):
        plate = told.iloc[row]
        present = [plates.ingredients[place] for place in np.flatnonzero(plate["present"])]
        texts = {
            "On the plate": f"{spoken(plates.dishes[plate['dish']])}: {', '.join(present)}",
            "Prompt": plate["prompt"],
            **{f"Recipe, {name}": frame.iloc[row]["recipes"][0] for name, frame in frames.items()},
        }
        parts.append(pages.case(plates.root / plate["id"], texts))
    return parts


def seen_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw dishes and ingredients of the systems that look; None without one."""
    return plots.scores(frame, SEEN_AXES)


def written_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw how recipes of each prompt fit the plate and each other; None without a prompt."""
    return plots.scores(frame, WRITTEN_AXES)


def test_table(tests: pd.DataFrame, metrics: Collection[str]) -> pd.DataFrame:
    """Return the paired tests in some metrics, one row a pair of systems."""
    names = {metric: name for metric, name in {**SEEN, **WRITTEN}.items() if metric in metrics}
    return tables.wide_tests(tests[tests["metric"].isin(names)], names, [])


def curves(systems: dict[str, list[LoadedRun]]) -> Figure | None:
    """Draw the loss and what chooses the epoch against the step; None without a system."""
    if not systems:
        return None
    frame = all_curves(systems)
    return plots.curves(frame, "step", {name: CURVES[name] for name in CURVES if name in frame})


def cost(systems: dict[str, list[LoadedRun]]) -> pd.DataFrame:
    """Return what each system cost, and with what numbers it computed."""
    return cost_table(systems, "precision", lambda facts: facts["precision"])


def calibration(systems: dict[str, list[LoadedRun]]) -> Figure:
    """Draw how often dishes said with some probability are right, first seed of every system."""
    frames = []
    for system, (run, *_) in systems.items():
        frame = run.predictions
        likely = np.stack(frame["dish_probabilities"])
        hits = likely.argmax(1) == frame["dish"]
        right, said = calibration_curve(hits, likely.max(1), n_bins=metrics.BINS)
        frames.append(pd.DataFrame({"said": said, "right": right, "system": system}))
    ends = [0.0, 1.0]
    frames.append(pd.DataFrame({"said": ends, "right": ends, "system": "perfect"}))
    axes = {"right": "share that is right (0–1)"}
    return plots.curves(
        pd.concat(frames), "said", axes, x_label="probability of the dish said (0–1)", columns=1
    )
