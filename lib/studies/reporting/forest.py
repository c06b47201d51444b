"""Forest plots of claims: the differences that they rest on, with intervals and verdicts."""

from collections.abc import Mapping, Sequence
from textwrap import wrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.reporting.ledger import (
    HOLDS,
    NONE,
    OPEN,
    REVERSED,
    UNTESTED,
    Comparison,
    Outcome,
    kind,
)
from studies.reporting.plots import COLUMN, Drawing, at_paper_size, plain

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
    title = wrap(f"{outcome.claim.id}: {outcome.verdict}", WIDTH - 8)
    return _drawn(title, panels, labels) if panels else None


@at_paper_size
def _drawn(
    title: list[str], panels: Mapping[str, Sequence[Comparison]], labels: Mapping[str, str]
) -> Figure:
    heights = [sum(LINE * (len(_words(step)) + 1.4) for step in steps) for steps in panels.values()]
    height = sum(heights) + 0.45 * len(panels) + LINE * len(title)
    figure = Drawing(figsize=(COLUMN, height), layout="constrained")
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
