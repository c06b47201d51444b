"""Figures at paper width, each system in its own colour and marker wherever it is drawn.

Every function returns a figure that pyplot does not know and that notebooks show: nothing has to be
closed, no backend is chosen, and settings last for the length of the call.
"""

from collections.abc import Collection, Sequence
from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from PIL import Image

from studies import tables
from studies.style import COLUMN, PAGE, Drawing, at_paper_size, grid, plain, style

PUBLISHED = {
    **{"marker": "D", "markersize": 6, "linestyle": ""},
    **{"color": "#333333", "markerfacecolor": "none"},
}
LEGEND_ROW = 0.16  # inches


@at_paper_size
def curves(
    frame: pd.DataFrame,
    x: str,
    ys: dict[str, str],
    hue: str = "system",
    seed: str = "seed",
    x_label: str | None = None,
    log: Collection[str] = (),
    columns: int = 3,
) -> Figure:
    """Draw one panel per column of `ys` against `x`, one line per system.

    Args:
        frame: long, one row a system, seed and x; a missing value is a point not logged.
        x: column of the horizontal axis.
        ys: column -> axis label with its unit.
        hue: column of systems.
        seed: column of seeds, if there is one. With several seeds of a system each is a thin
            line, and the thick line is their mean at every x that all of them have.
        x_label: label of the horizontal axis with its unit, by default `x`.
        log: columns of `ys` drawn on a logarithmic axis.
        columns: panels in a row.

    Raises:
        KeyError: a column that `frame` lacks.
    """
    figure, axes = grid(len(ys), columns, 2.0)
    systems = list(frame[hue].unique())
    for axis, (y, label) in zip(axes, ys.items(), strict=True):
        for system in systems:
            rows = frame.loc[frame[hue] == system].dropna(subset=[x, y])
            if seed not in frame:
                rows = rows.assign(**{seed: 0})
            lines = [one.set_index(x)[y].sort_index() for _, one in rows.groupby(seed)]
            _curve(axis, lines, system)
        axis.set(xlabel=plain(x_label or x), ylabel="\n".join(map(plain, wrap(label, 20))))
        if y in log:
            axis.set_yscale("log")
        if pd.api.types.is_integer_dtype(frame[x]):
            axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    _legend_below(figure, systems)
    return figure


def _curve(axis: Axes, lines: list[pd.Series], system: str) -> None:
    look = style(system)
    if len(lines) > 1:
        for line in lines:
            axis.plot(line.index, line, linewidth=0.6, alpha=0.5, **look.line)
        lines = [pd.concat(lines, axis=1, join="inner").mean(axis=1)]
    for line in lines:
        every = max(1, len(line) // 6)
        axis.plot(
            line.index, line, marker=look.marker, markersize=3.5, markevery=every, **look.line
        )


def _legend_below(figure: Figure, systems: Sequence[str]) -> None:
    keys = [
        Line2D([], [], label=plain(s), marker=style(s).marker, markersize=4, **style(s).line)
        for s in systems
    ]
    longest = max(len(system) for system in systems)
    # inches of a key and its name; wider rows would be cut off on both sides
    fitting = int(figure.get_figwidth() / (0.45 + 0.055 * longest))
    columns = max(1, min(len(keys), fitting, 2 if figure.get_figwidth() < PAGE else 4))
    # the panels keep their height, however many systems there are
    figure.set_figheight(figure.get_figheight() + LEGEND_ROW * -(-len(keys) // columns))
    figure.legend(handles=keys, loc="outside lower center", ncols=columns, frameon=False)


@at_paper_size
def confusion(matrix: ArrayLike, names: Sequence[str], title: str) -> Figure:
    """Draw a confusion matrix as shares of each true class.

    Args:
        matrix: (C, C) counts, rows true classes, columns predicted classes. A class without test
            items is an empty row.
        names: C class names. Up to 10 classes the counts stand in the cells; above 40 the names
            give way to the indices of the classes.
        title: one line.

    Raises:
        ValueError: `matrix` is not square or `names` has another length.
    """
    counts = np.asarray(matrix)
    size = len(names)
    if counts.shape != (size, size):
        raise ValueError(f"{size} names for a confusion matrix of shape {counts.shape}")
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    side = COLUMN if size <= 10 else PAGE
    figure = Drawing(figsize=(side, side * 0.9), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares, vmin=0, vmax=1, cmap="Blues", interpolation="nearest")
    bar = figure.colorbar(image, ax=axis, shrink=0.8)
    bar.set_label("share of the true class (0–1)")
    bar.outline.set_visible(False)
    axis.grid(False)
    axis.set_title(plain(title))
    unit = "" if size <= 40 else f" (index, {size} classes)"
    axis.set(xlabel=f"predicted class{unit}", ylabel=f"true class{unit}")
    if size <= 40:
        short = [plain(name, 14 if size <= 10 else 18) for name in names]
        font = 7 if size <= 25 else 5.5
        axis.set_xticks(range(size), short, rotation=90, fontsize=font)
        axis.set_yticks(range(size), short, fontsize=font)
    if size <= 10:
        for (row, column), share in np.ndenumerate(shares):
            if counts[row, column]:
                colour = "white" if share > 0.5 else "black"
                cell = f"{counts[row, column]:,.0f}"
                axis.text(column, row, cell, ha="center", va="center", color=colour, fontsize=6.5)
    return figure


@at_paper_size
def intervals(frame: pd.DataFrame, metrics: dict[str, str]) -> Figure:
    """Draw one panel per metric of a tidy frame: a dot and its 95 % interval per system.

    A published value is a hollow diamond. Systems stand from top to bottom in the order of the
    frame; one without any value, measured or published, is left out.

    Args:
        frame: a tidy frame.
        metrics: metric id -> axis label with its unit.

    Raises:
        ValueError: nothing to draw for a metric.
    """
    rows = frame.assign(system=tables.systems(frame))
    rows = rows[rows["metric"].isin(metrics) & rows[["mean", "published"]].notna().any(axis=1)]
    if absent := [metric for metric in metrics if metric not in set(rows["metric"])]:
        raise ValueError(f"no system has a value of {absent[0]}")
    systems = list(rows["system"].unique())
    width = COLUMN if len(metrics) == 1 else PAGE
    figure = Drawing(figsize=(width, 0.9 + 0.28 * len(systems)), layout="constrained")
    axes = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axis, (metric, label) in zip(axes, metrics.items(), strict=True):
        for row in rows[rows["metric"] == metric].itertuples():
            place, look = systems.index(row.system), style(row.system)
            if pd.notna(row.ci_low) and pd.notna(row.ci_high):
                axis.plot([row.ci_low, row.ci_high], [place] * 2, color=look.colour, linewidth=1.6)
            if pd.notna(row.mean):
                axis.plot(row.mean, place, look.marker, color=look.colour, markersize=5)
            if pd.notna(row.published):
                axis.plot(row.published, place, **PUBLISHED)
        axis.set_xlabel(plain(label))
        axis.grid(False, axis="y")
    axes[0].set_yticks(range(len(systems)), [plain(system) for system in systems])
    axes[0].set_ylim(len(systems) - 0.5, -0.5)
    if rows["published"].notna().any():
        hollow = Line2D([], [], label="published", **PUBLISHED)
        figure.legend(handles=[hollow], loc="outside upper right", frameon=False)
    return figure


def scores(frame: pd.DataFrame, metrics: dict[str, str]) -> Figure | None:
    """Draw `intervals` of those metrics that the frame has; None where it has none."""
    have = tables.present(frame, metrics)
    return intervals(frame, have) if have else None


@at_paper_size
def sweep(frame: pd.DataFrame, x: str, x_label: str, metrics: dict[str, str]) -> Figure:
    """Draw one panel per metric of a tidy frame against a quantity, with 95 % intervals.

    Args:
        frame: rows of a tidy frame, one line a model, with one more column, the quantity.
        x: that column; positive, drawn on a logarithmic axis with its values as ticks.
        x_label: label of the horizontal axis with its unit.
        metrics: metric id -> axis label with its unit.
    """
    figure, axes = grid(len(metrics), len(metrics), 2.4)
    models = list(frame["model"].unique())
    places = sorted(frame[x].unique())
    for axis, (metric, label) in zip(axes, metrics.items(), strict=True):
        for offset, model in enumerate(models):
            mine = (frame["metric"] == metric) & (frame["model"] == model)
            rows, look = frame[mine].sort_values(x), style(model)
            # side by side, so that intervals of different systems do not hide each other
            at = rows[x] * 1.03 ** (offset - (len(models) - 1) / 2)
            # no errorbar: a bootstrap interval need not hold its mean
            axis.vlines(at, rows["ci_low"], rows["ci_high"], colors=look.colour, linewidth=1)
            axis.plot(at, rows["mean"], marker=look.marker, markersize=4, **look.line)
        axis.set(xlabel=plain(x_label), ylabel=plain(label), xscale="log")
        axis.set_xticks(places, [f"{place:g}" for place in places])
        axis.minorticks_off()
    _legend_below(figure, models)
    return figure


@at_paper_size
def images(items: Sequence[tuple[ArrayLike | Image.Image, str]], columns: int = 5) -> Figure:
    """Draw a grid of pictures with captions.

    Args:
        items: (picture, caption); a picture is a PIL image or an array, (H, W) or (H, W, 3 or 4),
            uint8 or floats in 0–1.
        columns: pictures in a row.
    """
    columns = max(1, min(columns, len(items)))
    captions = [wrap(caption, 88 // columns) for _, caption in items]
    pixels = [np.asarray(picture) for picture, _ in items]
    tallest = max((one.shape[0] / one.shape[1] for one in pixels), default=1)
    height = PAGE / columns * tallest + 0.15 * max(map(len, captions), default=0)
    figure, axes = grid(len(items), columns, height)
    figure.set_figwidth(PAGE)
    for axis, one, lines in zip(axes, pixels, captions, strict=True):
        white = 255 if one.dtype.kind in "iu" else 1
        axis.imshow(one, cmap="gray", vmin=0, vmax=white, interpolation="nearest")
        axis.set_axis_off()
        axis.set_title("\n".join(map(plain, lines)), fontsize=7)
    return figure
