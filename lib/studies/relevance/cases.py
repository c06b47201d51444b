"""Captions to look at: kept and dropped ones, classes, mistakes."""

import numpy as np
import pandas as pd

from studies.relevance.data import Collection
from studies.runs.folder import LoadedRun

SHOWN = 160  # characters of a text


def outcome(run: LoadedRun, collection: Collection) -> pd.DataFrame:
    """Return how many captions a filter keeps, and why it drops others; a classifier's mistakes."""
    frame = run.predictions
    if "said" in frame:
        return mistakes(frame, collection.by_wnid)
    why = frame["reason"] if "reason" in frame else frame["kept"].map({True: "", False: "dropped"})
    counts = why.replace("", "kept").value_counts()
    return pd.DataFrame({"": counts.index, "captions": [f"{count:,}" for count in counts]})


def mistakes(frame: pd.DataFrame, names: dict[str, str], shown: int = 8) -> pd.DataFrame:
    """Return which classes a classifier most often takes for which others."""
    wrong = frame[frame["said"] != frame["class"]]
    counts = wrong.groupby(["class", "said"]).size().sort_values(ascending=False, kind="stable")
    top = counts[:shown].reset_index(name="captions")
    return pd.DataFrame(
        {
            "class": [names.get(wnid, wnid) for wnid in top["class"]],
            "taken for": [names.get(wnid, wnid) for wnid in top["said"]],
            "captions": [f"{count:,}" for count in top["captions"]],
        }
    )


def texts(run: LoadedRun, collection: Collection, shown: int = 4) -> pd.DataFrame:
    """Return held-out captions of some classes: those that a filter scores highest and lowest.

    Of a classifier, which keeps and drops nothing, the first two of each with the class said.
    """
    frame = run.predictions
    score = next((name for name in ("probability", "lead") if name in frame), None)
    place = {image: row for row, image in enumerate(collection.captions["image"])}
    names = collection.by_wnid
    words = {True: "yes", False: "no"}
    rows = []
    for number in spaced(len(collection.wnids), shown):
        mine = frame[(frame["part"] == "test") & (frame["class"] == collection.wnids[number])]
        if score is not None:
            ranked = mine.sort_values(score, ascending=False, kind="stable")
            mine = pd.concat([ranked[:1], ranked[1:][-1:]])
        for one in mine[:2].to_dict("records"):
            found = {"class": names[one["class"]]}
            found["caption"] = shortened(collection.captions[place[one["id"]]]["text"])
            if score is not None:
                found[score] = f"{one[score]:.3f}"
                found[""] = "kept" if one["kept"] else "dropped"
            else:
                found["said"] = names[one["said"]]
            rows.append({**found, "describes it": words.get(one["relevant"], "unknown")})
    return pd.DataFrame(rows)


def spaced(count: int, shown: int) -> np.ndarray:
    """Return places from all over a list."""
    return np.unique(np.linspace(0, count - 1, min(shown, count)).round().astype(int))


def classes(run: LoadedRun, names: dict[str, str], shown: int = 5) -> pd.DataFrame:
    """Return the classes of which a filter keeps the largest and the smallest share."""
    frame = run.predictions
    by_class = frame.groupby("class")["kept"].agg(["size", "sum"])
    share = (by_class["sum"] / by_class["size"]).sort_values(ascending=False, kind="stable")
    chosen = share if len(share) <= 2 * shown else pd.concat([share[:shown], share[-shown:]])
    rows = by_class.loc[chosen.index]
    return pd.DataFrame(
        {
            "class": [names.get(wnid, wnid) for wnid in chosen.index],
            "captions": [f"{count:,}" for count in rows["size"]],
            "kept": [f"{count:,}" for count in rows["sum"]],
            "share": [f"{one:.0%}" for one in chosen],
        }
    )


def shortened(text: str) -> str:
    """Return a text, or its beginning."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
