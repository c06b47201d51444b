"""Tables, figures, claims and pages of a dataset: everything from its run folders alone."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from studies import pages, params, paths, tables
from studies.errors import StudyError
from studies.runs import write_atomic
from studies.triplets import claims, figures
from studies.triplets.evaluate import evaluate
from studies.triplets.params import Parameters
from studies.triplets.results import Results, comparisons, read, summary

TITLE = "Triplets: do label relations make a better classifier?"
METRICS = {"macro_f1": "macro-F1", "severe_errors": "severe errors", "accuracy": "accuracy"}
COUNTS = ["severe_errors"]
SEVERE_SHOWN = 15  # of each system


class ReportParameters(params.Schema):
    """What the report notebook takes."""

    dataset: params.Name


def make_tiny_runs() -> None:
    """Train and evaluate every system of the tiny dataset, as `make study DATASET=tiny` would."""
    for files in params.run_files("triplets", "tiny").values():
        evaluate(Parameters.from_files(files, ["seed=0"]))


def headline(results: Results, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the main table: one row a system, accuracy at every level."""
    depth = results.labels.shape[1]
    levels = {f"accuracy_level{k}": f"accuracy, level {k}" for k in range(1, depth)}
    return tables.wide(frame, {**METRICS, **levels}, COUNTS)


def provenance(results: Results) -> dict[str, str]:
    """Return what the runs were made with, differences between runs side by side."""
    facts = [run.provenance for run in results.runs]

    def all_of(*path: str) -> str:
        values = []
        for fact in facts:
            value: Any = fact
            for key in path:
                value = value[key]
            values.append(str(value))
        return ", ".join(dict.fromkeys(values))

    return {
        "dataset": f"{results.dataset}, fingerprint {all_of('dataset_fingerprint')}",
        "images": all_of("images"),
        "seeds": ", ".join(sorted({str(run.params["seed"]) for run in results.runs})),
        "commit": f"{all_of('git', 'commit')} (changed since: {all_of('git', 'dirty')})",
        "python": all_of("python"),
        **{name: all_of("packages", name) for name in facts[0]["packages"]},
        "device": all_of("device"),
        "threads": all_of("threads"),
        "platform": all_of("platform"),
    }


def command(results: Results) -> str:
    """Return what to type to make the report again."""
    seeds = ",".join(sorted({str(run.params["seed"]) for run in results.runs}))
    return f"make study DATASET={results.dataset} STUDY=triplets SEEDS={seeds}"


def note(results: Results) -> str:
    """Return what a reader of the table must know."""
    scored = int(results.classes["scored"].sum())
    return (
        f"Macro-F1 is the mean over {scored} of {len(results.classes)} classes, those with more "
        f"than {results.runs[0].params['min_count']} images in the whole dataset; a severe error "
        "has a wrong top label; accuracy of a level wants all labels down to it right. The epoch "
        "was chosen on validation data. p-values are not corrected for the number of comparisons."
    )


def gallery(results: Results) -> list[Markup | str]:
    """Return the severe errors of each system's first run, as parts of a page."""
    parts: list[Markup | str] = []
    for system, runs in results.systems.items():
        shown = figures.severe(runs[0], SEVERE_SHOWN)
        count = int(runs[0].metrics["severe_errors"])
        parts.append(
            Markup("<h3>{}</h3>").format(
                f"{system}, seed {runs[0].params['seed']}: {count} severe errors"
                + (f", the {len(shown)} surest" if len(shown) < count else "")
            )
        )
        parts.append(pages.picture_grid(shown) if shown else "None.")
    return parts


def sections(results: Results, frame: pd.DataFrame, tests: pd.DataFrame) -> list[pages.Section]:
    """Return the parts of the report, the main table first."""
    ledger = tables.claims_frame(claims.ledger(results, tests))
    depth = results.labels.shape[1]
    first = {system: runs[0] for system, runs in results.systems.items()}
    best = max(first, key=lambda system: first[system].provenance["best_score"])
    shown = tests.map(lambda x: f"{x:.4g}" if isinstance(x, float) and not np.isnan(x) else x)
    return [
        pages.Section(
            "Results",
            [
                pages.table(headline(results, frame), tables.legend(frame)),
                note(results),
                *(
                    pages.figure(
                        figures.score_figure(frame, metric),
                        f"{label} on the test set, with 95 % intervals.",
                        f"{label} of each system with its interval",
                    )
                    for metric, label in figures.METRICS.items()
                ),
            ],
        ),
        pages.Section(
            "Claims",
            [pages.table(ledger, "What the paper claims, and what came of it on this data.")],
        ),
        pages.Section(
            "Differences between systems",
            [pages.table(shown.fillna(""), "Paired tests: second system minus first.")],
        ),
        pages.Section(
            "Training",
            [
                pages.figure(
                    figures.curves(results.systems),
                    "Curves of every system.",
                    "loss and scores against epoch",
                ),
                pages.table(figures.cost(results.systems), "Cost of training."),
            ],
        ),
        pages.Section(
            "Confusion by level",
            [
                f"At the top level for every system; below it for {best}, the best on validation.",
                *(
                    pages.figure(
                        figures.confusion(results, system, level),
                        f"{system}: confusion at level {level}.",
                        f"confusion matrix of {system} at level {level}",
                    )
                    for system, level in [
                        *((system, 1) for system in results.systems),
                        *((best, level) for level in range(2, depth + 1)),
                    ]
                ),
            ],
        ),
        pages.Section(
            "Maps of the embedding",
            [
                "Test images by t-SNE; distances between far groups mean nothing.",
                *(
                    pages.figure(
                        figures.embedding_map(run),
                        f"{system}, seed {run.params['seed']}, coloured by top label.",
                        f"two-dimensional map of the test images under {system}",
                    )
                    for system, run in first.items()
                ),
            ],
        ),
    ]


def write(dataset: str) -> Path:
    """Write every file of the report below `reports/<dataset>/`; return the page."""
    results = read(dataset)
    frame, tests = summary(results), comparisons(results)
    folder = paths.reports() / dataset
    caption = f"{TITLE} Dataset {dataset}."
    shown = tests.map(lambda x: round(x, 4) if isinstance(x, float) else x)
    tables.save(frame, shown, folder, "triplets", METRICS, caption, note(results), COUNTS)
    ledger = tables.claims_markdown(claims.ledger(results, tests))
    write_atomic(folder / "claims" / "triplets.md", ledger)
    parts = sections(results, frame, tests)
    pictures = pages.Section("Severe errors", gallery(results))
    facts = command(results), provenance(results)
    if dataset in claims.SYNTHETIC:
        parts.append(pictures)
    else:
        photographs = pages.page(f"Severe errors on {dataset}", "", [pictures], *facts)
        write_atomic(folder / "triplets_gallery.html", photographs)
        link = Markup(
            '<p>The photographs are on <a href="triplets_gallery.html">a page of their own</a>, '
            "made by the command below and not published with this one.</p>"
        )
        parts.append(pages.Section("Severe errors", [link]))
    page = pages.page(TITLE, f"Dataset {dataset}. {lead(results, frame)}", parts, *facts)
    write_atomic(folder / "triplets.html", page)
    return folder / "triplets.html"


def lead(results: Results, frame: pd.DataFrame) -> str:
    """Return the result in one sentence."""
    scores = frame[frame["metric"] == "macro_f1"].set_index(["model", "variant"])["mean"]
    (model, variant), value = scores.idxmax(), scores.max()
    system = f"{model}@{variant}" if variant else model
    return (
        f"{len(results.systems)} systems, {len(results.truth):,} test images, "
        f"{len(results.classes)} classes; highest macro-F1: {system} with {value:.3f}."
    )


def entry(dataset: str) -> dict[str, Any]:
    """Return what the index page says of this report."""
    results = read(dataset)
    frame = tables.read(paths.reports() / dataset / "triplets.csv")
    return {
        "title": TITLE,
        "href": "triplets.html",
        "lead": lead(results, frame),
        "headline": pages.table(tables.wide(frame, METRICS, COUNTS), tables.legend(frame)),
    }


if __name__ == "__main__":
    try:
        print(params.relative(write(sys.argv[1])))
    except StudyError as error:
        sys.exit(f"error: {error}")
