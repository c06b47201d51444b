"""The executed notebook is the page: what is shown, what is left out, what stays inert."""

import html.parser
import shutil
import subprocess
import sys

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from changing import change_run
from studies import paths
from studies.paths import StudyError
from studies.reporting import publish
from studies.reporting.plots import Drawing
from studies.reporting.tables import Shown, show
from studies.runs import notebooks
from studies.runs.files import to_json, write_atomic

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)> & \"'"


def cell(shown=None, *tags, text=None):
    """An executed cell that shows something, prints a text, or is silent."""
    outputs = []
    if shown is not None:
        bundle = shown._repr_mimebundle_()
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        outputs.append(new_output("display_data", data, metadata=metadata))
    if text is not None:
        outputs.append(new_output("stream", name="stdout", text=text))
    return new_code_cell("secret = 1", outputs=outputs, metadata={"tags": list(tags)})


def page(*cells):
    return publish.to_page(new_notebook(cells=list(cells)), "tiny")


class Elements(html.parser.HTMLParser):
    """The tags of a page, with their attributes, and its text."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_prose_and_outputs_are_shown_and_code_is_not():
    made = page(
        new_markdown_cell("# Title\n\nA *word* of prose."),
        cell(text="print"),
        new_markdown_cell("## Gone\n\nprose of it"),
        cell(),
        new_markdown_cell("## Kept above"),
        new_markdown_cell("### Silent"),
        cell(),
        new_markdown_cell("### Loud"),
        cell(show(pd.DataFrame({"a": [0.5]}), "a caption")),
        cell(publish.paragraph("computed"), "notebook-only"),
        cell(publish.paragraph("injected"), "injected-parameters"),
    )
    elements = Elements(made)
    for word in ("Title", "word", "print", "0.500", "a caption", "Kept above"):
        assert word in elements.text
    for word in ("secret", "computed", "injected", "Gone", "prose of it", "Silent"):
        assert word not in made


def test_what_comes_from_data_stays_inert():
    frame = pd.DataFrame({HOSTILE: [HOSTILE]})
    picture = Image.new("RGB", (8, 8))
    figure = Drawing(figsize=(3, 2))
    figure.subplots().set_title(HOSTILE.replace("$", ""))
    things = [
        show(frame, HOSTILE),
        publish.paragraph(HOSTILE),
        publish.heading(HOSTILE),
        publish.origin(HOSTILE, {HOSTILE: HOSTILE}),
        publish.picture_grid([(picture, HOSTILE), ("/nowhere/" + HOSTILE, HOSTILE)]),
        Shown(publish.case(picture, {HOSTILE: HOSTILE}), ""),
        figure,
    ]
    elements = Elements(page(new_markdown_cell("# T"), *map(cell, things), cell(text=HOSTILE)))
    assert not elements.all("script")
    assert all(image["src"].startswith("data:") for image in elements.all("img"))
    assert not any(name.startswith("on") for _, found in elements.tags for name in found)
    policy = next(one for one in elements.all("meta") if "http-equiv" in one)
    assert policy["content"].startswith("default-src 'none'")


def test_a_figure_has_words_and_equal_figures_give_equal_bytes():
    figures = [Drawing(figsize=(3, 2)) for _ in range(2)]
    for figure in figures:
        axis = figure.subplots()
        axis.plot([1, 2], [3, 4])
        axis.set(xlabel="epoch", ylabel="loss (nats)")
    first, second = (figure._repr_mimebundle_() for figure in figures)
    assert first == second
    images = Elements(page(cell(figures[0]))).all("img")
    assert [image["alt"] for image in images] == [first[0]["text/plain"]]


@pytest.fixture
def executed(monkeypatch, tmp_path):
    """Let `publish` find a notebook already executed."""
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path))
    cells = [
        new_markdown_cell("# Title"),
        new_markdown_cell("## Gallery\n\nsome prose"),
        cell(publish.picture_grid([(Image.new("RGB", (8, 8)), "a caption")]), "photographs"),
        new_markdown_cell("## Rest"),
        cell(text="numbers"),
    ]

    def execute(notebook, output, overrides):
        output.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(new_notebook(cells=cells), output)

    monkeypatch.setattr(notebooks, "execute", execute)
    return tmp_path / "reports"


@pytest.mark.parametrize(("dataset", "drawn"), [("tiny", True), ("grocery_random", False)])
def test_photographs_of_a_dataset_are_not_published(executed, dataset, drawn):
    made = publish.publish(dataset, "triplets").read_text()
    gallery = executed / dataset / "triplets_gallery.html"
    assert gallery.exists() != drawn
    assert ("a caption" in made) == drawn
    assert "numbers" in made
    if not drawn:
        assert {"href": gallery.name} in Elements(made).all("a")
        shown = Elements(gallery.read_text())
        assert "a caption" in shown.text
        assert "numbers" not in shown.text


def test_the_index_is_over_the_reports_that_are_there(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path))
    with pytest.raises(StudyError, match="no report"):
        publish.write_index("tiny")
    folder = paths.reports() / "tiny"
    table = {"columns": ["system", "macro-F1"], "data": [[HOSTILE, "0.5"]]}
    entry = {"title": "A title", "lead": "A lead.", "note": "A note.", "table": table}
    write_atomic(folder / "triplets.json", to_json(entry))
    elements = Elements(publish.write_index("tiny").read_text())
    assert {"href": "triplets.html"} in elements.all("a")
    assert HOSTILE in elements.text
    assert not elements.all("script")


def test_the_overview_has_every_claim_of_real_data_and_where_its_figure_is(monkeypatch, tmp_path):
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path))
    ledgers = {
        "demo": [("T1", "a drawn claim", "", "holds")],
        "grocery_random": [
            ("T1", "first", "tuned equally", "no difference"),
            ("T1", "first", "as published", "inconclusive: could have seen ±0.1"),
            ("T2", HOSTILE, "", "not tested here: a long reason"),
            ("T3", "in part", "", "not tested here: half of it"),
        ],
        "other": [("T1", "first", "", "does not hold")],
    }
    for dataset, rows in ledgers.items():
        folder = paths.reports() / dataset
        table = {"columns": ["system", "macro-F1"], "data": [[f"best of {dataset}", "0.5"]]}
        entry = {"title": "A title", "lead": "", "note": "", "table": table}
        write_atomic(folder / "triplets.json", to_json(entry))
        ledger = pd.DataFrame(rows, columns=["id", "claim", "condition", "verdict"])
        steps = ledger.assign(step="macro_f1: a > b", verdict="of a step")
        steps["difference"] = steps["id"].map({"T3": 0.1})
        whole = pd.concat([ledger.assign(step=""), steps])
        write_atomic(folder / "claims/triplets.csv", whole.to_csv(index=False))
    elements = Elements(publish.write_overview().read_text())
    assert [one["href"] for one in elements.all("a") if "/" in one["href"]] == [
        *("grocery_random/triplets.html#T1%2C%20tuned%20equally",),
        *("grocery_random/triplets.html#T1%2C%20as%20published", "other/triplets.html#T1"),
        "grocery_random/triplets.html#T3",
    ]
    for words in ("no difference", "could have seen ±0.1", "does not hold", HOSTILE, "half of it"):
        assert words in elements.text
    assert "best of other" in elements.text
    assert "the groceries column of the paper" in elements.text  # what params/ says of it
    for words in ("best of demo", "a drawn claim", "of a step", "a long reason"):
        assert words not in elements.text
    assert not elements.all("script")


class TestComparison:
    OLD = "a,b\nx,0.25\ny,-1.5e-3\n"

    @pytest.mark.parametrize(
        ("new", "same", "words"),
        [
            (OLD, True, "byte for byte"),
            (OLD.replace("0.25", "0.250004"), True, "numbers within 1e-05"),
            (OLD.replace("0.25", "0.2501"), False, "line 2: committed is `x,0.25`"),
            (OLD + "more\n", False, "line 4: committed is ``, made again `more`"),
            (OLD.replace("-1.5", "1.5"), False, "line 3"),
            ("", False, "old.csv: not made again"),
        ],
    )
    def test_the_first_difference_is_named(self, tmp_path, new, same, words):
        old, again = tmp_path / "old.csv", tmp_path / "new.csv"
        old.write_text(self.OLD)
        if new:
            again.write_text(new)
        found, said = publish.compare(old, again)
        assert (found, words in said) == (same, True), said


@pytest.mark.timeout(2400)  # a minute or two a report
def test_committed_reports_come_out_of_evidence_until_a_prediction_changes(monkeypatch, tmp_path):
    shutil.copytree(paths.REPOSITORY / "reports", tmp_path / "reports")
    monkeypatch.setenv("STUDIES_ROOT", str(tmp_path))

    def verified():
        command = [sys.executable, "-m", "studies.reporting.publish"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    code, said = verified()
    assert (code, "grocery_official triplets: no evidence\n" in said) == (0, True), said
    for other in (tmp_path / "reports").glob("*/evidence"):  # one is enough for the rest
        if other.parent.name != "grocery_random":
            shutil.rmtree(other.parent)
    file = tmp_path / "reports/grocery_random/evidence/triplets/triplet/seed0/predictions.parquet"
    frame = pd.read_parquet(file)
    right = frame.index[frame["true_class"] == frame["predicted_class"]][0]
    other = frame.index[frame["true_level1"] != frame.loc[right, "true_level1"]][0]
    for name in [name for name in frame if name.startswith("predicted_")]:
        frame.loc[right, name] = frame.loc[other, name.replace("predicted", "true")]
    frame.to_parquet(file)
    change_run(file.parent)  # else it is refused before anything is compared
    code, said = verified()
    assert (code, "triplets.csv line" in said) == (1, True), said


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="no LaTeX here: apt-get install texlive")
def test_a_paper_takes_every_committed_table_and_figure(tmp_path):
    folder = paths.REPOSITORY / "reports"
    drawn = set(folder.glob("demo/*")) | set(folder.glob("tiny/*"))
    tables = set(folder.glob("*/*.tex")) - drawn
    assert (folder / "paper.tex").read_text().count(r"\input{") == len(tables) > 0
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-output-directory"]
    done = subprocess.run([*command, tmp_path, "paper.tex"], cwd=folder, capture_output=True)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
