"""Maps of embeddings at paper width."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from studies.style import COLOURS, MARKERS, PAGE, Drawing, at_paper_size, grid, plain

# Ten colours for labels: grey is kept for the rest.
LABELS = [*(c for c in COLOURS if c != "#949494"), "#5e3c99", "#4d4d4d", "#8c510a"]
REST = "#d0d0d0"


@at_paper_size
def embedding_map(
    frame: pd.DataFrame, top: str = "top", method: str = "t-SNE", panel: str = "system"
) -> Figure:
    """Draw two-dimensional maps of embeddings, one point an item.

    Args:
        frame: columns `x`, `y` (no unit) and `label`. With more than 10 labels, points take the
            colour of the column `top` (a coarser label), if there is one; groups beyond the nine
            largest are grey.
        top: column of the coarser label.
        method: what made the map, for the axis labels.
        panel: a column with a panel for each of its values, if there is one.
    """
    label = "label"
    if frame[label].nunique() > 10 and top in frame:
        label = top
    groups = frame[label].astype(str)
    order = groups.value_counts(sort=False).sort_index()
    shown = list(order.index)
    if len(shown) > 10:
        largest = order.sort_values(ascending=False, kind="stable").index[:9]
        shown = [name for name in shown if name in set(largest)]
    looks = {name: (LABELS[i], MARKERS[i % len(MARKERS)], 2) for i, name in enumerate(shown)}
    rest = f"{len(order) - len(shown)} others"
    groups = groups.where(groups.isin(shown), rest)
    if len(shown) < len(order):
        looks[rest] = (REST, "o", 1)
    panels = list(frame[panel].unique()) if panel in frame else [""]
    if len(panels) == 1:
        figure = Drawing(figsize=(PAGE, 3.6), layout="constrained")
        axes = [figure.subplots()]
    else:
        figure, axes = grid(len(panels), 2 if len(panels) in (2, 4) else 3, 2.3)
    # Thousands of vector points make a page slow; the axes and words stay vectors.
    size = float(np.clip(6000 / max(1, len(frame)), 5, 24))
    dots = {"s": size, "linewidths": 0, "alpha": 0.8, "rasterized": len(frame) > 1000}
    for axis, name in zip(axes, panels, strict=True):
        here = frame[panel] == name if panel in frame else slice(None)
        for group, (colour, marker, layer) in looks.items():
            part = frame[here][groups[here] == group]
            axis.scatter(part["x"], part["y"], color=colour, marker=marker, zorder=layer, **dots)
        axis.set(xlabel=f"{method} 1 (no unit)", ylabel=f"{method} 2 (no unit)", title=plain(name))
        axis.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
    keys = [
        Line2D([], [], color=colour, marker=marker, linestyle="", label=plain(name, 28))
        for name, (colour, marker, _) in looks.items()
    ]
    place = {"loc": "outside right upper"}
    if len(panels) > 1:
        place = {"loc": "outside lower center", "ncols": min(5, len(keys))}
    figure.legend(handles=keys, frameon=False, markerscale=0.8, **place)
    return figure
