"""The images of kept captions as an image folder of Hugging Face `datasets`."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
from tqdm.auto import tqdm

from studies.relevance.shards import blocks

SAID = ["wnid", "class", "caption", "class_text", "probability", "coefficient"]


def write(
    folder: Path,
    sources: dict[str, Path],
    rows: np.ndarray,
    made: Callable[[np.ndarray], pd.DataFrame],
) -> int:
    """Write the images of a part and their `metadata.jsonl`; return how many are left out.

    `made` returns what is said of rows (N,): `image`, `wnid` and `SAID`. An image lies below its
    wnid, so that equal names of different classes do not collide; it is a hard link to the file in
    the folder that `sources` has for the wnid, or a copy where there can be no link. Left out are
    images that are not there, or that `load_dataset` would pass over for their name. Where none is
    left there is no folder.
    """
    lines = folder / "metadata.jsonl"
    count = 0
    bar = tqdm(total=len(rows), desc=f"images for {folder.name}", unit="image", delay=2)
    with bar:
        for block in blocks(rows):
            frame = made(block)
            bar.update(len(frame))
            listed = []
            for record in frame.to_dict("records"):
                name = Path(record["wnid"], record["image"])
                source = sources[record["wnid"]] / record["image"]
                if shown(source) and not (folder / name).exists():
                    place(source, folder / name)
                    said = {"file_name": name.as_posix(), **{one: record[one] for one in SAID}}
                    listed.append(json.dumps(said, ensure_ascii=False) + "\n")
            count += len(listed)
            if listed:
                with lines.open("a", encoding="utf-8", newline="\n") as file:
                    file.writelines(listed)
    return len(rows) - count


def shown(source: Path) -> bool:
    """Return whether `load_dataset` takes a file for an image, by its name, and it is there."""
    named = source.suffix.lower() in ImageFolder.EXTENSIONS and not source.name.startswith(".")
    return named and source.is_file()


def place(source: Path, target: Path) -> None:
    """Link a file, or copy it where that is not possible, as from another disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # a link to a symbolic link would lead nowhere from here
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
