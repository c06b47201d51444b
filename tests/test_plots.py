import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from studies.reporting import plots
from studies.reporting.plots import style
from studies.reporting.tables import tidy


@pytest.fixture(autouse=True)
def nothing_global_changes():
    before, figures = dict(mpl.rcParams), plt.get_fignums()
    yield
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == figures


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


def legend_of(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_curves_draw_the_values_given():
    frame = long({"triplet": 1})
    figure = plots.curves(frame, "epoch", {"loss": "loss (nats)", "lr": "learning rate"})
    assert [axis.get_ylabel() for axis in figure.axes] == ["loss (nats)", "learning rate"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["epoch", "epoch"]
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_xydata(), frame[["epoch", "loss"]])
    assert line.get_marker() == style("triplet").marker
    assert legend_of(figure) == ["triplet"]


def test_curves_of_several_seeds_have_a_thick_mean():
    figure = plots.curves(long({"triplet": 3, "flexible": 1}), "epoch", {"loss": "loss (nats)"})
    *seeds, mean = lines_of(figure.axes[0], "triplet")
    assert len(seeds) == 3
    assert all(line.get_linewidth() < mean.get_linewidth() for line in seeds)
    np.testing.assert_allclose(mean.get_ydata(), 1 + 1 / np.arange(1, 6))
    assert len(lines_of(figure.axes[0], "flexible")) == 1


def test_curves_average_only_where_all_seeds_are():
    frame = long({"triplet": 2})
    stopped = frame[~((frame["seed"] == 1) & (frame["epoch"] > 3))]
    figure = plots.curves(stopped, "epoch", {"loss": "loss"})
    *_, mean = figure.axes[0].lines
    np.testing.assert_allclose(mean.get_xdata(), [1, 2, 3])


def test_curves_skip_points_that_were_not_logged():
    frame = long({"triplet": 1}).drop(columns="seed")
    frame.loc[frame["epoch"] % 2 == 0, "loss"] = np.nan
    figure = plots.curves(frame, "epoch", {"loss": "loss"}, x_label="epoch (passes)", log={"loss"})
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), [1, 3, 5])
    assert figure.axes[0].get_xlabel() == "epoch (passes)"
    assert figure.axes[0].get_yscale() == "log"


def test_a_system_looks_the_same_whoever_else_is_drawn():
    ys = {"loss": "loss"}
    alone = plots.curves(long({"flexible": 1}), "epoch", ys).axes[0].lines[0]
    crowd = plots.curves(long({"a": 1, "b": 1, "flexible": 1}), "epoch", ys).axes[0].lines[2]
    for look in ("get_color", "get_marker", "get_linestyle"):
        assert getattr(alone, look)() == getattr(crowd, look)()


@pytest.mark.parametrize("size", [3, 12, 60])
def test_confusion_draws_shares_of_each_true_class(size):
    counts = np.random.default_rng(0).integers(0, 9, (size, size))
    counts[1] = 0
    counts[0] = 0
    counts[0, :2] = [3, 1]
    figure = plots.confusion(counts, [f"class {i}" for i in range(size)], "who is who")
    axis, bar = figure.axes
    drawn = np.ma.filled(axis.images[0].get_array().astype(float), np.nan)
    np.testing.assert_allclose(drawn[0, :2], [0.75, 0.25])
    assert np.isnan(drawn[1]).all()
    np.testing.assert_allclose(np.delete(drawn, 1, axis=0).sum(axis=1), 1)
    assert axis.images[0].get_clim() == (0, 1)
    assert axis.get_title() == "who is who"
    assert axis.get_xlabel().startswith("predicted class")
    assert axis.get_ylabel().startswith("true class")
    assert bar.get_ylabel() == "share of the true class (0–1)"
    named = [label.get_text() for label in axis.get_yticklabels()][:2] == ["class 0", "class 1"]
    assert named == (size <= 40)
    cells = {tuple(map(int, text.get_position()[::-1])): text.get_text() for text in axis.texts}
    expected = {
        (row, column): str(counts[row, column])
        for row, column in np.ndindex(size, size)
        if counts[row, column]
    }
    assert cells == (expected if size <= 10 else {})


def test_confusion_refuses_another_number_of_names():
    with pytest.raises(ValueError, match="2 names"):
        plots.confusion(np.eye(3), ["a", "b"], "")


def scores() -> pd.DataFrame:
    base = {"study": "s", "dataset": "d", "metric": "f1", "n_seeds": 1}
    return tidy(
        [
            {**base, "model": "triplet", "mean": 0.6, "ci_low": 0.5, "ci_high": 0.65},
            {**base, "model": "flexible", "variant": "sum", "mean": 0.7, "published": 0.8},
            {**base, "model": "absent"},
            {**base, "model": "only_published", "published": 0.4},
        ]
    )


def test_intervals_draw_dots_whiskers_and_published_values():
    figure = plots.intervals(scores(), {"f1": "macro-F1 (0–1)"})
    (axis,) = figure.axes
    assert axis.get_xlabel() == "macro-F1 (0–1)"
    names = [label.get_text() for label in axis.get_yticklabels()]
    assert names == ["triplet", "flexible@sum", "only_published"]
    low, high = axis.get_ylim()
    assert low > high
    whisker, dot, second, published, _ = axis.lines
    assert list(whisker.get_xdata()) == [0.5, 0.65]
    assert (*dot.get_xdata(), *dot.get_ydata()) == (0.6, 0)
    assert dot.get_color() == whisker.get_color() == style("triplet").colour
    assert (*second.get_xdata(), *second.get_ydata()) == (0.7, 1)
    assert second.get_marker() == style("flexible@sum").marker
    assert (*published.get_xdata(), *published.get_ydata()) == (0.8, 1)
    assert published.get_markerfacecolor() == "none"
    assert legend_of(figure) == ["published"]


def test_intervals_of_several_metrics_share_the_rows_of_the_systems():
    base = {"study": "s", "dataset": "d", "metric": "errors"}
    more = [{**base, "model": "triplet", "mean": 7}, {**base, "model": "late", "mean": 9}]
    frame = pd.concat([scores(), tidy(more)])
    figure = plots.intervals(frame, {"errors": "errors (count)", "f1": "macro-F1 (0–1)"})
    errors, f1 = figure.axes
    assert [axis.get_xlabel() for axis in (errors, f1)] == ["errors (count)", "macro-F1 (0–1)"]
    names = [label.get_text() for label in errors.get_yticklabels()]
    assert names == ["triplet", "flexible@sum", "only_published", "late"]
    places = [(*line.get_xdata(), *line.get_ydata()) for line in errors.lines]
    assert places == [(7, 0), (9, 3)]
    assert (*f1.lines[1].get_xdata(), *f1.lines[1].get_ydata()) == (0.6, 0)
    assert f1.get_ylim() == errors.get_ylim()
    assert not any(label.get_visible() for label in f1.get_yticklabels())
    assert figure.get_figwidth() == 7


def test_intervals_refuse_a_metric_that_nobody_has():
    with pytest.raises(ValueError, match="bleu4"):
        plots.intervals(scores(), {"f1": "", "bleu4": ""})


def sizes() -> pd.DataFrame:
    base = {"study": "s", "dataset": "d", "metric": "f1", "n_seeds": 1}
    rows = [("flexible", 20, 0.7), ("flexible", 5, 0.4), ("triplet", 5, 0.3), ("flexible", 10, 0.6)]
    frame = tidy(
        {**base, "model": model, "variant": f"n{size}", "mean": mean, "ci_low": 0.2, "ci_high": 0.8}
        for model, size, mean in rows
    )
    return frame.assign(size=frame["variant"].str.removeprefix("n").astype(int))


def test_sweep_draws_a_line_a_model_with_intervals():
    figure = plots.sweep(sizes(), "size", "images a class", {"f1": "macro-F1 (0–1)"})
    (axis,) = figure.axes
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("images a class", "macro-F1 (0–1)")
    assert axis.get_xscale() == "log"
    assert [label.get_text() for label in axis.get_xticklabels()] == ["5", "10", "20"]
    assert legend_of(figure) == ["flexible", "triplet"]
    wanted = {"flexible": ([5, 10, 20], [0.4, 0.6, 0.7]), "triplet": ([5], [0.3])}
    for bars, (model, (places, means)) in zip(axis.collections, wanted.items(), strict=True):
        (line,) = lines_of(axis, model)
        np.testing.assert_allclose(line.get_xdata(), places, rtol=0.05)
        np.testing.assert_allclose(line.get_ydata(), means)
        assert line.get_marker() == style(model).marker
        for x, bar in zip(line.get_xdata(), bars.get_segments(), strict=True):
            np.testing.assert_allclose(bar, [[x, 0.2], [x, 0.8]])


@pytest.mark.parametrize(("low", "high"), [(0.75, 0.8), (0.1, 0.65), (np.nan, np.nan)])
def test_sweep_draws_an_interval_that_does_not_hold_its_mean(low, high):
    frame = sizes().assign(ci_low=low, ci_high=high)
    (axis,) = plots.sweep(frame, "size", "images", {"f1": "macro-F1"}).axes
    assert len(axis.lines) == 2


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


def test_panels_of_many_systems_are_no_lower():
    heights = []
    for systems in ({"triplet": 1}, {f"downstream_weighted@variant_{k}": 1 for k in range(6)}):
        figure = plots.curves(long(systems), "epoch", {"loss": "loss (nats)"}, columns=1)
        figure.canvas.draw()
        (axis,) = figure.axes
        heights.append(axis.get_window_extent().height / figure.dpi)
    assert heights[1] >= 0.9 * heights[0] > 1
