"""Train one system: `python -m studies.captioning.train -f dataset.yaml -f system.yaml`."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from studies.captioning import data
from studies.captioning.model import Captioner, Describer, build
from studies.captioning.params import Parameters
from studies.captioning.tokens import PAD, Words
from studies.inputs.images import augment
from studies.inputs.reading import sizes
from studies.learning import compute
from studies.learning.compute import to_input
from studies.learning.fit import Batches, Scheduled, fit
from studies.paths import run_command

MONITOR = "validation_loss"


def loss(
    network: Captioner,
    inputs: Tensor,
    captions: Tensor,
    owners: Tensor,
    smoothing: float,
    whole: Callable[[tuple[Tensor, Tensor]], tuple[Tensor, Tensor]] = tuple,
) -> Tensor:
    """Return the loss of teacher forcing in nats a word, a scalar.

    The mean cross-entropy of every word given the true words before it:
    L = −1/M Σ_c Σ_t log p(w_t | image, w_1 … w_{t−1}) over the M words of all captions c, the end
    of each caption being its last word.

    Args:
        network: the system.
        inputs: what its encoder takes, B images, each encoded once.
        captions: (C, L) int64, each `<bos>`, its words, `<eos>`, then `<pad>`, not counted.
        owners: (C,) which of the B images each caption describes.
        smoothing: share of the true word's probability that is spread over all words, 0 for none.
        whole: gathers over ranks what each has summed, see `Learner.whole`.

    """
    memory = network.encoder(inputs)
    lengths, read = (captions != PAD).sum(1), []
    # captions of like length are read together, so that little is computed on padding
    for rows in lengths.argsort(descending=True, stable=True).chunk(network.decoder.groups):
        tokens = captions[rows, : int(lengths[rows].max())]
        counted = tokens[:, 1:] != PAD
        states = network.decoder(memory.index_select(0, owners[rows]), tokens[:, :-1])
        read.append((states[counted], tokens[:, 1:][counted]))
    states, truth = map(torch.cat, zip(*read, strict=True))
    logits = network.decoder.output(states).float()
    total = cross_entropy(logits, truth, label_smoothing=smoothing, reduction="sum")
    total, words = whole((total[None], (lengths - 1).sum(0, keepdim=True)))
    return total.sum() / words.sum()


class TeacherForcing(Scheduled):
    """One system in training by teacher forcing, with the six curves of the paper.

    `steps` is how many there are in all; the learning rate rises over the first `warm_up` of them
    and falls to 0 along a cosine.
    """

    def __init__(self, parameters: Parameters, network: Captioner, steps: int) -> None:
        trunk = network.encoder.trunk
        fine_tuned = parameters.network.encoder.source.name == "backbone" and trunk is not None
        super().__init__(parameters, network, steps, trunk.parameters() if fine_tuned else ())

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Return the loss a word of images, captions (C, T) and owners (C,), their images."""
        inputs, captions, owners = batch
        if self.settings.augmentation is not None:
            inputs = augment(inputs, self.chance, **self.settings.augmentation.model_dump())
        inputs, smoothing = to_input(inputs, self.device), self.settings.label_smoothing
        # the backward of fused attention in bf16 takes a CPU four times as long as plain products
        with sdpa_kernel(SDPBackend.MATH) if torch.is_autocast_enabled("cpu") else nullcontext():
            return loss(self.network, inputs, captions, owners, smoothing, self.whole)

    def scores(self, batches: Iterable[Any], curves: pd.DataFrame) -> dict[str, float]:
        """Return the validation loss a word; stop when it has not become better for long."""
        total, count = 0.0, 0
        for inputs, captions, owners in batches:
            words = int((captions[:, 1:] != PAD).sum())
            inputs = to_input(inputs, self.device)
            total += words * float(loss(self.network, inputs, captions, owners, smoothing=0.0))
            count += words
        values = [*curves.get(MONITOR, pd.Series(dtype=float)).dropna(), total / count]
        waited = len(values) - 1 - int(np.argmin(values))
        if waited >= self.settings.patience:
            epochs = waited * self.settings.validate_every
            self.stopped = f"has not become better on validation data for {epochs} epochs"
        return {MONITOR: values[-1]}


@compute.trains
def train(parameters: Parameters) -> Iterator[Any]:
    """Train a system unless its run folder says that it is trained; return the run folder.

    Resumes from the last checkpoint. Raises StudyError for whatever a user can mend.
    """
    dataset = data.read(parameters)
    parts = data.split(dataset, parameters)
    inputs = data.inputs(dataset, parameters)
    words = Words.learn(data.training_captions(dataset, parts), parameters.min_count)
    folder = yield
    network = build(parameters, len(words), inputs.shape[1:])
    examples = data.Examples(inputs, dataset.captions, words, parameters.decoding.max_length)
    known = Batches(np.flatnonzero(parts == "train"), parameters.images, parameters.seed)
    held_out = Batches(np.flatnonzero(parts == "validation"), parameters.images, None)
    batches = (examples, known), (examples, held_out)
    learner = TeacherForcing(parameters, network, parameters.epochs * len(known))
    outcome = fit(learner, *batches, folder, parameters, MONITOR, mode="min")
    facts = {
        **outcome.facts(network, parameters),
        "dataset_fingerprint": dataset.fingerprint,
        "images": sizes(parts),
        "words": len(words),
        "input_shape": list(inputs.shape[1:]),
    }
    yield facts, Describer(network, words, parameters)


if __name__ == "__main__":
    run_command(lambda: train(Parameters.from_command_line()))
