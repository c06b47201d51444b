"""What notebooks show of plates and runs: figures, and tables to look at."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.calibration import calibration_curve

from studies.inputs.reading import PARTS
from studies.paths import StudyError
from studies.recipes import data, metrics
from studies.recipes.prompt import LISTED
from studies.recipes.readers import Plates
from studies.reporting import plots, publish, tables
from studies.reporting.tables import Shown
from studies.runs.folder import LoadedRun, load_run
from studies.runs.params import read_yaml

PAPER = read_yaml(Path(__file__).with_name("claims.yaml"))
LABELS = PAPER["labels"]  # of metrics by their ids
NAMES, CURVES = LABELS["names"], LABELS["curves"]
AXES = {metric: f"{name} (0–1)" for metric, name in NAMES.items()} | LABELS["axes"]
SEEN = {metric: NAMES[metric] for metric in LABELS["seen"]}
SEEN_AXES = {metric: AXES[metric] for metric in SEEN if metric != "variant_accuracy"}
WRITTEN = {metric: NAMES[metric] for metric in LABELS["written"]}
WRITTEN_AXES = {metric: AXES[metric] for metric in WRITTEN if metric != "hallucination"}  # `trade`
TOLD = ("Dish: ", LISTED)  # the lines in which prompts differ
NAMED = 4  # ingredients in a caption


def overview(plates: Plates, parts: np.ndarray) -> pd.DataFrame:
    """Return how many pictures, dishes and ingredients every part holds."""
    rows = []
    for part in PARTS:
        dish, present = plates.dish[parts == part], plates.present[parts == part]
        row = {"part": part, "pictures": f"{len(dish):,}", "dishes": len(np.unique(dish))}
        row["ingredients"] = int(present.any(0).sum())
        rows.append(row | {"ingredients a picture": f"{present.sum(1).mean():.1f}"})
    return pd.DataFrame(rows)


def sample(plates: Plates, shown: int = 6) -> Shown:
    """Draw a few pictures from all over the dataset, each with its dish and ingredients."""
    items = []
    for row in spread(len(plates.files), shown):
        names = [plates.ingredients[place] for place in np.flatnonzero(plates.present[row])]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        caption = f"{spoken(plates.dishes[plates.dish[row]])}: {', '.join(names[:NAMED])}{more}"
        items.append((plates.paths[row], caption))
    return publish.picture_grid(items, columns=3)


def spread(count: int, shown: int) -> list[int]:
    """Return so many places from all over a list."""
    return np.linspace(0, count - 1, shown).round().astype(int).tolist()


def spoken(name: str) -> str:
    """Return the name of a dish or a variant as it is said."""
    return name.replace("_", " ")


def look(run: LoadedRun, shown: int = 6) -> Shown | None:
    """Draw test pictures with what a network says of them, for a prompt the one that it asked.

    None for a trivial baseline, which does not look.
    """
    if run.params["prompt"] is not None:
        run = asked(run)
    if run.params["network"] is None:
        return None
    plates, eyes = data.read(run.parameters), run.model()
    ids = run.predictions["id"]
    files = [plates.root / ids[row] for row in spread(len(ids), shown)]
    items = []
    for file, dishes, likely, named in zip(files, *eyes.see_files(files), strict=True):
        best, order = dishes.argmax(), np.argsort(-likely, kind="stable")
        names = [f"{eyes.ingredients[k]} {likely[k]:.0%}" for k in order if named[k]]
        caption = f"{spoken(eyes.dishes[best])} {dishes[best]:.0%}: {', '.join(names)}"
        items.append((file, caption))
    return publish.picture_grid(items, columns=3)


def asked(run: LoadedRun) -> LoadedRun:
    """Return the run of the network that a prompt asked what is on a plate."""
    return load_run(run.folder.parents[1] / run.provenance["perception"] / run.folder.name)


def cases(runs: Mapping[str, LoadedRun], shown: int = 6) -> Shown | None:
    """Show test plates, each with what is on it, what is seen, and every run's prompt and recipe.

    Seen by the network that the last run asked. Where the photographs are not at hand, that; None
    without a run.
    """
    if not runs:
        return None
    *_, last = runs.values()
    try:
        plates = data.read(last.parameters)
    except StudyError as error:
        return publish.missing(error)
    eyes, blocks, words = asked(last), [], []
    sights = eyes.predictions.set_index("id")
    for row in spread(len(last.predictions), shown):
        plate = last.predictions.iloc[row]
        names = [plates.ingredients[place] for place in plate["present"]]
        dish = plates.dishes[plates.dish[plates.files.index(plate["id"])]]
        texts = {"On the plate": f"{spoken(dish)}: {', '.join(names)}"}
        sight = sights.loc[plate["id"]]
        names = [eyes.items["ingredients"][place] for place in sight["named"]]
        dish = f"{spoken(eyes.items['dishes'][sight['dish_said']])} {sight['dish_probability']:.0%}"
        texts[f"Seen by {eyes.system}"] = f"{dish}: {', '.join(names)}"
        for name, run in runs.items():
            own = run.predictions.iloc[row]
            told = [line for line in own["prompt"].split("\n") if line.startswith(TOLD)]
            texts[f"Prompt {name}, recipe"] = "\n".join([*told, "", own["recipes"][0]])
        blocks.append(publish.case(plates.root / plate["id"], texts))
        words += [f"{heading}: {text}" for heading, text in texts.items()]
    return Shown("".join(blocks), "\n".join(words))


def calibration(systems: Mapping[str, list[LoadedRun]]) -> Figure | None:
    """Draw how often dishes said with some probability are right, first seed of every system.

    None without a system; all have a network.
    """
    if not systems:
        return None
    frames = []
    for system, (run, *_) in systems.items():
        frame = run.predictions
        hits, likely = frame["dish_said"] == frame["dish"], frame["dish_probability"]
        right, said = calibration_curve(hits, likely.astype(float), n_bins=metrics.BINS)
        frames.append(pd.DataFrame({"said": said, "right": right, "system": system}))
    frames.append(pd.DataFrame({"said": [0.0, 1.0], "right": [0.0, 1.0], "system": "perfect"}))
    axes, label = {"right": "share that is right (0–1)"}, "probability of the dish said (0–1)"
    return plots.curves(pd.concat(frames), "said", axes, x_label=label)


@plots.at_paper_size
def trade(frame: pd.DataFrame) -> Figure | None:
    """Draw grounding recall against hallucination, a point a prompt of a tidy frame.

    Lines are 95 % intervals. Precision is one minus hallucination where a recipe names anything.
    None without a prompt.
    """
    rows = frame.assign(system=tables.systems(frame)).set_index(["metric", "system"])
    if rows.empty:
        return None
    figure, (axis,) = plots.grid(1, 1, 3.6)
    for system, across in rows.loc["hallucination"].iterrows():
        up, look = rows.loc["grounding_recall", system], plots.style(system)
        axis.plot([across.ci_low, across.ci_high], [up["mean"]] * 2, color=look.colour)
        axis.plot([across["mean"]] * 2, [up.ci_low, up.ci_high], color=look.colour)
        point = {"color": look.colour, "label": plots.plain(system)}
        axis.plot(across["mean"], up["mean"], look.marker, **point)
    axis.set(xlabel=AXES["hallucination"], ylabel=AXES["grounding_recall"])
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure
