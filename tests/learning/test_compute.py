"""Timings against a clock that only the contenders move."""

import pytest
import torch

from studies.learning.compute import interleaved, threads


class Clock:
    """Contenders that take as long as they say, and what was called in which order."""

    def __init__(self):
        self.now, self.called = 100.0, []

    def __call__(self) -> float:
        return self.now

    def contender(self, name, durations):
        left = iter(durations)

        def run():
            self.called.append(name)
            self.now += next(left)

        return run


@pytest.mark.parametrize("names", ["a", "ab", "abcd"])
def test_every_round_runs_all_in_another_order(names):
    clock, rounds = Clock(), 2 * len(names)
    found = interleaved({n: clock.contender(n, [1] * (rounds + 1)) for n in names}, rounds, clock)
    size = len(names)
    orders = ["".join(clock.called[i : i + size]) for i in range(0, len(clock.called), size)]
    assert len(orders) == rounds + 1
    assert all(sorted(order) == list(names) for order in orders)
    for place in range(size):
        # every contender stands at every place equally often
        assert sorted(order[place] for order in orders[1:]) == sorted(2 * names)
    assert all(times.shape == (rounds,) for times in found.values())


def test_seconds_of_every_round_but_the_first():
    clock = Clock()
    contender = clock.contender("slow", [64, 8, 16, 32])
    assert interleaved({"slow": contender}, 3, clock)["slow"].tolist() == [8, 16, 32]


def test_threads_hold_inside_only():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
        with pytest.raises(KeyError), threads(1):
            raise KeyError(torch.get_num_threads())
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
