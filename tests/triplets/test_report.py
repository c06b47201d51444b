"""The files of a report: complete, self-contained, escaped, and without photographs."""

import csv
import re
from html.parser import HTMLParser
from itertools import pairwise

import pandas as pd
import pytest

from studies import index
from studies.triplets import report
from studies.triplets.results import comparisons, read, summary

HOSTILE = "<script>alert(1)</script>"
CLASSES = ["a|b/x_y_z/*1*", f"a|b/x_y_z/{HOSTILE.replace('/', '')}", "c&d/$e$/${f}%", "c&d/#/~\\g"]
TRUE = [name for name in CLASSES for _ in range(6)]
SYSTEMS = {"cross_entropy": 7, "triplet": 4, "flexible": 2}  # wrong items


class Page(HTMLParser):
    def __init__(self, file):
        super().__init__()
        self.tags, self.addresses, self.text = [], [], ""
        self.source = file.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += data


def write_runs(root, write_run, draw, dataset):
    for system, count in SYSTEMS.items():
        predicted = [*TRUE[-count:], *TRUE[count:]]  # of the last class: severe
        write_run(root / "root", system, 0, TRUE, predicted, dataset)
    for i in range(len(TRUE)):
        draw(root / "data" / "colours" / f"{i:03}.png", seed=i)


@pytest.fixture(scope="module", params=["demo", "made_up"])
def written(request, tmp_path_factory, write_run, draw):
    """The report of a drawn dataset, and of one that counts as photographs: each written once."""
    base = tmp_path_factory.mktemp(request.param)
    write_runs(base, write_run, draw, request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_ROOT", str(base / "root"))
        patch.setenv("STUDIES_DATA", str(base / "data"))
        page = report.write(request.param)
        assert page == base / "root" / "reports" / request.param / "triplets.html"
        index.write(request.param)
    return base, page.parent


@pytest.fixture
def folder(written, monkeypatch):
    monkeypatch.setenv("STUDIES_ROOT", str(written[0] / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(written[0] / "data"))
    return written[1]


def test_files(folder):
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    wanted = {f"triplets{end}" for end in (".csv", "_tests.csv", ".md", ".tex", ".html")}
    wanted |= {"claims/triplets.md", "index.html"}
    assert names == wanted | ({"triplets_gallery.html"} if folder.name == "made_up" else set())


def test_table(folder):
    header, *rows = csv.reader((folder / "triplets.csv").open(encoding="utf-8"))
    wanted = "study dataset model variant metric n mean std n_seeds ci_low ci_high published"
    assert header == wanted.split()
    assert len(rows) == 3 * 6
    assert {row[0] for row in rows} == {"triplets"}
    assert {row[header.index("published")] for row in rows} == {""}
    frame = pd.read_csv(folder / "triplets.csv").set_index(["model", "metric"])["mean"]
    for system, count in SYSTEMS.items():
        assert frame[system, "severe_errors"] == count
        assert frame[system, "accuracy"] == pytest.approx(1 - count / 24)


def test_tests(folder):
    frame = pd.read_csv(folder / "triplets_tests.csv")
    assert {"first", "second", "metric", "test", "difference", "p"} <= set(frame.columns)
    assert len(frame) == 3 * 3
    row = frame[(frame["second"] == "flexible") & (frame["metric"] == "severe_errors")].iloc[0]
    assert row["difference"] == -5


@pytest.mark.parametrize("name", ["triplets.md", "claims/triplets.md"])
def test_markdown_tables_are_whole(folder, name):
    lines = (folder / name).read_text(encoding="utf-8").splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len(tables) > 4
    for before, after in pairwise(lines):
        if before.startswith("|") and after.startswith("|"):
            cells = [len(re.findall(r"(?<!\\)\|", line)) for line in (before, after)]
            assert cells[0] == cells[1]
    assert "<script" not in "\n".join(lines)


def test_claims(folder):
    lines = (folder / "claims" / "triplets.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "| id | claim | experiment | figure with interval | verdict |"
    assert [line.split("|")[1].strip() for line in lines[2:]] == [f"T{k}" for k in range(1, 11)]
    for line in lines[2:]:
        verdict = line.rstrip("| ").rsplit("|")[-1].strip()
        assert re.match(r"(holds|does not hold|inconclusive|not tested here: \S)", verdict)
        if folder.name == "demo" and not verdict.startswith("not tested"):
            assert "synthetic)" in verdict


def test_latex(folder):
    text = (folder / "triplets.tex").read_text(encoding="utf-8")
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert text.count(rule) == 1
    assert text.count("{") == text.count("}")
    assert r"cross\_entropy" in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0]
    assert not re.search(r"(?<!\\)[_%#$]", body.replace(r"$\pm$", ""))


def pages(folder):
    return [Page(file) for file in sorted(folder.glob("*.html"))]


def test_pages_load_nothing_from_outside(folder):
    for page in pages(folder):
        assert "script" not in page.tags
        for address in page.addresses:
            assert not re.match(r"(https?:)?//|ftp:|file:", address)
            assert address.startswith(("data:", "#")) or (folder / address).exists()
        assert not re.search(r"url\(['\"]?(?!#)|@import", page.source)


def test_labels_are_escaped(folder):
    name = "triplets.html" if folder.name == "demo" else "triplets_gallery.html"
    page = Page(folder / name)
    # captions of the gallery show the labels letter by letter
    for name in CLASSES[:2]:
        assert name.rpartition("/")[2] in page.text
    for other in pages(folder):
        assert "<script" not in other.source


def test_photographs_stand_on_the_gallery_only(folder):
    held = {file.name: "data:image/jpeg" in file.read_text() for file in folder.glob("*.html")}
    if folder.name == "demo":
        assert held == {"triplets.html": True, "index.html": False}
    else:
        assert held == {
            "triplets.html": False,
            "triplets_gallery.html": True,
            "index.html": False,
        }
        assert "triplets_gallery.html" in Page(folder / "triplets.html").addresses


def test_gallery_shows_every_severe_error(folder):
    name = "triplets.html" if folder.name == "demo" else "triplets_gallery.html"
    page = Page(folder / name)
    if folder.name == "made_up":
        assert page.tags.count("img") == sum(SYSTEMS.values())
    for system, count in SYSTEMS.items():
        assert f"{system}, seed 0: {count} severe errors" in page.text


def test_page_says_what_a_reader_needs(folder):
    text = Page(folder / "triplets.html").text
    results = read(folder.name)
    assert f"make study DATASET={folder.name} STUDY=triplets SEEDS=0" in text
    assert "highest macro-F1: flexible" in text
    assert "4 classes" in text
    assert "abc1234" in text
    for row in comparisons(results).itertuples():
        assert row.first in text
        assert row.second in text
    for row in summary(results).itertuples():
        if row.metric == "macro_f1":
            assert f"{row.mean:.3f}" in text


def test_index_leads_to_every_report(folder):
    page = Page(folder / "index.html")
    assert "triplets.html" in page.addresses
    assert report.TITLE in page.text


@pytest.mark.parametrize("written", ["made_up"], indirect=True)
def test_the_same_runs_give_the_same_report(folder):
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    report.write(folder.name)
    index.write(folder.name)
    assert {file: file.read_bytes() for file in before} == before


def test_a_report_without_the_pictures(sandbox, write_run, draw):
    write_runs(sandbox, write_run, draw, "made_up")
    for file in (sandbox / "data" / "colours").iterdir():
        file.unlink()
    report.write("made_up")
    page = Page(sandbox / "root/reports/made_up/triplets_gallery.html")
    assert "img" not in page.tags
    assert "no picture: 000.png" in page.text


def test_report_of_trained_runs(colour_runs, trained):
    report.write("colours")
    page = Page(trained / "root/reports/colours/triplets.html")
    assert "7 classes" in page.text
    assert "T10" in page.text
    assert "4 systems, 42 test images" in page.text
