"""Scores of a filter and of a classifier. Rates are 0 to 1.

Each metric is a function of weights (R, N), see `studies.reporting.bootstrap`.
"""

import numpy as np
import pandas as pd

from studies.reporting.bootstrap import Metric, macro_f1, mean, one_hot, share, value
from studies.runs.folder import accounted


def scored_items(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return what a run is scored on: items by what the ids of their metrics end with.

    `frame` is what `evaluate` returned. A filter is scored on test captions of known truth, and
    with the ending `_trained` on those that the predictor was trained on; a classifier on test
    captions that describe their class, or on all where nobody knows, and one of images (column
    `read`) on the images of all, whose class is known.
    """
    truth = frame["relevant"]
    if "kept" not in frame:
        seen = frame.get("read", "caption") == "image"
        return {"": frame[(truth.fillna(True) | seen).to_numpy(dtype=bool)]}
    known = {
        ending: frame[(frame["part"] == part) & truth.notna()]
        for ending, part in (("", "test"), ("_trained", "train"))
    }
    return {ending: items for ending, items in known.items() if len(items)}


def of_items(items: pd.DataFrame, ending: str = "") -> dict[str, Metric]:
    """Return the metrics of a run by id, on items that `scored_items` gives."""
    if "rank" in items:
        by_id = {"recall_at_10": mean(items["rank"].to_numpy() <= 10)}
    elif "said" in items:
        by_id = class_metrics(items["said"].to_numpy(), items["class"].to_numpy())
    else:
        score = items["probability" if "probability" in items else "lead"].to_numpy()
        relevant = items["relevant"].to_numpy(dtype=bool)
        by_id = filter_metrics(items["kept"].to_numpy(), score, relevant)
        if "highest" in items:  # evidence of older runs has none
            by_id["auc_no_class"] = auc(items["highest"].to_numpy(), relevant)
    return {name + ending: metric for name, metric in by_id.items()}


def filter_metrics(kept: np.ndarray, score: np.ndarray, relevant: np.ndarray) -> dict[str, Metric]:
    """Return the metrics of a filter by id, of kept (N,) bool, score (N,) and truth (N,) bool.

    Precision is the share of relevant items among the kept, recall the share of kept ones among the
    relevant, `rejected` the share of dropped ones among the irrelevant, Youden's J the sum of these
    two less 1 (W. J. Youden, *Index for rating diagnostic tests*, Cancer 3, 1950), which is 0 of a
    lot; AUC is the chance that a relevant item has a higher score than an irrelevant one, equal
    scores counting half.
    """
    hit = kept & relevant
    recall, rejected = ratio(hit, relevant), ratio(~kept & ~relevant, ~relevant)
    return {
        "precision": ratio(hit, kept),
        "recall": recall,
        "rejected": rejected,
        "youden": lambda weights: recall(weights) + rejected(weights) - 1,
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
    cells = one_hot(step, len(distinct))

    def area(weights: np.ndarray) -> np.ndarray:
        good, bad = (cells @ (weights * kind).T for kind in (relevant, ~relevant))
        lower = np.cumsum(bad, axis=0) - bad
        pairs = good.sum(axis=0) * bad.sum(axis=0)
        return share((good * (lower + bad / 2)).sum(axis=0), pairs, np.nan)

    return area


@accounted("scoring")
def scores(frame: pd.DataFrame) -> dict[str, float]:
    """Return the values of all metrics, and of a filter how many captions of all are kept."""
    by_id = {
        name: value(metric, len(items))
        for ending, items in scored_items(frame).items()
        for name, metric in of_items(items, ending).items()
    }
    return by_id | ({"kept": int(frame["kept"].sum())} if "kept" in frame else {})
