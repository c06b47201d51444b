"""The funnel: how many captions were found, what each step drops, and what is kept in the end."""

from collections.abc import Mapping

import pandas as pd

from studies.relevance.captions import NO_CLASS, NO_TEXT, ONE_WORD, TWICE
from studies.relevance.data import Collection
from studies.relevance.filter import BELOW_MEAN

FOUND, USABLE, KEPT = "found", "of several words and a class with a text", "kept"


def funnel(collection: Collection, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the steps from all captions found to those kept: `step`, `captions`, `left`.

    `frame` is what the predictor's filter says of the collection's captions, (N,) rows with `kept`
    and `reason`. `found`, `USABLE` and `kept` are totals; the rows between them are the reasons
    that drop any caption, in the order in which they are asked, each with how many it drops.
    `left` is what remains after a step. Raises ValueError for a frame of other captions.
    """
    if len(frame) != len(collection.captions):
        raise ValueError(f"{len(frame)} rows for {len(collection.captions)} captions")
    left = len(collection.everything)
    rows = [(FOUND, left, left)]
    by_filter = frame.loc[~frame["kept"], "reason"].value_counts().to_dict()
    for counts, first, total in (
        (collection.reasons, (NO_CLASS, NO_TEXT, ONE_WORD, TWICE), USABLE),
        (by_filter, (BELOW_MEAN,), KEPT),
    ):
        for reason in ordered(counts, first):
            left -= counts[reason]
            rows.append((reason, counts[reason], left))
        rows.append((total, left, left))
    return pd.DataFrame(rows, columns=["step", "captions", "left"])


def ordered(counts: Mapping[str, int], first: tuple[str, ...]) -> list[str]:
    """Return the reasons that are counted: those in `first`, then any other."""
    return [one for one in first if one in counts] + sorted(set(counts) - set(first))
