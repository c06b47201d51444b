import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from PIL import Image

from studies.reporting import plots
from studies.reporting.plots import plain, style
from studies.reporting.tables import tidy


@pytest.fixture(autouse=True)
def nothing_global_changes():
    before, figures = dict(mpl.rcParams), plt.get_fignums()
    yield
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == figures


def legend_of(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def names_of(ticks) -> list[str]:
    return [label.get_text() for label in ticks]


# How systems look, and text.


def test_a_variant_has_the_colour_of_its_model_and_another_look():
    base = style("flexible")
    assert base.dashes is None
    for variant in (style(f"flexible@v{number}") for number in range(50)):
        assert variant.colour == base.colour
        assert variant.marker != base.marker
        assert variant.dashes is not None


def test_the_style_of_a_name_never_changes():
    # Figures of two reports are laid side by side: these looks are a promise.
    assert style("flexible") == ("#029e73", "o", None)
    assert style("resnet_lstm") == ("#de8f05", "h", None)


@pytest.mark.parametrize("text", ["costs $5 or $6", "_hidden", r"a\b $x^2$", "$\\frac{$"])
def test_plain_text_is_drawn_and_not_parsed(text):
    figure = Figure()
    artist = figure.text(0, 0, plain(text))
    figure.draw_without_rendering()
    shown, mathematics = artist._preprocess_math(artist.get_text())
    assert mathematics is False
    assert shown.strip("\u200a") == text
    assert not plain(text).startswith("_")


def test_long_text_ends_in_an_ellipsis():
    assert plain("class of\nmany words", 9) == "class of…"


# Curves.


def long(systems: dict[str, int], epochs: int = 5) -> pd.DataFrame:
    """Curves of systems with so many seeds each; the loss of seed s at epoch e is s + 1 / e."""
    return pd.DataFrame(
        [
            {"system": system, "seed": seed, "epoch": epoch, "loss": seed + 1 / epoch, "lr": 0.1}
            for system, seeds in systems.items()
            for seed in range(seeds)
            for epoch in range(1, epochs + 1)
        ]
    )


def lines_of(axis, system):
    return [line for line in axis.lines if line.get_color() == style(system).colour]


def test_curves_draw_the_values_given():
    frame = long({"triplet": 1})
    figure = plots.curves(frame, "epoch", {"loss": "loss (nats)", "lr": "learning rate"})
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss (nats)", "learning rate"]
    axis, _ = figure.axes
    (line,) = axis.lines
    np.testing.assert_allclose(line.get_xydata(), frame[["epoch", "loss"]])
    assert line.get_marker() == style("triplet").marker
    assert legend_of(figure) == ["triplet"]
    # paper's settings, of which none is left when the figure is made
    assert not axis.spines["top"].get_visible()
    assert axis.get_xticklabels()[0].get_fontsize() < 9


def test_curves_of_several_seeds_have_a_thick_mean_where_all_seeds_are():
    frame = long({"triplet": 3, "flexible": 1})
    stopped = frame[~((frame["seed"] == 1) & (frame["epoch"] > 3))]
    (axis,) = plots.curves(stopped, "epoch", {"loss": "loss (nats)"}).axes
    *seeds, mean = lines_of(axis, "triplet")
    assert len(seeds) == 3
    assert all(line.get_linewidth() < mean.get_linewidth() for line in seeds)
    np.testing.assert_allclose(mean.get_xydata(), [[e, 1 + 1 / e] for e in (1, 2, 3)])
    assert len(lines_of(axis, "flexible")) == 1


def test_curves_skip_points_that_were_not_logged():
    frame = long({"triplet": 1}).drop(columns="seed")
    frame.loc[frame["epoch"] % 2 == 0, "loss"] = np.nan
    figure = plots.curves(frame, "epoch", {"loss": "loss"}, x_label="epoch (passes)", log={"loss"})
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), [1, 3, 5])
    assert figure.axes[0].get_xlabel() == "epoch (passes)"
    assert figure.axes[0].get_yscale() == "log"


def test_panels_of_many_systems_are_no_lower():
    heights = []
    for systems in ({"triplet": 1}, {f"downstream_weighted@variant_{k}": 1 for k in range(6)}):
        figure = plots.curves(long(systems), "epoch", {"loss": "loss (nats)"}, columns=1)
        figure.canvas.draw()
        (axis,) = figure.axes
        heights.append(axis.get_window_extent().height / figure.dpi)
    assert heights[1] >= 0.9 * heights[0] > 1


# Confusion matrices.


@pytest.mark.parametrize("size", [3, 60])
def test_confusion_draws_shares_of_each_true_class(size):
    counts = np.random.default_rng(0).integers(0, 9, (size, size))
    counts[:2] = 0
    counts[0, :2] = [3, 1]
    figure = plots.confusion(counts, [f"class {i}" for i in range(size)], "who is who")
    axis, bar = figure.axes
    (mesh,) = axis.collections
    drawn = np.ma.filled(mesh.get_array().astype(float), np.nan)
    np.testing.assert_allclose(drawn[0, :2], [0.75, 0.25])
    assert np.isnan(drawn[1]).all()
    np.testing.assert_allclose(np.delete(drawn, 1, axis=0).sum(axis=1), 1)
    assert mesh.get_clim() == (0, 1)
    assert "predicted" in axis.get_xlabel()
    assert "share of the true" in bar.get_ylabel()
    names = [f"class {i}" for i in range(size)] if size <= 40 else ["0", "10", "20", "30"]
    assert names_of(axis.get_yticklabels())[:4] == names[:4]
    cells = [text.get_text() for text in axis.texts if text.get_text()]
    assert cells == ([str(count) for count in counts.ravel() if count] if size <= 10 else [])


def test_confusion_refuses_another_number_of_names():
    with pytest.raises(ValueError, match="2 names"):
        plots.confusion(np.eye(3), ["a", "b"], "")


# Intervals and sweeps of a tidy frame.

BASE = {"study": "s", "dataset": "d", "metric": "f1", "n_seeds": 1}


def places(axis) -> list[tuple[float, float]]:
    """Where the markers of an axis are."""
    return [tuple(*line.get_xydata()) for line in axis.lines if len(line.get_xdata()) == 1]


def test_intervals_draw_dots_whiskers_and_published_values():
    rows = [
        {**BASE, "model": "triplet", "mean": 0.6, "ci_low": 0.5, "ci_high": 0.65},
        {**BASE, "model": "flexible", "variant": "sum", "mean": 0.7, "published": 0.8},
        {**BASE, "model": "absent"},
        {**BASE, "model": "only_published", "published": 0.4},
        {**BASE, "model": "triplet", "metric": "errors", "mean": 7},
        {**BASE, "model": "late", "metric": "errors", "mean": 9},
    ]
    figure = plots.intervals(tidy(rows), {"f1": "macro-F1 (0–1)", "errors": "errors (count)"})
    f1, errors = figure.axes
    assert (f1.get_xlabel(), errors.get_xlabel()) == ("macro-F1 (0–1)", "errors (count)")
    names = ["triplet", "flexible@sum", "only_published", "late"]
    assert names_of(f1.get_yticklabels()) == names
    assert f1.get_ylim() == errors.get_ylim() == (3.5, -0.5)
    assert places(f1) == [(0.6, 0), (0.7, 1), (0.8, 1), (0.4, 2)]
    assert places(errors) == [(7, 0), (9, 3)]
    whisker, dot, *_ = f1.lines
    assert whisker.get_xydata().tolist() == [[0.5, 0], [0.65, 0]]
    assert dot.get_color() == whisker.get_color() == style("triplet").colour
    assert legend_of(figure) == ["published"]


def test_what_nobody_has_is_refused_or_not_drawn():
    frame = tidy([{**BASE, "model": "triplet", "mean": 0.6}])
    with pytest.raises(ValueError, match="bleu4"):
        plots.intervals(frame, {"f1": "", "bleu4": ""})
    assert len(plots.scores(frame, {"f1": "", "bleu4": ""}).axes) == 1
    assert plots.scores(frame, {"bleu4": ""}) is None


# an interval need not hold its mean
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.8), (0.75, 0.8), (0.1, 0.25)])
def test_sweep_draws_a_line_a_model_with_intervals(low, high):
    rows = [("flexible", 20, 0.7), ("flexible", 5, 0.4), ("triplet", 5, 0.3), ("flexible", 10, 0.6)]
    frame = tidy(
        {**BASE, "model": m, "variant": f"n{n}", "mean": mean, "ci_low": low, "ci_high": high}
        for m, n, mean in rows
    )
    frame = frame.assign(size=frame["variant"].str.removeprefix("n").astype(int))
    figure = plots.sweep(frame, "size", "images a class", {"f1": "macro-F1 (0–1)"})
    (axis,) = figure.axes
    assert names_of(axis.get_xticklabels()) == ["5", "10", "20"]
    assert legend_of(figure) == ["flexible", "triplet"]
    wanted = {"flexible": ([5, 10, 20], [0.4, 0.6, 0.7]), "triplet": ([5], [0.3])}
    for bars, (model, (sizes, means)) in zip(axis.collections, wanted.items(), strict=True):
        (line,) = lines_of(axis, model)
        np.testing.assert_allclose(line.get_xdata(), sizes, rtol=0.05)
        np.testing.assert_allclose(line.get_ydata(), means)
        assert line.get_marker() == style(model).marker
        for x, bar in zip(line.get_xdata(), bars.get_segments(), strict=True):
            np.testing.assert_allclose(bar, [[x, low], [x, high]])


# Pictures and maps.


def test_images_show_pictures_and_captions():
    grey = np.full((4, 6), 0.5)
    items = [(grey, "a $5 dish"), (Image.new("RGB", (6, 4), "red"), "b"), (grey, "c")]
    figure = plots.images(items, columns=2)
    assert len(figure.axes) == 3
    assert figure.get_figwidth() == 7
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), grey)
    assert figure.axes[0].images[0].get_clim() == (0, 1)
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array()[0, 0], [255, 0, 0])
    assert figure.axes[0].get_title() == r"a \$5 dish"


def points(labels: int, shift: float = 0, **columns) -> pd.DataFrame:
    number = np.arange(labels * 3)
    label = number % labels
    frame = pd.DataFrame({"x": number + shift, "y": -number, "label": [f"l{i:02}" for i in label]})
    return frame.assign(top=label % 2, **columns)


def drawn(axis) -> list[tuple[float, float]]:
    return sorted(map(tuple, np.concatenate([g.get_offsets() for g in axis.collections])))


@pytest.mark.parametrize(
    ("labels", "dropped", "names"),
    [
        (4, [], ["l00", "l01", "l02", "l03"]),
        (11, [], ["0", "1"]),
        (12, ["top"], [*(f"l{i:02}" for i in range(9)), "3 others"]),
    ],
)
def test_a_map_names_groups_and_draws_every_point_once(labels, dropped, names):
    frame = points(labels).drop(columns=dropped)
    figure = plots.embedding_map(frame)
    (axis,) = figure.axes
    assert legend_of(figure) == names
    assert drawn(axis) == sorted(map(tuple, frame[["x", "y"]].to_numpy()))
    assert axis.get_xlabel() == "t-SNE 1 (no unit)"
    colours = [to_hex(group.get_facecolor()[0]) for group in axis.collections]
    assert len(set(colours)) == len(names)
    if dropped:
        *named, others = axis.collections
        assert colours[-1] == plots.REST
        assert all(group.get_zorder() > others.get_zorder() for group in named)


@pytest.mark.parametrize("systems", [["b", "a"], ["c", "a", "b", "d", "e"]])
def test_every_system_has_a_panel_and_the_groups_one_look(systems):
    parts = {name: points(4, 100 * i, system=name) for i, name in enumerate(systems)}
    figure = plots.embedding_map(pd.concat(parts.values()))
    assert [axis.get_title() for axis in figure.axes] == systems
    looks = set()
    for axis, part in zip(figure.axes, parts.values(), strict=True):
        assert drawn(axis) == sorted(map(tuple, part[["x", "y"]].to_numpy()))
        looks.add(tuple(to_hex(group.get_facecolor()[0]) for group in axis.collections))
    assert len(looks) == 1


def test_a_map_of_nothing_is_empty():
    (axis,) = plots.embedding_map(points(4).head(0)).axes
    assert len(axis.collections) == 0
