"""Time and memory of mining and loss against pytorch-metric-learning, in one run.

Ours: flexible margin over three levels, semi-hard, closest. Theirs: semi-hard miner and
TripletMarginLoss, one margin. Forward and backward, one thread, interleaved, medians; memory is the
peak of a fresh process over its start.
"""

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

import psutil
import torch
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner

from studies.triplets.loss import FlexibleMarginLoss

REPEATS = 9


def batch(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return embeddings (B, 128) and labels (B, 3), four images a class."""
    fine = torch.arange(size) // 4
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(size, 128, generator=generator, requires_grad=True)
    return embeddings, torch.stack([fine // 16, fine // 4, fine], 1)


def ours(embeddings: torch.Tensor, labels: torch.Tensor) -> None:
    """Run one step of the flexible margin."""
    FlexibleMarginLoss((2.0, 1.0, 0.5))(embeddings, labels).backward()


def theirs(embeddings: torch.Tensor, labels: torch.Tensor) -> None:
    """Run one step of the other library."""
    triplets = TripletMarginMiner(margin=0.5, type_of_triplets="semihard")(embeddings, labels[:, 2])
    TripletMarginLoss(margin=0.5)(embeddings, labels[:, 2], triplets).backward()


def seconds(step, size: int) -> float:
    """Return the time of one step."""
    embeddings, labels = batch(size)
    start = time.perf_counter()
    step(embeddings, labels)
    return time.perf_counter() - start


def peak(name: str, size: int) -> int:
    """Return the bytes that a step adds to a fresh process at its peak."""
    command = [sys.executable, __file__, name, str(size)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(step, size: int) -> None:
    """Print the bytes that a step adds to this process at its peak."""
    step(*batch(8))  # what is allocated once, whatever the batch
    embeddings, labels = batch(size)
    before = psutil.Process().memory_info().rss
    step(embeddings, labels)
    # getrusage would report the parent's peak, which a child starts from
    status = Path("/proc/self/status").read_text()
    high = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    print(max(high - before, 1))


def main() -> None:
    """Print one line a batch size."""
    torch.set_num_threads(1)
    if len(sys.argv) > 1:
        print_peak({"ours": ours, "theirs": theirs}[sys.argv[1]], int(sys.argv[2]))
        return
    print("mining + loss, forward and backward, against pytorch-metric-learning")
    for size in (162, 1024):
        times: dict = {ours: [], theirs: []}
        for _ in range(REPEATS):
            for step, spent in times.items():
                spent.append(seconds(step, size))
        mine, other = (statistics.median(times[step][1:]) for step in (ours, theirs))
        memory = [peak(name, size) for name in ("ours", "theirs")]
        print(
            f"B = {size:5}: {1e3 * mine:7.1f} ms against {1e3 * other:7.1f} ms, "
            f"ratio {mine / other:.2f}; memory {memory[0] / 2**20:6.0f} MiB against "
            f"{memory[1] / 2**20:6.0f} MiB, ratio {memory[0] / memory[1]:.2f}"
        )


if __name__ == "__main__":
    main()
