"""The evaluated runs of a dataset, side by side."""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from studies import paths
from studies.paths import StudyError
from studies.reporting.tables import duration
from studies.runs.folder import LoadedRun, finished
from studies.runs.params import load_parameters, run_files


def read_runs(
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


def make_tiny_runs(study: str) -> None:
    """Train and evaluate every system of the tiny dataset, as `make study DATASET=tiny` would."""
    evaluate = importlib.import_module(f"studies.{study}.evaluate").evaluate
    for system in run_files(study, "tiny"):
        evaluate(load_parameters(study, "tiny", system))


def by_system(
    runs: Sequence[LoadedRun], place: Callable[[str], tuple[object, ...]]
) -> dict[str, list[LoadedRun]]:
    """Return the runs of each system, `model[@variant]`, the systems in the order of `place`."""
    names = sorted({run.system for run in runs}, key=place)
    return {name: [run for run in runs if run.system == name] for name in names}


def all_curves(systems: Mapping[str, Sequence[LoadedRun]]) -> pd.DataFrame:
    """Return the curves of all runs of some systems, one at least, with their system and seed."""
    return pd.concat(
        run.curves.assign(system=system, seed=run.params["seed"])
        for system, runs in systems.items()
        for run in runs
    )


def count_systems(systems: Mapping[str, object]) -> str:
    """Return how many systems there are, in words."""
    return "1 system" if len(systems) == 1 else f"{len(systems)} systems"


# Where a report comes from: the command that makes it again, and what its runs were made with.


def report_command(study: str, systems: Mapping[str, Sequence[LoadedRun]]) -> str:
    """Return what to type to make a report again: a line for every set of seeds."""
    groups: dict[str, list[str]] = {}
    for system, runs in systems.items():
        seeds = ",".join(map(str, sorted(run.params["seed"] for run in runs)))
        groups.setdefault(seeds, []).append(system)
    dataset = next(iter(systems.values()))[0].params["dataset"]
    start = f"make study DATASET={dataset} STUDY={study}"
    if len(groups) == 1:
        return f"{start} SEEDS={next(iter(groups))}"
    lines = [f"{start} SEEDS={seeds} MODEL={','.join(names)}" for seeds, names in groups.items()]
    return "\n".join(lines)


def run_facts(runs: Sequence[LoadedRun], items: str = "images") -> dict[str, str]:
    """Return what the runs were made with, differences between runs side by side.

    `items` are what the parts of the dataset hold, as the provenance calls them.
    """
    known = [run.provenance for run in runs]
    dirty = any(fact["git"]["dirty"] for fact in known)

    def all_of(*path: str) -> str:
        values = []
        for fact in known:
            value: Any = fact
            for key in path:
                value = value.get(key, {})
            if value != {}:  # a baseline was not trained on any device
                values.append(str(value))
        return ", ".join(dict.fromkeys(values))

    return {
        "dataset": f"{runs[0].params['dataset']}, fingerprint {all_of('dataset_fingerprint')}",
        items: ", ".join(f"{n:,} {part}" for part, n in known[0][items].items()),
        "seeds": ", ".join(map(str, sorted({run.params["seed"] for run in runs}))),
        "commit": all_of("git", "commit") + (", with uncommitted changes" if dirty else ""),
        "software": f"Python {all_of('python')}, "
        + ", ".join(f"{name} {all_of('packages', name)}" for name in known[0]["packages"]),
        "device": all_of("device"),
        "threads": all_of("threads"),
        "platform": all_of("platform"),
    }


def cost_table(
    systems: Mapping[str, Sequence[LoadedRun]], heading: str, said: Callable[[dict[str, Any]], str]
) -> pd.DataFrame:
    """Return what each system cost: parameters, time, memory, chosen epoch; means over seeds.

    Under `heading` stands what a study says in addition of the provenance of a first seed.
    """
    rows = []
    for system, runs in systems.items():
        known = [run.provenance for run in runs]
        rows.append(
            {
                "system": system,
                "trained parameters": f"{known[0]['parameters_trained']:,}",
                "training time": duration(np.mean([fact["seconds"] for fact in known])),
                "peak memory (MiB)": f"{max(fact['peak_memory_mib'] for fact in known):,}",
                "device": known[0]["device"],
                heading: said(known[0]),
                "epoch kept": ", ".join(str(fact["best_epoch"]) for fact in known),
                "seeds": ", ".join(str(run.params["seed"]) for run in runs),
            }
        )
    return pd.DataFrame(rows)
