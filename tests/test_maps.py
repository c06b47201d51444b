import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from studies.reporting import plots


def points(labels: int, per_label: int = 3) -> pd.DataFrame:
    number = np.arange(labels * per_label)
    label = number % labels
    return pd.DataFrame(
        {"x": number * 1.0, "y": -number, "label": [f"l{i:02}" for i in label], "top": label % 2}
    )


def legend_of(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def drawn(axis) -> list[tuple[float, float]]:
    return sorted(map(tuple, np.concatenate([g.get_offsets() for g in axis.collections])))


@pytest.mark.parametrize(
    ("labels", "keep_top", "names"),
    [
        (4, True, ["l00", "l01", "l02", "l03"]),
        (11, True, ["0", "1"]),
        (12, False, [*(f"l{i:02}" for i in range(9)), "3 others"]),
    ],
)
def test_a_map_names_groups_and_draws_every_point_once(labels, keep_top, names):
    frame = points(labels) if keep_top else points(labels).drop(columns="top")
    figure = plots.embedding_map(frame)
    (axis,) = figure.axes
    assert legend_of(figure) == names
    assert drawn(axis) == sorted(map(tuple, frame[["x", "y"]].to_numpy()))
    assert axis.get_xlabel() == "t-SNE 1 (no unit)"
    assert len(axis.get_xticks()) == len(axis.get_yticks()) == 0
    colours = {to_hex(group.get_facecolor()[0]) for group in axis.collections}
    assert len(colours) == len(names)


def test_others_lie_below_the_groups_that_are_named():
    (axis,) = plots.embedding_map(points(12).drop(columns="top")).axes
    *named, others = axis.collections
    assert to_hex(others.get_facecolor()[0]) == plots.REST
    assert all(group.get_zorder() > others.get_zorder() for group in named)


@pytest.mark.parametrize("systems", [["a"], ["b", "a"], ["c", "a", "b", "d", "e"]])
def test_every_system_has_a_panel_and_the_groups_one_look(systems):
    frame = pd.concat(
        points(4).assign(system=name, x=lambda p, i=i: p["x"] + 100 * i)
        for i, name in enumerate(systems)
    )
    figure = plots.embedding_map(frame)
    assert [axis.get_title() for axis in figure.axes] == systems
    for name, axis in zip(systems, figure.axes, strict=True):
        part = frame[frame["system"] == name]
        assert drawn(axis) == sorted(map(tuple, part[["x", "y"]].to_numpy()))
    looks = {tuple(to_hex(g.get_facecolor()[0]) for g in axis.collections) for axis in figure.axes}
    assert len(looks) == 1
    assert legend_of(figure) == ["l00", "l01", "l02", "l03"]


def test_a_map_of_nothing_is_empty():
    (axis,) = plots.embedding_map(points(4).head(0)).axes
    assert len(axis.collections) == 0
