"""What the answers of a MediaWiki API mean."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel

from studies.inputs.web import Failure, printable, well_formed

LAGGED = 5.0  # seconds; no shorter pause while the databases lag
PASSING = ("ratelimited", "readonly")  # errors of the API that go by themselves


class Page(BaseModel, frozen=True, extra="forbid"):
    """What the API said of a title; `revision` and `url` are for attribution."""

    api: str
    asked: str  # before redirects
    date: str  # of the answer
    problem: Literal["", "missing", "disambiguation", "invalid", "elsewhere"] = ""
    title: str = ""
    section: str = ""  # that the redirect leads to
    revision: int | None = None
    url: str = ""
    extract: str = ""  # plain text with headings as in == this ==


def page_of(query: dict[str, Any], asked: dict[str, str]) -> Page:
    """Return the page in an answer; raise ValueError, LookupError or another for other shapes."""
    if "pages" not in query:
        if "interwiki" in query:
            return Page(**asked, problem="elsewhere")
        query["redirects"]  # which lead round in a circle
        return Page(**asked, problem="missing")
    (page,) = query["pages"]
    title = clean(page["title"])
    leads = {one["to"]: one.get("tofragment", "") for one in query.get("redirects", [])}
    found = asked | {"title": title, "section": clean(leads.get(page["title"], ""))}
    if page.get("invalid"):
        return Page(**found, problem="invalid")
    if "pageid" not in page:
        return Page(**found, problem="missing")
    found |= {"revision": page["lastrevid"], "url": page["canonicalurl"]}
    if "disambiguation" in page.get("pageprops", {}):
        return Page(**found, problem="disambiguation")
    return Page(**found, extract=well_formed(page["extract"]))


def refusal(error: dict[str, Any]) -> Failure:
    """Return what an error of the API, which comes with status 200, means."""
    code = error["code"]
    problem = f"answered {printable(code)} ({printable(str(error.get('info', '')))})"
    if code == "maxlag":
        return Failure(problem, "its databases lag behind, so try later", LAGGED)
    if code in PASSING or code.startswith("internal_api_error"):
        return Failure(problem, "it is busy, so try later")
    return Failure(problem, "check the address of the API", None)


def clean(title: str) -> str:
    """Return a title with single spaces that a file can hold."""
    return " ".join(well_formed(title).replace("_", " ").split())


def today() -> str:
    """Return the date by Greenwich."""
    return datetime.now(UTC).date().isoformat()
