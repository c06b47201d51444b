"""What a system takes for what: as a matrix, in pairs, and in pictures."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from studies.inputs.images import open_rgb
from studies.reporting import plots
from studies.runs.folder import LoadedRun
from studies.triplets import data
from studies.triplets.figures import words
from studies.triplets.params import Parameters
from studies.triplets.results import Results


def confusion(results: Results, system: str, level: int) -> Figure:
    """Draw which label of a level (from 1) is taken for which, all seeds of a system together."""
    names = results.classes[f"level{level}"]
    codes, labels = pd.factorize(names, sort=True)
    counts = np.zeros((len(labels), len(labels)), dtype=int)
    for answers in results.answers[system]:
        np.add.at(counts, (codes[results.truth], codes[answers.predicted]), 1)
    return plots.confusion(counts, list(map(words, labels)), f"{system}, level {level}")


def confused_pairs(results: Results, system: str, most: int = 12) -> pd.DataFrame:
    """Return which classes a system takes for which most often, all seeds together."""
    names = results.classes["class"].map(shown)
    answers = pd.concat(
        pd.DataFrame(
            {"true": names.iloc[one.true].array, "taken for": names.iloc[one.predicted].array}
        )
        for one in results.answers[system]
    )
    tests = answers["true"].value_counts()
    wrong = answers[answers["true"] != answers["taken for"]].value_counts().head(most)
    table = wrong.rename("times").reset_index()
    table["of test images"] = table["true"].map(tests)
    return table


def shown(path: str) -> str:
    """Return a label path as a reader writes it: lowest label, and the top one in brackets."""
    return f"{words(path)} ({words(path.partition('/')[0])})"


def severe(run: LoadedRun, most: int) -> list[tuple[Path, str]]:
    """Return files and captions of a run's severe errors, the surest first."""
    root = data.root(Parameters.from_run(run.params, run.folder))
    frame = run.predictions
    wrong = frame[frame["true_level1"] != frame["predicted_level1"]]
    return [
        (
            root / row["id"],
            f"{shown(row['true_class'])} taken for {shown(row['predicted_class'])}, "
            f"{100 * row['confidence']:.0f}\N{NO-BREAK SPACE}%\N{NO-BREAK SPACE}sure",
        )
        for _, row in wrong.nlargest(most, "confidence").iterrows()
    ]


def severe_pictures(run: LoadedRun, most: int = 10) -> Figure | str:
    """Draw a run's severe errors, the surest first."""
    found = severe(run, most)
    if not found:
        return "no severe error"
    return plots.images([(open_rgb(file), caption) for file, caption in found])
