"""The ledger: what became of the paper's claims on a dataset."""

from collections.abc import Iterable

import pandas as pd

from studies.reporting.claims import SYNTHETIC, Claim
from studies.reporting.claims import tally as tallied
from studies.reporting.claims import verdict as ledger_verdict
from studies.reporting.tables import between, signed
from studies.triplets.experiments import EXPERIMENTS, Experiment, Step, systems
from studies.triplets.results import Results

NO_HELP = 0.01  # macro-F1; a gain that is smaller for certain is called none
NO_WEIGHTS = (
    "it needs the weights of ConvNeXt-XLarge; where they can be downloaded, make study "
    "DATASET=grocery_random_frozen tests T2 and trains what T9 and T10 compare"
)
METRICS = {
    "macro_f1": "",
    "severe_errors": "",
    "unseen_macro_f1": "",
    "nmi": "NMI of classes, ",
    "nmi_level1": "NMI of categories, ",
}


def ledger(results: Results, tests: pd.DataFrame) -> list[Claim]:
    """Return a verdict on each of the claims T1 to T10.

    `tests` is what `comparisons.paired_tests` returned.
    """
    return [judged(experiment, results, tests) for experiment in EXPERIMENTS]


def judged(experiment: Experiment, results: Results, tests: pd.DataFrame) -> Claim:
    """Return the row of one claim: figure and verdict, or why it is not tested here."""
    text = (experiment.id, experiment.claim, experiment.experiment)
    frozen = results.runs[0].params["backbone"]["name"] == "frozen"
    if experiment.id == ("T1" if frozen else "T2"):
        reason = "this dataset id has a frozen backbone" if frozen else NO_WEIGHTS
        return Claim(*text, "", f"not tested here: {reason}")
    if experiment.id == "T8":
        return Claim(*text, *levels_verdict(results))
    if not experiment.steps:
        return Claim(*text, "", f"not tested here: {NO_WEIGHTS}")
    found = [of_step(tests, step) for step in experiment.steps]
    if absent := missing(results, experiment.steps):
        return Claim(*text, "", f"not tested here: no run of {absent} on {results.dataset}")
    if any(row is None for row in found):
        return Claim(*text, "", "not tested here: the systems have no seed in common")
    beside = [(step, of_step(tests, step)) for step in experiment.beside]
    shown = [*zip(experiment.steps, found, strict=True), *beside]
    figure = "; ".join(said(step, row) for step, row in shown if row is not None)
    stopped = [f"{name} {why}" for name, why in stops(results, experiment.steps)]
    return Claim(*text, "; ".join([figure, *stopped]), verdict(results, experiment.steps, found))


def missing(results: Results, steps: Iterable[Step]) -> str:
    """Return the systems that the steps need and that were not run, as a list in words."""
    return " or ".join(name for name in systems(steps) if name not in results.systems)


def stops(results: Results, steps: Iterable[Step]) -> list[tuple[str, str]]:
    """Return the systems of the steps whose training ended early, and why."""
    return [
        (f"{name}, seed {run.params['seed']},", run.provenance["stopped"].partition(":")[0])
        for name in systems(steps)
        for run in results.systems[name]
        if run.provenance["stopped"]
    ]


def of_step(tests: pd.DataFrame, step: Step) -> pd.Series | None:
    """Return the bootstrap row of second minus first, None when they have no seed in common."""
    return between(tests, step.first, step.second, step.metric)


def said(step: Step, row: pd.Series) -> str:
    """Return a difference in words, such as "flexible − triplet +0.007 [−0.015, +0.028]"."""
    count = step.metric == "severe_errors"
    numbers = signed(row.difference, row.ci_low, row.ci_high, count=count)
    names = f"{step.second} − {step.first}".replace("cross_entropy", "cross-entropy")
    return f"{METRICS[step.metric]}{names} {numbers}"


def verdict(results: Results, steps: Iterable[Step], rows: list[pd.Series]) -> str:
    """Return what became of a claim, and with how many seeds."""
    sides = [side(step, row) for step, row in zip(steps, rows, strict=True)]
    return ledger_verdict(results.dataset, sides, min(int(row.seeds) for row in rows))


def side(step: Step, row: pd.Series) -> int:
    """Return 1 if the interval is on the claimed side, −1 if on the other, 0 if on both."""
    if step.claimed == "not higher":
        return 1 if row.ci_high < NO_HELP else -int(row.ci_low > 0)
    sign = 1 if step.claimed == "higher" else -1
    low, high = sorted((sign * row.ci_low, sign * row.ci_high))
    return int(low > 0) - int(high < 0)


def levels_verdict(results: Results) -> tuple[str, str]:
    """Return figure and verdict of T8, the cost of levels measured beside the runs."""
    file = results.folder / "levels.csv"
    if not file.exists():
        return "", "not tested here: its cost was not measured beside these runs"
    table = pd.read_csv(file)
    figure = ", ".join(f"{row.levels} ×{row.ratio:.2f}" for row in table.itertuples())
    # a cost of c levels is at most c times that of one, so for a given tree a constant factor
    holds = (table["ratio"] <= table["levels"].clip(lower=1.25)).all()
    return (
        f"time by levels, against one margin for all: {figure}",
        "holds" if holds else "does not hold",
    )


def tally(results: Results, tests: pd.DataFrame) -> str:
    """Return in one sentence how many of the claims hold."""
    mark = " (synthetic)" if results.dataset in SYNTHETIC else ""
    return f"Of the paper's {tallied(ledger(results, tests))}{mark}."
