"""What the report notebook shows and writes: numbers, claims and sentences from run folders."""

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import pandas as pd
from matplotlib.figure import Figure

from studies import paths
from studies.captioning import figures, judgements
from studies.captioning.evaluate import IDS
from studies.captioning.metrics import resampled
from studies.paths import StudyError
from studies.reporting import results as shared
from studies.reporting import tables
from studies.reporting.bootstrap import Metric
from studies.reporting.claims import CIDER, Claim, Outcome, forest, judge, order, tally
from studies.reporting.tables import Shown, show
from studies.runs.files import write_atomic
from studies.runs.folder import LoadedRun
from studies.runs.params import read_yaml

TITLE = "Captioning: which encoder and decoder describe a photograph best?"
ARCHITECTURES = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
ORDER = ["most_frequent", "nearest_neighbour", *ARCHITECTURES]
PAPER = read_yaml(Path(__file__).with_name("paper.yaml"))  # its scores, and what to know of them
COMPARABLE = ("flickr8k",)


class Results(shared.Results):
    """The runs of a dataset."""

    study: ClassVar[str] = "captioning"

    def metrics(self, run: LoadedRun) -> dict[str, Metric]:
        """Return the corpus scores of a run by id, see `captioning.metrics.resampled`."""
        return {IDS[name]: metric for name, metric in resampled(run.predictions).items()}

    def tidy(self) -> pd.DataFrame:
        """Return the tidy frame, with what the slides published beside it."""
        return self.summary(PAPER["published"] if self.dataset in COMPARABLE else None)

    @property
    def trained(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that are no trivial baseline."""
        return {name: runs for name, runs in self.systems.items() if runs[0].trained}

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

CLAIMS = (
    Claim(
        "C1",
        "CLIP+Transformer > ResNet+Transformer > ResNet+LSTM, with pretrained encoders",
        order("cider", *reversed(ARCHITECTURES), margin=CIDER),
    ),
    judgements.CLAIM,
)
LEDGER_NAMES = {**figures.NAMES, **judgements.NAMES}


def judged(results: Results) -> list[Outcome]:
    """Return what became of C1 and C2."""
    untested = {}
    if set(ARCHITECTURES) & set(results.scratch):
        untested["C1"] = "the encoders are from scratch; their order is among the differences"
    experts = human_judgements(results)
    if experts is None:
        untested["C2"] = "nobody has judged captions of this data"
        return judge(CLAIMS, results.measured, untested)
    return judge(CLAIMS, {**results.measured, **judgements.measured(expert=experts)}, untested)


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


def forests(outcomes: Iterable[Outcome]) -> list[Figure]:
    """Draw each claim that was tested, the differences that it rests on."""
    names = {**figures.AXES, **judgements.AXES}
    return [drawn for one in outcomes if (drawn := forest(one, names)) is not None]


# Sentences and tables of the page, and its files.


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
    notes = [PAPER["scratch"]] if results.scratch else []
    return " ".join([beaten(results, frame), *notes, PAPER["note"]])


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


def headline(frame: pd.DataFrame) -> Shown:
    """Show the main table: one row a system that is no variant, or all when there is none."""
    rows = tables.plain(frame)
    return show(tables.wide(rows, figures.NAMES, []), tables.legend(rows))


def write(
    results: Results, frame: pd.DataFrame, tests: pd.DataFrame, outcomes: list[Outcome]
) -> str:
    """Write tables, ledger and the entry of the index; return the folder, `reports/<dataset>`."""
    words = TITLE, lead(results, frame, outcomes), note(results, frame)
    names = {"names": figures.NAMES, "ledger_names": LEDGER_NAMES}
    return shared.write_report(results, frame, tests, outcomes, *words, **names)
