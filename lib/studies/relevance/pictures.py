"""A classifier of the images that captions were found with, to set beside that of the captions."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from studies.inputs import images
from studies.inputs.features import features
from studies.learning import compute
from studies.learning.networks import ScratchCNN
from studies.relevance.data import Collection
from studies.relevance.params import Parameters
from studies.relevance.systems import Downstream, Features, Pixels
from studies.runs.folder import write_weights


class Pictures(Dataset):
    """Batches of images: rows of captions in, images, classes and weights out.

    Args:
        inputs: of the images of N captions, see `inputs`.
        target: (N,), their class numbers.
        weight: (N,), what each counts; None for 1.

    """

    def __init__(
        self, inputs: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None
    ) -> None:
        self.inputs, self.target, self.weight = inputs, target, weight
        # images are of one length, so that batches of texts and of images are drawn alike
        self.lengths = np.ones(len(target), dtype=np.int64)

    def __len__(self) -> int:
        return len(self.target)

    def __getitem__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """Return inputs (B, ...), classes (B,) and weights (B,)."""
        chosen = np.asarray(rows)
        weight = np.ones(len(chosen)) if self.weight is None else self.weight[chosen]
        return (
            torch.from_numpy(self.inputs[chosen]),
            torch.from_numpy(self.target[chosen]),
            torch.from_numpy(weight).float(),
        )


class PictureClassifier(nn.Module):
    """A trunk, dropout, and a dense layer."""

    def __init__(self, trunk: nn.Module, width: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map pixels (B, 3, S, S) uint8 or features (B, F) to logits (B, C)."""
        given = compute.to_input(inputs, self.dense.weight.device)
        return self.dense(self.dropout(self.trunk(given)))


def build(given: Downstream, classes: int, width: int) -> PictureClassifier:
    """Return a fresh network over so many classes; `width` is that of features, if it reads any."""
    if given.encoder.name == "features":
        return PictureClassifier(nn.Identity(), width, given.dropout, classes)
    trunk = ScratchCNN(given.encoder.size, tuple(given.encoder.widths))
    return PictureClassifier(trunk, trunk.out_features, given.dropout, classes)


def root(collection: Collection) -> Path:
    """Return the folder that the images of all classes lie in."""
    return Path(os.path.commonpath(collection.folders.values()))


def inputs(encoder: Pixels | Features, paths: Sequence[Path], root: Path) -> np.ndarray:
    """Return what a network reads of images, in their order, memory-mapped.

    (N, 3, S, S) uint8 pixels, or (N, F) features. Raises StudyError when an image is missing or
    cannot be read.
    """
    if encoder.name == "features":
        return features(paths, root, encoder.weights)
    return images.load(paths, encoder.size, root)


def pictures(
    parameters: Parameters, collection: Collection, weight: np.ndarray | None = None
) -> Pictures:
    """Return the images of all captions; `weight` (N,) is what each counts."""
    found = inputs(parameters.encoder, collection.files, root(collection))
    return Pictures(found, collection.target, weight)


def fingerprint(parameters: Parameters, collection: Collection) -> str:
    """Return a digest of what a system reads: captions and class texts, and images if it does.

    Raises StudyError when an image is missing.
    """
    if not parameters.sees_images:
        return collection.fingerprint
    read = collection.fingerprint + images.fingerprint(collection.files, root(collection))
    return hashlib.blake2b(read.encode(), digest_size=16).hexdigest()


@dataclass
class Viewer:
    """A trained network with the classes that it knows."""

    network: PictureClassifier
    wnids: list[str]
    names: list[str]
    parameters: Parameters

    def logits(self, paths: Sequence[Path]) -> np.ndarray:
        """Return what it says of N image files anywhere, (N, C)."""
        # torch warns of what cannot be written, as a memory map cannot
        given = np.array(inputs(self.parameters.encoder, paths, Path("/")))
        size = self.parameters.training.batch
        found = compute.outputs(self.network, given, self.parameters.precision, size)
        return torch.cat(found).float().cpu().numpy()

    def save(self, file: Path) -> None:
        """Write weights and classes as one safetensors file, whole or not at all."""
        write_weights(file, self.network, {"wnids": self.wnids, "names": self.names})
