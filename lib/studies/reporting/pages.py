"""Self-contained HTML pages: they open without a network, without scripts, and print well.

Everything that comes from data or models is escaped. A page forbids itself to load anything, so
that even an address that slipped in is never fetched.
"""

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from studies.reporting.tables import to_html

THUMBNAIL = 240  # pixels, the longer side
CASE = (
    "display: grid; gap: .75rem 1.25rem; padding: 1rem 0; font-size: .8rem; line-height: 1.45; "
    "grid-template-columns: 9rem repeat(auto-fit, minmax(11rem, 1fr))"
)
WIDE = 300  # points; a wider drawing scrolls on a small screen rather than shrink

templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Args:
        title: plain text.
        body: prose (str, escaped; an empty line begins a paragraph) and the results of
            `figure`, `table` and `picture_grid`.
    """

    title: str
    body: Sequence[Markup | str]


def figure(fig: Figure, caption: str, alt: str) -> Markup:
    """Return a drawing as inline SVG with its caption, and close the figure.

    Letters are drawn as outlines, so that they look the same everywhere; `alt` says in words what
    is to be seen. Equal figures give equal bytes.
    """
    wide = fig.get_figwidth() * 72 > WIDE
    return Markup(
        '<figure class="drawing{kind}">{plate}<figcaption>{caption}</figcaption></figure>'
    ).format(kind=" wide" if wide else "", plate=_plate(fig, alt), caption=caption)


def figures(drawings: Iterable[tuple[Figure, str]], caption: str) -> Markup:
    """Return narrow drawings, each with its `alt`, side by side under one caption."""
    return Markup(
        '<figure class="drawing"><div class="plates">{plates}</div>'
        "<figcaption>{caption}</figcaption></figure>"
    ).format(
        plates=Markup("").join(_plate(fig, alt) for fig, alt in drawings),
        caption=caption,
    )


def heading(text: str) -> Markup:
    """Return a heading inside a section."""
    return Markup("<h3>{}</h3>").format(text)


def _plate(fig: Figure, alt: str) -> Markup:
    stream = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "studies", "svg.fonttype": "path"}):
        fig.savefig(stream, format="svg", metadata={"Date": None})
    plt.close(fig)
    return Markup('<div class="scroll plate" tabindex="0">{}</div>').format(
        _inline(stream.getvalue(), alt)
    )


def _inline(svg: str, alt: str) -> Markup:
    """Return an SVG file as an element of an HTML page."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # A style sheet inside the drawing would hold for the whole page.
    sheet = re.compile(r'<style type="text/css">\*\{(.*?)\}</style>', re.DOTALL)
    strokes = escape(found[1]) if (found := sheet.search(svg)) else ""
    svg = sheet.sub("", svg)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg, count=2).replace("xlink:href", "href")
    # Names such as those of clip paths and letters must differ between the drawings of a page.
    mark = f"d{sha256(svg.encode()).hexdigest()[:10]}-"
    svg = re.sub(r'( id="| href="#|url\(#)', rf"\g<1>{mark}", svg)
    label = Markup('<svg role="img" aria-label="{}" style="{}"').format(alt, strokes)
    return Markup(svg.replace("<svg", str(label), 1))


def table(frame: pd.DataFrame, caption: str) -> Markup:
    """Return a frame as a table that scrolls sideways on narrow screens, with its caption."""
    return Markup(
        '<figure class="table"><figcaption>{}</figcaption>'
        '<div class="scroll" tabindex="0" role="region" aria-label="{}">{}</div></figure>'
    ).format(caption, caption, Markup(to_html(frame)))


def picture_grid(items: Iterable[tuple[Image.Image | Path | str, str]], columns: int = 5) -> Markup:
    """Return thumbnails with captions; each picture is part of the page.

    A file that is missing or broken leaves an empty frame with its name: a report can be made
    again where the photographs are not at hand.

    Args:
        items: (picture or its path, caption). Turned upright by its EXIF mark.
        columns: thumbnails in a row of a wide window; narrow windows show fewer.
    """
    cells = Markup("").join(
        Markup("<li>{}<p>{}</p></li>").format(_thumbnail(picture, caption), caption)
        for picture, caption in items
    )
    return Markup('<ul class="pictures" style="--columns: {}">{}</ul>').format(int(columns), cells)


def case(picture: Image.Image | Path | str, texts: dict[str, str]) -> Markup:
    """Return a picture with texts beside it, heading -> text, line breaks kept.

    It looks the same in a notebook, which has no style sheet of ours.
    """
    columns = Markup("").join(
        Markup('<div><strong>{}</strong><div style="white-space: pre-line">{}</div></div>').format(
            *pair
        )
        for pair in texts.items()
    )
    return Markup('<div class="case" style="{}"><div>{}</div>{}</div>').format(
        CASE,
        _thumbnail(picture, next(iter(texts.values()), "")),
        columns,
    )


def _thumbnail(picture: Image.Image | Path | str, caption: str) -> Markup:
    try:
        if not isinstance(picture, Image.Image):
            with Image.open(picture) as file:
                small = ImageOps.exif_transpose(file).convert("RGB")
        else:
            small = picture.convert("RGB")
    except OSError:
        return Markup('<span class="missing">no picture: {}</span>').format(Path(picture).name)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    stream = io.BytesIO()
    small.save(stream, format="JPEG", quality=82)
    code = base64.b64encode(stream.getvalue()).decode()
    return Markup('<img src="data:image/jpeg;base64,{}" width="{}" height="{}" alt="{}">').format(
        code, small.width, small.height, caption
    )


def page(
    title: str,
    lead: str,
    sections: Sequence[Section],
    command: str,
    provenance: dict[str, str],
) -> str:
    """Return a report as one HTML document.

    Args:
        title: of the report.
        lead: one or two sentences, what was asked and what came out.
        sections: the first is the report at a glance and stands out: put the main table there.
        command: what to type to make this page again.
        provenance: name -> value, such as versions, commit, device; shown at the end.
    """
    return templates.get_template("report.html.jinja").render(
        title=title,
        lead=lead,
        sections=[(section.title, _blocks(section.body)) for section in sections],
        command=command,
        provenance=provenance,
        entries=None,
    )


def _blocks(body: Iterable[Markup | str]) -> list[Markup]:
    blocks: list[Markup] = []
    for part in body:
        if isinstance(part, Markup):
            blocks.append(part)
        else:
            paragraphs = re.split(r"\n\s*\n", part.strip())
            blocks += [Markup("<p>{}</p>").format(text) for text in paragraphs if text]
    return blocks


def index(title: str, entries: Sequence[dict[str, Any]], lead: str = "") -> str:
    """Return the page that leads to the reports.

    Args:
        title: of the page.
        lead: one or two sentences below it.
        entries: one a report: `title`, `href` (relative), `lead` (prose) and `headline` (the
            main result in a line, or Markup from `table`; may be empty).
    """
    return templates.get_template("report.html.jinja").render(
        title=title, lead=lead, sections=[], command="", provenance={}, entries=entries
    )
