"""`reports/<dataset>/index.html`: the page over the reports of all studies on a dataset."""

import importlib
from pathlib import Path

from studies import paths
from studies.paths import StudyError, dataset_argument, run_command
from studies.reporting import pages
from studies.runs.files import write_atomic

STUDIES = ("captioning", "triplets", "recipes", "relevance")


def write(dataset: str) -> Path:
    """Write the index over the reports that are there; return it.

    Raises StudyError when there is no report.
    """
    folder = paths.reports() / dataset
    present = [study for study in STUDIES if (folder / f"{study}.html").exists()]
    if not present:
        raise StudyError(f"{folder}: no report; run `make study DATASET={dataset}` first")
    entries = [importlib.import_module(f"studies.{s}.report").entry(dataset) for s in present]
    title = f"Studies of image understanding: {dataset}"
    lead = "Published comparisons, run again; a verdict on every claim stands in each report."
    write_atomic(folder / "index.html", pages.index(title, entries, lead))
    return folder / "index.html"


if __name__ == "__main__":
    run_command(lambda: write(dataset_argument(__doc__)))
