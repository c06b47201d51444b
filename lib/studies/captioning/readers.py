"""Captioned images in the layouts in which people have them.

Flickr8k as published and from Kaggle, Flickr30k from Kaggle, COCO with its own captions or by A.
Karpathy's splits, nocaps, and tables of a user's own. What is wrong with a file is one sentence.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from studies.inputs import images, tables
from studies.inputs.reading import read_text, refuse_empty
from studies.inputs.tables import numbered, read_lines, refuse, token_captions
from studies.paths import StudyError

TOKENS = "Flickr8k.token.txt"
KAGGLE, RESULTS = "captions.txt", "results.csv"  # how most people have Flickr8k and Flickr30k
# where images lie below the folder of a dataset; that of COCO holds them in folders of its own
ROOTS = {
    "flickr8k": ("Flicker8k_Dataset", "Flickr8k_Dataset", "Images"),  # published, spelt rightly
    "flickr30k": ("flickr30k_images/flickr30k_images", "flickr30k_images", "Images"),
    "coco": ("",),
    "nocaps": ("images", "val", "validation"),
}
TEXTS = ("Flickr8k_text", "", "annotations", "flickr30k_images")  # … and texts
LISTS = {
    **{"train": "Flickr_8k.trainImages.txt", "validation": "Flickr_8k.devImages.txt"},
    "test": "Flickr_8k.testImages.txt",
}
# Karpathy's own names; restval images are added to training, as is usual
KARPATHY_PARTS = {"train": "train", "restval": "train", "val": "validation", "test": "test"}
COCO = {"train": "train2017", "test": "val2017"}  # the captions of its test images are not public
NOCAPS = "nocaps_val_4500_captions.json"


@dataclass(frozen=True)
class CaptionedImages(images.Pictures):
    """Images of a dataset, their captions, and the published part of each.

    `files` are relative to `root`; `captions` holds a list for each; `official` (N,) is one of
    `PARTS`, or None when there is no published split; `tables` are what else is read; `domains`
    (N,) are kinds of images that are reported apart, where there are any.
    """

    root: Path
    files: list[str]
    captions: list[list[str]]
    official: np.ndarray | None
    tables: tuple[Path, ...] = ()
    domains: np.ndarray | None = None


def from_table(file: Path) -> CaptionedImages:
    """Read a CSV file, a line a caption: `image`, `caption` and, if published, `split`.

    Raises StudyError as `own_table`, and for an image that is in two parts.
    """
    rows = tables.own_table(file, ["image", "caption"])
    if "part" in rows:
        both = "`{image}` is of {part}, and of {first_part} above; give all its lines one split"
        tables.refuse_others(rows, "image", "part", both)
    groups = rows.groupby("image", sort=False)
    captions = groups["caption"].agg(list)
    official = groups["part"].first().to_numpy("str") if "part" in rows else None
    return CaptionedImages(file.parent, [*captions.index], [*captions], official, (file,))


def flickr8k(folder: Path) -> CaptionedImages:
    """Read Flickr8k by its official splits.

    M. Hodosh, P. Young, J. Hockenmaier, JAIR 47, 2013. `Flicker8k_Dataset/*.jpg` and, in
    `Flickr8k_text/` or beside it, `Flickr8k.token.txt` (`<image>#<k>`, tab, caption) and
    `Flickr_8k.{train,dev,test}Images.txt`. The published token file has captions of an image that
    does not exist, so only images of a split must be there. In place of the token file there may
    be `captions.txt`, a CSV file with the columns `image` and `caption`, and `Images/`, as at
    Kaggle; without any of the lists beside, the parts are then drawn.
    Raises StudyError when such an image is missing, has no caption, or is listed twice.
    """
    file = text_file(folder, TOKENS, KAGGLE)
    own = file.name == KAGGLE
    captions = comma_separated(file) if own else token_captions(file)
    if own and not text_files(folder, *LISTS.values()):
        return published(folder, captions[["image"]].drop_duplicates(), captions, (file,))
    listed = pd.concat(
        read_lines(text_file(folder, name), "(?P<image>.+)", "an image").assign(part=part)
        for part, name in LISTS.items()
    )
    return published(folder, listed, captions, (file,) if own else ())


def flickr30k(folder: Path) -> CaptionedImages:
    """Read Flickr30k as at Kaggle; its parts are drawn, see `karpathy` for the usual ones.

    P. Young, A. Lai, M. Hodosh, J. Hockenmaier, TACL 2, 2014. `results.csv` with `<image>| <k>|
    <caption>`, of whose published lines one lacks the second `|`, or `captions.txt` as Flickr8k.
    Raises StudyError as `flickr8k`.
    """
    file = text_file(folder, RESULTS, KAGGLE)
    if file.name == KAGGLE:
        captions = comma_separated(file)
    else:
        pattern = r"(?P<image>[^|]+?)\s*\|\s*(?P<number>\d+)(?:\s*\||\s)\s*(?P<caption>.+)"
        form = "an image, a number and a caption, with | between"
        captions = numbered(read_lines(file, pattern, form, header="image_name|"))
    return published(folder, captions[["image"]].drop_duplicates(), captions, (file,))


def coco(folder: Path) -> CaptionedImages:
    """Read COCO: trained on `train2017/`, tested on `val2017/`, validation images are drawn.

    T.-Y. Lin et al., ECCV 2014; X. Chen et al., arXiv:1504.00325. Captions of both are in
    `annotations/captions_{train,val}2017.json`. Raises StudyError as `annotated` and `published`.
    """
    files = {part: text_file(folder, f"captions_{name}.json") for part, name in COCO.items()}
    read = [annotated(file, COCO[part]) for part, file in files.items()]
    listed = pd.concat(one.assign(part=part) for part, (one, _) in zip(files, read, strict=True))
    captions = pd.concat(captions for _, captions in read)
    return published(folder, listed, captions, tuple(files.values()), whole=False)


def nocaps(folder: Path) -> CaptionedImages:
    """Read nocaps, which is tested on alone, its domains apart (H. Agrawal et al., ICCV 2019).

    The validation images of Open Images in `images/`, and `nocaps_val_4500_captions.json`, where an
    image says whether what it shows is in COCO: `domain`. Raises StudyError as `coco`.
    """
    file = text_file(folder, NOCAPS)
    listed, captions = annotated(file)
    return published(folder, listed.assign(part="test"), captions, (file,), whole=False)


def karpathy(folder: Path) -> CaptionedImages:
    """Read a dataset by the splits of A. Karpathy, L. Fei-Fei, CVPR 2015: `dataset_<name>.json`.

    Flickr8k, Flickr30k and COCO, whose images may lie in the folders of 2014, as published, or
    those of 2017. Raises StudyError when the file is not of that form or an image is missing or
    listed twice.
    """
    file = text_file(folder, f"dataset_{folder.name}.json")
    with content(file, "`images` with filename, split and sentences") as entries:
        listed = [
            (placed(folder, entry), KARPATHY_PARTS[entry["split"]]) for entry in entries["images"]
        ]
        said = [
            (image, sentence["raw"].strip())
            for (image, _), entry in zip(listed, entries["images"], strict=True)
            for sentence in entry["sentences"]
        ]
    rows = pd.DataFrame(listed, [str(file)] * len(listed), ["image", "part"])
    tables = () if folder.name == "flickr8k" else (file,)
    return published(folder, rows, pd.DataFrame(said, columns=["image", "caption"]), tables)


def placed(folder: Path, entry: dict[str, Any]) -> str:
    """Return where the image of one of Karpathy's entries lies, by its name or COCO number."""
    names = ["/".join(filter(None, (entry.get("filepath"), str(entry["filename"]))))]
    if "cocoid" in entry:
        names += [f"{part}/{entry['cocoid']:012d}.jpg" for part in COCO.values()]
    return next((name for name in names if (folder / name).is_file()), names[0])


@contextmanager
def content(file: Path, form: str) -> Iterator[Any]:
    """Yield what a JSON file says; StudyError for another form, as whatever fails in the block."""
    try:
        yield json.loads(read_text(file))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StudyError(f"{file}: expected {form} ({error!r}); use the published file") from None


def annotated(file: Path, folder: str = "") -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the images in a `folder` that a file of COCO's form lists, and their captions.

    Raises StudyError when it is not of that form, and for a caption that is there twice or of an
    image that is not listed.
    """
    form = "`images` with id and file_name, and `annotations` with id, image_id and caption"
    with content(file, form) as said:
        images = pd.DataFrame(
            {"key": one["id"], "image": "/".join(filter(None, (folder, one["file_name"])))}
            | {name: one[name] for name in ("domain",) if name in one}
            for one in said["images"]
        )
        captions = pd.DataFrame(
            {"id": one["id"], "key": one["image_id"], "caption": one["caption"].strip()}
            for one in said["annotations"]
        )
        images.index, captions.index = ([str(file)] * len(one) for one in (images, captions))
        names = captions.assign(image=captions["key"].map(images.set_index("key")["image"]))
    refuse(names, names["id"].duplicated(), "caption {id} is there twice; keep one")
    lost = "caption {id} is of image {key}, which is not listed; use the published file"
    refuse(names, names["image"].isna(), lost)
    return images, names


def comma_separated(file: Path) -> pd.DataFrame:
    """Return `image` and `caption` of a CSV file as at Kaggle, whatever else it has."""
    rows = tables.read_table(file).rename(columns={"image_name": "image", "comment": "caption"})
    tables.refuse_columns(file, rows, ["image", "caption"], ["comment_number"])
    return rows


def text_files(folder: Path, *names: str) -> list[Path]:
    """Return which of these texts are there; some archives have a folder of their own for them."""
    places = [folder / place / name for name in names for place in TEXTS]
    return [file for file in places if file.is_file()]


def text_file(folder: Path, *names: str) -> Path:
    """Return the first of these texts that is there; raises StudyError when there is none."""
    for file in text_files(folder, *names):
        return file
    home = "Flickr8k_text" if folder.name == "flickr8k" else ""
    others = "".join(f", nor {name}" for name in names[1:])
    raise StudyError(f"{folder / home / names[0]}: no such file{others}; put it there")


def published(
    folder: Path,
    listed: pd.DataFrame,
    captions: pd.DataFrame,
    tables: tuple[Path, ...] = (),
    whole: bool = True,
) -> CaptionedImages:
    """Return the images of a folder that lists name: rows of `image`, maybe `part` and `domain`.

    `captions` has rows of `image` and `caption`. A name may be written in other case than that of
    the file. Raises StudyError when an image is not there, has no caption or is listed twice, and
    when a part of a split that should be `whole` is empty.
    """
    roots = [folder / name for name in ROOTS.get(folder.name, ROOTS["flickr8k"])]
    root = next((root for root in roots if root.is_dir()), None)
    if root is None:
        others = "".join(f", nor {other.name}" for other in roots[1:])
        raise StudyError(f"{roots[0]}: no such folder{others}; unpack the images there")
    files = [*root.glob("*"), *(root.glob("*/*") if root == folder else ())]
    names, there = listed["image"], {file.relative_to(root).as_posix() for file in files}
    said = captions[captions["caption"] != ""].groupby("image", sort=False)["caption"].agg(list)
    refuse(listed, names.duplicated(), "`{image}` is listed twice; keep one")
    refuse(listed, ~names.isin(said.index), "`{image}` has no caption; use the published file")
    known = {name.casefold(): name for name in there} | {name: name for name in there}
    files = names.map(lambda name: known.get(name) or known.get(name.casefold()))
    missing = f"`{{image}}` is not in {root.name}; unpack the images again"
    refuse(listed, files.isna() | files.duplicated(), missing)
    official = listed["part"].to_numpy("str") if "part" in listed else None
    if official is not None and whole:
        refuse_empty(official, root, "listed images")
    domains = listed["domain"].to_numpy("str") if "domain" in listed else None
    return CaptionedImages(root, [*files], [*said[names]], official, tables, domains)


READERS = {"flickr8k": flickr8k, "flickr30k": flickr30k, "coco": coco, "nocaps": nocaps}
