"""Pages of Wikipedia, each of which is asked for once.

What the MediaWiki API says of a title is kept on disk as soon as it is there, also that there is no
such page, so a collection that was stopped goes on where it was. A kept page is asked for again
once its file is deleted. Pages are asked for one after the other, as Wikimedia wishes, since the
API gives the full text of one page a request only.
"""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import requests
from pydantic import BaseModel

from studies import paths
from studies.inputs.web import Client, Failure, checked, printable, well_formed
from studies.paths import StudyError
from studies.runs.files import sealed, unsealed, write_atomic
from studies.runs.params import read_yaml

API = "https://en.wikipedia.org/w/api.php"
SAID = read_yaml(Path(__file__).with_name("wikipedia.yaml"))  # what is asked, and answered
LAGGED = 5.0  # seconds; no shorter pause while the databases lag
PASSING = ("ratelimited", "readonly")  # errors of the API that go by themselves


class Page(BaseModel, frozen=True, extra="forbid", strict=True):
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


class Wikipedia:
    """Asks a MediaWiki for pages and keeps them below `cache/wikipedia`.

    Two processes may share the folder: files appear whole, but what both lack is asked for by both.
    """

    def __init__(self, contact: str, api: str = API, rate: float = 1.0) -> None:
        """Take whom to write to about the requests, and how many of them a second are too many.

        Raises StudyError when `contact` is neither a mail address nor a web page, when `api` is no
        address or not encrypted, and when `rate` is not above 0.
        """
        agent = f"studies/{version('studies')} ({reachable(contact)}) "
        agent += requests.utils.default_user_agent()
        example = "https://host/w/api.php"
        self.api = checked(api, "the API of the MediaWiki", example, encrypted=True)
        if not 0 < rate < math.inf:
            raise StudyError(
                f"the rate of requests to {api} should be above 0, not {rate}; mend it"
            )
        remedy = "check that the address is that of a MediaWiki API with TextExtracts and the "
        remedy += "contact yours, and lower the rate"
        self.client = Client(api, remedy, interval=1 / rate, agent=agent)

    def pages(self, titles: Iterable[str]) -> dict[str, Page]:
        """Return a page for each title, also where there is none, from disk where it is kept.

        Raises StudyError when the server refuses, when it gives no whole answer in several
        attempts, and when the folder cannot be written. Pages that arrived before are kept.
        """
        cleaned = {title: clean(title) for title in titles}
        once = list(dict.fromkeys(cleaned.values()))
        answers = self.client.answers(once, self._kept, self._ask, "page")
        pages = dict(zip(once, answers, strict=True))
        return {title: pages[asked] for title, asked in cleaned.items()}

    def file(self, title: str) -> Path:
        """Return the file that keeps the page of a title."""
        title = clean(title)
        digest = blake2b(f"{self.api}\n{title}".encode(), digest_size=16).hexdigest()
        readable = re.sub(r"\W+", "_", title)[:40]
        return paths.cache() / "wikipedia" / f"{readable}-{digest}.json"

    def _kept(self, title: str) -> Page | None:
        """Return the page that is on disk, None where there is none or it is damaged."""
        if not re.fullmatch(r"[^#<>\[\]|{}\x00-\x1f\x7f]+", title):
            # the API reads A|B as two titles, and A#B as A
            return Page(api=self.api, asked=title, date=today(), problem="invalid")
        try:
            page = Page(**unsealed(self.file(title).read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            return None
        return page if (page.api, page.asked) == (self.api, title) else None

    def _ask(self, title: str) -> Page:
        """Ask the server for a page and keep it."""

        def read(content: dict[str, Any]) -> Page | Failure:
            if "error" in content:
                return refusal(content["error"])
            return page_of(content["query"], {"api": self.api, "asked": title, "date": today()})

        query = SAID["query"] | {"titles": title}
        what = f"the page {title!r}"
        page = self.client.ask(read, what, method="GET", url=self.api, params=query)
        write_atomic(self.file(title), sealed(page.model_dump()))
        return page


def reachable(contact: str) -> str:
    """Return a mail address or web page; raise StudyError unless it may be a person's."""
    contact = contact.strip()
    address = re.fullmatch(r"(https?://|[^@:/]+@)[^@:/]+\.[^@:/.]+(/[^@]*)?", contact)
    plain = re.fullmatch(r"[!-'*-;=?-~]+", contact)  # may stand in a header, in brackets
    if not address or not plain or re.search(r"[@./]example\.(com|net|org)\b", contact.lower()):
        raise StudyError(
            "Wikipedia wants to know whom to write to when requests cause trouble: give your mail "
            f"address or web page as the contact, not {contact!r}"
        )
    return contact


# What the answers mean.


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
