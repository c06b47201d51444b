"""The files of a report: complete, self-contained, escaped, and without photographs."""

import csv
import re
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest

import meals
import reported
from reported import Page, pages
from sentences import refused
from studies.recipes import data, report, sections
from studies.recipes.comparisons import paired_tests
from studies.recipes.results import read, summary
from studies.reporting import bootstrap, index
from studies.runs.params import run_files

pytest_plugins = ["plates_made"]

HOSTILE = "<script>alert(1)</script> $x_1$ & <!-- \\ --> <img src=//evil.example/x.png>"
PROMPTS = ("naive", "typical", "shuffled", "supervised")


def few_resamples(patch):
    patch.setattr(bootstrap, "weights", partial(bootstrap.weights, n_resamples=100))


@pytest.fixture(scope="module", params=["demo", "made_up"])
def written(request, tmp_path_factory, serve, ordered):
    """The report of a drawn dataset, and of one that counts as photographs: each written once."""
    base, dataset = tmp_path_factory.mktemp(request.param), request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_ROOT", str(base / "root"))
        few_resamples(patch)
        data.read(ordered())
        give = partial(serve, base / "root", dataset=dataset)
        give("majority", seen=meals.eyes(0.1, ingredients=False))
        give("frequencies", seen=meals.eyes(0.1, dishes=False))
        for seed in (0, 1):
            give("two_networks", seed, seen=meals.eyes(3.0, seed))
        give("shared_backbone@variants", seen=meals.eyes(3.0, 2, ingredients=False))
        for system in PROMPTS:
            recipes = meals.own() if system == "supervised" else meals.templates()
            if system == "naive":
                recipes[0] = [HOSTILE]
            give(system, recipes=recipes)
        page = report.write(dataset)
        assert page == base / "root" / "reports" / dataset / "recipes.html"
        index.write(dataset)
    return base, page.parent


@pytest.fixture
def folder(written, monkeypatch):
    base, folder = written
    monkeypatch.setenv("STUDIES_ROOT", str(base / "root"))
    few_resamples(monkeypatch)
    return folder


def pictured(folder):
    """The page that shows pictures."""
    gallery = folder / "recipes_gallery.html"
    return Page(gallery if gallery.exists() else folder / "recipes.html")


def names_of(folder):
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


FILES = {f"recipes{end}" for end in (".csv", "_tests.csv", ".md", ".tex", ".html")}
FILES |= {"claims/recipes.md", "index.html"}


def test_files(folder):
    gallery = {"recipes_gallery.html"} if folder.name == "made_up" else set()
    assert names_of(folder) == FILES | gallery


def test_table(folder):
    with (folder / "recipes.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    wanted = "study dataset model variant metric n mean std n_seeds ci_low ci_high published"
    assert header == wanted.split()
    assert {(row[0], row[1], row[5]) for row in rows} == {
        ("recipes", folder.name, str(len(meals.IDS)))
    }
    frame = pd.read_csv(folder / "recipes.csv").set_index(["model", "metric"])
    tops = [
        (np.stack(meals.eyes(3.0, seed)["dish_probabilities"]).argmax(1) == meals.DISH).mean()
        for seed in (0, 1)
    ]
    row = frame.loc[("two_networks", "dish_top1")]
    assert row[["mean", "std", "n_seeds"]].tolist() == pytest.approx(
        [np.mean(tops), np.std(tops, ddof=1), 2]
    )
    assert frame.loc[("supervised", "grounding_recall"), "mean"] == 1.0
    assert frame.loc[("supervised", "distinct_2"), ["mean", "ci_low"]].isna().tolist() == [
        False,
        True,
    ]


def test_tests(folder):
    frame = pd.read_csv(folder / "recipes_tests.csv")
    top1 = frame[frame["metric"] == "dish_top1"]
    assert list(zip(top1["first"], top1["second"], top1["seeds"], strict=True)) == [
        ("majority", "two_networks", 2),
        ("majority", "shared_backbone@variants", 1),
        ("two_networks", "shared_backbone@variants", 1),
    ]
    sight = frame[frame["metric"] == "sight"]
    assert len(sight) == 6
    for column in ("difference", "ci_low", "ci_high", "p"):
        assert frame[column].tolist() == frame[column].round(4).tolist()


@pytest.mark.parametrize("name", ["recipes.md", "claims/recipes.md"])
def test_markdown_tables_are_whole(folder, name):
    reported.markdown_tables_are_whole((folder / name).read_text(encoding="utf-8"))


def test_claims(folder):
    lines = (folder / "claims" / "recipes.md").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "| id | claim | experiment | figure with interval | verdict |"
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]
    assert [row[0] for row in cells] == ["R1", "R2", "R3", "R4"]
    synthetic = ", synthetic" if folder.name == "demo" else ""
    assert cells[1][-1] == f"holds (one seed{synthetic})"
    assert cells[3][-1].startswith("not tested here: ")
    text = Page(folder / "recipes.html").text
    assert "Of the paper's 4 claims " in text
    for row in cells:
        assert row[-1] in text


def test_latex(folder):
    text = (folder / "recipes.tex").read_text(encoding="utf-8")
    reported.latex_is_whole(text)
    assert r"two\_networks" in text


def test_pages_load_nothing_from_outside(folder):
    for page in pages(folder):
        reported.loads_nothing_from_outside(page)


def test_what_was_written_is_escaped(folder):
    assert HOSTILE in pictured(folder).text
    for page in pages(folder):
        assert "<script" not in page.source
        assert "<img src=//" not in page.source


def test_photographs_stand_on_the_gallery_only(folder):
    held = {file.name: "data:image/" in file.read_text() for file in folder.glob("*.html")}
    if folder.name == "demo":
        assert held == {"recipes.html": True, "index.html": False}
    else:
        assert held == {"recipes.html": False, "recipes_gallery.html": True, "index.html": False}
        assert "recipes_gallery.html" in Page(folder / "recipes.html").addresses


def test_plates_are_shown_with_prompt_and_recipes(folder):
    page = pictured(folder)
    assert page.tags.count("img") == 6
    assert page.text.count("On the plate") == page.text.count("Recipe, supervised") == 6
    assert "no picture:" not in page.text


def test_page_says_what_a_reader_needs(folder):
    page = Page(folder / "recipes.html")
    titles = re.findall(r"<h2[^>]*>(.*?)</h2>", page.source)
    wanted = ["Results", "Claims", "Differences", "Training", "Plates"]
    assert [title for title in titles if title in wanted] == wanted
    for seeds, names in (
        ("0", f"frequencies,majority,{','.join(sorted([*PROMPTS, 'shared_backbone@variants']))}"),
        ("0,1", "two_networks"),
    ):
        command = f"make study DATASET={folder.name} STUDY=recipes SEEDS={seeds} MODEL="
        (line,) = [one for one in page.text.splitlines() if one.startswith(command)]
        assert sorted(line.removeprefix(command).split(",")) == sorted(names.split(","))
    results = read(folder.name)
    means = summary(results)
    assert "8 systems, 43 test pictures; highest dish top-1: two_networks with " in page.text
    assert "abc1234" in page.text
    for row in paired_tests(results).itertuples():
        assert f"{row.second} − {row.first}" in page.text
    for row in means.itertuples():
        assert f"{row.mean:.3f}" in page.text


def test_index_says_what_the_page_says(folder):
    entry = report.entry(folder.name)
    page, leading = Page(folder / "recipes.html"), Page(folder / "index.html")
    assert (entry["title"], entry["href"]) == (report.TITLE, "recipes.html")
    assert f"Dataset {folder.name}: {entry['lead']}" in page.text
    (table,) = re.findall(r"<table.*?</table>", str(entry["headline"]), re.DOTALL)
    assert table in page.source
    assert table in leading.source
    assert "recipes.html" in leading.addresses
    assert entry["lead"] in leading.text


@pytest.mark.parametrize("written", ["made_up"], indirect=True)
def test_a_report_is_made_again_from_run_folders_alone(folder):
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    shutil.rmtree(folder.parents[1] / "reports")
    report.write(folder.name)
    index.write(folder.name)
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


class TestTrouble:
    @pytest.fixture(autouse=True)
    def quick(self, monkeypatch):
        """Curves take seconds to draw, and are drawn above."""
        few_resamples(monkeypatch)
        monkeypatch.setattr(sections, "training", lambda _: [])

    @pytest.mark.parametrize("system", ["frequencies", "naive", "shared_backbone@variants"])
    def test_one_system_alone(self, sandbox, serve, monkeypatch, system):
        monkeypatch.setattr(report, "pictures", lambda _: [])
        if system == "naive":
            serve(sandbox / "root", system, recipes=meals.own())
        else:
            kinds = {"dishes": system != "frequencies", "ingredients": system == "frequencies"}
            serve(sandbox / "root", system, seen=meals.eyes(1.0, **kinds))
        page = Page(report.write("made_up"))
        assert "1 system, 43 test pictures" in page.text
        assert report.entry("made_up")["lead"] in page.text

    def test_ingredients_by_dish(self, sandbox, serve, monkeypatch):
        """As on Food-101: there is nothing of its own on a plate."""
        monkeypatch.setattr(report, "pictures", lambda _: [])
        usual = [meals.PRESENT[dish == meals.DISH].any(0) for dish in meals.DISH]
        seen = meals.eyes(2.0) | {"present": usual}
        serve(sandbox / "root", "two_networks", seen=seen)
        for system in PROMPTS:
            run = serve(sandbox / "root", system, recipes=meals.own())
            file = run / "predictions.parquet"
            frame = pd.read_parquet(file)
            frame.assign(present=usual, sight=np.nan, self_bleu=np.nan).to_parquet(file)
        page = Page(report.write("made_up"))
        assert page.text.count("the ingredients are those of the dish and not of the plate") == 3
        assert not re.search(r"\bnan\b", page.text)
        assert "typical ones of the dish" in page.text

    def test_no_run(self, sandbox):
        assert "no evaluated run" in refused(report.write, "made_up")
        assert not (sandbox / "root" / "reports").exists()


def test_of_systems_that_were_trained_and_asked(dinner, monkeypatch):
    monkeypatch.setenv("STUDIES_ROOT", str(dinner.root))
    few_resamples(monkeypatch)
    page = Page(report.write("tiny"))
    index.write("tiny")
    assert names_of(page_folder := dinner.root / "reports" / "tiny") == FILES
    assert set(pd.read_csv(page_folder / "recipes.csv")["model"]) == {
        system.partition("@")[0] for system in run_files("recipes", "tiny")
    }
    assert page.tags.count("img") == 6
    assert "Recipe, supervised" in page.text
    assert report.entry("tiny")["lead"] in page.text


def test_tiny_runs_are_those_of_its_folder(monkeypatch):
    made = []
    monkeypatch.setattr(report, "evaluate", made.append)
    report.make_tiny_runs()
    assert {(one.dataset, one.system, one.seed) for one in made} == {
        ("tiny", system, 0) for system in run_files("recipes", "tiny")
    }
    assert len(made) == len(run_files("recipes", "tiny"))
