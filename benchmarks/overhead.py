"""Notebooks and report against the bare calls, on a run of five minutes or more.

The same training and scoring twice, at the same time, one thread each: by `studies.triplets.train`
and `evaluate`, and through papermill by the notebooks of `make study`, the report notebook
included. Wall time; both ends with the same metrics to the bit, or the comparison is refused.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lines import heading, line

from studies.paths import REPOSITORY

MINUTES = 5.5
SYSTEM = "flexible@long"
NOTEBOOKS = REPOSITORY / "notebooks" / "triplets"


def run(root: Path, commands: list[list[str]]) -> float:
    """Run commands one after another below a root of their own; return their wall seconds."""
    environment = {**os.environ, "STUDIES_ROOT": str(root), "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", *command], env=environment, check=True, stdout=subprocess.DEVNULL
        )
    return time.monotonic() - start


def named(epochs: int) -> list[str]:
    """Return the options of a run that is longer than the demo's."""
    return ["-pdataset=demo", f"-psystem={SYSTEM}", "-pseed=0", f"-pchanges={{epochs: {epochs}}}"]


def bare(epochs: int) -> list[list[str]]:
    """Return the plain commands."""
    return [[f"studies.triplets.{name}", *named(epochs)] for name in ("train", "evaluate")]


def notebooks(root: Path, epochs: int) -> list[list[str]]:
    """Return the commands that run the same in notebooks, and the report of it."""
    commands = [
        ["studies.runs.notebooks", str(NOTEBOOKS / f"{name}.ipynb"), str(root / f"{name}.ipynb")]
        for name in ("train", "evaluate")
    ]
    report = ["studies.reporting.publish", "demo", "triplets"]
    return [*([*command, *named(epochs)] for command in commands), report]


def result(root: Path, name: str) -> dict:
    """Return a JSON file of the run."""
    return json.loads((root / "runs/demo/triplets" / SYSTEM / "seed0" / name).read_text())


def main() -> None:
    """Print the line."""
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(2) as pool:
        roots = [Path(place, name) for name in ("short", "bare", "notebooks")]
        run(roots[0], bare(20)[:1])
        epochs = math.ceil(20 * 60 * MINUTES / result(roots[0], "provenance.json")["seconds"])
        for root in roots[1:]:  # both find the plates drawn
            root.mkdir()
            (root / "cache").symlink_to(roots[0] / "cache")
        commands = (bare(epochs), notebooks(roots[2], epochs))
        plain, ours = pool.map(run, roots[1:], commands)
        one, other = (result(root, "metrics.json") for root in roots[1:])
    if one != other:
        raise SystemExit("the two runs differ, so their times say nothing")
    heading(f"notebooks and report over the bare calls, {epochs} epochs of the demo")
    line("wall time", f"{ours:.0f} s", f"{plain:.0f} s", ours / plain, most=1.1)


if __name__ == "__main__":
    main()
