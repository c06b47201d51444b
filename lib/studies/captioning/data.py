"""Captioned images, their parts, and what the network reads of them."""

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

import kitchen
from studies import demo, paths
from studies.captioning.captions import CaptionedImages, flickr8k, karpathy
from studies.captioning.params import Parameters
from studies.captioning.tokens import Words
from studies.inputs import images
from studies.inputs.features import features
from studies.inputs.splits import refuse_empty

__all__ = ["CaptionedImages", "Examples", "inputs", "read", "split"]


def read(parameters: Parameters) -> CaptionedImages:
    """Return the images and captions that the parameters name; raises StudyError if not there."""
    parameters.require_data()
    source = parameters.source
    if source.name == "flickr8k":
        reader = flickr8k if source.splits == "official" else karpathy
        return reader(paths.data() / "flickr8k")
    root = demo.kitchen(source.per_variant, source.seed) / "images"
    plates = kitchen.plates(source.per_variant, source.seed)
    captions = [kitchen.captions(one, source.seed) for one in plates]
    return CaptionedImages(root, [one.file for one in plates], captions, None)


def split(dataset: CaptionedImages, parameters: Parameters) -> np.ndarray:
    """Return (N,) `train`, `validation` or `test`: as published, or by lot.

    Raises StudyError when a part would be empty.
    """
    if dataset.official is not None:
        return dataset.official
    count = len(dataset.files)
    order = np.random.default_rng(parameters.split_seed).permutation(count)
    tests = round(count * parameters.test_share)
    validations = round(count * parameters.validation_share)
    parts = np.full(count, "train", dtype="<U10")
    parts[order[:tests]] = "test"
    parts[order[tests : tests + validations]] = "validation"
    refuse_empty(parts, dataset.root, "images")
    return parts


def inputs(dataset: CaptionedImages, parameters: Parameters) -> np.ndarray:
    """Return what the network reads, in the order of `files`, memory-mapped.

    (N, 3, S, S) uint8 pixels, or (N, T, F) float16 tokens of a frozen backbone.
    """
    source = parameters.network.encoder.source
    if source.name == "backbone" and not source.trained:
        return features(dataset.paths, dataset.root, source.weights, pooled=False, dtype="float16")
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
