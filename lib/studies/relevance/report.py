"""What the report notebook shows and writes: everything from the run folders of a dataset."""

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from studies.paths import StudyError
from studies.relevance import data, figures
from studies.relevance.metrics import of_items, scored_items
from studies.reporting import claims, publish, tables
from studies.reporting import results as shared
from studies.reporting.bootstrap import Measured, Metric, measure
from studies.reporting.claims import Outcome, judge, tally
from studies.reporting.results import by_system, cost_table, count_systems, read_runs
from studies.reporting.tables import Shown, show
from studies.runs.folder import LoadedRun

ORDER = figures.PAPER["order"]


class Results(shared.Results):
    """The runs of a dataset: filters, tested on captions of known truth, and classifiers."""

    study = "relevance"
    title = "Relevance: can a classifier of texts find the captions that describe an image's class?"
    tested = "captions"
    paper = figures.PAPER
    names = ledger = figures.FILTER | figures.DOWNSTREAM
    counts = ("kept",)
    axes = figures.FILTER_AXES | figures.DOWNSTREAM_AXES

    @property
    def downstream(self) -> dict[str, list[LoadedRun]]:
        """Return the classifiers of captions."""
        return {name: runs for name, runs in self.systems.items() if classifies(runs[0])}

    @property
    def filters(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that say which captions describe their class."""
        return {name: runs for name, runs in self.systems.items() if name not in self.downstream}

    @property
    def predictor(self) -> LoadedRun | None:
        """Return the first seed of the predictor, None where it was not run."""
        return next(iter(self.systems.get("predictor", [])), None)

    @property
    def captions(self) -> dict[str, int]:
        """Return the number of captions by part."""
        return self.runs[0].provenance["captions"]

    @cached_property
    def truth_known(self) -> bool:
        """Return whether it is known of any test caption that it describes its class or not."""
        frame = self.runs[0].predictions
        return bool(frame.loc[frame["part"] == "test", "relevant"].notna().any())

    @cached_property
    def measured(self) -> dict[str, dict[str, Measured]]:
        """Return for each system its metrics, on the items that each is about.

        How many captions are kept is a fact about all of them, and not resampled.
        """
        measured = {}
        for system, runs in self.systems.items():
            measured[system] = by_id = {}
            for ending, items in scored_items(runs[0].predictions).items():
                of_seeds = {run.params["seed"]: self.metrics(run, ending) for run in runs}
                by_id |= measure(of_seeds, items["cluster"], not runs[0].parameters.by_chance)
            if system in self.filters:
                kept = {run.params["seed"]: run.metrics["kept"] for run in runs}
                by_id["kept"] = Measured(kept, fixed=not runs[0].trained)
        return measured

    def metrics(self, run: LoadedRun, ending: str = "") -> dict[str, Metric]:
        """Return the metrics of a run whose ids have an ending, see `scored_items`."""
        return of_items(scored_items(run.predictions)[ending], ending)

    def pairs(self) -> list[tuple[str, str]]:
        """Return which systems are compared: filters of the same captions, and classifiers of as
        many steps.
        """

        def kind(system: str) -> str:
            if system in self.downstream:
                return system.partition("@")[2]
            return repr(self.systems[system][0].params["source"])

        return [pair for pair in combinations(self.systems, 2) if len(set(map(kind, pair))) == 1]

    def headline(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of the tidy frame that the index shows: the filters'."""
        return tables.of(frame[frame["metric"].isin(figures.FILTER)], self.filters)


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when alike systems were tested on different captions.
    """

    def kind(run: LoadedRun) -> tuple[bool, str]:
        return classifies(run), repr(run.params["source"])

    return Results(dataset, by_system(read_runs(dataset, "relevance", "captions", kind), place))


def classifies(run: LoadedRun) -> bool:
    """Return whether a run is a classifier of captions, and no filter."""
    return run.params["downstream"] is not None


def place(system: str) -> tuple[bool, str, int, str]:
    """Return where a system stands in tables: filters, then classifiers, those alike together."""
    model, _, variant = system.partition("@")
    order = ORDER.index(model) if model in ORDER else len(ORDER)
    return (model.startswith(("downstream_", "retrieval_")), variant, order, system)


# The ledger: what the paper claims, and what became of it on a dataset.


def judged(results: Results) -> list[Outcome]:
    """Return what became of each of the claims F1 to F3."""
    facts = () if results.truth_known else ("truth_unknown",)
    return judge(claims.read(results.paper["claims"]), results.measured, facts)


# What the notebook shows and writes.


def lead(results: Results, outcomes: Sequence[Outcome]) -> str:
    """Return the result in two sentences."""
    systems, test = count_systems(results.systems), results.captions["test"]
    kept = ""
    if runs := results.systems.get("predictor"):
        mean = np.mean([run.metrics["kept"] for run in runs])
        kept = f"; the predictor keeps {mean:,.0f} of {sum(results.captions.values()):,} captions"
    return (
        f"Dataset {results.dataset}: {systems}, {test:,} test captions{kept}. "
        f"Of {tally(outcomes, results.dataset)}."
    )


def note(results: Results) -> str:
    """Return what a reader of the table of filters must know."""
    note, unknown = results.paper["note"], results.paper["unknown"]
    return note if results.truth_known else f"{note} {unknown}"


def captions(results: Results) -> Shown | None:
    """Show captions that the predictor keeps and drops, or why not; None without a predictor."""
    run = results.predictor
    if run is None:
        return None
    parameters = run.parameters
    try:
        collection = data.read(parameters)
        collection.refuse_changed(run, parameters)
    except StudyError as error:
        return publish.missing(error)
    caption = "Of some classes the most and the least probable held-out caption."
    return show(figures.texts(run, collection), caption)


def cost(results: Results) -> Shown | None:
    """Show what each system with a network cost, and on how many captions it was trained."""

    def trained_on(facts: dict[str, Any]) -> str:
        return f"{facts.get('trained_on', facts['captions']['train']):,}"

    trained = results.trained
    return show(cost_table(trained, "captions trained on", trained_on)) if trained else None
