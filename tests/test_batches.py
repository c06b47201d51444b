"""Batches hold every row once an epoch, in an order that the seed and the epoch decide."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.learning.fit import Batches

rows_of = st.lists(st.integers(0, 999), min_size=1, max_size=60, unique=True).map(np.array)


class TestBatches:
    @settings(max_examples=60, deadline=None)
    @given(rows_of, st.integers(1, 20), st.integers(0, 99) | st.none(), st.integers(0, 99))
    def test_every_row_once_an_epoch(self, rows, size, seed, epoch):
        batches = Batches(rows, size, seed)
        batches.set_epoch(epoch)
        drawn = list(batches)
        assert sorted(row for batch in drawn for row in batch) == sorted(rows)
        assert len(drawn) == len(batches)
        assert {len(batch) for batch in drawn[:-1]} <= {size}
        assert 1 <= len(drawn[-1]) <= size
        assert drawn == list(batches)

    def orders(self, seed, epochs):
        batches = Batches(np.arange(40), 8, seed)
        for epoch in epochs:
            batches.set_epoch(epoch)
            yield [row for batch in batches for row in batch]

    def test_an_order_of_its_own_every_epoch(self):
        orders = [*self.orders(0, range(4)), *self.orders(1, range(4))]
        assert len({tuple(order) for order in orders}) == 8

    def test_the_same_for_the_same_seed_wherever_a_run_is_taken_up(self):
        assert list(self.orders(5, [2, 3])) == list(self.orders(5, range(4)))[2:]

    def test_as_they_come(self):
        batches = Batches(np.array([3, 1, 2, 0, 9]), 2, None)
        for epoch in (0, 1):
            batches.set_epoch(epoch)
            assert list(batches) == [[3, 1], [2, 0], [9]]
