"""What the flexible margin costs beside a plain one, by the number of label levels (claim T8)."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from studies.learning.compute import interleaved, threads
from studies.reporting.bootstrap import bootstrap, interval
from studies.triplets.loss import FlexibleMarginLoss

LEVELS = (1, 2, 3, 4, 6, 8)
MARGINS = (2.0, 0.5)  # of the top and of the lowest level; a plain margin is that of the lowest
DIMENSIONS = 128


def levels(
    counts: Sequence[int] = LEVELS, batch: int = 162, mining: str = "semihard", rounds: int = 41
) -> pd.DataFrame:
    """Return the time of loss and gradient by the number of levels, one row each.

    `levels`; `milliseconds` of a step of `batch` images; `ratio` to a plain margin on the classes
    alone, the median over the rounds of one step of each; `ratio_low` and `ratio_high`, its 95 %
    bootstrap interval. One thread, processor time.
    """
    embeddings, classes = examples(batch)
    plain = FlexibleMarginLoss(margins(1), mining=mining)
    contenders = {"plain": step(plain, embeddings, classes[:, None])}
    for count in counts:
        flexible = FlexibleMarginLoss(margins(count), mining=mining)
        contenders[str(count)] = step(flexible, embeddings, tree(classes, count))
    with threads(1):
        seconds = interleaved(contenders, rounds)
    rows = []
    for count in counts:
        ratios = seconds[str(count)] / seconds["plain"]
        medians = bootstrap(lambda drawn, _, r=ratios: float(np.median(r[drawn])), rounds)
        low, high = interval(medians)
        rows.append(
            {
                "levels": count,
                "milliseconds": 1e3 * float(np.median(seconds[str(count)])),
                "ratio": float(np.median(ratios)),
                "ratio_low": low,
                "ratio_high": high,
            }
        )
    return pd.DataFrame(rows)


def examples(batch: int) -> tuple[Tensor, Tensor]:
    """Return embeddings (B, 128) as of an untrained network and classes (B,), two images each."""
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(batch, DIMENSIONS, generator=generator, requires_grad=True)
    return embeddings, torch.arange(batch) // 2


def tree(classes: Tensor, count: int) -> Tensor:
    """Return labels (B, count) of a tree over the classes (B,), which are its lowest level.

    Each level halves the one below it often enough to leave a few groups at the top.
    """
    halvings = np.log2(max(2, int(classes.max()) + 1)) - 1
    shifts = np.linspace(halvings, 0, count).round() if count > 1 else np.zeros(1)
    return classes[:, None] >> torch.from_numpy(shifts.astype(np.int64))


def margins(count: int) -> list[float]:
    """Return the margins of a tree of so many levels, top first: `[2, 1, 0.5]` for three."""
    top, lowest = MARGINS
    return np.geomspace(lowest, top, count)[::-1].tolist()


def step(loss: FlexibleMarginLoss, embeddings: Tensor, labels: Tensor) -> Callable[[], Tensor]:
    """Return a function that computes the loss and its gradient, and returns the gradient."""
    return lambda: torch.autograd.grad(loss(embeddings, labels), embeddings)[0]
