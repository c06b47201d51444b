"""Captions on disk against the list they were written from."""

import datasets
import pytest

from sentences import kept, refused
from studies import paths
from studies.paths import StudyError
from studies.relevance.captions import NO_CLASS, NO_TEXT, ONE_WORD, TWICE, Caption
from studies.relevance.table import table

TEXTS = [
    "Ein süßes Kätzchen",
    "一只 猫",
    "قطة صغيرة",
    "кошка 🐈‍⬛ спит",
    "e\u0301 and \u00e9",  # composed and not: two texts
    "=1+1 'or' \"1\", \\n",
]
GIVEN = {
    **{
        Caption(f"{place}.JPEG", "n01", text, place % 2 == 0): ""
        for place, text in enumerate(TEXTS)
    },
    Caption("0.JPEG", "n01", "my other cat"): TWICE,
    Caption("a.JPEG", "n02", ""): NO_TEXT,
    Caption("a.JPEG", "n02", "cat"): ONE_WORD,
    Caption("a.JPEG", "n03", "a whale here"): NO_CLASS,
    Caption("a.JPEG", "n02", "a dog here"): "",
}
ROWS = [{**caption._asdict(), "reason": reason} for caption, reason in GIVEN.items()]


def stored(root):
    return [file for file in kept(root) if file.endswith(".arrow")]


def never():
    raise AssertionError("read again")


def test_every_caption_comes_back_with_its_reason(sandbox):
    found = table(lambda: iter(GIVEN), ["n01", "n02"], "here")
    assert isinstance(found, datasets.Dataset)
    assert found.to_list() == ROWS
    (file,) = stored(sandbox / "root")
    assert [one["filename"] for one in found.cache_files] == [str(sandbox / "root" / file)]


def test_it_is_written_once(sandbox):
    table(lambda: GIVEN, ["n02", "n01"], "here", 3)
    assert table(never, ["n01", "n02"], "here", 3).to_list() == ROWS


@pytest.mark.parametrize("other", [(["n01"], "here", 3), (["n01", "n02"], "there", 3)])
def test_other_classes_and_other_captions_have_another_one(sandbox, other):
    table(lambda: GIVEN, ["n01", "n02"], "here", 3)
    classes, *given = other
    table(lambda: GIVEN, classes, *given)
    assert len(stored(sandbox / "root")) == 2


def test_no_captions(sandbox):
    found = table(lambda: [], ["n01"])
    assert found.to_list() == []
    assert set(found.column_names) == {"image", "wnid", "text", "relevant", "reason"}


def test_a_mistake_in_the_middle_leaves_nothing(sandbox):
    def broken():
        yield from GIVEN
        raise StudyError("captions.json record 12: no name")

    assert refused(lambda: table(broken, ["n01"])) == "captions.json record 12: no name"
    assert kept(sandbox / "root") == []
    assert len(table(lambda: GIVEN, ["n01"])) == len(GIVEN)


def test_a_cache_that_cannot_be_written(sandbox):
    paths.root().mkdir()
    paths.cache().write_text("a file")
    assert refused(lambda: table(lambda: GIVEN, ["n01"])).startswith("cannot write ")
