"""Who asks a server for recipes, as a plugin of pytest: `pytest_plugins = ["asking"]`."""

import pytest

from chats import SECRET, Chat
from studies.inputs import web
from studies.inputs.chat import ServerWriter
from studies.runs.blocks import Server


@pytest.fixture
def chat(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    chat = Chat()
    yield chat
    chat.close()


@pytest.fixture
def slept(monkeypatch) -> list[float]:
    """The pauses between attempts, which take no time."""
    slept: list[float] = []
    monkeypatch.setattr(web, "sleep", slept.append)
    return slept


@pytest.fixture
def writer(chat, tmp_path, slept):
    """Make a writer; all share the folder `answers`."""

    def make(**changed) -> ServerWriter:
        rest = {"temperature": 0.7, "max_tokens": 50, "seed": 0, "place": "writing.generator"}
        folder = changed.pop("folder", tmp_path / "answers")
        settings = {"url": chat.url, "model": "small", "key_variable": "", "attempts": 3}
        settings |= {"name": "server", "timeout": 30}
        settings |= {name: changed.pop(name) for name in settings & changed.keys()}
        made = ServerWriter(Server(**settings), **(rest | changed))
        made.folder = folder
        return made

    return make


@pytest.fixture
def key(monkeypatch) -> dict[str, str]:
    """The setting of a writer that has the key."""
    monkeypatch.setenv("KITCHEN_KEY", SECRET)
    return {"key_variable": "KITCHEN_KEY"}
