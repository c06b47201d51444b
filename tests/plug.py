"""Trainings whose plug is pulled."""

from contextlib import contextmanager

import pytest


@contextmanager
def pulled(learner, epoch: int, batch: int):
    """Expect that trainings inside stop at a batch of an epoch, both counted from 0."""
    step = learner.training_step

    def stop(self, given, number):
        if (self.current_epoch, number) == (epoch, batch):
            raise RuntimeError("the plug is pulled")
        return step(self, given, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learner, "training_step", stop)
        with pytest.raises(RuntimeError, match="the plug"):
            yield
