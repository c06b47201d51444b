"""Training that can be killed at any time and ends with the same numbers.

Every epoch begins from random numbers of its own, drawn from (seed, epoch), and a checkpoint is
written after every epoch. A run resumed from a checkpoint is therefore the run that was never
stopped, to the bit on a CPU with the same number of threads.
"""

import io
import math
import os
import sys
import time
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast, broadcast_object_list, recursively_apply, send_to_device
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from tqdm.auto import tqdm

from studies.learning import compute
from studies.paths import StudyError
from studies.runs.blocks import Schedule
from studies.runs.files import duration, write_atomic
from studies.runs.folder import SPENT, accounted, processor_seconds
from studies.runs.params import RunParameters

CHECKPOINT = "checkpoint/last.ckpt"


class Learner:
    """A network in training: each study says what its loss is and what is scored.

    Attributes:
        gradient_norm: larger gradients are scaled down to it, and each step is noted in
            `steps.csv`; None for neither.
        stopped: why training ends after this epoch; empty while it goes on.
        idle: whether the batch has too few rows for this rank to have a share.

    """

    stopped = ""
    idle = False

    def __init__(self, parameters: RunParameters, network: nn.Module) -> None:
        self.settings = parameters
        self.gradient_norm: float | None = getattr(parameters, "gradient_norm", None)
        self.network = network.to(memory_format=torch.channels_last)
        self.device = torch.device("cpu")
        self.chance = torch.Generator()  # augmentation's; seeded every epoch

    def optimizer(self) -> torch.optim.Optimizer:
        """Return what changes the network."""

    def begin_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Prepare for an epoch, counted from 0."""

    def begin_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Prepare for a step, counted from 0 over all epochs."""

    def loss(self, batch: Any) -> Tensor:
        """Return the loss of a batch, a scalar, given this rank's share of it (see `whole`)."""

    def whole(self, own: Any) -> Any:
        """Return tensors (B, ...) of the whole batch, of those (b, ...) of this rank's share.

        They may stand in tuples. See `compute.gathered` for the gradient.
        """
        return recursively_apply(lambda one: compute.gathered(one[:0] if self.idle else one), own)

    def scores(self, batches: Iterable[Any], curves: pd.DataFrame) -> dict[str, float]:
        """Return the scores of the validation batches, `validation_<metric>`.

        `curves` are the epochs before. May set `stopped`.
        """


@dataclass
class State:
    """What a run must not lose; the checkpoint holds it beside network and optimizer."""

    rows: list[dict[str, float]] = field(default_factory=list)  # one an epoch
    steps: list[dict[str, float]] = field(default_factory=list)  # one a step, where noted
    best: dict[str, Any] = field(default_factory=lambda: {"epoch": 0, "score": math.nan})
    seconds: float = 0.0
    processor_seconds: float = 0.0
    stopped: str = ""


@dataclass(frozen=True)
class Outcome:
    """How a training ended."""

    best_epoch: int  # counted from 1
    best_score: float
    stopped: str  # why it ended before its last epoch; empty when it did not
    seconds: float  # of all sittings together, up to the last checkpoint
    device: str
    precision: str

    def facts(self, network: nn.Module, parameters: RunParameters) -> dict[str, Any]:
        """Return what a run's provenance says of its training."""
        trained = sum(one.numel() for one in network.parameters() if one.requires_grad)
        return {**asdict(self), "threads": parameters.threads, "parameters_trained": trained}


@accounted("training")
def fit(
    learner: Learner,
    train: tuple[Dataset, Sampler],
    validation: tuple[Dataset, Sampler],
    folder: Path,
    parameters: RunParameters,
    monitor: str,
    mode: str = "max",
) -> Outcome:
    """Train `learner.network` into a run folder, from its checkpoint if there is one.

    The score called `monitor` chooses the weights that the network holds at the end, the earliest
    best one where several are alike. A dataset gives the batch of a list of rows, its sampler the
    lists; that of `train` is told the epoch. Of several ranks each takes its share of every batch,
    all do the same step, and what the first scores counts. Raises StudyError when the checkpoint
    cannot be read or the loss is no number.
    """
    precision = compute.resolve_precision(parameters.precision)
    # one process may train several runs, each with a precision of its own
    AcceleratorState._reset_state()
    accelerator = Accelerator(mixed_precision="bf16" if precision == "bf16-mixed" else "no")
    torch.use_deterministic_algorithms(True, warn_only=True)
    network = learner.network.to(accelerator.device)
    learner.device = accelerator.device
    optimizer = learner.optimizer()
    state, sign = resumed(folder / CHECKPOINT, network, optimizer), {"max": 1, "min": -1}[mode]
    # of the sittings before
    SPENT.update(training=state.processor_seconds, before=-state.processor_seconds)
    step, epochs = int(state.rows[-1]["step"]) if state.rows else 0, parameters.epochs
    (examples, batches), (held_out, parts) = train, validation
    if state.rows:  # the curves may have been deleted
        save(folder, state, network, optimizer)
    with Progress(len(state.rows), epochs, len(batches)) as progress, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*deterministic.*")
        for epoch in range(len(state.rows), 0 if state.stopped else epochs):
            began, used, losses = time.monotonic(), processor_seconds(), []
            batches.epoch = epoch
            seed = compute.epoch_seed(parameters.seed, epoch, compute.rank())
            learner.chance.manual_seed(seed)
            learner.begin_epoch(epoch, optimizer)
            network.train()
            compute.seed_all(seed)
            for rows in batches:
                own = compute.share(rows)
                learner.idle = not own
                learner.begin_step(step, optimizer)
                # without a share a rank must still take part in the step, with what it leaves out
                batch = send_to_device(examples[own or rows[:1]], accelerator.device)
                with accelerator.autocast():
                    loss = learner.loss(batch)
                optimizer.zero_grad()
                accelerator.backward(loss)
                compute.add_gradients(network)
                step, rate = step + 1, optimizer.param_groups[0]["lr"]
                if learner.gradient_norm is not None:
                    norm = nn.utils.clip_grad_norm_(network.parameters(), learner.gradient_norm)
                    noted = {"step": step, "epoch": epoch + 1, "learning_rate": rate}
                    noted |= {"batch_loss": float(loss.detach()), "gradient_norm": float(norm)}
                    state.steps.append(noted)
                optimizer.step()
                losses.append(loss.detach())
                progress.update()
            row = {"epoch": epoch + 1, "step": step, "learning_rate": rate}
            row["train_loss"] = mean_loss(losses, network, folder, epoch)
            broadcast(network.state_dict())  # each rank has statistics of its own rows
            if (epoch + 1) % parameters.validate_every == 0:
                network.eval()
                with torch.inference_mode(), accelerator.autocast():
                    read = (send_to_device(held_out[rows], accelerator.device) for rows in parts)
                    scores = learner.scores(read, pd.DataFrame(state.rows))
                scores, learner.stopped = broadcast_object_list([scores, learner.stopped])
                row |= scores
                before = state.best["score"]
                if math.isnan(before) or sign * scores[monitor] > sign * before:
                    weights = {k: v.cpu().clone() for k, v in network.state_dict().items()}
                    state.best = {"epoch": epoch + 1, "score": scores[monitor], "weights": weights}
            state.rows.append(row)
            state.seconds += time.monotonic() - began
            state.processor_seconds += processor_seconds() - used
            state.stopped = learner.stopped
            if compute.rank() == 0:
                save(folder, state, network, optimizer)
            progress.epoch(row, state.stopped)
            if state.stopped:
                break
    network.load_state_dict(state.best["weights"])
    device, epoch = compute.describe(accelerator.device), state.best["epoch"]
    best = state.best["score"]
    return Outcome(epoch, best, state.stopped, state.seconds, device, precision)


def mean_loss(losses: list[Tensor], network: nn.Module, folder: Path, epoch: int) -> float:
    """Return the mean loss of an epoch; raises StudyError when it or a weight is no number."""
    loss = float(torch.stack(losses).mean())
    if not (math.isfinite(loss) and all(bool(p.isfinite().all()) for p in network.parameters())):
        raise StudyError(
            f"{folder}: training diverged in epoch {epoch + 1} (loss {loss:.3g}); lower "
            "learning_rate"
        )
    return loss


def save(folder: Path, state: State, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the curves and the checkpoint of an epoch, curves first, each whole or not at all.

    A run that is killed between them makes the epoch, and so its rows, again.
    """
    write_atomic(folder / "curves.csv", pd.DataFrame(state.rows).to_csv(index=False))
    if state.steps:
        write_atomic(folder / "steps.csv", pd.DataFrame(state.steps).to_csv(index=False))
    content = io.BytesIO()  # through memory: on a full disk torch.save raises what does not say so
    modules = {"network": network.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**vars(state), **modules}, content)
    write_atomic(folder / CHECKPOINT, content.getvalue())


def resumed(file: Path, network: nn.Module, optimizer: torch.optim.Optimizer) -> State:
    """Return the state of a checkpoint, if there is one, and load network and optimizer.

    Raises StudyError when it is damaged, or of another network or an older version.
    """
    if not file.exists():
        return State()
    try:
        with ZipFile(file) as content:  # torch leaves the checksums alone
            if content.testzip():
                raise BadZipFile
        content = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(content.pop("network"))
        optimizer.load_state_dict(content.pop("optimizer"))
        return State(**content)
    except Exception as error:  # which one depends on the place of the damage
        raise StudyError(
            f"{file}: the checkpoint cannot be read ({type(error).__name__}); delete it, and the "
            "same command trains from the first epoch"
        ) from error


class Progress(tqdm):
    """A bar with time left where someone watches, one line an epoch in a log."""

    def __init__(self, first: int, epochs: int, steps: int) -> None:
        self.first, self.epochs, self.began = first, epochs, time.monotonic()
        if first:
            print(f"resumed after epoch {first} of {epochs}", flush=True)
        done, total = first * steps, epochs * steps
        unseen = compute.rank() > 0 or not watched()
        super().__init__(total=total, initial=done, unit="step", disable=unseen)

    def epoch(self, row: Mapping[str, float], stopped: str) -> None:
        """Say how an epoch went."""
        shown = [name for name in row if name.startswith(("train_loss", "validation_"))]
        scores = "  ".join(f"{name} {row[name]:.4g}" for name in shown)
        done = int(row["epoch"])
        if stopped:
            print(f"training stops: it {stopped}", flush=True)
        if not self.disable:
            self.set_description(f"epoch {done}/{self.epochs}")
            self.set_postfix_str(scores.replace("validation_", "").replace("_", " "))
            return
        left = (time.monotonic() - self.began) / (done - self.first) * (self.epochs - done)
        print(f"epoch {done}/{self.epochs}  {scores}  {duration(left)} left", flush=True)


def watched() -> bool:
    """Return whether a person watches: a terminal, JupyterLab, or VS Code's notebooks."""
    return sys.stderr.isatty() or bool({"JPY_SESSION_NAME", "VSCODE_PID"} & set(os.environ))


class Scheduled(Learner):
    """AdamW over so many `steps`, its rate rising at first, then falling to 0 along a cosine.

    `published` are the weights of a model that is fine-tuned, at a rate of their own. The
    parameters are a `Schedule`, or hold one as `training`.
    """

    def __init__(
        self,
        parameters: RunParameters,
        network: nn.Module,
        steps: int,
        published: Collection[nn.Parameter] = (),
    ) -> None:
        super().__init__(parameters, network)
        self.steps, self.published = steps, set(published)
        self.plan: Schedule = getattr(parameters, "training", parameters)

    def optimizer(self) -> torch.optim.Optimizer:
        """Return AdamW over what is trained; biases, norms and other vectors do not decay."""
        rate, decay = self.plan.learning_rate, self.plan.weight_decay
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for one in self.network.parameters():
            if one.requires_grad:
                peak = self.plan.backbone_learning_rate if one in self.published else rate
                groups.setdefault((peak, decay if one.ndim > 1 else 0.0), []).append(one)
        # what is new comes first: the curves show the learning rate of the first group
        ranked = sorted(groups.items(), key=lambda group: group[0][0] != rate)
        return torch.optim.AdamW(
            {"params": members, "lr": peak, "peak": peak, "weight_decay": own_decay}
            for (peak, own_decay), members in ranked
        )

    def begin_step(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Give every group this step's share of its highest learning rate."""
        share = schedule(step, self.steps, self.plan.warm_up)
        for group in optimizer.param_groups:
            group["lr"] = share * group["peak"]


def schedule(step: int, steps: int, warm_up: float) -> float:
    """Return the learning rate of a step, from 0, as a share of the highest."""
    rising = max(1, round(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


class Examples(Dataset):
    """Rows of arrays, a whole batch at a time: a list of rows in, a tensor of each array out."""

    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays = arrays

    def __getitem__(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """Return a batch."""
        return tuple(torch.from_numpy(array[np.asarray(rows)]) for array in self.arrays)


class Batches(Sampler):
    """Batches of rows: in an order of its own every `epoch`, or as they come without a `seed`."""

    def __init__(self, rows: np.ndarray, size: int, seed: int | None) -> None:
        self.rows, self.size, self.seed, self.epoch = rows, size, seed, 0

    def __iter__(self) -> Iterator[list[int]]:
        rows = self.rows
        if self.seed is not None:
            rows = np.random.default_rng([self.seed, self.epoch]).permutation(rows)
        for start in range(0, len(rows), self.size):
            yield rows[start : start + self.size].tolist()

    def __len__(self) -> int:
        return -(-len(self.rows) // self.size)
