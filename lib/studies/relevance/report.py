"""What the report notebook shows and writes: everything from the run folders of a dataset."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from studies import paths
from studies.paths import relative
from studies.relevance import data, figures, metrics
from studies.relevance.params import Parameters
from studies.reporting import bootstrap, publish, tables
from studies.reporting.bootstrap import Resampled
from studies.reporting.claims import Claim, claims_markdown, tally, verdict
from studies.reporting.results import (
    by_system,
    count_systems,
    read_runs,
    report_command,
    run_facts,
)
from studies.reporting.tables import Shown, between, in_words, show, side, value
from studies.runs.files import write_atomic
from studies.runs.folder import LoadedRun

TITLE = "Relevance: can a classifier of texts find the captions that describe an image's class?"
BASELINES = ("name_match", "tfidf", "clip")
ORDER = [
    *(*BASELINES, "predictor"),
    *("downstream_all", "downstream_random", "downstream_kept", "downstream_weighted"),
]
# *Extending the ImageNet dataset for multimodal text and image learning*; of 389,598 texts
PUBLISHED = {"predictor": {"kept": 28610}}
COMPARABLE = ("imagenet_captions", "imagenet_captions_images")
TESTED = ("precision", "recall", "rejected", "auc", "accuracy", "macro_f1")

F1 = ("F1", "the filter drops texts that do not describe the class and keeps those that do")
F2 = (
    "F2",
    "weighting the loss by the coefficients makes a downstream classifier learn faster or better",
)
F3 = (
    "F3",
    "appending class sentences in training is what lets the predictor learn from noisy captions",
)
MOST = 0.5  # share from which on "drops" and "keeps" are said of most texts
NO_SEED = "not tested here: the systems have no seed in common"
ALONE = "predictor@captions_alone"
WEIGHTED = "downstream_weighted"
AGAINST = ("downstream_all", "downstream_random", "downstream_kept")
COMPARED = {1: "AUC above {}", 0: "AUC not told from {}", -1: "AUC below {}"}

NOTE = (
    "On held-out captions, each read alone. Precision: of the kept captions the share that "
    "describes its class; recall: of those that do, the share kept; rejected: of those that do "
    "not, the share dropped; AUC: the chance that one that does has the higher score. Kept counts "
    "all captions. The epoch was chosen by the share of validation captions whose image's class is "
    "the most probable."
)
UNKNOWN = "Which captions describe their class is not known here, so that only kept can be counted."


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
        """Return the systems with a network."""
        return {name: runs for name, runs in self.systems.items() if runs[0].params["training"]}

    @property
    def downstream(self) -> dict[str, list[LoadedRun]]:
        """Return the classifiers of captions."""
        return {name: runs for name, runs in self.systems.items() if classifies(runs[0])}

    @property
    def filters(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that say which captions describe their class."""
        return {name: runs for name, runs in self.systems.items() if name not in self.downstream}

    @property
    def captions(self) -> dict[str, int]:
        """Return the number of captions by part."""
        return self.runs[0].provenance["captions"]

    @cached_property
    def relevant(self) -> float | None:
        """Return the share of test captions that describe their class, None where unknown."""
        frame = self.runs[0].predictions
        known = frame.loc[frame["part"] == "test", "relevant"].dropna()
        return float(known.mean()) if len(known) else None

    @cached_property
    def collection(self) -> data.Collection:
        """Return what the predictor's first seed read; raises KeyError without a predictor."""
        run = self.systems["predictor"][0]
        return data.read(Parameters.from_run(run.params, run.folder))

    @cached_property
    def resampled(self) -> dict[str, dict[str, Resampled]]:
        """Return for each system its metrics by id, with their values on resampled test sets."""
        return {name: resample(runs) for name, runs in self.systems.items()}


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when alike systems were tested on different captions.
    """
    runs = read_runs(dataset, "relevance", "captions", classifies)
    return Results(dataset, by_system(runs, place))


def classifies(run: LoadedRun) -> bool:
    """Return whether a run is a classifier of captions, and no filter."""
    return run.params["downstream"] is not None


def place(system: str) -> tuple[bool, str, int, str]:
    """Return where a system stands in tables: filters, then classifiers, those alike together."""
    model, _, variant = system.partition("@")
    order = ORDER.index(model) if model in ORDER else len(ORDER)
    return (model.startswith("downstream_"), variant, order, system)


def resample(runs: list[LoadedRun]) -> dict[str, Resampled]:
    """Return the metrics of one system by id.

    How many captions are kept is a fact about all of them, and has no resampled values.
    """
    fixed = runs[0].params["baseline"] is not None
    by_seed = {run.params["seed"]: metrics.measured(run.predictions) for run in runs}
    by_id = {}
    for name, (items, _) in next(iter(by_seed.values())).items():
        drawn, _ = bootstrap.weights(items)
        values = {seed: bootstrap.value(one[name][1], items) for seed, one in by_seed.items()}
        samples = {seed: one[name][1](drawn) for seed, one in by_seed.items()}
        by_id[name] = Resampled(items, values, samples, fixed)
    if not classifies(runs[0]):
        kept = {run.params["seed"]: run.metrics["kept"] for run in runs}
        by_id["kept"] = Resampled(None, kept, None, fixed)
    return by_id


def summary(results: Results) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric."""
    known = PUBLISHED if results.dataset in COMPARABLE else {}
    return bootstrap.summary("relevance", results.dataset, results.resampled, known)


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests, second minus first, by bootstrap over test captions.

    Seeds are those both were run with; a baseline is compared with each seed of the other. A
    classifier is compared with those of its variant, which are trained in as many steps. What some
    resample leaves undefined, as the precision of a filter that keeps next to nothing, has no test.
    """
    groups: dict[str | None, dict[str, dict[str, Resampled]]] = {}
    for system, by_id in results.resampled.items():
        group = system.partition("@")[2] if system in results.downstream else None
        tested = {name: one for name, one in by_id.items() if name in TESTED}
        groups.setdefault(group, {})[system] = tested
    tests = bootstrap.paired_tests(*groups.values())
    return tests.dropna(subset=["ci_low"], ignore_index=True)


# The ledger: what the paper claims, and what became of it on a dataset.


def ledger(results: Results, tests: pd.DataFrame, frame: pd.DataFrame) -> list[Claim]:
    """Return a verdict on each claim, of what `paired_tests` and `summary` gave."""
    return [
        filter_claim(results, tests, frame),
        weighting_claim(results, tests),
        sentence_claim(results, tests),
    ]


def untested(results: Results, *needed: str, truth: bool = True) -> str:
    """Return why a claim about some systems is not tested, empty where it is."""
    if absent := [name for name in needed if name not in results.systems]:
        return f"not tested here: no run of {' or '.join(absent)}"
    if truth and results.relevant is None:
        return "not tested here: nobody knows which of these captions describe their class"
    return ""


def filter_claim(results: Results, tests: pd.DataFrame, frame: pd.DataFrame) -> Claim:
    """Return the row of F1: most texts of either kind are treated as claimed."""
    if reason := untested(results, "predictor"):
        return Claim(*F1, "", "", reason)
    experiment = (
        "held-out captions of known truth: whether most of those that describe their class are "
        f"kept, and most others dropped ({100 * results.relevant:.0f} % describe it)"
    )
    names = {
        "recall": "kept of those that do",
        "rejected": "dropped of those that do not",
        "precision": "precision",
    }
    rows = {metric: value(frame, "predictor", metric) for metric in names}
    figure = [f"{name} {spread(rows[metric])}" for metric, name in names.items()]
    also = []
    for baseline in BASELINES:
        row = between(tests, baseline, "predictor", "auc")
        if row is not None:
            figure.append(f"AUC {in_words(row)}")
            also.append(COMPARED[side(row)].format(baseline))
    sides = [
        int(row.ci_low > MOST) - int(row.ci_high < MOST)
        for row in (rows["recall"], rows["rejected"])
    ]
    seeds = int(rows["recall"].n_seeds)
    decided = verdict(results.dataset, sides, seeds, ", ".join(also))
    return Claim(*F1, experiment, "; ".join(figure), decided)


def spread(row: pd.Series) -> str:
    """Return a rate with its interval, of which either may be undefined."""
    if pd.isna(row["mean"]):
        return "undefined"
    if pd.isna(row.ci_low):
        return f"{row['mean']:.3f}"
    return f"{row['mean']:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"


def weighting_claim(results: Results, tests: pd.DataFrame) -> Claim:
    """Return the row of F2: better at the end, or better after a quarter of the steps."""
    if reason := untested(results, WEIGHTED, *AGAINST, truth=False):
        return Claim(*F2, "", "", reason)
    experiment = (
        "accuracy on test captions whatever the filter says of them, at equal steps and, for "
        "faster, after a quarter of them, against training on all captions, on as many by lot, and "
        "on the kept ones unweighted"
    )
    rows = {
        word: [between(tests, name + ending, WEIGHTED + ending, "accuracy") for name in AGAINST]
        for word, ending in (("better", ""), ("faster", "@quarter"))
    }
    # without all tests of the pace there is still what is better at the end
    rows = {word: group for word, group in rows.items() if all(row is not None for row in group)}
    if "better" not in rows:
        return Claim(*F2, experiment, "", NO_SEED)
    figure = "; ".join(f"{word}: {', '.join(map(in_words, group))}" for word, group in rows.items())
    # one of both will do, and it must be ahead of every control
    sides = {word: min(map(side, group)) for word, group in rows.items()}
    seeds = min(int(row.seeds) for group in rows.values() for row in group)
    also = [word for word, ahead in sides.items() if ahead > 0]
    if results.relevant is None:
        also.append("tested on the class of the image, described or not")
    decided = verdict(results.dataset, [max(sides.values())], seeds, ", ".join(also))
    return Claim(*F2, experiment, figure, decided)


def sentence_claim(results: Results, tests: pd.DataFrame) -> Claim:
    """Return the row of F3."""
    if reason := untested(results, "predictor", ALONE):
        return Claim(*F3, "", "", reason)
    experiment = (
        "AUC of the filter on held-out captions, against a predictor trained on the same captions "
        "in the same steps without a sentence behind them"
    )
    names = {"auc": "AUC", "precision": "precision", "recall": "recall"}
    rows = {metric: between(tests, ALONE, "predictor", metric) for metric in names}
    if rows["auc"] is None:
        first, second = (
            {run.params["seed"] for run in results.systems[name]} for name in ("predictor", ALONE)
        )
        few = "not tested here: too few captions of one kind"
        return Claim(*F3, experiment, "", few if first & second else NO_SEED)
    figure = "; ".join(
        f"{names[metric]} {in_words(row)}" for metric, row in rows.items() if row is not None
    )
    decided = verdict(results.dataset, [side(rows["auc"])], int(rows["auc"].seeds))
    return Claim(*F3, experiment, figure, decided)


# What the notebook shows and writes.


def lead(results: Results, frame: pd.DataFrame, claims: list[Claim]) -> str:
    """Return the result in two sentences."""
    kept = ""
    if "predictor" in results.systems:
        mean = tables.value(frame, "predictor", "kept")["mean"]
        kept = f"; the predictor keeps {mean:,.0f} of {sum(results.captions.values()):,} captions"
    systems, test = count_systems(results.systems), results.captions["test"]
    return (
        f"Dataset {results.dataset}: {systems}, {test:,} test captions{kept}. "
        f"Of the paper's {tally(claims)}."
    )


def note(results: Results) -> str:
    """Return what a reader of the table of filters must know."""
    return NOTE if results.relevant is not None else f"{NOTE} {UNKNOWN}"


def scores(
    frame: pd.DataFrame, systems: Collection[str], metrics: dict[str, str], caption: str = ""
) -> Shown | None:
    """Show the metrics that some systems have, one row a system; None where they have none.

    Without a caption it is how to read the cells.
    """
    rows = tables.of(frame, systems)
    names = tables.present(rows, metrics)
    if not names:
        return None
    rows = rows[rows["metric"].isin(names)]
    return show(tables.wide(rows, names, ["kept"]), caption or tables.legend(rows))


def differences(results: Results, tests: pd.DataFrame) -> Iterator[Shown]:
    """Show the paired tests, of filters and of classifiers."""
    for systems, shown in (
        (results.filters, figures.FILTER_AXES),
        (results.downstream, figures.DOWNSTREAM_AXES),
    ):
        rows = tests[tests["first"].isin(systems)]
        if not rows.empty:
            yield show(figures.test_table(rows, shown))


def funnel(results: Results) -> Figure | None:
    """Draw what the steps of the predictor's filter leave, first seed; None without a predictor."""
    if "predictor" not in results.systems:
        return None
    predictions = results.systems["predictor"][0].predictions
    return figures.funnel_figure(figures.funnel(results.collection, predictions))


def curves(results: Results) -> Iterator[Figure]:
    """Draw the curves of predictors and of classifiers, where there are any."""
    for systems in (results.filters, results.downstream):
        if trained := {name: systems[name] for name in systems if name in results.trained}:
            yield figures.curves(trained)


def cost(results: Results) -> Shown | None:
    """Show what each system with a network cost; None without one."""
    return show(figures.cost(results.trained)) if results.trained else None


def captions(results: Results) -> Iterator[Shown]:
    """Show captions that the predictor keeps and drops, and the share by class."""
    for run in results.systems.get("predictor", [])[:1]:
        yield show(
            figures.texts(run, results.collection),
            "Of some classes the most and the least probable held-out caption.",
        )
        yield show(
            figures.classes(run, results.collection),
            "The classes of which the largest and the smallest share of captions is kept.",
        )


def origin(results: Results) -> Shown:
    """Show the command that makes the report again, and what its runs were made with."""
    command = report_command("relevance", results.systems)
    return publish.origin(command, run_facts(results.runs, "captions"))


def write(results: Results, frame: pd.DataFrame, tests: pd.DataFrame, claims: list[Claim]) -> str:
    """Write tables, claims and the entry of the index; return the folder, `reports/<dataset>`."""
    folder = paths.reports() / results.dataset
    names = {**figures.FILTER, **figures.DOWNSTREAM}
    tables.save(
        frame,
        tests,
        folder,
        "relevance",
        tables.present(frame, names),
        f"{TITLE} Dataset {results.dataset}.",
        note(results),
        ["kept"],
        figures.test_table(tests, names),
    )
    write_atomic(folder / "claims" / "relevance.md", claims_markdown(claims))
    rows = tables.of(frame, results.filters)
    rows = rows[rows["metric"].isin(figures.FILTER)]
    table = tables.wide(rows, tables.present(rows, figures.FILTER), ["kept"])
    first = lead(results, frame, claims)
    publish.write_entry(folder, "relevance", TITLE, first, table, tables.legend(rows))
    return relative(folder)
