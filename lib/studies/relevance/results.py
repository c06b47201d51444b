"""All evaluated runs of a dataset as numbers, and their tidy table."""

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from studies.relevance import data, metrics
from studies.relevance.params import Parameters
from studies.reporting import bootstrap
from studies.reporting.bootstrap import Resampled, value
from studies.reporting.results import by_system, read_runs
from studies.runs.folder import LoadedRun

ORDER = [
    *("name_match", "tfidf", "clip", "predictor"),
    *("downstream_all", "downstream_random", "downstream_kept", "downstream_weighted"),
]
BASELINES = ("name_match", "tfidf", "clip")
# *Extending the ImageNet dataset for multimodal text and image learning*; of 389,598 texts
PUBLISHED = {"predictor": {"kept": 28610}}
COMPARABLE = ("imagenet_captions", "imagenet_captions_images")


@dataclass(frozen=True)
class Results:
    """The runs of a dataset: `systems` maps `model[@variant]` to its runs, one a seed."""

    dataset: str
    systems: dict[str, list[LoadedRun]]

    @property
    def runs(self) -> list[LoadedRun]:
        """Return every run."""
        return [run for runs in self.systems.values() for run in runs]

    @property
    def trained(self) -> dict[str, list[LoadedRun]]:
        """Return the systems with a network."""
        return {name: runs for name, runs in self.systems.items() if runs[0].params["training"]}

    @property
    def downstream(self) -> dict[str, list[LoadedRun]]:
        """Return the classifiers of captions."""
        return {name: runs for name, runs in self.systems.items() if classifies(runs[0])}

    @property
    def filters(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that say which captions describe their class."""
        return {name: runs for name, runs in self.systems.items() if name not in self.downstream}

    @property
    def test(self) -> int:
        """Return the number of test captions."""
        return self.runs[0].provenance["captions"]["test"]

    @property
    def captions(self) -> int:
        """Return the number of captions in all parts."""
        return sum(self.runs[0].provenance["captions"].values())

    @cached_property
    def relevant(self) -> float | None:
        """Return the share of test captions that describe their class, None where unknown."""
        frame = self.runs[0].predictions
        known = frame.loc[frame["part"] == "test", "relevant"].dropna()
        return float(known.mean()) if len(known) else None

    @cached_property
    def collection(self) -> data.Collection:
        """Return what the predictor's first seed read; raises KeyError without a predictor."""
        run = self.systems["predictor"][0]
        return data.read(Parameters.from_run(run.params, run.folder))

    @cached_property
    def resampled(self) -> dict[str, dict[str, Resampled]]:
        """Return for each system its metrics by id, with their values on resampled test sets."""
        return {name: resample(runs) for name, runs in self.systems.items()}


def classifies(run: LoadedRun) -> bool:
    """Return whether a run is a classifier of captions, and no filter."""
    return run.params["downstream"] is not None


def resample(runs: list[LoadedRun]) -> dict[str, Resampled]:
    """Return the metrics of one system by id.

    How many captions are kept is a fact about all of them, and has no resampled values.
    """
    fixed = runs[0].params["baseline"] is not None
    found = {run.params["seed"]: metrics.measured(run.predictions) for run in runs}
    by_id = {}
    for name, (items, _) in next(iter(found.values())).items():
        values, samples = {}, {}
        drawn, _ = bootstrap.weights(items)
        for seed, one in found.items():
            _, metric = one[name]
            values[seed] = value(metric, items)
            samples[seed] = metric(drawn)
        by_id[name] = Resampled(items, values, samples, fixed)
    if not classifies(runs[0]):
        kept = {run.params["seed"]: run.metrics["kept"] for run in runs}
        by_id["kept"] = Resampled(None, kept, None, fixed)
    return by_id


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when alike systems were tested on different captions.
    """
    runs = read_runs(dataset, "relevance", "captions", classifies)
    return Results(runs[0].params["dataset"], by_system(runs, place))


def place(system: str) -> tuple[bool, str, int, str]:
    """Return where a system stands in tables: filters, then classifiers, those alike together."""
    model, _, variant = system.partition("@")
    order = ORDER.index(model) if model in ORDER else len(ORDER)
    return (model.startswith("downstream_"), variant, order, system)


def summary(results: Results) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric."""
    known = PUBLISHED if results.dataset in COMPARABLE else {}
    return bootstrap.summary("relevance", results.dataset, results.resampled, known)
