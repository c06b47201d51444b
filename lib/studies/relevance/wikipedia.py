"""Pages of Wikipedia, each of which is asked for once.

What the MediaWiki API says of a title is kept on disk as soon as it is there, also that there is no
such page, so a collection that was stopped goes on where it was. A kept page is asked for again
once its file is deleted. Pages are asked for one after the other, as Wikimedia wishes, since the
API gives the full text of one page a request only.
"""

import json
import math
import re
import sys
import time
from collections.abc import Callable, Iterable
from hashlib import blake2b
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import requests
from tqdm.auto import tqdm
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from studies import paths
from studies.paths import StudyError
from studies.relevance.answers import Failure, Page, clean, page_of, printable, refusal, today
from studies.runs.files import to_json, write_atomic

API = "https://en.wikipedia.org/w/api.php"
TIMEOUT = (20, 60)  # seconds to connect, and between two blocks
LONGEST_WAIT = 300.0  # seconds; who is told to stay away for longer had better come back later
QUERY = {
    "action": "query",
    "prop": "extracts|pageprops|info",
    "ppprop": "disambiguation",
    "inprop": "url",
    "redirects": "1",
    "explaintext": "1",
    "exsectionformat": "wiki",
    "exlimit": "1",
    "format": "json",
    "formatversion": "2",
    "maxlag": "5",
}


class Wikipedia:
    """Asks a MediaWiki for pages and keeps them on disk.

    Two processes may share the folder: files appear whole, but what both lack is asked for by both.
    """

    def __init__(
        self,
        contact: str,
        api: str = API,
        rate: float = 1.0,
        attempts: int = 5,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ):
        """Take whom to write to about the requests, and how many of them a second are too many.

        `folder` keeps the pages, by default `cache/wikipedia`. Raises StudyError when `contact` is
        neither a mail address nor a web page, when `api` is no address or not encrypted, and when
        `rate` or `attempts` are not above 0.
        """
        self.agent = f"studies/{version('studies')} ({reachable(contact)}) "
        self.agent += requests.utils.default_user_agent()
        self.api = checked(api)
        if not (rate > 0 and math.isfinite(rate) and attempts > 0):
            raise StudyError(
                f"rate and attempts of requests to {api} should be above 0, not {rate} and "
                f"{attempts}; correct them"
            )
        self.interval, self.attempts, self.clock, self.sleep = 1 / rate, attempts, clock, sleep
        self.folder = paths.cache() / "wikipedia" if folder is None else folder
        self.last = -math.inf

    def pages(self, titles: Iterable[str]) -> dict[str, Page]:
        """Return a page for each title, also where there is none, from disk where it is kept.

        Raises StudyError when the server refuses, when it gives no whole answer in `attempts`
        attempts, and when the folder cannot be written. Pages that arrived before are kept.
        """
        asked = {title: clean(title) for title in titles}
        pages = {title: self._kept(title) for title in asked.values()}
        missing = [title for title, page in pages.items() if page is None]
        done = len(pages) - len(missing)
        bar = tqdm(total=len(pages), initial=done, desc="reading Wikipedia", unit="page", delay=2)
        with bar, requests.Session() as session:
            session.headers["User-Agent"] = self.agent
            session.auth = anonymous
            for title in missing:
                pages[title] = self._ask(session, title)
                write_atomic(self.file(title), to_json(pages[title].model_dump()))
                bar.update()
        return {title: pages[cleaned] for title, cleaned in asked.items()}

    def file(self, title: str) -> Path:
        """Return the file that keeps the page of a title."""
        title = clean(title)
        digest = blake2b(f"{self.api}\n{title}".encode(), digest_size=16).hexdigest()
        readable = re.sub(r"\W+", "_", title)[:40]
        return self.folder / f"{readable}-{digest}.json"

    def _kept(self, title: str) -> Page | None:
        """Return the page that is on disk, None where there is none or it is damaged."""
        if not re.fullmatch(r"[^#<>\[\]|{}\x00-\x1f\x7f]+", title):
            # the API reads A|B as two titles, and A#B as A
            return Page(api=self.api, asked=title, date=today(), problem="invalid")
        try:
            page = Page.model_validate_json(self.file(title).read_bytes(), strict=True)
        except (OSError, ValueError, RecursionError):
            return None
        return page if (page.api, page.asked) == (self.api, title) else None

    def _ask(self, session: requests.Session, title: str) -> Page:
        for attempt in range(1, self.attempts + 1):
            self._in_turn()
            got = self._attempt(session, title)
            if isinstance(got, Page):
                return got
            if got.wait is None or got.wait > LONGEST_WAIT or attempt == self.attempts:
                break
            wait = max(got.wait, min(2 ** (attempt - 1), LONGEST_WAIT))
            tqdm.write(f"{self.api} {got.problem}; next attempt in {wait:.0f} s", file=sys.stderr)
            self.sleep(wait)
        times = "" if got.wait is None else f" in attempt {attempt} of {self.attempts}"
        asks = f" and asks for a pause of {got.wait:.0f} s" if got.wait else ""
        raise StudyError(
            f"{self.api} {got.problem}{times}{asks}, asked for the page {title!r}: {got.remedy}; "
            "pages that arrived are kept, and the same command goes on from them"
        )

    def _in_turn(self) -> None:
        """Wait until the next request is due."""
        early = self.last + self.interval - self.clock()
        if early > 0:
            self.sleep(early)
        self.last = self.clock()

    def _attempt(self, session: requests.Session, title: str) -> Page | Failure:
        query = QUERY | {"titles": title}
        try:
            reply = session.get(self.api, params=query, timeout=TIMEOUT, allow_redirects=False)
        # requests reads the target of a redirect that it does not follow: ValueError if bad
        except (requests.RequestException, ValueError) as error:
            problem = f"gave no whole answer ({type(error).__name__})"
            return Failure(problem, "see that this machine reaches it")
        status, wait = reply.status_code, retry_after(reply.headers.get("Retry-After", ""))
        if status in (408, 429) or status >= 500:
            return Failure(f"answered {status}", "it is busy, so try later or lower the rate", wait)
        if reply.is_redirect:
            problem = f"answered {status} (go to {printable(reply.headers['Location'])})"
            return Failure(problem, "give the address that it should be asked at", None)
        if status == 403:
            remedy = "see that the contact is yours and lower the rate"
            return Failure(f"answered {status}", remedy, None)
        if status != 200:
            return Failure(f"answered {status}", "check the address of the API", None)
        remedy = "see that the address is that of a MediaWiki API with TextExtracts"
        try:
            content = json.loads(reply.content)
            if "error" in content:
                return refusal(content["error"], wait)
            return page_of(content["query"], {"api": self.api, "asked": title, "date": today()})
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return Failure("gave an answer without a page", remedy)


def retry_after(value: str) -> float:
    """Return the seconds that a Retry-After header, a number or a date, asks for; 0 for none."""
    try:
        return float(Retry().parse_retry_after(value))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


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


def checked(api: str) -> str:
    """Return the address of an API; raise StudyError when it is none or not encrypted."""
    try:
        parts = urlsplit(str(requests.Request("GET", api).prepare().url))
        near = parts.hostname in ("127.0.0.1", "localhost", "::1")
        good = parts.scheme == "https" or (parts.scheme == "http" and near)
        good = good and not (parts.query or parts.fragment) and parts.username is None
    except ValueError:
        good = False
    if not good:
        raise StudyError(
            "the address of the MediaWiki API should be such as https://host/w/api.php, without "
            "name, password, ? or # in it; mend it"
        )
    return api


def anonymous(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Return the request as it is; without this, requests sends what ~/.netrc has."""
    return request
