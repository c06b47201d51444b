"""Rates, groups and the schedule, against torch's own schedulers and by hand."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from schedules import cosine
from studies.learning.fit import adamw, schedule, set_rate


@given(st.integers(1, 60), st.floats(0, 0.99), st.data())
@settings(deadline=None)
def test_it_rises_evenly_and_falls_along_a_cosine(steps, warm_up, draw):
    step = draw.draw(st.integers(0, steps - 1))
    wanted = cosine(step, steps, warm_up)
    assert schedule(step, steps, warm_up) == pytest.approx(wanted, abs=1e-6)


def test_by_hand():
    found = [schedule(step, 8, 0.5) for step in range(8)]
    root = math.sqrt(0.5)
    wanted = [0.25, 0.5, 0.75, 1, 1, (1 + root) / 2, 0.5, (1 - root) / 2]
    assert found == pytest.approx(wanted)


def groups(optimizer):
    """What each tensor gets: its shape, its rate, its decay."""
    return {
        tuple(one.shape): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for one in group["params"]
    }


def test_vectors_do_not_decay_and_published_weights_have_a_rate_of_their_own():
    new, known, frozen = nn.Linear(3, 4), nn.Linear(5, 3), nn.Linear(7, 5)
    frozen.requires_grad_(False)
    network = nn.Sequential(frozen, known, new)
    optimizer = adamw(network, 0.1, 0.5, known.parameters(), 0.01)
    assert groups(optimizer) == {
        **{(4, 3): (0.1, 0.5), (4,): (0.1, 0.0)},
        **{(3, 5): (0.01, 0.5), (3,): (0.01, 0.0)},
    }
    # curves show the rate of the first group
    assert optimizer.param_groups[0]["lr"] == 0.1
    set_rate(optimizer, 0.5)
    rates = {group["lr"] for group in optimizer.param_groups}
    assert rates == {0.05, 0.005}
    set_rate(optimizer, 1.0)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1, 0.01}
