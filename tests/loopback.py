"""Servers on the loopback device; a web site that can misbehave, and archives to serve."""

import io
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


class Loopback:
    """A server on the loopback device, in a thread of its own; `answer` answers its requests."""

    def __init__(self):
        self.connections: set[tuple] = set()
        self.headers: list[dict[str, str]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                server.connections.add(self.client_address)
                server.headers.append(dict(self.headers))
                server.answer(self)

            do_POST = do_GET

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self.http.server_port}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        raise NotImplementedError


class Site(Loopback):
    """A small web site that can be told to misbehave."""

    def __init__(self):
        super().__init__()
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None, int]] = []  # path, Range header, status
        self.cut_after: list[int] = []  # bytes after which each next reply breaks off
        self.ranges = True
        self.etag = '"one"'

    def stand_in(self, monkeypatch) -> None:
        """Answer for every other site; paths stay as they are."""
        get = requests.get

        def here(url, **options):
            return get(f"{self.address}/{url.split('/', 3)[3]}", **options)

        monkeypatch.setattr(requests, "get", here)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        span = handler.headers.get("Range")
        body, status, start = self.files.get(handler.path), 200, 0
        if body is None:
            status, body = 404, b"no"
        elif span and self.ranges and handler.headers.get("If-Range", self.etag) == self.etag:
            start = int(span.removeprefix("bytes=").removesuffix("-"))
            status = 206 if start < len(body) else 416
        self.asked.append((handler.path, span, status))
        whole = len(body)
        body = b"" if status == 416 else body[start:]
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.send_header("ETag", self.etag)
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        elif status == 416:
            handler.send_header("Content-Range", f"bytes */{whole}")
        handler.end_headers()
        if self.cut_after:
            body = body[: self.cut_after.pop(0)]
            handler.close_connection = True
        handler.wfile.write(body)


def zipped(content: dict[str, bytes], top: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, body in content.items():
            archive.writestr(top + name, body)
    return buffer.getvalue()


def tarred(content: dict[str, bytes], top: str = "", mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, body in content.items():
            member = tarfile.TarInfo(top + name)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
    return buffer.getvalue()
