"""The files of a report: complete, self-contained, escaped, and without photographs."""

import csv
import re
import shutil
from functools import partial

import pandas as pd
import pytest

import reported
from reported import Page, pages
from sentences import refused
from spoken import Spoken, captions, people
from studies.captioning import data, report, sections
from studies.captioning.comparisons import paired_tests
from studies.captioning.results import read, summary
from studies.reporting import bootstrap, index

IMAGES = 8
# errors of each system on each image; the first seed of the last says something hostile
SYSTEMS = {
    "most_frequent": [[4] * IMAGES],
    "nearest_neighbour": [[3, 4, 1, 3, 3, 4, 3, 2]],
    "resnet_lstm": [[0, 1, 1, 3, 0, 2, 1, 0]],
    "clip_transformer": [[0, 0, 1, 0, 4, 0, 0, 1], [0, 0, 0, 0, 0, 1, 0, 0]],
}
HOSTILE = "<script>alert(1)</script> $x_1$ & <!-- \\ --> <img src=//evil.example/x.png>"
PLACE = 4  # of the hostile caption: in the middle, where attention is drawn, and its CIDEr is 0


def said_by(system, seed):
    said = captions(SYSTEMS[system][seed])
    if system == "clip_transformer" and seed == 0:
        said[PLACE] = HOSTILE
    return said


def work_in(base, patch):
    patch.setenv("STUDIES_ROOT", str(base / "root"))
    patch.setenv("STUDIES_DATA", str(base / "data"))
    patch.setattr(sections, "ATTENDED", 1)
    patch.setattr(bootstrap, "weights", partial(bootstrap.weights, n_resamples=100))


@pytest.fixture(scope="module", params=["demo", "made_up"])
def written(request, tmp_path_factory, write_run, plates, weigh):
    """The report of a drawn dataset, and of one that counts as photographs: each written once."""
    base, dataset = tmp_path_factory.mktemp(request.param), request.param
    with pytest.MonkeyPatch.context() as patch:
        work_in(base, patch)
        ids = sorted(data.read(plates()).files)[:IMAGES]
        for system, seeds in SYSTEMS.items():
            for seed in range(len(seeds)):
                said = said_by(system, seed)
                run = write_run(base / "root", system, seed, said, people(IMAGES), dataset, ids)
                if system in ("resnet_lstm", "clip_transformer"):
                    weigh(run)
        page = report.write(dataset)
        assert page == base / "root" / "reports" / dataset / "captioning.html"
        index.write(dataset)
    return base, page.parent


@pytest.fixture
def folder(written, monkeypatch):
    base, folder = written
    work_in(base, monkeypatch)
    return folder


def pictured(folder):
    """The page that shows pictures."""
    gallery = folder / "captioning_gallery.html"
    return Page(gallery if gallery.exists() else folder / "captioning.html")


def test_files(folder):
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    wanted = {f"captioning{end}" for end in (".csv", "_tests.csv", ".md", ".tex", ".html")}
    wanted |= {"claims/captioning.md", "index.html"}
    assert names == wanted | ({"captioning_gallery.html"} if folder.name == "made_up" else set())


def test_table(folder):
    with (folder / "captioning.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    wanted = "study dataset model variant metric n mean std n_seeds ci_low ci_high published"
    assert header == wanted.split()
    assert len(rows) == len(SYSTEMS) * 7
    assert {(row[0], row[1], row[5]) for row in rows} == {("captioning", folder.name, "8")}
    frame = pd.read_csv(folder / "captioning.csv").set_index(["model", "metric"])
    for system, seeds in SYSTEMS.items():
        scores = [
            Spoken(said_by(system, seed), people(IMAGES)).corpus() for seed in range(len(seeds))
        ]
        for name, metric in (("bleu4", "BLEU-4"), ("meteor", "METEOR"), ("cider", "CIDEr")):
            mean = sum(one[metric] for one in scores) / len(scores)
            assert frame.loc[(system, name), "mean"] == pytest.approx(mean)
        assert (frame.loc[system, "n_seeds"] == len(seeds)).all()


def test_tests(folder):
    frame = pd.read_csv(folder / "captioning_tests.csv")
    assert len(frame) == 6 * 4
    row = frame[(frame["second"] == "clip_transformer") & (frame["metric"] == "cider")]
    assert row["first"].tolist() == ["most_frequent", "nearest_neighbour", "resnet_lstm"]
    # seed 0 is in common with the LSTM, and a baseline stands against both
    assert row["seeds"].tolist() == [2, 2, 1]
    clip, lstm = (
        Spoken(said_by(name, 0), people(IMAGES)).corpus()["CIDEr"]
        for name in ("clip_transformer", "resnet_lstm")
    )
    assert row["difference"].iloc[-1] == round(clip - lstm, 4)


@pytest.mark.parametrize("name", ["captioning.md", "claims/captioning.md"])
def test_markdown_tables_are_whole(folder, name):
    reported.markdown_tables_are_whole((folder / name).read_text(encoding="utf-8"))


def test_claims(folder):
    lines = (folder / "claims" / "captioning.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "| id | claim | experiment | figure with interval | verdict |"
    assert [line.split("|")[1].strip() for line in lines[2:]] == ["C1", "C2"]
    assert f"no run of resnet_transformer on {folder.name}" in lines[2]
    text = Page(folder / "captioning.html").text
    assert "Of 2 claims 2 are not tested here." in text


def test_latex(folder):
    text = (folder / "captioning.tex").read_text(encoding="utf-8")
    reported.latex_is_whole(text)
    assert r"clip\_transformer" in text


def test_pages_load_nothing_from_outside(folder):
    for page in pages(folder):
        reported.loads_nothing_from_outside(page)


def test_captions_are_escaped(folder):
    page = pictured(folder)
    assert f"{HOSTILE} (CIDEr 0.00)" in page.text
    for other in pages(folder):
        assert "<script" not in other.source
        assert "<img src=//" not in other.source


def test_photographs_stand_on_the_gallery_only(folder):
    held = {file.name: "data:image/" in file.read_text() for file in folder.glob("*.html")}
    if folder.name == "demo":
        assert held == {"captioning.html": True, "index.html": False}
    else:
        assert held == {
            "captioning.html": False,
            "captioning_gallery.html": True,
            "index.html": False,
        }
        assert "captioning_gallery.html" in Page(folder / "captioning.html").addresses


def test_pictures_of_trained_systems(folder):
    page = pictured(folder)
    titles = re.findall(r"<h3>(.*?)</h3>", page.source)
    assert titles == [
        f"{system}: {case} by CIDEr"
        for system in ("resnet_lstm", "clip_transformer")
        for case in ("best", "median", "worst")
    ]
    assert page.tags.count("img") == 2 * 3 * 3
    for system in ("resnet_lstm", "clip_transformer"):
        assert f"{system}: the picture with its caption" in page.text
    assert "no picture:" not in page.text


def test_page_says_what_a_reader_needs(folder):
    page = Page(folder / "captioning.html")
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", page.source)
    wanted = ["Results", "Claims", "Differences", "Training", "Captions", "Attention"]
    assert [title for title in titles if title in wanted] == (
        wanted if folder.name == "demo" else wanted[:-1]
    )
    for seeds, names in (
        ("0", "most_frequent,nearest_neighbour,resnet_lstm"),
        ("0,1", "clip_transformer"),
    ):
        command = f"make study DATASET={folder.name} STUDY=captioning SEEDS={seeds} MODEL={names}"
        assert command in page.text
    assert "4 systems, 8 test images; highest CIDEr: clip_transformer with " in page.text
    sentence = (
        "Every trained system beats most_frequent and nearest_neighbour in all four measures."
    )
    assert sentence in page.text
    assert sentence in (folder / "captioning.md").read_text().replace("\\_", "_")
    assert "abc1234" in page.text
    results = read(folder.name)
    for row in paired_tests(results).itertuples():
        assert f"{row.second} − {row.first}" in page.text
    for row in summary(results).itertuples():
        if row.metric in ("bleu4", "meteor", "rouge_l", "cider"):
            assert f"{row.mean:.3f}" in page.text


def test_index_says_what_the_page_says(folder):
    entry = report.entry(folder.name)
    page = Page(folder / "captioning.html")
    assert f"Dataset {folder.name}: {entry['lead']}" in page.text
    assert entry["title"] == report.TITLE
    assert entry["href"] == "captioning.html"
    (table,) = re.findall(r"<table.*?</table>", str(entry["headline"]), re.DOTALL)
    assert table in page.source
    leading = Page(folder / "index.html")
    assert "captioning.html" in leading.addresses
    assert entry["lead"] in leading.text
    assert table in leading.source


@pytest.mark.parametrize("written", ["made_up"], indirect=True)
def test_a_report_is_made_again_from_run_folders_alone(folder):
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    root = folder.parents[1]
    for made in ("reports", "cache"):
        shutil.rmtree(root / made)
    report.write(folder.name)
    index.write(folder.name)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


@pytest.mark.usefixtures("few_resamples")
class TestTrouble:
    @pytest.fixture(autouse=True)
    def no_curves(self, monkeypatch):
        """Curves take seconds to draw, and are drawn above."""
        monkeypatch.setattr(sections, "training", lambda _: [])

    def test_the_photographs_are_gone(self, sandbox, write_run, capsys):
        source = {"name": "flickr8k", "splits": "official"}
        said, given = captions([0, 1]), people(2)
        write_run(sandbox / "root", "resnet_lstm", 0, said, given, "flickr8k", source=source)
        page = Page(report.write("flickr8k"))
        assert "human judgements are left out: " in capsys.readouterr().out
        assert "nobody has judged captions of this data" in page.text
        assert "No trivial baseline was run." in page.text
        gallery = Page(sandbox / "root/reports/flickr8k/captioning_gallery.html")
        assert gallery.text.count("Not shown here: ") == 2
        assert "img" not in gallery.tags

    def test_baselines_alone(self, sandbox, write_run):
        for system in ("most_frequent", "nearest_neighbour"):
            write_run(sandbox / "root", system, 0, captions([3, 4]), people(2))
        page = Page(report.write("made_up"))
        assert "Nothing but trivial baselines was run." in page.text
        assert not re.search(r"<h2[^>]*>(Training|Captions)</h2>", page.source)
        assert not (sandbox / "root/reports/made_up/captioning_gallery.html").exists()
        assert report.entry("made_up")["lead"] in page.text

    def test_one_system_alone(self, sandbox, write_run):
        write_run(sandbox / "root", "most_frequent", 0, captions([3, 4]), people(2))
        page = Page(report.write("made_up"))
        assert "1 system, 2 test images" in page.text
        assert report.entry("made_up")["lead"] in page.text

    def test_no_run(self, sandbox):
        assert "no evaluated run" in refused(report.write, "made_up")
        assert not (sandbox / "root" / "reports").exists()

    @pytest.mark.parametrize("low", [0.00003, 0.00007])
    def test_index_and_page_agree_on_a_narrow_verdict(self, sandbox, write_run, monkeypatch, low):
        systems = ("resnet_lstm", "resnet_transformer", "clip_transformer")
        trunk = {"name": "backbone", "weights": "somewhere", "trained": False}
        for system in systems:
            write_run(sandbox / "root", system, 0, captions([0, 1]), people(2), trunk=trunk)
        narrow = paired_tests(read("made_up")).assign(difference=0.1, ci_low=low, ci_high=0.2)
        monkeypatch.setattr(report, "paired_tests", lambda _: narrow)
        monkeypatch.setattr(report, "pictures", lambda _: [])
        page = Page(report.write("made_up"))
        assert report.entry("made_up")["lead"] in page.text


def test_tiny_runs_are_those_of_its_folder(monkeypatch):
    made = []
    monkeypatch.setattr(report, "evaluate", made.append)
    report.make_tiny_runs()
    assert {(one.dataset, one.model, one.variant, one.seed) for one in made} == {
        ("tiny", system, "", 0) for system in (*SYSTEMS, "resnet_transformer")
    }
