"""What the report notebook shows and writes: numbers, claims and sentences from run folders."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from studies import paths
from studies.captioning import figures, judgements
from studies.captioning.evaluate import IDS
from studies.captioning.metrics import METRICS, Scores
from studies.paths import StudyError, relative
from studies.reporting import bootstrap, publish, tables
from studies.reporting.bootstrap import Resampled
from studies.reporting.claims import Claim, claims_markdown, tally, verdict, word
from studies.reporting.results import (
    by_system,
    count_systems,
    read_runs,
    report_command,
    run_facts,
)
from studies.reporting.tables import Shown, between, in_words, show, side, signed
from studies.runs.files import write_atomic
from studies.runs.folder import LoadedRun

TITLE = "Captioning: which encoder and decoder describe a photograph best?"
BASELINES = ["most_frequent", "nearest_neighbour"]
ARCHITECTURES = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
ORDER = [*BASELINES, *ARCHITECTURES]
# A. Kochetkov, D. Khoroshenko, slides, 2025; on the official test set with pretrained encoders
PUBLISHED = {
    "resnet_lstm": {"bleu4": 0.194, "meteor": 0.216, "rouge_l": 0.461, "cider": 0.516},
    "resnet_transformer": {"bleu4": 0.229, "meteor": 0.232, "rouge_l": 0.477, "cider": 0.613},
    "clip_transformer": {"bleu4": 0.253, "meteor": 0.245, "rouge_l": 0.501, "cider": 0.684},
}
COMPARABLE = ("flickr8k",)
SCRATCH = (
    "The encoders are narrow and trained from random weights; a name says which published system "
    "has the same parts. "
)
NOTE = (
    "BLEU and METEOR are computed over all captions together, ROUGE-L and CIDEr are means over "
    "images; CIDEr weighs words by the test set. The epoch was chosen by validation "
    "loss; captions were found by beam search."
)


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
        """Return the systems that are no trivial baseline."""
        return {
            name: runs
            for name, runs in self.systems.items()
            if name.partition("@")[0] not in BASELINES
        }

    @property
    def scratch(self) -> list[str]:
        """Return the trained systems whose encoder began from random weights."""
        sources = {
            name: run.params["network"]["encoder"]["source"]["name"]
            for name, (run, *_) in self.trained.items()
        }
        return [name for name, source in sources.items() if source != "backbone"]

    @cached_property
    def resampled(self) -> dict[str, dict[str, Resampled]]:
        """Return for each system its metrics by id, with their values on resampled test sets."""
        return {
            name: resample(runs, fixed=name not in self.trained)
            for name, runs in self.systems.items()
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


def resample(runs: list[LoadedRun], fixed: bool) -> dict[str, Resampled]:
    """Return the metrics of one system by id, from its runs; `fixed` where chance has no part.

    The bootstrap draws images; BLEU and METEOR are computed anew from the counts of those drawn.
    """
    values, samples = {}, {}
    items = len(runs[0].predictions)
    for run in runs:
        frame = run.predictions
        counts = [np.array(frame[name].tolist()) for name in ("bleu_counts", "meteor_counts")]
        scores, seed = Scores(frame[list(METRICS)], *counts), run.params["seed"]
        values[seed] = scores.corpus()
        samples[seed] = dict(
            zip(METRICS, scores.resampled(bootstrap.weights(items)[0]), strict=True)
        )
    return {
        IDS[metric]: Resampled(
            items,
            {seed: of[metric] for seed, of in values.items()},
            {seed: of[metric] for seed, of in samples.items()},
            fixed,
        )
        for metric in METRICS
    }


def summary(results: Results) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric."""
    known = PUBLISHED if results.dataset in COMPARABLE else {}
    return bootstrap.summary("captioning", results.dataset, results.resampled, known)


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests between systems, second minus first, by bootstrap over images.

    Seeds are those both were run with; a baseline, which has no chance in it, is compared with each
    seed of the other.
    """
    chosen = {
        system: {metric: metrics[metric] for metric in figures.NAMES}
        for system, metrics in results.resampled.items()
    }
    return bootstrap.paired_tests(chosen)


# The ledger: what the slides and the literature claim, and what became of it on a dataset.


def ledger(results: Results, tests: pd.DataFrame) -> list[Claim]:
    """Return a verdict on each claim, from `paired_tests` and the judgements of people."""
    return [architectures(results, tests), metrics(human_agreement(results))]


def architectures(results: Results, tests: pd.DataFrame) -> Claim:
    """Return the row of C1; from scratch it is another question, answered beside."""
    figure = ""
    lstm, transformer, clip = ARCHITECTURES
    steps = [between(tests, *step, "cider") for step in ((transformer, clip), (lstm, transformer))]
    if absent := [name for name in ARCHITECTURES if name not in results.systems]:
        outcome = f"not tested here: no run of {' or '.join(absent)} on {results.dataset}"
    elif any(row is None for row in steps):
        outcome = "not tested here: the systems have no seed in common"
    else:
        figure = "; ".join(map(in_words, steps))
        seeds = min(int(row.seeds) for row in steps)
        outcome = verdict(results.dataset, [side(row) for row in steps], seeds)
        if set(ARCHITECTURES) & set(results.scratch):
            outcome = f"not tested here: the encoders are from scratch, where the order {outcome}"
    return Claim(
        "C1",
        "CLIP+Transformer > ResNet+Transformer > ResNet+LSTM, with pretrained encoders",
        "CIDEr of the three systems on the same test images",
        figure,
        outcome,
    )


def metrics(agreement: pd.DataFrame | None) -> Claim:
    """Return the row of C2 from `judgements.agreement`, None where nobody has judged."""
    figure, outcome = "", "not tested here: nobody has judged captions of this data"
    if agreement is not None:
        experts = agreement[agreement["judgements"] == "expert"]
        taus, steps = experts[experts["against"] == ""], experts[experts["against"] != ""]
        values = ", ".join(
            f"{row.metric} {row.tau:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"
            for row in taus.itertuples()
        )
        differences = "; ".join(
            f"{row.metric} − {row.against} {signed(row.tau, row.ci_low, row.ci_high, False)}"
            for row in steps.itertuples()
        )
        figure = f"{values}; {differences}"
        pairs = int(experts["pairs"].iloc[0])
        outcome = f"{word([side(row) for row in steps.itertuples()])} ({pairs:,} pairs)"
    return Claim(
        "C2",
        "CIDEr agrees best with human judgement, METEOR better than BLEU",
        "Kendall's τ_c between each metric and three experts, one by one, on Flickr8k's pairs of "
        "image and caption; intervals by resampling images",
        figure,
        outcome,
    )


def human_agreement(results: Results) -> pd.DataFrame | None:
    """Return how the metrics agree with the experts, None where there are no judgements.

    Computed once, and kept beside the runs.
    """
    if results.runs[0].params["source"]["name"] != "flickr8k":
        return None
    file = paths.runs() / results.dataset / "captioning" / "judgements.csv"
    if not file.exists():
        try:
            judged = judgements.judged(paths.data() / "flickr8k", "expert")
        except StudyError as error:
            print(f"human judgements are left out: {error}", flush=True)
            return None
        write_atomic(file, judgements.agreement(judged).to_csv(index=False))
    return pd.read_csv(file, keep_default_na=False, na_values={"p": [""]})


# Sentences and tables of the page, and its files.


def lead(results: Results, frame: pd.DataFrame, claims: list[Claim]) -> str:
    """Return the result in two sentences."""
    cider = frame[frame["metric"] == "cider"].assign(system=tables.systems)
    best = cider.sort_values("mean").iloc[-1]
    return (
        f"Dataset {results.dataset}: {count_systems(results.systems)}, {best.n:,} test images; "
        f"highest CIDEr: {best.system} with {best['mean']:.3f}. Of {tally(claims)}."
    )


def note(results: Results, frame: pd.DataFrame) -> str:
    """Return what a reader of the main table must know."""
    scratch = SCRATCH if results.scratch else ""
    return f"{beaten(results, frame)} {scratch}{NOTE}"


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


def origin(results: Results) -> Shown:
    """Show the command that makes the report again, and what its runs were made with."""
    return publish.origin(report_command("captioning", results.systems), run_facts(results.runs))


def write(results: Results, frame: pd.DataFrame, tests: pd.DataFrame, claims: list[Claim]) -> str:
    """Write tables, claims and the entry of the index; return the folder, `reports/<dataset>`."""
    folder = paths.reports() / results.dataset
    tables.save(
        frame,
        tests,
        folder,
        "captioning",
        figures.NAMES,
        f"{TITLE} Dataset {results.dataset}.",
        note(results, frame),
        [],
        figures.test_table(tests),
    )
    write_atomic(folder / "claims" / "captioning.md", claims_markdown(claims))
    rows = tables.plain(frame)
    table, legend = tables.wide(rows, figures.NAMES, []), tables.legend(rows)
    publish.write_entry(folder, "captioning", TITLE, lead(results, frame, claims), table, legend)
    return relative(folder)
