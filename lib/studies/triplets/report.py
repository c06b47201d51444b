"""What the report notebook shows and writes: everything from the run folders of a dataset."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from studies import paths
from studies.inputs import images
from studies.paths import StudyError, relative
from studies.reporting import publish, tables
from studies.reporting.claims import SYNTHETIC, Claim, claims_markdown, tally, verdict
from studies.reporting.plots import PAGE
from studies.reporting.results import count_systems, report_command, run_facts
from studies.reporting.tables import Shown, show
from studies.runs.files import write_atomic
from studies.triplets import audit, figures, tune
from studies.triplets.results import PAPER, Results

TITLE = "Triplets: do label relations make a better classifier?"
SEVERE_SHOWN = 10  # of each system


def lead(results: Results, frame: pd.DataFrame, tests: pd.DataFrame) -> str:
    """Return the result in two sentences."""
    scores = frame[frame["metric"] == "macro_f1"].set_index(["model", "variant"])["mean"]
    (model, variant), value = scores.idxmax(), scores.max()
    system = f"{model}@{variant}" if variant else model
    mark = " (synthetic)" if results.dataset in SYNTHETIC else ""
    return (
        f"Dataset {results.dataset}: {count_systems(results.systems)}, {len(results.truth):,} test "
        f"images, {len(results.classes)} classes; highest macro-F1: {system} with {value:.3f}. "
        f"Of the paper's {tally(ledger(results, tests))}{mark}."
    )


def note(results: Results) -> str:
    """Return what a reader of the table must know."""
    scored, every = int(results.classes["scored"].sum()), len(results.classes)
    few = f"the {scored} of {every} classes with more than {results.runs[0].params['min_count']} "
    if results.runs[0].params["source"].get("groups"):
        levels = (
            "a severe error is a wrong label of the first group; accuracy is given group by group, "
            "as levels"
        )
    else:
        levels = (
            "a severe error is a wrong label at the top level of the tree; at each level, accuracy "
            "asks for the right labels from the top down to it"
        )
    return (
        "Macro-F1 is the mean F1 of "
        + (f"all {every} classes" if scored == every else f"{few}images in the whole dataset")
        + f"; {levels}. The epoch was chosen on validation data."
    )


def headline(results: Results, frame: pd.DataFrame) -> Shown:
    """Show the main table: one row a system that is no variant, accuracy at every level."""
    rows = tables.plain(frame)
    names = figures.metric_names(results.labels.shape[1])
    return show(tables.wide(rows, names, figures.COUNTS), tables.legend(rows))


def differences(tests: pd.DataFrame) -> Shown:
    """Show the paired tests between systems that are no variants, or all when there are no such."""
    named = tests["first"].str.contains("@") | tests["second"].str.contains("@")
    return show(figures.test_table(tests[~named] if (~named).any() else tests))


def variants(frame: pd.DataFrame) -> Shown | None:
    """Show the scores of all variants; None where there is none, or nothing else."""
    rows = frame[frame["variant"] != ""]
    if rows.empty or len(rows) == len(frame):
        return None
    names = tables.present(frame, {**figures.NAMES, **figures.UNSEEN})
    names.pop("accuracy")
    return show(tables.wide(rows, names, figures.COUNTS), tables.legend(rows))


def space(frame: pd.DataFrame) -> Shown:
    """Show how the embeddings of the test images cluster, the untrained control beside them."""
    rows = frame[frame["variant"].isin(["", "untrained"])]
    rows = frame if rows.empty else rows
    return show(tables.wide(rows, figures.SPACE, []), tables.legend(rows))


def tuning_record(dataset: str) -> pd.DataFrame | None:
    """Return what was tried before the systems of a dataset were set, None when nothing was.

    `grocery_random` and `grocery_official` are tuned on `grocery_tuning`, and so on.
    """
    file = tune.record_file(f"{dataset.partition('_')[0]}_tuning")
    return pd.read_csv(file, keep_default_na=False) if file.exists() else None


def tuning(dataset: str) -> Shown | None:
    """Show what was tried for each approach and what was chosen."""
    record = tuning_record(dataset)
    if record is None:
        return None
    best = record.groupby("model")["validation_macro_f1"].idxmax()
    shown = record.rename(columns=lambda name: name.replace("_", " ").replace("f1", "F1"))
    shown = shown.rename(columns={"validation macro F1": "validation macro-F1"})
    shown["validation macro-F1"] = record["validation_macro_f1"].map("{:.3f}".format)
    shown["chosen"] = record.index.isin(best)
    shown["chosen"] = shown["chosen"].map({True: "yes", False: ""})
    return show(shown.drop(columns="images"))


def near_duplicates(results: Results) -> Iterator[Shown]:
    """Show how many test images are nearly in the training set, and the scores without them.

    Nothing of drawn worlds; where the photographs are not at hand, that.
    """
    if results.dataset in SYNTHETIC:
        return
    try:
        bits = audit.nearest(results)
    except StudyError as error:
        yield publish.paragraph(f"Not counted here: {error}.", "note")
        return
    near = int((bits <= images.DUPLICATE_BITS).sum())
    yield show(audit.counts(bits))
    yield show(
        audit.without(results, bits),
        f"Scores on all {len(bits):,} test images and on the {len(bits) - near:,} without a "
        f"near-duplicate ({images.DUPLICATE_BITS} bits or fewer) in training; means over seeds.",
    )


def confusions(results: Results) -> list[Figure]:
    """Draw all systems at the top level, and the best on validation data below it."""
    levels = range(2, results.labels.shape[1] + 1)
    wanted = [(system, 1) for system in results.plain().systems]
    wanted += [(best(results), level) for level in levels]
    drawn = [figures.confusion(results, system, level) for system, level in wanted]
    return sorted(drawn, key=lambda figure: figure.get_figwidth() >= PAGE)


def best(results: Results) -> str:
    """Return the system whose first run did best on validation data."""
    systems = results.plain().systems
    return max(systems, key=lambda system: systems[system][0].provenance["best_score"])


def severe_errors(results: Results) -> Iterator[Shown]:
    """Show the severe errors of each system's first run, the surest first."""
    for system, runs in results.plain().systems.items():
        shown = figures.severe(runs[0], SEVERE_SHOWN)
        count = int(runs[0].metrics["severe_errors"])
        errors = f"{count:,} severe error{'' if count == 1 else 's'}"
        some = f", {len(shown)} shown" if len(shown) < count else ""
        yield publish.heading(f"{system}, seed {runs[0].params['seed']}: {errors}{some}")
        if shown:
            yield publish.picture_grid(shown)


def origin(results: Results) -> Shown:
    """Show the command that makes the report again, and what its runs were made with."""
    return publish.origin(report_command("triplets", results.systems), run_facts(results.runs))


def write(results: Results, frame: pd.DataFrame, tests: pd.DataFrame) -> str:
    """Write tables, claims and the entry of the index; return the folder, `reports/<dataset>`."""
    folder = paths.reports() / results.dataset
    tables.save(
        frame,
        tests,
        folder,
        "triplets",
        figures.NAMES,
        f"{TITLE} Dataset {results.dataset}.",
        note(results),
        figures.COUNTS,
        figures.test_table(tests),
    )
    claims = claims_markdown(ledger(results, tests))
    write_atomic(folder / "claims" / "triplets.md", claims)
    record = tuning_record(results.dataset)
    if record is not None:
        write_atomic(folder / "triplets_tuning.csv", record.to_csv(index=False))
    rows = tables.plain(frame)
    table, legend = tables.wide(rows, figures.NAMES, figures.COUNTS), tables.legend(rows)
    publish.write_entry(folder, "triplets", TITLE, lead(results, frame, tests), table, legend)
    return relative(folder)


def levels_measured(results: Results) -> None:
    """Measure the cost of levels (T8) beside the runs unless it has been done."""
    if not (file := results.folder / "levels.csv").exists():
        write_atomic(file, audit.levels().to_csv(index=False))


# The ledger: what the paper claims, and what became of it on a dataset.


NO_HELP = 0.01  # macro-F1; a gain that is smaller for certain is called none
SPACE = {"nmi": "NMI of classes, ", "nmi_level1": "NMI of categories, "}


class Step(NamedTuple):
    """One difference, `second` minus `first`, and what is claimed of it, as `paper.yaml` says."""

    metric: str
    first: str
    claimed: str
    second: str


def ledger(results: Results, tests: pd.DataFrame) -> list[Claim]:
    """Return a verdict on each of the claims T1 to T10; `tests` are those of `paired_tests`."""
    return [judged(claim, results, tests) for claim in PAPER["claims"]]


def judged(claim: dict[str, Any], results: Results, tests: pd.DataFrame) -> Claim:
    """Return the row of one claim: figure and verdict, or why it is not tested here."""
    text = (claim["id"], claim["claim"], claim["experiment"])
    if claim["id"] == "T8":
        return Claim(*text, *levels_verdict(results))
    steps, beside = (
        [Step(*step.split()) for step in claim.get(kind, [])] for kind in ("steps", "beside")
    )
    rows = [of_step(tests, step) for step in steps]
    systems = dict.fromkeys(name for step in steps for name in (step.first, step.second))
    absent = [name for name in systems if name not in results.systems]
    reason = claim.get("untested", {}).get(results.runs[0].params["backbone"]["name"])
    if absent and not reason:
        reason = f"no run of {' or '.join(absent)} on {results.dataset}"
    if reason or any(row is None for row in rows):
        reason = reason or "the systems have no seed in common"
        return Claim(*text, "", f"not tested here: {reason}")
    sides = [side(step, row) for step, row in zip(steps, rows, strict=True)]
    shown = [*zip(steps, rows, strict=True), *((step, of_step(tests, step)) for step in beside)]
    figure = [in_words(step, row) for step, row in shown if row is not None]
    figure += [
        f"{name}, seed {run.params['seed']}, {run.provenance['stopped'].partition(':')[0]}"
        for name in systems
        for run in results.systems[name]
        if run.provenance["stopped"]
    ]
    seeds = min(int(row.seeds) for row in rows)
    return Claim(*text, "; ".join(figure), verdict(results.dataset, sides, seeds))


def of_step(tests: pd.DataFrame, step: Step) -> pd.Series | None:
    """Return the bootstrap row of second minus first, None when they have no seed in common."""
    return tables.between(tests, step.first, step.second, step.metric)


def in_words(step: Step, row: pd.Series) -> str:
    """Return a difference in words, such as "flexible − triplet +0.007 [−0.015, +0.028]"."""
    count = step.metric in figures.COUNTS
    numbers = tables.signed(row.difference, row.ci_low, row.ci_high, count=count)
    names = f"{step.second} − {step.first}".replace("cross_entropy", "cross-entropy")
    return f"{SPACE.get(step.metric, '')}{names} {numbers}"


def side(step: Step, row: pd.Series) -> int:
    """Return 1 if the interval is on the claimed side, −1 if on the other, 0 if on both."""
    if step.claimed == ">=":
        return 1 if row.ci_high < NO_HELP else -int(row.ci_low > 0)
    return tables.side(row) if step.claimed == "<" else -tables.side(row)


def levels_verdict(results: Results) -> tuple[str, str]:
    """Return figure and verdict of T8, the cost of levels measured beside the runs."""
    file = results.folder / "levels.csv"
    if not file.exists():
        return "", "not tested here: its cost was not measured beside these runs"
    table = pd.read_csv(file)
    ratios = ", ".join(f"{row.levels} ×{row.ratio:.2f}" for row in table.itertuples())
    # a cost of c levels is at most c times that of one, so for a given tree a constant factor
    holds = (table["ratio"] <= table["levels"].clip(lower=1.25)).all()
    return (
        f"time by levels, against one margin for all: {ratios}",
        "holds" if holds else "does not hold",
    )
