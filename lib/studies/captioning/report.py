"""What the report notebook shows and writes: numbers, claims and sentences from run folders."""

from functools import partial

import numpy as np
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

ARCHITECTURES = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
TRIVIAL = ["most_frequent", "nearest_neighbour"]
ORDER = [*TRIVIAL, *ARCHITECTURES, "mllm"]


class Results(shared.Results):
    """The runs of a dataset."""

    study = "captioning"
    title = "Captioning: which encoder and decoder describe a photograph best?"
    paper = figures.PAPER
    names = figures.NAMES
    ledger = figures.NAMES | judgements.NAMES
    axes = figures.AXES | judgements.AXES

    def metrics(self, run: LoadedRun) -> dict[str, Metric]:
        """Return the corpus scores of a run by id, see `captioning.metrics.resampled`.

        Where images are of several domains, those of each too: `<id>_<domain>`.
        """
        scores = {IDS[name]: metric for name, metric in resampled(run.predictions).items()}
        domains = run.predictions.get("domain", pd.Series(dtype="str"))
        for domain in sorted(set(domains)):
            inside = (domains == domain).to_numpy(float)
            for name in figures.NAMES:
                whole, apart = scores[name], f"{name}_{domain.replace('-', '_')}"
                scores[apart] = partial(within, whole, inside)
        return scores

    @property
    def encoders(self) -> dict[str, str]:
        """Return the published weights of each trained system's encoder, "" where it has none."""
        first = {name: runs[0].parameters for name, runs in self.trained.items()}
        made = {name: next(iter(one.builds_on()), one) for name, one in first.items()}
        return {k: getattr(one.network.encoder.source, "weights", "") for k, one in made.items()}


def within(metric: Metric, inside: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return a metric on those of the images drawn (R, N) that are inside, ones (N,)."""
    return metric(weights * inside)


def domains(frame: pd.DataFrame) -> tables.Shown | None:
    """Show the scores of each domain of the images apart; None where there are none."""
    names = {
        one: f"{heading}, {one.removeprefix(name + '_').replace('_', '-')}"
        for name, heading in figures.NAMES.items()
        for one in frame["metric"].unique()
        if one.startswith(f"{name}_")
    }
    return tables.scores(tables.plain(frame), names)


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
    if "" in map(results.encoders.get, ARCHITECTURES):
        facts.add("scratch")
    if people := human_judgements(results):
        systems |= judgements.measured(**people)
    else:
        facts.add("not_judged")
    return judge(claims.read(results.paper["claims"]), systems, facts)


def human_judgements(results: Results) -> dict[str, pd.DataFrame]:
    """Return what `judgements.judged` gives of experts and crowd, nothing where nobody judged.

    Scored once, and kept beside the runs.
    """
    if results.runs[0].params["source"]["name"] != "flickr8k":
        return {}
    files = {judges: results.folder / f"judgements_{judges}.parquet" for judges in judgements.FILES}
    for judges, file in files.items():
        if not file.exists():
            try:
                pairs = judgements.judged(paths.data() / "flickr8k", judges)
            except StudyError as error:
                print(f"human judgements are left out: {error}", flush=True)
                return {}
            write_atomic(file, partial(pairs.to_parquet, compression="zstd"))
    return {judges: pd.read_parquet(file) for judges, file in files.items()}


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
    encoders = results.encoders.values()
    notes = [results.paper["scratch"]] if "" in encoders else []
    if names := {name for name in encoders if name.startswith("package/")}:
        notes.append(results.paper["stand_in"].format(names=" and ".join(sorted(names))))
    return " ".join([beaten(results, frame), *notes, results.paper["note"]])


def beaten(results: Results, frame: pd.DataFrame) -> str:
    """Return in words which systems do not beat every trivial baseline in every measure."""
    baselines = [name for name in results.systems if name in TRIVIAL]
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
