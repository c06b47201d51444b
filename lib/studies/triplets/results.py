"""All evaluated runs of a dataset as numbers, and their tidy table."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from studies import paths
from studies.reporting import bootstrap, tables
from studies.reporting.results import by_system, read_runs
from studies.runs.folder import LoadedRun
from studies.triplets.metrics import Answers, Score, scores

ORDER = ["cross_entropy", "triplet", "flexible", "hybrid"]
# I. S. Petrova, MOIT 13(2), 2025. Its split is not published, so the official one has no column.
PUBLISHED = {
    ("grocery_random", "macro_f1"): {"cross_entropy": 0.72, "triplet": 0.82, "flexible": 0.88},
    ("hyperkvasir", "macro_f1"): {"cross_entropy": 0.71, "triplet": 0.76, "flexible": 0.85},
    ("grocery_random_frozen", "macro_f1"): {
        "cross_entropy": 0.93,
        "triplet": 0.93,
        "flexible": 0.96,
    },
    ("grocery_random_frozen", "severe_errors"): {"cross_entropy": 4, "triplet": 6, "flexible": 1},
}


@dataclass(frozen=True)
class Results:
    """The runs of a dataset: `systems` maps `model[@variant]` to its runs, one a seed.

    Classes are indices into `classes`, the frame with the columns `class`, `level1` to `levelH`,
    `images` (in the whole dataset) and `scored` (whether macro-F1 counts it).
    """

    dataset: str
    systems: dict[str, list[LoadedRun]]
    classes: pd.DataFrame

    @property
    def folder(self) -> Path:
        """Return the folder of the runs."""
        return paths.runs() / self.dataset / "triplets"

    def plain(self) -> "Results":
        """Return the systems that are no variant of another, or all when there is none."""
        chosen = {name: runs for name, runs in self.systems.items() if "@" not in name}
        return replace(self, systems=chosen or self.systems)

    @property
    def runs(self) -> list[LoadedRun]:
        """Return every run."""
        return [run for runs in self.systems.values() for run in runs]

    @cached_property
    def labels(self) -> np.ndarray:
        """Return (C, H) label indices of each class, top level first."""
        levels = [name for name in self.classes if name.startswith("level")]
        return np.stack([pd.factorize(self.classes[level])[0] for level in levels], axis=1)

    @cached_property
    def truth(self) -> np.ndarray:
        """Return (N,) the class of each test item."""
        return self.answers[next(iter(self.systems))][0].true

    @cached_property
    def answers(self) -> dict[str, list[Answers]]:
        """Return for each system what each seed's run said of the test items."""
        index = {name: i for i, name in enumerate(self.classes["class"])}
        clusters = [f"cluster_level{level + 1}" for level in range(self.labels.shape[1])]

        def said(predictions: pd.DataFrame) -> Answers:
            return Answers(
                predictions["true_class"].map(index).to_numpy(),
                predictions["predicted_class"].map(index).to_numpy(),
                predictions[clusters].to_numpy(),
                predictions["first_match"].to_numpy(),
            )

        return {
            system: [said(run.predictions) for run in runs] for system, runs in self.systems.items()
        }

    def unseen(self, system: str) -> np.ndarray:
        """Return the classes that a system was not trained on."""
        return np.flatnonzero(read_classes(self.systems[system][0])["unseen"])

    @cached_property
    def scores(self) -> dict[str, dict[str, Score]]:
        """Return for each system its metrics, each a function of the answers."""
        scored = np.flatnonzero(self.classes["scored"])
        return {name: scores(self.labels, scored, self.unseen(name)) for name in self.systems}

    def strata(self, metric: str) -> np.ndarray | None:
        """Return what the bootstrap draws within: the class for macro-F1, nothing otherwise."""
        return self.truth if metric.endswith("macro_f1") else None

    def seeds(self, system: str) -> list[int]:
        """Return the seeds that a system was run with."""
        return [run.params["seed"] for run in self.systems[system]]


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when they were tested on different images.
    """
    runs = read_runs(dataset, "triplets", "images")
    return of_runs(runs)


def of_runs(runs: list[LoadedRun]) -> Results:
    """Return the results of some runs of one dataset."""
    systems = by_system(runs, place)
    return Results(runs[0].params["dataset"], systems, read_classes(runs[0]))


def read_classes(run: LoadedRun) -> pd.DataFrame:
    """Return the classes of a run; a class may be called 007 or NA."""
    frame = pd.read_csv(run.folder / "classes.csv", dtype="str", keep_default_na=False)
    yes = {"True": True, "False": False}
    return frame.assign(
        images=frame["images"].astype(int),
        scored=frame["scored"].map(yes),
        unseen=frame["unseen"].map(yes),
    )


def place(system: str) -> tuple[int, int, str]:
    """Return where a system stands in tables: no variants first, of these the plainest method."""
    model, _, variant = system.partition("@")
    return (len(ORDER) if variant else 0, ORDER.index(model) if model in ORDER else -1, system)


def summary(results: Results) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric."""
    rows = []
    for system, answers in results.answers.items():
        model, _, variant = system.partition("@")
        unseen = np.isin(results.truth, results.unseen(system))
        for metric, score in results.scores[system].items():
            values = [score(one) for one in answers]
            samples = bootstrap.bootstrap(
                lambda items, k, score=score, answers=answers: score(answers[k].at(items)),
                len(results.truth),
                len(answers),
                results.strata(metric),
            )
            low, high = bootstrap.interval(unbiased(metric, samples, float(np.mean(values))))
            published = PUBLISHED.get((results.dataset, metric), {}) if not variant else {}
            rows.append(
                {
                    "study": "triplets",
                    "dataset": results.dataset,
                    "model": model,
                    "variant": variant,
                    "metric": metric,
                    "n": int(unseen.sum()) if metric.startswith("unseen") else len(unseen),
                    "mean": float(np.mean(values)),
                    "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                    "n_seeds": len(values),
                    "ci_low": low,
                    "ci_high": high,
                    "published": published.get(model),
                }
            )
    return tables.tidy(rows)


def unbiased(metric: str, samples: np.ndarray, observed: float) -> np.ndarray:
    """Return bootstrap samples (R,), moved to the observed value for NMI and ARI.

    A resample repeats images, and repeated images agree with themselves: every clustering scores
    higher on it, often so much that the interval would not hold the observed value.
    """
    if metric.startswith(("nmi", "ari")):
        return samples - samples.mean() + observed
    return samples
