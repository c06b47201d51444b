"""What the report notebook shows and writes: numbers, claims and sentences from run folders."""

from pathlib import Path

import pandas as pd

from studies import paths
from studies.captioning import figures, judgements
from studies.captioning.evaluate import IDS
from studies.captioning.metrics import resampled
from studies.paths import StudyError
from studies.reporting import claims, tables
from studies.reporting import results as shared
from studies.reporting.bootstrap import Metric
from studies.reporting.claims import Outcome, judge, tally
from studies.runs.files import write_atomic
from studies.runs.folder import LoadedRun
from studies.runs.params import read_yaml

ARCHITECTURES = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
ORDER = ["most_frequent", "nearest_neighbour", *ARCHITECTURES]


class Results(shared.Results):
    """The runs of a dataset."""

    study = "captioning"
    title = "Captioning: which encoder and decoder describe a photograph best?"
    paper = read_yaml(Path(__file__).with_name("claims.yaml"))
    names = figures.NAMES
    ledger = figures.NAMES | judgements.NAMES
    axes = figures.AXES | judgements.AXES

    def metrics(self, run: LoadedRun) -> dict[str, Metric]:
        """Return the corpus scores of a run by id, see `captioning.metrics.resampled`."""
        return {IDS[name]: metric for name, metric in resampled(run.predictions).items()}

    @property
    def scratch(self) -> list[str]:
        """Return the trained systems whose encoder began from random weights."""
        encoders = {
            name: run.params["network"]["encoder"] for name, (run, *_) in self.trained.items()
        }
        return [name for name, one in encoders.items() if one["source"]["name"] != "backbone"]


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when they were tested on different images.
    """
    runs = shared.read_runs(dataset, "captioning", "images")
    return Results(runs[0].params["dataset"], shared.by_system(runs, place))


def place(system: str) -> tuple[int, int, str]:
    """Return where a system stands in tables: baselines first, variants last."""
    model, _, variant = system.partition("@")
    return (bool(variant), ORDER.index(model) if model in ORDER else len(ORDER), system)


# The ledger: what the slides and the literature claim, and what became of it on a dataset.


def judged(results: Results) -> list[Outcome]:
    """Return what became of C1 and C2."""
    facts, systems = set(), dict(results.measured)
    if set(ARCHITECTURES) & set(results.scratch):
        facts.add("scratch")
    if (experts := human_judgements(results)) is None:
        facts.add("not_judged")
    else:
        systems |= judgements.measured(expert=experts)
    return judge(claims.read(results.paper["claims"]), systems, facts)


def human_judgements(results: Results) -> pd.DataFrame | None:
    """Return what `judgements.judged` gives of the experts, None where there are no judgements.

    Scored once, and kept beside the runs.
    """
    if results.runs[0].params["source"]["name"] != "flickr8k":
        return None
    file = results.folder / "judgements.parquet"
    if not file.exists():
        try:
            pairs = judgements.judged(paths.data() / "flickr8k", "expert")
        except StudyError as error:
            print(f"human judgements are left out: {error}", flush=True)
            return None
        write_atomic(file, lambda path: pairs.to_parquet(path, compression="zstd"))
    return pd.read_parquet(file)


# Sentences of the page.


def lead(results: Results, frame: pd.DataFrame, outcomes: list[Outcome]) -> str:
    """Return the result in two sentences."""
    cider = frame[frame["metric"] == "cider"].assign(system=tables.systems)
    best = cider.sort_values("mean").iloc[-1]
    systems = shared.count_systems(results.systems)
    return (
        f"Dataset {results.dataset}: {systems}, {best.n:,} test images; "
        f"highest CIDEr: {best.system} with {best['mean']:.3f}. "
        f"Of {tally(outcomes, results.dataset)}."
    )


def note(results: Results, frame: pd.DataFrame) -> str:
    """Return what a reader of the main table must know."""
    notes = [results.paper["scratch"]] if results.scratch else []
    return " ".join([beaten(results, frame), *notes, results.paper["note"]])


def beaten(results: Results, frame: pd.DataFrame) -> str:
    """Return in words which systems do not beat every trivial baseline in every measure."""
    baselines = [name for name in results.systems if name not in results.trained]
    if not baselines:
        return "No trivial baseline was run."
    if not results.trained:
        return "Nothing but trivial baselines was run."
    means = frame.assign(system=tables.systems).pivot_table("mean", "system", "metric")
    means = means[list(figures.NAMES)].rename(columns=figures.NAMES)
    poor = means.loc[list(results.trained)] <= means.loc[baselines].max()
    marked = [f"{name} ({', '.join(row.index[row])})" for name, row in poor.iterrows() if row.any()]
    if not marked:
        return f"Every trained system beats {' and '.join(baselines)} in all four measures."
    return f"Not better than the best trivial baseline: {'; '.join(marked)}."
