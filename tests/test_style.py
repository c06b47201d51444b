import io

import matplotlib as mpl
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image

from studies.reporting.plots import COLOURS, Drawing, at_paper_size, grid, plain, style


def test_a_variant_has_the_colour_of_its_model_and_another_look():
    base = style("flexible")
    assert base.dashes is None
    for number in range(50):
        variant = style(f"flexible@v{number}")
        assert variant.colour == base.colour
        assert variant.marker != base.marker
        assert variant.dashes is not None


def test_the_style_of_a_name_never_changes():
    # Figures of two reports are laid side by side: these looks are a promise.
    assert style("flexible") == ("#029e73", "o", None)
    assert style("resnet_lstm") == ("#de8f05", "h", None)


def test_every_colour_stands_out_from_white_paper():
    for colour in COLOURS:
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
            for c in mpl.colors.to_rgb(colour)
        )
        luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
        assert 1.05 / (luminance + 0.05) > 2, colour


def test_settings_last_for_one_call():
    before = dict(mpl.rcParams)

    @at_paper_size
    def draw() -> Figure:
        figure = Figure()
        figure.subplots().plot([0, 1])
        return figure

    figure = draw()
    assert dict(mpl.rcParams) == before
    assert not figure.axes[0].spines["top"].get_visible()
    assert figure.axes[0].get_xticklabels()[0].get_fontsize() < 9


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
    assert plain("class of many words", 9) == "class of…"
    assert plain("two\nlines") == "two lines"


@pytest.mark.parametrize(("panels", "columns", "width", "height"), [(1, 3, 3.5, 2), (5, 3, 7, 4)])
def test_grid_has_paper_width(panels, columns, width, height):
    figure, axes = grid(panels, columns, 2.0)
    assert len(axes) == len(figure.axes) == panels
    assert tuple(figure.get_size_inches()) == (width, height)


def test_a_notebook_shows_a_drawing_though_no_backend_was_chosen():
    drawing = Drawing(figsize=(3.5, 2))
    drawing.subplots()
    shown, sizes = DisplayFormatter().format(drawing)
    picture = Image.open(io.BytesIO(shown["image/png"]))
    assert sizes["image/png"] == {"width": 420}
    assert picture.size == (840, 480)
    assert shown == DisplayFormatter().format(drawing)[0]
