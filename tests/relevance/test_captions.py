"""Captions as plain text, the JSON that they come from, and their table on disk."""

import json
import unicodedata
from html import escape

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentences import kept, refused
from studies.paths import StudyError
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
    table,
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

    @given(anything)
    def test_what_comes_out_can_be_written_in_one_line(self, text):
        shown = plain(text)
        assert shown == " ".join(shown.split())
        assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cs"}
        assert len(shown.splitlines()) == bool(shown)

    @pytest.mark.parametrize(
        ("markup", "shown"),
        [
            ("I <3 dogs &amp; cats &lt;3", "I <3 dogs & cats <3"),
            ("caf&eacute;&nbsp;&#233;&#xe9; AT&T; &copy2020", "café éé AT&T; ©2020"),
            ("see<script>if (a<b) go()</script> me<style>p {}</style>", "see me"),
            ("a<br>b<hr/>c <b>gold</b>fish<script/> d", "a b c goldfish d"),
            ("lone \ud83d half, bell\x07, null\x00", "lone half, bell, null"),
            ("before <!-- <b>not</b> shown --> after", "before after"),
        ],
    )
    def test_by_hand(self, markup, shown):
        assert plain(markup) == shown

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize("unit", ["<", "<!--", "<a ", "&", "<![CDATA[", "<script>", "<b>"])
    def test_long_nonsense_takes_no_longer(self, unit):
        assert len(plain(unit * (100_000 // len(unit)))) <= 100_000


@given(st.text("ab "), st.integers(1, 12))
def test_cut_to_the_most_whole_words_that_fit(text, limit):
    words = text.split()
    fit = [n for n in range(1, len(words) + 1) if len(" ".join(words[:n])) <= limit]
    text = " ".join(words)
    assert cut(text, limit) == (" ".join(words[: fit[-1]]) if fit else text[:limit])


@pytest.mark.parametrize(
    ("text", "several"),
    [
        ("एक बिल्ली", True),
        ("金魚　水槽", True),  # an ideographic space
        ("金魚が泳いでいる", False),
        ("DSC_0123", False),
    ],
)
def test_several_words(text, several):
    assert several_words(text) is several


@pytest.fixture
def collect(tmp_path):
    """Return a function: the content of a file -> its captions."""

    def read(content, **parameters):
        file = tmp_path / "imagenet_captions.json"
        text = json.dumps(content) if isinstance(content, list) else content
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return list(imagenet_captions(file, **parameters))

    return read


class TestFile:
    def test_published_record(self, collect):
        text = "cuirasses musée des antiquités nationales Saint-Germain-en-Laye"
        wanted = [Caption("n03146219_27278.JPEG", "n03146219", text)]
        assert collect([CUIRASS]) == wanted
        assert collect(b"\xef\xbb\xbf" + json.dumps([CUIRASS], indent=1).encode()) == wanted

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("", "is damaged"),
            ("[]", "lists no record"),
            ("[{}, 5]", "record 1: '' is no file name"),
            (json.dumps([CUIRASS, 5]), "record 2: is no record"),
            ('[{"a": ' + "[" * 100_000, "is damaged"),
            ([{**CUIRASS, "title": 5}], "record 1: `title` is no text, '5'"),
            ([{**CUIRASS, "filename": "../../a.JPEG"}], "is no file name"),
            ([{**CUIRASS, "wnid": ".."}], "'..' is no file name and no wnid"),
        ],
    )
    def test_what_is_wrong_names_file_and_record(self, collect, tmp_path, content, problem):
        message = refused(collect, content)
        assert message.startswith(str(tmp_path / "imagenet_captions.json"))
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
    rows = list(sifted(iter(captions), classes))
    assert [caption for caption, _ in rows] == captions
    good = [one.wnid in classes and several_words(one.text) for one in captions]
    for place, (caption, reason) in enumerate(rows):
        earlier = [one.image for one, fine in zip(captions[:place], good, strict=False) if fine]
        if caption.wnid not in classes:
            assert reason == NO_CLASS
        elif caption.text == "":
            assert reason == NO_TEXT
        elif not good[place]:
            assert reason == ONE_WORD
        else:
            assert reason == (TWICE if caption.image in earlier else "")


GIVEN = {
    Caption("0.JPEG", "n01", "Ein süßes Kätzchen", True): "",
    Caption("1.JPEG", "n01", "e\u0301 and \u00e9 =1+1 'or' \"1\", \\n 🐈‍⬛", False): "",
    Caption("0.JPEG", "n01", "my other cat"): TWICE,
    Caption("a.JPEG", "n02", "cat"): ONE_WORD,
    Caption("a.JPEG", "n03", "a whale here"): NO_CLASS,
    Caption("a.JPEG", "n02", "a dog here"): "",
}
ROWS = [{**caption._asdict(), "reason": reason} for caption, reason in GIVEN.items()]


class TestTable:
    def stored(self, sandbox):
        return [file for file in kept(sandbox / "root") if file.endswith(".arrow")]

    def test_written_once_for_the_same_captions_and_classes(self, sandbox):
        rows = table(lambda: iter(GIVEN), ["n02", "n01"], "here", 3)
        assert isinstance(rows, datasets.Dataset)
        assert rows.to_list() == ROWS
        (file,) = self.stored(sandbox)
        assert [one["filename"] for one in rows.cache_files] == [str(sandbox / "root" / file)]
        assert table(lambda: 1 / 0, ["n01", "n02"], "here", 3).to_list() == ROWS
        table(lambda: GIVEN, ["n01", "n02"], "there", 3)
        assert len(self.stored(sandbox)) == 2

    def test_a_mistake_in_the_middle_leaves_nothing(self, sandbox):
        def broken():
            yield from GIVEN
            raise StudyError("captions.json record 12: no name")

        assert refused(lambda: table(broken, ["n01"])) == "captions.json record 12: no name"
        assert self.stored(sandbox) == []
        assert len(table(lambda: GIVEN, ["n01"])) == len(GIVEN)
