"""Captioned images: read from published layouts, divided into parts, and given to the network."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

import kitchen
from studies import paths
from studies.captioning.params import Parameters
from studies.captioning.tokens import Words
from studies.inputs import images, reading
from studies.inputs.features import features
from studies.inputs.reading import PARTS, divided, read_text, refuse_empty, tell_parts
from studies.inputs.tables import own_table, read_lines, read_table, refuse, refuse_others
from studies.paths import StudyError

TOKENS, KARPATHY = "Flickr8k.token.txt", "dataset_flickr8k.json"
KAGGLE = "captions.txt"  # how most people have it
ROOTS = "Flicker8k_Dataset", "Flickr8k_Dataset", "Images"  # published, spelt rightly, Kaggle
LISTS = {
    **{"train": "Flickr_8k.trainImages.txt", "validation": "Flickr_8k.devImages.txt"},
    "test": "Flickr_8k.testImages.txt",
}
# Karpathy's own names; restval images are added to training, as is usual
KARPATHY_PARTS = {"train": "train", "restval": "train", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class CaptionedImages(images.Pictures):
    """Images of a dataset, their captions, and the published part of each.

    `files` are relative to `root`; `captions` holds a list for each; `official` (N,) is one of
    `PARTS`, or None when there is no published split; `tables` are what else is read.
    """

    root: Path
    files: list[str]
    captions: list[list[str]]
    official: np.ndarray | None
    tables: tuple[Path, ...] = ()


def read(parameters: Parameters) -> CaptionedImages:
    """Return the images and captions that the parameters name; raises StudyError if not there."""
    parameters.require_data()
    source = parameters.source
    if source.name == "flickr8k":
        reader = flickr8k if source.splits == "official" else karpathy
        return reader(paths.data() / "flickr8k")
    if source.name == "table":
        return from_table(paths.data() / source.file)
    root = reading.kitchen(source.per_variant, source.seed) / "images"
    plates = kitchen.plates(source.per_variant, source.seed)
    captions = [kitchen.captions(one, source.seed) for one in plates]
    return CaptionedImages(root, [one.file for one in plates], captions, None)


def from_table(file: Path) -> CaptionedImages:
    """Read a CSV file, a line a caption: `image`, `caption` and, if published, `split`.

    Raises StudyError as `own_table`, and for an image that is in two parts.
    """
    rows = own_table(file, ["image", "caption"])
    if "part" in rows:
        both = "`{image}` is of {part}, and of {first_part} above; give all its lines one split"
        refuse_others(rows, "image", "part", both)
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
    captions = read_table(file, ["image", "caption"]) if own else token_captions(file)
    groups = captions[captions["caption"] != ""].groupby("image")["caption"].agg(list)
    if own and not text_files(folder, *LISTS.values()):
        listed = captions[["image"]].drop_duplicates()
    else:
        listed = pd.concat(
            read_lines(text_file(folder, name), "(?P<image>.+)", "an image").assign(part=part)
            for part, name in LISTS.items()
        )
    listed["captions"] = [groups.get(image, []) for image in listed["image"]]
    return published(folder, listed, (file,) if own else ())


def karpathy(folder: Path) -> CaptionedImages:
    """Read Flickr8k by the splits of A. Karpathy, L. Fei-Fei, CVPR 2015: `dataset_flickr8k.json`.

    Raises StudyError when the file is not of that form or an image is missing or listed twice.
    """
    file = text_file(folder, KARPATHY)
    try:
        entries = [
            (
                str(entry["filename"]),
                KARPATHY_PARTS[entry["split"]],
                list(filter(None, (sentence["raw"].strip() for sentence in entry["sentences"]))),
            )
            for entry in json.loads(read_text(file))["images"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StudyError(
            f"{file}: expected `images` with filename, split and sentences ({error!r}); use the "
            "published file"
        ) from None
    columns = ["image", "part", "captions"]
    return published(folder, pd.DataFrame(entries, [str(file)] * len(entries), columns))


def token_captions(file: Path) -> pd.DataFrame:
    """Return the lines of a token file: `image`, `number` and `caption`, all text.

    Raises StudyError for a line that is no `<image>#<number>`, tab, caption, or is there twice.
    """
    pattern = r"(?P<image>[^#\t]*)#(?P<number>\d+)\t\s*(?P<caption>.+)"
    rows = read_lines(file, pattern, "`<image>#<number>`, a tab and a caption")
    twice = rows.duplicated(["image", "number"])
    refuse(rows, twice, "`{image}#{number}` is there twice; keep one line")
    return rows


def text_files(folder: Path, *names: str) -> list[Path]:
    """Return which of these texts are there; the published archive has no top folder of its own."""
    places = [place / name for name in names for place in (folder / "Flickr8k_text", folder)]
    return [file for file in places if file.is_file()]


def text_file(folder: Path, *names: str) -> Path:
    """Return the first of these texts that is there; raises StudyError when there is none."""
    for file in text_files(folder, *names):
        return file
    raise StudyError(f"{folder / 'Flickr8k_text' / names[0]}: no such file; put it there")


def published(folder: Path, listed: pd.DataFrame, tables: tuple[Path, ...] = ()) -> CaptionedImages:
    """Return the images of a folder that lists name: rows of `image`, `captions`, maybe `part`.

    Raises StudyError when an image is not there, has no caption or is listed twice, and when a part
    is empty.
    """
    roots = [folder / name for name in ROOTS]
    root = next((root for root in roots if root.is_dir()), None)
    if root is None:
        raise StudyError(f"{roots[0]}: no such folder; unpack the images of Flickr8k there")
    images, there = listed["image"], {file.name for file in root.iterdir()}
    refuse(listed, images.duplicated(), "`{image}` is listed twice; keep one")
    none = listed["captions"].map(len) == 0
    refuse(listed, none, "`{image}` has no caption; use the published file")
    missing = f"`{{image}}` is not in {root.name}; unpack the images again"
    refuse(listed, ~images.isin(there), missing)
    official = listed["part"].to_numpy("str") if "part" in listed else None
    if official is not None:
        refuse_empty(official, root, "listed images")
    return CaptionedImages(root, [*images], [*listed["captions"]], official, tables)


def split(dataset: CaptionedImages, parameters: Parameters) -> np.ndarray:
    """Return (N,) `train`, `validation` or `test`, see `divided`.

    Raises StudyError when a part would be empty.
    """
    official = dataset.official
    strata = np.zeros(len(dataset.files))
    parts = divided(strata, parameters, dataset.root, "images", official=official)
    numbers = {"images": len(parts), "captions": sum(map(len, dataset.captions))}
    tell_parts(parameters.source, numbers, parts, official)
    return parts


def overview(dataset: CaptionedImages, parts: np.ndarray) -> pd.DataFrame:
    """Return how many images and captions every part holds, and how long captions are."""
    rows = []
    for part in PARTS:
        captions = [dataset.captions[row] for row in np.flatnonzero(parts == part)]
        lengths = [len(caption.split()) for own in captions for caption in own]
        rows.append((part, len(captions), len(lengths), f"{np.mean(lengths):.1f}"))
    return pd.DataFrame(rows, columns=["part", "images", "captions", "words a caption"])


def inputs(dataset: CaptionedImages, parameters: Parameters) -> np.ndarray:
    """Return what the network reads, in the order of `files`, memory-mapped.

    (N, 3, S, S) uint8 pixels, or (N, T, F) float16 tokens of a frozen backbone.
    """
    if weights := parameters.network.frozen:
        return features(dataset.paths, dataset.root, weights, pooled=False, dtype="float16")
    return images.load(dataset.paths, parameters.image_size, dataset.root)


def training_captions(dataset: CaptionedImages, parts: np.ndarray) -> list[str]:
    """Return all captions of the training images, image by image."""
    return [text for row in np.flatnonzero(parts == "train") for text in dataset.captions[row]]


class Examples(Dataset):
    """Batches of images with all their captions: a list of rows in, tensors out."""

    def __init__(
        self, inputs: np.ndarray, captions: list[list[str]], words: Words, max_length: int
    ) -> None:
        self.inputs, self.captions = inputs, captions
        self.words, self.max_length = words, max_length

    def __getitem__(self, rows: list[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return inputs (B, ...), captions (C, L), and (C,) the place of each one's image in B."""
        captions = [caption for row in rows for caption in self.captions[row]]
        owners = [place for place, row in enumerate(rows) for _ in self.captions[row]]
        return (
            torch.from_numpy(self.inputs[np.asarray(rows)]),
            self.words.encode(captions, self.max_length),
            torch.tensor(owners),
        )

    def __len__(self) -> int:
        return len(self.captions)
