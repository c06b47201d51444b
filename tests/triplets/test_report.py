"""The files of a report: complete, self-contained, escaped, and without photographs."""

import csv
import errno
import re
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

import reported
from reported import Page, pages
from sentences import refused
from studies.reporting import bootstrap, index
from studies.reporting.tables import to_html
from studies.triplets import cost, report
from studies.triplets.comparisons import paired_tests
from studies.triplets.results import read, summary

HOSTILE = "<script>alert(1)</script>"
CLASSES = ["a|b/x_y_z/*1*", f"a|b/x_y_z/{HOSTILE.replace('/', '')}", "c&d/$e$/${f}%", "c&d/#/~\\g"]
TRUE = [name for name in CLASSES for _ in range(6)]
SYSTEMS = {"cross_entropy": 7, "triplet": 4, "flexible": 2}  # wrong items
VARIANTS = {"cross_entropy@images2": 9, "flexible@images2": 8}
BITS = [0] * 2 + [4] * 3 + [10] * 4 + [12] + [30] * 14  # to the nearest training image
ORDER = [
    "Results",
    "Claims",
    "Differences",
    "Where each approach wins",
    "Space",
    "Tuning",
    "Near-duplicates",
    "Training",
    "Confusion",
    "Embedding",
    "Severe errors",
]
TUNING = pd.DataFrame(
    {
        "model": ["flexible"] * 2 + ["triplet"] * 2,
        "trial": ["base", "wide", "base", "low"],
        "setting": ["margin 1", HOSTILE, "margin 0.5", "rate 0.1"],
        "validation_macro_f1": [0.71, 0.82, 0.64, 0.53],
        "validation_severe_errors": [3, 2, 5, 6],
        "epoch": [10, 12, 14, 16],
        "images": [400] * 4,
    }
)


def write_runs(root, write_run, draw, dataset, systems=SYSTEMS):
    for system, count in systems.items():
        predicted = [*TRUE[-count:], *TRUE[count:]]  # of the last class: severe
        write_run(root / "root", system, 0, TRUE, predicted, dataset)
    for i in range(len(TRUE)):
        draw(root / "data" / "colours" / f"{i:03}.png", seed=i)
    runs = root / "root" / "runs" / dataset / "triplets"
    (runs / "levels.csv").write_text("levels,milliseconds,ratio\n1,9.0,1.0\n3,9.9,1.1\n")
    return runs


def write_near_duplicates(runs):
    ids = [f"{i:03}.png" for i in range(len(TRUE))]
    frame = pd.DataFrame({"test": ids, "train": "x.png", "bits": BITS})
    frame.to_csv(runs / "near_duplicates.csv", index=False)


@pytest.fixture(scope="module", params=["demo", "made_up"])
def written(request, tmp_path_factory, write_run, draw):
    """The report of a drawn dataset, and of one that counts as photographs: each written once."""
    base = tmp_path_factory.mktemp(request.param)
    systems = SYSTEMS | VARIANTS if request.param == "made_up" else SYSTEMS
    write_near_duplicates(write_runs(base, write_run, draw, request.param, systems))
    with pytest.MonkeyPatch.context() as patch:
        work_in(base, request.param, patch)
        page = report.write(request.param)
        assert page == base / "root" / "reports" / request.param / "triplets.html"
        index.write(request.param)
    return base, page.parent


def work_in(base, dataset, patch):
    patch.setenv("STUDIES_ROOT", str(base / "root"))
    patch.setenv("STUDIES_DATA", str(base / "data"))
    patch.setattr(bootstrap, "bootstrap", partial(bootstrap.bootstrap, n_resamples=100))
    patch.setattr(report, "tuned_on", lambda _: TUNING if dataset == "made_up" else None)


@pytest.fixture
def folder(written, monkeypatch):
    base, folder = written
    work_in(base, folder.name, monkeypatch)
    return folder


def test_files(folder):
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    wanted = {f"triplets{end}" for end in (".csv", "_tests.csv", ".md", ".tex", ".html")}
    wanted |= {"claims/triplets.md", "index.html"}
    if folder.name == "made_up":
        wanted |= {"triplets_gallery.html", "triplets_tuning.csv"}
    assert names == wanted


def test_table(folder):
    header, *rows = csv.reader((folder / "triplets.csv").open(encoding="utf-8"))
    wanted = "study dataset model variant metric n mean std n_seeds ci_low ci_high published"
    assert header == wanted.split()
    assert len(rows) == (5 if folder.name == "made_up" else 3) * 12
    assert {row[0] for row in rows} == {"triplets"}
    assert {row[header.index("published")] for row in rows} == {""}
    frame = pd.read_csv(folder / "triplets.csv")
    frame = frame[frame["variant"].isna()].set_index(["model", "metric"])["mean"]
    for system, count in SYSTEMS.items():
        assert frame[system, "severe_errors"] == count
        assert frame[system, "accuracy"] == pytest.approx(1 - count / 24)


def test_tests(folder):
    frame = pd.read_csv(folder / "triplets_tests.csv")
    assert {"first", "second", "metric", "test", "difference", "p"} <= set(frame.columns)
    plain = ~(frame["first"] + frame["second"]).str.contains("@")
    # macro-F1, severe errors twice, and how the space clusters at two levels
    assert plain.sum() == 3 * 5
    assert (~plain).sum() == (3 * 3 if folder.name == "made_up" else 0)
    row = frame[(frame["second"] == "flexible") & (frame["metric"] == "severe_errors")].iloc[0]
    assert row["difference"] == -5


@pytest.mark.parametrize("name", ["triplets.md", "claims/triplets.md"])
def test_markdown_tables_are_whole(folder, name):
    reported.markdown_tables_are_whole((folder / name).read_text(encoding="utf-8"))


def test_claims(folder):
    lines = (folder / "claims" / "triplets.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "| id | claim | experiment | figure with interval | verdict |"
    assert [line.split("|")[1].strip() for line in lines[2:]] == [f"T{k}" for k in range(1, 11)]
    for line in lines[2:]:
        verdict = line.rstrip("| ").rsplit("|")[-1].strip()
        assert re.match(r"(holds|does not hold|inconclusive|not tested here: \S)", verdict)
        if folder.name == "demo" and not verdict.startswith("not tested"):
            # T8 times drawn embeddings, whatever the dataset
            assert ("synthetic)" in verdict) != line.startswith("| T8 ")


def test_latex(folder):
    text = (folder / "triplets.tex").read_text(encoding="utf-8")
    reported.latex_is_whole(text)
    assert r"cross\_entropy" in text


def test_pages_load_nothing_from_outside(folder):
    for page in pages(folder):
        reported.loads_nothing_from_outside(page)


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
    for row in paired_tests(results).itertuples():
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


@pytest.mark.parametrize("written", ["made_up"], indirect=True)
class TestSections:
    def test_order(self, folder):
        titles = re.findall(r"<h2[^>]*>(.*?)</h2>", Page(folder / "triplets.html").source)
        found = [title for title in titles if title in ORDER]
        assert found == ORDER

    def test_tuning_names_the_best_trial_of_each_model(self, folder):
        shown = TUNING.drop(columns="images").rename(columns=lambda name: name.replace("_", " "))
        shown = shown.rename(columns={"validation macro f1": "validation macro-F1"})
        shown["validation macro-F1"] = ["0.710", "0.820", "0.640", "0.530"]
        shown["chosen"] = ["", "yes", "yes", ""]
        assert to_html(shown) in Page(folder / "triplets.html").source
        pd.testing.assert_frame_equal(pd.read_csv(folder / "triplets_tuning.csv"), TUNING)

    def test_near_duplicates_are_counted_and_left_out(self, folder):
        page = Page(folder / "triplets.html")
        shown = pd.DataFrame(
            {
                "bits apart, at most": [0, 4, 8, 10, 12],
                "test images": [2, 5, 5, 9, 10],
                "share": ["8.3%", "20.8%", "20.8%", "37.5%", "41.7%"],
            }
        )
        assert to_html(shown) in page.source
        assert "all 24 test images and on the 15 without a near-duplicate" in page.text
        # those taken for another class are among the first nine images, which are left out
        section = page.source.partition(">Near-duplicates</h2>")[2].partition("<h2")[0]
        for system, count in SYSTEMS.items():
            (row,) = [row for row in section.split("<tr>") if f"{system}</td>" in row]
            assert re.findall(r">(\d+\.0)<", row) == [f"{count}.0", "0.0"]

    def test_variants_stand_in_a_table_of_their_own(self, folder):
        page = Page(folder / "triplets.html")
        assert "scores against training images a class" in page.source
        assert all(name in page.text for name in VARIANTS)


def test_a_drawn_dataset_has_none_of_them(folder):
    text = Page(folder / "triplets.html").text
    if folder.name == "demo":
        assert "Near-duplicates" not in text
        assert "Tuning" not in text
        assert "Where each approach wins" not in text


class TestTunedOn:
    @pytest.mark.parametrize("dataset", ["birds", "birds_random", "birds_official_frozen"])
    def test_a_record(self, sandbox, dataset):
        file = sandbox / "root/reports/birds_tuning/triplets_tuning.csv"
        file.parent.mkdir(parents=True)
        TUNING.to_csv(file, index=False)
        pd.testing.assert_frame_equal(report.tuned_on(dataset), TUNING)

    def test_not_tuned(self, sandbox):
        assert report.tuned_on("fish_random") is None


@pytest.mark.usefixtures("few_resamples")
class TestTrouble:
    def test_the_pictures_are_gone(self, sandbox, write_run, draw):
        write_runs(sandbox, write_run, draw, "made_up", {"flexible": 2})
        for file in (sandbox / "data" / "colours").iterdir():
            file.unlink()
        report.write("made_up")
        page = Page(sandbox / "root/reports/made_up/triplets_gallery.html")
        assert "img" not in page.tags
        assert "no picture: 000.png" in page.text
        assert "Not counted here: " in Page(page.file.with_name("triplets.html")).text

    def test_the_disk_is_full(self, sandbox, write_run, draw, monkeypatch):
        name = "triplets.html"
        runs = write_runs(sandbox, write_run, draw, "demo", {"flexible": 2})
        folder = report.write("demo").parent

        def files() -> dict[str, bytes]:
            found = [file for file in folder.rglob("*") if file.is_file()]
            return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}

        before = files()
        predicted = [*TRUE[-5:], *TRUE[5:]]
        write_run(sandbox / "root", "flexible", 1, TRUE, predicted, "demo")
        write = Path.write_bytes

        def full(self, content):
            if self.name.startswith(f".{name}."):
                write(self, content[: len(content) // 2])
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(self, content)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "write_bytes", full)
            message = refused(report.write, "demo")
        assert message.startswith(f"cannot write {folder / name}: No space left on device; ")
        during = files()
        assert during.keys() == before.keys()  # no half file
        assert not list(runs.rglob("*.part"))
        assert during[name] == before[name]
        assert during["triplets.csv"] != before["triplets.csv"]  # written before, and whole
        assert during["triplets.csv"].splitlines()[1].count(b",") == 11
        report.write("demo")
        after = files()
        assert after.pop(name) != during.pop(name)
        assert after == during


def test_report_of_trained_runs(colour_runs, trained, monkeypatch, few_resamples):
    monkeypatch.setattr(cost, "levels", partial(cost.levels, (1, 3), batch=16, rounds=5))
    report.write("colours")
    page = Page(trained / "root/reports/colours/triplets.html")
    assert "7 classes" in page.text
    assert "T10" in page.text
    assert "5 systems, 42 test images" in page.text
    assert "all 42 test images" in page.text
