"""Train one system: `python -m studies.triplets.train -f dataset.yaml -f model.yaml -p seed=0`."""

import sys
from dataclasses import asdict
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from studies import compute, images, training
from studies.errors import StudyError
from studies.params import relative
from studies.runs import claim, provenance, to_json, write_atomic
from studies.triplets import data, sampling
from studies.triplets.loss import FlexibleMarginLoss
from studies.triplets.metrics import f1_over, included, severe_errors
from studies.triplets.model import CHUNK, Classifier, Network, build, softmax, to_input, vote
from studies.triplets.model import run as run_network
from studies.triplets.params import Parameters

MONITOR = "validation_macro_f1"


def criterion(parameters: Parameters, levels: int) -> nn.Module:
    """Return the loss of the system; raises StudyError when margins and levels disagree."""
    loss, mining = parameters.loss, parameters.stages[0].mining
    if loss.name == "cross_entropy":
        return nn.CrossEntropyLoss()
    if loss.name == "triplet":
        return FlexibleMarginLoss([loss.margin] * levels, mining=mining, take=loss.take)
    if len(loss.margins) != levels:
        raise StudyError(
            f"loss.margins has {len(loss.margins)} values and the label tree {levels} levels; "
            "give one margin a level"
        )
    return FlexibleMarginLoss(loss.margins, loss.combine, mining, loss.take)


class Learner(lightning.LightningModule):
    """One system in training: loss, stages, and the score that chooses the epoch."""

    def __init__(
        self,
        parameters: Parameters,
        network: Network,
        dataset: data.LabelledImages,
        inputs: np.ndarray,
        parts: np.ndarray,
    ) -> None:
        super().__init__()
        self.settings, self.network = parameters, network
        self.criterion = criterion(parameters, len(dataset.names))
        self.classes, self.inputs = dataset.classes, inputs
        self.train_rows = np.flatnonzero(parts == "train")
        self.train_classes = dataset.labels[self.train_rows, -1]
        self.scored = included(dataset.counts, parameters.min_count)
        self.chance = torch.Generator()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam; the learning rate is set at the start of every epoch."""
        return torch.optim.Adam(self.network.parameters(), lr=self.settings.stages[0].learning_rate)

    def on_train_epoch_start(self) -> None:
        """Enter the stage of this epoch, and seed its augmentation."""
        epoch = self.current_epoch
        stage = [stage for stage in self.settings.stages if stage.from_epoch <= epoch][-1]
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = stage.learning_rate
        if stage.mining is not None:
            self.criterion.mining = stage.mining
        self.chance.manual_seed(compute.epoch_seed(self.settings.seed, epoch))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of one batch."""
        pixels, labels = batch
        if self.settings.augmentation is not None:
            pixels = images.augment(pixels, self.chance, **self.settings.augmentation.model_dump())
        outputs = self.network(to_input(pixels, self.device))
        target = labels if self.network.unit else labels[:, -1]
        return self.criterion(outputs, target)

    def on_validation_epoch_start(self) -> None:
        """Begin to collect what the network says of the validation set."""
        self.outputs, self.truth = [], []

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Collect embeddings or logits."""
        pixels, labels = batch
        self.outputs.append(self.network(to_input(pixels, self.device)).float().cpu())
        self.truth.append(labels.cpu())

    def on_validation_epoch_end(self) -> None:
        """Log macro-F1 and severe errors on the validation set."""
        outputs = torch.cat(self.outputs).numpy()
        if self.network.unit:
            references = run_network(
                self.network, self.inputs[self.train_rows], self.settings.precision
            )
            votes = vote(
                outputs,
                references,
                self.train_classes,
                len(self.classes),
                self.settings.neighbours,
            )
        else:
            votes = softmax(outputs)
        predicted, true = self.classes[votes.argmax(1)], torch.cat(self.truth).numpy()
        scores = {
            MONITOR: f1_over(true[:, -1], predicted[:, -1], self.scored),
            "validation_severe_errors": float(severe_errors(true, predicted)),
        }
        self.log_dict(scores, batch_size=len(true))


def train(parameters: Parameters) -> Path:
    """Train a system unless its run folder says that it is trained; return the run folder.

    Resumes from the last checkpoint. Raises StudyError for whatever a user can mend.
    """
    dataset = data.read(parameters)
    criterion(parameters, len(dataset.names))
    if not included(dataset.counts, parameters.min_count):
        raise StudyError(
            f"no class of {relative(dataset.root)} has more than {parameters.min_count} images; "
            "lower min_count"
        )
    parts = data.split(dataset, parameters)
    inputs = data.inputs(dataset, parameters)
    with claim(parameters) as folder:
        file = folder / "model.safetensors"
        if file.exists():
            print(f"{relative(folder)}: already trained", flush=True)
            return folder
        compute.prepare(parameters)
        network = build(
            parameters, len(dataset.classes), inputs.shape[1] if inputs.ndim == 2 else None
        )
        network = network.to(memory_format=torch.channels_last)
        learner = Learner(parameters, network, dataset, inputs, parts)
        examples = sampling.Examples(inputs, dataset.labels)
        rows = {part: np.flatnonzero(parts == part) for part in data.PARTS}
        outcome = training.fit(
            learner,
            sampling.loader(examples, sampling.training_batches(dataset, parts, parameters)),
            sampling.loader(examples, sampling.Chunks(rows["validation"], CHUNK)),
            folder,
            parameters,
            MONITOR,
        )
        network = network.to(compute.device())
        trained = Classifier(
            network,
            parameters.precision,
            parameters.neighbours,
            dataset.names,
            dataset.classes,
            references=run_network(
                network if network.unit else network.trunk,
                inputs[rows["train"]],
                parameters.precision,
            ),
            reference_classes=dataset.labels[rows["train"], -1],
        )
        facts = provenance(
            **asdict(outcome),
            threads=parameters.threads,
            parameters_trained=sum(p.numel() for p in network.parameters() if p.requires_grad),
            dataset_fingerprint=images.fingerprint(dataset.paths, dataset.root),
            images={part: len(rows[part]) for part in data.PARTS},
        )
        write_atomic(folder / "provenance.json", to_json(facts))
        trained.save(file)
    return folder


if __name__ == "__main__":
    try:
        print(relative(train(Parameters.from_command_line())))
    except StudyError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from here")
