"""Where and how numbers are computed: device, threads, precision, seeds."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from studies.params import RunParameters


def epoch_seed(seed: int, epoch: int) -> int:
    """Return the seed of one epoch: well mixed, below 2**32."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])


def seed_all(seed: int) -> None:
    """Seed every generator a training step may draw from."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries draw from the global generator
    torch.manual_seed(seed)


def prepare(parameters: RunParameters) -> None:
    """Set threads and seeds before anything is initialised; scikit-learn's threads too."""
    torch.set_num_threads(parameters.threads)
    threadpool_limits(parameters.threads)
    seed_all(parameters.seed)


def device() -> torch.device:
    """Return the device that Lightning's `auto` takes."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def resolve_precision(precision: str) -> str:
    """Return `precision`, with `auto` read as bf16 where the hardware multiplies in bf16."""
    if precision != "auto":
        return precision
    if torch.cuda.is_available():
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported()
    return "bf16-mixed" if fast else "32-true"


@contextmanager
def autocast(precision: str) -> Iterator[None]:
    """Compute as training does; for use outside Lightning."""
    enabled = resolve_precision(precision) == "bf16-mixed"
    with torch.autocast(device().type, dtype=torch.bfloat16, enabled=enabled):
        yield


def describe(where: torch.device) -> str:
    """Return the device's name as a reader knows it."""
    return torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
