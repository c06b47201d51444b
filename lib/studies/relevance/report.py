"""Tables, figures, claims and pages of a dataset: everything from its run folders alone."""

from pathlib import Path
from typing import Any

import pandas as pd

from studies import paths
from studies.paths import dataset_argument, run_command
from studies.relevance import claims, figures
from studies.relevance.comparisons import paired_tests
from studies.relevance.evaluate import evaluate
from studies.relevance.params import Parameters
from studies.relevance.results import Results, read, summary
from studies.relevance.sections import captions, filter_table, note, sections
from studies.reporting import pages, tables
from studies.reporting.claims import claims_markdown
from studies.reporting.publish import publish
from studies.reporting.results import count_systems, report_command, run_facts
from studies.runs import params
from studies.runs.files import write_atomic

TITLE = "Relevance: can a classifier of texts find the captions that describe an image's class?"


def make_tiny_runs() -> None:
    """Train and evaluate every system of the tiny dataset, as `make study DATASET=tiny` would."""
    for files in params.run_files("relevance", "tiny").values():
        evaluate(Parameters.from_files(files, ["seed=0"]))


def write(dataset: str) -> Path:
    """Write every file of the report below `reports/<dataset>/`; return the page."""
    results = read(dataset)
    frame = summary(results)
    # rounded before anything is said of them: the index reads them from the file
    tests = tables.rounded(paired_tests(results))
    ledger = claims.ledger(results, tests, frame)
    folder = paths.reports() / dataset
    names = {**figures.FILTER, **figures.DOWNSTREAM}
    tables.save(
        frame,
        tests,
        folder,
        "relevance",
        tables.present(frame, names),
        f"{TITLE} Dataset {dataset}.",
        note(results),
        ["kept"],
        figures.test_table(tests, names),
    )
    write_atomic(folder / "claims" / "relevance.md", claims_markdown(ledger))
    parts = sections(results, frame, tests, ledger)
    facts = (
        report_command("relevance", results.systems),
        run_facts(results.runs, "captions"),
    )
    said = lead(results, frame, claims.tally(ledger))
    return publish(folder, "relevance", TITLE, said, parts, captions(results), facts, "captions")


def lead(results: Results, frame: pd.DataFrame, verdicts: str) -> str:
    """Return the result in two sentences."""
    kept = ""
    if "predictor" in results.systems:
        mine = tables.value(frame, "predictor", "kept")
        kept = f"; the predictor keeps {mine['mean']:,.0f} of {results.captions:,} captions"
    return f"{count_systems(results.systems)}, {results.test:,} test captions{kept}. {verdicts}"


def entry(dataset: str) -> dict[str, Any]:
    """Return what the index page says of this report."""
    results = read(dataset)
    frame = tables.read(paths.reports() / dataset / "relevance.csv")
    tests = pd.read_csv(paths.reports() / dataset / "relevance_tests.csv")
    ledger = claims.ledger(results, tests, frame)
    mine = tables.of(frame, results.filters)
    shown = mine[mine["metric"].isin(figures.FILTER)]
    return {
        "title": TITLE,
        "href": "relevance.html",
        "lead": lead(results, frame, claims.tally(ledger)),
        "headline": pages.table(filter_table(results, frame), tables.legend(shown)),
    }


if __name__ == "__main__":
    run_command(lambda: write(dataset_argument(__doc__)))
