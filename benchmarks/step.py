"""One training step of the scratch network against a plain loop, and against the machine's peak.

The step of the groceries with the flexible margin: bytes to floats, forward, loss, backward, Adam.
Ours as the project runs it, in bf16 where the processor multiplies in bf16 and channels last; the
peer in fp32 and contiguous, same network and batch. The peak is that of a matrix product in our
precision, best of several sizes; that in fp32 shows how much faster the processor itself is in
bf16. One thread each, processor time, medians of interleaved rounds.
"""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np
import torch
from lines import heading, line
from torch.utils.flop_counter import FlopCounterMode

from studies.learning import compute
from studies.learning.compute import to_input
from studies.runs.params import run_files
from studies.triplets.loss import objective
from studies.triplets.model import build
from studies.triplets.params import Parameters

CLASSES, IMAGES = 81, 2  # of a batch of the groceries
SIDES = (512, 1024, 2048)  # of the square matrices whose product shows the peak
ROUNDS = 21


def settings() -> Parameters:
    """Return the parameters of the groceries, for one thread."""
    files = run_files("triplets", "grocery_random")["flexible"]
    return Parameters.from_files(files, ["seed=0", "threads=1"])


def precision(parameters: Parameters) -> tuple[str, torch.dtype]:
    """Return how our precision is called here, and its type."""
    fast = compute.resolve_precision(parameters.precision) == "bf16-mixed"
    return ("bf16", torch.bfloat16) if fast else ("fp32", torch.float32)


def training_step(parameters: Parameters, ours: bool) -> Callable[[], None]:
    """Return a function that trains one step on a batch of noise."""
    compute.seed_all(0)
    side = parameters.image_size
    pixels = torch.randint(0, 256, (CLASSES * IMAGES, 3, side, side), dtype=torch.uint8)
    classes = torch.arange(CLASSES).repeat_interleave(IMAGES)
    labels = torch.stack([classes // 30, classes // 2, classes], 1)
    network, loss = build(parameters, CLASSES, None), objective(parameters, 3)
    if ours:
        network = network.to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(network.parameters(), lr=parameters.stages[0].learning_rate)

    def step() -> None:
        with compute.autocast(parameters.precision if ours else "32-true"):
            inputs = to_input(pixels, torch.device("cpu")) if ours else pixels.float() / 255
            value = loss(network(inputs), labels, classes)
        adam.zero_grad()
        value.backward()
        adam.step()

    return step


def product(side: int, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    """Return a function that multiplies two square matrices."""
    one, other = torch.randn(2, side, side).to(dtype)
    return lambda: one @ other


def serve(asked: Connection, ours: bool) -> None:
    """Run what is asked for by name, and answer with its seconds."""
    parameters = settings()
    if ours:
        compute.prepare(parameters)
    else:
        torch.set_num_threads(parameters.threads)
    kind = precision(parameters)[1] if ours else torch.float32
    known: dict = {side: product(side, kind) for side in SIDES}
    known["step"] = training_step(parameters, ours)
    while name := asked.recv():
        start = time.process_time()
        known[name]()
        asked.send(time.process_time() - start)


def measure() -> dict:
    """Return seconds of the rounds, (ROUNDS,), of `(who, what)`: a step, or the product of a side.

    Each loop has a process of its own, since the memory that one leaves behind speeds the other up.
    """
    spawn = multiprocessing.get_context("spawn")
    ends = {}
    for name in ("ours", "plain"):
        ends[name], given = spawn.Pipe()
        spawn.Process(target=serve, args=(given, name == "ours"), daemon=True).start()
    wanted = [("ours", "step"), ("plain", "step")]
    wanted += [(name, side) for name in ("ours", "plain") for side in SIDES]
    rows = []
    for _ in range(ROUNDS + 2):  # the first two are not counted
        rows.append([])
        for name, what in wanted:
            ends[name].send(what)
            rows[-1].append(ends[name].recv())
    for end in ends.values():
        end.send(None)
    return dict(zip(wanted, np.array(rows)[2:].T, strict=True))


def main() -> None:
    """Print the lines."""
    parameters = settings()
    with FlopCounterMode(display=False) as counter:
        training_step(parameters, True)()
    work, kind = counter.get_total_flops(), precision(parameters)[0]
    batch = f"{CLASSES * IMAGES} images of {parameters.image_size} px, {work / 1e9:.0f} GFLOP"
    heading(f"training step of the scratch network, {batch}, {kind}")
    seconds = measure()
    steps = [seconds[name, "step"] for name in ("ours", "plain")]
    mine, plain = (1e3 * np.median(one) for one in steps)
    ratio = float(np.median(steps[1] / steps[0]))
    least = 3 if kind == "bf16" else None
    line("times faster than plain fp32", f"{mine:.0f} ms", f"{plain:.0f} ms", ratio, least)
    peak, fp32 = (
        max(2 * side**3 / np.median(seconds[name, side]) for side in SIDES)
        for name in ("ours", "plain")
    )
    speed = work / np.median(steps[0])
    shown = [f"{one / 1e9:.0f} GFLOP/s" for one in (speed, peak, fp32)]
    line(f"share of the {kind} matrix peak", *shown[:2], speed / peak, least=0.5)
    line(f"matrix peak of {kind} against fp32", *shown[1:], peak / fp32)


if __name__ == "__main__":
    main()
