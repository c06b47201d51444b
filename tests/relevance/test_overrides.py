"""Tables of pages: a user's own, the published one, and both together."""

import os
import re
from pathlib import Path

import pytest

from sentences import refused
from studies import paths
from studies.relevance import overrides

CLASSES = {"n02509815": "lesser panda", "n02012849": "crane", "n03126707": "crane"}
PUBLISHED = """n02509815, Red panda
n02012849, -
n03126707, Crane (machine),Mobile crane
n07584110, Consommé
"""


@pytest.fixture
def data(sandbox) -> Path:
    """The folder of the data, with the published correspondences."""
    folder = sandbox / "data"
    (folder / "imagenet_wiki").mkdir()
    (folder / overrides.CORRESPONDENCES).write_text(PUBLISHED, encoding="utf-8")
    return folder


@pytest.fixture
def own(data):
    """Write a table of one's own and load it, alone or after others."""

    def load(text: str | bytes, *before: str, classes=CLASSES):
        content = text.encode() if isinstance(text, str) else text
        (data / "own.csv").write_bytes(content)
        return overrides.load([*before, "own.csv"], classes)

    return load


class TestOwn:
    @pytest.mark.parametrize(
        "text",
        [
            "class,page\nn02509815,Red panda\n",
            "class,page\nlesser panda,Red panda",
            "class,page\r\n Lesser  Panda , Red  panda \r\n",
            "\ufeffclass,page\n\nn02509815,Red panda\n,\n",
            'class,page\n"lesser panda","Red panda"\n',
            "class,page\nn02509815,Red panda\nlesser panda,Panda\n",
            "class,page\nlesser panda,Panda\nn02509815,Red panda\n",
        ],
    )
    def test_by_wnid_or_name(self, own, text):
        assert own(text) == {"n02509815": "Red panda"}

    def test_no_page(self, own):
        assert own("class,page\nlesser panda,-\n") == {"n02509815": None}

    def test_other_classes_are_left_out(self, own):
        assert own("class,page\nn99999999,Red panda\n") == {}

    def test_a_comma_in_a_title(self, own):
        pages = own('class,page\n"panda, red","Panda, the red, and ""more"""\n', classes=NAMED)
        assert pages == {"n1": 'Panda, the red, and "more"'}

    def test_any_script(self, own):
        assert own("class,page\n红熊猫,小熊猫\n", classes={"n1": "红熊猫"}) == {"n1": "小熊猫"}

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "first line should be `class,page`"),
            ("n02509815,Red panda\n", "first line should be `class,page`"),
            ("class;page\nlesser panda;Panda\n", "first line should be `class,page`"),
            ("class,page\nlesser panda\n", "line 2: should be"),
            ("class,page\n\nlesser panda,\n", "line 3: should be"),
            ("class,page\n,Panda\n", "line 2: should be"),
            ("class,page\nlesser panda,Panda,red\n", "line 2: should be"),
            ("class,page\nlesser panda,A\nlesser panda,B\n", "line 3: lesser panda was there"),
            ("class,page\nlesser panda,A\nLesser panda,B\n", "is there twice"),
            ("class,page\nleser panda,A\n", "did you mean lesser panda?"),
            ("class,page\nxyz,A\n", "no class has the name xyz; write a class name or a wnid"),
            ("class,page\ncrane,A\n", "crane is the name of n02012849 and n03126707"),
            ('class,page\n"lesser panda,A\n', "not CSV"),
            ("class,page\nlesser panda,A\n".encode("utf-16"), "line 1: is not UTF-8"),
            (b"class,page\nlesser panda,\xe9t\xe9\n", "line 2: is not UTF-8"),
        ],
    )
    def test_what_is_wrong(self, own, data, text, said):
        message = refused(own, text)
        assert message.startswith(str(data / "own.csv"))
        assert said in message

    def test_no_file(self, data):
        message = refused(overrides.load, ["none.csv"], CLASSES)
        assert message.startswith(f"{data / 'none.csv'}: no such file; put the table")
        assert "cannot be read" in refused(overrides.load, ["imagenet_wiki"], CLASSES)


NAMED = {"n1": "panda, red"}


class TestPublished:
    def test_first_articles(self, data):
        assert overrides.published(data / overrides.CORRESPONDENCES) == {
            "n02509815": "Red panda",
            "n03126707": "Crane (machine)",
            "n07584110": "Consommé",
        }
        assert overrides.load(["published"], CLASSES) == {
            "n02509815": "Red panda",
            "n03126707": "Crane (machine)",
        }

    def test_the_later_source_counts(self, own):
        text = "class,page\nlesser panda,Panda\nn02012849,Crane (bird)\nn03126707,-\n"
        pages = {"n02509815": "Panda", "n02012849": "Crane (bird)", "n03126707": None}
        assert own(text, "published") == pages
        assert overrides.load(["own.csv", "published"], CLASSES) == pages | {
            "n02509815": "Red panda",
            "n03126707": "Crane (machine)",
        }

    def test_none(self, data):
        assert overrides.load([], CLASSES) == {}

    @pytest.mark.parametrize(
        "line", ["n0250981, Red panda", "Red panda", "n02509815", "n02509815,", "n02509815, ,x"]
    )
    def test_what_is_wrong(self, data, line):
        file = data / overrides.CORRESPONDENCES
        file.write_text(f"{PUBLISHED}\n{line}\n", encoding="utf-8")
        message = refused(overrides.load, ["published"], CLASSES)
        assert message.startswith(f"{file} line 6: should be a wnid")

    def test_not_there(self, sandbox):
        message = refused(overrides.load, ["published"], CLASSES)
        assert str(sandbox / "data" / overrides.CORRESPONDENCES) in message


def real_correspondences() -> Path | None:
    shared = paths.REPOSITORY.parent / "shared" / "data"
    named = [Path(os.environ["STUDIES_DATA"])] if "STUDIES_DATA" in os.environ else []
    found = [base / overrides.CORRESPONDENCES for base in [*named, shared, paths.data()]]
    return next((file for file in found if file.exists()), None)


REAL = real_correspondences()


@pytest.mark.skipif(REAL is None, reason="no imagenet_wiki/ below STUDIES_DATA or ../shared")
class TestRealCorrespondences:
    def test_976_of_1000_classes_have_an_article(self):
        text = REAL.read_text(encoding="utf-8")
        pages = overrides.published(REAL)
        assert text.count("\n") == 1000
        assert len(re.findall(r"^n\d{8}, -$", text, re.MULTILINE)) == 24
        assert len(pages) == 976
        for wnid, title in pages.items():
            assert re.search(rf"^{wnid}, {re.escape(title)} ?(,|$)", text, re.MULTILINE)

    def test_some_of_them(self):
        pages = overrides.published(REAL)
        assert pages["n02509815"] == "Red panda"
        assert pages["n04201297"] == "Shōji"
        assert pages["n04192698"] == "Shield"
        assert "n02124075" not in pages
        assert not [title for title in pages.values() if re.search(r"[#<>\[\]|{},]", title)]
