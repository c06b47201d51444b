"""The parts of the report's page, each made from the results."""

import pandas as pd
from markupsafe import Markup

from studies.paths import StudyError
from studies.recipes import figures
from studies.recipes.report import Results
from studies.reporting import page_parts, pages, tables
from studies.reporting.claims import Claim

SIDES = ("naive", "supervised")  # prompts whose recipes stand side by side
NOTE = (
    "F1 and Jaccard by thresholds, and ECE after a temperature, both chosen on validation data; "
    "mAP and macro-F1 are means over what occurs in the test set. The epoch was chosen by the mean "
    "of top-1 and mAP on validation data. Baselines do not look at the picture."
)
BY_DISH = (
    "Ingredients are typical ones of the dish, from general knowledge, and not those of the plate."
)
WRITTEN = (
    "Grounding: of the known ingredients that a recipe names the share on the plate, and of those "
    "on the plate the share named. Sight: how much better a recipe fits its own plate than others "
    "of its dish, 0 for recipes that are blind to it. Self-BLEU: how much of a recipe stands in "
    "those of other plates of its dish, 1 for a template. Distinct-2 has no interval: a resampled "
    "set repeats plates. Means over the recipes of a plate, then over plates."
)


def sections(
    results: Results, frame: pd.DataFrame, tests: pd.DataFrame, ledger: list[Claim]
) -> list[pages.Section]:
    """Return the parts of the report, the main tables first."""
    trained = results.trained
    return [
        pages.Section("Results", [*seen(results, frame), *written(results, frame)]),
        page_parts.claims(ledger),
        pages.Section("Differences", differences(results, tests)),
        *([pages.Section("Training", training(results))] if trained else []),
    ]


def seen_table(results: Results, frame: pd.DataFrame) -> pd.DataFrame:
    """Return what the systems see, one row a system."""
    return shown(tables.of(frame, results.perceptions), figures.SEEN)


def written_table(results: Results, frame: pd.DataFrame) -> pd.DataFrame:
    """Return how recipes are, one row a prompt."""
    return shown(tables.of(frame, results.prompts), figures.WRITTEN)


def shown(frame: pd.DataFrame, metrics: dict[str, str]) -> pd.DataFrame:
    """Return the metrics that the frame has, one row a system."""
    return tables.wide(frame, tables.present(frame, metrics), [])


def seen(results: Results, frame: pd.DataFrame) -> list[Markup | str]:
    """Return what the systems see."""
    mine = tables.of(frame, results.perceptions)
    if mine.empty:
        return []
    parts: list[Markup | str] = [
        pages.table(seen_table(results, frame), f"What is seen. {tables.legend(mine)}"),
        note(results),
    ]
    if (drawn := figures.seen_figure(mine)) is not None:
        caption = "Dishes and ingredients on the test set with 95 % intervals."
        parts.append(pages.figure(drawn, caption, "scores of each system with their intervals"))
    return parts


def note(results: Results) -> str:
    """Return what a reader of the first table must know."""
    return NOTE if results.by_plate else f"{NOTE} {BY_DISH}"


def written(results: Results, frame: pd.DataFrame) -> list[Markup | str]:
    """Return how the recipes are that each prompt leads to."""
    mine = tables.of(frame, results.prompts)
    if mine.empty:
        return []
    eyes = f"The prompts tell what {results.eyes} sees; oracle tells what is true."
    parts: list[Markup | str] = [
        pages.table(written_table(results, frame), f"What is written. {tables.legend(mine)}"),
        f"{eyes} {WRITTEN}",
    ]
    if (drawn := figures.written_figure(mine)) is not None:
        caption = "Recipes of each prompt on the test plates with 95 % intervals."
        parts.append(pages.figure(drawn, caption, "scores of each prompt with their intervals"))
    return parts


def differences(results: Results, tests: pd.DataFrame) -> list[Markup]:
    """Return the paired tests, of what is seen and of what is written."""
    groups = (
        (results.perceptions, figures.TESTED),
        (results.prompts, figures.WRITTEN_AXES),
    )
    return page_parts.differences(tests, groups, figures.test_table, "plates")


def training(results: Results) -> list[Markup | str]:
    """Return the curves, what each system cost, and how far its probabilities can be trusted."""
    with_dish = {
        name: runs
        for name, runs in results.perceptions.items()
        if runs[0].params["baseline"] is None and "dish_probabilities" in runs[0].predictions
    }
    return [
        pages.figure(
            figures.curves(results.trained),
            "Every epoch of training. Losses of systems with other weights cannot be compared.",
            "loss and validation scores against the step",
        ),
        page_parts.cost(figures.cost(results.trained)),
        pages.figure(
            figures.calibration(with_dish),
            "How often a dish is right that was named with some probability, after the "
            "temperature; first seed of every system.",
            "accuracy against the probability said",
        ),
    ]


def pictures(results: Results) -> list[pages.Section]:
    """Return the part that shows plates: what is seen, what is asked, what is written."""
    shown = {name: results.prompts[name][0] for name in SIDES if name in results.prompts}
    if not shown:
        return []
    try:
        parts = figures.cases(shown)
    except StudyError as error:  # a report can be made where the photographs are not at hand
        parts = [f"Not shown here: {str(error).rstrip('.')}."]
    lead = (
        "Plates from all over the test set: what is on them, what the prompt says is seen, and the "
        "first recipe of each prompt."
    )
    return [pages.Section("Plates", [lead, *parts])]
