"""A download that goes on where it stopped, as a downloader for pooch."""

from pathlib import Path

import requests
from tqdm.auto import tqdm

from studies.inputs.archives import room

ATTEMPTS = 5
TIMEOUT = (20, 60)  # seconds to connect, and between two blocks
BLOCK = 1 << 14  # bytes; the block in which a connection breaks is lost


class Resuming:
    """A downloader for pooch that appends to what an earlier attempt left.

    pooch itself starts every download anew, in a temporary file. The server's validator (ETag or
    date) is kept beside the part and sent as If-Range, so that two versions of a file never mix.
    """

    def __init__(self, part: Path):
        self.part = part
        self.mark = part.with_name(part.name + ".etag")

    def __call__(self, url: str, output_file: str, _pooch: object, check_only: bool = False):
        """Bring `url` to `output_file`; raise requests' exceptions when it cannot be had whole."""
        for left in reversed(range(ATTEMPTS)):
            before = self._size()
            try:
                self._attempt(url)
                break
            except requests.HTTPError:
                raise
            except requests.RequestException:
                # A server that cuts every connection at once is not asked for ever.
                if not left or self._size() <= before:
                    raise
        self.mark.unlink(missing_ok=True)
        self.part.replace(output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str) -> None:
        done = self._size()
        # Compressed transfer would make the bytes on disk others than those that Range counts.
        headers = {"Accept-Encoding": "identity"}
        if done:
            headers["Range"] = f"bytes={done}-"
            if self.mark.exists():
                headers["If-Range"] = self.mark.read_text(encoding="utf-8")
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as reply:
            status, place = reply.status_code, reply.headers.get("Content-Range", "")
            if status == requests.codes.requested_range_not_satisfiable and done:
                if place.endswith(f"/{done}"):
                    return
                self.part.unlink()
                return self._attempt(url)
            reply.raise_for_status()
            if status != requests.codes.partial_content:
                done = 0
            elif not place.startswith(f"bytes {done}-"):
                self.part.unlink()
                return self._attempt(url)
            length = reply.headers.get("Content-Length")
            total = done + int(length) if length else None
            room(self.part.parent, (total or 0) - done, url)
            validator = reply.headers.get("ETag") or reply.headers.get("Last-Modified") or ""
            # A weak ETag does not promise equal bytes, and If-Range may not carry one.
            if validator and not validator.startswith("W/"):
                self.mark.write_text(validator, encoding="utf-8")
            else:
                self.mark.unlink(missing_ok=True)
            bar = tqdm(
                total=total,
                initial=done,
                desc=url.rsplit("/", 1)[-1],
                unit="B",
                unit_scale=True,
                delay=2,
            )
            with self.part.open("ab" if done else "wb") as file, bar:
                for block in reply.iter_content(BLOCK):
                    file.write(block)
                    bar.update(len(block))
        if total is not None and self._size() != total:
            raise requests.ConnectionError("the server closed the connection early")
