"""The ledger: what the paper claims, and what became of it on a dataset."""

import pandas as pd

from studies.relevance.results import BASELINES, Results
from studies.reporting.claims import Claim, verdict
from studies.reporting.claims import tally as tallied
from studies.reporting.tables import between, in_words, side, value

F1 = ("F1", "the filter drops texts that do not describe the class and keeps those that do")
F2 = (
    "F2",
    "weighting the loss by the coefficients makes a downstream classifier learn faster or better",
)
F3 = (
    "F3",
    "appending class sentences in training is what lets the predictor learn from noisy captions",
)
MOST = 0.5  # share from which on "drops" and "keeps" are said of most texts
UNKNOWN = "not tested here: nobody knows which of these captions describe their class"
NO_SEED = "the systems have no seed in common"
ALONE = "predictor@captions_alone"
WEIGHTED = "downstream_weighted"
AGAINST = ("downstream_all", "downstream_random", "downstream_kept")
COMPARED = {1: "AUC above {}", 0: "AUC not told from {}", -1: "AUC below {}"}


def ledger(results: Results, tests: pd.DataFrame, frame: pd.DataFrame) -> list[Claim]:
    """Return a verdict on each claim.

    `tests` is what `comparisons.paired_tests` returned, `frame` what `results.summary` did.
    """
    return [
        filters(results, tests, frame),
        weighting(results, tests),
        sentences(results, tests),
    ]


def filters(results: Results, tests: pd.DataFrame, frame: pd.DataFrame) -> Claim:
    """Return the row of F1: most texts of either kind are treated as claimed."""
    if "predictor" not in results.systems:
        return Claim(*F1, "", "", "not tested here: no run of predictor")
    if results.relevant is None:
        return Claim(*F1, "", "", UNKNOWN)
    experiment = (
        "held-out captions of known truth: whether most of those that describe their class are "
        f"kept, and most others dropped ({100 * results.relevant:.0f} % describe it)"
    )
    rows = {name: value(frame, "predictor", name) for name in ("recall", "rejected", "precision")}
    names = {"recall": "kept of those that do", "rejected": "dropped of those that do not"}
    said = [f"{names.get(name, name)} {spread(row)}" for name, row in rows.items()]
    also = []
    for baseline in (name for name in BASELINES if name in results.systems):
        row = between(tests, baseline, "predictor", "auc")
        if row is not None:
            said.append(f"AUC {in_words(row)}")
            also.append(COMPARED[side(row)].format(baseline))
    sides = [beyond(rows["recall"]), beyond(rows["rejected"])]
    seeds = int(rows["recall"].n_seeds)
    return Claim(
        *F1, experiment, "; ".join(said), verdict(results.dataset, sides, seeds, ", ".join(also))
    )


def weighting(results: Results, tests: pd.DataFrame) -> Claim:
    """Return the row of F2: better at the end, or better after a quarter of the steps."""
    needed = (WEIGHTED, *AGAINST)
    if absent := [name for name in needed if name not in results.systems]:
        return Claim(*F2, "", "", f"not tested here: no run of {' or '.join(absent)}")
    experiment = (
        "accuracy on test captions whatever the filter says of them, at equal steps and, for "
        "faster, after a quarter of them, against training on all captions, on as many by lot, and "
        "on the kept ones unweighted"
    )
    pace = {"better": "", "faster": "@quarter"}
    rows = {
        word: [between(tests, name + ending, WEIGHTED + ending, "accuracy") for name in AGAINST]
        for word, ending in pace.items()
    }
    # without all tests of the pace there is still what is better at the end
    rows = {word: group for word, group in rows.items() if all(row is not None for row in group)}
    if "better" not in rows:
        return Claim(*F2, experiment, "", f"not tested here: {NO_SEED}")
    figure = "; ".join(f"{word}: {', '.join(map(in_words, group))}" for word, group in rows.items())
    # one of both will do, and it must be ahead of every control
    least = [min(map(side, group)) for group in rows.values()]
    seeds = min(int(row.seeds) for group in rows.values() for row in group)
    said = [word for word, ahead in zip(rows, least, strict=True) if ahead > 0]
    if results.relevant is None:
        said.append("tested on the class of the image, described or not")
    found = verdict(results.dataset, [max(least)], seeds, ", ".join(said))
    return Claim(*F2, experiment, figure, found)


def sentences(results: Results, tests: pd.DataFrame) -> Claim:
    """Return the row of F3."""
    if absent := [name for name in ("predictor", ALONE) if name not in results.systems]:
        return Claim(*F3, "", "", f"not tested here: no run of {' or '.join(absent)}")
    if results.relevant is None:
        return Claim(*F3, "", "", UNKNOWN)
    experiment = (
        "AUC of the filter on held-out captions, against a predictor trained on the same captions "
        "in the same steps without a sentence behind them"
    )
    row = between(tests, ALONE, "predictor", "auc")
    if row is None:
        first, second = (
            {run.params["seed"] for run in results.systems[name]} for name in ("predictor", ALONE)
        )
        why = "too few captions of one kind" if first & second else NO_SEED
        return Claim(*F3, experiment, "", f"not tested here: {why}")
    also = [
        f"{metric} {in_words(one)}"
        for metric in ("precision", "recall")
        if (one := between(tests, ALONE, "predictor", metric)) is not None
    ]
    figure = "; ".join([f"AUC {in_words(row)}", *also])
    return Claim(*F3, experiment, figure, verdict(results.dataset, [side(row)], int(row.seeds)))


def spread(row: pd.Series) -> str:
    """Return a rate with its interval, of which either may be undefined."""
    if pd.isna(row["mean"]):
        return "undefined"
    if pd.isna(row.ci_low):
        return f"{row['mean']:.3f}"
    return f"{row['mean']:.3f} [{row.ci_low:.3f}, {row.ci_high:.3f}]"


def beyond(row: pd.Series) -> int:
    """Return on which side of a half an interval is, 0 for both."""
    return int(row.ci_low > MOST) - int(row.ci_high < MOST)


def tally(claims: list[Claim]) -> str:
    """Return in one sentence what became of the claims."""
    return f"Of the paper's {tallied(claims)}."
