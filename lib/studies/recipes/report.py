"""What the report notebook shows and writes: everything from the run folders of a dataset."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from studies import paths
from studies.paths import StudyError, relative
from studies.recipes import figures, metrics, texts
from studies.recipes.evaluate import NAMES
from studies.reporting import bootstrap, publish, tables
from studies.reporting.bootstrap import Metric, Resampled, mean, value
from studies.reporting.claims import Claim, claims_markdown, tally, verdict
from studies.reporting.results import by_system, count_systems, read_runs
from studies.reporting.tables import Shown, between, in_words, show, side, signed
from studies.runs.files import write_atomic
from studies.runs.folder import LoadedRun

TITLE = "Recipes: does naming the ingredients free the writer from templates?"
ORDER = [
    *("majority", "frequencies", "two_networks", "shared_backbone"),
    *("naive", "typical", "shuffled", "supervised", "oracle"),
]


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
        return self._with("network")

    @property
    def prompts(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that write recipes."""
        return self._with("prompt")

    @property
    def perceptions(self) -> dict[str, list[LoadedRun]]:
        """Return the systems that say what is on a plate, baselines among them."""
        return self._with("network", "baseline")

    def _with(self, *parts: str) -> dict[str, list[LoadedRun]]:
        return {
            name: runs
            for name, runs in self.systems.items()
            if any(runs[0].params[part] is not None for part in parts)
        }

    @property
    def items(self) -> int:
        """Return the number of test plates."""
        return max(len(run.predictions) for run in self.runs)

    @property
    def eyes(self) -> str:
        """Return the system whose sight the prompts tell, else the best on validation data.

        "" where there is none.
        """
        for run, *_ in self.prompts.values():
            return run.provenance["perception"]
        asked = [name for name in ("two_networks", "shared_backbone") if name in self.trained]
        best = {name: self.systems[name][0].provenance["best_score"] for name in asked}
        return max(best, key=best.__getitem__, default="")

    @cached_property
    def by_plate(self) -> bool:
        """Whether test plates of one dish differ in their ingredients, or no run says."""
        for run in self.runs:
            if "present" in (frame := run.predictions):
                ingredients = frame["present"].map(tuple)
                return bool((ingredients.groupby(frame["dish"]).nunique() > 1).any())
        return True

    @cached_property
    def resampled(self) -> dict[str, dict[str, Resampled]]:
        """Return for each system its metrics by id, with their values on resampled test sets."""
        return {name: resample(runs) for name, runs in self.systems.items()}


def read(dataset: str) -> Results:
    """Return the evaluated runs of a dataset.

    Raises StudyError when there is none or when alike systems were tested on different plates.
    """
    runs = read_runs(dataset, "recipes", "plates", lambda run: run.params["prompt"] is not None)
    return Results(runs[0].params["dataset"], by_system(runs, place))


def place(system: str) -> tuple[int, bool, str]:
    """Return where a system stands in tables: a variant behind its model."""
    model, _, variant = system.partition("@")
    return (ORDER.index(model) if model in ORDER else len(ORDER), bool(variant), system)


def resample(runs: list[LoadedRun]) -> dict[str, Resampled]:
    """Return the metrics of one system by id."""
    items = len(runs[0].predictions)
    drawn, _ = bootstrap.weights(items)
    fixed = runs[0].params["baseline"] is not None
    by_seed = {run.params["seed"]: run_metrics(run) for run in runs}
    resampled = {}
    for name in next(iter(by_seed.values())):
        values = {seed: value(one[name], items) for seed, one in by_seed.items()}
        if np.isnan(list(values.values())).all():
            continue  # such as self-BLEU where all plates of a dish have the same ingredients
        samples = {seed: one[name](drawn) for seed, one in by_seed.items()}
        resampled[name] = Resampled(items, values, samples, fixed)
    if "distinct_2" in runs[0].metrics:  # a resampled set repeats plates, which it would count
        values = {run.params["seed"]: run.metrics["distinct_2"] for run in runs}
        resampled["distinct_2"] = Resampled(items, values, None, fixed)
    return resampled


def run_metrics(run: LoadedRun) -> dict[str, Metric]:
    """Return the metrics of a run as functions of how often each test plate is drawn, (R, N)."""
    frame, found = run.predictions, {}
    dish = frame["dish"].to_numpy()
    if run.params["prompt"] is not None:
        alone = [name for name in texts.SCORES if name in frame and name != "sight"]
        found = {name: mean(frame[name].to_numpy()) for name in alone}
        names = json.loads((run.folder / NAMES).read_text(encoding="utf-8"))
        recipes = [list(texts) for texts in frame["recipes"]]
        mentioned = texts.mentions(recipes, names["ingredients"], names["dishes"])
        present = np.stack(frame["present"])
        found["sight"] = lambda weights: texts.resampled_sight(mentioned, present, dish, weights)
        return found
    if "dish_probabilities" in frame:
        found |= metrics.dish_metrics(np.stack(frame["dish_probabilities"]), dish)
    if "named" in frame:
        columns = ("ingredient_probabilities", "named", "present")
        found |= metrics.ingredient_metrics(*(np.stack(frame[column]) for column in columns))
    if "variant_said" in frame:
        found["variant_accuracy"] = mean((frame["variant_said"] == frame["variant"]).to_numpy())
    return found


def summary(results: Results) -> pd.DataFrame:
    """Return the tidy frame: mean, standard deviation over seeds and interval of every metric."""
    return bootstrap.summary("recipes", results.dataset, results.resampled)


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests, second minus first, by bootstrap over test plates.

    Eyes are compared with eyes, prompts with prompts. Seeds are those both were run with; a
    baseline is compared with each seed of the other. Rounded before anything is said of them: the
    index reads them from the file.
    """
    groups = (results.perceptions, results.prompts)
    tests = bootstrap.paired_tests(
        *({system: results.resampled[system] for system in alike} for alike in groups)
    )
    return tables.rounded(tests)


# The ledger: what the paper claims, and what became of it on a dataset.

BLIND = 0.02  # sight; recipes with less for certain are called blind to the plate
CLASSIFIER = "shared_backbone@variants"
CLAIMS = {
    "R1": "a class-only prompt gives template recipes: alike within a dish, blind to the plate, "
    "also when sampled",
    "R2": "class + ingredients gives recipes grounded in the plate",
    "R3": "the ingredient head tells variants of one dish apart",
    "R4": "explicit supervision beats attention or metric learning",
}
COMPARED = {
    1: "better than the classifier of variants",
    0: "not told from the classifier of variants",
    -1: "the classifier of variants is better",
}
Row = tuple[str, str, str]  # experiment, figure, verdict


def ledger(results: Results, tests: pd.DataFrame, frame: pd.DataFrame) -> list[Claim]:
    """Return a verdict on each claim, of what `paired_tests` and `summary` returned."""
    rows = {
        "R1": templates(results, tests, frame),
        "R2": grounded(results, tests, frame),
        "R3": apart(results, tests),
        "R4": untested("no attention or metric-learning control was run"),
    }
    return [Claim(name, CLAIMS[name], *row) for name, row in rows.items()]


def untested(reason: str, experiment: str = "") -> Row:
    """Return the row of a claim without a verdict."""
    return experiment, "", f"not tested here: {reason}"


def impossible(results: Results, needed: Sequence[str]) -> Row | None:
    """Return the row of a claim that cannot be tested, None when it can be."""
    if not results.by_plate:
        return untested(
            "the ingredients are those of the dish and not of the plate, so a plate has nothing "
            "of its own to be told"
        )
    absent = [name for name in needed if name not in results.systems]
    return untested(f"no run of {' or '.join(absent)}") if absent else None


def judged(results: Results, sides: list[int], rows: Sequence[pd.Series], beside: str = "") -> str:
    """Return what became of a claim, with how many seeds, and what must be said beside it."""
    return verdict(results.dataset, sides, min(int(row.seeds) for row in rows), beside)


def templates(results: Results, tests: pd.DataFrame, frame: pd.DataFrame) -> Row:
    """Return the row of R1."""
    if row := impossible(results, ("naive", "supervised")):
        return row
    writing = results.systems["naive"][0].params["writing"]
    drawn = (
        f"sampled at temperature {writing['temperature']:g}" if writing["temperature"] else "greedy"
    )
    experiment = (
        "self-BLEU of recipes of one dish with different ingredients, naive against supervised; "
        f"sight of naive recipes (below {BLIND:g} is blind); {drawn}, {writing['recipes']} a plate"
    )
    alike = between(tests, "supervised", "naive", "self_bleu")
    if alike is None or pd.isna((sight := tables.value(frame, "naive", "sight")).ci_low):
        return untested("too few plates of a dish to compare", experiment)
    figure = (
        f"self-BLEU {in_words(alike)}; sight of naive "
        f"{signed(sight['mean'], sight.ci_low, sight.ci_high, False)}"
    )
    blind = int(sight.ci_high < BLIND) - int(sight.ci_low > BLIND)
    return experiment, figure, judged(results, [side(alike), blind], [alike])


def grounded(results: Results, tests: pd.DataFrame, frame: pd.DataFrame) -> Row:
    """Return the row of R2."""
    controls = ("naive", "shuffled", "typical")
    if row := impossible(results, ("naive", "typical", "shuffled", "supervised")):
        return row
    experiment = (
        "precision and recall of the plate's ingredients named in the recipe, against the naive "
        "prompt and the controls: ingredients of another plate of the dish, typical ingredients"
    )
    steps = {
        (control, part): between(tests, control, "supervised", f"grounding_{part}")
        for control in controls
        for part in ("precision", "recall")
    }
    if any(step is None for step in steps.values()):
        return untested("the prompts have no seed in common", experiment)
    recall = tables.value(frame, "supervised", "grounding_recall")["mean"]
    differences = "; ".join(f"{part} {in_words(step)}" for (_, part), step in steps.items())
    rows = list(steps.values())
    figure = f"recall {recall:.3f}; {differences}"
    return experiment, figure, judged(results, [side(step) for step in rows], rows)


def apart(results: Results, tests: pd.DataFrame) -> Row:
    """Return the row of R3."""
    eyes = results.eyes or "two_networks"
    if row := impossible(results, (eyes, "frequencies", CLASSIFIER)):
        return row
    experiment = (
        f"accuracy of the variant within the known dish, by the ingredients that {eyes} sees, "
        "against those expected without a look (frequencies) and a network trained to name variants"
    )
    blind = between(tests, "frequencies", eyes, "variant_accuracy")
    taught = between(tests, CLASSIFIER, eyes, "variant_accuracy")
    if blind is None or taught is None:
        return untested("the systems have no seed in common", experiment)
    # telling apart is being better than who does not look; how far it reaches is said beside
    figure = f"{in_words(blind)}; {in_words(taught)}"
    beside = COMPARED[side(taught)]
    return experiment, figure, judged(results, [side(blind)], [blind, taught], beside)


# What the report notebook shows and writes.

SIDES = ("naive", "supervised")  # prompts whose recipes stand side by side
NOTE = (
    "F1 and Jaccard by thresholds, and ECE after a temperature, both chosen on validation data; "
    "mAP and macro-F1 are means over what occurs in the test set. The epoch was chosen by the mean "
    "of top-1 and mAP on validation data. Baselines do not look at the picture."
)
BY_DISH = (
    "Ingredients are typical ones of the dish, from general knowledge, and not those of the plate."
)


def lead(results: Results, frame: pd.DataFrame, claims: Sequence[Claim]) -> str:
    """Return the result in two sentences."""
    named = tables.plain(frame[frame["metric"] == "dish_top1"]).sort_values("mean", kind="stable")
    top = ""
    if len(named):
        best = tables.systems(named).iloc[-1]
        top = f"; highest dish top-1: {best} with {named['mean'].iloc[-1]:.3f}"
    count = f"{count_systems(results.systems)}, {results.items:,} test pictures"
    return f"{count}{top}. Of the paper's {tally(claims)}."


def note(results: Results) -> str:
    """Return what a reader of the first table must know."""
    return NOTE if results.by_plate else f"{NOTE} {BY_DISH}"


def scores(frame: pd.DataFrame, systems: Collection[str]) -> tuple[pd.DataFrame, str]:
    """Return the metrics of some systems, one row a system, and how to read them."""
    rows = tables.of(frame, systems)
    names = tables.present(rows, {**figures.SEEN, **figures.WRITTEN})
    return tables.wide(rows, names, []), tables.legend(rows)


def shown(frame: pd.DataFrame, systems: Collection[str], beside: str = "") -> Shown | None:
    """Show the metrics of some systems; None without any."""
    if not systems:
        return None
    table, legend = scores(frame, systems)
    return show(table, f"{legend} {beside}".strip())


def differences(
    tests: pd.DataFrame, systems: Collection[str], metrics: Collection[str]
) -> Shown | None:
    """Show the paired tests of systems of one kind; None where there are none."""
    mine = tests[tests["first"].isin(systems)]
    return None if mine.empty else show(figures.test_table(mine, metrics))


def plates(results: Results) -> Shown | None:
    """Show plates under both prompts; where the photographs are not at hand, that."""
    runs = {name: results.prompts[name][0] for name in SIDES if name in results.prompts}
    if not runs:
        return None
    try:
        return figures.cases(runs)
    except StudyError as error:
        return publish.paragraph(f"Not shown here: {str(error).rstrip('.')}.", "note")


def write(
    results: Results, frame: pd.DataFrame, tests: pd.DataFrame, claims: Sequence[Claim]
) -> str:
    """Write tables, claims and the entry of the index; return the folder, `reports/<dataset>`."""
    folder = paths.reports() / results.dataset
    names = {**figures.SEEN, **figures.WRITTEN}
    caption, shown = f"{TITLE} Dataset {results.dataset}.", figures.test_table(tests, names)
    columns, below = tables.present(frame, names), note(results)
    tables.save(frame, tests, folder, "recipes", columns, caption, below, [], shown)
    write_atomic(folder / "claims" / "recipes.md", claims_markdown(claims))
    table, legend = scores(frame, results.prompts or results.perceptions)
    publish.write_entry(folder, "recipes", TITLE, lead(results, frame, claims), table, legend)
    return relative(folder)
