"""Batches of rows, in an order of its own every epoch."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler


class Batches(Sampler):
    """Batches of rows: in an order of its own every epoch, or as they come when `seed` is None."""

    def __init__(self, rows: np.ndarray, size: int, seed: int | None) -> None:
        self.rows, self.size, self.seed, self.epoch = rows, size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rows = self.rows
        if self.seed is not None:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        for start in range(0, len(rows), self.size):
            yield rows[start : start + self.size].tolist()

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)
