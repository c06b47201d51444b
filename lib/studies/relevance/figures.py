"""What notebooks and reports show of captions and runs: figures, and tables to look at."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from studies.inputs.splits import PARTS
from studies.relevance import data
from studies.relevance.cases import shortened
from studies.reporting import plots, tables
from studies.reporting.plots import COLUMN, Drawing, at_paper_size, plain, style
from studies.reporting.results import all_curves, cost_table
from studies.runs.folder import LoadedRun

FILTER = {
    "precision": "precision",
    "recall": "recall",
    "rejected": "rejected",
    "auc": "AUC",
    "kept": "kept",
}
TRAINED = {f"{metric}_trained": name for metric, name in FILTER.items() if metric != "kept"}
FILTER_AXES = {
    "precision": "precision (0–1)",
    "recall": "recall (0–1)",
    "rejected": "rejected (0–1)",
    "auc": "AUC (0–1)",
}
DOWNSTREAM = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
DOWNSTREAM_AXES = {"accuracy": "accuracy (0–1)", "macro_f1": "macro-F1 (0–1)"}
CURVES = {
    "train_loss": "training loss (nats)",
    "validation_accuracy": "validation accuracy (0–1)",
}


def overview(collection: data.Collection, parts: np.ndarray) -> pd.DataFrame:
    """Return how many captions, classes and examples every part holds."""
    _, pairs = collection.pairs()
    rows = []
    for part in PARTS:
        mine = parts == part
        known = collection.relevant[mine]
        rows.append(
            {
                "part": part,
                "captions": f"{int(mine.sum()):,}",
                "classes": len(np.unique(collection.target[mine])),
                "examples": f"{int(mine[pairs[:, 0]].sum()):,}",
                "describe their class": "unknown"
                if np.isnan(known).all()
                else f"{np.nanmean(known):.0%}",
            }
        )
    return pd.DataFrame(rows)


def sample(collection: data.Collection, shown: int = 8) -> pd.DataFrame:
    """Return captions from all over the table, each with its class and whether it describes it."""
    rows = np.linspace(0, len(collection.captions) - 1, shown).round().astype(int)
    frame = collection.captions[rows]
    words = {True: "yes", False: "no", None: "unknown"}
    return pd.DataFrame(
        {
            "class": [collection.names[collection.target[row]] for row in rows],
            "caption": [shortened(text) for text in frame["text"]],
            "describes it": [words[known] for known in frame["relevant"]],
        }
    )


def examples(collection: data.Collection, shown: int = 3) -> pd.DataFrame:
    """Return captions as the predictor reads them in training: a sentence of the class behind."""
    flat, pairs = collection.pairs()
    rows = np.linspace(0, len(pairs) - 1, shown).round().astype(int)
    return pd.DataFrame(
        {
            "class": [collection.names[collection.target[pairs[row, 0]]] for row in rows],
            "caption": [collection.captions[int(pairs[row, 0])]["text"] for row in rows],
            "sentence": [flat[pairs[row, 1]] for row in rows],
        }
    )


def score_table(run: LoadedRun) -> pd.DataFrame:
    """Return a run's scores on the test set, one row a metric."""
    names = {**FILTER, **DOWNSTREAM}
    shown = {
        name: f"{value:,}" if metric == "kept" else f"{value:.3f}"
        for metric, name in names.items()
        if (value := run.metrics.get(metric)) is not None
    }
    return pd.DataFrame({"metric": shown.keys(), run.system: shown.values()})


def filter_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw how well each filter finds the captions that describe their class; None if unknown."""
    return plots.scores(frame, FILTER_AXES)


def downstream_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw how well each classifier of captions does; None without one."""
    return plots.scores(frame, DOWNSTREAM_AXES)


def precision_recall(filters: dict[str, list[LoadedRun]]) -> Figure | None:
    """Draw precision against recall at every threshold, first seed; None where truth is unknown."""
    frames = []
    for system, (run, *_) in filters.items():
        known = run.predictions[run.predictions["part"] == "test"].dropna(subset=["relevant"])
        if known.empty:
            continue
        score = known["probability" if "probability" in known else "lead"]
        precision, recall, _ = precision_recall_curve(known["relevant"].astype(bool), score)
        # the last point is a convention, and no threshold reaches it
        points = {"precision": precision[:-1], "recall": recall[:-1], "system": system}
        frames.append(pd.DataFrame(points).drop_duplicates("recall"))
    if not frames:
        return None
    return plots.curves(
        pd.concat(frames),
        "recall",
        {"precision": "precision (0–1)"},
        x_label="recall (0–1)",
        columns=1,
    )


@at_paper_size
def funnel_figure(steps: pd.DataFrame) -> Figure:
    """Draw how many captions are left after each step, of the table that `funnel` gives."""
    figure = Drawing(figsize=(2 * COLUMN, 0.7 + 0.3 * len(steps)), layout="constrained")
    axis = figure.subplots()
    places, left = np.arange(len(steps)), steps["left"].to_numpy()
    axis.barh(places, left, color=style("predictor").colour, height=0.7)
    for place, count in zip(places, left, strict=True):
        axis.text(count, place, f" {count:,}", va="center", fontsize=7)
    axis.set_yticks(places, [plain(step) for step in steps["step"]])
    axis.invert_yaxis()
    axis.set_xlim(0, max(1, left.max()) * 1.1)
    axis.set_xlabel("captions left (number)")
    axis.grid(False, axis="y")
    return figure


def test_table(tests: pd.DataFrame, metrics: Collection[str]) -> pd.DataFrame:
    """Return the paired tests in some metrics, one row a pair of systems."""
    names = {name: said for name, said in {**FILTER, **DOWNSTREAM}.items() if name in metrics}
    return tables.wide_tests(tests[tests["metric"].isin(names)], names, [])


def curves(systems: dict[str, list[LoadedRun]]) -> Figure | None:
    """Draw the loss and what chooses the epoch against the step; None without a system."""
    if not systems:
        return None
    return plots.curves(all_curves(systems), "step", CURVES, columns=2)


def cost(systems: dict[str, list[LoadedRun]]) -> pd.DataFrame:
    """Return what each system cost, and on how many captions a classifier was trained."""
    return cost_table(systems, "captions trained on", lambda facts: f"{trained_on(facts):,}")


def trained_on(facts: dict) -> int:
    """Return the number of captions that a network was trained on."""
    return facts.get("trained_on", facts["captions"]["train"])
