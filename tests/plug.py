"""Trainings that are watched, and trainings whose plug is pulled."""

from contextlib import contextmanager

import pytest


def noting(patch, learner, note) -> None:
    """Call `note` with the learner, (epoch, number) from 0 and the batch, before each batch."""
    begin, loss = learner.begin_epoch, learner.loss

    def begin_epoch(self, epoch, optimizer):
        self.at = epoch, -1
        return begin(self, epoch, optimizer)

    def noted(self, batch):
        self.at = self.at[0], self.at[1] + 1
        note(self, self.at, batch)
        return loss(self, batch)

    patch.setattr(learner, "begin_epoch", begin_epoch)
    patch.setattr(learner, "loss", noted)


@contextmanager
def pulled(learner, epoch: int, batch: int):
    """Expect that trainings inside stop at a batch of an epoch, both counted from 0."""

    def stop(_, at, __):
        if at == (epoch, batch):
            raise RuntimeError("the plug is pulled")

    with pytest.MonkeyPatch.context() as patch:
        noting(patch, learner, stop)
        with pytest.raises(RuntimeError, match="the plug"):
            yield
