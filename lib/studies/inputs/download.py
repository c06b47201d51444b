"""Fetch public datasets as published: `python -m studies.inputs.download grocery`.

A broken download goes on where it stopped; an archive cannot write outside its folder; a dataset
appears under its name only when it is whole.
"""

import argparse
import difflib
import hashlib
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pooch
import requests
from filelock import FileLock

from studies import paths
from studies.inputs.archives import BadArchive, unpack
from studies.inputs.published import SOURCES, Part, Source
from studies.inputs.transfer import Resuming
from studies.paths import StudyError


def fetch(name: str) -> Path:
    """Return the dataset's folder below `STUDIES_DATA`, downloading what is not there.

    Raises:
        StudyError: no such name, must be registered for, no network, wrong checksum, damaged or
            unsafe archive, or no room.

    """
    source = _source(name)
    folder = paths.data() / source.folder
    if not source.parts and not folder.exists():
        raise StudyError(f"The dataset {name} cannot be fetched freely: {source.register}")
    for part in source.parts:
        if _is_there(part):
            continue
        keep = paths.data() / "downloads" / name
        try:
            keep.mkdir(parents=True, exist_ok=True)
            with FileLock(keep / ".lock"):
                if not _is_there(part):
                    _bring(part, keep)
        except OSError as error:
            raise StudyError(
                f"Cannot write the dataset {name} below {paths.data()} "
                f"({error.strerror or error}): make room or give write permission there, or name "
                "another folder in STUDIES_DATA."
            ) from error
    return folder


def require(name: str, folder: Path) -> Path:
    """Return `folder`, which holds the dataset `name` or a part of it, if it is there.

    Raises:
        StudyError: it is not; the sentence says where it was looked for and how to get it.

    """
    if folder.exists():
        return folder
    source = _source(name)
    how = (
        f"fetch it with `python -m studies.inputs.download {name}` "
        f"({source.size}, {source.licence})"
        if source.parts
        else str(source.register).rstrip(".")
    )
    raise StudyError(
        f"The dataset {name} is not at {folder}: {how}, or set STUDIES_DATA (now {paths.data()}) "
        f"to the folder that holds {source.folder}/."
    )


def _source(name: str) -> Source:
    if name in SOURCES:
        return SOURCES[name]
    near = difflib.get_close_matches(name, SOURCES, 1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(SOURCES))}."
    raise StudyError(f"There is no dataset {name!r} to fetch: {hint}")


def _is_there(part: Part) -> bool:
    return (paths.data() / part.lands / part.holds).exists()


def _bring(part: Part, keep: Path) -> None:
    target = paths.data() / part.lands
    if target.is_dir() and any(target.iterdir()):
        raise StudyError(
            f"The folder {target} is there but holds no {part.holds}: move it away and fetch again."
        )
    file = keep / part.url.rsplit("/", 1)[-1]
    note = file.with_name(file.name + ".sha256")
    # An archive may also have been put here by hand; it then stays.
    ours = not file.exists()
    _download(part, file, note)
    digest = _sha256(file)
    target.parent.mkdir(parents=True, exist_ok=True)
    working = target.with_name(f".{target.name}.unpacking")
    _clear(working)
    try:
        if part.holds:
            working.mkdir()
            unpack(file, working)
            _find(part, file, working).replace(target)
        else:
            shutil.copyfile(file, working)
            working.replace(target)
    except BadArchive as error:
        if ours:
            file.unlink()
        raise StudyError(f"{error} Fetch it again, or get it from its publisher.") from error
    finally:
        _clear(working)
    note.write_text(f"{digest}  {file.name}\n", encoding="utf-8")
    if ours:
        file.unlink()


def _clear(working: Path) -> None:
    if working.is_dir():
        shutil.rmtree(working)
    else:
        working.unlink(missing_ok=True)


def _find(part: Part, file: Path, working: Path) -> Path:
    for candidate in (working, *sorted(p for p in working.iterdir() if p.is_dir())):
        if (candidate / part.holds).exists():
            return candidate
    raise BadArchive(
        f"The archive {file} holds no {part.holds}: its publisher has changed its layout, or it is "
        "another archive."
    )


def _download(part: Part, file: Path, note: Path) -> None:
    noted = note.read_text(encoding="utf-8").split()[0] if note.exists() else None
    known = part.sha256 or noted
    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(
            part.url,
            known_hash=f"sha256:{known}" if known else None,
            fname=file.name,
            path=file.parent,
            downloader=Resuming(file.with_name(file.name + ".part")),
        )
    except ValueError as error:
        remedy = (
            "fetch it again, and if that does not help report it"
            if part.sha256
            else f"if its publisher has changed it, delete {note} and fetch again"
        )
        raise StudyError(
            f"The file from {part.url} has another checksum than expected ({known}): {remedy}."
        ) from error
    except requests.HTTPError as error:
        raise StudyError(
            f"The server answers {error.response.status_code} for {part.url}: try later, or get "
            f"the file elsewhere and put it at {file}."
        ) from error
    except requests.RequestException as error:
        raise StudyError(
            f"The connection to {part.url} failed ({type(error).__name__}): run the same command "
            f"again to go on where it stopped, or get the file elsewhere and put it at {file}."
        ) from error


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m studies.inputs.download", description=__doc__)
    parser.add_argument("name", nargs="+", help=f"dataset: {', '.join(sorted(SOURCES))}")
    try:
        for name in parser.parse_args(arguments).name:
            print(f"{name}: {fetch(name)}")
    except StudyError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
