"""Ask a server on the web for JSON: politely, again where that may help, silent about the key.

What is asked for is asked for once: a study keeps each answer on disk as soon as it is there, so
that what was stopped goes on where it was.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic, sleep
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr
from tqdm.auto import tqdm
from urllib3.exceptions import InvalidHeader
from urllib3.util import Retry

from studies.paths import StudyError

LONGEST_PAUSE = 3600.0  # seconds; a server that asks for more had better be asked another day
LONGEST_QUOTE = 200  # characters of a server's complaint
SECRET = 12  # characters; a shorter key ("none", "ollama") is no secret and may be a text's word
LOOPBACK = ("127.0.0.1", "localhost", "::1")

Question, Answer = TypeVar("Question"), TypeVar("Answer")


@dataclass(frozen=True)
class Failure:
    """An attempt without an answer; another makes sense after `wait` seconds, never if None."""

    problem: str
    remedy: str
    wait: float | None = 0.0
    complaint: str = ""  # of a server that refuses, in full


class Refused(StudyError):
    """A server that does not answer such a request; `complaint` is what it says of it."""

    def __init__(self, sentence: str, complaint: str) -> None:
        super().__init__(sentence)
        self.complaint = complaint


@dataclass(eq=False)
class Client:
    """Asks one server, a request at a time, and follows no redirect.

    Attributes:
        name: of the server, as sentences begin.
        remedy: what to look at when it refuses or answers otherwise than expected.
        key: sent with each request; never shown, and cut out of what the server sends back.
        attempts: how often it is asked the same at most.
        interval: seconds between two requests at least.
        timeout: seconds that it may be silent, or those to connect and between two blocks.
        agent: who asks, where the server wants to know.

    """

    name: str
    remedy: str
    key: SecretStr = field(default_factory=lambda: SecretStr(""))
    attempts: int = 5
    interval: float = 0.0
    timeout: float | tuple[float, float] = (20.0, 60.0)
    agent: str = ""

    def __post_init__(self):
        self.due = monotonic()
        self.session = requests.Session()
        self.session.auth = self._authorised
        if self.agent:
            self.session.headers["User-Agent"] = self.agent

    def answers(
        self,
        questions: Sequence[Question],
        kept: Callable[[Question], Answer | None],
        ask: Callable[[Question], Answer],
        unit: str,
    ) -> list[Answer]:
        """Return what is `kept` of each question; what is not (None) is asked for by `ask`."""
        answers = [kept(question) for question in questions]
        missing = [place for place, answer in enumerate(answers) if answer is None]
        done = len(answers) - len(missing)
        bar = tqdm(total=len(answers), initial=done, desc=f"asking {self.name}", unit=unit, delay=2)
        with bar, self.session:
            for place in missing:
                answers[place] = ask(questions[place])
                bar.update()
        return answers

    def ask(self, read: Callable[[Any], Answer | Failure], what: str, **request: Any) -> Answer:
        """Return what `read` makes of the JSON that comes back from a `request` of requests.

        `read` may return a Failure, and raise ValueError, LookupError, TypeError or AttributeError
        for JSON of another shape than `what` has.

        Raises Refused when the server refuses, and StudyError when it gives no whole answer in all
        attempts.
        """
        for attempt in range(1, self.attempts + 1):
            self._wait_for_turn()
            # nothing is raised while a library's exception is at hand, which may quote the key
            answer = self._attempt(read, what, request)
            if not isinstance(answer, Failure):
                return answer
            if answer.wait is None or answer.wait > LONGEST_PAUSE or attempt == self.attempts:
                break
            wait = max(answer.wait, min(2 ** (attempt - 1), LONGEST_PAUSE))
            problem = f"{self.name} {answer.problem}"
            tqdm.write(f"{problem}; next attempt in {wait:.0f} s", file=sys.stderr)
            sleep(wait)
        pause = f" and asks for a pause of {answer.wait:.0f} s" if answer.wait else ""
        sentence = (
            f"{self.name} {answer.problem} in attempt {attempt} of {self.attempts}{pause}, asked "
            f"for {what}: {answer.remedy}; answers that arrived are kept, and the same command "
            "goes on from them"
        )
        raise Refused(sentence, answer.complaint) if answer.complaint else StudyError(sentence)

    def _authorised(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request with the key; without this, requests sends what ~/.netrc has."""
        if self.key:
            request.headers["Authorization"] = f"Bearer {self.key.get_secret_value()}"
        return request

    def _wait_for_turn(self) -> None:
        early = self.due - monotonic()
        if early > 0:
            sleep(early)
        self.due = monotonic() + self.interval

    def _attempt(
        self, read: Callable[[Any], Answer | Failure], what: str, request: dict[str, Any]
    ) -> Answer | Failure:
        try:
            reply = self.session.request(timeout=self.timeout, allow_redirects=False, **request)
        # requests reads the target of a redirect that it does not follow: ValueError if bad
        except (requests.RequestException, ValueError) as error:
            problem = f"gave no whole answer ({type(error).__name__})"
            return Failure(problem, f"see that it can be reached, and {self.remedy}")
        status, wait = reply.status_code, retry_after(reply.headers.get("Retry-After", ""))
        complaint = self._complaint(reply)
        problem = f"answered {status} ({printable(complaint)})"
        if status in (408, 429) or status >= 500:
            return Failure(problem, "it may be busy or a quota used up, so try later", wait)
        if not 200 <= status < 300:
            return Failure(problem, self.remedy, None, complaint)
        try:
            answer = read(json.loads(reply.content))
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return Failure(f"{problem} without {what}", self.remedy)
        if isinstance(answer, Failure) and answer.wait is not None:
            return replace(answer, wait=max(answer.wait, wait))
        return answer

    def _complaint(self, reply: requests.Response) -> str:
        """Return what a server says of a failure, without the key."""
        try:
            content = json.loads(reply.content)
            for name in ("error", "message", "detail"):
                content = content.get(name, content) if isinstance(content, dict) else content
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        except (ValueError, RecursionError):
            text = reply.content.decode(errors="replace")
        if reply.is_redirect:
            text = f"go to {reply.headers['Location']}"
        return text.replace(self.key.get_secret_value() or "[key]", "[key]")

    def without_key(self, text: str) -> str:
        """Return the text of an answer, which nobody expects to hold the key, without it."""
        return text.replace(self.key.get_secret_value(), "[key]") if secret(self.key) else text


def read_key(variable: str, setting: str) -> SecretStr:
    """Return the key that an environment variable holds, empty where none is named.

    Raises StudyError, which does not quote it, when it is not there or cannot be a key; `setting`
    is where the variable is named.
    """
    key = SecretStr(os.environ.get(variable, "").strip())
    if variable and not key:
        raise StudyError(
            f"the environment variable {variable} is not set: export the server's key in it, or "
            f'set {setting} to "" if the server needs none'
        )
    if not re.fullmatch(r"[!#-\[\]-~]*", key.get_secret_value()):
        raise StudyError(
            f"the environment variable {variable} holds no key: a key has no spaces, quotes, "
            "backslashes or letters beyond ASCII; export it anew"
        )
    return key


def secret(key: SecretStr) -> bool:
    """Return whether a key is one, and no placeholder for a server that wants none."""
    return len(key) >= SECRET


def checked(url: str, setting: str, example: str, encrypted: bool) -> str:
    """Return an address; raise StudyError, which does not quote it, when it is none.

    `encrypted` asks for https, unless the server is on this machine. An address holds no secrets,
    since it is shown and written: no name, password, query or fragment.
    """
    try:
        parts = urlsplit(str(requests.Request("GET", url).prepare().url))
        plain = parts.scheme == "http" and (not encrypted or parts.hostname in LOOPBACK)
        good = parts.scheme == "https" or plain
        good = good and not (parts.query or parts.fragment) and parts.username is None
    except ValueError:
        good = False
    if not good:
        scheme = "with https and " if encrypted else ""
        raise StudyError(
            f"{setting} should be an address such as {example}, {scheme}without name, password, ? "
            "or # in it; mend it"
        )
    return url


def retry_after(value: str) -> float:
    """Return the seconds that a Retry-After header, a number or a date, asks for; 0 for none."""
    try:
        return float(Retry().parse_retry_after(value))
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0


def well_formed(text: str) -> str:
    """Return the text with U+FFFD for lone surrogates, which no file can hold."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def printable(text: str) -> str:
    """Return a stranger's text for the inside of a sentence: printable, short, on one line."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line if len(line) <= LONGEST_QUOTE else line[:LONGEST_QUOTE] + "…"
    return line or "no reason given"
