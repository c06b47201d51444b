"""Answers of a server that chats: any with OpenAI's interface, each asked for once and kept."""

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from studies import paths
from studies.inputs import web
from studies.inputs.images import open_rgb
from studies.runs.blocks import Server
from studies.runs.files import sealed, unsealed, write_atomic

OPENS, CLOSES = (rf"[<\[◁]{slash}(?:think(?:ing)?|thought|reasoning)[>\]▷]" for slash in ("", "/"))
# the start of a thought may stand in the prompt, and its end may be cut off
THOUGHT = re.compile(rf"(?is)(?:\A|{OPENS})(?:(?!{OPENS}).)*?{CLOSES}\s*|{OPENS}.*")
CUT = "cut off at max_tokens"


def without_thought(text: str) -> str:
    """Return a model's text without what it thought before it wrote."""
    return THOUGHT.sub("", text)


# A server is paid for each answer once: it is kept on disk as soon as it is there, so that what was
# killed goes on where it stopped. What a server says is a stranger's text: answers are kept as they
# are, but for the key, if one should hold it.

OPTIONAL = ("temperature", "max_tokens", "seed", "stream")  # may be left out
NEWER = "max_completion_tokens"  # the name of max_tokens at some servers
UNSUPPORTED = re.compile(
    "(?i)unsupported|n[o']t support|unknown|unrecogni|unexpected|extra|deprecat"
    "|not (?:be )?(?:permitted|allowed)|only [^.]*(?:permitted|allowed)"
)


class ServerWriter:
    """Asks a server for texts, one request a text, and keeps the answers on disk.

    Two processes may share the folder of answers: files appear whole, but what both lack is asked
    for by both.
    """

    def __init__(
        self, settings: Server, temperature: float, max_tokens: int, seed: int, place: str
    ) -> None:
        """Read the key; `cache/answers` keeps the answers. `place` names the server's parameters.

        Raises StudyError when the address is none, holds secrets of its own or would have the key
        sent unencrypted, and when the variable of the key is not set or holds what cannot be a key.
        """
        variable = f"{place}.key_variable"
        key = web.read_key(settings.key_variable, variable)
        web.checked(settings.url, f"{place}.url", "https://host/v1", encrypted=web.secret(key))
        self.url = settings.url.rstrip("/")
        self.client = web.Client(
            f"{settings.model} at {self.url}",
            f"check url, model and key of {place} ({variable} is {settings.key_variable!r})",
            key,
            settings.attempts,
            timeout=settings.timeout,
        )
        self.settings = {
            **{"url": self.url, "model": settings.model, "temperature": float(temperature)},
            **{"max_tokens": max_tokens, "seed": seed},
        }
        self.limit = f"{place.rpartition('.')[0]}.max_tokens"
        self.folder = paths.cache() / "answers"
        self.pictures: dict[str, Path] = {}  # by what stands for them in requests
        self.names = {name: name for name in OPTIONAL}  # at the server, "" where it takes none
        self.remarks: Counter[str] = Counter()  # as of LocalWriter

    def write(self, prompts: Sequence[str], recipes: int) -> list[list[str]]:
        """Return `recipes` texts for each prompt, in order.

        Equal prompts do not share texts: the recipes of a prompt are numbered through, and each
        has a seed of its own. A text that `max_tokens` cut is kept as it is. An empty one, or one
        of thoughts alone, is no recipe: it is asked for again as if it had not arrived. A parameter
        that the server refuses by name is left out from then on.

        Raises StudyError when the server refuses, when it gives no text in `attempts` attempts,
        and when the folder cannot be written. Answers that arrived before are kept.
        """
        requests, numbers = [], Counter()
        for prompt in (web.well_formed(prompt) for prompt in prompts for _ in range(recipes)):
            requests.append(self.settings | {"prompt": prompt, "number": numbers[prompt]})
            numbers[prompt] += 1
        texts = self.client.answers(requests, self._kept, self._ask, "recipe")
        return by_prompt(texts, recipes)

    def describe(self, files: Sequence[Path], prompt: str) -> list[str]:
        """Return what is answered to a prompt with each picture, sent as a data URL.

        Raises StudyError as `write`, and when a picture cannot be read.
        """
        requests = []
        for file in files:
            name = digest(data_url(file)).hex()
            self.pictures[name] = file
            requests.append(self.settings | {"prompt": prompt, "number": 0, "picture": name})
        return self.client.answers(requests, self._kept, self._ask, "caption")

    def _file(self, request: dict[str, Any]) -> Path:
        return self.folder / f"{digest(request).hex()}.json"

    def _kept(self, request: dict[str, Any]) -> str | None:
        """Return the answer that is on disk, None where there is none or it is damaged."""
        try:
            kept = unsealed(self._file(request).read_text(encoding="utf-8"))
            return self._noted(kept) if kept["request"] == request else None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None

    def _ask(self, request: dict[str, Any]) -> str:
        """Ask the server and keep its answer."""
        own = int.from_bytes(digest([request[name] for name in ("seed", "prompt", "number")])[:4])
        # 31 bits, which every server can hold
        values = request | {"seed": own >> 1, "stream": False}
        rest = {"model": request["model"]}
        content = request["prompt"]
        if "picture" in request:
            url = {"url": data_url(self.pictures[request["picture"]])}
            content = [{"type": "text", "text": content}, {"type": "image_url", "image_url": url}]
        rest["messages"] = [{"role": "user", "content": content}]
        url = f"{self.url}/chat/completions"
        while True:
            body = {sent: values[name] for name, sent in self.names.items() if sent} | rest
            try:
                kept = self.client.ask(self._answer, "a text", method="POST", url=url, json=body)
                break
            except web.Refused as error:
                if not self._give_way(error.complaint):
                    raise
        kept["remarks"] += [
            f"asked for {f'with {sent} for' if sent else 'without'} {name}"
            for name, sent in self.names.items()
            if sent != name
        ]
        write_atomic(self._file(request), sealed({"request": request, **kept}))
        return self._noted(kept)

    def _give_way(self, complaint: str) -> bool:
        """Leave out or rename what the server says that it does not take, if it says so."""
        before = dict(self.names)
        for name, sent in before.items():
            if sent and UNSUPPORTED.search(complaint) and re.search(rf"\b{sent}\b", complaint):
                self.names[name] = NEWER if sent == "max_tokens" and NEWER in complaint else ""
        return self.names != before

    def _answer(self, completion: Any) -> dict[str, Any] | web.Failure:
        """Return the text of a chat completion, and what is odd about it."""
        choice = completion["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        content = message["content"] or ""
        if not isinstance(content, str):  # thoughts are parts of another type
            content = "".join(part["text"] for part in content if part["type"] == "text")
        text = web.well_formed(content)
        if without_thought(text).strip():
            remarks = [CUT] if reason == "length" else []
            return {"answer": self.client.without_key(text), "remarks": remarks}
        if refusal := message.get("refusal") or (reason == "content_filter" and reason):
            problem = f"refused to write ({web.printable(self.client.without_key(refusal))})"
            return web.Failure(problem, "ask another model")
        cut = "was cut off before it wrote a text"
        problem = cut if reason == "length" else "answered with an empty text"
        return web.Failure(problem, f"raise {self.limit} if the model thinks before it writes")

    def _noted(self, kept: dict[str, Any]) -> str | None:
        """Return the text of a kept answer, None where it has none, and count the remarks."""
        text = without_thought(kept["answer"])
        if not text.strip():
            return None
        self.remarks.update(kept.get("remarks", ()))
        return text


def digest(values: Any) -> bytes:
    """Return 16 bytes that stand for the values."""
    return blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).digest()


def by_prompt(texts: list[str], recipes: int) -> list[list[str]]:
    """Return the texts of each prompt, so many of which follow each other."""
    return [texts[start : start + recipes] for start in range(0, len(texts), recipes)]


def data_url(file: Path) -> str:
    """Return a picture, upright and in RGB, as the data URL of a JPEG.

    Raises StudyError when it cannot be read.
    """
    buffer = io.BytesIO()
    open_rgb(file).save(buffer, "JPEG", quality=95)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
