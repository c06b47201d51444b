"""All evaluated runs of a dataset as numbers: their tidy table, and the tests between them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from studies import paths
from studies.reporting import bootstrap
from studies.reporting.bootstrap import TEST_COLUMNS, Resampled
from studies.reporting.results import by_system, read_runs
from studies.runs.folder import LoadedRun
from studies.runs.params import read_yaml
from studies.triplets.metrics import Answers, Score, scores

ORDER = ["cross_entropy", "triplet", "flexible", "hybrid"]
PAPER = read_yaml(Path(__file__).with_name("paper.yaml"))  # its claims and published scores
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
    def answers(self) -> dict[str, dict[int, Answers]]:
        """Return for each system, by seed, what its run said of the test items."""
        index = {name: i for i, name in enumerate(self.classes["class"])}
        clusters = [f"cluster_level{level + 1}" for level in range(self.labels.shape[1])]
        return {
            system: {
                run.params["seed"]: Answers(
                    run.predictions["true_class"].map(index).to_numpy(),
                    run.predictions["predicted_class"].map(index).to_numpy(),
                    run.predictions[clusters].to_numpy(),
                    run.predictions["first_match"].to_numpy(),
                )
                for run in runs
            }
            for system, runs in self.systems.items()
        }

    @cached_property
    def truth(self) -> np.ndarray:
        """Return (N,) the class of each test item."""
        return next(iter(next(iter(self.answers.values())).values())).true

    def unseen(self, system: str) -> np.ndarray:
        """Return the classes that a system was not trained on."""
        return np.flatnonzero(read_classes(self.systems[system][0])["unseen"])

    def scores(self, system: str) -> dict[str, Score]:
        """Return the metrics of a system, each a function of the answers."""
        return scores(self.labels, np.flatnonzero(self.classes["scored"]), self.unseen(system))

    @cached_property
    def resampled(self) -> dict[str, dict[str, Resampled]]:
        """Return for each system its metrics on the test items and on resampled ones.

        Items are drawn within their class for macro-F1, freely otherwise.
        """
        resampled: dict[str, dict[str, Resampled]] = {}
        for system, answers in self.answers.items():
            resampled[system] = {}
            unseen = int(np.isin(self.truth, self.unseen(system)).sum())
            for metric, score in self.scores(system).items():
                values = {seed: score(one) for seed, one in answers.items()}
                samples = {
                    seed: bootstrap.bootstrap(
                        lambda items, _, score=score, one=one: score(one.at(items)),
                        len(self.truth),
                        strata=self.truth if metric.endswith("macro_f1") else None,
                    )
                    for seed, one in answers.items()
                }
                items = unseen if metric.startswith("unseen") else len(self.truth)
                resampled[system][metric] = Resampled(items, values, samples)
        return resampled

    def centred(self, system: str, seeds: Iterable[int] | None = None) -> dict[str, Resampled]:
        """Return `resampled` of a system on some seeds; samples of NMI and ARI are moved.

        A resample repeats images, and repeated images agree with themselves: every clustering
        scores higher on it, often so much that the interval would not hold the observed value.
        """
        metrics = {}
        for metric, one in self.resampled[system].items():
            values = {seed: one.values[seed] for seed in seeds or one.values}
            samples = {seed: one.samples[seed] for seed in values}
            if metric.startswith(("nmi", "ari")):
                mean = bootstrap.over_seeds(list(samples.values())).mean()
                observed = float(np.mean(list(values.values())))
                samples = {seed: sample - mean + observed for seed, sample in samples.items()}
            metrics[metric] = Resampled(one.items, values, samples)
        return metrics


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when they were tested on different images.
    """
    return of_runs(read_runs(dataset, "triplets", "images"))


def of_runs(runs: list[LoadedRun]) -> Results:
    """Return the results of some runs of one dataset."""
    return Results(runs[0].params["dataset"], by_system(runs, place), read_classes(runs[0]))


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


def summary(results: Results) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric."""
    published = PAPER["published"].get(results.dataset)
    resampled = {system: results.centred(system) for system in results.systems}
    return bootstrap.summary("triplets", results.dataset, resampled, published)


def pairs(systems: Iterable[str]) -> list[tuple[str, str]]:
    """Return which systems are compared: models under the same variant, a variant with none.

    And those of `ACROSS`.
    """
    compared = []
    for first, second in combinations(systems, 2):
        (model, _, variant), (other, _, others) = first.partition("@"), second.partition("@")
        same_model = model == other and not variant
        if variant == others or same_model or {first, second} in ACROSS:
            compared.append((first, second))
    return compared


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests between systems, second minus first, on the seeds both were run with.

    Macro-F1 and severe errors: bootstrap over test items (within class for macro-F1) and seeds.
    Severe errors also, seed by seed: exact McNemar on the items.
    """
    rows = []
    for first, second in pairs(results.systems):
        pair = {"first": first, "second": second}
        one, other = results.answers[first], results.answers[second]
        common = sorted(set(one) & set(other))
        if not common:
            continue
        a, b = (results.centred(system, common) for system in (first, second))
        space = "@" not in first + second or {first, second} in ACROSS
        for metric in TESTED + (SPACE if space else ()):
            if metric in a and metric in b:
                rows.append({**pair, "metric": metric, **bootstrap.paired(a[metric], b[metric])})
        for seed in common:
            test = severe_mcnemar(results.labels, one[seed], other[seed])
            rows.append({**pair, "test": f"exact McNemar, seed {seed}", **test})
    return pd.DataFrame(rows, columns=TEST_COLUMNS)


def severe_mcnemar(labels: np.ndarray, first: Answers, second: Answers) -> dict[str, Any]:
    """Return McNemar's exact test on the severe errors of two runs, second minus first."""
    wrong = [labels[a.predicted, 0] != labels[a.true, 0] for a in (first, second)]
    only_first = int((wrong[0] & ~wrong[1]).sum())
    only_second = int((wrong[1] & ~wrong[0]).sum())
    return {
        "metric": "severe_errors",
        "seeds": 1,
        "difference": only_second - only_first,
        "p": bootstrap.mcnemar(only_first, only_second),
    }
