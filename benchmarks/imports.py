"""What importing a study's training costs, in processor time, against importing torch alone."""

import resource
import subprocess
import sys

import numpy as np
from lines import heading, line

ROUNDS = 7
STUDIES = ("captioning", "triplets", "recipes", "relevance")


def seconds(module: str) -> float:
    """Return the processor seconds of a process that imports a module."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print one line a study; a first round, which warms the disk, is not counted."""
    modules = ["torch", *(f"studies.{study}.train" for study in STUDIES)]
    rounds = np.array([[seconds(module) for module in modules] for _ in range(ROUNDS + 1)])[1:]
    medians = np.median(rounds, axis=0)
    ratios = np.median(rounds / rounds[:, :1], axis=0)
    heading("imports over torch")
    for module, own, ratio in zip(modules[1:], medians[1:], ratios[1:], strict=True):
        line(module, f"{own:.2f} s", f"{medians[0]:.2f} s", ratio, most=1.5)


if __name__ == "__main__":
    main()
