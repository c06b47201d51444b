"""Captioned images as a run needs them: read, divided into parts, and given to the network."""

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import Dataset

import kitchen
from studies import paths
from studies.captioning.params import Parameters
from studies.captioning.readers import READERS, CaptionedImages, from_table, karpathy
from studies.captioning.tokens import Words
from studies.inputs import images, reading
from studies.inputs.features import features
from studies.inputs.reading import PARTS, divided, tell_parts


def read(parameters: Parameters) -> CaptionedImages:
    """Return the images and captions that the parameters name; raises StudyError if not there."""
    parameters.require_data()
    source = parameters.source
    if source.name in READERS:
        reader = READERS[source.name] if source.splits == "official" else karpathy
        return reader(paths.data() / source.name)
    if source.name == "table":
        return from_table(paths.data() / source.file)
    root = reading.kitchen(source.per_variant, source.seed) / "images"
    plates = kitchen.plates(source.per_variant, source.seed)
    captions = [kitchen.captions(one, source.seed) for one in plates]
    return CaptionedImages(root, [one.file for one in plates], captions, None)


def split(dataset: CaptionedImages, parameters: Parameters) -> np.ndarray:
    """Return (N,) `train`, `validation` or `test`, see `divided`.

    Training images beyond `train_images` are `unused`. What learns from none is tested on any
    published test set as it is. Raises StudyError when a part would be empty.
    """
    official = dataset.official
    if official is not None and not parameters.learns:
        parts = official
    else:
        strata = np.zeros(len(dataset.files))
        parts = divided(strata, parameters, dataset.root, "images", official=official)
    if parameters.train_images:
        order = np.random.default_rng(parameters.split_seed).permutation(len(parts))
        spare = order[parts[order] == "train"][parameters.train_images :]
        parts = parts.copy()
        parts[spare] = "unused"
    numbers = {"images": len(parts), "captions": sum(map(len, dataset.captions))}
    tell_parts(parameters.source, numbers, parts, official)
    return parts


def overview(dataset: CaptionedImages, parts: np.ndarray) -> pd.DataFrame:
    """Return how many images and captions every part holds, and how long captions are."""
    rows = []
    for part in filter(set(parts).__contains__, PARTS):
        captions = [dataset.captions[row] for row in np.flatnonzero(parts == part)]
        lengths = [len(caption.split()) for own in captions for caption in own]
        rows.append((part, len(captions), len(lengths), f"{np.mean(lengths):.1f}"))
    return pd.DataFrame(rows, columns=["part", "images", "captions", "words a caption"])


def inputs(dataset: CaptionedImages, parameters: Parameters) -> np.ndarray:
    """Return what the network reads, in the order of `files`, memory-mapped.

    (N, 3, S, S) uint8 pixels, or (N, T, F) float16 tokens of a frozen backbone.
    """
    if weights := parameters.network.frozen:
        return tokens(dataset, weights, parameters.network.encoder.grid)
    return images.load(dataset.paths, parameters.image_size, dataset.root)


def tokens(dataset: CaptionedImages, weights: str, grid: int | None) -> np.ndarray:
    """Return what a frozen backbone says of the images, (N, T, F) float16, mapped from disk.

    Averaged to a grid of so many tokens a side before they are kept, unless that is None.
    """
    plan = {"pooled": False, "dtype": "float16", "grid": grid}
    return features(dataset.paths, dataset.root, weights, **plan)


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
        inputs = torch.from_numpy(self.inputs[np.asarray(rows)])
        return inputs, self.words.encode(captions, self.max_length), torch.tensor(owners)
