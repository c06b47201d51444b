"""What the report notebook shows and writes: everything from the run folders of a dataset."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd

from studies.inputs.chat import CUT
from studies.recipes import figures
from studies.recipes.evaluate import measures
from studies.recipes.texts import EMPTY, IGNORED, REPEATED
from studies.reporting import claims, tables
from studies.reporting import results as shared
from studies.reporting.bootstrap import Measured
from studies.reporting.claims import Outcome, judge, tally
from studies.reporting.results import by_system, count_systems, read_runs
from studies.runs.folder import LoadedRun

ODD = (EMPTY, CUT, REPEATED, IGNORED)
ORDER = [
    *("majority", "frequencies", "dish_implied", "metric_learning", "attention_pooling"),
    *("two_networks", "shared_backbone"),
    *("naive", "typical", "shuffled", "implied", "supervised", "oracle", "echo"),
]


class Results(shared.Results):
    """The runs of a dataset: networks and baselines, which look, and prompts, which write."""

    study = "recipes"
    title = "Recipes: does naming the ingredients free the writer from templates?"
    paper = figures.PAPER
    names = ledger = figures.NAMES
    axes = figures.AXES
    metrics = staticmethod(measures)

    @property
    def prompts(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that write recipes."""
        return {name: runs for name, runs in self.systems.items() if writes(runs[0])}

    @property
    def perceptions(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that say what is on a plate, baselines among them."""
        return {name: runs for name, runs in self.systems.items() if not writes(runs[0])}

    @property
    def items(self) -> int:
        """Return the number of test plates."""
        return max(len(run.predictions) for run in self.runs)

    @property
    def eyes(self) -> str:
        """Return the system whose sight the prompts tell, else the best on validation data.

        "" where there is none.
        """
        for run, *_ in self.prompts.values():
            return run.provenance["perception"]
        asked = [name for name in ("two_networks", "shared_backbone") if name in self.trained]
        best = {name: self.systems[name][0].provenance["best_score"] for name in asked}
        return max(best, key=best.__getitem__, default="")

    @cached_property
    def by_plate(self) -> bool:
        """Whether test plates that a prompt calls the same differ in their ingredients."""
        if self.runs[0].params["source"].get("groups"):
            return True
        frame = self.runs[0].predictions
        return bool((frame["present"].map(tuple).groupby(frame["dish"]).nunique() > 1).any())

    @cached_property
    def measured(self) -> dict[str, dict[str, Measured]]:
        """Return for each system its metrics, but those that need plates that are not there."""
        measured = {}
        for system, by_id in super().measured.items():
            run, *_ = runs = self.systems[system]
            if "distinct_2" in run.metrics:  # resamples repeat plates, which it would count
                values = {one.params["seed"]: one.metrics["distinct_2"] for one in runs}
                by_id["distinct_2"] = Measured(values, None, len(run.predictions))
            measured[system] = {
                name: replace(one, fixed=not run.parameters.by_chance)
                for name, one in by_id.items()
                if not np.isnan(list(one.values.values())).all()
            }
        return measured

    def pairs(self) -> list[tuple[str, str]]:
        """Return which systems are compared: eyes with eyes, prompts with prompts."""
        return [*combinations(self.perceptions, 2), *combinations(self.prompts, 2)]

    def headline(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the tidy frame that the index shows: of prompts, if there are any."""
        return tables.of(frame, self.prompts or self.perceptions)


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when alike systems were tested on different plates.
    """
    runs = read_runs(dataset, "recipes", "plates", writes)
    return Results(dataset, by_system(runs, place))


def writes(run: LoadedRun) -> bool:
    """Return whether a run writes recipes, and does not look."""
    return run.params["prompt"] is not None


def place(system: str) -> tuple[int, bool, str]:
    """Return where a system stands in tables: a variant behind its model."""
    model, _, variant = system.partition("@")
    return (ORDER.index(model) if model in ORDER else len(ORDER), bool(variant), system)


# The ledger: what the paper claims, and what became of it on a dataset.


def judged(results: Results) -> list[Outcome]:
    """Return what became of each of the claims R1 to R4; `eyes` is what the prompts asked."""
    named, ledger = {"eyes": results.eyes or "two_networks"}, []
    for one in claims.read(results.paper["claims"]):
        steps = (replace(step, second=named.get(step.second, step.second)) for step in one.steps)
        ledger.append(replace(one, steps=tuple(steps)))
    return judge(ledger, results.measured, () if results.by_plate else ("by_dish",))


# What the report notebook says.


def lead(results: Results, frame: pd.DataFrame, outcomes: Sequence[Outcome]) -> str:
    """Return the result in two sentences."""
    named = tables.plain(frame[frame["metric"] == "dish_top1"]).sort_values("mean", kind="stable")
    top = ""
    if len(named):
        best = tables.systems(named).iloc[-1]
        top = f"; highest dish top-1: {best} with {named['mean'].iloc[-1]:.3f}"
    count = f"{count_systems(results.systems)}, {results.items:,} test pictures"
    return f"{count}{top}. Of {tally(outcomes, results.dataset)}."


def note(results: Results) -> str:
    """Return what a reader of the first table must know."""
    parts, source = [results.paper["note"]], results.runs[0].params["source"]
    parts += [results.paper["implied"]] if "dish_implied" in results.systems else []
    if not results.by_plate or source.get("groups"):
        parts.append(results.paper["by_dish"])
    wide = {run.provenance.get("pixels_wide") for runs in results.trained.values() for run in runs}
    if source["name"] != "kitchen" and wide - {None}:
        parts.append(f"Photographs are {max(wide - {None})} pixels wide as a median.")
    return " ".join(parts)


def asked(results: Results) -> str:
    """Return what prompts tell and how recipes are written; "" without a prompt."""
    for run, *_ in results.prompts.values():
        writing = run.params["writing"]
        warmth = writing["temperature"]
        drawn = f"sampled at temperature {warmth:g}" if warmth else "the likeliest words"
        eyes = {name: runs[0].provenance["perception"] for name, runs in results.prompts.items()}
        others = [f", {name} what {by} sees" for name, by in eyes.items() if by != results.eyes]
        return (
            f"The prompts tell what {results.eyes} sees{''.join(others)}; oracle what is true. "
            f"Recipes are {drawn}, {writing['recipes']} a plate."
        )
    return ""


def failures(results: Results) -> pd.DataFrame:
    """Return which of the recipes of each prompt, over all seeds, are odd in which way."""
    rows = []
    for system, runs in results.prompts.items():
        odd = sum((Counter(run.provenance.get("remarks")) for run in runs), Counter())
        written = sum(run.predictions["recipes"].map(len).sum() for run in runs)
        rows.append({"prompt": system, "recipes": written} | {kind: odd[kind] for kind in ODD})
    return pd.DataFrame(rows)
