"""All evaluated runs of a dataset as numbers, and their tidy table."""

import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from studies.recipes import metrics, texts
from studies.recipes.evaluate import NAMES
from studies.recipes.writing import mentions
from studies.reporting import bootstrap
from studies.reporting.bootstrap import Metric, Resampled, mean, value
from studies.reporting.results import by_system, read_runs
from studies.runs.folder import LoadedRun

ORDER = [
    *("majority", "frequencies", "two_networks", "shared_backbone"),
    *("naive", "typical", "shuffled", "supervised", "oracle"),
]
BASELINES = ("majority", "frequencies")
PLATE = ("grounding_precision", "grounding_recall", "self_bleu", "bleu4", "rouge_l")


@dataclass(frozen=True)
class Results:
    """The runs of a dataset: `systems` maps `model[@variant]` to its runs, one a seed."""

    dataset: str
    systems: dict[str, list[LoadedRun]]

    @property
    def runs(self) -> list[LoadedRun]:
        """Return every run."""
        return [run for runs in self.systems.values() for run in runs]

    @property
    def trained(self) -> dict[str, list[LoadedRun]]:
        """Return the systems with a network."""
        return self._with("network")

    @property
    def prompts(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that write recipes."""
        return self._with("prompt")

    @property
    def perceptions(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that say what is on a plate, baselines among them."""
        return {name: runs for name, runs in self.systems.items() if name not in self.prompts}

    @property
    def items(self) -> int:
        """Return the number of test plates."""
        return max(len(run.predictions) for run in self.runs)

    @cached_property
    def resampled(self) -> dict[str, dict[str, Resampled]]:
        """Return for each system its metrics by id, with their values on resampled test sets."""
        return {name: resample(runs) for name, runs in self.systems.items()}

    def _with(self, part: str) -> dict[str, list[LoadedRun]]:
        return {
            name: runs for name, runs in self.systems.items() if runs[0].params[part] is not None
        }


def resample(runs: list[LoadedRun]) -> dict[str, Resampled]:
    """Return the metrics of one system by id."""
    items = len(runs[0].predictions)
    drawn, _ = bootstrap.weights(items)
    fixed = runs[0].params["baseline"] is not None
    found = {run.params["seed"]: scores(run) for run in runs}
    by_metric = {}
    for name in next(iter(found.values())):
        values = {seed: value(one[name], items) for seed, one in found.items()}
        if np.isnan(list(values.values())).all():
            continue  # such as self-BLEU where all plates of a dish have the same ingredients
        samples = {seed: one[name](drawn) for seed, one in found.items()}
        by_metric[name] = Resampled(items, values, samples, fixed)
    for name in ("distinct_2",):  # a resampled set repeats plates, which it would count
        if name in runs[0].metrics:
            values = {run.params["seed"]: run.metrics[name] for run in runs}
            by_metric[name] = Resampled(items, values, None, fixed)
    return by_metric


def scores(run: LoadedRun) -> dict[str, Metric]:
    """Return the metrics of a run as functions of how often each test plate is drawn, (R, N)."""
    frame = run.predictions
    if run.params["prompt"] is not None:
        return recipe_scores(run, frame)
    found: dict[str, Metric] = {}
    if "dish_probabilities" in frame:
        found |= metrics.dish_metrics(
            stacked(frame, "dish_probabilities"), frame["dish"].to_numpy()
        )
    if "named" in frame:
        arrays = (stacked(frame, name) for name in ("ingredient_probabilities", "named", "present"))
        found |= metrics.ingredient_metrics(*arrays)
    if "variant_said" in frame:
        right = (frame["variant_said"] == frame["variant"]).to_numpy(dtype=float)
        found["variant_accuracy"] = mean(right)
    return found


def recipe_scores(run: LoadedRun, frame: pd.DataFrame) -> dict[str, Metric]:
    """Return the metrics of a run's recipes; sight is resampled by pairs of plates."""
    found = {name: mean(frame[name].to_numpy()) for name in PLATE if name in frame}
    named = json.loads((run.folder / NAMES).read_text(encoding="utf-8"))
    written = [list(texts) for texts in frame["recipes"]]
    said = mentions(written, named["ingredients"], named["dishes"])
    present, dish = stacked(frame, "present"), frame["dish"].to_numpy()
    found["sight"] = lambda weights: texts.resampled_sight(said, present, dish, weights)
    return found


def stacked(frame: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column of lists as one array."""
    return np.stack(frame[column].to_numpy())


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when alike systems were tested on different plates.
    """
    runs = read_runs(dataset, "recipes", "plates", lambda run: run.params["prompt"] is not None)
    return Results(runs[0].params["dataset"], by_system(runs, place))


def place(system: str) -> tuple[int, bool, str]:
    """Return where a system stands in tables: a variant behind its model."""
    model, _, variant = system.partition("@")
    return (ORDER.index(model) if model in ORDER else len(ORDER), bool(variant), system)


def summary(results: Results) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric."""
    return bootstrap.summary("recipes", results.dataset, results.resampled)


def better(results: Results) -> str:
    """Return the system whose eyes the prompts used, or the best on validation data; "" if none."""
    for runs in results.prompts.values():
        return runs[0].provenance["perception"]
    asked = [name for name in ("two_networks", "shared_backbone") if name in results.trained]
    scores = {name: results.systems[name][0].provenance["best_score"] for name in asked}
    return max(scores, key=scores.__getitem__, default="")
