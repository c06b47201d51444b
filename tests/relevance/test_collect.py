"""The command that brings class texts, against an encyclopedia on the loopback device."""

import errno
import json
import os
import re
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chats import reply
from sentences import refused
from studies.relevance import collect, data
from studies.relevance.collect import (
    CORRESPONDENCES,
    class_text,
    correspondences,
    imagenet,
    overrides,
)
from wikis import PANDA, Wiki

CONTACT = "curator@museum.net"
PAGES = {0: "Red panda", 1: "Crane (bird)", 2: "Blank"}  # by class number; others have none
TEXTS = {"Red panda": PANDA, "Crane (bird)": 'A "tall" bird.\n\n\n== Description ==\nGrey, 1 m.'}
CLASSES = {"n02509815": "lesser panda", "n02012849": "crane", "n03126707": "crane"}
WORDS = st.text(st.sampled_from("ab é<&\u3000\t"), max_size=12)
TITLES = st.sampled_from(["Description", "description", "DESCRIPTION", "Diet", "Description of it"])
SECTIONS = st.lists(st.tuples(st.integers(1, 6), TITLES, st.lists(WORDS, max_size=3)), max_size=6)


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Wiki()
    site.texts = {**TEXTS, "Blank": "One sentence only."}
    yield site
    site.close()


def write(data: Path, lines: list[str]) -> Path:
    """Write correspondences."""
    file = data / CORRESPONDENCES
    file.parent.mkdir(exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


@pytest.fixture
def folder(sandbox, monkeypatch):
    """Captions, and correspondences of a thousand classes of which all but five are left out."""
    lines = [f"n{number:08}, {PAGES.get(number, '-')}" for number in range(1000)]
    write(sandbox / "data", lines)
    folder = sandbox / "data" / "imagenet_captions"
    folder.mkdir()
    (folder / "imagenet_captions.json").write_text("[]")
    few = dict(list(imagenet().items())[:5])
    monkeypatch.setattr(collect, "imagenet", lambda: few)
    return folder


@pytest.fixture
def command(site, capsys):
    """Run the command; return what it prints, or the sentence that it ends with."""

    def command(*arguments: object) -> str:
        options = ["--contact", CONTACT, "--api", site.api, "--rate", "1000"]
        try:
            collect.main([*options, *map(str, arguments)])
        except SystemExit as stop:
            return str(stop.code)
        return capsys.readouterr().out

    return command


def read(file) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False)


class TestCommand:
    def test_texts_sources_and_what_needs_a_decision(self, site, folder, command):
        assert command().splitlines() == [
            "2 of 5 classes have a text, 3 need a decision:",
            *(str(folder / f"class_{name}.csv") for name in ("texts", "sources", "report")),
        ]
        texts = data.read_collected(folder / "class_texts.csv", ["class", "text"])
        assert texts["class"].to_dict() == {"n00000000": "tench", "n00000001": "goldfish"}
        assert texts["text"].iloc[0].startswith("The red panda (Ailurus fulgens) is a small mamm")
        assert texts["text"].iloc[1] == 'A "tall" bird.\nGrey, 1 m.'
        sources = read(folder / "class_sources.csv").to_dict("records")
        date = sources[0].pop("date")
        assert sources[0] == {
            **{"wnid": "n00000000", "class": "tench", "title": "Red panda"},
            "url": "https://en.wikipedia.org/wiki/Red_panda",
            "revision": str(site.page("Red panda")["lastrevid"]),
        }
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", date)
        report = read(folder / "class_report.csv")
        assert report["problem"].tolist() == ["short", "missing", "missing"]
        assert report["page"].tolist() == ["Blank", "tiger shark", "hammerhead"]

    def test_it_goes_on_where_it_stopped(self, site, folder, command):
        first = json.dumps(site.content({"titles": "Red panda"}))
        site.script = [reply(200, first), reply(403, "no")]
        assert "the same command goes on" in command()
        assert [file.name for file in folder.iterdir()] == ["imagenet_captions.json"]
        assert command().startswith("2 of 5 classes")
        again = ["Red panda", "Crane (bird)", "Crane (bird)", "Blank", "tiger shark", "hammerhead"]
        assert site.asked == again
        written = {file.name: file.read_bytes() for file in folder.iterdir()}
        command()
        assert site.asked == again
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == written

    def test_a_read_only_data_folder_is_told_before_anything_is_asked(
        self, site, folder, command, monkeypatch
    ):
        def read_only(**_):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
        assert command().startswith(f"error: cannot write {folder / 'class_texts.csv'}: Read-only")
        assert site.asked == []

    @pytest.mark.parametrize("option", [["--rate", "0"], ["--overrides", "/nowhere.csv"]])
    def test_what_a_user_gets_wrong_is_one_sentence(self, site, folder, command, option):
        message = command(*option)
        assert message.startswith("error: ")
        assert "\n" not in message
        assert site.asked == []


class TestDecisions:
    def test_each_is_one_sentence_with_the_line_to_write(self, site):
        site.redirects |= {"Tail": ("Tailed", "Anatomy"), "Fire fox": ("Red panda", "")}
        site.lists = {"Crane"}
        site.texts |= {"Empty": "\n\n\n== Diet ==\nFish.", "Tailed": "A tail. It is long."}
        problems = {
            "nowhere at all": "missing",
            "crane": "disambiguation",
            "a|b": "invalid",
            "de:Kranich": "elsewhere",
            "empty": "no text",
            "blank": "short",
            "tail": "section",
            "fire fox": "shared",
            "red panda": "shared",
            "tailed": "shared",
            "Crane (bird)": "",
        }
        classes = {f"n{number:08}": name for number, name in enumerate(problems)}
        wiki = collect.Wikipedia(CONTACT, site.api, rate=1000)
        found = wiki.pages(problems)
        pages = {wnid: found[name] for wnid, name in classes.items()}
        frame = collect.class_texts(classes, pages)
        described = ["tail", "fire fox", "red panda", "tailed", "Crane (bird)"]
        assert frame["class"][frame["text"] != ""].tolist() == described
        assert frame.set_index("class")["problem"].to_dict() == problems
        assert frame["page"].tolist() == frame["class"].tolist()
        for row in frame[frame["problem"] != ""].itertuples():
            assert f"({row.Index},<title>)" in row.reason
            assert row.reason.isprintable()


class TestClassText:
    @given(st.lists(WORDS, max_size=3), SECTIONS)
    def test_any_page(self, lead, page):
        lines = list(lead)
        expected = list(lead)
        for place, (level, title, text) in enumerate(page):
            lines += ["", "", f"{'=' * level} {title} {'=' * level}", *text]
            # the section of level 1 or 2 that this one is in
            above = [(n, name) for n, name, _ in page[: place + 1] if n <= 2][-1:]
            if above and above[0][0] == 2 and above[0][1].lower() == "description":
                expected += text
        whole = [" ".join(line.split()) for line in expected]
        assert class_text("\n".join(lines)) == "\n".join(line for line in whole if line)


class TestOverrides:
    @pytest.fixture
    def own(self, tmp_path):
        """Write a table of one's own and read it."""

        def load(text: str, classes=CLASSES):
            file = tmp_path / "own.csv"
            file.write_text(text, newline="")
            return overrides(file, classes)

        return load

    @pytest.mark.parametrize(
        "text",
        [
            "class,page\r\n Lesser  Panda , Red  panda \r\n",
            "\ufeffclass,page\n\nn02509815,Red panda\n,\n",
            "class,page\nlesser panda,Panda\nn02509815,Red panda\n",
        ],
    )
    def test_by_wnid_or_name(self, own, text):
        assert own(text) == {"n02509815": "Red panda"}

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("class,page\nlesser panda,A\nLesser panda,B\n", "line 3: Lesser panda was there"),
            ("class,page\nleser panda,A\n", "leser panda; did you mean lesser panda?"),
            ("class,page\ncrane,A\n", "2 classes have the name crane"),
            ("class,pages\nlesser panda,A\n", "begins with `class,page`"),
            ("class,page\n,A\n", "line 2: should be a wnid or class name"),
        ],
    )
    def test_what_is_wrong(self, own, tmp_path, text, problem):
        message = refused(own, text)
        assert message.startswith(str(tmp_path / "own.csv"))
        assert problem in message


class TestCorrespondences:
    @pytest.mark.parametrize("line", ["n0250981, Red panda", "n02509815, ,x"])
    def test_what_is_wrong(self, sandbox, line):
        file = write(sandbox / "data", ["n02012849, -", "", line])
        assert refused(correspondences, file).startswith(f"{file} line 3: expected a wnid")

    def test_names_stand_in_the_order_of_wnids(self, sandbox):
        wnids = [f"n{number:08}" for number in range(1000)]
        lines = [f"{wnid}, -" for wnid in wnids[1::2] + wnids[::2]]
        file = write(sandbox / "data", lines)
        names = imagenet()
        assert list(names) == wnids
        assert len(set(names.values())) == 1000
        assert (names["n00000000"], names["n00000999"]) == ("tench", "toilet tissue")
        write(sandbox / "data", lines[1:])
        assert refused(imagenet).startswith(f"{file}: has 999 classes, and ImageNet has 1,000")
        file.unlink()
        assert "`python -m studies.inputs.download imagenet_wiki`" in refused(imagenet)
