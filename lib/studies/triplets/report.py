"""What the report notebook shows and writes: everything from the run folders of a dataset."""

from collections.abc import Iterable, Iterator, Sequence

import pandas as pd
from matplotlib.figure import Figure

from studies import paths
from studies.inputs import images
from studies.reporting import publish, tables
from studies.reporting.bootstrap import Measured
from studies.reporting.claims import (
    COUNT,
    RATE,
    Claim,
    Outcome,
    Step,
    forest,
    judge,
    tally,
)
from studies.reporting.plots import PAGE
from studies.reporting.results import count_systems, write_report
from studies.reporting.tables import Shown, show
from studies.runs.files import write_atomic
from studies.triplets import audit, figures, tune
from studies.triplets.figures import PAPER, Results

TITLE = "Triplets: do label relations make a better classifier?"
SEVERE_SHOWN = 10  # of each system


def lead(results: Results, frame: pd.DataFrame, outcomes: Sequence[Outcome]) -> str:
    """Return the result in two sentences."""
    scores = frame[frame["metric"] == "macro_f1"].set_index(["model", "variant"])["mean"]
    (model, variant), value = scores.idxmax(), scores.max()
    system = f"{model}@{variant}" if variant else model
    return (
        f"Dataset {results.dataset}: {count_systems(results.systems)}, {len(results.truth):,} test "
        f"images, {len(results.classes)} classes; highest macro-F1: {system} with {value:.3f}. "
        f"Of the paper's {tally(outcomes, results.dataset)}."
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
    rows = tests[~named] if (~named).any() else tests
    names = {name: figures.NAMES[name] for name in figures.AXES}
    return show(tables.wide_tests(rows, names, figures.COUNTS))


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

    Nothing of drawn worlds.
    """
    predictions = results.runs[0].predictions
    if "bits_to_training" not in predictions:
        return
    bits = predictions["bits_to_training"].to_numpy()
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


def write(
    results: Results, frame: pd.DataFrame, tests: pd.DataFrame, outcomes: Sequence[Outcome]
) -> str:
    """Write tables, ledger and the entry of the index; return the folder, `reports/<dataset>`."""
    record = tuning_record(results.dataset)
    if record is not None:
        file = paths.reports() / results.dataset / "triplets_tuning.csv"
        write_atomic(file, record.to_csv(index=False))
    words = TITLE, lead(results, frame, outcomes), note(results)
    names = figures.NAMES, figures.COUNTS
    return write_report(results, frame, tests, outcomes, *words, *names, ledger_names=LEDGER_NAMES)


# The ledger: what the paper claims, and what became of it on a dataset.

LEDGER_NAMES = {**figures.NAMES, **figures.SPACE, **figures.UNSEEN, "time_ratio": "time ratio"}
SIDES = {"<": "higher", ">": "lower", ">=": "no higher"}  # as paper.yaml writes them


def judged(results: Results) -> list[Outcome]:
    """Return what became of each of the claims T1 to T10."""
    backbone = results.runs[0].params["backbone"]["name"]
    claims, untested = [], {}
    for one in PAPER["claims"]:
        steps = tuple(step(*text.split()) for text in one.get("steps", []))
        claims.append(Claim(one["id"], one["claim"], steps))
        if reason := one.get("untested", {}).get(backbone):
            untested[one["id"]] = reason
    return judge(claims, {**results.measured, **levels(results)}, untested)


def forests(outcomes: Iterable[Outcome]) -> list[Figure]:
    """Draw each claim that has steps, the differences that it rests on."""
    labels = {**LEDGER_NAMES, **figures.AXES}
    return [drawn for one in outcomes if (drawn := forest(one, labels)) is not None]


def step(metric: str, first: str, side: str, second: str) -> Step:
    """Return a step as paper.yaml writes it, such as `macro_f1 triplet < flexible`."""
    reference = float(first) if first[0].isdigit() else first
    margin = COUNT if metric in figures.COUNTS else RATE
    return Step(metric, reference, second, SIDES[side], margin)


def levels(results: Results) -> dict[str, dict[str, Measured]]:
    """Return the cost of levels, measured beside the runs: the ratio to a plain margin by round."""
    file = results.folder / "levels.csv"
    if not file.exists() or "round" not in pd.read_csv(file):  # once it had no rounds
        write_atomic(file, audit.levels().to_csv(index=False))
    return {
        f"{count}_levels": {"time_ratio": Measured(dict(enumerate(rows["ratio"])))}
        for count, rows in pd.read_csv(file).groupby("levels")
    }
