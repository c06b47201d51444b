"""Images with captions, and the readers of published layouts."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from studies.inputs.reading import numbered_lines, read_text
from studies.inputs.splits import PARTS
from studies.paths import StudyError

SPLITS = {"train": "trainImages", "validation": "devImages", "test": "testImages"}
# Karpathy's own names; restval images are added to training, as is usual
KARPATHY = {"train": "train", "restval": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class CaptionedImages:
    """Images of a dataset, their captions, and the published part of each.

    `files` are relative to `root`; `captions` holds a list for each; `official` (N,) is one of
    `PARTS`, or None when there is no published split.
    """

    root: Path
    files: list[str]
    captions: list[list[str]]
    official: np.ndarray | None

    @cached_property
    def paths(self) -> list[Path]:
        """Return the image files."""
        return [self.root / file for file in self.files]


def flickr8k(folder: Path) -> CaptionedImages:
    """Read Flickr8k by its official splits.

    M. Hodosh, P. Young, J. Hockenmaier, JAIR 47, 2013. `Flicker8k_Dataset/*.jpg` and, in
    `Flickr8k_text/` or beside it, `Flickr8k.token.txt` (`<image>#<k>`, tab, caption) and
    `Flickr_8k.{train,dev,test}Images.txt`. The published token file has captions of an image that
    does not exist, so only images of a split must be there.
    Raises StudyError when such an image is missing, has no caption, or is listed twice.
    """
    root, text = image_folder(folder), text_folder(folder)
    captions = token_captions(text / "Flickr8k.token.txt")
    files: dict[str, str] = {}
    for part, name in SPLITS.items():
        listing = text / f"Flickr_8k.{name}.txt"
        for number, line in numbered_lines(listing):
            where = f"{listing} line {number}"
            if line in files:
                raise StudyError(f"{where}: `{line}` is listed twice; keep one line")
            if line not in captions:
                raise StudyError(
                    f"{where}: `{line}` has no caption in {text / 'Flickr8k.token.txt'}; use the "
                    "published file"
                )
            files[line] = part
    return checked(root, text, files, captions)


def karpathy(folder: Path) -> CaptionedImages:
    """Read Flickr8k by the splits of A. Karpathy, L. Fei-Fei, CVPR 2015: `dataset_flickr8k.json`.

    Raises StudyError when the file is not of that form or an image is missing or listed twice.
    """
    file = text_folder(folder, "dataset_flickr8k.json") / "dataset_flickr8k.json"
    files: dict[str, str] = {}
    captions: dict[str, list[str]] = {}
    try:
        for entry in json.loads(read_text(file))["images"]:
            name = str(entry["filename"])
            if name in files:
                raise StudyError(f"{file}: `{name}` is listed twice; keep one entry")
            files[name] = KARPATHY[entry["split"]]
            captions[name] = [sentence["raw"].strip() for sentence in entry["sentences"]]
            if not any(captions[name]):
                raise StudyError(f"{file}: `{name}` has no caption; use the published file")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(
            f"{file}: expected `images` with filename, split and sentences ({error!r}); use the "
            "published file"
        ) from None
    return checked(image_folder(folder), file, files, captions)


def checked(
    root: Path, lists: Path, files: dict[str, str], captions: dict[str, list[str]]
) -> CaptionedImages:
    """Return the listed images; raises StudyError when one is not there or a part is empty."""
    there = {file.name for file in root.iterdir()}
    for name, part in files.items():
        if name not in there:
            raise StudyError(
                f"{root / name}: is in the {part} split but not there; unpack the images again"
            )
    for part in PARTS:
        if part not in files.values():
            raise StudyError(f"{lists}: the {part} split lists no image; use the published lists")
    names = list(files)
    given = [[one for one in captions[name] if one] for name in names]
    return CaptionedImages(root, names, given, np.array([files[name] for name in names]))


def token_captions(file: Path) -> dict[str, list[str]]:
    """Return the captions of each image of a token file.

    Raises StudyError for a line that is no `<image>#<number>`, tab, caption, or is there twice.
    """
    captions: dict[str, dict[str, str]] = {}
    for number, line in numbered_lines(file):
        name, tab, caption = line.partition("\t")
        image, mark, which = name.partition("#")
        if not (tab and mark and which.isdecimal()):
            raise StudyError(
                f"{file} line {number}: expected `<image>#<number>`, a tab and a caption, found "
                f"`{line[:60]}`; use the published file"
            )
        of_image = captions.setdefault(image, {})
        if which in of_image:
            raise StudyError(f"{file} line {number}: `{name}` is there twice; keep one line")
        of_image[which] = caption.strip()
    return {
        image: found
        for image, given in captions.items()
        if (found := [caption for caption in given.values() if caption])
    }


def image_folder(folder: Path) -> Path:
    """Return the folder of the photographs, spelt as published or rightly."""
    for name in ("Flicker8k_Dataset", "Flickr8k_Dataset"):
        if (folder / name).is_dir():
            return folder / name
    raise StudyError(
        f"{folder / 'Flicker8k_Dataset'}: no such folder; unpack the images of Flickr8k there"
    )


def text_folder(folder: Path, name: str = "Flickr8k.token.txt") -> Path:
    """Return the folder of the texts: the published archive has no top folder of its own."""
    for place in (folder / "Flickr8k_text", folder):
        if (place / name).is_file():
            return place
    raise StudyError(f"{folder / 'Flickr8k_text' / name}: no such file; put it there")
