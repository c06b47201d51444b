"""All evaluated runs of a dataset as numbers: the tidy table and the paired tests."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from studies import paths, statistics, tables
from studies.differences import BOOTSTRAP
from studies.errors import StudyError
from studies.runs import LoadedRun, finished
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
TESTED = ("macro_f1", "severe_errors", "unseen_macro_f1")  # metrics with paired tests
SPACE = ("nmi", "nmi_level1")  # tested between systems without variant, and across
ACROSS = [
    {"triplet@hardest", "triplet@two_stages"},
    {"triplet", "flexible@one_stage"},
    {"triplet@two_stages", "flexible"},
    {"cross_entropy@untrained", "flexible"},
    {"cross_entropy@held_out_untrained", "flexible@held_out"},
]


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
        return {
            system: [
                Answers(
                    run.predictions["true_class"].map(index).to_numpy(),
                    run.predictions["predicted_class"].map(index).to_numpy(),
                    run.predictions[clusters].to_numpy(),
                    run.predictions["first_match"].to_numpy(),
                )
                for run in runs
            ]
            for system, runs in self.systems.items()
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
            samples = statistics.bootstrap(
                lambda items, k, score=score, answers=answers: score(answers[k].at(items)),
                len(results.truth),
                len(answers),
                results.strata(metric),
            )
            low, high = statistics.interval(unbiased(metric, samples, float(np.mean(values))))
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


def pairs(systems: Iterable[str]) -> list[tuple[str, str]]:
    """Return which systems are compared: models under the same variant, a variant with none.

    And those of `ACROSS`.
    """
    found = []
    for first, second in combinations(systems, 2):
        (model, _, variant), (other, _, others) = first.partition("@"), second.partition("@")
        same_model = model == other and not variant
        if variant == others or same_model or {first, second} in ACROSS:
            found.append((first, second))
    return found


def comparisons(results: Results) -> pd.DataFrame:
    """Return the paired tests between systems, second minus first, on the seeds both were run with.

    Macro-F1 and severe errors: bootstrap over test items (within class for macro-F1) and seeds.
    Severe errors also, seed by seed: exact McNemar on the items.
    """
    rows = []
    for first, second in pairs(results.systems):
        common = sorted(set(results.seeds(first)) & set(results.seeds(second)))
        if not common:
            continue
        a, b = (
            [results.answers[name][results.seeds(name).index(seed)] for seed in common]
            for name in (first, second)
        )
        pair = {"first": first, "second": second}
        rows += [
            {**pair, **bootstrapped(results, metric, results.scores[first][metric], a, b)}
            for metric in TESTED
            + (SPACE if "@" not in first + second or {first, second} in ACROSS else ())
            if metric in results.scores[first] and metric in results.scores[second]
        ]
        for k, seed in enumerate(common):
            test = f"exact McNemar, seed {seed}"
            rows.append({**pair, "test": test, **severe_mcnemar(results.labels, a[k], b[k])})
    columns = ["first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high", "p"]
    return pd.DataFrame(rows, columns=columns)


def bootstrapped(
    results: Results, metric: str, score: Score, first: list[Answers], second: list[Answers]
) -> dict[str, Any]:
    """Return the paired bootstrap of a difference, second minus first, seed by seed."""

    def difference(items: np.ndarray, k: int) -> float:
        return score(second[k].at(items)) - score(first[k].at(items))

    everything = np.arange(len(results.truth))
    samples = statistics.bootstrap(difference, len(everything), len(first), results.strata(metric))
    observed = float(np.mean([difference(everything, k) for k in range(len(first))]))
    samples = unbiased(metric, samples, observed)
    low, high = statistics.interval(samples)
    return {
        "metric": metric,
        "test": BOOTSTRAP,
        "seeds": len(first),
        "difference": observed,
        "ci_low": low,
        "ci_high": high,
        "p": statistics.bootstrap_p(samples),
    }


def severe_mcnemar(labels: np.ndarray, first: Answers, second: Answers) -> dict[str, Any]:
    """Return McNemar's exact test on the severe errors of two runs, second minus first."""
    wrong = [labels[a.predicted, 0] != labels[a.true, 0] for a in (first, second)]
    only_first = int((wrong[0] & ~wrong[1]).sum())
    only_second = int((wrong[1] & ~wrong[0]).sum())
    return {
        "metric": "severe_errors",
        "seeds": 1,
        "difference": only_second - only_first,
        "p": statistics.mcnemar(only_first, only_second),
    }
