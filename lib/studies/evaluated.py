"""The evaluated runs of a dataset, side by side."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from studies import paths
from studies.errors import StudyError
from studies.runs import LoadedRun, finished


def read(
    dataset: str, study: str, items: str, kind: Callable[[LoadedRun], object] = lambda run: None
) -> list[LoadedRun]:
    """Return the evaluated runs of a study on a dataset.

    Raises StudyError when there is none, or when runs of one kind were tested on different `items`.
    """
    runs, folder = finished(dataset, study), paths.runs() / dataset / study
    if not runs:
        raise StudyError(
            f"{folder}: no evaluated run; run `make study DATASET={dataset} STUDY={study}` first"
        )
    first: dict[object, LoadedRun] = {}
    for run in runs:
        alike = first.setdefault(kind(run), run)
        if not run.predictions["id"].equals(alike.predictions["id"]):
            raise StudyError(
                f"{folder}: runs were tested on different {items}; delete those of older parameters"
            )
    return runs


def by_system(
    runs: Sequence[LoadedRun], place: Callable[[str], tuple[object, ...]]
) -> dict[str, list[LoadedRun]]:
    """Return the runs of each system, `model[@variant]`, the systems in the order of `place`."""
    names = sorted({run.system for run in runs}, key=place)
    return {name: [run for run in runs if run.system == name] for name in names}


def curves(systems: Mapping[str, Sequence[LoadedRun]]) -> pd.DataFrame:
    """Return the curves of all runs of some systems, one at least, with their system and seed."""
    return pd.concat(
        run.curves.assign(system=system, seed=run.params["seed"])
        for system, runs in systems.items()
        for run in runs
    )


def counted(systems: Mapping[str, object]) -> str:
    """Return how many systems there are, in words."""
    return "1 system" if len(systems) == 1 else f"{len(systems)} systems"
