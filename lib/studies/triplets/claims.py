"""The ledger: what the paper claims, and what became of it on a dataset.

A claim is a set of differences between systems, each with the side of zero it is claimed on.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from studies.differences import BOOTSTRAP, signed
from studies.tables import Claim
from studies.triplets.results import Results

SYNTHETIC = ("tiny", "demo")
NO_HELP = 0.01  # macro-F1; a gain that is smaller for certain is called none
NO_WEIGHTS = (
    "it needs the weights of ConvNeXt-XLarge; where they can be downloaded, make study "
    "DATASET=grocery_random_frozen tests T2 and trains what T9 and T10 compare"
)
METRICS = {
    "macro_f1": "",
    "severe_errors": "",
    "unseen_macro_f1": "",
    "nmi": "NMI of classes, ",
    "nmi_level1": "NMI of categories, ",
}


@dataclass(frozen=True)
class Step:
    """One difference, `second` minus `first`, and what is claimed of it."""

    metric: str
    first: str
    second: str
    claimed: str  # higher, lower, or not higher


@dataclass(frozen=True)
class Experiment:
    """A claim, the comparison that tests it, the steps it rests on, and others shown beside."""

    id: str
    claim: str
    experiment: str
    steps: tuple[Step, ...]
    beside: tuple[Step, ...] = ()


def higher(metric: str, *pairs: tuple[str, str]) -> tuple[Step, ...]:
    """Return the steps that claim the second system of each pair to be higher."""
    return tuple(Step(metric, first, second, "higher") for first, second in pairs)


ORDER = (("triplet", "flexible"), ("cross_entropy", "triplet"))
CONTROLS = (("cross_entropy", "flexible"), ("cross_entropy@untrained", "flexible"))
HELD_OUT = (
    ("cross_entropy@held_out", "flexible@held_out"),
    ("cross_entropy@held_out_untrained", "flexible@held_out"),
)
EXPERIMENTS = [
    Experiment(
        "T1",
        "macro-F1 from scratch: flexible margin > triplet > cross-entropy",
        "the three approaches, same network and batches",
        higher("macro_f1", *ORDER),
    ),
    Experiment(
        "T2",
        "macro-F1 on a frozen backbone: flexible margin > triplet > cross-entropy",
        "the three approaches, same features and batches",
        higher("macro_f1", *ORDER),
    ),
    Experiment(
        "T3",
        "the flexible margin makes the fewest severe errors",
        "severe errors on the test set",
        tuple(
            Step("severe_errors", other, "flexible", "lower")
            for other in ("cross_entropy", "triplet")
        ),
    ),
    Experiment(
        "T4",
        "semi-hard first, then hardest, converges where hardest alone collapses or stalls",
        "both losses so, against hardest alone; beside it the 2×2 of margin and schedule, which "
        "says how much of the gain is the schedule, how much the margin",
        higher(
            "macro_f1",
            ("flexible@hardest", "flexible"),
            ("triplet@hardest", "triplet@two_stages"),
        ),
        higher(
            "macro_f1",
            ("flexible@one_stage", "flexible"),
            ("triplet", "triplet@two_stages"),
            ("triplet", "flexible@one_stage"),
            ("triplet@two_stages", "flexible"),
        ),
    ),
    Experiment(
        "T5",
        "more than two images of a class in the batch do not help",
        "two against four, at equal images seen",
        (Step("macro_f1", "flexible", "flexible@four_images", "not higher"),),
    ),
    Experiment(
        "T6",
        "classes never trained on are recognised without training",
        "macro-F1 of classes held out, by k-NN among the training images of all classes; controls: "
        "features of cross-entropy, of a random network",
        higher("unseen_macro_f1", *HELD_OUT),
    ),
    Experiment(
        "T7",
        "the space clusters by class and by category",
        "k-means on the test images; same controls",
        higher("nmi", *CONTROLS) + higher("nmi_level1", *CONTROLS),
    ),
    Experiment(
        "T8",
        "the flexible margin costs a constant factor in the number of levels",
        "time of loss and gradient against the number of levels",
        (),
    ),
    Experiment(
        "T9",
        "a small scratch network with flexible margin matches a large frozen one with "
        "cross-entropy",
        "scratch flexible against frozen cross-entropy",
        (),
    ),
    Experiment(
        "T10",
        "the fewer the parameters, the larger the gain",
        "gain of the flexible margin over cross-entropy against trained parameters",
        (),
    ),
]


def ledger(results: Results, tests: pd.DataFrame) -> list[Claim]:
    """Return a verdict on each of the claims T1 to T10.

    `tests` is what `comparisons.paired_tests` returned.
    """
    return [judged(experiment, results, tests) for experiment in EXPERIMENTS]


def judged(experiment: Experiment, results: Results, tests: pd.DataFrame) -> Claim:
    """Return the row of one claim: figure and verdict, or why it is not tested here."""
    text = (experiment.id, experiment.claim, experiment.experiment)
    frozen = results.runs[0].params["backbone"]["name"] == "frozen"
    if experiment.id == ("T1" if frozen else "T2"):
        reason = "this dataset id has a frozen backbone" if frozen else NO_WEIGHTS
        return Claim(*text, "", f"not tested here: {reason}")
    if experiment.id == "T8":
        return Claim(*text, *levels_verdict(results))
    if not experiment.steps:
        return Claim(*text, "", f"not tested here: {NO_WEIGHTS}")
    found = [difference(tests, step) for step in experiment.steps]
    if absent := missing(results, experiment.steps):
        return Claim(*text, "", f"not tested here: no run of {absent} on {results.dataset}")
    if any(row is None for row in found):
        return Claim(*text, "", "not tested here: the systems have no seed in common")
    beside = [(step, difference(tests, step)) for step in experiment.beside]
    shown = [*zip(experiment.steps, found, strict=True), *beside]
    figure = "; ".join(said(step, row) for step, row in shown if row is not None)
    stopped = [f"{name} {why}" for name, why in stops(results, experiment.steps)]
    return Claim(*text, "; ".join([figure, *stopped]), verdict(results, experiment.steps, found))


def missing(results: Results, steps: Iterable[Step]) -> str:
    """Return the systems that the steps need and that were not run, as a list in words."""
    needed = dict.fromkeys(name for step in steps for name in (step.first, step.second))
    return " or ".join(name for name in needed if name not in results.systems)


def stops(results: Results, steps: Iterable[Step]) -> list[tuple[str, str]]:
    """Return the systems of the steps whose training ended early, and why."""
    needed = dict.fromkeys(name for step in steps for name in (step.first, step.second))
    return [
        (f"{name}, seed {run.params['seed']},", run.provenance["stopped"].partition(":")[0])
        for name in needed
        for run in results.systems[name]
        if run.provenance["stopped"]
    ]


def difference(tests: pd.DataFrame, step: Step) -> pd.Series | None:
    """Return the bootstrap row of second minus first, None when they have no seed in common."""
    rows = tests[(tests["metric"] == step.metric) & (tests["test"] == BOOTSTRAP)]
    forward = rows[(rows["first"] == step.first) & (rows["second"] == step.second)]
    if not forward.empty:
        return forward.iloc[0]
    backward = rows[(rows["first"] == step.second) & (rows["second"] == step.first)]
    if backward.empty:
        return None
    row = backward.iloc[0].copy()
    row["difference"], row["ci_low"], row["ci_high"] = -row.difference, -row.ci_high, -row.ci_low
    return row


def said(step: Step, row: pd.Series) -> str:
    """Return a difference in words, such as "flexible − triplet +0.007 [−0.015, +0.028]"."""
    count = step.metric == "severe_errors"
    numbers = signed(row.difference, row.ci_low, row.ci_high, count=count)
    names = f"{step.second} − {step.first}".replace("cross_entropy", "cross-entropy")
    return f"{METRICS[step.metric]}{names} {numbers}"


def verdict(results: Results, steps: Iterable[Step], rows: list[pd.Series]) -> str:
    """Return what became of a claim.

    It holds when every interval is on the claimed side, does not when one is on the other side,
    and is inconclusive otherwise.
    """
    sides = [side(step, row) for step, row in zip(steps, rows, strict=True)]
    word = "does not hold" if min(sides) < 0 else "inconclusive"
    word = "holds" if min(sides) > 0 else word
    least = min(int(row.seeds) for row in rows)
    # with one seed the interval knows test images alone, not how training varies
    return (
        f"{word} ({', '.join(['one seed' if least == 1 else f'{least} seeds', *marks(results)])})"
    )


def marks(results: Results) -> list[str]:
    """Return what a verdict on this dataset must say of itself."""
    return ["synthetic"] if results.dataset in SYNTHETIC else []


def side(step: Step, row: pd.Series) -> int:
    """Return 1 if the interval is on the claimed side, −1 if on the other, 0 if on both."""
    if step.claimed == "not higher":
        return 1 if row.ci_high < NO_HELP else -int(row.ci_low > 0)
    sign = 1 if step.claimed == "higher" else -1
    low, high = sorted((sign * row.ci_low, sign * row.ci_high))
    return int(low > 0) - int(high < 0)


def levels_verdict(results: Results) -> tuple[str, str]:
    """Return figure and verdict of T8, the cost of levels measured beside the runs."""
    file = results.folder / "levels.csv"
    if not file.exists():
        return "", "not tested here: its cost was not measured beside these runs"
    table = pd.read_csv(file)
    figure = ", ".join(f"{row.levels} ×{row.ratio:.2f}" for row in table.itertuples())
    # a cost of c levels is at most c times that of one, so for a given tree a constant factor
    holds = (table["ratio"] <= table["levels"].clip(lower=1.25)).all()
    return (
        f"time by levels, against one margin for all: {figure}",
        "holds" if holds else "does not hold",
    )


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
