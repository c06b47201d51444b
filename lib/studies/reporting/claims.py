"""The ledger of claims: what was published, and what became of it here.

A claim is data: steps, each a difference between two systems that is claimed to be on one side. The
verdict on a step is, in this order,

- *holds*: its 95 % interval is on the claimed side, and p is below .05 after Holm's correction over
  all steps of one ledger and condition;
- *does not hold*: the same on the other side;
- *no difference*: the interval is inside ± a margin that is fixed beforehand;
- *inconclusive*, with the difference that could have been seen: half the interval's width;
- *not tested here*, and why.

The first three need five seeds, unless nothing is left to chance over seeds.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import ConfigDict, TypeAdapter

from studies.reporting.bootstrap import Estimate, Measured, Systems, difference, estimate, holm
from studies.reporting.plots import COLUMN, Drawing, at_paper_size, plain
from studies.reporting.tables import p_value, signed, to_markdown

SYNTHETIC = ("tiny", "demo")  # a verdict on these is one on a drawn world
FEWEST = 5  # seeds of a verdict
RATE, COUNT = 0.01, None  # margins; that of a count depends on it
# how a side is written, its sign, and where it begins, in margins
SIDES = {
    "higher": (">", 1, 0),
    "lower": ("<", -1, 0),
    "no higher": ("≤", -1, 1),
    "no lower": ("≥", 1, -1),
}
HOLDS, REVERSED, NONE = "holds", "does not hold", "no difference"
OPEN, UNTESTED = "inconclusive", "not tested here"
TALLIED = {
    HOLDS: ("holds", "hold"),
    REVERSED: ("does not hold", "do not hold"),
    NONE: ("shows no difference", "show no difference"),
    OPEN: ("is inconclusive", "are inconclusive"),
    UNTESTED: ("is not tested here", "are not tested here"),
}
COLUMNS = [
    *("id", "claim", "condition", "step", "difference", "ci_low", "ci_high", "p_holm"),
    *("n_seeds", "verdict"),
]


@dataclass(frozen=True)
class Step:
    """What is claimed of a difference, `second` minus `first`, in a metric.

    `first` is a system, or a number that `second` is compared with. `side` is `higher` or `lower`
    than the first, or `no higher` or `no lower`, which is not by the margin or more. `margin` is
    the largest difference that is called none: a number, or `COUNT` for the larger of 10 % of the
    first and .1 % of the test items. Where a step with a `gate` shows no difference or the
    reverse, its claim cannot be tested, and `gate` says why. An `optional` step is left out where
    one of its systems was not run. `needs` says what a system that was not run needs.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    metric: str
    first: str | float
    second: str
    side: str = "higher"
    margin: float | None = RATE
    gate: str = ""
    optional: bool = False
    needs: str = ""

    @property
    def relation(self) -> str:
        """Return which side is claimed, such as `flexible > triplet`."""
        first = self.first if isinstance(self.first, str) else f"{self.first:g}"
        return f"{self.second} {SIDES[self.side][0]} {first}"


@dataclass(frozen=True)
class Claim:
    """A published claim: it holds when all of its steps do, or else all of the `alternatives`.

    `condition` says how its systems were trained, such as `as published` or `tuned equally`;
    `untested`, fact about a dataset -> why the claim cannot be tested there, or `always`.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    id: str
    text: str
    steps: tuple[Step, ...] = ()
    condition: str = ""
    alternatives: tuple[Step, ...] = ()
    untested: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the id, and the condition where there is one."""
        return ", ".join(filter(None, (self.id, self.condition)))


# what a `claims.yaml` lists under `claims`, to Claims; the fields go by their names
read = TypeAdapter(tuple[Claim, ...]).validate_python


@dataclass(frozen=True)
class Comparison:
    """A step and its estimate, or why there is `none`; its margin, and p after Holm."""

    step: Step
    estimate: Estimate
    margin: float = np.nan
    none: str = ""
    p_holm: float = np.nan

    @property
    def line(self) -> float:
        """Return the difference at which the claimed side begins."""
        return SIDES[self.step.side][2] * self.margin

    @property
    def verdict(self) -> str:
        """Return what became of the step."""
        one, parts = self.estimate, []
        if self.none:
            return f"{UNTESTED}: {self.none}"
        if one.seeds < FEWEST and not one.fixed:
            parts = [f"{one.seeds} of at least {FEWEST} seeds"]
        elif np.isnan(one.variance):
            return f"{UNTESTED}: {self.step.metric} is undefined on some resamples"
        elif self.p_holm < 0.05 and not one.low <= self.line <= one.high:
            claimed = (one.value - self.line) * SIDES[self.step.side][1] > 0
            return HOLDS if claimed else REVERSED
        elif max(-one.low, one.high) < self.margin:
            return NONE
        # one seed says nothing of how far another would be from it
        if one.fixed or one.seeds > 1:
            number = f"{one.margin:,.1f}" if self.step.margin is COUNT else f"{one.margin:.3f}"
            parts.append(f"could have seen ±{number}")
        return f"{OPEN}: {', '.join(parts)}"


@dataclass(frozen=True)
class Outcome:
    """A claim and its steps, those of the alternatives last; or why it is `untested`."""

    claim: Claim
    steps: tuple[Comparison, ...]
    untested: str = ""

    @property
    def verdict(self) -> str:
        """Return what became of the claim."""
        if self.untested:
            return f"{UNTESTED}: {self.untested}"
        needed = len(self.claim.steps)
        parts = filter(None, (self.steps[:needed], self.steps[needed:]))
        # what may yet hold stands before what does not
        ranked = (HOLDS, OPEN, NONE, REVERSED, UNTESTED)
        return min(map(_all_of, parts), key=lambda verdict: ranked.index(kind(verdict)))


def _all_of(steps: Sequence[Comparison]) -> str:
    """Return what becomes of a claim that needs all of some steps."""
    for step in steps:
        if step.step.gate and step.verdict != HOLDS:
            blocked = step.verdict in (REVERSED, NONE)
            return f"{UNTESTED}: {step.step.gate}" if blocked else step.verdict
    verdicts = [step.verdict for step in steps]
    if REVERSED in verdicts:
        return REVERSED
    if len(set(verdicts)) == 1:
        return verdicts[0]
    if reasons := [verdict for verdict in verdicts if kind(verdict) == UNTESTED]:
        return f"{UNTESTED}: {'; '.join(dict.fromkeys(map(detail, reasons)))}"
    widest = max(steps, key=lambda step: (kind(step.verdict) == OPEN, step.estimate.margin))
    parts = [f"{verdicts.count(HOLDS)} of {len(steps)} steps hold"] if HOLDS in verdicts else []
    return ": ".join([OPEN, ", ".join(filter(None, [*parts, detail(widest.verdict)]))])


def kind(verdict: str) -> str:
    """Return which of the five verdicts one is."""
    return verdict.partition(": ")[0]


def detail(verdict: str) -> str:
    """Return what a verdict says beside its kind."""
    return verdict.partition(": ")[2]


def judge(claims: Iterable[Claim], systems: Systems, facts: Collection[str] = ()) -> list[Outcome]:
    """Return what became of the claims of one ledger.

    `systems` gives the metrics of each system by id; `facts` hold of the dataset, see `Claim`. A
    claim whose systems were also trained as published is judged twice, see `_conditions`.
    """
    outcomes = []
    for claim in claims:
        reasons = [why for fact, why in claim.untested.items() if fact in ("always", *facts)]
        for one in _conditions(claim, {} if reasons else systems):
            steps = () if reasons else (*one.steps, *one.alternatives)
            tested = tuple(_compared(step, systems) for step in steps)
            outcomes.append(Outcome(one, tested, *reasons[:1]))
    pairs = [(one.claim.condition, step) for one in outcomes for step in one.steps]
    p = pd.Series([step.estimate.p(step.line) for _, step in pairs], dtype="float64")
    adjusted = iter(p.groupby([condition for condition, _ in pairs]).transform(holm))
    return [
        replace(one, steps=tuple(replace(step, p_holm=next(adjusted)) for step in one.steps))
        for one in outcomes
    ]


def _conditions(claim: Claim, systems: Systems) -> Iterator[Claim]:
    """Yield a claim as it is, and as published where its approaches were also trained so.

    `flexible@shuffled` was where there is `flexible@published_shuffled`. Optional steps are those
    whose systems were run under the condition.
    """
    named = {name for one in claim.steps if not one.optional for name in (one.first, one.second)}
    needed = {name for name in named if "@" not in str(name)}
    changed = {name for name in named if _as_published(name, systems) != name}
    # one approach as published beside others that are not is no condition
    twice = len(changed) > 1 and needed <= changed
    asked = tuple(s for s in claim.steps if not s.optional or {s.first, s.second} <= {*systems})
    yield replace(claim, steps=asked, condition="tuned equally" if twice else claim.condition)
    if twice:
        tuned = [(step.first, step.second) for step in claim.steps]
        pairs = [[_as_published(name, systems) for name in pair] for pair in tuned]
        steps = (
            replace(step, first=first, second=second)
            for step, (first, second) in zip(claim.steps, pairs, strict=True)
            if not step.optional or (first != step.first and second != step.second)
        )
        yield replace(claim, condition="as published", steps=tuple(steps))


def _as_published(name: str | float, systems: Systems) -> str | float:
    """Return the system that is another as published, the same name where none was run."""
    model, _, variant = str(name).partition("@")
    published = "_".join(filter(None, ["published", variant]))
    return f"{model}@{published}" if f"{model}@{published}" in systems else name


def _compared(step: Step, systems: Systems) -> Comparison:
    """Return a step with its estimate, before Holm."""
    names = [name for name in (step.first, step.second) if isinstance(name, str)]
    found, none = None, "the systems have no seed in common"
    if absent := [name for name in names if name not in systems]:
        none = f"no run of {' or '.join(absent)}{step.needs and f', which needs {step.needs}'}"
    elif any(step.metric not in systems[name] for name in names):
        none = f"{step.metric} was not measured"
    else:
        second = systems[step.second][step.metric]
        first = systems[step.first][step.metric] if step.first in names else step.first
        found = difference(first, second)
    if found is None:
        return Comparison(step, Estimate(np.nan, np.nan, 0, None, np.nan, np.nan), none=none)
    if step.margin is not COUNT:
        return Comparison(step, found, step.margin)
    reference = estimate(first).value if isinstance(first, Measured) else first
    return Comparison(step, found, max(abs(reference) / 10, (found.items or 0) / 1000))


# What is written of it.


def frame(outcomes: Iterable[Outcome], dataset: str) -> pd.DataFrame:
    """Return the ledger, one row a claim (`step` empty) and one below it for each of its steps."""
    rows = []
    for outcome in outcomes:
        claim = (outcome.claim.id, outcome.claim.text, outcome.claim.condition)
        fewest = min((step.estimate.seeds for step in outcome.steps), default=0)
        rows.append((*claim, "", *[np.nan] * 4, fewest, outcome.verdict))
        for step in outcome.steps:
            one = step.estimate
            numbers = (one.value, one.low, one.high, step.p_holm, one.seeds)
            said = f"{step.step.metric}: {step.step.relation}"
            rows.append((*claim, said, *numbers, step.verdict))
    return pd.DataFrame(rows, columns=COLUMNS).assign(synthetic=dataset in SYNTHETIC)


def table(outcomes: Iterable[Outcome], names: Mapping[str, str] = {}) -> pd.DataFrame:
    """Return the ledger as a table to read: a row a claim, and one below it for each step.

    A step that was not tested has none where its claim's row says why. `names` gives metric id ->
    heading; a metric without one goes by its id.
    """
    rows = []
    for outcome in outcomes:
        claim, whole = outcome.claim, outcome.verdict
        rows.append({"id": claim.name, "claim": claim.text, "verdict": whole})
        for step in (step for step in outcome.steps if not step.none or step.none not in whole):
            one = step.estimate
            shown = signed(one.value, one.low, one.high, step.step.margin is COUNT)
            if np.isnan(one.variance):
                shown = "" if step.none else shown.partition(" ")[0]
            text = f"{names.get(step.step.metric, step.step.metric)}: {step.step.relation}"
            row = {"claim": text, "difference": shown, "p (Holm)": p_value(step.p_holm)}
            rows.append({**row, "seeds": one.seeds or pd.NA, "verdict": step.verdict})
    headings = ["id", "claim", "difference", "p (Holm)", "seeds", "verdict"]
    return pd.DataFrame(rows, columns=headings).astype({"seeds": "Int64"})


def markdown(outcomes: Sequence[Outcome], dataset: str, names: Mapping[str, str] = {}) -> str:
    """Return the ledger for people: what became of the claims in one sentence, and its `table`."""
    return f"Of {tally(outcomes, dataset)}.\n\n{to_markdown(table(outcomes, names))}"


def tally(outcomes: Iterable[Outcome], dataset: str) -> str:
    """Return in words what became of claims, such as "10 claims 2 hold, 8 do not hold"."""
    outcomes = list(outcomes)
    mark = " (synthetic)" if dataset in SYNTHETIC else ""
    kinds = [kind(outcome.verdict) for outcome in outcomes]
    claims = len({outcome.claim.id for outcome in outcomes})
    twice = f", {len(kinds) - claims} of them under two conditions:" if len(kinds) > claims else ""
    counts = {name: kinds.count(name) for name in TALLIED}
    parts = [f"{count} {TALLIED[name][count > 1]}" for name, count in counts.items() if count]
    return f"{claims} claims{twice} {', '.join(parts)}{mark}"


# Forest plots: the differences that a claim rests on, with intervals and verdicts.

LINE = 0.14  # inches of a line of text
WIDTH = 62  # letters that fit into it
# colour, marker and filling of a verdict; hollow where nothing is decided
LOOKS = {
    HOLDS: ("#0173b2", "o", "full"),
    REVERSED: ("#c23b00", "X", "full"),
    NONE: ("#222222", "s", "full"),
    OPEN: ("#666666", "o", "none"),
    UNTESTED: ("#666666", "d", "none"),
}


@at_paper_size
def forest(outcome: Outcome, labels: Mapping[str, str] = {}) -> Figure | None:
    """Draw the differences that a claim rests on, one a row, with 95 % intervals and verdicts.

    A metric is a panel: a line at no difference, a band over differences that the margin fixed
    beforehand calls none. Steps without an estimate are left out; None without any other.

    Args:
        outcome: what became of the claim.
        labels: metric id -> name with its unit.
    """
    panels: dict[str, list[Comparison]] = {}
    for step in outcome.steps:
        if not step.none:
            panels.setdefault(step.step.metric, []).append(step)
    if not panels:
        return None
    title = wrap(f"{outcome.claim.name}: {outcome.verdict}", WIDTH - 8)
    heights = [sum(LINE * (len(_words(step)) + 1.4) for step in steps) for steps in panels.values()]
    height = sum(heights) + 0.45 * len(panels) + LINE * len(title)
    figure = Drawing(figsize=(COLUMN, height), layout="constrained", label=outcome.claim.name)
    axes = figure.subplots(len(panels), height_ratios=heights, squeeze=False)[:, 0]
    for axis, (metric, steps) in zip(axes, panels.items(), strict=True):
        _panel(axis, steps)
        axis.set_xlabel(plain(f"difference in {labels.get(metric, metric)}"))
    axes[0].set_title("\n".join(map(plain, title)), x=0, ha="left")
    return figure


def _words(step: Comparison) -> list[tuple[str, str]]:
    """Return the lines above an interval: at the left the step, at the right what became of it."""
    name, verdict = step.step.relation, step.verdict
    if len(name) + len(verdict) < WIDTH:
        return [(name, verdict)]
    left, right = (wrap(text, WIDTH - 4) for text in (name, verdict))
    return [*((line, "") for line in left), *(("", line) for line in right)]


def _panel(axis: Axes, steps: Sequence[Comparison]) -> None:
    """Draw the steps of one metric, from top to bottom; vertical places are lines of text.

    Nothing is drawn across the words: zero is marked beside each interval alone.
    """
    place = 0.0
    for step in steps:
        colour, marker, filling = LOOKS[kind(step.verdict)]
        for name, verdict in _words(step):
            place += 1
            for x, side, text, ink in ((0, "left", name, "black"), (1, "right", verdict, colour)):
                start = {"xy": (x, place), "xycoords": axis.get_yaxis_transform()}
                look = {"color": ink, "fontsize": 6.5, "ha": side, "va": "bottom"}
                axis.annotate(plain(text), **start, **look)
        one = step.estimate
        top, middle, bottom = place + 0.15, place + 0.6, place + 1.05
        axis.fill_betweenx([top, bottom], -step.margin, step.margin, color="#dcdcdc", lw=0)
        axis.vlines(0, top, bottom, color="black", linewidth=0.8)
        axis.plot([one.low, one.high], [middle] * 2, color=colour, solid_capstyle="butt")
        look = {"color": colour, "fillstyle": filling, "markersize": 4.5, "markerfacecoloralt": "w"}
        axis.plot(one.value, middle, marker, **look)
        place += 1.4
    axis.grid(visible=False)
    axis.set(ylim=(place, 0), yticks=[])
    axis.spines["left"].set_visible(False)
