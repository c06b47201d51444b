"""Tables, figures, claims and pages of a dataset: everything from its run folders alone."""

from pathlib import Path
from typing import Any

import pandas as pd

from studies import paths
from studies.paths import dataset_argument, run_command
from studies.reporting import pages, tables
from studies.reporting.claims import claims_markdown
from studies.reporting.publish import publish
from studies.reporting.results import count_systems, report_command, run_facts
from studies.runs import params
from studies.runs.files import write_atomic
from studies.triplets import claims, cost, figures, tune
from studies.triplets.comparisons import paired_tests
from studies.triplets.evaluate import evaluate
from studies.triplets.params import Parameters
from studies.triplets.results import Results, read, summary
from studies.triplets.sections import gallery, note, sections

TITLE = "Triplets: do label relations make a better classifier?"


def make_tiny_runs() -> None:
    """Train and evaluate every system of the tiny dataset, as `make study DATASET=tiny` would."""
    for files in params.run_files("triplets", "tiny").values():
        evaluate(Parameters.from_files(files, ["seed=0"]))


def write(dataset: str) -> Path:
    """Write every file of the report below `reports/<dataset>/`; return the page."""
    results = read(dataset)
    if not (levels := results.folder / "levels.csv").exists():
        write_atomic(levels, cost.levels().to_csv(index=False))
    frame = summary(results)
    # rounded before anything is said of them: the index reads them from the file
    tests = tables.rounded(paired_tests(results))
    folder = paths.reports() / dataset
    caption = f"{TITLE} Dataset {dataset}."
    tables.save(
        frame,
        tests,
        folder,
        "triplets",
        figures.NAMES,
        caption,
        note(results),
        figures.COUNTS,
        figures.test_table(tests),
    )
    ledger = claims_markdown(claims.ledger(results, tests))
    write_atomic(folder / "claims" / "triplets.md", ledger)
    tuning = tuned_on(dataset)
    if tuning is not None:
        write_atomic(folder / "triplets_tuning.csv", tuning.to_csv(index=False))
    parts = sections(results, frame, tests, tuning)
    pictures = [pages.Section("Severe errors", gallery(results))]
    facts = report_command("triplets", results.systems), run_facts(results.runs)
    said = lead(results, frame, tests)
    return publish(folder, "triplets", TITLE, said, parts, pictures, facts)


def tuned_on(dataset: str) -> pd.DataFrame | None:
    """Return what was tried before the systems of a dataset were set, None when nothing was.

    `grocery_random` and `grocery_official` are tuned on `grocery_tuning`, and so on.
    """
    file = tune.record_file(f"{dataset.partition('_')[0]}_tuning")
    return pd.read_csv(file, keep_default_na=False) if file.exists() else None


def lead(results: Results, frame: pd.DataFrame, tests: pd.DataFrame) -> str:
    """Return the result in two sentences."""
    scores = frame[frame["metric"] == "macro_f1"].set_index(["model", "variant"])["mean"]
    (model, variant), value = scores.idxmax(), scores.max()
    system = f"{model}@{variant}" if variant else model
    return (
        f"{count_systems(results.systems)}, {len(results.truth):,} test images, "
        f"{len(results.classes)} classes; highest macro-F1: {system} with {value:.3f}. "
        f"{claims.tally(results, tests)}"
    )


def entry(dataset: str) -> dict[str, Any]:
    """Return what the index page says of this report."""
    results = read(dataset)
    folder = paths.reports() / dataset
    frame, tests = tables.read(folder / "triplets.csv"), pd.read_csv(folder / "triplets_tests.csv")
    table = tables.wide(tables.plain(frame), figures.NAMES, figures.COUNTS)
    return {
        "title": TITLE,
        "href": "triplets.html",
        "lead": lead(results, frame, tests),
        "headline": pages.table(table, tables.legend(tables.plain(frame))),
    }


if __name__ == "__main__":
    run_command(lambda: write(dataset_argument(__doc__)))
