import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font

from reported import tidy
from studies.reporting import plots
from studies.reporting.plots import plain, style


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


def test_panels_stand_where_no_last_bit_moves_them(tmp_path):
    figure, axes = plots.grid(4, 2, 1)
    figure.savefig(tmp_path / "figure.svg")
    corners = np.array([axis.get_position().extents for axis in axes])
    assert corners == pytest.approx(corners.round(6), abs=1e-12)
    assert len(np.unique(corners, axis=0)) == 4


# How systems look, and text.


def test_the_style_of_a_name_never_changes_and_a_variant_keeps_the_colour():
    # Figures of two reports are laid side by side: these looks are a promise.
    base = style("flexible")
    assert base == ("#029e73", "o", None)
    for variant in (style(f"flexible@v{number}") for number in range(50)):
        assert variant.colour == base.colour
        assert variant.marker != base.marker
        assert variant.dashes is not None
    assert style("resnet_lstm") == ("#de8f05", "h", None)


@pytest.mark.parametrize("text", ["_hidden", r"a\b $x^2$", "$\\frac{$"])
def test_plain_text_is_drawn_and_not_parsed(text):
    figure = Figure()
    artist = figure.text(0, 0, plain(text))
    figure.draw_without_rendering()
    shown, mathematics = artist._preprocess_math(artist.get_text())
    assert mathematics is False
    assert shown.strip("\u200a") == text
    assert not plain(text).startswith("_")


def drawn(*names: str) -> str:
    figure = plots.confusion(np.eye(len(names)), names, "title")
    return figure._repr_mimebundle_()[0]["image/svg+xml"]


def test_a_figure_does_not_depend_on_what_a_user_has_set():
    wanted = drawn("a", "b")
    rc = {"text.usetex": True, "font.size": 30, "axes.facecolor": "red", "svg.fonttype": "none"}
    with mpl.rc_context({**rc, "savefig.bbox": "tight", "font.family": "serif"}):
        assert drawn("a", "b") == wanted


def test_letters_of_other_scripts(capsys, recwarn):
    """STIX comes with matplotlib, and has letters that DejaVu Sans has not."""
    dejavu, stix = (FT2Font(findfont(name)) for name in ("DejaVu Sans", "STIXGeneral"))
    others = map(chr, stix.get_charmap().keys() - dejavu.get_charmap().keys())
    letter, *_ = sorted(filter(str.isalpha, others))
    # glyphs are called by font and number
    assert f"STIXGeneral-Regular-{stix.get_char_index(ord(letter)):x}" in drawn(f"a{letter}", "b")
    assert capsys.readouterr().err == ""
    unknown = "\U00013000\U00013001"  # hieroglyphs
    drawn(unknown, "b")
    assert capsys.readouterr().err.splitlines() == [
        f"no font for {unknown}: boxes are drawn; install one, such as Noto"
    ]
    assert not recwarn.list


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


def test_curves_of_several_seeds_have_a_thick_mean_where_all_seeds_are():
    frame = long({"triplet": 3, "flexible": 1})
    stopped = frame[~((frame["seed"] == 1) & (frame["epoch"] > 3))]
    (axis,) = plots.curves(stopped, "epoch", {"loss": "loss (nats)"}).axes
    *seeds, mean = lines_of(axis, "triplet")
    assert len(seeds) == 3
    assert all(line.get_linewidth() < mean.get_linewidth() for line in seeds)
    np.testing.assert_allclose(mean.get_xydata(), [[e, 1 + 1 / e] for e in (1, 2, 3)])
    assert len(lines_of(axis, "flexible")) == 1


# Confusion matrices.


@pytest.mark.parametrize("size", [3, 60])
def test_confusion_draws_shares_of_each_true_class(size):
    counts = np.random.default_rng(0).integers(0, 9, (size, size))
    counts[:2] = 0
    counts[0, :2] = [3, 1]
    figure = plots.confusion(counts, [f"class {i}" for i in range(size)], "who is who")
    (mesh,) = figure.axes[0].collections
    drawn = np.ma.filled(mesh.get_array().astype(float), np.nan)
    np.testing.assert_allclose(drawn[0, :2], [0.75, 0.25])
    assert np.isnan(drawn[1]).all()
    np.testing.assert_allclose(np.delete(drawn, 1, axis=0).sum(axis=1), 1)
    assert mesh.get_clim() == (0, 1)
    cells = [text.get_text() for text in figure.axes[0].texts if text.get_text()]
    assert cells == ([str(count) for count in counts.ravel() if count] if size <= 10 else [])


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
    names = ["triplet", "flexible@sum", "only_published", "late"]
    assert names_of(f1.get_yticklabels()) == names
    assert places(f1) == [(0.6, 0), (0.7, 1), (0.8, 1), (0.4, 2)]
    assert places(errors) == [(7, 0), (9, 3)]
    whisker, dot, *_ = f1.lines
    assert whisker.get_xydata().tolist() == [[0.5, 0], [0.65, 0]]
    assert dot.get_color() == whisker.get_color() == style("triplet").colour
    assert legend_of(figure) == ["published"]
    assert plots.intervals(tidy(rows), {"auc": "AUC"}) is None


# an interval need not hold its mean
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.8), (0.75, 0.8)])
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
        for x, bar in zip(line.get_xdata(), bars.get_segments(), strict=True):
            np.testing.assert_allclose(bar, [[x, low], [x, high]])
    from_0 = plots.sweep(frame.assign(size=frame["size"] - 5), "size", "images", {"f1": "F1"})
    (line,) = lines_of(from_0.axes[0], "flexible")
    np.testing.assert_allclose(line.get_xdata(), [0, 5, 15], atol=0.1)


# Maps.


@pytest.mark.parametrize(
    ("labels", "names"),
    [(4, ["l00", "l01", "l02", "l03"]), (12, [*(f"l{i:02}" for i in range(9)), "3 others"])],
)
def test_a_map_names_groups_and_draws_every_point_once(labels, names):
    number = np.arange(labels * 3)
    label = [f"l{i:02}" for i in number % labels]
    frame = pd.DataFrame({"system": "triplet", "x": number, "y": -number, "label": label})
    figure = plots.embedding_map(frame)
    (axis,) = figure.axes
    drawn = np.concatenate([group.get_offsets() for group in axis.collections])
    assert legend_of(figure) == names
    assert sorted(map(tuple, drawn)) == sorted(map(tuple, frame[["x", "y"]].to_numpy()))
    colours = [to_hex(group.get_facecolor()[0]) for group in axis.collections]
    assert len(set(colours)) == len(names)
