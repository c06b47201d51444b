"""Trainings whose plug is pulled."""

from contextlib import contextmanager

import pytest


@contextmanager
def pulled(learner, epoch: int, batch: int):
    """Expect that trainings inside stop at a batch of an epoch, both counted from 0."""
    begin_epoch, begin_step = learner.begin_epoch, learner.begin_step

    def noted(self, number, optimizer):
        self.place = number, 0
        begin_epoch(self, number, optimizer)

    def stopped(self, step, optimizer):
        now, place = self.place
        if (now, place) == (epoch, batch):
            raise RuntimeError("the plug is pulled")
        self.place = now, place + 1
        begin_step(self, step, optimizer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "begin_epoch", noted)
        patch.setattr(learner, "begin_step", stopped)
        with pytest.raises(RuntimeError, match="the plug"):
            yield
