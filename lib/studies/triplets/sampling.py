"""Batches of two images of each class, the same for every approach."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from studies.triplets import data
from studies.triplets.params import Parameters
from studies.triplets.readers import LabelledImages


class ClassBatches(Sampler):
    """Batches of k images of each class, the same for every approach with the same seed.

    Each `epoch` shuffles every class and walks through it, starting again when it is used up, so
    images of a class are seen equally often. A class of fewer than k images gives what it has.
    `labels` (n,) are class indices, `rows` (n,) what the batches hold; an epoch shows about
    `images` of them.
    """

    def __init__(
        self, labels: np.ndarray, rows: np.ndarray, k: int, seed: int, images: int
    ) -> None:
        self.members = [rows[labels == label] for label in np.unique(labels)]
        self.each = [min(k, len(members)) for members in self.members]
        self.steps = max(1, round(images / sum(self.each)))
        self.seed, self.epoch = seed, 0

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        walks = [
            np.resize(rng.permutation(members), (self.steps, k))
            for k, members in zip(self.each, self.members, strict=True)
        ]
        yield from np.concatenate(walks, axis=1).tolist()

    def __len__(self) -> int:
        return self.steps


def roles(dataset: LabelledImages, parts: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Return (N,) what each image is for: its part, unless the parameters keep it out of training.

    Of a class held out, training images become `gallery`, which k-NN looks among but nothing is
    learned from, and validation images `spare`. Seed by seed the next classes of one order are
    held out, so that a few seeds hold out every class. Training images beyond `train_per_class` are
    `spare` as well; which ones depends on `split_seed` alone, and the fewer are among the more. So
    are images that the split `spare_test_of` tests on.
    """
    rng = np.random.default_rng([parameters.split_seed, 1])
    classes = rng.permutation(len(dataset.classes))
    held = np.roll(classes, -parameters.seed * parameters.held_out)[: parameters.held_out]
    out = np.isin(dataset.class_index, held)
    roles = np.where(out & (parts == "train"), "gallery", parts)
    roles[out & (parts == "validation")] = "spare"
    if parameters.spare_test_of is not None:
        other = parameters.model_copy(update={"split": parameters.spare_test_of})
        roles[(data.split(dataset, other) == "test") & (parts != "test")] = "spare"
    if parameters.train_per_class is not None:
        for label in range(len(dataset.classes)):
            mine = dataset.class_index == label
            members = rng.permutation(np.flatnonzero(mine & (parts == "train")))
            members = members[roles[members] != "spare"]
            roles[members[parameters.train_per_class :]] = "spare"
    return roles


def training_batches(
    dataset: LabelledImages, used: np.ndarray, parameters: Parameters
) -> ClassBatches:
    """Return the batches of what is trained on, of epoch 0 until told otherwise.

    `used` (N,) is what `roles` says. Under `train_per_class` an epoch shows as many images as it
    would without, the few more often: systems are compared at equal steps.
    """
    rows = np.flatnonzero(used == "train")
    unlimited = parameters.model_copy(update={"train_per_class": None})
    whole = roles(dataset, data.split(dataset, parameters), unlimited)
    labels, images = dataset.class_index[rows], np.count_nonzero(whole == "train")
    return ClassBatches(labels, rows, parameters.images_per_class, parameters.seed, images)
