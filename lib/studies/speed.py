"""How long contenders take, measured side by side on a machine that others use too."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch


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
