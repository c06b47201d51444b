"""The parts of the report's page, each made from the results."""

import numpy as np
import pandas as pd
from markupsafe import Markup

from studies.captioning import data, figures
from studies.captioning.params import Parameters
from studies.captioning.results import Results
from studies.paths import StudyError
from studies.reporting import page_parts, pages, tables
from studies.reporting.claims import Claim, claims_frame
from studies.runs.folder import LoadedRun

ATTENDED = 2  # images of each system whose attention is drawn
SCRATCH = (
    "The encoders are narrow and trained from random weights; a name says which published system "
    "has the same parts. "
)
NOTE = (
    "BLEU and METEOR are computed over all captions together, ROUGE-L and CIDEr are means over "
    "images; CIDEr weighs words by the test set. The epoch was chosen by validation "
    "loss; captions were found by beam search."
)
TESTS = page_parts.PAIRED.format(items="images")


def note(results: Results, frame: pd.DataFrame) -> str:
    """Return what a reader of the main table must know."""
    scratch = SCRATCH if results.scratch else ""
    return f"{beaten(results, frame)} {scratch}{NOTE}"


def headline(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the main table: one row a system that is no variant."""
    return tables.wide(tables.plain(frame), figures.NAMES, [])


def beaten(results: Results, frame: pd.DataFrame) -> str:
    """Return in words which systems do not beat every trivial baseline in every measure."""
    means = frame.assign(system=tables.systems(frame)).pivot_table(
        index="system", columns="metric", values="mean"
    )[list(figures.NAMES)]
    baselines = [name for name in results.systems if name not in results.trained]
    if not baselines:
        return "No trivial baseline was run."
    if not results.trained:
        return "Nothing but trivial baselines was run."
    best = means.loc[baselines].max()
    poor = {
        name: [
            figures.NAMES[metric]
            for metric in figures.NAMES
            if means.loc[name, metric] <= best[metric]
        ]
        for name in results.trained
    }
    marked = [f"{name} ({', '.join(metrics)})" for name, metrics in poor.items() if metrics]
    if not marked:
        return f"Every trained system beats {' and '.join(baselines)} in all four measures."
    return f"Not better than the best trivial baseline: {'; '.join(marked)}."


def sections(
    results: Results, frame: pd.DataFrame, tests: pd.DataFrame, ledger: list[Claim]
) -> list[pages.Section]:
    """Return the parts of the report, the main table first."""
    hollow = "; hollow: published." if tables.plain(frame)["published"].notna().any() else "."
    trained = {name: results.systems[name] for name in results.trained}
    return [
        pages.Section(
            "Results",
            [
                pages.table(headline(frame), tables.legend(tables.plain(frame))),
                note(results, frame),
                pages.figure(
                    figures.score_figure(tables.plain(frame)),
                    f"The four measures on the test set with 95 % intervals{hollow}",
                    "scores of each system with their intervals",
                ),
            ],
        ),
        pages.Section(
            "Claims",
            [pages.table(claims_frame(ledger), "What is claimed, and what came of it here.")],
        ),
        pages.Section("Differences", [pages.table(figures.test_table(tests), TESTS)]),
        *([pages.Section("Training", training(trained))] if trained else []),
    ]


def training(systems: dict[str, list[LoadedRun]]) -> list[Markup | str]:
    """Return the six curves, and what each system cost."""
    return [
        pages.figure(
            figures.curves(systems),
            "Loss of every epoch, on training data and on validation data.",
            "training and validation loss against the step",
        ),
        pages.figure(
            figures.steps(systems),
            "Every step, or every few of a long training.",
            "batch loss, learning rate, gradient norm and epoch against the step",
        ),
        page_parts.cost(figures.cost(systems)),
    ]


def pictures(results: Results) -> list[pages.Section]:
    """Return the parts that show photographs, which a trained system has."""
    parts = []
    for title, drawn in (("Captions", gallery), ("Attention", attention)):
        try:
            body = drawn(results)
        except StudyError as error:  # a report can be made where the photographs are not at hand
            body = [f"Not shown here: {str(error).rstrip('.')}."]
        if body:
            parts.append(pages.Section(title, body))
    return parts


def gallery(results: Results) -> list[Markup | str]:
    """Return pictures with captions, best, median and worst, and where some words looked."""
    if not results.trained:
        return []
    first = results.systems[results.trained[0]][0]
    root = data.read(Parameters.from_run(first.params, first.folder)).root
    parts: list[Markup | str] = []
    for system in results.trained:
        run = results.systems[system][0]
        for name, frame in figures.cases(run):
            parts.append(pages.heading(f"{system}: {name} by CIDEr"))
            items = [
                (root / row.id, f"{row.candidate} (CIDEr {row.CIDEr:.2f}). References: {said(row)}")
                for row in frame.itertuples()
            ]
            parts.append(pages.picture_grid(items, columns=3))
    return parts


def attention(results: Results) -> list[Markup | str]:
    """Return drawings of where the words of some captions looked."""
    parts: list[Markup | str] = []
    for system in results.trained:
        run = results.systems[system][0]
        ids = run.predictions.sort_values("id")["id"].to_numpy()
        for name in ids[np.linspace(0, len(ids) - 1, ATTENDED + 2).round().astype(int)[1:-1]]:
            parts.append(
                pages.figure(
                    figures.attention(run, name),
                    f"{system}: the picture with its caption, then where its first words looked.",
                    "attention of each word over the picture",
                )
            )
    return parts


def said(row) -> str:
    """Return what people said of a picture."""
    return " / ".join(row.references)
