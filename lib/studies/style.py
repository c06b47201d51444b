"""What all figures share: paper widths, the look of a system, text shown as it stands."""

import io
import zlib
from collections.abc import Callable
from functools import wraps
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure

COLUMN, PAGE = 3.5, 7.0  # inches: one column of a two-column paper, and its whole width
SCREEN = 120  # pixels an inch of paper takes in a notebook
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


class Drawing(Figure):
    """A figure that notebooks show sharp and at the same size, whatever backend is chosen."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return a picture for IPython, and the width at which it is shown."""
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=2 * SCREEN, metadata={"Software": None})
        return stream.getvalue(), {"width": round(self.get_figwidth() * SCREEN)}


class Style(NamedTuple):
    """How one system is drawn."""

    colour: str
    marker: str
    dashes: tuple[float, ...] | None

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of a matplotlib line, without its markers."""
        return {
            "color": self.colour,
            "linestyle": "-" if self.dashes is None else (0, self.dashes),
        }


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


def at_paper_size(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a drawing function: the settings of a paper hold for its call and no longer."""

    @wraps(draw)
    def drawn(*args: Any, **kwargs: Any) -> Figure:
        with mpl.rc_context(PAPER):
            figure = draw(*args, **kwargs)
            # Ticks are made when a figure is drawn, which is after these settings are gone.
            figure.draw_without_rendering()
        return figure

    return drawn


def plain(text: Any, width: int | None = None) -> str:
    """Return text that matplotlib shows as it stands: no mathematics, no hidden legend entry.

    Longer than `width` characters, it ends in an ellipsis.
    """
    text = " ".join(str(text).split())
    if width is not None and len(text) > width:
        text = text[: width - 1].rstrip() + "…"
    text = text.replace("$", r"\$")
    return "\u200a" + text if text.startswith("_") else text


def grid(panels: int, columns: int, height: float) -> tuple[Figure, np.ndarray]:
    """Return a figure of `panels` axes of `height` inches each, and these axes, (panels,)."""
    columns = max(1, min(columns, panels))
    rows = -(-panels // columns)
    width = COLUMN if columns == 1 else PAGE
    figure = Drawing(figsize=(width, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[panels:]:
        spare.remove()
    return figure, axes[:panels]
