"""What notebooks and reports show of data and runs: figures, and tables to look at."""

from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from studies.inputs.reading import PARTS
from studies.reporting import plots, publish
from studies.reporting import results as shared
from studies.reporting.bootstrap import Metric
from studies.reporting.results import by_system, cost_table, read_runs
from studies.reporting.tables import Shown
from studies.runs.folder import LoadedRun
from studies.runs.params import read_yaml
from studies.triplets import data, tune
from studies.triplets.loss import flexible_margin
from studies.triplets.metrics import scores

ORDER = ["cross_entropy", "triplet", "flexible", "hybrid"]
PAPER = read_yaml(Path(__file__).with_name("claims.yaml"))
LABELS = PAPER["labels"]  # of metrics by their ids
NAMES, AXES, CURVES = LABELS["names"], LABELS["axes"], LABELS["curves"]
SPACE, OTHERS = LABELS["space"], LABELS["others"]
APART, UNSEEN = LABELS["apart"], LABELS["unseen"]
ACROSS = [  # compared, though their variants differ
    ("triplet", "flexible@one_stage"),
    ("flexible", "cross_entropy@untrained"),
    ("flexible@held_out", "cross_entropy@held_out_untrained"),
]


class Results(shared.Results):
    """The runs of a dataset.

    Classes are indices into `classes`, the frame with the columns `class`, `level1` to `levelH`,
    `images` (in the whole dataset) and `scored` (whether macro-F1 counts it).
    """

    study = "triplets"
    title = "Triplets: do label relations make a better classifier?"
    paper = PAPER
    names = NAMES
    counts = ("severe_errors",)
    ledger = NAMES | SPACE | UNSEEN | APART
    axes = AXES

    @cached_property
    def classes(self) -> pd.DataFrame:
        """Return the classes, the same of all runs but for `unseen`."""
        return read_classes(self.runs[0])

    @cached_property
    def labels(self) -> np.ndarray:
        """Return (C, H) label indices of each class, top level first."""
        levels = [name for name in self.classes if name.startswith("level")]
        return np.stack([pd.factorize(self.classes[level])[0] for level in levels], axis=1)

    def codes(self, run: LoadedRun, column: str) -> np.ndarray:
        """Return (N,) the class of each test item in a column of a run's predictions."""
        index = {name: i for i, name in enumerate(self.classes["class"])}
        return run.predictions[column].map(index).to_numpy()

    @cached_property
    def truth(self) -> np.ndarray:
        """Return (N,) the class of each test item."""
        return self.codes(self.runs[0], "true_class")

    def metrics(self, run: LoadedRun) -> dict[str, Metric]:
        """Return the metrics of a run by id, each a function of weights."""
        predictions = run.predictions
        # evidence of older runs has none
        others = {name: f"by_{name}" for name in OTHERS if f"by_{name}" in predictions}
        clusters = [f"cluster_level{level + 1}" for level in range(self.labels.shape[1])]
        return scores(
            self.labels,
            np.flatnonzero(self.classes["scored"]),
            np.flatnonzero(read_classes(run)["unseen"]),
            self.truth,
            self.codes(run, "predicted_class"),
            predictions[clusters].to_numpy(),
            predictions["first_match"].to_numpy(),
            {name: self.codes(run, column) for name, column in others.items()},
        )

    def pairs(self) -> list[tuple[str, str]]:
        """Return which systems are compared."""
        across = [pair for pair in ACROSS if set(pair) <= set(self.systems)]
        return [*super().pairs(), *across]

    def further(self) -> dict[str, str]:
        """Return the record of tuning, where there is one."""
        record = tune.kept_record(self.dataset)
        return {} if record is None else {"triplets_tuning.csv": record.to_csv(index=False)}


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when they were tested on different images.
    """
    return of_runs(read_runs(dataset, "triplets", "images"))


def of_runs(runs: list[LoadedRun]) -> Results:
    """Return the results of some runs of one dataset."""
    return Results(runs[0].params["dataset"], by_system(runs, place))


def read_classes(run: LoadedRun) -> pd.DataFrame:
    """Return the classes of a run."""
    return pd.DataFrame(run.items["classes"])


def place(system: str) -> tuple[int, int, str]:
    """Return where a system stands in tables: no variants first, of these the plainest method."""
    model, _, variant = system.partition("@")
    return (len(ORDER) if variant else 0, ORDER.index(model) if model in ORDER else -1, system)


# What is shown of data and runs.

PRECISIONS = {"32-true": "fp32", "bf16-mixed": "bf16"}


def words(label: str) -> str:
    """Return the lowest part of a label path as a reader writes it."""
    return label.rpartition("/")[2].replace("_", " ")


def metric_names(depth: int) -> dict[str, str]:
    """Return the metrics of a table, id -> heading; accuracy at each of `depth` levels."""
    levels = {f"accuracy_level{k}": f"accuracy, level {k}" for k in range(1, depth + 1)}
    return {**{name: NAMES[name] for name in AXES}, **levels}


def overview(images: data.LabelledImages, parts: np.ndarray) -> pd.DataFrame:
    """Return how many images, and how many labels of each level, every part holds."""
    labels = pd.DataFrame(images.labels).rename(columns=lambda level: f"labels, level {level + 1}")
    rows = {**{part: labels[parts == part] for part in PARTS}, "all": labels}
    return pd.DataFrame(
        {"part": part, "images": len(chosen), **chosen.nunique()} for part, chosen in rows.items()
    )


def class_table(images: data.LabelledImages, parts: np.ndarray) -> pd.DataFrame:
    """Return one row a class: its name and its images in each part."""
    names = np.array(images.class_names)[images.class_index]
    table = pd.crosstab(names, parts, rownames=["class"], colnames=["images"])
    return table.reindex(columns=PARTS, fill_value=0).reset_index()


def margin_table(images: data.LabelledImages, margins: list[float]) -> pd.DataFrame:
    """Return the flexible margin between neighbours: the first and the last three classes."""
    first = np.array([[0], [max(len(images.classes) - 3, 0)]])
    rows = np.unique(np.minimum(first + np.arange(3), len(images.classes) - 1))
    labels = torch.from_numpy(images.classes[rows])
    table = flexible_margin(labels[:, None], labels[None], margins[: labels.shape[1]])
    names = [images.class_names[row] for row in rows]
    columns = list(map(words, names)) if images.nested else names
    frame = pd.DataFrame(table.numpy(), pd.Index(names, name="class"), columns)
    return frame.map("{:g}".format)


def sample(images: data.LabelledImages, shown: int = 10) -> Shown:
    """Draw one image of each of a few classes spread evenly over all."""
    _, first = np.unique(images.class_index, return_index=True)
    rows = first[np.linspace(0, len(first) - 1, shown).round().astype(int)]
    items = [(images.root / images.files[row], leaf(images, row)) for row in rows]
    return publish.picture_grid(items)


def leaf(images: data.LabelledImages, row: int) -> str:
    """Return the last label of an image and, if there is one, that before it, for a caption."""
    *upper, last = map(words, images.trees[row])
    return f"{last} ({upper[-1]})" if upper else last


def score_table(run: LoadedRun) -> pd.DataFrame:
    """Return a run's scores on the test set, one row a metric."""
    depth = sum(name.startswith("accuracy_level") for name in run.metrics)
    return shared.score_table(run, {**metric_names(depth), **SPACE, **UNSEEN})


def by_images(results: Results, frame: pd.DataFrame) -> Figure | None:
    """Draw scores against training images a class: variants `images<n>`, and all images.

    None when no system was trained on fewer images.
    """
    counts = frame["variant"].str.extract(r"^images(\d+)$")[0].astype(float)
    if counts.isna().all():
        return None
    trained = results.runs[0].provenance["images"]["train"] / len(results.classes)
    counts = counts.mask(frame["variant"] == "", round(trained))
    few = set(frame.loc[frame["variant"].str.startswith("images"), "model"])
    rows = frame.assign(images=counts)[counts.notna() & frame["model"].isin(few)]
    return plots.sweep(rows, "images", "training images a class (the last: all, mean)", AXES)


def embedding_map(runs: list[LoadedRun]) -> Figure:
    """Draw the t-SNE maps of the test images under some runs, coloured by top label."""
    frame = pd.concat(run.predictions.assign(system=run.system) for run in runs)
    frame = frame.rename(columns={"map_x": "x", "map_y": "y"}).reset_index(drop=True)
    return plots.embedding_map(frame.assign(label=frame["true_level1"].map(words)))


def margin_map(run: LoadedRun, margins: list[float], anchor: str) -> Figure:
    """Draw the t-SNE map of the test images, each in the colour of its margin to class `anchor`."""
    levels = [name for name in run.predictions if name.startswith("true_level")]
    labels = np.stack([pd.factorize(run.predictions[name])[0] for name in levels], axis=1)
    of_anchor = labels[(run.predictions["true_class"] == anchor).to_numpy().argmax()]
    found = flexible_margin(torch.from_numpy(labels), torch.from_numpy(of_anchor), margins)
    frame = run.predictions.rename(columns={"map_x": "x", "map_y": "y"})
    named = [f"margin {margin:.2f}" if margin else words(anchor) for margin in found.tolist()]
    return plots.embedding_map(frame.assign(label=named, system=f"margins to {words(anchor)}"))


def settings(systems: dict[str, list[LoadedRun]]) -> pd.DataFrame:
    """Return in what the systems differ by their parameters: loss, stages, who decides, epochs."""
    rows = []
    for system, runs in systems.items():
        given = runs[0].params
        loss = ", ".join(map(str, given["loss"].values())).replace("_", " ")
        stages = "; ".join(
            f"from {one['from_epoch']}: {one['learning_rate']:g} {one['mining'] or ''}".strip()
            for one in given["stages"]
        )
        rows.append([system, loss, stages, given["epochs"], given["decide"]])
    names = ["system", "loss", "learning rate and mining, from epoch", "epochs", "decided by"]
    return pd.DataFrame(rows, columns=names)


def cost(systems: dict[str, list[LoadedRun]]) -> pd.DataFrame:
    """Return what each system cost, with what numbers, and which trainings ended early."""
    table = cost_table(systems, "precision", lambda facts: PRECISIONS[facts["precision"]])
    said = []
    for runs in systems.values():
        reasons = [run.provenance["stopped"].partition(":")[0] for run in runs]
        said.append("; ".join(dict.fromkeys(filter(None, reasons))))
    if any(said):
        table.insert(table.columns.get_loc("seeds"), "ended early", said)
    return table


# What a system takes for what: as a matrix, in pairs, and in pictures.


def confusion(results: Results, system: str, level: int) -> Figure:
    """Draw which label of a level (from 1) is taken for which, all seeds of a system together."""
    answers = pd.concat(run.predictions for run in results.systems[system])
    names = sorted(results.classes[f"level{level}"].unique())
    counts = pd.crosstab(answers[f"true_level{level}"], answers[f"predicted_level{level}"])
    counts = counts.reindex(index=names, columns=names, fill_value=0)
    return plots.confusion(counts, list(map(words, names)), f"{system}, level {level}")


def confused_pairs(results: Results, system: str, most: int = 12) -> pd.DataFrame:
    """Return which classes a system takes for which most often, all seeds together."""
    classes = ["true_class", "predicted_class"]
    answers = pd.concat(run.predictions[classes] for run in results.systems[system])
    answers = answers.map(shown).set_axis(["true", "taken for"], axis=1)
    tests = answers["true"].value_counts()
    wrong = answers[answers["true"] != answers["taken for"]].value_counts().head(most)
    table = wrong.rename("times").reset_index()
    table["of test images"] = table["true"].map(tests)
    return table


def shown(path: str) -> str:
    """Return a label path as a reader writes it: lowest label, and the top one in brackets."""
    return f"{words(path)} ({words(path.partition('/')[0])})"


def severe(run: LoadedRun, most: int) -> list[tuple[Path, str]]:
    """Return files and captions of a run's severe errors, the surest first."""
    root = data.root(run.parameters)
    frame = run.predictions
    wrong = frame[frame["true_level1"] != frame["predicted_level1"]].nlargest(most, "confidence")
    form = "{} taken for {}, {:.0f}\N{NO-BREAK SPACE}%\N{NO-BREAK SPACE}sure"
    classes = wrong["true_class"].map(shown), wrong["predicted_class"].map(shown)
    said = map(form.format, *classes, 100 * wrong["confidence"])
    return list(zip(map(root.joinpath, wrong["id"]), said, strict=True))
