"""The files of a report: complete, self-contained, escaped, and without others' captions."""

import csv
import html
import re
import shutil
from functools import partial

import pandas as pd
import pytest
from sklearn import metrics as sklearn

import hearsay
import reported
from reported import Page, pages
from sentences import refused
from studies.relevance import report, sections
from studies.relevance.comparisons import paired_tests
from studies.relevance.results import read, summary
from studies.reporting import bootstrap, index
from studies.runs.params import run_files

pytest_plugins = ["captions_made"]

HOSTILE = "<script>alert(1)</script> | $x_1$ & <!-- \\ --> <img src=//evil.example/x.png>"
CLASSIFIERS = ("downstream_all", "downstream_random", "downstream_kept", "downstream_weighted")
FILES = {f"relevance{end}" for end in (".csv", "_tests.csv", ".md", ".tex", ".html")}
FILES |= {"claims/relevance.md", "index.html"}


def few_resamples(patch):
    patch.setattr(bootstrap, "weights", partial(bootstrap.weights, n_resamples=100))


def most_probable(seed):
    """What a predictor says that is surest of the hostile caption."""
    probability = hearsay.predicted(3.0, seed)["probability"]
    probability[hearsay.place("n0", 12)] = 0.9999
    return hearsay.of_probability(probability)


KEPT = [int(most_probable(seed)["kept"].sum()) for seed in (0, 1)]


@pytest.fixture(scope="module", params=["demo", "made_up"])
def written(request, tmp_path_factory, tell):
    """The report of a drawn dataset, and of one that counts as others' work: each written once."""
    base, dataset = tmp_path_factory.mktemp(request.param), request.param
    texts = [*hearsay.TEXTS]
    # the published file holds HTML, so that what a reader sees as a tag is written with entities
    texts[hearsay.place("n0", 12)] = html.escape(HOSTILE)
    hearsay.publish(base / "data", texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_ROOT", str(base / "root"))
        patch.setenv("STUDIES_DATA", str(base / "data"))
        few_resamples(patch)
        give = partial(tell, base / "root", dataset=dataset)
        give("tfidf", says=hearsay.led(1.0))
        for seed in (0, 1):
            give("predictor", seed, says=most_probable(seed))
        give("predictor@captions_alone", says=hearsay.predicted(0.0, 3))
        for seed, system in enumerate(CLASSIFIERS):
            right = 1.0 if system == "downstream_weighted" else 0.5
            give(system, says=hearsay.classified(right, seed))
        page = report.write(dataset)
        assert page == base / "root" / "reports" / dataset / "relevance.html"
        index.write(dataset)
    return base, page.parent


@pytest.fixture
def folder(written, monkeypatch):
    base, folder = written
    monkeypatch.setenv("STUDIES_ROOT", str(base / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(base / "data"))
    few_resamples(monkeypatch)
    return folder


def files(folder):
    return [file for file in sorted(folder.rglob("*")) if file.is_file()]


def gallery(folder):
    """The page that shows captions."""
    own = folder / "relevance_gallery.html"
    return Page(own if own.exists() else folder / "relevance.html")


def test_files(folder):
    own = {"relevance_gallery.html"} if folder.name == "made_up" else set()
    assert {file.relative_to(folder).as_posix() for file in files(folder)} == FILES | own


def test_table(folder):
    with (folder / "relevance.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    wanted = "study dataset model variant metric n mean std n_seeds ci_low ci_high published"
    assert header == wanted.split()
    assert {(row[0], row[1]) for row in rows} == {("relevance", folder.name)}
    frame = pd.read_csv(folder / "relevance.csv", keep_default_na=False)
    frame = frame.set_index(["model", "variant", "metric"])
    test = hearsay.TEST
    areas = [
        sklearn.roc_auc_score(hearsay.RELEVANT[test], most_probable(seed)["probability"][test])
        for seed in (0, 1)
    ]
    row = frame.loc[("predictor", "", "auc")]
    assert float(row["mean"]) == pytest.approx(sum(areas) / 2)
    assert (row["n"], row["n_seeds"]) == ("48", 2)
    row = frame.loc[("predictor", "", "kept")]
    assert float(row["mean"]) == sum(KEPT) / 2
    assert row[["n", "ci_low", "ci_high"]].tolist() == [""] * 3
    assert float(frame.loc[("downstream_weighted", "", "accuracy"), "mean"]) == 1.0


def test_tests(folder):
    frame = pd.read_csv(folder / "relevance_tests.csv")
    area = frame[frame["metric"] == "auc"]
    assert list(zip(area["first"], area["second"], area["seeds"], strict=True)) == [
        ("tfidf", "predictor", 2),
        ("tfidf", "predictor@captions_alone", 1),
        ("predictor", "predictor@captions_alone", 1),
    ]
    assert (frame["metric"] == "accuracy").sum() == 6
    for column in ("difference", "ci_low", "ci_high", "p"):
        assert frame[column].tolist() == frame[column].round(4).tolist()


@pytest.mark.parametrize("name", ["relevance.md", "claims/relevance.md"])
def test_markdown_tables_are_whole(folder, name):
    reported.markdown_tables_are_whole((folder / name).read_text(encoding="utf-8"))


def test_claims(folder):
    lines = (folder / "claims" / "relevance.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "| id | claim | experiment | figure with interval | verdict |"
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    synthetic = ", synthetic" if folder.name == "demo" else ""
    assert {row[0]: row[-1] for row in cells} == {
        "F1": f"holds (2 seeds{synthetic}, AUC above tfidf)",
        "F2": f"holds (one seed{synthetic}, better)",
        "F3": f"holds (one seed{synthetic})",
    }
    text = Page(folder / "relevance.html").text
    assert "Of the paper's 3 claims 3 hold." in text
    for row in cells:
        assert row[-1] in text


def test_latex(folder):
    text = (folder / "relevance.tex").read_text(encoding="utf-8")
    reported.latex_is_whole(text)
    assert r"downstream\_all" in text


def test_pages_load_nothing_from_outside(folder):
    for page in pages(folder):
        reported.loads_nothing_from_outside(page)


def test_captions_are_escaped(folder):
    assert HOSTILE in gallery(folder).text
    for page in pages(folder):
        assert "<script" not in page.source
        assert "<img src=//" not in page.source


def test_captions_stand_on_the_gallery_only(folder):
    shown = "relevance.html" if folder.name == "demo" else "relevance_gallery.html"
    for words in ("seen on day", "alert(1)"):
        assert [file.name for file in files(folder) if words in file.read_text()] == [shown]
    addresses = Page(folder / "relevance.html").addresses
    assert ("relevance_gallery.html" in addresses) == (folder.name == "made_up")


def test_the_gallery_shows_captions_and_classes(folder):
    page = gallery(folder)
    assert "the most and the least probable held-out caption" in page.text
    assert "the smallest share of captions is kept" in page.text
    for name in hearsay.NAMES.values():
        assert name in page.text


def test_page_says_what_a_reader_needs(folder):
    page = Page(folder / "relevance.html")
    wanted = ["Filters", "What it is good for", "Claims", "Differences", "Training", "Captions"]
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", page.source)
    assert [title for title in titles if title in wanted] == wanted
    for seeds, names in (("0,1", ["predictor"]), ("0", None)):
        command = f"make study DATASET={folder.name} STUDY=relevance SEEDS={seeds} MODEL="
        (line,) = [one for one in page.text.splitlines() if one.startswith(command)]
        others = ["predictor@captions_alone", "tfidf", *CLASSIFIERS]
        assert sorted(line.removeprefix(command).split(",")) == sorted(names or others)
    results = read(folder.name)
    kept = f"{sum(KEPT) / 2:,.0f} of 120 captions"
    assert f"7 systems, 48 test captions; the predictor keeps {kept}. " in page.text
    assert "60 train, 12 validation, 48 test" in page.text
    assert "abc1234" in page.text
    for row in paired_tests(results).itertuples():
        assert f"{row.second} − {row.first}" in page.text
    for row in summary(results).itertuples():
        assert (f"{row.mean:.3f}" if row.metric != "kept" else f"{row.mean:g}") in page.text


def test_index_says_what_the_page_says(folder):
    entry = report.entry(folder.name)
    page, leading = Page(folder / "relevance.html"), Page(folder / "index.html")
    assert (entry["title"], entry["href"]) == (report.TITLE, "relevance.html")
    assert f"Dataset {folder.name}: {entry['lead']}" in page.text
    (table,) = re.findall(r"<table.*?</table>", str(entry["headline"]), re.DOTALL)
    (rows,) = re.findall(r"<tbody.*?</tbody>", table, re.DOTALL)
    assert rows in page.source
    assert table in leading.source
    assert "relevance.html" in leading.addresses
    assert entry["lead"] in leading.text


@pytest.mark.parametrize("written", ["made_up"], indirect=True)
def test_a_report_is_made_again_from_run_folders(folder):
    before = {file: file.read_bytes() for file in files(folder)}
    shutil.rmtree(folder.parents[1] / "reports")
    report.write(folder.name)
    index.write(folder.name)
    assert {file: file.read_bytes() for file in files(folder)} == before


class TestTrouble:
    @pytest.fixture(autouse=True)
    def quick(self, sandbox, monkeypatch):
        """Curves take seconds to draw, and are drawn above."""
        few_resamples(monkeypatch)
        monkeypatch.setattr(sections, "training", lambda _: [])
        hearsay.publish(sandbox / "data")

    @pytest.mark.parametrize("known", [True, False])
    @pytest.mark.parametrize("system", ["tfidf", "predictor", "downstream_all"])
    def test_one_system_alone(self, tells, system, known):
        kinds = {"tfidf": hearsay.led, "predictor": hearsay.predicted}
        tells(system, says=kinds.get(system, hearsay.classified)(1.0), known=known)
        file = report.write("made_up")
        assert "1 system, 48 test captions" in Page(file).text
        assert report.entry("made_up")["lead"] in Page(file).text
        for one in files(file.parent):
            assert not re.search(r"\bnan\b", re.sub(r"<svg.*?</svg>", "", one.read_text()))
        note = (file.parent / "relevance.md").read_text()
        assert (sections.UNKNOWN in " ".join(note.split())) == (not known)

    @pytest.mark.parametrize("share", [0.0, 1.0])
    def test_a_filter_that_keeps_nothing_or_everything(self, tells, share):
        says = hearsay.of_probability(share + 0 * hearsay.NUMBER)
        tells("predictor", says=says)
        tells("tfidf", says=hearsay.led(1.0))
        page = Page(report.write("made_up"))
        assert f"the predictor keeps {share * 120:.0f} of 120 captions" in page.text
        assert not re.search(r"\bnan\b", page.text)

    def test_no_run(self, sandbox):
        assert "no evaluated run" in refused(report.write, "made_up")
        assert not (sandbox / "root" / "reports").exists()


def test_tiny_runs_are_those_of_its_folder(monkeypatch):
    made = []
    monkeypatch.setattr(report, "evaluate", made.append)
    report.make_tiny_runs()
    assert sorted((one.dataset, one.system, one.seed) for one in made) == sorted(
        ("tiny", system, 0) for system in run_files("relevance", "tiny")
    )
