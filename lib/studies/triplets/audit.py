"""Measured once beside the runs: near-duplicates of test images, and what label levels cost."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from studies.inputs import images
from studies.learning.compute import interleaved, threads
from studies.triplets.figures import Results
from studies.triplets.loss import FlexibleMarginLoss

LEVELS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
MARGINS = (2.0, 0.5)  # of the top and of the lowest level; a plain margin is that of the lowest
DIMENSIONS = 128


def counts(bits: np.ndarray) -> pd.DataFrame:
    """Return how many test images have a training image within so many of the 64 bits."""
    distances = (0, 4, 8, images.DUPLICATE_BITS, 12)  # even, since hashes have 32 ones each
    near = [int((bits <= most).sum()) for most in distances]
    shares = [f"{count / len(bits):.1%}" for count in near]
    return pd.DataFrame({"bits apart, at most": distances, "test images": near, "share": shares})


def without(results: Results, bits: np.ndarray) -> pd.DataFrame:
    """Return macro-F1 and severe errors on all test images and on those without a near-duplicate.

    Means over seeds.
    """
    chosen = {"all": bits >= 0, "without": bits > images.DUPLICATE_BITS}
    shown = {"macro-F1": ("macro_f1", "{:.3f}"), "severe errors": ("severe_errors", "{:.1f}")}
    rows = []
    for system, runs in results.plain().systems.items():
        metrics, row = [results.metrics(run) for run in runs], {"system": system}
        for name, (metric, form) in shown.items():
            for heading, items in chosen.items():
                weights = items[None].astype(np.float64)
                # a count is scaled to all items, so that resamples of clusters compare
                part = items.mean() if metric == "severe_errors" else 1.0
                values = [part * float(one[metric](weights)[0]) for one in metrics]
                row[f"{name}, {heading}"] = form.format(np.mean(values))
        rows.append(row)
    return pd.DataFrame(rows)


# What the flexible margin costs beside a plain one, by the number of label levels (claim T8).


def levels(counts: Sequence[int] = LEVELS, batch: int = 162, rounds: int = 41) -> pd.DataFrame:
    """Return the time of loss and gradient by the number of levels, one row a round and number.

    `levels`, `round`; `milliseconds` of a step of `batch` images; `ratio` to a plain margin on the
    classes alone in the same round. One thread, processor time.
    """
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(batch, DIMENSIONS, generator=generator, requires_grad=True)
    classes = torch.arange(batch) // 2

    def step(labels: Tensor) -> Callable[[], Tensor]:
        loss = FlexibleMarginLoss(margins(labels.shape[1]))
        return lambda: torch.autograd.grad(loss(embeddings, labels), embeddings)[0]

    contenders = {str(count): step(tree(classes, count)) for count in counts}
    with threads(1):
        seconds = interleaved({"plain": step(classes[:, None]), **contenders}, rounds)
    frame = pd.DataFrame({count: seconds[str(count)] for count in counts}).rename_axis("round")
    frame = frame.melt(var_name="levels", value_name="seconds", ignore_index=False).reset_index()
    frame["ratio"] = frame["seconds"] / seconds["plain"][frame["round"]]
    frame["milliseconds"] = 1e3 * frame["seconds"]
    return frame[["levels", "round", "milliseconds", "ratio"]]


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
