"""Tables, figures, claims and pages of a dataset: everything from its run folders alone."""

from pathlib import Path
from typing import Any

import pandas as pd

from studies import paths
from studies.captioning import claims, figures
from studies.captioning.comparisons import paired_tests
from studies.captioning.evaluate import evaluate
from studies.captioning.params import Parameters
from studies.captioning.results import Results, read, summary
from studies.captioning.sections import note, pictures, sections
from studies.paths import dataset_argument, run_command
from studies.reporting import pages, tables
from studies.reporting.claims import claims_markdown
from studies.reporting.publish import publish
from studies.reporting.results import count_systems, report_command, run_facts
from studies.runs import params
from studies.runs.files import write_atomic

TITLE = "Captioning: which encoder and decoder describe a photograph best?"


def make_tiny_runs() -> None:
    """Train and evaluate every system of the tiny dataset, as `make study DATASET=tiny` would."""
    for files in params.run_files("captioning", "tiny").values():
        evaluate(Parameters.from_files(files, ["seed=0"]))


def write(dataset: str) -> Path:
    """Write every file of the report below `reports/<dataset>/`; return the page."""
    results = read(dataset)
    frame = summary(results)
    # rounded before anything is said of them: the index reads them from the file
    tests = tables.rounded(paired_tests(results))
    ledger = claims.ledger(results, tests, claims.human_agreement(results))
    folder = paths.reports() / dataset
    tables.save(
        frame,
        tests,
        folder,
        "captioning",
        figures.NAMES,
        f"{TITLE} Dataset {dataset}.",
        note(results, frame),
        [],
        figures.test_table(tests),
    )
    write_atomic(folder / "claims" / "captioning.md", claims_markdown(ledger))
    parts = sections(results, frame, tests, ledger)
    facts = report_command("captioning", results.systems), run_facts(results.runs)
    said = lead(results, frame, claims.tally(ledger))
    return publish(folder, "captioning", TITLE, said, parts, pictures(results), facts)


def lead(results: Results, frame: pd.DataFrame, verdicts: str) -> str:
    """Return the result in two sentences."""
    best = frame[frame["metric"] == "cider"].sort_values("mean").iloc[-1]
    system = f"{best.model}@{best.variant}" if best.variant else best.model
    return (
        f"{count_systems(results.systems)}, {results.items:,} test images; highest CIDEr: "
        f"{system} with {best['mean']:.3f}. {verdicts}"
    )


def entry(dataset: str) -> dict[str, Any]:
    """Return what the index page says of this report."""
    results = read(dataset)
    frame = tables.read(paths.reports() / dataset / "captioning.csv")
    tests = pd.read_csv(paths.reports() / dataset / "captioning_tests.csv")
    ledger = claims.ledger(results, tests, claims.human_agreement(results))
    return {
        "title": TITLE,
        "href": "captioning.html",
        "lead": lead(results, frame, claims.tally(ledger)),
        "headline": pages.table(
            tables.wide(tables.plain(frame), figures.NAMES, []), tables.legend(tables.plain(frame))
        ),
    }


if __name__ == "__main__":
    run_command(lambda: write(dataset_argument(__doc__)))
