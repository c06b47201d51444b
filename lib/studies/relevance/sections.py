"""The parts of the report's page, each made from the results."""

import pandas as pd
from markupsafe import Markup

from studies.relevance import cases, figures
from studies.relevance.funnel import funnel
from studies.relevance.results import Results
from studies.reporting import page_parts, pages, tables
from studies.reporting.claims import Claim

NOTE = (
    "On held-out captions, each read alone. Precision: of the kept captions the share that "
    "describes its class; recall: of those that do, the share kept; rejected: of those that do "
    "not, the share dropped; AUC: the chance that one that does has the higher score. Kept counts "
    "all captions. The epoch was chosen by the share of validation captions whose image's class is "
    "the most probable."
)
UNKNOWN = "Which captions describe their class is not known here, so that only kept can be counted."
TRAINED = (
    "The same on captions that the predictor was trained on, whose scores are less sure: it has "
    "seen their class."
)
DOWNSTREAM = (
    "Classifiers of captions at equal steps, tested on held-out captions {of}, whatever a filter "
    "says of them. @quarter: a quarter of the steps. Random: as many captions as are kept, by lot. "
    "@image: the same with the images of the captions in place of their texts, tested on the "
    "images of all held-out captions; an image shows its class whatever its caption says, so that "
    "a filter of captions can only take images away."
)


def sections(
    results: Results, frame: pd.DataFrame, tests: pd.DataFrame, ledger: list[Claim]
) -> list[pages.Section]:
    """Return the parts of the report, the main tables first."""
    return [
        pages.Section("Filters", filters(results, frame)),
        *(
            [pages.Section("What it is good for", good_for(results, frame))]
            if results.downstream
            else []
        ),
        page_parts.claims(ledger),
        pages.Section("Differences", differences(results, tests)),
        *([pages.Section("Training", training(results))] if results.trained else []),
    ]


def filter_table(results: Results, frame: pd.DataFrame) -> pd.DataFrame:
    """Return how well each filter does on held-out captions, one row a system."""
    return shown(tables.of(frame, results.filters), figures.FILTER)


def downstream_table(results: Results, frame: pd.DataFrame) -> pd.DataFrame:
    """Return how well each classifier of captions does, one row a system."""
    return shown(tables.of(frame, results.downstream), figures.DOWNSTREAM)


def shown(frame: pd.DataFrame, metrics: dict[str, str]) -> pd.DataFrame:
    """Return the metrics that the frame has, one row a system."""
    return tables.wide(frame, tables.present(frame, metrics), ["kept"])


def filters(results: Results, frame: pd.DataFrame) -> list[Markup | str]:
    """Return how well the filters do."""
    mine = tables.of(frame, results.filters)
    if mine.empty:
        return []
    held_out = mine[~mine["metric"].isin([*figures.TRAINED, "kept"])]
    parts: list[Markup | str] = [
        pages.table(filter_table(results, frame), tables.legend(held_out)),
        note(results),
    ]
    if (drawn := figures.filter_figure(mine)) is not None:
        caption = "The filters on held-out captions with 95 % intervals."
        parts.append(pages.figure(drawn, caption, "scores of each filter with their intervals"))
    if (drawn := figures.precision_recall(results.filters)) is not None:
        caption = "Precision and recall at every threshold on held-out captions; first seed."
        parts.append(pages.figure(drawn, caption, "precision against recall of each filter"))
    trained = shown(mine, figures.TRAINED)
    if trained.shape[1] > 1:
        parts.append(pages.table(trained, TRAINED))
    if "predictor" in results.systems:
        drawn = figures.funnel_figure(steps(results))
        caption = "How many captions the steps of the predictor's filter leave; first seed."
        parts.append(pages.figure(drawn, caption, "bars of captions left"))
    return parts


def steps(results: Results) -> pd.DataFrame:
    """Return the funnel of the predictor's first seed."""
    return funnel(results.collection, results.systems["predictor"][0].predictions)


def note(results: Results) -> str:
    """Return what a reader of the first table must know."""
    return NOTE if results.relevant is not None else f"{NOTE} {UNKNOWN}"


def good_for(results: Results, frame: pd.DataFrame) -> list[Markup | str]:
    """Return how well classifiers do that are trained on what is kept."""
    mine = tables.of(frame, results.downstream)
    of = "that describe their class" if results.relevant is not None else "of all kinds"
    parts: list[Markup | str] = [
        pages.table(downstream_table(results, frame), tables.legend(mine)),
        DOWNSTREAM.format(of=of),
    ]
    if (drawn := figures.downstream_figure(mine)) is not None:
        caption = "The classifiers on the test captions with 95 % intervals."
        parts.append(pages.figure(drawn, caption, "scores of each classifier"))
    return parts


def differences(results: Results, tests: pd.DataFrame) -> list[Markup]:
    """Return the paired tests, of filters and of classifiers."""
    groups = (
        (results.filters, figures.FILTER_AXES),
        (results.downstream, figures.DOWNSTREAM_AXES),
    )
    return page_parts.differences(tests, groups, figures.test_table, "captions")


def training(results: Results) -> list[Markup | str]:
    """Return the curves, and what each system cost."""
    parts: list[Markup | str] = []
    for alike, what in ((results.filters, "predictor"), (results.downstream, "classifier")):
        mine = {name: runs for name, runs in alike.items() if name in results.trained}
        if (drawn := figures.curves(mine)) is not None:
            caption = f"Every epoch of training, {what}s."
            parts.append(pages.figure(drawn, caption, "loss and accuracy against the step"))
    return [
        *parts,
        page_parts.cost(figures.cost(results.trained)),
    ]


def captions(results: Results) -> list[pages.Section]:
    """Return the part that shows captions: kept and dropped ones, and the share by class."""
    if "predictor" not in results.systems:
        return []
    run, collection = results.systems["predictor"][0], results.collection
    return [
        pages.Section(
            "Captions",
            [
                pages.table(
                    cases.texts(run, collection),
                    "Of some classes the most and the least probable held-out caption.",
                ),
                pages.table(
                    cases.classes(run, collection.by_wnid),
                    "The classes of which the largest and the smallest share of captions is kept.",
                ),
            ],
        )
    ]
