"""The funnel adds up, against counts made one caption at a time."""

import datasets
import pandas as pd
import pytest

from studies.relevance.captions import NO_CLASS, NO_TEXT, ONE_WORD, TWICE
from studies.relevance.data import Collection
from studies.relevance.filter import BELOW_MEAN, BELOW_THRESHOLD
from studies.relevance.funnel import FOUND, KEPT, USABLE, funnel
from studies.relevance.table import FEATURES

LOW = BELOW_THRESHOLD.format(threshold=0.5)


def collection(reasons):
    rows = [
        {"image": f"{k}.png", "wnid": "n1", "text": "a b", "relevant": None, "reason": reason}
        for k, reason in enumerate(reasons)
    ]
    everything = datasets.Dataset.from_list(rows, FEATURES)
    return Collection(everything, ["n1"], ["cat"], ["A cat. It is one."], [["A cat."]], None)


def said(reasons):
    return pd.DataFrame({"kept": [not one for one in reasons], "reason": reasons})


def rows(frame):
    return list(frame.itertuples(index=False, name=None))


def test_every_step_says_what_it_drops_and_leaves():
    found = [TWICE, "", NO_TEXT, NO_CLASS, "", "", NO_TEXT, "", "", ONE_WORD, ""]
    told = said(["", LOW, BELOW_MEAN, "", LOW, LOW])
    assert rows(funnel(collection(found), told)) == [
        (FOUND, 11, 11),
        (NO_CLASS, 1, 10),
        (NO_TEXT, 2, 8),
        (ONE_WORD, 1, 7),
        (TWICE, 1, 6),
        (USABLE, 6, 6),
        (BELOW_MEAN, 1, 5),
        (LOW, 3, 2),
        (KEPT, 2, 2),
    ]


def test_reasons_that_drop_nothing_are_no_steps():
    assert rows(funnel(collection(["", ""]), said(["", ""]))) == [
        (FOUND, 2, 2),
        (USABLE, 2, 2),
        (KEPT, 2, 2),
    ]


def test_nothing_is_kept():
    assert rows(funnel(collection(["", ""]), said([LOW, LOW])))[-2:] == [(LOW, 2, 0), (KEPT, 0, 0)]


def test_a_frame_of_other_captions_is_refused():
    with pytest.raises(ValueError, match="1 rows for 2 captions"):
        funnel(collection(["", ""]), said([""]))
