"""The ledger: what the paper claims, and what became of it on a dataset."""

import pandas as pd

from studies.differences import BOOTSTRAP, signed
from studies.tables import Claim
from studies.triplets.results import Results

SYNTHETIC = ("tiny", "demo")
NOT_RUN = {
    "T4": (
        "semi-hard first, then hardest, converges where hardest alone collapses or stalls; part of "
        "the gain due to the schedule, part to the margin",
        "2×2 of margin (constant, flexible) and schedule (one stage, two)",
    ),
    "T5": ("more than two images of a class in the batch do not help", "2 against 4 images"),
    "T6": (
        "classes never trained on are recognised without training",
        "classes held out; controls: cross-entropy, a random network",
    ),
    "T7": ("the space clusters by class and by category", "NMI, ARI, recall@1; same controls"),
    "T8": ("the flexible margin costs a constant factor in the number of levels", "benchmark"),
    "T9": (
        "a small scratch network with flexible margin matches a large frozen one with "
        "cross-entropy",
        "scratch flexible against frozen cross-entropy",
    ),
    "T10": ("the fewer the parameters, the larger the gain", "gain against trained parameters"),
}


def ledger(results: Results, tests: pd.DataFrame) -> list[Claim]:
    """Return a verdict on each of the claims T1 to T10.

    `tests` is what `results.comparisons` returned.
    """
    frozen = results.runs[0].params["backbone"]["name"] == "frozen"
    order, severe = order_claim(results, tests), severe_claim(results, tests)
    rows = [
        order if not frozen else not_tested("T1", *ORDER_TEXT["T1"], "this dataset id is frozen"),
        order if frozen else not_tested("T2", *ORDER_TEXT["T2"], "this dataset id is from scratch"),
        severe,
    ]
    reason = f"no run of {results.dataset} varies it"
    return rows + [not_tested(id, *text, reason) for id, text in NOT_RUN.items()]


def tally(results: Results, tests: pd.DataFrame) -> str:
    """Return in one sentence how many of the claims hold."""
    verdicts = [claim.verdict for claim in ledger(results, tests)]
    words = {
        "holds": ("holds", "hold"),
        "does not hold": ("does not hold", "do not hold"),
        "inconclusive": ("is inconclusive", "are inconclusive"),
        "not tested": ("is not tested here", "are not tested here"),
    }
    counts = {kind: sum(verdict.startswith(kind) for verdict in verdicts) for kind in words}
    parts = [f"{n} {words[kind][n > 1]}" for kind, n in counts.items() if n]
    mark = " (synthetic)" if results.dataset in SYNTHETIC else ""
    return f"Of the paper's {len(verdicts)} claims {', '.join(parts)}{mark}."


ORDER_TEXT = {
    "T1": (
        "macro-F1 from scratch: flexible margin > triplet > cross-entropy",
        "three approaches, same network and batches",
    ),
    "T2": (
        "macro-F1 on a frozen backbone: flexible margin > triplet > cross-entropy",
        "three approaches, same features and batches",
    ),
}


def not_tested(id: str, claim: str, experiment: str, reason: str) -> Claim:
    """Return the row of a claim that this dataset says nothing about."""
    return Claim(id, claim, experiment, "", f"not tested here: {reason}")


def order_claim(results: Results, tests: pd.DataFrame) -> Claim:
    """Return T1, or T2 on a frozen backbone: each step up must be larger than chance."""
    frozen = results.runs[0].params["backbone"]["name"] == "frozen"
    id = "T2" if frozen else "T1"
    if not {"cross_entropy", "triplet", "flexible"} <= set(results.systems):
        return not_tested(id, *ORDER_TEXT[id], "not all three approaches were run")
    steps = [
        difference(tests, "macro_f1", "triplet", "flexible"),
        difference(tests, "macro_f1", "cross_entropy", "triplet"),
    ]
    if any(step is None for step in steps):
        return not_tested(id, *ORDER_TEXT[id], "the three approaches have no seed in common")
    figure = "; ".join(
        f"{name} {signed(step.difference, step.ci_low, step.ci_high, count=False)}"
        for name, step in zip(("flexible − triplet", "triplet − cross-entropy"), steps, strict=True)
    )
    return Claim(id, *ORDER_TEXT[id], figure, verdict(results, steps, "higher"))


def severe_claim(results: Results, tests: pd.DataFrame) -> Claim:
    """Return T3: fewer severe errors than each other approach, by more than chance."""
    text = ("T3", "the flexible margin makes the fewest severe errors", "severe errors on test")
    others = ["cross_entropy", "triplet"]
    if not {"flexible", *others} <= set(results.systems):
        return not_tested(*text, "not all three approaches were run")
    steps = [difference(tests, "severe_errors", other, "flexible") for other in others]
    if any(step is None for step in steps):
        return not_tested(*text, "the three approaches have no seed in common")
    figure = "; ".join(
        f"flexible − {other.replace('_', '-')} "
        f"{signed(step.difference, step.ci_low, step.ci_high, count=True)}"
        for other, step in zip(others, steps, strict=True)
    )
    return Claim(*text, figure, verdict(results, steps, "lower"))


def difference(tests: pd.DataFrame, metric: str, first: str, second: str) -> pd.Series | None:
    """Return the bootstrap row of second minus first, None when they have no seed in common."""
    row = tests[
        (tests["first"] == first)
        & (tests["second"] == second)
        & (tests["metric"] == metric)
        & (tests["test"] == BOOTSTRAP)
    ]
    return None if row.empty else row.iloc[0]


def verdict(results: Results, steps: list[pd.Series], claimed: str) -> str:
    """Return what became of a claim that every difference is `higher` (or `lower`) than 0.

    It holds when all intervals are on the claimed side of 0, does not when one is on the other.
    """
    sign = 1 if claimed == "higher" else -1
    nearest = [min(sign * step.ci_low, sign * step.ci_high) for step in steps]
    farthest = [max(sign * step.ci_low, sign * step.ci_high) for step in steps]
    word = "does not hold" if min(farthest) < 0 else "inconclusive"
    word = "holds" if min(nearest) > 0 else word
    least = min(int(step.seeds) for step in steps)
    # with one seed the interval knows test images alone, not how training varies
    marks = ["one seed" if least == 1 else f"{least} seeds"]
    if results.dataset in SYNTHETIC:
        marks.append("synthetic")
    return f"{word} ({', '.join(marks)})"
