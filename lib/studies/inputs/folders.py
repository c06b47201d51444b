"""Image folders: what counts as a picture, and where it lies."""

import os
from collections import Counter
from functools import cache
from pathlib import Path

import pandas as pd
from PIL import Image

from studies.inputs.tables import PART_NAMES
from studies.paths import StudyError

AGAIN = "unpack the dataset again"
# What Pillow knows by name, but not as a picture: documents, films, data it has no decoder for.
NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PSD", "WMF"}
# of Synology, QNAP, Linux, macOS and Windows, in lower case
SYSTEM = {"@eadir", "#recycle", "#snapshot", "@recycle", "lost+found", "__macosx", "$recycle.bin"}
SYSTEM |= {"recycler", "system volume information", "thumbs.db", "desktop.ini"}


@cache
def suffixes() -> frozenset[str]:
    """Return what names of pictures end in, `.jpg`, in lower case: all that Pillow reads."""
    known = Image.registered_extensions().items()  # late, since it imports all of Pillow
    formats = {*Image.OPEN, "MPO"} - NO_PICTURES  # MPO is opened as a JPEG
    return frozenset(suffix for suffix, name in known if name in formats)


def is_picture(name: str) -> bool:
    """Return whether a file of this name counts as a picture."""
    return Path(name).suffix.lower() in suffixes()


def image_files(root: Path) -> tuple[pd.DataFrame, list[str]]:
    """Return the pictures below a folder, sorted, and notes of what is left out.

    - A picture is what ends like a format that Pillow reads, in any case; documents and films are
      none. Other files are left out and counted.
    - Hidden files and folders, and those of systems and their trash (`SYSTEM`), are passed over.
    - Links are followed, except to a folder that they lie in.
    - Folders without a picture are named.

    The column `file` is the path relative to `root`, the index the whole path. Raises StudyError
    where there is no picture, a folder cannot be read, or a name is not UTF-8.
    """
    folders, files = [], []
    for place, inner, names in os.walk(root, onerror=_unreadable, followlinks=True):
        folder = Path(place)
        above = set(map(os.path.realpath, (folder, *folder.parents)))
        inner[:] = [name for name in inner if os.path.realpath(folder / name) not in above]
        for kept in (inner, names):
            kept[:] = [name for name in kept if name[0] != "." and name.casefold() not in SYSTEM]
        folders.append(folder)
        files += [folder / name for name in names]
    found = sorted(file for file in files if is_picture(file.name))
    full = {folder for file in found for folder in file.parents}
    bare = [one for one in folders if one not in full and one.parent in full]
    for file in (*files, *bare):
        name = os.fsencode(file).decode(errors="backslashreplace")
        if name != str(file):
            raise StudyError(f"{name}: the name is not UTF-8; rename it")
    others = Counter(one.suffix.lower() or one.name for one in files if not is_picture(one.name))
    left_out = some("left out", [f"{count} {ending}" for ending, count in others.most_common()])
    if not found:
        there = "".join(left_out) or "there is no file"
        raise StudyError(f"{root}: holds no images; {AGAIN}, or save them as PNG ({there})")
    names = [file.relative_to(root).as_posix() for file in found]
    left_out += some("no image in", [folder.relative_to(root).as_posix() for folder in bare])
    return pd.DataFrame({"file": names}, map(str, found), dtype="str"), left_out


def take_parts(root: Path, levels: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series | None]:
    """Return levels of folders without the parts, and the part of each image if there are any.

    `levels` has a column a level, empty below the lowest folder. Parts are called as in
    `PART_NAMES`, in any case, and are all the folders at the top, or in the one folder there.
    Raises StudyError when folders are so called elsewhere or beside others, or none is for
    training.
    """
    parts = levels.apply(lambda level: level.str.casefold().map(PART_NAMES))
    top = next((k for k in levels if levels[k].nunique() > 1 or parts[k].notna().any()), 0)
    wrong = [k for k in levels if k > top and parts[k].nunique() > 1]
    if parts[top].notna().any() and (parts[top].isna().any() or "train" not in set(parts[top])):
        wrong = [top]
    if wrong:
        names = levels[wrong[0]][parts[wrong[0]].notna()].unique()
        raise StudyError(
            f"{root}: {', '.join(names)} are named like parts; parts are all the folders at the "
            "top, with one to train on: move what else is there, or rename what is a class"
        )
    return (levels, None) if parts[top].isna().all() else (levels.drop(columns=top), parts[top])


def some(what: str, names: list[str], most: int = 5) -> list[str]:
    """Return a note, the first names and how many there are beside; none of no names."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return [f"{what}: {', '.join(names[:most])}{more}"] if names else []


def _unreadable(error: OSError) -> None:
    raise StudyError(f"{error.filename}: {error.strerror}; put the folder there, or let it be read")
