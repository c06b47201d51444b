"""What the report notebook shows and writes: everything from the run folders of a dataset."""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.paths import StudyError
from studies.relevance import data, figures
from studies.relevance.metrics import of_items, scored_items
from studies.relevance.params import Parameters
from studies.reporting import publish, tables
from studies.reporting import results as shared
from studies.reporting.bootstrap import Measured, Metric, measure
from studies.reporting.claims import Claim, Outcome, Step, forest, judge, tally
from studies.reporting.results import (
    by_system,
    cost_table,
    count_systems,
    read_runs,
    write_report,
)
from studies.reporting.tables import Shown, show
from studies.runs.folder import LoadedRun
from studies.runs.params import read_yaml

TITLE = "Relevance: can a classifier of texts find the captions that describe an image's class?"
ORDER = [
    *("name_match", "tfidf", "clip", "predictor"),
    *("downstream_all", "downstream_random", "downstream_kept", "downstream_weighted"),
]
# *Extending the ImageNet dataset for multimodal text and image learning*; of 389,598 texts
PUBLISHED = {"predictor": {"kept": 28610}}
COMPARABLE = ("imagenet_captions", "imagenet_captions_images")

RIVALS = ("name_match", "tfidf", "clip")  # filters without training, of which a dataset has some
PAPER = read_yaml(Path(__file__).with_name("claims.yaml"))


class Results(shared.Results):
    """The runs of a dataset: filters, tested on captions of known truth, and classifiers."""

    study: ClassVar[str] = "relevance"
    tested: ClassVar[str] = "captions"

    @property
    def trained(self) -> dict[str, list[LoadedRun]]:
        """Return the systems with a network."""
        return {name: runs for name, runs in self.systems.items() if runs[0].trained}

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
                by_id |= measure(of_seeds, items["cluster"], not runs[0].trained)
            if system in self.filters:
                kept = {run.params["seed"]: run.metrics["kept"] for run in runs}
                by_id["kept"] = Measured(kept, fixed=not runs[0].trained)
        return measured

    def metrics(self, run: LoadedRun, ending: str = "") -> dict[str, Metric]:
        """Return the metrics of a run whose ids have an ending, see `scored_items`."""
        return of_items(scored_items(run.predictions)[ending], ending)

    def tidy(self) -> pd.DataFrame:
        """Return the tidy frame, with what the paper published beside it."""
        return self.summary(PUBLISHED if self.dataset in COMPARABLE else None)

    def pairs(self) -> list[tuple[str, str]]:
        """Return which systems are compared: filters, and classifiers of as many steps."""

        def kind(system: str) -> str | None:
            return system.partition("@")[2] if system in self.downstream else None

        return [pair for pair in combinations(self.systems, 2) if len(set(map(kind, pair))) == 1]


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when alike systems were tested on different captions.
    """
    runs = read_runs(dataset, "relevance", "captions", classifies)
    return Results(dataset, by_system(runs, place))


def classifies(run: LoadedRun) -> bool:
    """Return whether a run is a classifier of captions, and no filter."""
    return run.params["downstream"] is not None


def place(system: str) -> tuple[bool, str, int, str]:
    """Return where a system stands in tables: filters, then classifiers, those alike together."""
    model, _, variant = system.partition("@")
    order = ORDER.index(model) if model in ORDER else len(ORDER)
    return (model.startswith("downstream_"), variant, order, system)


# The ledger: what the paper claims, and what became of it on a dataset.


def judged(results: Results) -> list[Outcome]:
    """Return what became of each of the claims F1 to F3."""
    unknown = "nobody knows which of these captions describe their class"
    untested = {} if results.truth_known else dict.fromkeys(("F1", "F3"), unknown)
    rivals = [Step("auc", name, "predictor") for name in RIVALS if name in results.systems]
    claims = []
    for one in PAPER["claims"]:
        listed = one["steps"], one.get("alternatives", [])
        steps, others = ([Step(**step) for step in steps] for steps in listed)
        steps += rivals if one["id"] == "F1" else []
        claims.append(Claim(one["id"], one["text"], tuple(steps), alternatives=tuple(others)))
    return judge(claims, results.measured, untested)


def forests(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Draw each claim that has steps, the differences that it rests on."""
    names = {**figures.FILTER_AXES, **figures.DOWNSTREAM_AXES}
    return [drawn for one in outcomes if (drawn := forest(one, names)) is not None]


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
        f"Of the paper's {tally(outcomes, results.dataset)}."
    )


def note(results: Results) -> str:
    """Return what a reader of the table of filters must know."""
    return PAPER["note"] if results.truth_known else f"{PAPER['note']} {PAPER['unknown']}"


def scores(frame: pd.DataFrame, systems: Collection[str], names: dict[str, str]) -> Shown | None:
    """Show the metrics that some systems have, one row a system; None where they have none."""
    rows = tables.of(frame[frame["metric"].isin(names)], systems)
    if rows.empty:
        return None
    shown = tables.wide(rows, tables.present(rows, names), ["kept"])
    return show(shown, tables.legend(rows))


def differences(results: Results, tests: pd.DataFrame) -> Iterator[Shown]:
    """Show the paired tests, of filters and of classifiers."""
    rates = {metric: figures.FILTER[metric] for metric in figures.FILTER_AXES}
    for systems, names in ((results.filters, rates), (results.downstream, figures.DOWNSTREAM)):
        rows = tests[tests["first"].isin(systems) & tests["metric"].isin(names)]
        if not rows.empty:
            yield show(tables.wide_tests(rows, names, []))


def funnel(results: Results) -> Figure | None:
    """Draw what the steps of the predictor's filter leave, first seed; None without a predictor."""
    run = results.predictor
    return run and figures.funnel_figure(figures.funnel(run))


def classes(results: Results) -> Shown | None:
    """Show the share that the predictor keeps by class; None without a predictor."""
    caption = "The classes of which the largest and the smallest share of captions is kept."
    run = results.predictor
    return run and show(figures.classes(run), caption)


def captions(results: Results) -> Shown | None:
    """Show captions that the predictor keeps and drops, or why not; None without a predictor."""
    run = results.predictor
    if run is None:
        return None
    parameters = Parameters.from_run(run.params, run.folder)
    try:
        collection = data.read(parameters)
        collection.refuse_changed(run, parameters)
    except StudyError as error:
        return publish.paragraph(f"Not shown here: {error}", "note")
    caption = "Of some classes the most and the least probable held-out caption."
    return show(figures.texts(run, collection), caption)


def curves(results: Results) -> Iterator[Figure]:
    """Draw the curves of predictors and of classifiers, where there are any."""
    for systems in (results.filters, results.downstream):
        if trained := {name: systems[name] for name in systems if name in results.trained}:
            yield figures.curves(trained)


def cost(results: Results) -> Shown | None:
    """Show what each system with a network cost, and on how many captions it was trained."""

    def trained_on(facts: dict[str, Any]) -> str:
        return f"{facts.get('trained_on', facts['captions']['train']):,}"

    trained = results.trained
    return show(cost_table(trained, "captions trained on", trained_on)) if trained else None


def write(
    results: Results, frame: pd.DataFrame, tests: pd.DataFrame, outcomes: Sequence[Outcome]
) -> str:
    """Write tables, ledger and the entry of the index; return the folder, `reports/<dataset>`."""
    rows = tables.of(frame, results.filters)
    return write_report(
        results,
        frame,
        tests,
        outcomes,
        TITLE,
        lead(results, outcomes),
        note(results),
        tables.present(frame, {**figures.FILTER, **figures.DOWNSTREAM}),
        ["kept"],
        rows[rows["metric"].isin(figures.FILTER)],
    )
