"""The page of a study on a dataset, and where its photographs go."""

from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from studies.reporting.claims import SYNTHETIC
from studies.reporting.pages import Section, page
from studies.runs.files import write_atomic


def publish(
    folder: Path,
    study: str,
    title: str,
    lead: str,
    sections: Sequence[Section],
    photographs: Sequence[Section],
    origin: tuple[str, dict[str, str]],
    kind: str = "photographs",
) -> Path:
    """Write the page of a study into the folder of a dataset; return it.

    `photographs` are parts with pictures, or with others' work of another `kind`. Those of drawn
    worlds belong to the page; others make `<study>_gallery.html`, which is not published with it.
    `origin` is command and provenance.
    """
    shown = [*sections]
    if folder.name in SYNTHETIC:
        shown += photographs
    elif photographs:
        what, gallery = photographs[0].title, folder / f"{study}_gallery.html"
        write_atomic(gallery, page(f"{what} on {folder.name}", "", photographs, *origin))
        shown.append(Section(what, [elsewhere(gallery.name, kind)]))
    file = folder / f"{study}.html"
    write_atomic(file, page(title, f"Dataset {folder.name}: {lead}", shown, *origin))
    return file


def elsewhere(file: str, kind: str) -> Markup:
    """Return the sentence that leads to the page, a file beside this one, of the photographs."""
    return Markup(
        '<p>The {} are on <a href="{}">a page of their own</a>, '
        "made by the command below and not published with this one.</p>"
    ).format(kind, file)
