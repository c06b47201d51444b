"""The executed report notebook is the page; here it is run and exported.

`python -m studies.reporting.publish DATASET [STUDY ...]` runs `notebooks/<study>/report.ipynb` and
turns what came out into `reports/<dataset>/<study>.html`, by default for all studies with runs or
evidence; with `--index` it writes the index over the reports that are there, and without a dataset
it verifies all committed reports. Pages open without a network, load nothing, run no script and
print well.
Everything that comes from data or models is escaped before it becomes HTML.
"""

import argparse
import base64
import io
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbformat
import numpy as np
import pandas as pd
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image, ImageOps

from studies import paths
from studies.paths import StudyError, relative
from studies.reporting.claims import SYNTHETIC, UNTESTED
from studies.reporting.tables import Shown, show, to_markdown
from studies.runs import notebooks
from studies.runs.files import write_atomic
from studies.runs.warm import STUDIES

UNSEEN = {"parameters", "injected-parameters", "notebook-only"}  # tags of cells that no page shows
PHOTOGRAPHS = "photographs"  # tag of cells whose pictures or texts are others' work
ELSEWHERE = (
    '<p>These are on <a href="{}">a page of their own</a>, made by the same command and not '
    "published with this one.</p>"
)
THUMBNAIL = 240  # pixels, the longer side
# Pictures look the same in a notebook, which has no style sheet of ours.
GRID = (
    "display: grid; gap: 1rem; padding: 0; list-style: none; grid-template-columns: repeat("
    "auto-fill, minmax(max(8.5rem, (100% + 1rem) / var(--columns) - 1rem), 1fr))"
)
CASE = (
    "display: grid; gap: .75rem 1.25rem; padding: 1rem 0; font-size: .8rem; line-height: 1.45; "
    "grid-template-columns: 9rem repeat(auto-fit, minmax(11rem, 1fr))"
)
OVERVIEW = """# What became of the claims of four published studies

Every claim on every data set here, by the rules of the ledger: at least five seeds, intervals over
seeds and test items, p corrected for the number of steps. A data set leads to the figure behind its
verdict. Verdicts on the drawn demo count for nothing and are left out."""
PAPER = r"""% Every table and figure of the reports, as a paper takes them: pdflatex paper.tex
\documentclass{{article}}
\usepackage[margin=2cm]{{geometry}}
\usepackage{{booktabs,graphicx}}
\begin{{document}}
{}
\end{{document}}
"""
BESIDE = "Means over seeds, with 95 % intervals; beside them what was published, where it was."
PRIORITY = ["image/svg+xml", "text/html", "text/plain"]


def publish(dataset: str, study: str) -> Path:
    """Run the report notebook of a study on a dataset and export it; return the page.

    Cells tagged `photographs` go to `<study>_gallery.html`, which is not published with the page,
    unless the dataset is drawn. Raises StudyError when a cell fails.
    """
    notebook = paths.REPOSITORY / "notebooks" / study / "report.ipynb"
    executed = paths.runs() / dataset / study / "report.ipynb"
    notebooks.execute(notebook, executed, overrides=[f"dataset={dataset}"])
    report = nbformat.read(executed, as_version=4)
    folder = paths.reports() / dataset
    page, gallery = folder / f"{study}.html", folder / f"{study}_gallery.html"
    pictured = [cell for cell in report.cells if PHOTOGRAPHS in tags(cell) and cell.get("outputs")]
    if pictured and dataset not in SYNTHETIC:
        write_atomic(gallery, to_page(new_notebook(cells=gallery_cells(report)), dataset))
        for cell in pictured:
            cell.outputs = html_cell(ELSEWHERE.format(gallery.name)).outputs
    write_atomic(page, to_page(report, dataset))
    return page


def studies_with_runs(dataset: str) -> list[str]:
    """Return the studies of which a dataset has runs, or evidence of some."""
    places = paths.runs() / dataset, paths.evidence(dataset)
    found = {file.parts[-4] for place in places for file in place.glob("*/*/seed*/metrics.json")}
    return [study for study in STUDIES if study in found]


def to_page(report: NotebookNode, dataset: str) -> str:
    """Return an executed notebook as one HTML page: prose and outputs, without code.

    Headings with nothing but silent cells below them are left out.
    """
    from nbconvert import HTMLExporter  # late: it takes a second

    cells = with_something_below([cell for cell in report.cells if not UNSEEN & tags(cell)])
    contents, title = [], ""
    for cell in cells:
        depth, heading = heading_of(cell)
        if depth == 1 and not title:
            title = heading
        elif depth == 2:
            cell.metadata["part"] = f"part-{len(contents) + 1}"
            contents.append((cell.metadata["part"], heading))
    exporter = HTMLExporter(
        template_name="template",
        extra_template_basedirs=[str(Path(__file__).parent)],
        exclude_anchor_links=True,
    )
    exporter.register_filter("base64", lambda text: base64.b64encode(text.encode()).decode())
    resources = {"contents": contents, "title": f"{title} {dataset}".strip(), "priority": PRIORITY}
    return exporter.from_notebook_node(new_notebook(cells=cells), resources)[0]


def tags(cell: NotebookNode) -> set[str]:
    """Return the tags of a cell."""
    return set(cell.metadata.get("tags", []))


def heading_of(cell: NotebookNode) -> tuple[int, str]:
    """Return depth and text of the heading that a cell begins with; 0 where it has none."""
    found = re.match(r"(#+) +(.+)", cell.source) if cell.cell_type == "markdown" else None
    return (len(found[1]), found[2].strip()) if found else (0, "")


def with_something_below(cells: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Return the cells without those headings below which every cell of code is silent."""
    depths, silent = [heading_of(cell)[0] for cell in cells], set()
    for start, depth in enumerate(depths):
        if depth > 1:
            later = range(start + 1, len(cells))
            end = next((place for place in later if 0 < depths[place] <= depth), len(cells))
            code = [cell for cell in cells[start:end] if cell.cell_type == "code"]
            if code and not any(cell.outputs for cell in code):
                silent.update(range(start, end))
    return [cell for place, cell in enumerate(cells) if place not in silent]


def gallery_cells(report: NotebookNode) -> list[NotebookNode]:
    """Return the title and the cells tagged `photographs`, each below its heading."""
    chosen, above = [], None
    for cell in report.cells:
        depth, heading = heading_of(cell)
        if depth == 1:
            chosen.append(new_markdown_cell(f"# {heading}"))
        elif depth:
            above = cell
        elif PHOTOGRAPHS in tags(cell) and cell.get("outputs"):
            chosen += [above] if above is not None else []
            chosen.append(cell)
            above = None
    return [cell.copy() for cell in chosen]


def html_cell(html: str) -> NotebookNode:
    """Return a cell that shows HTML."""
    return new_code_cell(outputs=[new_output("display_data", {"text/html": html})])


def entry_of(folder: Path, study: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return what the index says of a report, and its table."""
    entry = json.loads((folder / f"{study}.json").read_text(encoding="utf-8"))
    return entry, pd.DataFrame(entry["table"]["data"], columns=entry["table"]["columns"])


def write_index(dataset: str) -> Path:
    """Write `reports/<dataset>/index.html` over the reports that are there; return it.

    Raises StudyError when there is no report.
    """
    folder = paths.reports() / dataset
    present = [study for study in STUDIES if (folder / f"{study}.json").exists()]
    if not present:
        raise StudyError(f"{folder}: no report; run `make study DATASET={dataset}` first")
    lead = "Published comparisons, run again; a verdict on every claim stands in each report."
    cells = [new_markdown_cell(f"# Studies of image understanding: {dataset}\n\n{lead}")]
    for study in present:
        entry, rows = entry_of(folder, study)
        html = f'<h2><a href="{study}.html">{escape(entry["title"])}</a></h2>'
        html += f"<p>{escape(entry['lead'])}</p>"
        cells.append(html_cell(html + show(rows, entry["note"]).html))
    write_atomic(folder / "index.html", to_page(new_notebook(cells=cells), ""))
    return folder / "index.html"


def write_overview() -> Path:
    """Write `reports/index.html` over all reports on real data: every claim at a glance, then the
    scores beside the published ones and what each dataset id stands for; return it.
    """
    cells = [new_markdown_cell(OVERVIEW)]
    for study in STUDIES:
        folders = reported(study)
        if not folders:
            continue
        entries, tables = zip(*(entry_of(folder, study) for folder in folders), strict=True)
        for folder, table in zip(folders, tables, strict=True):
            table.insert(0, "data set", [folder.name, *[""] * (len(table) - 1)])
        columns = max(tables, key=lambda table: table.shape[1]).columns
        scores = pd.concat(tables).fillna("").reindex(columns=columns)
        purposes = {folder.name: purpose(study, folder.name) for folder in folders}
        terms = "".join(f"<dt>{name}</dt><dd>{escape(v)}</dd>" for name, v in purposes.items())
        cells.append(new_markdown_cell(f"## {entries[0]['title']}"))
        shown = at_a_glance(study).html, show(scores, BESIDE).html, f"<dl>{terms}</dl>"
        cells += map(html_cell, shown)
    file = paths.reports() / "index.html"
    write_atomic(file, to_page(new_notebook(cells=cells), ""))
    write_atomic(paths.reports() / "paper.tex", to_paper())
    return file


def to_paper() -> str:
    """Return a LaTeX document with every table and every figure of the reports on real data."""
    top, parts = paths.reports(), []
    for file in sorted(top.glob("*/*.tex")):
        if file.parent.name not in SYNTHETIC:
            figures = sorted((file.parent / "claims").glob(f"{file.stem}_*.pdf"))
            parts.append(f"\\input{{{file.relative_to(top).as_posix()}}}")
            drawn = "\\noindent\\includegraphics[width=\\columnwidth]"
            parts += [f"{drawn}{{{one.relative_to(top).as_posix()}}}" for one in figures]
            parts.append("\\clearpage")
    return PAPER.format("\n\n".join(parts))


def reported(study: str) -> list[Path]:
    """Return the folders with a report of a study on real data."""
    found = sorted(paths.reports().glob(f"*/{study}.json"))
    return [file.parent for file in found if file.parent.name not in SYNTHETIC]


def at_a_glance(study: str, start: str = "") -> Shown | None:
    """Show what became of each claim of a study where it or a step was tested; None of none.

    A dataset links to the forest plot, by a path from `reports/` with `start` before it.
    """
    ledgers = {
        one.name: pd.read_csv(one / f"claims/{study}.csv", keep_default_na=False)
        for one in reported(study)
    }
    if not ledgers:
        return None
    ledger = pd.concat(ledgers, names=["dataset", "row"]).reset_index()
    judgement = [ledger[name] for name in ("dataset", "id", "condition")]
    ledger["measured"] = (ledger["difference"] != "").groupby(judgement).transform("any")
    whole, rows = ledger[ledger["step"] == ""], []
    for (number, claim), group in whole.groupby(["id", "claim"], sort=False):
        tested = group[group["measured"] | ~group["verdict"].str.startswith(UNTESTED)]
        told = f'<td>{escape(number)}</td><td class="prose">{escape(claim)}</td>'
        for one in tested.itertuples():
            name = ", ".join(filter(None, [number, one.condition]))
            link = f"{start}{one.dataset}/{study}.html#{quote(name)}"
            condition = escape(name.removeprefix(number))
            verdict, _, seen = one.verdict.partition(": ")
            rows.append(f'{told}<td><a href="{link}">{escape(one.dataset)}</a>{condition}</td>')
            rows[-1] += f"<td><strong>{verdict}</strong>{escape(seen and f', {seen}')}</td>"
            told = "<td></td><td></td>"
        if tested.empty:
            rows.append(f"{told}<td></td><td>{UNTESTED}</td>")
    heads = "".join(f"<th>{name}</th>" for name in ("id", "claim", "data set", "verdict"))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    html = f'<figure class="table"><div class="scroll" tabindex="0">{table}</div></figure>'
    return Shown(html, to_markdown(whole[["id", "dataset", "condition", "verdict"]]))


def purpose(study: str, dataset: str) -> str:
    """Return what the parameters of a dataset say that it is for: the comment they begin with."""
    file = paths.REPOSITORY / "params" / study / dataset / "dataset.yaml"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.lstrip("# ") for line in comment).removeprefix("Purpose: ")


def paragraph(text: str, kind: str = "lead") -> Shown:
    """Return a computed sentence as a paragraph of a page."""
    return Shown(f'<p class="{kind}">{escape(text)}</p>', text)


def missing(error: StudyError) -> Shown:
    """Return the sentence that stands for what is not at hand."""
    return paragraph(f"Not shown here: {str(error).rstrip('.')}.", "note")


def heading(text: str) -> Shown:
    """Return a computed heading inside a section."""
    return Shown(f"<h3>{escape(text)}</h3>", text)


def origin(command: str, facts: Mapping[str, str]) -> Shown:
    """Return what to type to make a report again, and what its runs were made with."""
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items())
    text = "\n".join([command, *(f"{name}: {fact}" for name, fact in facts.items())])
    return Shown(f"<pre>{escape(command)}</pre><dl>{rows}</dl>", text)


def picture_grid(items: Iterable[tuple[Image.Image | Path | str, str]], columns: int = 5) -> Shown:
    """Return thumbnails with captions; each picture is part of the page.

    A file that is missing or broken leaves an empty frame with its name: a report can be made
    again where the photographs are not at hand.

    Args:
        items: (picture or its path, caption). Turned upright by its EXIF mark.
        columns: thumbnails in a row of a wide window; narrow windows show fewer.
    """
    items = list(items)
    cells = "".join(f"<li>{thumbnail(p, c)}<p>{escape(c)}</p></li>" for p, c in items)
    html = f'<ul class="pictures" style="--columns: {int(columns)}; {GRID}">{cells}</ul>'
    return Shown(html, "\n".join(caption for _, caption in items))


def case(picture: Image.Image | Path | str, texts: Mapping[str, str]) -> str:
    """Return a picture with texts beside it, heading -> text, line breaks kept, as HTML."""
    columns = "".join(
        f"<div><strong>{escape(heading)}</strong>"
        f'<div style="white-space: pre-line">{escape(text)}</div></div>'
        for heading, text in texts.items()
    )
    first = thumbnail(picture, next(iter(texts.values()), ""))
    beside = f'<div style="grid-row: span 2">{first}</div>{columns}'
    return f'<div class="case" style="{CASE}">{beside}</div>'


def thumbnail(picture: Image.Image | Path | str, caption: str) -> str:
    """Return a small picture as HTML, or the name of a file that cannot be shown."""
    try:
        if isinstance(picture, Image.Image):
            small = picture.convert("RGB")
        else:
            with Image.open(picture) as file:
                small = ImageOps.exif_transpose(file).convert("RGB")
    except OSError:
        return f'<span class="missing">no picture: {escape(Path(picture).name)}</span>'
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    small.save(stream, format="JPEG", quality=82)
    code = base64.b64encode(stream.getvalue()).decode()
    return (
        f'<img src="data:image/jpeg;base64,{code}" width="{small.width}" height="{small.height}" '
        f'alt="{escape(caption)}" style="width: 100%; height: auto">'
    )


# What is committed, made again from its evidence and compared.

NUMBER = re.compile(r"-?\d+\.?\d*(?:e-?\d+)?")
TOLERANCE = 1e-5  # between machines
EQUAL = "byte for byte"
SHOWN = 80  # characters at most of a line that differs


def verify() -> bool:
    """Make every committed report again from its evidence, and print whether it comes out the same.

    Nothing but the evidence is at hand, no run and no data. Returns whether all do; what has no
    evidence is named.
    """
    committed, holds = paths.reports(), []
    with tempfile.TemporaryDirectory() as root:
        again = Path(root) / "reports"
        shutil.copytree(committed, again, ignore=shutil.ignore_patterns(*SYNTHETIC))
        os.environ.update(STUDIES_ROOT=root, STUDIES_DATA=f"{root}/data")
        tables = [file for file in sorted(again.glob("*/*.csv")) if file.stem in STUDIES]
        for folder, study in ((table.parent, table.stem) for table in tables):
            if not (paths.evidence(folder.name) / study).exists():
                print(f"{folder.name} {study}: no evidence", flush=True)
                continue
            patterns = f"{study}[._]*", f"claims/{study}[._]*", "index.html"
            files = [file for pattern in patterns for file in sorted(folder.glob(pattern))]
            files = [file for file in files if not file.stem.endswith("_gallery")]
            for file in files:
                file.unlink()
            publish(folder.name, study)
            write_index(folder.name)
            compared = [compare(committed / file.relative_to(again), file) for file in files]
            holds += [same for same, _ in compared]
            words = [how for _, how in compared if how != EQUAL] or [EQUAL]
            print(f"{folder.name} {study}:", "\n  ".join(words), flush=True)
        write_overview()
        for name in ("index.html", "paper.tex"):
            same, how = compare(committed / name, again / name)
            holds.append(same)
            print(f"{name}: {how}")
    return all(holds)


def compare(committed: Path, again: Path) -> tuple[bool, str]:
    """Return whether two texts say the same, and in words where they differ first."""
    if not again.exists():
        return False, f"{relative(committed)}: not made again; delete it if no report shows it"
    old, new = (file.read_text("utf-8", "replace").splitlines() for file in (committed, again))
    if old == new:
        return True, EQUAL
    for number, (was, now) in enumerate(zip_longest(old, new, fillvalue=""), 1):
        numbers = [np.array(NUMBER.findall(line), dtype=float) for line in (was, now)]
        alike = NUMBER.sub("", was) == NUMBER.sub("", now)
        if not alike or not np.allclose(*numbers, rtol=0, atol=TOLERANCE):
            apart = next(k for k, (a, b) in enumerate(zip_longest(was, now)) if a != b)
            part = slice(max(0, apart - SHOWN // 2), apart + SHOWN // 2)
            where = f"{relative(committed)} line {number}"
            return False, f"{where}: committed is `{was[part]}`, made again `{now[part]}`"
    return True, f"{relative(committed)}: numbers within {TOLERANCE:g}"


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("study", nargs="*")
    parser.add_argument("--index", action="store_true")
    options = parser.parse_args()
    with paths.one_sentence():
        if not options.dataset:
            sys.exit(0 if verify() else 1)
        if options.index:
            print(paths.printed(write_index(options.dataset)))
            if options.dataset not in SYNTHETIC:
                print(paths.printed(write_overview()))
        for study in [] if options.index else options.study or studies_with_runs(options.dataset):
            print(paths.printed(publish(options.dataset, study)), flush=True)


if __name__ == "__main__":
    main()
