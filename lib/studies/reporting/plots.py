"""Figures at paper width, each system in its own colour and marker wherever it is drawn.

Every function returns a figure that pyplot does not know and that notebooks show: nothing has to be
closed, no backend is chosen, and settings last for the length of the call.
"""

import io
import sys
import warnings
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from matplotlib.style import context
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from studies.reporting import tables

COLUMN, PAGE = 3.5, 7.0  # inches: one column of a two-column paper, and its whole width
# The yellow and the pale pink of the palette are too faint on white.
COLOURS = [c for i, c in enumerate(sns.color_palette("colorblind").as_hex()) if i not in (6, 8)]
MARKERS = "osD^vPXph"
DASHES = [(4, 1.5), (1, 1), (6, 1.5, 1, 1.5)]
# Any odd-looking number gives fixed styles; with this one, systems that are usually drawn
# together differ in colour.
SPREAD = 38478
PAPER = {
    **sns.axes_style("ticks", {"axes.grid": True, "grid.color": "#e6e6e6"}),
    **sns.plotting_context("paper", font_scale=0.85),
    **{"font.family": ["DejaVu Sans"], "axes.spines.top": False, "axes.spines.right": False},
    **{"axes.titlesize": 8.5, "figure.dpi": 150, "lines.linewidth": 1.5, "grid.linewidth": 0.6},
    **{"axes.linewidth": 0.8, "xtick.major.width": 0.8, "ytick.major.width": 0.8},
}
SVG = {"svg.hashsalt": "studies", "svg.fonttype": "path"}


@contextmanager
def paper(settings: Mapping[str, Any] = PAPER) -> Iterator[None]:
    """Hold settings for the block, and matplotlib's own, whatever a user's `matplotlibrc`."""
    with context(["default", settings]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # `families` says it once
        yield


at_paper_size = paper()  # decorates a drawing function


@cache
def families(letters: frozenset[str]) -> list[str]:
    """Return fonts that have the letters, first our own; say which letters no font here has."""
    found, lacking = [], set(filter(str.isprintable, letters))
    for font in sorted(fontManager.ttflist, key=lambda font: [font.name] != PAPER["font.family"]):
        if lacking and "Last Resort" not in font.name:  # which has boxes only
            own = lacking.intersection(map(chr, FT2Font(font.fname).get_charmap()))
            found += [font.name] if own else []
            lacking -= own
    if lacking:
        shown = "".join(sorted(lacking)[:20])
        print(f"no font for {shown}: boxes are drawn; install one, such as Noto", file=sys.stderr)
    return found


class Drawing(Figure):
    """A figure that notebooks and pages show as SVG, with words for who cannot see it.

    Letters are drawn as outlines, so that they look the same everywhere; equal figures give equal
    bytes.
    """

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save the figure; its ticks are made when it is first drawn, so at paper size too."""
        with paper():
            self.draw_without_rendering()
            texts = self.findobj(Text)
            found = families(frozenset("".join(text.get_text() for text in texts)))
            if set(found).difference(PAPER["font.family"]):
                for text in texts:
                    text.set_fontfamily(found)
                self.draw_without_rendering()
            # the layout's solver ends in other last bits from one process to the next
            self.set_layout_engine("none")
            for axis in self.axes:
                axis.set_position(np.round(axis.get_position().bounds, 6))
        with paper(SVG):
            super().savefig(*args, **kwargs)

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        """Return drawing and words for IPython, and what a page must know of the drawing."""
        stream = io.StringIO()
        self.savefig(stream, format="svg", metadata={"Date": None})
        facts = {"alt": self.words(), "wide": bool(self.get_figwidth() > COLUMN)}
        facts |= {"anchor": self.get_label()} if self.get_label() else {}
        kind = "image/svg+xml"
        return {kind: stream.getvalue(), "text/plain": self.words()}, {kind: facts}

    def words(self) -> str:
        """Return what is drawn: the panels by titles and labels, and the keys."""
        panels = []
        for axis in self.axes:
            labels = filter(None, [axis.get_ylabel(), axis.get_xlabel()])
            panels.append(": ".join(filter(None, [axis.get_title(), " against ".join(labels)])))
        legends = [*self.legends, *filter(None, (axis.get_legend() for axis in self.axes))]
        keys = [text.get_text() for legend in legends for text in legend.get_texts()]
        shown = ["; ".join(dict.fromkeys(filter(None, panels))), ", ".join(dict.fromkeys(keys))]
        return " ".join("; of ".join(filter(None, shown)).replace("\\$", "$").split())


class Style(NamedTuple):
    """How one system is drawn."""

    colour: str
    marker: str
    dashes: tuple[float, ...] | None

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of a matplotlib line, without its markers."""
        return {"color": self.colour, "linestyle": "-" if self.dashes is None else (0, self.dashes)}


def style(system: str) -> Style:
    """Return the style of "model" or "model@variant", the same in every figure.

    The model gives the colour; a variant has a marker other than its model's, and dashes.
    """

    def spread(name: str) -> int:
        return (zlib.crc32(name.encode()) * SPREAD % 2**32) >> 16

    model, _, variant = system.partition("@")
    marker, colour = divmod(spread(model), len(COLOURS))
    dashes = None
    if variant:
        dash, step = divmod(spread(system), len(MARKERS) - 1)
        marker += 1 + step
        dashes = DASHES[dash % len(DASHES)]
    return Style(COLOURS[colour], MARKERS[marker % len(MARKERS)], dashes)


def plain(text: Any, width: int | None = None) -> str:
    """Return text that matplotlib shows as it stands: no mathematics, no hidden legend entry.

    Longer than `width` characters, it ends in an ellipsis.
    """
    text = " ".join(str(text).split())
    if width is not None and len(text) > width:
        text = text[: width - 1].rstrip() + "…"
    text = text.replace("$", r"\$")
    return "\u200a" + text if text.startswith("_") else text


def grid(panels: int, columns: int, height: float, **shared: Any) -> tuple[Figure, np.ndarray]:
    """Return a figure of `panels` axes of `height` inches each, and these axes, (panels,)."""
    columns = max(1, min(columns, panels))
    rows = -(-panels // columns)
    width = COLUMN if columns == 1 else PAGE
    figure = Drawing(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for spare in axes[panels:]:
        spare.remove()
    return figure, axes[:panels]


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
    x_label: str | None = None,
    log: Collection[str] = (),
) -> Figure:
    """Draw one panel per column of `ys` against `x`, one line per system.

    Args:
        frame: long, one row a `system`, x and, if there are any, `seed`; a missing value is a
            point not logged. With several seeds of a system each is a thin line, and the thick
            line is their mean at every x that all of them have.
        x: column of the horizontal axis.
        ys: column -> axis label with its unit.
        x_label: label of the horizontal axis with its unit, by default `x`.
        log: columns of `ys` drawn on a logarithmic axis.

    Raises:
        KeyError: a column that `frame` lacks.
    """
    figure, axes = grid(len(ys), 2 if len(ys) == 4 else 3, 2.0)
    systems = list(frame["system"].unique())
    for axis, (y, label) in zip(axes, ys.items(), strict=True):
        for system in systems:
            rows = frame[frame["system"] == system].dropna(subset=[x, y]).set_index(x)
            by_seed = rows.groupby("seed") if "seed" in frame else [(None, rows)]
            _curve(axis, [line[y].sort_index() for _, line in by_seed], system)
        axis.set(xlabel=plain(x_label or x), ylabel="\n".join(map(plain, wrap(label, 20))))
        axis.set_yscale("log" if y in log else "linear")
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
        marks = {"marker": look.marker, "markersize": 3.5, "markevery": max(1, len(line) // 6)}
        axis.plot(line.index, line, **marks, **look.line)


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
    """
    counts, size = np.asarray(matrix), len(names)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    few, many = size <= 10, size > 40
    figure, (axis,) = grid(1, 1, 0.9 * (COLUMN if few else PAGE))
    figure.set_figwidth(COLUMN if few else PAGE)
    labels = 10 if many else [plain(name, 14 if few else 18) for name in names]
    cells = [[f"{n:,.0f}" if n else "" for n in row] for row in counts] if few else None
    written = {"annot": cells, "fmt": "", "annot_kws": {"fontsize": 6.5}}
    look = {"vmin": 0, "vmax": 1, "cmap": "Blues", "square": True, "rasterized": True, **written}
    bar = {"label": "share of the true class (0–1)", "shrink": 0.8}
    sns.heatmap(shares, xticklabels=labels, yticklabels=labels, cbar_kws=bar, ax=axis, **look)
    unit = f" (index, {size} classes)" if many else ""
    axis.set(xlabel=f"predicted class{unit}", ylabel=f"true class{unit}", title=plain(title))
    axis.tick_params(labelsize=5.5 if 25 < size <= 40 else 7)
    axis.tick_params("y", labelrotation=0)
    axis.grid(False)
    return figure


@at_paper_size
def intervals(frame: pd.DataFrame, metrics: dict[str, str]) -> Figure | None:
    """Draw one panel per metric of a tidy frame: a dot and its 95 % interval per system.

    A published value is a hollow diamond. Systems stand from top to bottom in the order of the
    frame. A system or a metric without any value, measured or published, is left out; None where
    all are.

    Args:
        frame: a tidy frame.
        metrics: metric id -> axis label with its unit.
    """
    rows = frame.assign(system=tables.systems(frame))
    rows = rows[rows["metric"].isin(metrics) & rows[["mean", "published"]].notna().any(axis=1)]
    if rows.empty:
        return None
    metrics, systems = tables.present(rows, metrics), list(rows["system"].unique())
    figure, axes = grid(len(metrics), len(metrics), 0.9 + 0.28 * len(systems), sharey=True)
    for axis, (metric, label) in zip(axes, metrics.items(), strict=True):
        for row in rows[rows["metric"] == metric].itertuples():
            place, look = systems.index(row.system), style(row.system)
            if pd.notna(row.ci_low) and pd.notna(row.ci_high):
                axis.plot([row.ci_low, row.ci_high], [place] * 2, color=look.colour, linewidth=1.6)
            if pd.notna(row.mean):
                axis.plot(row.mean, place, look.marker, color=look.colour, markersize=5)
            if pd.notna(row.published):
                axis.plot(row.published, place, **PUBLISHED)
        axis.set_xlabel("\n".join(wrap(plain(label), 88 // len(axes))))
        axis.grid(False, axis="y")
    axes[0].set_yticks(range(len(systems)), [plain(system) for system in systems])
    axes[0].set_ylim(len(systems) - 0.5, -0.5)
    if rows["published"].notna().any():
        hollow = Line2D([], [], label="published", **PUBLISHED)
        figure.legend(handles=[hollow], loc="outside upper right", frameon=False)
    return figure


@at_paper_size
def sweep(frame: pd.DataFrame, x: str, x_label: str, metrics: dict[str, str]) -> Figure:
    """Draw one panel per metric of a tidy frame against a quantity, with 95 % intervals.

    Args:
        frame: rows of a tidy frame, one line a model, with one more column, the quantity.
        x: that column, drawn on a logarithmic axis where all are positive, its values as ticks.
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
            step = offset - (len(models) - 1) / 2
            at = rows[x] * 1.03**step if places[0] > 0 else rows[x] + 0.01 * step * places[-1]
            # no errorbar: a bootstrap interval need not hold its mean
            axis.vlines(at, rows["ci_low"], rows["ci_high"], colors=look.colour, linewidth=1)
            axis.plot(at, rows["mean"], marker=look.marker, markersize=4, **look.line)
        scale = "log" if places[0] > 0 else "linear"
        axis.set(xlabel=plain(x_label), ylabel=plain(label), xscale=scale)
        axis.set_xticks(places, [f"{place:g}" for place in places])
        axis.minorticks_off()
    _legend_below(figure, models)
    return figure


# Ten colours for labels: grey is kept for the rest.
LABELS = [*(c for c in COLOURS if c != "#949494"), "#5e3c99", "#4d4d4d", "#8c510a"]
REST = "#d0d0d0"


@at_paper_size
def embedding_map(frame: pd.DataFrame) -> Figure:
    """Draw t-SNE maps of embeddings, one point an item, one panel a system.

    Args:
        frame: columns `system`, `x`, `y` (no unit) and `label`. With more than 10 labels, those
            beyond the nine largest are grey.
    """
    groups = frame["label"]
    sizes = groups.value_counts().sort_index()
    named = sorted(sizes.index if len(sizes) <= 10 else sizes.nlargest(9).index)
    looks = {name: (LABELS[i], MARKERS[i % len(MARKERS)], 2) for i, name in enumerate(named)}
    rest = f"{len(sizes) - len(named)} others"
    if len(named) < len(sizes):
        looks[rest] = (REST, "o", 1)
    frame = frame.assign(group=groups.where(groups.isin(named), rest))
    panels = dict(iter(frame.groupby("system", sort=False)))
    alone = len(panels) == 1
    figure, axes = grid(len(panels), 2 if len(panels) in (2, 4) else 3, 3.6 if alone else 2.3)
    figure.set_figwidth(PAGE)
    # Thousands of vector points make a page slow; the axes and words stay vectors.
    size = float(np.clip(6000 / max(1, len(frame)), 5, 24))
    dots = {"s": size, "linewidths": 0, "alpha": 0.8, "rasterized": len(frame) > 1000}
    for axis, (name, part) in zip(axes, panels.items(), strict=True):
        for group, (colour, marker, layer) in looks.items():
            mine = part[part["group"] == group]
            axis.scatter(mine["x"], mine["y"], color=colour, marker=marker, zorder=layer, **dots)
        axis.set(xlabel="t-SNE 1 (no unit)", ylabel="t-SNE 2 (no unit)", title=plain(name))
        axis.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    keys = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=plain(name, 28))
        for name, (colour, marker, _) in looks.items()
    ]
    below = {"loc": "outside lower center", "ncols": min(5, len(keys))}
    place = {"loc": "outside right upper"} if alone else below
    figure.legend(handles=keys, frameon=False, markerscale=0.8, **place)
    return figure
