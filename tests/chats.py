"""A server of chat completions on the loopback device that can be told to misbehave."""

import json
import threading
from http.server import BaseHTTPRequestHandler

from loopback import Loopback

SECRET = "sk-live-0123456789/abc+DEF="


def completion(text, **choice) -> bytes:
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "finish_reason": "stop"} | choice
    return json.dumps(
        {"object": "chat.completion", "choices": [choice | {"message": message}]}
    ).encode()


def reply(status: int, body: bytes | str, *, length: int | None = None, **headers):
    """A reply to send; one whose `length` is more than it has breaks off."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        content = body.encode() if isinstance(body, str) else body
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = length is not None

    return send


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def raw(line: str):
    """A status line of the server's own making."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(f"{line}\r\n\r\n".encode())
        handler.close_connection = True

    return send


class Chat(Loopback):
    """A server of chat completions; `script` holds what it does first, then it answers."""

    def __init__(self):
        super().__init__()
        self.script: list = []
        self.asked: list[dict] = []  # bodies
        self.paths: set[str] = set()
        self.usual = lambda body: reply(200, completion(expected(body)))
        self.before = lambda: None  # called as each request arrives
        self.over = threading.Event()
        self.url = f"{self.address}/v1"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers.get("Content-Length", 0))))
        self.before()
        self.asked.append(body)
        self.paths.add(handler.path)
        send = self.script.pop(0) if self.script else self.usual(body)
        send(handler)

    def silent(self, _: BaseHTTPRequestHandler) -> None:
        """Say nothing until the test is over."""
        self.over.wait(60)

    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.asked]

    def close(self) -> None:
        self.over.set()
        super().close()


def expected(body: dict) -> str:
    return f"{body['messages'][0]['content']}, number {body['seed']}"
