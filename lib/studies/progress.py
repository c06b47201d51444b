"""How a training shows where it is: a bar for who watches, one line an epoch in a log."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import lightning
from tqdm.auto import tqdm

from studies.tables import duration

if TYPE_CHECKING:
    from studies.training import Keeper


class Progress(lightning.Callback):
    """A bar with time left where someone watches, one line an epoch in a log."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.bar = keeper, None

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Open the bar, at the epoch that a resumed run starts from."""
        self.first, self.began = trainer.current_epoch, time.monotonic()
        if self.first:
            print(f"resumed after epoch {self.first} of {trainer.max_epochs}", flush=True)
        if watched():
            steps = trainer.num_training_batches
            self.bar = tqdm(
                total=trainer.max_epochs * steps, initial=self.first * steps, unit="step"
            )

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the bar."""
        if self.bar is not None:
            self.bar.update()

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Say how the epoch went."""
        row = self.keeper.rows[-1]
        scores = "  ".join(f"{name} {row[name]:.4g}" for name in ("train_loss", *self.validated()))
        done, total = trainer.current_epoch + 1, trainer.max_epochs
        if self.bar is not None:
            self.bar.set_description(f"epoch {done}/{total}")
            self.bar.set_postfix_str(scores.replace("validation_", "").replace("_", " "))
            return
        spent = time.monotonic() - self.began
        left = spent / (done - self.first) * (total - done)
        print(f"epoch {done}/{total}  {scores}  {duration(left)} left", flush=True)

    def validated(self) -> list[str]:
        """Return the validation metrics of the last epoch, if it had any."""
        return [name for name in self.keeper.rows[-1] if name.startswith("validation_")]

    def teardown(self, *_: Any, **__: Any) -> None:
        """Close the bar, also after an error."""
        if self.bar is not None:
            self.bar.close()


def watched() -> bool:
    """Return whether a person watches: a terminal, JupyterLab, or VS Code's notebooks."""
    return sys.stderr.isatty() or bool({"JPY_SESSION_NAME", "VSCODE_PID"} & set(os.environ))
