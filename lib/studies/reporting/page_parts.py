"""Parts that the pages of several studies have: claims, differences, what trainings cost."""

from collections.abc import Callable, Collection, Iterable

import pandas as pd
from markupsafe import Markup

from studies.reporting.claims import Claim, claims_frame
from studies.reporting.pages import Section, table

PAIRED = (
    "Differences on the same test {items} with 95 % intervals and p-values by paired bootstrap; "
    "not corrected for the number of comparisons. Few seeds make intervals that are too narrow "
    "where trainings differ more than test {items} do."
)


def claims(ledger: Iterable[Claim]) -> Section:
    """Return the ledger as a part of the page."""
    caption = "What the paper claims, and what came of it on this data."
    return Section("Claims", [table(claims_frame(ledger), caption)])


def differences(
    tests: pd.DataFrame,
    groups: Iterable[tuple[Collection[str], Collection[str]]],
    made: Callable[[pd.DataFrame, Collection[str]], pd.DataFrame],
    items: str,
) -> list[Markup]:
    """Return one table of paired tests for each group that has any.

    A group is systems of one kind and the metrics to show of them, which `made` puts in a table;
    `items` are what the systems were tested on.
    """
    tables = []
    for systems, metrics in groups:
        mine = tests[tests["first"].isin(systems)]
        if not mine.empty:
            tables.append(table(made(mine, metrics), PAIRED.format(items=items)))
    return tables


def cost(frame: pd.DataFrame) -> Markup:
    """Return the table of `origin.cost` with its caption."""
    return table(
        frame,
        "What a training took, as a mean over seeds; memory is the largest that the process ever "
        "held.",
    )
