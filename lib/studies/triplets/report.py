"""Tables, figures, claims and pages of a dataset: everything from its run folders alone."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from studies import pages, params, paths, tables
from studies.errors import StudyError
from studies.runs import write_atomic
from studies.style import PAGE
from studies.triplets import claims, figures
from studies.triplets.evaluate import evaluate
from studies.triplets.params import Parameters
from studies.triplets.results import Results, comparisons, read, summary

TITLE = "Triplets: do label relations make a better classifier?"
SEVERE_SHOWN = 10  # of each system
TESTS = (
    "Differences on the same test images with 95 % intervals; p-values by paired bootstrap and, "
    "seed by seed, by McNemar's exact test; not corrected for the number of comparisons."
)


class ReportParameters(params.Schema):
    """What the report notebook takes."""

    dataset: params.Name


def make_tiny_runs() -> None:
    """Train and evaluate every system of the tiny dataset, as `make study DATASET=tiny` would."""
    for files in params.run_files("triplets", "tiny").values():
        evaluate(Parameters.from_files(files, ["seed=0"]))


def headline(results: Results, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the main table: one row a system, accuracy at every level."""
    names = figures.metric_names(results.labels.shape[1])
    return tables.wide(frame, names, figures.COUNTS)


def provenance(results: Results) -> dict[str, str]:
    """Return what the runs were made with, differences between runs side by side."""
    facts = [run.provenance for run in results.runs]
    dirty = any(fact["git"]["dirty"] for fact in facts)

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
        "images": ", ".join(f"{n:,} {part}" for part, n in facts[0]["images"].items()),
        "seeds": ", ".join(sorted({str(run.params["seed"]) for run in results.runs})),
        "commit": all_of("git", "commit") + (", with uncommitted changes" if dirty else ""),
        "software": f"Python {all_of('python')}, "
        + ", ".join(f"{name} {all_of('packages', name)}" for name in facts[0]["packages"]),
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
    scored, every = int(results.classes["scored"].sum()), len(results.classes)
    few = f"the {scored} of {every} classes with more than {results.runs[0].params['min_count']} "
    return (
        "Macro-F1 is the mean F1 of "
        + (f"all {every} classes" if scored == every else f"{few}images in the whole dataset")
        + "; a severe error is a wrong label at the top level of the tree; at each level, accuracy "
        "asks for the right labels from the top down to it. The epoch was chosen on validation "
        "data."
    )


def gallery(results: Results) -> list[Markup | str]:
    """Return the severe errors of each system's first run, as parts of a page."""
    parts: list[Markup | str] = []
    for system, runs in results.systems.items():
        shown = figures.severe(runs[0], SEVERE_SHOWN)
        count = int(runs[0].metrics["severe_errors"])
        errors = f"{count:,} severe error{'' if count == 1 else 's'}"
        some = f", {len(shown)} shown" if len(shown) < count else ""
        parts.append(pages.heading(f"{system}, seed {runs[0].params['seed']}: {errors}{some}"))
        if shown:
            parts.append(pages.picture_grid(shown))
    return [
        "Images that got a wrong label at the top level, those first of which the system was "
        "surest: by softmax after cross-entropy, by the neighbours' votes after the other losses.",
        *parts,
    ]


def sections(results: Results, frame: pd.DataFrame, tests: pd.DataFrame) -> list[pages.Section]:
    """Return the parts of the report, the main table first."""
    ledger = tables.claims_frame(claims.ledger(results, tests))
    first = {system: runs[0] for system, runs in results.systems.items()}
    best = max(first, key=lambda system: first[system].provenance["best_score"])
    hollow = "; hollow: published." if frame["published"].notna().any() else "."
    return [
        pages.Section(
            "Results",
            [
                pages.table(headline(results, frame), tables.legend(frame)),
                note(results),
                pages.figure(
                    figures.score_figure(frame),
                    f"Macro-F1 and severe errors on the test set with 95 % intervals{hollow}",
                    "macro-F1 and severe errors of each system with their intervals",
                ),
            ],
        ),
        pages.Section(
            "Claims",
            [pages.table(ledger, "What the paper claims, and what came of it on this data.")],
        ),
        pages.Section("Differences", [pages.table(figures.test_table(tests), TESTS)]),
        pages.Section(
            "Training",
            [
                pages.figure(
                    figures.curves(results.systems),
                    "Every epoch of training. The losses differ between systems and cannot be "
                    "compared; the scores on the validation set can.",
                    "loss and scores against epoch",
                ),
                pages.table(
                    figures.cost(results.systems),
                    "What a training took, as a mean over seeds; memory is the largest that the "
                    "process ever held.",
                ),
            ],
        ),
        pages.Section("Confusion", confusion(results, best)),
        pages.Section(
            "Embedding",
            [
                pages.figure(
                    figures.embedding_map(list(first.values())),
                    "The test images by t-SNE, coloured by top label, first seed of every system. "
                    "Neighbours mean something; distances between far groups do not.",
                    "two-dimensional maps of the test images",
                )
            ],
        ),
    ]


def confusion(results: Results, best: str) -> list[Markup]:
    """Return the confusion matrices: all systems at the top level, the best one below it."""
    wanted = [(system, 1) for system in results.systems]
    wanted += [(best, level) for level in range(2, results.labels.shape[1] + 1)]
    drawn = [
        (figures.confusion(results, system, level), f"Confusion of {system} at level {level}")
        for system, level in wanted
    ]
    narrow = [pair for pair in drawn if pair[0].get_figwidth() < PAGE]
    wide = [pages.figure(one, f"{alt}.", alt) for one, alt in drawn if (one, alt) not in narrow]
    caption = (
        "Every system at the top level, where all that is off the diagonal is a severe error; "
        f"lower levels for {best}, the best on validation data. Seeds are taken together; "
        "numbers count test images."
    )
    return [pages.figures(narrow, caption), *wide] if narrow else wide


def write(dataset: str) -> Path:
    """Write every file of the report below `reports/<dataset>/`; return the page."""
    results = read(dataset)
    frame, tests = summary(results), comparisons(results)
    folder = paths.reports() / dataset
    caption = f"{TITLE} Dataset {dataset}."
    shown = tests.map(lambda x: round(x, 4) if isinstance(x, float) else x)
    tables.save(
        frame,
        shown,
        folder,
        "triplets",
        figures.NAMES,
        caption,
        note(results),
        figures.COUNTS,
        figures.test_table(tests),
    )
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
    said = f"Dataset {dataset}: {lead(results, frame, tests)}"
    page = pages.page(TITLE, said, parts, *facts)
    write_atomic(folder / "triplets.html", page)
    return folder / "triplets.html"


def lead(results: Results, frame: pd.DataFrame, tests: pd.DataFrame) -> str:
    """Return the result in two sentences."""
    scores = frame[frame["metric"] == "macro_f1"].set_index(["model", "variant"])["mean"]
    (model, variant), value = scores.idxmax(), scores.max()
    system = f"{model}@{variant}" if variant else model
    return (
        f"{len(results.systems)} systems, {len(results.truth):,} test images, "
        f"{len(results.classes)} classes; highest macro-F1: {system} with {value:.3f}. "
        f"{claims.tally(results, tests)}"
    )


def entry(dataset: str) -> dict[str, Any]:
    """Return what the index page says of this report."""
    results = read(dataset)
    folder = paths.reports() / dataset
    frame, tests = tables.read(folder / "triplets.csv"), pd.read_csv(folder / "triplets_tests.csv")
    table = tables.wide(frame, figures.NAMES, figures.COUNTS)
    return {
        "title": TITLE,
        "href": "triplets.html",
        "lead": lead(results, frame, tests),
        "headline": pages.table(table, tables.legend(frame)),
    }


if __name__ == "__main__":
    try:
        print(params.relative(write(params.dataset_argument(__doc__))))
    except StudyError as error:
        sys.exit(f"error: {error}")
