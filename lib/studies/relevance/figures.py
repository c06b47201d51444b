"""What notebooks and reports show of captions and runs: figures, and tables to look at."""

from collections import Counter
from itertools import chain
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve

from studies.inputs.reading import PARTS
from studies.relevance.data import Collection
from studies.relevance.filter import BELOW_MEAN, Curve, decide
from studies.relevance.metrics import of_items, scored_items
from studies.reporting import bootstrap, plots, tables
from studies.reporting.plots import COLUMN, Drawing, at_paper_size, style
from studies.reporting.tables import Shown, show
from studies.runs.folder import LoadedRun
from studies.runs.params import read_yaml

PAPER = read_yaml(Path(__file__).with_name("claims.yaml"))
LABELS = PAPER["labels"]  # of metrics by their ids
RATES, DOWNSTREAM, CURVES = LABELS["rates"], LABELS["downstream"], LABELS["curves"]
FILTER = RATES | LABELS["further"]
TRAINED = {f"{metric}_trained": name for metric, name in RATES.items()}
FILTER_AXES = {metric: f"{name} (0–1)" for metric, name in RATES.items()}
DOWNSTREAM_AXES = {metric: f"{name} (0–1)" for metric, name in DOWNSTREAM.items()}
FOUND, USABLE, KEPT = "found", "of several words and a class with a text", "kept"
SWEPT = {part: f"J on {part}" for part in PARTS[1:]}
THRESHOLDS = np.geomspace(0.001, 1, 61)
TRUTH = {True: "yes", False: "no"}  # others: unknown
SHOWN = 160  # characters of a text


def overview(collection: Collection, parts: np.ndarray) -> pd.DataFrame:
    """Return how many captions, classes and examples every part holds."""
    columns = {
        "part": parts,
        "class": collection.target,
        "examples": collection.sentence_counts[collection.target],
        "known": collection.relevant,
    }
    shares = {"captions": ("class", "size"), "classes": ("class", "nunique")}
    shares |= {"examples": ("examples", "sum"), "describe their class": ("known", "mean")}
    table = pd.DataFrame(columns).groupby("part").agg(**shares).loc[[*PARTS]].reset_index()
    return written(table, {"describe their class": "{:.0%}"}).replace("nan%", "unknown")


def written(table: pd.DataFrame, shares: dict[str, str]) -> pd.DataFrame:
    """Return a table with numbers as they are read: counts by thousands, `shares` as they say."""
    forms = dict.fromkeys(table.select_dtypes("integer"), "{:,}") | shares
    return table.assign(**{name: table[name].map(form.format) for name, form in forms.items()})


def sample(collection: Collection, shown: int = 8) -> pd.DataFrame:
    """Return captions from all over the table, each with its class and whether it describes it."""
    frame = collection.captions[spaced(len(collection.captions), shown)]
    return pd.DataFrame(
        {
            "class": [collection.by_wnid[wnid] for wnid in frame["wnid"]],
            "caption": [shortened(text) for text in frame["text"]],
            "describes it": [TRUTH.get(known, "unknown") for known in frame["relevant"]],
        }
    )


def examples(collection: Collection, shown: int = 3) -> pd.DataFrame:
    """Return captions as the predictor reads them in training: a sentence of the class behind."""
    sentences, pairs = collection.pairs()
    chosen = pairs[spaced(len(pairs), shown)]
    return pd.DataFrame(
        {
            "class": [collection.names[collection.target[caption]] for caption, _ in chosen],
            "caption": [collection.captions[int(caption)]["text"] for caption, _ in chosen],
            "sentence": [sentences[sentence] for _, sentence in chosen],
        }
    )


def spaced(count: int, shown: int) -> np.ndarray:
    """Return places from all over a list."""
    return np.unique(np.linspace(0, count - 1, min(shown, count)).round().astype(int))


def shortened(text: str) -> str:
    """Return a text, or its beginning."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def outcome(run: LoadedRun, shown: int = 8) -> pd.DataFrame:
    """Return how many captions a filter keeps, and why it drops others.

    Of a classifier, which classes it most often takes for which others.
    """
    frame = run.predictions
    if "said" in frame:
        wrong = frame[frame["said"] != frame["class"]]
        counts = wrong.groupby(["class", "said"]).size().sort_values(ascending=False, kind="stable")
        top = counts[:shown].reset_index(name="captions").replace(run.items["names"])
        return written(top.rename(columns={"said": "taken for"}), {})
    kept = frame["kept"].map({True: "kept", False: "dropped"})
    counts = frame.get("reason", kept).replace("", "kept").value_counts()
    return written(counts.rename_axis("").reset_index(name="captions"), {})


def texts(run: LoadedRun, collection: Collection, shown: int = 4) -> pd.DataFrame:
    """Return held-out captions of some classes: those that a filter scores highest and lowest.

    Of a classifier, which keeps and drops nothing, the first two of each with the class said.
    """
    frame = run.predictions
    score = next((name for name in ("probability", "lead") if name in frame), None)
    names = run.items["names"]
    rows = []
    for number in spaced(len(names), shown):
        mine = frame[(frame["part"] == "test") & (frame["class"] == [*names][number])]
        if score is not None:
            ranked = mine.sort_values(score, ascending=False, kind="stable")
            mine = pd.concat([ranked[:1], ranked[1:][-1:]])
        for one in mine[:2].to_dict("records"):
            caption = collection.captions[one["id"]]["text"]
            row = {"class": names[one["class"]], "caption": shortened(caption)}
            if score is not None:
                row |= {score: f"{one[score]:.3f}", "": "kept" if one["kept"] else "dropped"}
            else:
                row["said"] = names[one["said"]]
            rows.append({**row, "describes it": TRUTH.get(one["relevant"], "unknown")})
    return pd.DataFrame(rows)


def classes(run: LoadedRun, shown: int = 5) -> pd.DataFrame:
    """Return the classes of which a filter keeps the largest and the smallest share."""
    shares = {"captions": "size", "kept": "sum", "share": "mean"}
    by_class = run.predictions.groupby("class")["kept"].agg(**shares)
    ranked = by_class.sort_values("share", ascending=False, kind="stable")
    if len(ranked) > 2 * shown:
        ranked = pd.concat([ranked[:shown], ranked[-shown:]])
    return written(ranked.rename(run.items["names"]).reset_index(), {"share": "{:.0%}"})


def funnel(run: LoadedRun) -> pd.DataFrame:
    """Return the steps from all captions found to those a predictor keeps: step, captions, left.

    `found`, `USABLE` and `kept` are totals; the rows between them are the reasons that drop any
    caption, in the order in which they are asked, each with how many it drops. `left` is what
    remains after a step.
    """
    left = run.items["found"]
    rows = [(FOUND, left, left)]
    filtered = Counter(run.predictions["reason"])
    del filtered[""]
    mean_first = sorted(filtered.items(), key=lambda one: one[0] != BELOW_MEAN)
    for reasons, total in ((run.items["dropped"].items(), USABLE), (mean_first, KEPT)):
        for reason, count in reasons:
            left -= count
            rows.append((reason, count, left))
        rows.append((total, left, left))
    return pd.DataFrame(rows, columns=["step", "captions", "left"])


@at_paper_size
def class_sizes(run: LoadedRun) -> Figure:
    """Draw how many classes have how many captions, as the paper's Figure 1 does."""
    figure, (axis,) = plots.grid(1, 1, 2)
    axis.hist([*run.items["captions"].values()], bins=20, color=style("predictor").colour)
    axis.set(xlabel="captions of a class (number)", ylabel="classes (number)")
    return figure


def doses(frame: pd.DataFrame, filters: dict[str, list[LoadedRun]]) -> Figure | None:
    """Draw the scores of filters against the share of wrong captions that they were trained on.

    Of a tidy frame, the systems without variant and those with `noise<share>`; None without these.
    """
    noise = {name: runs[0].params["source"].get("noise") for name, runs in filters.items()}
    asked = [name for name in noise if name.partition("@")[2].rstrip("0123456789") in ("", "noise")]
    rows = tables.of(frame, asked)
    rows = rows.assign(noise=tables.systems(rows).map(noise))
    if rows["noise"].nunique() < 2:
        return None
    axes = {metric: FILTER_AXES[metric] for metric in ("youden", "auc")}
    return plots.sweep(rows, "noise", "wrong captions in training (share)", axes)


def swept(filters: dict[str, list[LoadedRun]]) -> list[pd.DataFrame]:
    """Return Youden's J of each run of a predictor at `THRESHOLDS` in place of the filter's own.

    Columns: `system`, `seed`, `threshold`, and J on captions of known truth, `validation` and
    `test`. Left out are runs without probabilities, or where a part knows one kind of caption only.
    """
    frames = []
    for run in chain(*filters.values()):
        known = run.predictions.dropna(subset=["relevant"])
        kinds = known.groupby("part")["relevant"].nunique().reindex(PARTS[1:])
        if "probability" not in known or kinds.ne(2).any():
            continue
        # what is below the mean of all classes is dropped at any threshold
        score = known["probability"].mask(known["reason"] == BELOW_MEAN, -1).to_numpy()
        kept, truth = score >= THRESHOLDS[:, None], known["relevant"].astype(bool)
        frame = pd.DataFrame({"threshold": THRESHOLDS})
        for part in PARTS[1:]:
            right, wrong = (kept[:, (known["part"] == part) & of] for of in (truth, ~truth))
            frame[part] = right.mean(axis=1) - wrong.mean(axis=1)
        frames.append(frame.assign(system=run.system, seed=run.params["seed"]))
    return frames


def thresholds(filters: dict[str, list[LoadedRun]]) -> list[Figure | Shown]:
    """Show Youden's J against the threshold, and what one chosen on validation gives, see `swept`.

    The figure is of systems without variant, if there are any; numbers are means over seeds.
    """
    if not (frames := swept(filters)):
        return []
    frame = pd.concat(frames, ignore_index=True)
    plain = frame[~frame["system"].str.contains("@")]
    figure = plots.curves(frame if plain.empty else plain, "threshold", SWEPT)
    for axis in figure.axes:
        axis.set_xscale("log")
    best = frame.loc[frame.groupby(["system", "seed"])["validation"].idxmax()]
    table = best.groupby("system")[["threshold", *PARTS[1:]]].mean().rename(columns=SWEPT)
    names = ["J on test as set", "precision as set", *get_args(Curve)]
    table[names] = [np.mean([*map(as_set, filters[system])], axis=0) for system in table.index]
    return [figure, show(table.loc[frame["system"].unique()], PAPER["swept"])]


def as_set(run: LoadedRun) -> list[float]:
    """Return Youden's J on test captions, and the share of right ones among the kept.

    That is once as they are, and then by the coefficients of each curve.
    """
    frame, plan = run.predictions, run.parameters.filter
    own, mean = frame["probability"].to_numpy(), np.where(frame["reason"] == BELOW_MEAN, 2, 0)
    plans = [plan.model_copy(update={"curve": curve}) for curve in get_args(Curve)]
    weights = [frame["kept"], *(decide(own, mean, one)["coefficient"].fillna(0) for one in plans)]
    items = scored_items(frame)[""]
    shares = bootstrap.mean(items["relevant"])(np.array(weights, dtype=float)[:, items.index])
    return [bootstrap.value(of_items(items)["youden"], len(items)), *shares]


@at_paper_size
def funnel_figure(steps: pd.DataFrame) -> Figure:
    """Draw how many captions are left after each step, of the table that `funnel` gives."""
    figure = Drawing(figsize=(2 * COLUMN, 0.7 + 0.3 * len(steps)), layout="constrained")
    axis = figure.subplots()
    left = steps["left"].to_numpy()
    names = [plots.plain(step) for step in steps["step"]]
    bars = axis.barh(np.arange(len(steps)), left, color=style("predictor").colour, height=0.7)
    axis.bar_label(bars, [f" {count:,}" for count in left], fontsize=7)
    axis.set_yticks(np.arange(len(steps)), names)
    axis.invert_yaxis()
    axis.set_xlim(0, max(1, left.max()) * 1.1)
    axis.set_xlabel("captions left (number)")
    axis.grid(False, axis="y")
    return figure


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
    axes = {"precision": FILTER_AXES["precision"]}
    return plots.curves(pd.concat(frames), "recall", axes, x_label=FILTER_AXES["recall"])
