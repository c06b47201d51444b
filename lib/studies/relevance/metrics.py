"""Scores of a filter and of a classifier. Rates are 0 to 1.

Each metric is a function of weights (R, N), see `studies.reporting.bootstrap`.
"""

import numpy as np
import pandas as pd

from studies.reporting.bootstrap import Metric, macro_f1, mean, one_hot, share, value


def measured(frame: pd.DataFrame) -> dict[str, tuple[int, Metric]]:
    """Return the metrics of a run by id, each with the number of its items.

    `frame` is what `evaluate` found. Those of a filter are on test captions of known truth, and
    with the ending `_trained` on those that the predictor was trained on; those of a classifier on
    test captions that describe their class, or on all where nobody knows, and those of a
    classifier of images (column `read`) on the images of all, whose class is known.
    """
    truth = frame["relevant"]
    if "said" in frame:
        seen = frame.get("read", "caption") == "image"
        items = frame[(truth.fillna(True) | seen).to_numpy(dtype=bool)]
        found = class_metrics(items["said"].to_numpy(), items["class"].to_numpy())
        return {name: (len(items), metric) for name, metric in found.items()}
    by_id = {}
    for ending, part in (("", "test"), ("_trained", "train")):
        items = frame[(frame["part"] == part) & truth.notna()]
        if len(items):
            score = items["probability" if "probability" in items else "lead"]
            arrays = items["kept"], score, items["relevant"].astype(bool)
            found = filter_metrics(*(one.to_numpy() for one in arrays))
            by_id |= {name + ending: (len(items), metric) for name, metric in found.items()}
    return by_id


def filter_metrics(kept: np.ndarray, score: np.ndarray, relevant: np.ndarray) -> dict[str, Metric]:
    """Return the metrics of a filter by id, of kept (N,) bool, score (N,) and truth (N,) bool.

    Precision is the share of relevant items among the kept, recall the share of kept ones among the
    relevant, `rejected` the share of dropped ones among the irrelevant; AUC is the chance that a
    relevant item has a higher score than an irrelevant one, equal scores counting half.
    """
    hit = kept & relevant
    return {
        "precision": ratio(hit, kept),
        "recall": ratio(hit, relevant),
        "rejected": ratio(~kept & ~relevant, ~relevant),
        "auc": auc(score, relevant),
    }


def class_metrics(said: np.ndarray, true: np.ndarray) -> dict[str, Metric]:
    """Return accuracy and macro-F1 over the classes of the truth, of classes (N,) and (N,)."""
    classes, numbers = np.unique([said, true], return_inverse=True)
    by_class = (one_hot(part, len(classes)) for part in numbers.reshape(2, -1))
    return {"accuracy": mean(said == true), "macro_f1": macro_f1(*by_class)}


def ratio(part: np.ndarray, whole: np.ndarray) -> Metric:
    """Return the share of the items in `whole` that are in `part`, nan without any."""
    return mean(np.where(whole, part, np.nan))


def auc(score: np.ndarray, relevant: np.ndarray) -> Metric:
    """Return the area under the ROC curve, nan where all items are relevant or none is."""
    distinct, step = np.unique(score, return_inverse=True)
    steps = len(distinct)

    def area(weights: np.ndarray) -> np.ndarray:
        found = np.empty(len(weights))
        for row, weight in enumerate(weights):
            good = np.bincount(step, weight * relevant, steps)
            bad = np.bincount(step, weight * ~relevant, steps)
            below = np.cumsum(bad) - bad
            found[row] = share((good * (below + bad / 2)).sum(), good.sum() * bad.sum(), np.nan)
        return found

    return area


def scores(frame: pd.DataFrame) -> dict[str, float]:
    """Return the values of `measured`, and of a filter how many captions of all are kept."""
    found = {name: value(metric, items) for name, (items, metric) in measured(frame).items()}
    if "kept" in frame:
        found["kept"] = int(frame["kept"].sum())
    return found
