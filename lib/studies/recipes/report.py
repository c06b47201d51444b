"""What the report notebook shows and writes: everything from the run folders of a dataset."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from studies.recipes import figures
from studies.recipes.evaluate import measures
from studies.reporting import results as shared
from studies.reporting import tables
from studies.reporting.bootstrap import Measured, Metric
from studies.reporting.claims import Claim, Outcome, Step, judge, tally
from studies.reporting.results import by_system, count_systems, read_runs, write_report
from studies.reporting.tables import Shown, show
from studies.runs.folder import LoadedRun
from studies.runs.params import read_yaml

TITLE = "Recipes: does naming the ingredients free the writer from templates?"
ORDER = [
    *("majority", "frequencies", "two_networks", "shared_backbone"),
    *("naive", "typical", "shuffled", "supervised", "oracle"),
]


class Results(shared.Results):
    """The runs of a dataset: networks and baselines, which look, and prompts, which write."""

    study: ClassVar[str] = "recipes"

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
        return self._with("network", "baseline")

    def _with(self, *parts: str) -> dict[str, list[LoadedRun]]:
        return {
            name: runs
            for name, runs in self.systems.items()
            if any(runs[0].params[part] is not None for part in parts)
        }

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
        """Whether test plates of one dish differ in their ingredients."""
        frame = self.runs[0].predictions
        return bool((frame["present"].map(tuple).groupby(frame["dish"]).nunique() > 1).any())

    def metrics(self, run: LoadedRun) -> dict[str, Metric]:
        """Return the metrics of a run by id, each a function of weights (R, N) of test plates."""
        return measures(run)

    @cached_property
    def measured(self) -> dict[str, dict[str, Measured]]:
        """Return for each system its metrics, but those that need plates that are not there."""
        measured = {}
        for system, by_id in super().measured.items():
            run, *_ = runs = self.systems[system]
            if "distinct_2" in run.metrics:  # resamples repeat plates, which it would count
                values = {one.params["seed"]: one.metrics["distinct_2"] for one in runs}
                by_id["distinct_2"] = Measured(values, None, len(run.predictions))
            fixed = run.params["baseline"] is not None  # a prompt is not trained, but has chance
            measured[system] = {
                name: replace(one, fixed=fixed)
                for name, one in by_id.items()
                if not np.isnan(list(one.values.values())).all()
            }
        return measured

    def pairs(self) -> list[tuple[str, str]]:
        """Return which systems are compared: eyes with eyes, prompts with prompts."""
        return [*combinations(self.perceptions, 2), *combinations(self.prompts, 2)]


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


# The ledger: what the paper claims, and what became of it on a dataset.

CLAIMS = read_yaml(Path(__file__).with_name("claims.yaml"))["claims"]
OF_DISHES = (
    "the ingredients are those of the dish and not of the plate, so a plate has nothing of its own "
    "to be told"
)


def judged(results: Results) -> list[Outcome]:
    """Return what became of each of the claims R1 to R4."""
    named = {"eyes": results.eyes or "two_networks"}
    claims, untested = [], {}
    for one in CLAIMS:
        steps = ({k: named.get(v, v) for k, v in step.items()} for step in one.get("steps", ()))
        claims.append(Claim(one["id"], one["claim"], tuple(Step(**step) for step in steps)))
        if "untested" in one or not results.by_plate:
            untested[one["id"]] = one.get("untested", OF_DISHES)
    return judge(claims, results.measured, untested)


# What the report notebook shows and writes.

NOTE = (
    "F1 and Jaccard by thresholds, and ECE after a temperature, both chosen on validation data; "
    "mAP and macro-F1 are means over what occurs in the test set. The epoch was chosen by the mean "
    "of top-1 and mAP on validation data. Baselines do not look at the picture."
)
BY_DISH = (
    "Ingredients are typical ones of the dish, from general knowledge, and not those of the plate."
)


def lead(results: Results, frame: pd.DataFrame, outcomes: Sequence[Outcome]) -> str:
    """Return the result in two sentences."""
    named = tables.plain(frame[frame["metric"] == "dish_top1"]).sort_values("mean", kind="stable")
    top = ""
    if len(named):
        best = tables.systems(named).iloc[-1]
        top = f"; highest dish top-1: {best} with {named['mean'].iloc[-1]:.3f}"
    count = f"{count_systems(results.systems)}, {results.items:,} test pictures"
    return f"{count}{top}. Of the paper's {tally(outcomes, results.dataset)}."


def note(results: Results) -> str:
    """Return what a reader of the first table must know."""
    return NOTE if results.by_plate else f"{NOTE} {BY_DISH}"


def asked(results: Results) -> str:
    """Return what prompts tell and how recipes are written; "" without a prompt."""
    for run, *_ in results.prompts.values():
        writing = run.params["writing"]
        warmth = writing["temperature"]
        drawn = f"sampled at temperature {warmth:g}" if warmth else "the likeliest words"
        return (
            f"The prompts tell what {results.eyes} sees; oracle what is true. Recipes are {drawn}, "
            f"{writing['recipes']} a plate."
        )
    return ""


def shown(frame: pd.DataFrame, systems: Collection[str], beside: str = "") -> Shown | None:
    """Show the metrics of some systems; None without any."""
    if not systems:
        return None
    rows = tables.of(frame, systems)
    table = tables.wide(rows, tables.present(rows, figures.NAMES))
    return show(table, f"{tables.legend(rows)} {beside}".strip())


def differences(
    tests: pd.DataFrame, systems: Collection[str], metrics: Collection[str]
) -> Shown | None:
    """Show the paired tests of systems of one kind; None where there are none."""
    mine = tests[tests["first"].isin(systems) & tests["metric"].isin(metrics)]
    return None if mine.empty else show(tables.wide_tests(mine, figures.NAMES, []))


def write(
    results: Results, frame: pd.DataFrame, tests: pd.DataFrame, outcomes: Sequence[Outcome]
) -> str:
    """Write tables, ledger and the entry of the index; return the folder, `reports/<dataset>`."""
    names = tables.present(frame, figures.NAMES)
    words = TITLE, lead(results, frame, outcomes), note(results)
    rows = tables.of(frame, results.prompts or results.perceptions)
    return write_report(results, frame, tests, outcomes, *words, names, headline=rows)
