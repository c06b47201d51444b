"""All evaluated runs of a dataset as numbers: their metrics, and which of them are compared."""

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from studies.reporting import results
from studies.reporting.inference import Metric
from studies.reporting.results import by_system, read_runs
from studies.runs.folder import LoadedRun
from studies.runs.params import read_yaml
from studies.triplets.metrics import scores

ORDER = ["cross_entropy", "triplet", "flexible", "hybrid"]
PAPER = read_yaml(Path(__file__).with_name("paper.yaml"))  # its claims and published scores


ACROSS = [  # compared, though their variants differ
    ("triplet@two_stages", "triplet@hardest"),
    ("triplet", "flexible@one_stage"),
    ("flexible", "triplet@two_stages"),
    ("flexible", "cross_entropy@untrained"),
    ("flexible@held_out", "cross_entropy@held_out_untrained"),
]


class Results(results.Results):
    """The runs of a dataset.

    Classes are indices into `classes`, the frame with the columns `class`, `level1` to `levelH`,
    `images` (in the whole dataset) and `scored` (whether macro-F1 counts it).
    """

    study: ClassVar[str] = "triplets"

    @cached_property
    def classes(self) -> pd.DataFrame:
        """Return the classes, the same of all runs but for `unseen`."""
        return read_classes(self.runs[0])

    @cached_property
    def labels(self) -> np.ndarray:
        """Return (C, H) label indices of each class, top level first."""
        levels = [name for name in self.classes if name.startswith("level")]
        return np.stack([pd.factorize(self.classes[level])[0] for level in levels], axis=1)

    def codes(self, run: LoadedRun, column: str) -> np.ndarray:
        """Return (N,) the class of each test item in a column of a run's predictions."""
        index = {name: i for i, name in enumerate(self.classes["class"])}
        return run.predictions[column].map(index).to_numpy()

    @cached_property
    def truth(self) -> np.ndarray:
        """Return (N,) the class of each test item."""
        return self.codes(self.runs[0], "true_class")

    def metrics(self, run: LoadedRun) -> dict[str, Metric]:
        """Return the metrics of a run by id, each a function of weights."""
        predictions = run.predictions
        clusters = [f"cluster_level{level + 1}" for level in range(self.labels.shape[1])]
        return scores(
            self.labels,
            np.flatnonzero(self.classes["scored"]),
            np.flatnonzero(read_classes(run)["unseen"]),
            self.truth,
            self.codes(run, "predicted_class"),
            predictions[clusters].to_numpy(),
            predictions["first_match"].to_numpy(),
        )

    def tidy(self) -> pd.DataFrame:
        """Return the tidy frame, with what the paper published beside it."""
        return self.summary(PAPER["published"].get(self.dataset))

    def pairs(self) -> list[tuple[str, str]]:
        """Return which systems are compared."""
        across = [pair for pair in ACROSS if set(pair) <= set(self.systems)]
        return [*super().pairs(), *across]


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when they were tested on different images.
    """
    return of_runs(read_runs(dataset, "triplets", "images"))


def of_runs(runs: list[LoadedRun]) -> Results:
    """Return the results of some runs of one dataset."""
    return Results(runs[0].params["dataset"], by_system(runs, place))


def read_classes(run: LoadedRun) -> pd.DataFrame:
    """Return the classes of a run; a class may be called 007 or NA."""
    frame = pd.read_csv(run.folder / "classes.csv", dtype="str", keep_default_na=False)
    frame["images"] = frame["images"].astype(int)
    for flag in ("scored", "unseen"):
        frame[flag] = frame[flag] == "True"
    return frame


def place(system: str) -> tuple[int, int, str]:
    """Return where a system stands in tables: no variants first, of these the plainest method."""
    model, _, variant = system.partition("@")
    return (len(ORDER) if variant else 0, ORDER.index(model) if model in ORDER else -1, system)
