"""All evaluated runs of a dataset as numbers: the tidy table and the paired tests."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
import pandas as pd

from studies import paths, statistics, tables
from studies.differences import BOOTSTRAP
from studies.errors import StudyError
from studies.runs import LoadedRun, finished
from studies.triplets.metrics import f1_over

ORDER = ["cross_entropy", "triplet", "flexible", "hybrid"]
# I. S. Petrova, MOIT 13(2), 2025. Its split is not published, so the official one has no column.
PUBLISHED = {
    ("grocery_random", "macro_f1"): {"cross_entropy": 0.72, "triplet": 0.82, "flexible": 0.88},
    ("grocery_random_frozen", "macro_f1"): {
        "cross_entropy": 0.93,
        "triplet": 0.93,
        "flexible": 0.96,
    },
    ("grocery_random_frozen", "severe_errors"): {"cross_entropy": 4, "triplet": 6, "flexible": 1},
}
Score = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Results:
    """The runs of a dataset: `systems` maps `model[@variant]` to its runs, one a seed.

    Classes are indices into `classes`, the frame with the columns `class`, `images` (in the whole
    dataset) and `scored` (whether macro-F1 counts it).
    """

    dataset: str
    systems: dict[str, list[LoadedRun]]
    classes: pd.DataFrame

    @property
    def runs(self) -> list[LoadedRun]:
        """Return every run."""
        return [run for runs in self.systems.values() for run in runs]

    @cached_property
    def labels(self) -> np.ndarray:
        """Return (C, H) label indices of each class, top level first."""
        parts = [name.split("/") for name in self.classes["class"]]
        levels = [["/".join(path[: k + 1]) for path in parts] for k in range(len(parts[0]))]
        return np.stack([pd.factorize(np.array(level))[0] for level in levels], axis=1)

    @cached_property
    def truth(self) -> np.ndarray:
        """Return (N,) the class of each test item."""
        return self._indices(self.runs[0], "true")

    @cached_property
    def predicted(self) -> dict[str, list[np.ndarray]]:
        """Return for each system and seed (N,) predicted classes."""
        return {
            system: [self._indices(run, "predicted") for run in runs]
            for system, runs in self.systems.items()
        }

    def _indices(self, run: LoadedRun, kind: str) -> np.ndarray:
        index = {name: i for i, name in enumerate(self.classes["class"])}
        column = run.predictions[f"{kind}_level{self.labels.shape[1]}"]
        return column.map(index).to_numpy()

    @cached_property
    def scores(self) -> dict[str, Score]:
        """Return the metrics, each a function of true and predicted classes (N,), (N,)."""
        scored = np.flatnonzero(self.classes["scored"])
        labels = self.labels

        def level_accuracy(level: int) -> Score:
            return lambda t, p: float((labels[t, level] == labels[p, level]).mean())

        depth = labels.shape[1]
        return {
            "macro_f1": lambda t, p: f1_over(t, p, scored),
            "severe_errors": lambda t, p: float((labels[t, 0] != labels[p, 0]).sum()),
            "accuracy": level_accuracy(depth - 1),
            **{f"accuracy_level{k + 1}": level_accuracy(k) for k in range(depth)},
        }

    def strata(self, metric: str) -> np.ndarray | None:
        """Return what the bootstrap draws within: the class for macro-F1, nothing otherwise."""
        return self.truth if metric == "macro_f1" else None

    def seeds(self, system: str) -> list[int]:
        """Return the seeds that a system was run with."""
        return [run.params["seed"] for run in self.systems[system]]


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when they were tested on different images.
    """
    runs = finished(dataset, "triplets")
    folder = paths.runs() / dataset / "triplets"
    if not runs:
        raise StudyError(
            f"{folder}: no evaluated run; run `make study DATASET={dataset} STUDY=triplets` first"
        )
    if len({tuple(run.predictions["id"]) for run in runs}) > 1:
        raise StudyError(
            f"{folder}: runs were tested on different images; delete those of older parameters"
        )
    return of_runs(runs)


def of_runs(runs: list[LoadedRun]) -> Results:
    """Return the results of some runs of one dataset."""
    names = sorted({run.system for run in runs}, key=place)
    systems = {name: [run for run in runs if run.system == name] for name in names}
    # a class may be called 007 or NA
    classes = pd.read_csv(
        runs[0].folder / "classes.csv", dtype={"class": "str"}, keep_default_na=False
    )
    return Results(runs[0].params["dataset"], systems, classes)


def place(system: str) -> tuple[int, str]:
    """Return where a system stands in tables: the plainest method first."""
    model = system.partition("@")[0]
    return (ORDER.index(model) if model in ORDER else len(ORDER), system)


def summary(results: Results) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric."""
    rows = []
    for system, predictions in results.predicted.items():
        model, _, variant = system.partition("@")
        for metric, score in results.scores.items():
            values = [score(results.truth, predicted) for predicted in predictions]
            samples = statistics.bootstrap(
                lambda items, k, score=score, predictions=predictions: score(
                    results.truth[items], predictions[k][items]
                ),
                len(results.truth),
                len(predictions),
                results.strata(metric),
            )
            low, high = statistics.interval(samples)
            published = PUBLISHED.get((results.dataset, metric), {}) if not variant else {}
            rows.append(
                {
                    "study": "triplets",
                    "dataset": results.dataset,
                    "model": model,
                    "variant": variant,
                    "metric": metric,
                    "n": len(results.truth),
                    "mean": float(np.mean(values)),
                    "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
                    "n_seeds": len(values),
                    "ci_low": low,
                    "ci_high": high,
                    "published": published.get(model),
                }
            )
    return tables.tidy(rows)


def comparisons(results: Results) -> pd.DataFrame:
    """Return the paired tests between systems, second minus first, on the seeds both were run with.

    Macro-F1 and severe errors: bootstrap over test items (within class for macro-F1) and seeds.
    Severe errors also, seed by seed: exact McNemar on the items.
    """
    rows = []
    top = results.labels[:, 0]
    for first, second in combinations(results.systems, 2):
        common = sorted(set(results.seeds(first)) & set(results.seeds(second)))
        a, b = (
            [results.predicted[name][results.seeds(name).index(seed)] for seed in common]
            for name in (first, second)
        )
        if not common:
            continue
        for metric in ("macro_f1", "severe_errors"):
            score = results.scores[metric]

            def difference(items: np.ndarray, k: int, score=score, a=a, b=b) -> float:
                true = results.truth[items]
                return score(true, b[k][items]) - score(true, a[k][items])

            everything = np.arange(len(results.truth))
            samples = statistics.bootstrap(
                difference, len(everything), len(common), results.strata(metric)
            )
            low, high = statistics.interval(samples)
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "metric": metric,
                    "test": BOOTSTRAP,
                    "seeds": len(common),
                    "difference": np.mean([difference(everything, k) for k in range(len(common))]),
                    "ci_low": low,
                    "ci_high": high,
                    "p": statistics.bootstrap_p(samples),
                }
            )
        for k, seed in enumerate(common):
            wrong = [top[predicted[k]] != top[results.truth] for predicted in (a, b)]
            only_first = int((wrong[0] & ~wrong[1]).sum())
            only_second = int((wrong[1] & ~wrong[0]).sum())
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "metric": "severe_errors",
                    "test": f"exact McNemar, seed {seed}",
                    "seeds": 1,
                    "difference": only_second - only_first,
                    "p": statistics.mcnemar(only_first, only_second),
                }
            )
    columns = ["first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high", "p"]
    return pd.DataFrame(rows, columns=columns)
