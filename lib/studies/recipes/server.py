"""Recipes from any server with OpenAI's chat completions, each of which is paid for once.

An answer is kept on disk as soon as it is there and never asked for again, so a run that was
killed goes on where it stopped. What a server says is a stranger's text: answers are kept as they
are, but for the key, if one should hold it.
"""

import json
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

from studies import paths
from studies.inputs.web import Client, Failure, checked, read_key, secret, well_formed
from studies.recipes.params import Server
from studies.runs.files import to_json, write_atomic

GENERATOR = "writing.generator"  # the parameters that name the server


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

        Raises StudyError when the address is none, holds secrets of its own or would have the key
        sent unencrypted, and when the variable of the key is not set or holds what cannot be a key.
        """
        variable = f"{GENERATOR}.key_variable"
        key = read_key(settings.key_variable, variable)
        checked(settings.url, f"{GENERATOR}.url", "https://host/v1", encrypted=secret(key))
        self.url = settings.url.rstrip("/")
        self.client = Client(
            f"{settings.model} at {self.url}",
            f"check url and model of {GENERATOR}",
            f"check the key ({variable} is {settings.key_variable!r})",
            key,
            settings.attempts,
            timeout=settings.timeout,
        )
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
        texts = self.client.answers(asked, self._kept, self._ask, "recipe")
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

    def _ask(self, request: dict[str, Any]) -> str:
        """Ask the server and keep its answer."""
        body = {name: request[name] for name in ("model", "temperature", "max_tokens")}
        own = int.from_bytes(digest([request[name] for name in ("seed", "prompt", "number")])[:4])
        body |= {"seed": own >> 1, "stream": False}  # 31 bits, which every server can hold
        body["messages"] = [{"role": "user", "content": request["prompt"]}]
        url = f"{self.url}/chat/completions"
        text = self.client.ask(self._text, "a text", method="POST", url=url, json=body)
        write_atomic(self._file(request), to_json({"request": request, "answer": text}))
        return text

    def _text(self, completion: Any) -> str | Failure:
        """Return the text of a chat completion."""
        text = well_formed(completion["choices"][0]["message"]["content"])
        if not text.strip():
            remedy = "raise writing.max_tokens if the model thinks before it writes"
            return Failure("answered with an empty text", remedy)
        return self.client.without_key(text)


def digest(values: Any) -> bytes:
    """Return 16 bytes that stand for the values."""
    return blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).digest()
