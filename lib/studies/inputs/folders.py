"""Image folders: what counts as a picture, and where it lies."""

from pathlib import Path

import pandas as pd

from studies.paths import StudyError

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp")
AGAIN = "unpack the dataset again"


def image_files(root: Path) -> pd.DataFrame:
    """Return the image files below a folder, sorted, hidden ones left out; StudyError if none.

    The column `file` is the path relative to `root`, the index the whole path.
    """
    found = sorted(
        file
        for file in root.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not file.is_dir()
        and "/." not in f"/{file.relative_to(root).as_posix()}"
    )
    if not found:
        raise StudyError(f"{root}: holds no images; {AGAIN} (they end in {', '.join(SUFFIXES)})")
    files = [file.relative_to(root).as_posix() for file in found]
    return pd.DataFrame({"file": files}, map(str, found), dtype="str")
