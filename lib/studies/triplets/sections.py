"""The parts of the report's page, each made from the results."""

import pandas as pd
from markupsafe import Markup

from studies.inputs import images
from studies.paths import StudyError
from studies.reporting import page_parts, pages, tables
from studies.reporting.claims import SYNTHETIC
from studies.reporting.plots import PAGE
from studies.triplets import audit, claims, figures, mistakes
from studies.triplets.results import Results

SEVERE_SHOWN = 10  # of each system
TESTS = (
    "Differences on the same test images with 95 % intervals; p-values by paired bootstrap and, "
    "seed by seed, by McNemar's exact test; not corrected for the number of comparisons. Few seeds "
    "make intervals that are too narrow where trainings differ more than test images do."
)


def headline(results: Results, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the main table: one row a system that is no variant, accuracy at every level."""
    names = figures.metric_names(results.labels.shape[1])
    return tables.wide(tables.plain(frame), names, figures.COUNTS)


def note(results: Results) -> str:
    """Return what a reader of the table must know."""
    scored, every = int(results.classes["scored"].sum()), len(results.classes)
    few = f"the {scored} of {every} classes with more than {results.runs[0].params['min_count']} "
    if results.runs[0].params["source"].get("groups"):
        levels = (
            "a severe error is a wrong label of the first group; accuracy is given group by group, "
            "as levels"
        )
    else:
        levels = (
            "a severe error is a wrong label at the top level of the tree; at each level, accuracy "
            "asks for the right labels from the top down to it"
        )
    return (
        "Macro-F1 is the mean F1 of "
        + (f"all {every} classes" if scored == every else f"{few}images in the whole dataset")
        + f"; {levels}. The epoch was chosen on validation data."
    )


def sections(
    results: Results, frame: pd.DataFrame, tests: pd.DataFrame, tuning: pd.DataFrame | None
) -> list[pages.Section]:
    """Return the parts of the report, the main table first.

    `tuning` is what `tune.record` returned for the dataset on which settings were chosen, if any.
    """
    ledger = claims.ledger(results, tests)
    hollow = "; hollow: published." if tables.plain(frame)["published"].notna().any() else "."
    named = tests["first"].str.contains("@") | tests["second"].str.contains("@")
    main = tests[~named] if (~named).any() else tests
    parts = [
        pages.Section(
            "Results",
            [
                pages.table(headline(results, frame), tables.legend(tables.plain(frame))),
                note(results),
                pages.figure(
                    figures.score_figure(tables.plain(frame)),
                    f"Macro-F1 and severe errors on the test set with 95 % intervals{hollow}",
                    "macro-F1 and severe errors of each system with their intervals",
                ),
            ],
        ),
        page_parts.claims(ledger),
        pages.Section("Differences", [pages.table(figures.test_table(main), TESTS)]),
        *where(results, frame),
        pages.Section("Space", [space(frame)]),
        *([tuned(tuning)] if tuning is not None else []),
        *([near_duplicates(results)] if results.dataset not in SYNTHETIC else []),
        training(results),
        pages.Section("Confusion", confusion(results)),
        pages.Section(
            "Embedding",
            [
                pages.figure(
                    figures.embedding_map([runs[0] for runs in results.plain().systems.values()]),
                    "The test images by t-SNE, coloured by top label, first seed of every system. "
                    "Neighbours mean something; distances between far groups do not.",
                    "two-dimensional maps of the test images",
                )
            ],
        ),
    ]
    return parts


def where(results: Results, frame: pd.DataFrame) -> list[pages.Section]:
    """Return the section on where each approach wins; none without a variant."""
    variants = frame[frame["variant"] != ""]
    if variants.empty or len(variants) == len(frame):
        return []
    parts: list[Markup | str] = []
    drawn = figures.by_images(results, frame)
    if drawn is not None:
        caption = (
            "Scores on the test set against training images a class, with 95 % intervals. Systems "
            "trained on fewer images have one seed and fewer steps, the same for every approach."
        )
        parts.append(pages.figure(drawn, caption, "scores against training images a class"))
    names = {**figures.NAMES, **figures.UNSEEN}
    names.pop("accuracy")
    shown = {name: heading for name, heading in names.items() if name in set(frame["metric"])}
    table = tables.wide(variants, shown, figures.COUNTS)
    caption = f"Variants; what differs stands in params/. {tables.legend(variants)}"
    return [pages.Section("Where each approach wins", [*parts, pages.table(table, caption)])]


def space_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a tidy frame that are of no variant, or of the untrained control."""
    rows = frame[frame["variant"].isin(["", "untrained"])]
    return frame if rows.empty else rows


def space_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how the embeddings of the test images cluster, one row a system."""
    return tables.wide(space_rows(frame), figures.SPACE, [])


def space(frame: pd.DataFrame) -> Markup:
    """Return the table of how the embeddings of the test images cluster, with its caption."""
    caption = (
        "The embeddings of the test images alone: k-means with as many clusters as labels, and "
        "whether one of the nearest other images has the same class. The features of cross-entropy "
        f"are the units below its softmax. {tables.legend(space_rows(frame))}"
    )
    return pages.table(space_table(frame), caption)


def tuned(tuning: pd.DataFrame) -> pages.Section:
    """Return the section on how the settings were chosen."""
    best = tuning.groupby("model")["validation_macro_f1"].idxmax()
    shown = tuning.rename(columns=lambda name: name.replace("_", " ").replace("f1", "F1"))
    shown = shown.rename(columns={"validation macro F1": "validation macro-F1"})
    shown["validation macro-F1"] = tuning["validation_macro_f1"].map("{:.3f}".format)
    shown["chosen"] = tuning.index.isin(best)
    shown["chosen"] = shown["chosen"].map({True: "yes", False: ""})
    caption = (
        "What was tried for each approach, with seed 0, on photographs that neither split tests "
        "on; as many trials for each. Chosen is the highest validation macro-F1."
    )
    return pages.Section("Tuning", [pages.table(shown.drop(columns="images"), caption)])


def near_duplicates(results: Results) -> pages.Section:
    """Return the section on test images that are nearly in the training set as well."""
    try:
        bits = audit.nearest(results)
    except StudyError as error:  # a report can be made where the photographs are not at hand
        return pages.Section("Near-duplicates", [f"Not counted here: {error}."])
    near = int((bits <= images.DUPLICATE_BITS).sum())
    found = (
        "Test images with a training image whose perceptual hash differs in so few of 64 bits. Up "
        f"to {images.DUPLICATE_BITS}, pairs looked at show the same goods in the same place, "
        "moments apart; at 12 some are alike by chance."
    )
    rest = (
        f"Scores on all {len(bits):,} test images and on the {len(bits) - near:,} without a "
        f"near-duplicate ({images.DUPLICATE_BITS} bits or fewer) in training; means over seeds."
    )
    return pages.Section(
        "Near-duplicates",
        [pages.table(audit.counts(bits), found), pages.table(audit.without(results, bits), rest)],
    )


def training(results: Results) -> pages.Section:
    """Return the section of curves and costs."""
    return pages.Section(
        "Training",
        [
            pages.figure(
                figures.curves(results.plain().systems),
                "Every epoch of training. The losses differ between systems and cannot be "
                "compared; the scores on the validation set can.",
                "loss and scores against epoch",
            ),
            pages.table(
                figures.settings(results.plain().systems),
                "In what the systems differ; data, network, batches and augmentation are the same.",
            ),
            page_parts.cost(figures.cost(results.systems)),
        ],
    )


def confusion(results: Results) -> list[Markup]:
    """Return the confusion matrices: all systems at the top level, the best one below it."""
    first = {system: runs[0] for system, runs in results.plain().systems.items()}
    best = max(first, key=lambda system: first[system].provenance["best_score"])
    wanted = [(system, 1) for system in first]
    wanted += [(best, level) for level in range(2, results.labels.shape[1] + 1)]
    drawn = [
        (mistakes.confusion(results, system, level), f"Confusion of {system} at level {level}")
        for system, level in wanted
    ]
    narrow = [pair for pair in drawn if pair[0].get_figwidth() < PAGE]
    wide = [pages.figure(one, f"{alt}.", alt) for one, alt in drawn if (one, alt) not in narrow]
    caption = (
        "Every system at the top level, where all that is off the diagonal is a severe error; "
        f"lower levels for {best}, the best on validation data. Seeds are taken together; "
        "numbers count test images."
    )
    pairs = mistakes.confused_pairs(results, best)
    listed = pages.table(pairs, f"What {best} takes for what most often, all seeds together.")
    return [*([pages.figures(narrow, caption)] if narrow else []), *wide, listed]


def gallery(results: Results) -> list[Markup | str]:
    """Return the severe errors of each system's first run, as parts of a page."""
    parts: list[Markup | str] = []
    for system, runs in results.plain().systems.items():
        shown = mistakes.severe(runs[0], SEVERE_SHOWN)
        count = int(runs[0].metrics["severe_errors"])
        errors = f"{count:,} severe error{'' if count == 1 else 's'}"
        some = f", {len(shown)} shown" if len(shown) < count else ""
        parts.append(pages.heading(f"{system}, seed {runs[0].params['seed']}: {errors}{some}"))
        if shown:
            parts.append(pages.picture_grid(shown))
    return [
        "Images that got a wrong label at the top level, those first of which the system was "
        "surest: by softmax where it decides, else by the neighbours' votes.",
        *parts,
    ]
