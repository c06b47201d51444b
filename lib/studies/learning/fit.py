"""Training that can be killed at any time and ends with the same numbers.

Every epoch begins from random numbers of its own, drawn from (seed, epoch), and a checkpoint is
written after every epoch. A run resumed from a checkpoint is therefore the run that was never
stopped, to the bit on a CPU with the same number of threads.
"""

import io
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pandas as pd
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from torch import nn
from torch.utils.data import DataLoader, Sampler
from tqdm.auto import tqdm

from studies.learning import compute
from studies.learning.compute import describe, epoch_seed, resolve_precision, seed_all
from studies.paths import StudyError
from studies.reporting.tables import duration
from studies.runs.files import write_atomic
from studies.runs.params import RunParameters

CHECKPOINT = "checkpoint/last.ckpt"


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    best_epoch: int  # counted from 1
    best_score: float
    stopped: str  # why it ended before its last epoch; empty when it did not
    seconds: float  # of all sittings together, up to the last checkpoint
    device: str
    precision: str

    def facts(self, network: torch.nn.Module, parameters: RunParameters) -> dict[str, Any]:
        """Return what a run's provenance says of its training."""
        trained = sum(one.numel() for one in network.parameters() if one.requires_grad)
        return {**asdict(self), "threads": parameters.threads, "parameters_trained": trained}


def fit(
    module: lightning.LightningModule,
    train: DataLoader,
    validation: DataLoader,
    folder: Path,
    parameters: RunParameters,
    monitor: str,
    mode: str = "max",
) -> Outcome:
    """Train `module.network` into a run folder, from its checkpoint if there is one.

    The module logs its validation metrics as `validation_*`; the one called `monitor` chooses the
    weights that `module.network` holds at the end. The module ends its training after an epoch by
    setting `stopped` to the reason. A loader whose `sampler` has `set_epoch` is told the epoch.
    Raises StudyError when the checkpoint cannot be read or the loss is no number.
    """
    keeper = Keeper(folder, parameters.seed, monitor, mode, train.sampler)
    precision = resolve_precision(parameters.precision)
    checkpoint = folder / CHECKPOINT
    with quiet():
        trainer = lightning.Trainer(
            accelerator="auto",
            devices=1,
            precision=precision,
            max_epochs=parameters.epochs,
            check_val_every_n_epoch=parameters.validate_every,
            num_sanity_val_steps=0,
            deterministic="warn",
            callbacks=[keeper, Progress(keeper)],
            plugins=[AtomicCheckpoints()],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
        try:
            trainer.fit(
                module,
                train,
                validation,
                ckpt_path=checkpoint if checkpoint.exists() else None,
                weights_only=True,
            )
        except SystemExit:
            raise KeyboardInterrupt("stopped; the same command goes on from here") from None
    module.network.load_state_dict(keeper.best["weights"])
    return Outcome(
        best_epoch=keeper.best["epoch"],
        best_score=keeper.best["score"],
        stopped=keeper.stopped,
        seconds=keeper.seconds,
        device=describe(module.device if trainer.interrupted else trainer.strategy.root_device),
        precision=precision,
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Lightning's banner and tips; its errors still come through."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*The number of training batches.*")
        warnings.filterwarnings("ignore", module="lightning.*")
        try:
            yield
        finally:
            logger.setLevel(level)


# What a run must not lose, and checkpoints that a killed process or a full disk cannot spoil.


class Keeper(lightning.Callback):
    """Keeps what a run must not lose: curves, best weights, time spent; all in one checkpoint.

    `monitor` names the validation metric that chooses the epoch; the earliest best one wins.
    """

    def __init__(self, folder: Path, seed: int, monitor: str, mode: str, sampler: Any) -> None:
        self.folder, self.seed, self.monitor, self.sampler = folder, seed, monitor, sampler
        self.sign = {"max": 1, "min": -1}[mode]
        self.rows: list[dict[str, float]] = []
        self.best: dict[str, Any] = {"epoch": 0, "score": None, "weights": {}}
        self.seconds, self.stopped = 0.0, ""

    def on_fit_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Tell the first epoch's number in time.

        Lightning makes the loader's iterator for the first epoch of a sitting before it calls
        `on_train_epoch_start`, for every other epoch after it.
        """
        epoch = len(self.rows)
        seed_all(epoch_seed(self.seed, epoch))
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)
        trainer.should_stop = bool(self.stopped)

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Give the epoch its own random numbers."""
        seed_all(epoch_seed(self.seed, trainer.current_epoch))
        self.started, self.losses, self.validated = time.monotonic(), [], {}

    def on_train_batch_start(
        self, trainer: lightning.Trainer, module: Any, batch: Any, number: int
    ) -> None:
        """Begin with the same random numbers whether the iterator has just drawn one or not."""
        if number == 0:
            seed_all(epoch_seed(self.seed, trainer.current_epoch))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, *_: Any
    ) -> None:
        """Collect the loss of a step."""
        self.losses.append(outputs["loss"].detach())

    def on_validation_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Refuse to score a network that has diverged."""
        self.refuse_divergence(trainer, module)

    def on_validation_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Keep the weights when validation is better than ever before."""
        self.validated = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("validation_")
        }
        score = self.validated[self.monitor]
        best = self.best["score"]
        if not self.best["epoch"] or np.isnan(best) or self.sign * score > self.sign * best:
            weights = {k: v.detach().cpu().clone() for k, v in module.network.state_dict().items()}
            self.best = {"epoch": trainer.current_epoch + 1, "score": score, "weights": weights}

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: Any) -> None:
        """Write the curves and the checkpoint of this epoch, curves first.

        A run that is killed between the two makes the epoch, and so its row, again.
        """
        loss = self.refuse_divergence(trainer, module)
        self.rows.append(
            {
                "epoch": trainer.current_epoch + 1,
                "step": trainer.global_step,
                "learning_rate": trainer.optimizers[0].param_groups[0]["lr"],
                "train_loss": loss,
                **self.validated,
            }
        )
        self.seconds += time.monotonic() - self.started
        self.stopped = getattr(module, "stopped", "")
        if self.stopped:
            print(f"training stops: it {self.stopped}", flush=True)
            trainer.should_stop = True
        curves = pd.DataFrame(self.rows).to_csv(index=False)
        write_atomic(self.folder / "curves.csv", curves)
        trainer.save_checkpoint(self.folder / CHECKPOINT)

    def refuse_divergence(self, trainer: lightning.Trainer, module: Any) -> float:
        """Return the mean loss of the epoch; raises StudyError when it or a weight is no number."""
        loss = float(torch.stack(self.losses).mean())
        finite = all(bool(p.isfinite().all()) for p in module.network.parameters())
        if not (np.isfinite(loss) and finite):
            raise StudyError(
                f"{self.folder}: training diverged in epoch {trainer.current_epoch + 1} "
                f"(loss {loss:.3g}); lower learning_rate"
            )
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Return what Lightning stores in the checkpoint."""
        kept = ("rows", "best", "seconds", "stopped")
        return {name: getattr(self, name) for name in kept}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what the checkpoint holds."""
        for name, value in state_dict.items():
            setattr(self, name, value)


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints written whole or not at all, and read without unpickling code."""

    def save_checkpoint(self, checkpoint: dict, path: Any, storage_options: Any = None) -> None:
        """Write the checkpoint under a temporary name, then rename it."""
        # through memory: on a full disk torch.save raises what does not say so
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_atomic(Path(path), content.getvalue())

    def load_checkpoint(self, path: Any, *args: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint; raises StudyError when it is damaged."""
        try:
            return super().load_checkpoint(path, *args, **options)
        except Exception as error:  # which one depends on the place of the damage
            raise StudyError(
                f"{path}: the checkpoint cannot be read ({type(error).__name__}); delete it, and "
                "the same command trains from the first epoch"
            ) from error


# How a training shows where it is: a bar for who watches, one line an epoch in a log.


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
        shown = [name for name in row if name.startswith(("train_loss", "validation_"))]
        scores = "  ".join(f"{name} {row[name]:.4g}" for name in shown)
        done, total = trainer.current_epoch + 1, trainer.max_epochs
        if self.bar is not None:
            self.bar.set_description(f"epoch {done}/{total}")
            self.bar.set_postfix_str(scores.replace("validation_", "").replace("_", " "))
            return
        spent = time.monotonic() - self.began
        left = spent / (done - self.first) * (total - done)
        print(f"epoch {done}/{total}  {scores}  {duration(left)} left", flush=True)

    def teardown(self, *_: Any, **__: Any) -> None:
        """Close the bar, also after an error."""
        if self.bar is not None:
            self.bar.close()


def watched() -> bool:
    """Return whether a person watches: a terminal, JupyterLab, or VS Code's notebooks."""
    return sys.stderr.isatty() or bool({"JPY_SESSION_NAME", "VSCODE_PID"} & set(os.environ))


# Networks trained by AdamW, with a learning rate that rises, then falls along a cosine.


class Scheduled(lightning.LightningModule):
    """A network in training by AdamW over so many `steps`, its augmentation seeded every epoch.

    `published` are the weights of a model that is fine-tuned, at a rate of their own. The
    parameters hold `learning_rate`, `backbone_learning_rate`, `warm_up` and `weight_decay`.
    """

    def __init__(
        self,
        parameters: RunParameters,
        network: nn.Module,
        steps: int,
        published: Collection[nn.Parameter] = (),
    ) -> None:
        super().__init__()
        self.settings, self.network, self.steps = parameters, network, steps
        self.published = list(published)
        self.chance = torch.Generator()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        return adamw(
            self.network,
            self.settings.learning_rate,
            self.settings.weight_decay,
            self.published,
            self.settings.backbone_learning_rate,
        )

    def on_train_epoch_start(self) -> None:
        """Seed this epoch's augmentation."""
        self.chance.manual_seed(compute.epoch_seed(self.settings.seed, self.current_epoch))

    def on_train_batch_start(self, batch: Any, number: int) -> None:
        """Set the learning rate of this step."""
        share = schedule(self.global_step, self.steps, self.settings.warm_up)
        set_rate(self.trainer.optimizers[0], share)


def adamw(
    network: nn.Module,
    rate: float,
    weight_decay: float,
    published: Collection[nn.Parameter] = (),
    published_rate: float = 0.0,
) -> torch.optim.Optimizer:
    """Return AdamW over what is trained; biases, norms and other vectors do not decay.

    `published` parameters, of a model that is fine-tuned, get a highest learning rate of their own.
    """
    known = set(published)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for one in network.parameters():
        if one.requires_grad:
            highest = published_rate if one in known else rate
            groups.setdefault((highest, weight_decay if one.ndim > 1 else 0.0), []).append(one)
    # what is new comes first: the curves show the learning rate of the first group
    ranked = sorted(groups.items(), key=lambda group: group[0][0] != rate)
    return torch.optim.AdamW(
        {"params": members, "lr": highest, "peak": highest, "weight_decay": decay}
        for (highest, decay), members in ranked
    )


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Give every group of `adamw` that share of its highest learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = share * group["peak"]


def schedule(step: int, steps: int, warm_up: float) -> float:
    """Return the learning rate of a step, from 0, as a share of the highest."""
    rising = max(1, round(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


# Batches of rows, in an order of its own every epoch.


class Batches(Sampler):
    """Batches of rows: in an order of its own every epoch, or as they come when `seed` is None."""

    def __init__(self, rows: np.ndarray, size: int, seed: int | None) -> None:
        self.rows, self.size, self.seed, self.epoch = rows, size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        rows = self.rows
        if self.seed is not None:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        for start in range(0, len(rows), self.size):
            yield rows[start : start + self.size].tolist()

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)
