"""What the report notebook shows and writes: everything from the run folders of a dataset."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.inputs import images
from studies.reporting import claims, publish, tables
from studies.reporting.bootstrap import Measured, paired
from studies.reporting.claims import Outcome, judge, tally
from studies.reporting.plots import PAGE
from studies.reporting.results import count_systems
from studies.reporting.tables import Shown, show
from studies.runs.files import write_atomic
from studies.runs.folder import LoadedRun
from studies.triplets import audit, figures, tune
from studies.triplets.figures import Results


def lead(results: Results, frame: pd.DataFrame, outcomes: Sequence[Outcome]) -> str:
    """Return the result in two sentences."""
    scores = frame.assign(system=tables.systems)[frame["metric"] == "macro_f1"]
    best = scores.iloc[scores["mean"].argmax()]
    return (
        f"Dataset {results.dataset}: {count_systems(results.systems)}, {len(results.truth):,} test "
        f"images, {len(results.classes)} classes; highest macro-F1: {best.system} with "
        f"{best['mean']:.3f}. Of {tally(outcomes, results.dataset)}."
    )


def note(results: Results) -> str:
    """Return what a reader of the table must know."""
    paper, given = results.paper, results.runs[0].params
    scored, every = int(results.classes["scored"].sum()), len(results.classes)
    counted = paper["all" if scored == every else "frequent"]
    levels = paper["groups" if given["source"].get("groups") else "tree"]
    notes = [paper["note"].format(counted=counted, levels=levels)]
    notes += [paper["frozen"]] if given["backbone"]["name"] == "frozen" else []
    facts = {"scored": scored, "every": every, "least": given["min_count"], **given["backbone"]}
    return " ".join(notes).format(**facts)


def differences(tests: pd.DataFrame) -> Shown | None:
    """Show the paired tests between systems that are no variants, or all when there are no such."""
    named = tests["first"].str.contains("@") | tests["second"].str.contains("@")
    rows = tests[~named] if (~named).any() else tests
    names = {name: figures.NAMES[name] for name in figures.AXES}
    return tables.differences(rows, names, counts=Results.counts)


def variants(frame: pd.DataFrame) -> Shown | None:
    """Show the scores of all variants; None where there is none, or nothing else."""
    rows = frame[frame["variant"] != ""]
    if len(rows) == len(frame):
        return None
    return tables.scores(rows, {**figures.metric_names(0), **figures.UNSEEN}, Results.counts)


def space(frame: pd.DataFrame) -> Shown | None:
    """Show how the embeddings of the test images cluster, the untrained control beside them."""
    rows = frame[frame["variant"].isin(["", "untrained"])]
    return tables.scores(frame if rows.empty else rows, figures.SPACE)


def classifiers(frame: pd.DataFrame) -> Shown | None:
    """Show macro-F1 of several classifiers on the same embeddings."""
    names = {f"macro_f1_{name}": heading for name, heading in figures.OTHERS.items()}
    if not frame["metric"].isin(names).any():
        return None
    rows = frame[frame["variant"].isin(["", "published"])]
    return tables.scores(rows, {"macro_f1": "its own", **names})


def tuning(dataset: str) -> Shown | None:
    """Show what was tried for each approach and what was chosen."""
    record = tune.kept_record(dataset)
    if record is None:
        return None
    best = record.groupby("model")["validation_macro_f1"].idxmax()
    shown = record.rename(columns=lambda name: name.replace("_f1", "-F1").replace("_", " "))
    shown["validation macro-F1"] = record["validation_macro_f1"].map("{:.3f}".format)
    shown["chosen"] = np.where(record.index.isin(best), "yes", "")
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
    wanted = [(system, 1) for system in results.plain().systems]
    wanted += [(best(results), level) for level in range(2, results.labels.shape[1] + 1)]
    drawn = [figures.confusion(results, system, level) for system, level in wanted]
    return sorted(drawn, key=lambda figure: figure.get_figwidth() >= PAGE)


def best(results: Results) -> str:
    """Return the system whose first run did best on validation data."""
    systems = results.plain().systems
    return max(systems, key=lambda system: systems[system][0].provenance["best_score"])


def severe_errors(results: Results, most: int = 10) -> Iterator[Shown]:
    """Show at most so many severe errors of each system's first run, the surest first."""
    for system, runs in results.plain().systems.items():
        shown = figures.severe(runs[0], most)
        count = int(runs[0].metrics["severe_errors"])
        errors = f"{count:,} severe error{'' if count == 1 else 's'}"
        some = f", {len(shown)} shown" if len(shown) < count else ""
        yield publish.heading(f"{system}, seed {runs[0].params['seed']}: {errors}{some}")
        if shown:
            yield publish.picture_grid(shown)


# The ledger: what the paper claims, and what became of it on a dataset.


def judged(results: Results) -> list[Outcome]:
    """Return what became of each of the claims T1 to T12."""
    systems = {
        name: {**results.measured[name], "plateau": plateau(runs)}
        for name, runs in results.systems.items()
    }
    facts = [results.runs[0].params["backbone"]["name"]]
    slopes = {"levels": {"slope": levels(results)}, **sizes(results)}
    return judge(claims.read(results.paper["claims"]), {**systems, **slopes}, facts)


def plateau(runs: Sequence[LoadedRun]) -> Measured:
    """Return by which epoch validation macro-F1 is within 5 % of the best of its run, by seed."""
    first = {}
    for run in runs:
        curve = run.curves.set_index("epoch")["validation_macro_f1"].dropna()
        first[run.params["seed"]] = float(curve.index[curve >= 0.95 * curve.max()][0])
    return Measured(first)


def sizes(results: Results) -> dict[str, dict[str, Measured]]:
    """Return by how much the gain over the plain triplet loss grows as parameters double (T10).

    It is the slope of the gain in macro-F1 on log2 of all parameters, over the sizes that both
    losses were trained at with the seeds of a verdict; nothing of fewer than three.
    """
    enough = [name for name, runs in results.systems.items() if len(runs) >= claims.FEWEST]
    f1 = {name: results.measured[name]["macro_f1"] for name in enough}
    gains = {
        millions: paired(f1[f"triplet@{name}"], f1[f"flexible@{name}"])
        for name, millions in results.paper["sizes"].items()
        if {f"triplet@{name}", f"flexible@{name}"} <= {*f1}
    }
    if len(gains) < 3:
        return {}
    seeds = sorted(set.intersection(*({*gain.values} for gain in gains.values())))
    x, ys = np.log2([*gains]), gains.values()
    values = {seed: np.polyfit(x, [gain.values[seed] for gain in ys], 1)[0] for seed in seeds}
    samples = {seed: np.polyfit(x, [gain.samples[seed] for gain in ys], 1)[0] for seed in seeds}
    return {"sizes": {"gain_slope": Measured(values, samples, len(results.truth))}}


def levels(results: Results) -> Measured:
    """Return the exponent with which the loss's time grows with label levels, by round.

    It is the slope of log time on log levels, measured beside the runs.
    """
    file = results.folder / "levels.csv"
    if not file.exists() or "round" not in pd.read_csv(file):  # once it had no rounds
        write_atomic(file, audit.levels().to_csv(index=False))
    rounds = pd.read_csv(file).groupby("round")
    slopes = {n: np.polyfit(np.log(r["levels"]), np.log(r["ratio"]), 1)[0] for n, r in rounds}
    return Measured(slopes)
