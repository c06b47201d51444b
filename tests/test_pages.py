import base64
import io
import re
from collections import Counter
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from markupsafe import Markup
from matplotlib.figure import Figure
from PIL import Image

from studies.reporting import pages

HOSTILE = '<script>alert("1")</script> & <img src=x onerror=alert(1)> {{ title }}'
VOID = {"meta", "link", "img", "br"}


class Document(HTMLParser):
    """Tags, attributes and text of a page; a tag that is closed out of order fails the test."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(str(page))
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, known, value in self.attributes if known == name]


def drawing(height: float = 1.0) -> Figure:
    figure = Figure(figsize=(3, 2))
    axis = figure.subplots()
    axis.plot([0, height])
    axis.imshow(np.eye(3), extent=(0, 1, 0, height))
    return figure


def full_page(text: str = "words") -> str:
    frame = pd.DataFrame({text: [text], "F1": [0.5]})
    sections = [
        pages.Section(text, [pages.table(frame, text), text]),
        pages.Section("two", [pages.figure(drawing(i + 1), text, text) for i in range(2)]),
        pages.Section("three", [pages.picture_grid([(Image.new("RGB", (9, 9)), text)])]),
    ]
    return pages.page(text, text, sections, f"make {text}", {text: text})


def test_a_page_is_self_contained():
    document = Document(full_page())
    assert not {"script", "iframe", "object", "base", "form"} & set(document.tags)
    assert document.tags["svg"] == 2
    addresses = document.values("href") + document.values("src")
    assert len(addresses) > 4
    assert all(value.startswith(("#", "data:")) for value in addresses)
    page = full_page()
    assert not re.search(r"(https?:|url\((?!#))|@import", page)
    assert "default-src 'none'" in page


def test_what_comes_from_data_is_shown_and_never_run():
    plain, hostile = Document(full_page()), Document(full_page(HOSTILE))
    assert hostile.tags == plain.tags
    assert {name for _, name, _ in hostile.attributes} == {name for _, name, _ in plain.attributes}
    assert hostile.text.count(HOSTILE) == plain.text.count("words")
    assert HOSTILE in hostile.values("alt")
    assert HOSTILE in hostile.values("aria-label")


def test_names_inside_a_page_are_unique_and_every_reference_has_its_target():
    page = full_page()
    document = Document(page)
    names = document.values("id")
    assert len(names) == len(set(names))
    references = [value[1:] for value in document.values("href") if value.startswith("#")]
    references += re.findall(r"url\(#([^)]+)\)", page)
    assert len(references) > 10
    assert set(references) <= set(names)


def test_a_page_lists_its_parts_and_how_it_was_made():
    page = pages.page(
        "Title",
        "Lead.",
        [pages.Section("First", ["one\n\ntwo", Markup("<p>three</p>")]), pages.Section("Next", [])],
        "make study",
        {"commit": "abc"},
    )
    document = Document(page)
    assert document.values("href") == ["data:,", "#part-1", "#part-2", "#made"]
    assert '<section id="part-1" class="glance">' in page
    assert "<p>one</p>\n<p>two</p>\n<p>three</p>" in page
    assert "<pre>make study</pre>" in page
    assert "<dt>commit</dt><dd>abc</dd>" in page


def test_equal_figures_give_equal_bytes_without_a_date():
    first, second = (pages.figure(drawing(), "c", "a") for _ in range(2))
    assert first == second
    assert "<metadata" not in first
    assert "<style" not in first
    assert "<text" not in first
    assert pages.figure(drawing(2.0), "c", "a") != first


def test_a_figure_is_closed():
    figure = plt.figure()
    pages.figure(figure, "c", "a")
    assert not plt.fignum_exists(figure.number)


@pytest.mark.parametrize(("width", "wide"), [(3.5, False), (7, True)])
def test_only_wide_drawings_scroll_on_small_screens(width, wide):
    assert ("drawing wide" in pages.figure(Figure(figsize=(width, 1)), "", "")) == wide


def test_narrow_drawings_stand_side_by_side_under_one_caption():
    markup = pages.figures([(drawing(), "left"), (drawing(2.0), "<right>")], "Both & each.")
    document = Document(markup)
    assert document.tags["svg"] == 2
    assert document.tags["figcaption"] == 1
    assert document.values("aria-label") == ["left", "<right>"]
    assert "Both & each." in document.text


def test_a_heading_is_escaped():
    assert pages.heading("<a> & b") == "<h3>&lt;a&gt; &amp; b</h3>"


def pictures_of(markup: Markup) -> list[Image.Image]:
    codes = re.findall(r"data:image/jpeg;base64,([^\"]+)", markup)
    return [Image.open(io.BytesIO(base64.b64decode(code))) for code in codes]


def test_pictures_become_thumbnails_of_the_same_shape_and_colour(tmp_path):
    big = Image.new("RGB", (1200, 600), (200, 30, 90))
    big.save(tmp_path / "a.png")
    markup = pages.picture_grid([(big, "one"), (tmp_path / "a.png", "two")], columns=3)
    for small in pictures_of(markup):
        assert small.size == (240, 120)
        np.testing.assert_allclose(small.getpixel((50, 50)), (200, 30, 90), atol=4)
    assert big.size == (1200, 600)
    assert Document(markup).values("width") == ["240", "240"]
    assert Document(markup).values("alt") == ["one", "two"]
    # a picture that is part of the page is also part of its print
    assert Document(markup).values("loading") == []
    assert "--columns: 3" in markup


def test_photographs_stand_upright(tmp_path):
    photo = Image.new("RGB", (40, 20), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.save(tmp_path / "turned.jpg", exif=exif)
    (small,) = pictures_of(pages.picture_grid([(tmp_path / "turned.jpg", "")]))
    assert small.size == (20, 40)


def test_missing_and_broken_pictures_leave_a_frame_with_their_name(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    markup = pages.picture_grid([("gone/<b>.png", "one"), (tmp_path / "broken.jpg", "two")])
    document = Document(markup)
    assert "no picture: <b>.png" in document.text
    assert "no picture: broken.jpg" in document.text
    assert document.tags["img"] == 0
    assert document.tags["b"] == 0


def test_a_case_has_its_texts_beside_it_with_their_lines():
    texts = {"On <it>": "soup: egg", "Recipe": 'Soup\n1. Boil.\n2. Serve <b>hot</b> & "fresh".'}
    markup = pages.case(Image.new("RGB", (480, 240), (200, 30, 90)), texts)
    (small,) = pictures_of(markup)
    assert small.size == (240, 120)
    document = Document(markup)
    assert document.tags == {"div": 6, "strong": 2, "img": 1}
    assert document.values("alt") == ["soup: egg"]
    assert document.text == "".join(f"{head}{text}" for head, text in texts.items())
    # lines are kept where there is no style sheet of ours
    assert document.values("style").count("white-space: pre-line") == len(texts)


def test_a_case_without_its_picture_or_texts(tmp_path):
    document = Document(pages.case(tmp_path / "<gone>.png", {"Recipe": HOSTILE}))
    assert f"no picture: <gone>.pngRecipe{HOSTILE}" == document.text
    assert "img" not in document.tags
    assert pictures_of(pages.case(Image.new("RGB", (9, 9)), {}))


def test_index_leads_to_the_reports():
    main = pages.table(pd.DataFrame({"F1": [0.5]}), "Main.")
    page = pages.index(
        "All & sundry",
        [
            {"title": "<A>", "href": "demo/a.html", "lead": "Why?", "headline": "0.5 < 0.6"},
            {"title": "B", "href": "demo/b.html", "lead": "How?", "headline": main},
            {"title": "C", "href": "demo/c.html", "lead": "When?", "headline": ""},
        ],
        "Three of <them>.",
    )
    document = Document(page)
    assert document.values("href")[1:] == ["demo/a.html", "demo/b.html", "demo/c.html"]
    assert "<A>" in document.text
    assert "Three of <them>." in document.text
    assert "0.5 < 0.6" in document.text
    assert document.tags["table"] == 1
    assert document.tags["nav"] == 0


def test_an_empty_index_says_so():
    assert "No report has been made yet" in Document(pages.index("Reports", [])).text
