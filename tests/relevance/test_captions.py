"""Captions as plain text, and the JSON that they come from: published and unusual."""

import json
import string
import unicodedata
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentences import refused
from studies.relevance.captions import (
    NO_CLASS,
    NO_TEXT,
    ONE_WORD,
    TWICE,
    Caption,
    cut,
    imagenet_captions,
    plain,
    several_words,
    sifted,
)

anything = st.text(st.characters(exclude_categories=()))  # surrogates and control characters too
# words of several scripts, some of which HTML has a meaning for
words = st.lists(st.sampled_from(["cat", "a<b", "R&D", "Ж", "金魚", "5", "&amp;", "<b>", "»", "é"]))
CUIRASS = {
    "filename": "n03146219_27278.JPEG",
    "wnid": "n03146219",
    "title": "cuirasses",
    "tags": ["cuirasse", "musée"],
    "description": "musée des antiquités nationales <b>Saint-Germain</b>-en-Laye",
}


class TestPlain:
    @given(words)
    def test_escaped_text_comes_back(self, words):
        text = " ".join(words)
        assert plain(escape(text)) == text

    @given(st.lists(st.sampled_from(["cat", "Ж", "5", "»"]), min_size=1), st.data())
    def test_tags_go(self, words, data):
        blocks = [
            "<br>",
            "<p class='x y'>",
            "</p>",
            "<br/>",
            "<IMG src=a.jpg>",
            "<li\n>",
            "\n",
            " ",
        ]
        inside = ["", "<b>", "</b>", '<a href="http://x/?a=1&amp;b=2">', "</a>", "<!-- <p> x -->"]
        markup = ""
        for word in words:
            style, block = (data.draw(st.sampled_from(kind)) for kind in (inside, blocks))
            markup += word[0] + style + word[1:] + block
        assert plain(markup) == " ".join(words)

    @given(anything)
    def test_what_comes_out_can_be_written_in_one_line(self, text):
        found = plain(text)
        assert found == " ".join(found.split())
        assert not {unicodedata.category(one) for one in found} & {"Cc", "Cs"}
        assert found.encode().decode() == found
        assert found == "" or len(found.splitlines()) == 1

    @given(st.text(string.ascii_letters + "éЖ金 .,;:!?'\"()[]-_/"))
    def test_text_without_markup_is_left(self, text):
        assert plain(text) == " ".join(text.split())

    @pytest.mark.parametrize(
        ("markup", "shown"),
        [
            ("I <3 dogs &amp; cats &lt;3", "I <3 dogs & cats <3"),
            ("x <y and z", "x <y and z"),
            ("5 < 6 > 4", "5 < 6 > 4"),
            ("caf&eacute;&nbsp;&#233;&#xe9;", "café éé"),
            ("see<script>if (a<b) go()</script> me<style>p {}</style>", "see me"),
            ("a<br>b<hr/>c", "a b c"),
            ("<td>one</td><td>two</td>", "one two"),
            ("<b>gold</b>fish", "goldfish"),
            ("lone \ud83d half, bell\x07, null\x00", "lone half, bell, null"),
            ("a\u2028b\x0bc\x85d\u3000e", "a b c d e"),
            ("one \x07 two", "one two"),
            ("before <!-- not\nshown", "before <!-- not shown"),
            ("before <!-- <b>not</b> shown --> after", "before after"),
            ("&#xD800;", "\ufffd"),
            ("👩‍👩‍👧 e\u0301 \u202babc", "👩‍👩‍👧 e\u0301 \u202babc"),
            ("", ""),
        ],
    )
    def test_by_hand(self, markup, shown):
        assert plain(markup) == shown

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize(
        "unit", ["<", "<!--", "<a ", "</", "&", "<![CDATA[", "<script>", "<b>"]
    )
    def test_long_nonsense_takes_no_longer(self, unit):
        assert len(plain(unit * (100_000 // len(unit)))) <= 100_000


class TestCut:
    @given(st.text("ab "), st.integers(1, 12))
    def test_the_most_whole_words_that_fit(self, text, limit):
        text = " ".join(text.split())
        found = cut(text, limit)
        words = text.split()
        fit = [n for n in range(1, len(words) + 1) if len(" ".join(words[:n])) <= limit]
        assert found == (" ".join(words[: fit[-1]]) if fit else text[:limit])


@pytest.mark.parametrize(
    ("text", "several"),
    [
        ("red panda", True),
        ("Boeing 747", True),
        ("красная панда", True),
        ("एक बिल्ली", True),
        ("金魚 水槽", True),
        ("金魚　水槽", True),  # an ideographic space
        ("金魚が泳いでいる", False),
        ("DSC_0123", False),
        ("T-shirt", False),
        ("it's", False),
        ("Hello !!! -", False),
        ("❤ 😀", False),
        ("  panda  ", False),
        ("", False),
    ],
)
def test_several_words(text, several):
    assert several_words(text) is several


def written(folder, content):
    """A file of captions."""
    file = folder / "imagenet_captions.json"
    file.write_text(json.dumps(content))
    return file


def collect(file, **parameters):
    return list(imagenet_captions(file, **parameters))


class TestReader:
    def test_published_record(self, tmp_path):
        (found,) = collect(written(tmp_path, [CUIRASS]))
        text = "cuirasses musée des antiquités nationales Saint-Germain-en-Laye"
        assert found == Caption("n03146219_27278.JPEG", "n03146219", text)

    @pytest.mark.parametrize(
        ("given_", "text"),
        [
            ({"title": "", "description": "a b"}, "a b"),
            ({"title": "a", "description": None}, "a"),
            ({"title": "<b>open", "description": "a & b"}, "open a & b"),
            ({"title": "a"}, "a"),
            ({"tags": 5}, ""),
            ({}, ""),
        ],
    )
    def test_empty_and_missing_fields(self, tmp_path, given_, text):
        record = {"filename": "a.JPEG", "wnid": "n1", **given_}
        assert collect(written(tmp_path, [record])) == [Caption("a.JPEG", "n1", text)]

    def test_long_captions_are_cut_at_a_word(self, tmp_path):
        record = CUIRASS | {"description": "palabra " * 12_500}
        file = written(tmp_path, [record, record])
        for found in collect(file, limit=100):
            assert found.text == "cuirasses " + " ".join(["palabra"] * 11)
        assert {len(found.text) for found in collect(file)} == {2000 - 7}
        with pytest.raises(ValueError, match="limit"):
            collect(file, limit=0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ([{**CUIRASS, "title": 5}], "record 1: `title` is no text, '5'"),
        ([{**CUIRASS, "description": ["a"]}], "record 1: `description` is no text"),
        ([CUIRASS, {**CUIRASS, "wnid": None}], "record 2: has no `wnid`"),
        ([{"wnid": "n1", "title": "a b"}], "record 1: has no `filename`"),
        ([{**CUIRASS, "filename": ""}], "record 1: has no `filename`"),
        ([{**CUIRASS, "filename": 7}], "record 1: `filename` is '7', which is no name"),
        ([{**CUIRASS, "filename": "../../a.JPEG"}], "which is no name"),
        ([{**CUIRASS, "filename": "a\\b.JPEG"}], "which is no name"),
        ([{**CUIRASS, "wnid": ".."}], "`wnid` is '..', which is no name"),
        ([{**CUIRASS, "wnid": "n\ud83d"}], "which is no name"),
        ([{**CUIRASS, "wnid": "n1\n"}], "which is no name"),
    ],
)
def test_bad_records(tmp_path, content, problem):
    file = written(tmp_path, content)
    message = refused(collect, file)
    assert message.startswith(str(file))
    assert problem in message


@given(
    st.lists(
        st.builds(
            Caption,
            st.sampled_from(["a", "b", "c"]),
            st.sampled_from(["n1", "n2", "n3"]),
            st.sampled_from(["", "one", "two words", "two other", "- !", "two -"]),
        )
    ),
    st.sets(st.sampled_from(["n1", "n2"])),
)
def test_sifted_by_the_letter(captions, classes):
    found = list(sifted(iter(captions), classes))
    assert [caption for caption, _ in found] == captions
    good = [one.wnid in classes and several_words(one.text) for one in captions]
    for place, (caption, reason) in enumerate(found):
        earlier = [one.image for one, fine in zip(captions[:place], good, strict=False) if fine]
        if caption.wnid not in classes:
            assert reason == NO_CLASS
        elif caption.text == "":
            assert reason == NO_TEXT
        elif not good[place]:
            assert reason == ONE_WORD
        else:
            assert reason == (TWICE if caption.image in earlier else "")
