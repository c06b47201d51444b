"""Image folders: what counts as a picture, and where it lies."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd
from PIL import Image

from studies.inputs.tables import PART_NAMES
from studies.paths import StudyError

AGAIN = "unpack the dataset again"
# What Pillow knows by name, but not as a picture: documents, films, data it has no decoder for.
NO_PICTURES = {"BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "PSD", "WMF"}
SYSTEM = {  # of Synology, QNAP, Linux, macOS and Windows, in lower case
    *("@eadir", "#recycle", "#snapshot", "@recycle", "lost+found", "__macosx", "$recycle.bin"),
    *("recycler", "system volume information", "thumbs.db", "desktop.ini"),
}


@cache
def suffixes() -> frozenset[str]:
    """Return what names of pictures end in, `.jpg`, in lower case: all that Pillow reads."""
    known = Image.registered_extensions().items()  # late, since it imports all of Pillow
    formats = {*Image.OPEN, "MPO"} - NO_PICTURES  # MPO is opened as a JPEG
    return frozenset(suffix for suffix, name in known if name in formats)


def is_picture(name: str) -> bool:
    """Return whether a file of this name counts as a picture."""
    return Path(name).suffix.lower() in suffixes()


def image_files(root: Path) -> tuple[pd.DataFrame, str]:
    """Return the pictures below a folder, sorted, and in words what is left out.

    - A picture is what ends like a format that Pillow reads, in any case; documents and films are
      none. Other files are left out and counted.
    - Hidden files and folders, and those of systems and their trash (`SYSTEM`), are passed over.
    - Links are followed, except to a folder that they lie in.
    - Folders without a picture are named.

    The column `file` is the path relative to `root`, the index the whole path. Raises StudyError
    where there is no picture, a folder cannot be read, or a name is not UTF-8.
    """
    found, others, folders = [], Counter(), []
    for place, inner, names in os.walk(root, onerror=_unreadable, followlinks=True):
        folder = Path(place)
        folders.append(folder)
        above = set(map(os.path.realpath, (folder, *folder.parents)))
        inner[:] = [name for name in inner if os.path.realpath(folder / name) not in above]
        for names_of in (inner, names):
            names_of[:] = [name for name in names_of if not _passed_over(name)]
        for file in (folder / name for name in names):
            if is_picture(file.name):
                found.append(file)
            else:
                kind = file.suffix.lower() or "without ending"
                others[kind if file.exists() else "links to nothing"] += 1
    full = {folder for file in found for folder in file.parents}
    bare = [one for one in folders if one not in full and one.parent in full]
    for file in (*found, *bare):
        if re.search("[\ud800-\udfff]", str(file)):
            name = os.fsencode(file).decode(errors="backslashreplace")
            raise StudyError(f"{name}: the name is not UTF-8; rename it")
    left_out = [f"{count} {kind}" for kind, count in others.most_common()]
    if not found:
        there = ", ".join(left_out) or "no files"
        raise StudyError(f"{root}: holds no images; {AGAIN}, or save as PNG what there is: {there}")
    if bare:
        left_out.append(f"no image in {some([one.relative_to(root) for one in bare])}")
    found.sort()
    files = [file.relative_to(root).as_posix() for file in found]
    return pd.DataFrame({"file": files}, map(str, found), dtype="str"), ", ".join(left_out)


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
            f"{root}: folders are named like parts, {some(names)}; parts are all the folders at "
            "the top, with one to train on: move what else is there, or rename what is a class"
        )
    if parts[top].isna().all():
        return levels, None
    rest = levels.drop(columns=top)
    return rest if len(rest.columns) else levels.mask(levels.notna(), ""), parts[top]


def some(names: Sequence[object], most: int = 5) -> str:
    """Return the first of the names in quotes, and how many there are beside."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{name}`" for name in names[:most]) + more


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name.casefold() in SYSTEM


def _unreadable(error: OSError) -> None:
    reason = (error.strerror or str(error)).lower()
    raise StudyError(f"{error.filename}: {reason}; put the folder there, or let it be read")
