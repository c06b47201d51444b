"""An encyclopedia on the loopback device that answers as MediaWiki does, or misbehaves."""

import json
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, quote, urlsplit

from chats import reply
from loopback import Loopback
from studies.inputs import web

PANDA = """The red panda (Ailurus fulgens) is a small mammal.\xa0It is  not a bear.
It is native to the eastern Himalayas.


== Etymology ==
The name "panda" is of uncertain origin.


== Description ==
It has dense reddish-brown fur.


=== Size ===
It is 51 to 63.5 cm long.


==== Tail ====
The tail has 12 rings.


== Behaviour ==
It is shy.


=== Description ===
Not of this level.
"""


def body(content) -> bytes:
    return json.dumps(content).encode()


LAG = {
    "error": {
        "code": "maxlag",
        "info": "Waiting for 10.64.32.12: 8.2 seconds lagged.",
        "lag": 8.2,
        "type": "db",
    }
}


class Wiki(Loopback):
    """A MediaWiki with TextExtracts; `script` holds what it does first, then it answers."""

    def __init__(self):
        super().__init__()
        self.texts = {"Red panda": PANDA}
        self.redirects: dict[str, tuple[str, str]] = {}  # title: title, section
        self.lists: set[str] = set()  # disambiguations
        self.script: list = []
        self.asked: list[str] = []  # titles
        self.queries: list[dict[str, str]] = []
        self.before = lambda: None  # called as each request arrives
        self.api = f"{self.address}/w/api.php"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.before()
        parts = urlsplit(handler.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.queries.append(query)
        self.asked.append(query["titles"])
        send = self.script.pop(0) if self.script else reply(200, body(self.content(query)))
        send(handler)

    def content(self, query: dict[str, str]) -> dict:
        found: dict = {}
        title = query["titles"].replace("_", " ")
        title = title[0].upper() + title[1:]
        if title != query["titles"]:
            found["normalized"] = [{"fromencoded": False, "from": query["titles"], "to": title}]
        if title.startswith("De:"):
            found["interwiki"] = [{"title": query["titles"], "iw": "de"}]
            return {"batchcomplete": True, "query": found}
        seen = []
        while title in self.redirects:
            to, section = self.redirects[title]
            lead = {"from": title, "to": to} | ({"tofragment": section} if section else {})
            found.setdefault("redirects", []).append(lead)
            if to in seen:
                return {"batchcomplete": True, "query": found}
            seen.append(to)
            title = to
        return {"batchcomplete": True, "query": found | {"pages": [self.page(title)]}}

    def page(self, title: str) -> dict:
        if "%" in title:
            why = 'The requested page title contains invalid characters: "%".'
            return {"title": title, "invalidreason": why, "invalid": True}
        urls = {"canonicalurl": self.url(title)}
        if title not in self.texts and title not in self.lists:
            return {"ns": 0, "title": title, "missing": True} | urls
        number = sum(title.encode())
        page = {"pageid": number, "ns": 0, "title": title}
        page["extract"] = self.texts.get(title, f"{title} may refer to:\n\n{title}, a thing")
        if title in self.lists:
            page["pageprops"] = {"disambiguation": ""}
        changed = {"touched": "2026-11-01T00:00:00Z", "lastrevid": number + 1, "length": 9}
        return page | changed | urls

    @staticmethod
    def url(title: str) -> str:
        return f"https://en.wikipedia.org/wiki/{quote(title.replace(' ', '_'))}"


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self):
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def stand_in(self, monkeypatch) -> None:
        """Be the time of whoever asks servers on the web."""
        monkeypatch.setattr(web, "monotonic", self)
        monkeypatch.setattr(web, "sleep", self.sleep)
