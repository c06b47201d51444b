"""The command that brings class texts, against an encyclopedia on the loopback device."""

import errno
import json
import os
import tempfile

import pandas as pd
import pytest

from chats import reply
from sentences import refused
from studies.relevance import collect, data
from studies.relevance.classes import imagenet
from studies.relevance.overrides import CORRESPONDENCES
from studies.relevance.params import Parameters
from studies.runs.params import run_files
from wikis import PANDA, Wiki

CONTACT = "curator@museum.net"
PAGES = {0: "Red panda", 1: "Crane (bird)", 2: "Blank"}  # by class number; others have none
TEXTS = {"Red panda": PANDA, "Crane (bird)": 'A "tall" bird.\n\n\n== Description ==\nGrey, 1 m.'}


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    site = Wiki()
    site.texts = {**TEXTS, "Blank": "One sentence only."}
    yield site
    site.close()


@pytest.fixture
def folder(sandbox, monkeypatch):
    """Captions, and correspondences of a thousand classes of which all but five are left out."""
    wiki = sandbox / "data" / CORRESPONDENCES
    wiki.parent.mkdir()
    rows = [f"n{number:08}, {PAGES.get(number, '-')}\n" for number in range(1000)]
    wiki.write_text("".join(rows), encoding="utf-8")
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
        given = ["--contact", CONTACT, "--api", site.api, "--rate", "1000", *map(str, arguments)]
        try:
            collect.main(given)
        except SystemExit as stop:
            return str(stop.code)
        return capsys.readouterr().out

    return command


def read(file) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def test_texts_sources_and_what_needs_a_decision(site, folder, command):
    said = command()
    assert said.splitlines() == [
        "2 of 5 classes have a text, 3 need a decision:",
        str(folder / "class_texts.csv"),
        str(folder / "class_sources.csv"),
        str(folder / "class_report.csv"),
    ]
    texts = read(folder / "class_texts.csv")
    assert list(texts) == ["wnid", "class", "text"]
    assert texts["wnid"].tolist() == ["n00000000", "n00000001"]
    assert texts["class"].tolist() == ["tench", "goldfish"]
    assert texts["text"][0].startswith("The red panda (Ailurus fulgens) is a small mammal. It is")
    assert texts["text"][1] == 'A "tall" bird.\nGrey, 1 m.'
    sources = read(folder / "class_sources.csv")
    assert sources["title"].tolist() == ["Red panda", "Crane (bird)"]
    assert sources["url"][1] == "https://en.wikipedia.org/wiki/Crane_%28bird%29"
    assert sources["revision"].str.isdecimal().all()
    report = read(folder / "class_report.csv")
    assert report["problem"].tolist() == ["short", "missing", "missing"]
    assert report["page"].tolist() == ["Blank", "tiger shark", "hammerhead"]
    assert "'Blank' has fewer than the 2 sentences" in report["reason"][0]
    assert sorted(file.name for file in folder.iterdir()) == [
        *("class_report.csv", "class_sources.csv", "class_texts.csv", "imagenet_captions.json")
    ]
    assert site.headers[0]["User-Agent"].startswith("studies/")
    assert f"({CONTACT})" in site.headers[0]["User-Agent"]


def test_the_study_reads_what_was_written(folder, command):
    parameters = Parameters.from_files(
        run_files("relevance", "imagenet_captions")["tfidf"], ["seed=0"]
    )
    told = refused(parameters.require_data)
    assert "class_texts.csv: no such file" in told
    assert "python -m studies.relevance.collect --contact <" in told
    command()
    parameters.require_data()
    names, texts = data.collected(folder / "class_texts.csv")
    assert names == {"n00000000": "tench", "n00000001": "goldfish"}
    assert texts["n00000001"] == 'A "tall" bird.\nGrey, 1 m.'


def test_own_tables_count_more_and_later_ones_most(site, folder, command, tmp_path, monkeypatch):
    (tmp_path / "first.csv").write_text("class,page\ngoldfish,-\ntiger shark,Nowhere\n")
    (tmp_path / "second.csv").write_text("class,page\nn00000003,Red panda\n")
    monkeypatch.chdir(tmp_path)  # a path is as the shell has it
    said = command("--overrides", "first.csv", tmp_path / "second.csv")
    assert said.startswith("2 of 5 classes have a text, 4 need a decision:")
    assert read(folder / "class_texts.csv")["wnid"].tolist() == ["n00000000", "n00000003"]
    report = read(folder / "class_report.csv")
    assert report["problem"].tolist() == ["shared", "short", "shared", "missing"]
    assert site.asked == ["Red panda", "Blank", "hammerhead"]


def test_it_goes_on_where_it_stopped(site, folder, command):
    site.script = [reply(200, page(site, "Red panda")), reply(403, "no")]
    said = command()
    assert said.startswith("error: ")
    assert "the same command goes on" in said
    assert [file.name for file in folder.iterdir()] == ["imagenet_captions.json"]
    assert command().startswith("2 of 5 classes")
    again = ["Red panda", "Crane (bird)", "Crane (bird)", "Blank", "tiger shark", "hammerhead"]
    assert site.asked == again
    written = {file.name: file.read_bytes() for file in folder.iterdir()}
    command()
    assert site.asked == again
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == written


def page(site: Wiki, title: str) -> bytes:
    return json.dumps(site.content({"titles": title})).encode()


def test_ctrl_c_says_how_to_go_on(folder, command, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(collect.class_texts, "collect", stopped)
    assert command() == "stopped; the same command goes on from here"


def test_a_read_only_data_folder_is_told_before_anything_is_asked(
    site, folder, command, monkeypatch
):
    def read_only(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "TemporaryFile", read_only)
    said = command()
    assert said.startswith(f"error: cannot write in {folder}: Read-only file system; make")
    assert "\n" not in said
    assert site.asked == []


def test_what_is_not_there_names_its_command(folder, command):
    (folder / "imagenet_captions.json").unlink()
    assert "`python -m studies.inputs.download imagenet_captions`" in command()


def test_another_wiki_has_none_of_the_pages(site, folder, command):
    site.texts = {}
    assert "check the address" in command()
    assert not (folder / "class_texts.csv").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--contact", "nobody"], "give your mail address or web page"),
        (["--rate", "0"], "should be above 0"),
        (["--api", "http://en.wikipedia.org/w/api.php"], "such as https://"),
        (["--overrides", "/nowhere.csv"], "/nowhere.csv: no such file"),
    ],
)
def test_what_a_user_gets_wrong_is_one_sentence(site, folder, command, given, said):
    message = command(*given)
    assert message.startswith("error: ")
    assert said in message
    assert "\n" not in message
    assert site.asked == []
