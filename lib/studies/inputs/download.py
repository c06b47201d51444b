"""Fetch public datasets as published: `python -m studies.inputs.download grocery`.

A broken download goes on where it stopped; an archive cannot write outside its folder; a dataset
appears under its name only when it is whole. `sources.yaml` beside this file lists them.
"""

import argparse
import shutil
import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import requests
from pydantic import TypeAdapter
from tqdm.auto import tqdm

from studies import paths
from studies.paths import StudyError, one_sentence
from studies.runs.files import digest, locked, remove, unwritable
from studies.runs.params import read_yaml

# the first releases of Python 3.11, such as Debian 12's, have no filters for tar members
if sys.version_info >= (3, 12):
    import tarfile
else:
    from backports import tarfile

TIMEOUT = (20, 60)  # seconds to connect, and between two blocks
BLOCK = 1 << 14  # bytes; the block in which a connection breaks is lost


@dataclass(frozen=True)
class Part:
    """One published file and what it becomes; see `sources.yaml`."""

    url: str
    lands: str
    holds: str = ""
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """One dataset, whose folder below `STUDIES_DATA` has its name; see `sources.yaml`."""

    licence: str
    size: str
    parts: tuple[Part, ...] = ()
    register: str = ""


LISTED = read_yaml(Path(__file__).with_name("sources.yaml"))
SOURCES = TypeAdapter(dict[str, Source]).validate_python(LISTED)


def fetch(name: str) -> Path:
    """Return the dataset's folder below `STUDIES_DATA`, downloading what is not there.

    Raises:
        StudyError: it must be registered for, no network, wrong checksum, damaged or unsafe
            archive, or no room.

    """
    source, folder = SOURCES[name], paths.data() / name
    if not source.parts and not folder.exists():
        raise StudyError(f"The dataset {name} cannot be fetched freely: {source.register}")
    keep = paths.data() / "downloads" / name
    if not all(map(_is_there, source.parts)):
        with locked(keep):
            for part in source.parts:
                if not _is_there(part):
                    _bring(part, keep)
    return folder


def require(name: str, folder: Path) -> Path:
    """Return `folder`, which holds the dataset `name` or a part of it, if it is there.

    Raises:
        StudyError: it is not; the sentence says where it was looked for and how to get it.

    """
    if folder.exists():
        return folder
    source, command = SOURCES[name], f"`python -m studies.inputs.download {name}`"
    how = f"fetch it with {command} ({source.size}, {source.licence})"
    how = how if source.parts else source.register.rstrip(".")
    raise StudyError(
        f"The dataset {name} is not at {folder}: {how}, or set STUDIES_DATA (now {paths.data()}) "
        f"to the folder that holds {name}/."
    )


def require_own(name: str) -> Path:
    """Return a file or folder of the user's own below STUDIES_DATA; StudyError if not there."""
    place = paths.data() / name
    if not place.exists():
        raise StudyError(
            f"{place}: no such file or folder; put it there, or point STUDIES_DATA at the folder "
            "that holds it"
        )
    return place


def _is_there(part: Part) -> bool:
    return (paths.data() / part.lands / part.holds).exists()


def _bring(part: Part, keep: Path) -> None:
    """Download a part, compare its checksum, and put it where it lands."""
    target = paths.data() / part.lands
    if target.is_dir() and any(target.iterdir()):
        raise StudyError(
            f"The folder {target} is there but holds no {part.holds}: move it away and fetch again."
        )
    file, partial = keep / part.url.rsplit("/", 1)[-1], keep / "partial"
    note = file.with_name(f"{file.name}.sha256")
    ours = not file.exists()  # an archive may also have been put here by hand; it then stays
    try:
        if ours:
            _download(part.url, file)
        remove(partial)
        checksum, found = _compared(part, file, note), partial
        if part.holds:
            partial.mkdir()
            unpack(file, partial)
            found = _top_folder(part, file, partial)
        else:
            shutil.copyfile(file, partial)
        target.parent.mkdir(parents=True, exist_ok=True)
        found.replace(target)
        note.write_text(f"{checksum}  {file.name}\n", encoding="utf-8")
    except BadFile as error:
        if ours:
            file.unlink()
        raise StudyError(f"{error} Fetch it again, or get it from its publisher.") from error
    except OSError as error:
        raise unwritable(keep, error) from error
    finally:
        remove(partial)
    if ours:
        file.unlink()


def _compared(part: Part, file: Path, note: Path) -> str:
    found = digest(file)
    noted = note.read_text(encoding="utf-8").split()[0] if note.exists() else found
    known = part.sha256 or noted
    if known != found:
        changed = "" if part.sha256 else f" If its publisher has changed it, delete {note}."
        raise BadFile(f"{file} has another checksum than expected ({known}).{changed}")
    return found


def _top_folder(part: Part, file: Path, folder: Path) -> Path:
    """Return `folder`, or the one in it that an archive may have been packed with."""
    for top in (folder, *folder.iterdir()):
        if (top / part.holds).exists():
            return top
    raise BadFile(
        f"The archive {file} holds no {part.holds}: its publisher has changed its layout, or it is "
        "another archive."
    )


# A download that goes on where it stopped.


def _download(url: str, file: Path) -> None:
    """Bring a file, in several attempts and sittings; StudyError when it cannot be had whole."""
    part, mark = (file.with_name(file.name + ending) for ending in (".part", ".etag"))
    while not file.exists():
        before = _size(part)
        try:
            _attempt(url, part, mark)
            part.replace(file)
        except requests.RequestException as error:
            # a server that says no or cuts every connection at once is not asked for ever
            if _size(part) <= before:
                reason = getattr(error.response, "status_code", type(error).__name__)
                raise StudyError(
                    f"{url} could not be fetched ({reason}): run the same command again to go on "
                    f"where it stopped, or get the file elsewhere and put it at {file}."
                ) from error
    mark.unlink()


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _attempt(url: str, part: Path, mark: Path) -> None:
    """Append to the `part` that an earlier attempt left.

    `mark` keeps the server's validator (ETag or date), which is sent as If-Range, so that two
    versions of a file never mix.
    """
    # compressed transfer would make the bytes on disk others than those that Range counts
    headers = {"Accept-Encoding": "identity"}
    if _size(part) and _size(mark):
        headers["Range"] = f"bytes={_size(part)}-"
        headers["If-Range"] = mark.read_text(encoding="utf-8")
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as reply:
        if reply.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink()  # it is too long
            return _attempt(url, part, mark)
        reply.raise_for_status()
        resumed = reply.status_code == requests.codes.partial_content
        done, left = _size(part) if resumed else 0, int(reply.headers.get("Content-Length", 0))
        room(part.parent, left, url)
        validator = reply.headers.get("ETag") or reply.headers.get("Last-Modified", "")
        # a weak ETag does not promise equal bytes, and If-Range may not carry one
        mark.write_text("" if validator.startswith("W/") else validator, encoding="utf-8")
        name, total = url.rsplit("/", 1)[-1], done + left if left else None
        bar = tqdm(total=total, initial=done, desc=name, unit="B", unit_scale=True, delay=2)
        with part.open("ab" if resumed else "wb") as file, bar:
            for block in reply.iter_content(BLOCK):
                bar.update(file.write(block))


def room(folder: Path, size: int, what: object) -> None:
    """Raise a StudyError unless the disk of `folder` has `size` bytes free for `what`."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise StudyError(
            f"{what} needs {size / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free: make "
            "room or name another folder in STUDIES_DATA."
        )


# What others have packed is unpacked without letting it write anywhere else.


class BadFile(StudyError):
    """A published file is itself at fault: damaged, unsafe, or not what was expected."""


def unpack(file: Path, folder: Path) -> None:
    """Unpack a zip or tar archive into an empty folder.

    Raises:
        BadFile: it is damaged, no archive, or a member would reach outside the folder.
        StudyError: it is larger than the room on the disk.
        OSError: the folder cannot be written.

    """

    def confined(member: tarfile.TarInfo, where: str) -> tarfile.TarInfo | None:
        room(folder, member.size, file)
        return tarfile.data_filter(member, where)

    try:
        if zipfile.is_zipfile(file):
            _unzip(file, folder)
        elif tarfile.is_tarfile(file):
            with tarfile.open(file) as archive:
                archive.extractall(folder, filter=confined)
                # tarfile stops before the end of the stream, where gzip keeps its checksum
                while archive.fileobj.read(1 << 20):
                    pass
        else:
            raise BadFile(f"{file} is neither a zip nor a tar archive, or it is damaged.")
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError) as error:
        # decompressors complain of bad data with an OSError that has no number
        if getattr(error, "errno", None) is not None:
            raise
        raise BadFile(f"The archive {file} is damaged or unsafe ({error}).") from error


def _unzip(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        for member in members:
            # zipfile would drop what leads outside without a word, and it makes no links
            path = PureWindowsPath(member.filename)
            if path.anchor or ".." in path.parts:
                raise BadFile(f"The archive {file} is unsafe ({member.filename!r} lies outside).")
        room(folder, sum(member.file_size for member in members), file)
        for member in tqdm(members, desc=f"unpacking {file.name}", unit="file", delay=2):
            archive.extract(member, folder)


def main(arguments: Sequence[str] | None = None) -> None:
    """Fetch the datasets that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m studies.inputs.download", description=__doc__)
    parser.add_argument("name", nargs="+", choices=sorted(SOURCES), help="dataset")
    with one_sentence():
        for name in parser.parse_args(arguments).name:
            print(f"{name}: {fetch(name)}")


if __name__ == "__main__":
    main()
