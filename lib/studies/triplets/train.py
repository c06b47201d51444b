"""Train one system: `python -m studies.triplets.train -f dataset.yaml -f model.yaml -p seed=0`."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from studies.inputs.images import augment
from studies.inputs.reading import sizes
from studies.learning import compute
from studies.learning.fit import Batches, Examples, Learner, fit
from studies.paths import StudyError, relative, run_command
from studies.triplets import data, sampling
from studies.triplets.loss import COLLAPSED, Objective, objective, spread
from studies.triplets.metrics import included, macro_f1, severe_errors
from studies.triplets.model import CHUNK, Classifier, Network, build, gather, levels_right, run
from studies.triplets.params import Parameters

MONITOR = "validation_macro_f1"


class Approach(Learner):
    """One system in training: objective, stages, and the score that chooses the epoch.

    `roles` (N,) says what each image is for (`sampling.roles`).
    """

    def __init__(
        self,
        parameters: Parameters,
        network: Network,
        objective: Objective,
        dataset: data.LabelledImages,
        inputs: np.ndarray,
        roles: np.ndarray,
    ) -> None:
        super().__init__(parameters, network)
        self.objective, self.dataset, self.inputs = objective, dataset, inputs
        self.train_rows = np.flatnonzero(roles == "train")
        trained = set(dataset.class_index[self.train_rows].tolist())
        self.counts = {label: n for label, n in dataset.counts.items() if label in trained}

    def optimizer(self) -> torch.optim.Optimizer:
        """Return Adam; the learning rate is set at the start of every epoch."""
        return torch.optim.Adam(self.network.parameters(), lr=self.settings.stages[0].learning_rate)

    def begin_epoch(self, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        """Enter the stage of this epoch."""
        stage = [stage for stage in self.settings.stages if stage.from_epoch <= epoch][-1]
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate
        if stage.mining is not None:
            self.objective.margin.mining = stage.mining

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the loss of pixels or features, (B, H) labels and (B,) classes."""
        pixels, labels, classes = batch
        if self.settings.augmentation is not None:
            pixels = augment(pixels, self.chance, **self.settings.augmentation.model_dump())
        output = self.network(compute.to_input(pixels, self.device))
        return self.objective(*self.whole((output, labels, classes)))

    def scores(self, batches: Iterable[Any], curves: pd.DataFrame) -> dict[str, float]:
        """Return macro-F1 and severe errors in validation; stop when the space collapsed."""
        outputs, truth = [], []
        for pixels, _, classes in batches:
            outputs.append(self.network(compute.to_input(pixels, self.device)))
            truth.append(classes.cpu())
        logits, embedded = gather(outputs)
        votes = logits
        if self.settings.decide == "neighbours":
            votes = self.classifier(self.train_rows).vote(embedded.numpy())
        elif self.settings.decide == "least_cost":
            votes = levels_right(logits, self.dataset.classes)
        # then D(a,p) − D(a,n) is nearly 0 for every triplet, and the loss nearly the margin
        if self.objective.margin is not None and (distance := spread(embedded)) < COLLAPSED:
            self.stopped = (
                f"collapsed by epoch {len(curves) + 1}: all images are embedded within "
                f"{distance:.2g} of each other; start with semi-hard mining, or lower learning_rate"
            )
        predicted, true = np.asarray(votes).argmax(1), torch.cat(truth).numpy()
        paths = self.dataset.classes
        return {
            MONITOR: macro_f1(true, predicted, self.counts, self.settings.min_count),
            "validation_severe_errors": float(severe_errors(paths[true], paths[predicted])),
        }

    def classifier(self, rows: np.ndarray) -> Classifier:
        """Return the network with these images of the dataset, (R,) rows, as its references."""
        dataset = self.dataset
        points = run(self.network, self.inputs[rows], self.settings.precision).embeddings.numpy()
        known = dataset.names, dataset.classes, points, dataset.class_index[rows]
        return Classifier(self.settings, self.network, *known)


@compute.trains
def train(parameters: Parameters) -> Iterator[Any]:
    """Train a system unless its run folder says that it is trained; return the run folder.

    Resumes from the last checkpoint. Raises StudyError for whatever a user can mend.
    """
    dataset = data.read(parameters)
    relations = data.relations(dataset, parameters)
    loss = objective(parameters, relations.shape[1])
    if not included(dataset.counts, parameters.min_count):
        raise StudyError(
            f"no class of {relative(dataset.root)} has more than {parameters.min_count} images; "
            "lower min_count"
        )
    if parameters.held_out >= len(dataset.classes) - 1:
        raise StudyError(
            f"held_out: {parameters.held_out} of {len(dataset.classes)} classes leaves fewer than "
            "two to train on; lower it"
        )
    roles = sampling.roles(dataset, data.split(dataset, parameters), parameters)
    inputs = data.inputs(dataset, parameters)
    folder = yield
    features = inputs.shape[1] if inputs.ndim == 2 else None
    network = build(parameters, len(dataset.classes), features)
    examples = Examples(inputs, relations[dataset.class_index], dataset.class_index)
    training = sampling.training_batches(dataset, roles, parameters)
    validation = Batches(np.flatnonzero(roles == "validation"), CHUNK, seed=None)
    batches = (examples, training), (examples, validation)
    approach = Approach(parameters, network, loss, dataset, inputs, roles)
    outcome = fit(approach, *batches, folder, parameters, MONITOR)
    known = np.flatnonzero(np.isin(roles, ["train", "gallery"]))
    read = {"dataset_fingerprint": dataset.fingerprint, "images": sizes(roles)}
    yield outcome.facts(network, parameters) | read, approach.classifier(known)


if __name__ == "__main__":
    run_command(lambda: train(Parameters.from_command_line()))
