"""Time and memory of mining and loss against pytorch-metric-learning, in one run.

Ours: flexible margin over three levels, semi-hard, closest. Theirs: semi-hard miner and
TripletMarginLoss, one margin. Forward and backward, four images a class, one thread, processor
time, medians of interleaved rounds; memory is the peak of a fresh process over its start.
"""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import torch
from lines import heading, line
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from torch import Tensor

from studies.learning.compute import interleaved, threads
from studies.triplets.loss import FlexibleMarginLoss

ROUNDS = {162: 31, 1024: 7}


def batch(size: int) -> tuple[Tensor, Tensor]:
    """Return embeddings (B, 128) and labels (B, 3), four images a class."""
    fine = torch.arange(size) // 4
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(size, 128, generator=generator, requires_grad=True)
    return embeddings, torch.stack([fine // 16, fine // 4, fine], 1)


def ours(embeddings: Tensor, labels: Tensor) -> None:
    """Run one step of the flexible margin."""
    FlexibleMarginLoss((2.0, 1.0, 0.5))(embeddings, labels).backward()


def theirs(embeddings: Tensor, labels: Tensor) -> None:
    """Run one step of the other library."""
    triplets = TripletMarginMiner(margin=0.5, type_of_triplets="semihard")(embeddings, labels[:, 2])
    TripletMarginLoss(margin=0.5)(embeddings, labels[:, 2], triplets).backward()


def peak(name: str, size: int) -> float:
    """Return the MiB that a step adds to a fresh process at its peak."""
    command = [sys.executable, __file__, name, str(size)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(step, size: int) -> None:
    """Print the MiB that a step adds to this process at its peak."""
    step(*batch(8))  # what is allocated once, whatever the batch
    embeddings, labels = batch(size)
    before = psutil.Process().memory_info().rss
    step(embeddings, labels)
    # getrusage would report the parent's peak, which a child starts from
    status = Path("/proc/self/status").read_text()
    high = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    print(max(high - before, 0) / 2**20)


def main() -> None:
    """Print the lines of every batch size."""
    if len(sys.argv) > 1:
        with threads(1):
            print_peak({"ours": ours, "theirs": theirs}[sys.argv[1]], int(sys.argv[2]))
        return
    heading("mining and loss, forward and backward, against pytorch-metric-learning")
    for size, rounds in ROUNDS.items():
        given = batch(size)
        with threads(1):
            seconds = interleaved(
                {"ours": lambda g=given: ours(*g), "theirs": lambda g=given: theirs(*g)}, rounds
            )
        mine, other = (1e3 * np.median(seconds[name]) for name in ("ours", "theirs"))
        ratio = float(np.median(seconds["ours"] / seconds["theirs"]))
        line(f"time, B = {size}", f"{mine:.1f} ms", f"{other:.1f} ms", ratio, most=0.5)
    size = max(ROUNDS)
    mine, other = (peak(name, size) for name in ("ours", "theirs"))
    line(f"memory, B = {size}", f"{mine:.0f} MiB", f"{other:.0f} MiB", mine / other, most=0.1)


if __name__ == "__main__":
    main()
