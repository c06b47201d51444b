"""Where and how numbers are computed: device, threads, precision, seeds, in how many processes."""

import ctypes
import importlib
import io
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, distributed, nn

from studies.paths import StudyError, relative
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import claim, provenance
from studies.runs.params import RunParameters

# of malloc.h: M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD, in bytes
MALLOC = {-4: 0, -1: 2**31 - 1, -2: 2**28}


def epoch_seed(seed: int, epoch: int, rank: int = 0) -> int:
    """Return the seed of one epoch: well mixed, below 2**32."""
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1)[0])


def seed_all(seed: int) -> None:
    """Seed every generator a training step may draw from."""
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - libraries draw from the global generator
    torch.manual_seed(seed)


def keep_memory() -> None:
    """Let the C library keep what is freed, for the next tensor.

    Otherwise glibc gives every large tensor back and asks for new pages, which took half of the
    processor time of EfficientNet-Lite on a CPU, and a fifth of a scratch network's training.
    """
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library
            mallopt = ctypes.CDLL(None).mallopt
            for setting, number in MALLOC.items():
                mallopt(setting, number)


def prepare(parameters: RunParameters) -> None:
    """Set memory, threads and seeds before anything is initialised; scikit-learn's threads too."""
    keep_memory()
    torch.set_num_threads(parameters.threads)
    threadpool_limits(parameters.threads)
    seed_all(parameters.seed)


def trains(steps: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Path]:
    """Make of the steps of a training, given its parameters, what trains a system only once.

    The steps read what they need, and refuse what is wrong before there is a folder. Then they
    yield, are sent the run folder, train, and yield what the provenance says and the model, which
    has `save`. Several ranks all do this; the first alone claims the folder and writes.
    """

    @wraps(steps)
    def train(parameters: RunParameters) -> Path:
        if not parameters.trained:
            raise StudyError(f"{parameters.model} has no network, and nothing of it is trained")
        join()
        training = steps(parameters)
        next(training)
        with claim(parameters) if rank() == 0 else nullcontext(parameters.folder()) as folder:
            meet()
            if (folder / "model.safetensors").exists():
                print(f"{relative(folder)}: already trained", flush=True)
                return folder
            prepare(parameters)
            facts, model = training.send(folder)
            if rank() == 0:
                known = provenance(**facts, ranks=ranks())
                write_atomic(folder / "provenance.json", to_json(known))
                model.save(folder / "model.safetensors")
        return folder

    return train


def once(score: Callable[[Any, Path], None]) -> Callable[[Any], Path]:
    """Make of what scores a run, given its parameters and its folder, what does so only once.

    First it evaluates what the run builds on, and trains the system, where that has not been done.
    It returns the run folder.
    """

    @wraps(score)
    def evaluate(parameters: RunParameters) -> Path:
        folder = parameters.folder()
        if not (folder / "metrics.json").exists():
            for other in parameters.builds_on():
                evaluate(other)
            if parameters.trained and not (folder / "model.safetensors").exists():
                # late: a run that is trained needs none of it
                importlib.import_module(f"studies.{parameters.study}.train").train(parameters)
        with claim(parameters):
            if (folder / "metrics.json").exists():
                print(f"{relative(folder)}: already evaluated", flush=True)
            else:
                prepare(parameters)
                score(parameters, folder)
        return folder

    return evaluate


def device() -> torch.device:
    """Return the device that training takes."""
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


def autocast(precision: str) -> torch.autocast:
    """Return the context in which training computes, for elsewhere."""
    enabled = resolve_precision(precision) == "bf16-mixed"
    return torch.autocast(device().type, dtype=torch.bfloat16, enabled=enabled)


def to_input(batch: np.ndarray | Tensor, where: torch.device) -> Tensor:
    """Return pixels (B, 3, S, S) as floats in 0 to 1, channels last; features as floats."""
    batch = torch.as_tensor(batch).to(where)
    if batch.ndim != 4:
        return batch.float()
    scaled = batch.float() / 255 if batch.dtype == torch.uint8 else batch
    return scaled.contiguous(memory_format=torch.channels_last)


def outputs(network: nn.Module, inputs: np.ndarray, precision: str, size: int) -> list[Any]:
    """Return what a network says of N inputs in evaluation mode, `size` at a time."""
    where = next(network.parameters()).device
    was_training = network.training
    network.eval()
    with torch.inference_mode(), autocast(precision):
        starts = range(0, len(inputs), size)
        said = [network(to_input(inputs[start : start + size], where)) for start in starts]
    network.train(was_training)
    return said


def describe(where: torch.device) -> str:
    """Return the device's name as a reader knows it."""
    return torch.cuda.get_device_name(where) if where.type == "cuda" else where.type


# Several processes that train one network, each on its share of every batch: ranks.


def join() -> None:
    """Meet the other ranks, if a launcher started this process as one of them.

    Without one, what the environment says of ranks was left behind, or set by a cluster for a job
    that only waits for commands: torch would wait for ever for processes that nobody starts.
    """
    from accelerate.state import PartialState  # late: scoring needs none of it

    launched = "TORCHELASTIC_RUN_ID" in os.environ  # by torchrun, as accelerate launch does
    if not launched:
        for name in ("LOCAL_RANK", "WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
            os.environ.pop(name, None)
    # the first may wait long for a folder that another command holds
    PartialState(cpu=launched and not torch.cuda.is_available(), timeout=timedelta(days=7))
    if rank() > 0:
        sys.stdout = io.StringIO()  # the first tells it all


def rank() -> int:
    """Return the number of this process among those that train together, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def ranks() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def meet() -> None:
    """Wait until every rank is here."""
    if ranks() > 1:
        distributed.barrier()


def share(rows: list[int]) -> list[int]:
    """Return which rows of a batch are this rank's: as many as another's, or one more or less."""
    first, end = (len(rows) * number // ranks() for number in (rank(), rank() + 1))
    return rows[first:end]


def gathered(own: Tensor) -> Tensor:
    """Return the rows of all ranks, (B, ...), of one's own, (b, ...), in the order of the batch.

    The gradient flows into one's own alone: where each rank computes the loss of all rows, the
    gradients of the ranks add up to that of the batch.
    """
    if ranks() == 1:
        return own
    counts = torch.zeros(ranks(), dtype=torch.int64, device=own.device)
    counts[rank()] = len(own)
    distributed.all_reduce(counts)
    before, _, behind = counts.tensor_split([rank(), rank() + 1])
    before, behind = (own.new_zeros(int(part.sum()), *own.shape[1:]) for part in (before, behind))
    whole = torch.cat([before, own.detach(), behind])
    distributed.all_reduce(whole)
    return torch.cat([whole[: len(before)], own, whole[len(before) + len(own) :]])


def add_gradients(network: nn.Module) -> None:
    """Give each rank the sum of all ranks' gradients."""
    if ranks() > 1:
        gradients = [one.grad for one in network.parameters() if one.grad is not None]
        flat = torch.cat([one.flatten() for one in gradients])
        distributed.all_reduce(flat)
        nn.utils.vector_to_parameters(flat, gradients)


# How long contenders take, measured side by side on a machine that others use too.


def interleaved(
    contenders: Mapping[str, Callable[[], object]],
    rounds: int,
    clock: Callable[[], float] = time.process_time,
) -> dict[str, np.ndarray]:
    """Return the seconds of each contender in each round, name -> (rounds,) float64.

    Every round runs all contenders once, each round in another order, so that whatever else the
    machine does meets all of them alike: compare seconds of the same round. A first round is not
    counted. The default clock counts processor time, which other processes hardly touch; with
    several threads take `time.perf_counter`.
    """
    names = list(contenders)
    seconds = {name: np.empty(rounds) for name in names}
    for turn in range(-1, rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            start = clock()
            contenders[name]()
            if turn >= 0:
                seconds[name][turn] = clock() - start
    return seconds


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
