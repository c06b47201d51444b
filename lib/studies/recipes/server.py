"""Recipes from any server with OpenAI's chat completions, each of which is paid for once.

An answer is kept on disk as soon as it is there and never asked for again, so a run that was
killed goes on where it stopped. What a server says is a stranger's text: answers are kept as they
are, and the key is cut out of whatever it sends back.
"""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from pathlib import Path
from time import sleep
from typing import Any
from urllib.parse import urlsplit

import requests
from pydantic import SecretStr
from requests.auth import AuthBase
from tqdm.auto import tqdm

from studies import paths
from studies.paths import StudyError
from studies.recipes.params import Server
from studies.runs.files import to_json, write_atomic

KEY = "writing.generator.key_variable"
LONGEST_WAIT = 300.0  # seconds between two attempts, also when a server asks for more
LONGEST_QUOTE = 200  # characters of a server's complaint
SECRET = 12  # characters; a shorter key ("none", "ollama") is no secret and may be a recipe's word


@dataclass(frozen=True)
class Failure:
    """An attempt without a text; another makes sense after `wait` seconds, never if None."""

    problem: str
    remedy: str
    wait: float | None = 0.0


class Bearer(AuthBase):
    """Sends the key if there is one; without this, requests sends what ~/.netrc has instead."""

    def __init__(self, key: SecretStr):
        self.key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request with its key."""
        if self.key:
            request.headers["Authorization"] = f"Bearer {self.key.get_secret_value()}"
        return request


class ServerWriter:
    """Asks a server for recipes, one request a recipe, and keeps the answers on disk.

    Two processes may share the folder of answers: files appear whole, but what both lack is asked
    for by both.
    """

    def __init__(
        self,
        settings: Server,
        temperature: float,
        max_tokens: int,
        seed: int,
        folder: Path | None = None,
    ):
        """Read the key; `folder` keeps the answers, by default `cache/answers`.

        Raises StudyError when the address is none or holds secrets of its own, and when the
        variable of the key is not set or holds what cannot be a key.
        """
        self.settings, self.url, self.key = settings, checked(settings.url), read_key(settings)
        self.given = {"url": self.url, "model": settings.model, "temperature": float(temperature)}
        self.given |= {"max_tokens": max_tokens, "seed": seed}
        self.folder = paths.cache() / "answers" if folder is None else folder

    def write(self, prompts: Sequence[str], recipes: int) -> list[list[str]]:
        """Return `recipes` texts for each prompt, in order.

        Equal prompts do not share texts: the recipes of a prompt are numbered through, and each
        has a seed of its own. A text that `max_tokens` cut is kept as it is. An empty one is no
        recipe: it is asked for again as if it had not arrived.

        Raises StudyError when the server refuses, when it gives no text in `attempts` attempts,
        and when the folder cannot be written. Answers that arrived before are kept.
        """
        asked, numbers = [], Counter()
        for prompt in (well_formed(prompt) for prompt in prompts for _ in range(recipes)):
            asked.append(self.given | {"prompt": prompt, "number": numbers[prompt]})
            numbers[prompt] += 1
        texts = [self._kept(request) for request in asked]
        missing = [place for place, text in enumerate(texts) if text is None]
        done = len(texts) - len(missing)
        bar = tqdm(total=len(texts), initial=done, desc="writing recipes", unit="recipe", delay=2)
        with bar, requests.Session() as session:
            session.auth = Bearer(self.key)
            for place in missing:
                texts[place] = self._ask(session, asked[place])
                kept = {"request": asked[place], "answer": texts[place]}
                write_atomic(self._file(asked[place]), to_json(kept))
                bar.update()
        return [texts[start : start + recipes] for start in range(0, len(texts), recipes)]

    def _file(self, request: dict[str, Any]) -> Path:
        return self.folder / f"{digest(request).hex()}.json"

    def _kept(self, request: dict[str, Any]) -> str | None:
        """Return the answer that is on disk, None where there is none or it is damaged."""
        try:
            kept = json.loads(self._file(request).read_text(encoding="utf-8"))
            whole = kept["request"] == request and kept["answer"].strip()
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return kept["answer"] if whole else None

    def _ask(self, session: requests.Session, request: dict[str, Any]) -> str:
        place, attempts = f"{self.settings.model} at {self.url}", self.settings.attempts
        for attempt in range(1, attempts + 1):
            # nothing is raised while a library's exception is at hand, which may quote the key
            got = self._attempt(session, request)
            if isinstance(got, str):
                return got
            if got.wait is None or attempt == attempts:
                break
            wait = max(got.wait, min(2 ** (attempt - 1), LONGEST_WAIT))
            tqdm.write(f"{place} {got.problem}; next attempt in {wait:.0f} s", file=sys.stderr)
            sleep(wait)
        times = "" if got.wait is None else f" in attempt {attempt} of {attempts}"
        raise StudyError(
            f"{place} {got.problem}{times}: {got.remedy}; answers that arrived are kept, and the "
            "same command goes on from them"
        )

    def _attempt(self, session: requests.Session, request: dict[str, Any]) -> str | Failure:
        body = {name: request[name] for name in ("model", "temperature", "max_tokens")}
        own = int.from_bytes(digest([request[name] for name in ("seed", "prompt", "number")])[:4])
        body |= {"seed": own >> 1, "stream": False}  # 31 bits, which every server can hold
        body["messages"] = [{"role": "user", "content": request["prompt"]}]
        url, limit = f"{self.url}/chat/completions", self.settings.timeout
        try:
            reply = session.post(url, json=body, timeout=limit, allow_redirects=False)
        # requests reads the target of a redirect that it does not follow: ValueError if bad
        except (requests.RequestException, ValueError) as error:
            problem = f"gave no whole answer ({type(error).__name__})"
            return Failure(problem, "see that it runs and that writing.generator.url is right")
        status = reply.status_code
        problem = f"answered {status} ({self._said(reply)})"
        if status in (408, 429) or status >= 500:
            wait = retry_after(reply.headers.get("Retry-After", ""))
            return Failure(problem, "it may be busy or a quota used up, so try later", wait)
        if status in (401, 403):
            remedy = f"check the key ({KEY} is {self.settings.key_variable!r})"
            return Failure(problem, remedy, None)
        if not 200 <= status < 300:
            return Failure(problem, "check url and model of writing.generator", None)
        try:
            text = well_formed(json.loads(reply.content)["choices"][0]["message"]["content"])
        except (ValueError, LookupError, TypeError, RecursionError):
            return Failure(f"{problem} without a text", "see that writing.generator.url is right")
        if not text.strip():
            remedy = "raise writing.max_tokens if the model thinks before it writes"
            return Failure("answered with an empty text", remedy)
        key = self.key.get_secret_value()
        return text.replace(key, "[key]") if len(key) >= SECRET else text

    def _said(self, reply: requests.Response) -> str:
        """Return the first line of a complaint, printable, short and without the key."""
        try:
            said = json.loads(reply.content)
            for name in ("error", "message", "detail"):
                said = said.get(name, said) if isinstance(said, dict) else said
            text = said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)
        except (ValueError, RecursionError):
            text = reply.content.decode(errors="replace")
        if reply.is_redirect:
            text = f"go to {reply.headers['Location']}"
        text = text.replace(self.key.get_secret_value() or "[key]", "[key]")
        line = next((line for line in text.splitlines() if line.strip()), "no reason given")
        line = "".join(c if c.isprintable() else " " for c in line).strip()
        return line if len(line) <= LONGEST_QUOTE else line[:LONGEST_QUOTE] + "…"


def read_key(settings: Server) -> SecretStr:
    """Return the key, empty when the server needs none; raise StudyError when it is not there."""
    name = settings.key_variable
    key = SecretStr(os.environ.get(name, "").strip())
    if name and not key:
        raise StudyError(
            f"the environment variable {name} is not set: export the key of {settings.url} in it, "
            f'or set {KEY} to "" if the server needs none'
        )
    if not re.fullmatch(r"[!#-\[\]-~]*", key.get_secret_value()):
        raise StudyError(
            f"the environment variable {name} holds no key: a key has no spaces, quotes, "
            "backslashes or letters beyond ASCII; export it anew"
        )
    return key


def checked(url: str) -> str:
    """Return an address without its last slash; raise StudyError, which does not quote it."""
    try:
        parts = urlsplit(str(requests.Request("POST", url).prepare().url))
        good = parts.scheme in ("http", "https") and not (parts.query or parts.fragment)
        good = good and parts.username is None
    except ValueError:
        good = False
    if not good:
        raise StudyError(
            "writing.generator.url should be an address such as https://host/v1, without name, "
            f"password, ? or # in it; mend it, and name the variable of the key in {KEY}"
        )
    return url.rstrip("/")


def retry_after(value: str) -> float:
    """Return the seconds that a Retry-After header, a number or a date, asks for; 0 for none."""
    if re.fullmatch(r"\d+(\.\d+)?", value.strip()):
        return min(float(value), LONGEST_WAIT)
    try:
        until = parsedate_to_datetime(value)
        seconds = (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT)


def digest(values: Any) -> bytes:
    """Return 16 bytes that stand for the values."""
    return blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).digest()


def well_formed(text: str) -> str:
    """Return the text with U+FFFD for lone surrogates, which no file can hold."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)
