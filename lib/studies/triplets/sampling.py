"""Batches of two images of each class, the same for every approach."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from studies.triplets.data import LabelledImages
from studies.triplets.params import Parameters


class Examples(Dataset):
    """Inputs and labels, fetched a whole batch at a time: index lists in, tensors out."""

    def __init__(self, inputs: np.ndarray, labels: np.ndarray) -> None:
        self.inputs, self.labels = inputs, labels

    def __getitem__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Return inputs (B, ...) and labels (B, H)."""
        return torch.from_numpy(self.inputs[indices]), torch.from_numpy(self.labels[indices])

    def __len__(self) -> int:
        return len(self.labels)


class ClassBatches(Sampler):
    """Batches of k images of each class, the same for every approach with the same seed.

    Each epoch shuffles every class and walks through it, starting again when it is used up, so
    images of a class are seen equally often. A class of fewer than k images gives what it has.
    `labels` (n,) are class indices, `rows` (n,) what the batches hold.
    """

    def __init__(self, labels: np.ndarray, rows: np.ndarray, k: int, seed: int) -> None:
        self.members = [rows[labels == label] for label in np.unique(labels)]
        self.k, self.seed, self.epoch = k, seed, 0
        batch = sum(min(k, len(members)) for members in self.members)
        self.steps = max(1, round(len(rows) / batch))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        shuffled = [rng.permutation(members) for members in self.members]
        for step in range(self.steps):
            batch: list[int] = []
            for members in shuffled:
                k = min(self.k, len(members))
                batch += np.take(members, range(step * k, step * k + k), mode="wrap").tolist()
            yield batch

    def __len__(self) -> int:
        return self.steps


class Chunks(Sampler):
    """Rows in order, a fixed number at a time: for validation."""

    def __init__(self, rows: np.ndarray, size: int) -> None:
        self.rows, self.size = rows, size

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.rows), self.size):
            yield self.rows[start : start + self.size].tolist()

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)


def training_batches(
    dataset: LabelledImages, parts: np.ndarray, parameters: Parameters
) -> ClassBatches:
    """Return the batches of the training set, of epoch 0 until told otherwise."""
    rows = np.flatnonzero(parts == "train")
    return ClassBatches(
        dataset.labels[rows, -1], rows, parameters.images_per_class, parameters.seed
    )


def loader(examples: Examples, batches: Sampler) -> DataLoader:
    """Return a loader whose `sampler` makes whole batches, so that Lightning sets its epoch."""
    return DataLoader(examples, sampler=batches, batch_size=None)
