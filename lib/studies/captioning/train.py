"""Train one system: `python -m studies.captioning.train -f dataset.yaml -f system.yaml`."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from studies.captioning import data
from studies.captioning.captioner import Captioner
from studies.captioning.loss import loss
from studies.captioning.model import Describer, build, to_input
from studies.captioning.params import Parameters
from studies.captioning.tokens import PAD, Words
from studies.inputs import images
from studies.inputs.images import augment
from studies.inputs.splits import sizes
from studies.learning import compute
from studies.learning.fit import Batches, Scheduled, fit
from studies.paths import StudyError, relative, run_command
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import claim, provenance

MONITOR = "validation_loss"


class Learner(Scheduled):
    """One system in training by teacher forcing, with the six curves of the paper.

    `steps` is how many there are in all; the learning rate rises over the first `warm_up` of them
    and falls to 0 along a cosine.
    """

    def __init__(self, parameters: Parameters, network: Captioner, steps: int) -> None:
        trunk = network.encoder.trunk
        fine_tuned = parameters.network.encoder.source.name == "backbone" and trunk is not None
        super().__init__(parameters, network, steps, trunk.parameters() if fine_tuned else ())
        self.history: list[dict[str, float]] = []
        self.best, self.waited, self.stopped = math.inf, 0, ""

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of one batch."""
        pixels, captions, owners = batch
        if self.settings.augmentation is not None:
            pixels = augment(pixels, self.chance, **self.settings.augmentation.model_dump())
        smoothing = self.settings.label_smoothing
        self.batch_loss = loss(
            self.network, to_input(pixels, self.device), captions, owners, smoothing
        )
        return self.batch_loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Scale large gradients down; note what happened in this step."""
        norm = torch.nn.utils.clip_grad_norm_(
            self.network.parameters(), self.settings.gradient_norm
        )
        self.history.append(
            {
                "step": self.global_step + 1,
                "epoch": self.current_epoch + 1,
                "learning_rate": optimizer.param_groups[0]["lr"],
                "batch_loss": float(self.batch_loss.detach()),
                "gradient_norm": float(norm),
            }
        )

    def on_validation_epoch_start(self) -> None:
        """Begin to sum the validation loss."""
        self.total, self.count = 0.0, 0

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor], _: int) -> None:
        """Add the loss of a batch, weighted by its words."""
        given, captions, owners = batch
        words = int((captions[:, 1:] != PAD).sum())
        value = loss(self.network, to_input(given, self.device), captions, owners, smoothing=0.0)
        self.total += words * float(value)
        self.count += words

    def on_validation_epoch_end(self) -> None:
        """Log the loss a word; stop when it has not become better for long."""
        value = self.total / self.count
        self.log(MONITOR, value, batch_size=self.count)
        self.waited = 0 if value < self.best else self.waited + 1
        self.best = min(value, self.best)
        if self.waited >= self.settings.patience:
            epochs = self.waited * self.settings.validate_every
            self.stopped = f"has not become better on validation data for {epochs} epochs"

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Write the curves of the steps, then keep what a resumed run needs.

        In this order: a run that is killed between the two makes the epoch again, and its rows.
        """
        folder = Path(self.trainer.default_root_dir)
        write_atomic(folder / "steps.csv", pd.DataFrame(self.history).to_csv(index=False))
        checkpoint["learner"] = {
            name: getattr(self, name) for name in ("history", "best", "waited")
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take it up."""
        for name, value in checkpoint["learner"].items():
            setattr(self, name, value)


def train(parameters: Parameters) -> Path:
    """Train a system unless its run folder says that it is trained; return the run folder.

    Resumes from the last checkpoint. Raises StudyError for whatever a user can mend.
    """
    if not parameters.trained:
        raise StudyError(f"{parameters.model} is a baseline, and nothing of it is trained")
    dataset = data.read(parameters)
    parts = data.split(dataset, parameters)
    given = data.inputs(dataset, parameters)
    known = np.flatnonzero(parts == "train")
    words = Words.learn(data.training_captions(dataset, parts), parameters.min_count)
    with claim(parameters) as folder:
        if (folder / "model.safetensors").exists():
            print(f"{relative(folder)}: already trained", flush=True)
            return folder
        compute.prepare(parameters)
        network = build(parameters, len(words), given.shape[1:])
        network = network.to(memory_format=torch.channels_last)
        examples = data.Examples(given, dataset.captions, words, parameters.decoding.max_length)
        batches = Batches(known, parameters.images, parameters.seed)
        rest = Batches(np.flatnonzero(parts == "validation"), parameters.images, None)
        outcome = fit(
            Learner(parameters, network, parameters.epochs * len(batches)),
            DataLoader(examples, sampler=batches, batch_size=None),
            DataLoader(examples, sampler=rest, batch_size=None),
            folder,
            parameters,
            MONITOR,
            mode="min",
        )
        facts = provenance(
            **outcome.facts(network, parameters),
            dataset_fingerprint=images.fingerprint(dataset.paths, dataset.root),
            images=sizes(parts),
            words=len(words),
            input_shape=list(given.shape[1:]),
        )
        write_atomic(folder / "provenance.json", to_json(facts))
        Describer(network, words, parameters).save(folder)
    return folder


if __name__ == "__main__":
    run_command(lambda: train(Parameters.from_command_line()))
