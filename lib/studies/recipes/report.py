"""Tables, figures, claims and pages of a dataset: everything from its run folders alone."""

from pathlib import Path
from typing import Any

import pandas as pd

from studies import paths
from studies.paths import dataset_argument, run_command
from studies.recipes import claims, figures
from studies.recipes.comparisons import paired_tests
from studies.recipes.evaluate import evaluate
from studies.recipes.params import Parameters
from studies.recipes.results import Results, read, summary
from studies.recipes.sections import note, pictures, sections, seen_table, written_table
from studies.reporting import pages, tables
from studies.reporting.claims import claims_markdown
from studies.reporting.publish import publish
from studies.reporting.results import count_systems, report_command, run_facts
from studies.runs import params
from studies.runs.files import write_atomic

TITLE = "Recipes: does naming the ingredients free the writer from templates?"


def make_tiny_runs() -> None:
    """Train and evaluate every system of the tiny dataset, as `make study DATASET=tiny` would."""
    for files in params.run_files("recipes", "tiny").values():
        evaluate(Parameters.from_files(files, ["seed=0"]))


def write(dataset: str) -> Path:
    """Write every file of the report below `reports/<dataset>/`; return the page."""
    results = read(dataset)
    frame = summary(results)
    # rounded before anything is said of them: the index reads them from the file
    tests = tables.rounded(paired_tests(results))
    ledger = claims.ledger(results, tests, frame)
    folder = paths.reports() / dataset
    names = {**figures.SEEN, **figures.WRITTEN}
    tables.save(
        frame,
        tests,
        folder,
        "recipes",
        tables.present(frame, names),
        f"{TITLE} Dataset {dataset}.",
        note(results),
        [],
        figures.test_table(tests, names),
    )
    write_atomic(folder / "claims" / "recipes.md", claims_markdown(ledger))
    parts = sections(results, frame, tests, ledger)
    facts = report_command("recipes", results.systems), run_facts(results.runs)
    said = lead(results, frame, claims.tally(ledger))
    return publish(folder, "recipes", TITLE, said, parts, pictures(results), facts)


def lead(results: Results, frame: pd.DataFrame, verdicts: str) -> str:
    """Return the result in two sentences."""
    named = tables.plain(frame[frame["metric"] == "dish_top1"]).sort_values("mean", kind="stable")
    top = ""
    if len(named):
        best = tables.systems(named).iloc[-1]
        top = f"; highest dish top-1: {best} with {named['mean'].iloc[-1]:.3f}"
    return f"{count_systems(results.systems)}, {results.items:,} test pictures{top}. {verdicts}"


def entry(dataset: str) -> dict[str, Any]:
    """Return what the index page says of this report."""
    results = read(dataset)
    frame = tables.read(paths.reports() / dataset / "recipes.csv")
    tests = pd.read_csv(paths.reports() / dataset / "recipes_tests.csv")
    ledger = claims.ledger(results, tests, frame)
    shown = written_table if results.prompts else seen_table
    mine = tables.of(frame, results.prompts or results.perceptions)
    return {
        "title": TITLE,
        "href": "recipes.html",
        "lead": lead(results, frame, claims.tally(ledger)),
        "headline": pages.table(shown(results, frame), tables.legend(mine)),
    }


if __name__ == "__main__":
    run_command(lambda: write(dataset_argument(__doc__)))
