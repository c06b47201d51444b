"""All evaluated runs of a dataset as numbers, and their tidy table."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from studies import paths
from studies.captioning.evaluate import IDS
from studies.captioning.metrics import METRICS, Scores
from studies.reporting import bootstrap
from studies.reporting.bootstrap import Resampled
from studies.reporting.results import by_system, read_runs
from studies.runs.folder import LoadedRun

BASELINES = ["most_frequent", "nearest_neighbour"]
ORDER = [*BASELINES, "resnet_lstm", "resnet_transformer", "clip_transformer"]
# A. Kochetkov, D. Khoroshenko, slides, 2025; on the official test set with pretrained encoders
PUBLISHED = {
    "resnet_lstm": {"bleu4": 0.194, "meteor": 0.216, "rouge_l": 0.461, "cider": 0.516},
    "resnet_transformer": {"bleu4": 0.229, "meteor": 0.232, "rouge_l": 0.477, "cider": 0.613},
    "clip_transformer": {"bleu4": 0.253, "meteor": 0.245, "rouge_l": 0.501, "cider": 0.684},
}
COMPARABLE = ("flickr8k",)


@dataclass(frozen=True)
class Results:
    """The runs of a dataset: `systems` maps `model[@variant]` to its runs, one a seed."""

    dataset: str
    systems: dict[str, list[LoadedRun]]

    @property
    def folder(self) -> Path:
        """Return the folder of the runs."""
        return paths.runs() / self.dataset / "captioning"

    @property
    def runs(self) -> list[LoadedRun]:
        """Return every run."""
        return [run for runs in self.systems.values() for run in runs]

    @cached_property
    def scores(self) -> dict[str, list[Scores]]:
        """Return for each system the scores of each seed's run, images in the same order."""
        return {name: [scores(run) for run in runs] for name, runs in self.systems.items()}

    @property
    def items(self) -> int:
        """Return the number of test images."""
        return len(self.scores[next(iter(self.systems))][0].by_image)

    @cached_property
    def resampled(self) -> dict[str, dict[str, Resampled]]:
        """Return for each system its metrics by id, with their values on resampled test sets."""
        return {
            name: resample(dict(zip(self.seeds(name), of, strict=True)), name not in self.trained)
            for name, of in self.scores.items()
        }

    @property
    def trained(self) -> list[str]:
        """Return the systems that are no trivial baseline."""
        return [name for name in self.systems if name.partition("@")[0] not in BASELINES]

    @property
    def scratch(self) -> list[str]:
        """Return the trained systems whose encoder began from random weights."""
        return [
            name
            for name in self.trained
            if self.systems[name][0].params["network"]["encoder"]["source"]["name"] != "backbone"
        ]

    def seeds(self, system: str) -> list[int]:
        """Return the seeds that a system was run with."""
        return [run.params["seed"] for run in self.systems[system]]


def scores(run: LoadedRun) -> Scores:
    """Return the scores that an evaluated run holds."""
    frame = run.predictions.set_index("id")
    return Scores(
        frame[list(METRICS)],
        np.array(frame["bleu_counts"].tolist()),
        np.array(frame["meteor_counts"].tolist()),
    )


def resample(by_seed: dict[int, Scores], fixed: bool) -> dict[str, Resampled]:
    """Return the metrics of one system by id, from the scores of its runs.

    The bootstrap draws images; BLEU and METEOR are computed anew from the counts of those drawn.
    """
    items = len(next(iter(by_seed.values())).by_image)
    drawn, _ = bootstrap.weights(items)
    corpus = {seed: one.corpus() for seed, one in by_seed.items()}
    samples = {seed: one.resampled(drawn) for seed, one in by_seed.items()}
    return {
        IDS[metric]: Resampled(
            items,
            {seed: one[metric] for seed, one in corpus.items()},
            {seed: one[place] for seed, one in samples.items()},
            fixed,
        )
        for place, metric in enumerate(METRICS)
    }


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when they were tested on different images.
    """
    runs = read_runs(dataset, "captioning", "images")
    return Results(runs[0].params["dataset"], by_system(runs, place))


def place(system: str) -> tuple[int, int, str]:
    """Return where a system stands in tables: baselines first, variants last."""
    model, _, variant = system.partition("@")
    return (bool(variant), ORDER.index(model) if model in ORDER else len(ORDER), system)


def summary(results: Results) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric."""
    known = PUBLISHED if results.dataset in COMPARABLE else {}
    return bootstrap.summary("captioning", results.dataset, results.resampled, known)
