"""Train one system: `python -m studies.relevance.train -f dataset.yaml -f system.yaml`."""

from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from torch.utils.data import DataLoader

from studies.inputs import splits
from studies.learning import compute
from studies.learning.fit import Scheduled, fit
from studies.paths import StudyError, relative, run_command
from studies.relevance import data, downstream, pictures
from studies.relevance.batching import ByLength, Texts
from studies.relevance.model import Reader, TextClassifier, build
from studies.relevance.params import Parameters
from studies.relevance.pictures import PictureClassifier, Pictures, Viewer
from studies.relevance.tokens import tokenized, words
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import claim, provenance

MONITOR = "validation_accuracy"


class Learner(Scheduled):
    """A classifier of texts or images in training; `steps` is how many there are.

    The epoch is chosen by the share of validation captions, read alone, whose class is the most
    probable: that of their image, since what truly describes it is not known in training.
    """

    def __init__(
        self, parameters: Parameters, network: TextClassifier | PictureClassifier, steps: int
    ) -> None:
        fine_tuned = parameters.encoder.name == "published"
        super().__init__(
            parameters, network, steps, network.encoder.parameters() if fine_tuned else ()
        )

    def training_step(self, batch: tuple[Tensor, ...], _: int) -> Tensor:
        """Return the loss of one batch."""
        *inputs, target, weight = batch
        logits = self.network(*inputs)
        if self.settings.predictor is not None:
            return predictor_loss(logits, target)
        return weighted_cross_entropy(logits, target, weight)

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self.right: list[Tensor] = []

    def validation_step(self, batch: tuple[Tensor, ...], _: int) -> None:
        """Count captions whose class is the most probable."""
        *inputs, target, _ = batch
        self.right.append(self.network(*inputs).argmax(1) == target)

    def on_validation_epoch_end(self) -> None:
        """Log the share of them."""
        self.log(MONITOR, torch.cat(self.right).float().mean(), batch_size=1)


def predictor_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the binary cross-entropy, the mean over texts and classes, of (B, C) and (B,)."""
    return binary_cross_entropy_with_logits(logits, one_hot(target, logits.shape[1]).to(logits))


def weighted_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the mean over texts of weight × cross-entropy, of (B, C), (B,) and (B,)."""
    return (weight * cross_entropy(logits, target, reduction="none")).mean()


def train(parameters: Parameters) -> Path:
    """Train a system unless its run folder says that it is trained; return the run folder.

    Resumes from the last checkpoint. Raises StudyError for whatever a user can mend, as when the
    predictor that a downstream classifier builds on is not evaluated.
    """
    if not parameters.trained:
        raise StudyError(f"{parameters.model} has no network, and nothing of it is trained")
    collection = data.read(parameters)
    parts = data.split(collection, parameters)
    with claim(parameters) as folder:
        file = folder / "model.safetensors"
        if file.exists():
            print(f"{relative(folder)}: already trained", flush=True)
            return folder
        compute.prepare(parameters)
        known, rest = (np.flatnonzero(parts == part) for part in ("train", "validation"))
        facts = {"dataset_fingerprint": pictures.fingerprint(parameters, collection)}
        weight = None
        if parameters.downstream is not None:
            taken, weight = downstream.taken(parameters, collection, known)
            facts["trained_on"] = len(taken)
        system, alone = untrained(parameters, collection, known, weight)
        plan = parameters.training
        if parameters.predictor is not None:
            examples, batches = with_sentences(parameters, collection, known, alone)
        else:
            examples = alone
            # an epoch has as many steps whatever is taken
            batches = ByLength(taken, alone.lengths, plan.batch, parameters.seed, len(known))
        outcome = fit(
            Learner(parameters, system.network, plan.epochs * len(batches)),
            DataLoader(examples, sampler=batches, batch_size=None),
            DataLoader(alone, sampler=ByLength(rest, alone.lengths, plan.batch), batch_size=None),
            folder,
            parameters,
            MONITOR,
        )
        facts = provenance(
            **outcome.facts(system.network, parameters),
            captions=splits.sizes(parts),
            **facts,
        )
        write_atomic(folder / "provenance.json", to_json(facts))
        system.save(file)
    return folder


def untrained(
    parameters: Parameters,
    collection: data.Collection,
    known: np.ndarray,
    weight: np.ndarray | None,
) -> tuple[Reader | Viewer, Texts | Pictures]:
    """Return a fresh system, and what it reads: all captions alone, or all images.

    `known` are the training captions, `weight` (N,) is what each caption counts.
    """
    classes = collection.wnids, collection.names
    if parameters.sees_images:
        shown = pictures.pictures(parameters, collection, weight)
        width = shown.inputs.shape[1]
        network = pictures.build(parameters.downstream, len(collection.wnids), width)
        return Viewer(network, *classes, parameters), shown
    # a column is read as it is asked for, which for a published tokenizer is never
    learnt_from = chain(collection.captions.select(known)["text"], collection.texts)
    tokenizer = words(parameters.encoder, learnt_from)
    captions = tokenized(collection.captions, tokenizer, collection.fingerprint)
    given = tokenizer, captions, collection.target, parameters.max_tokens
    network = build(parameters, tokenizer, len(collection.wnids))
    return Reader(network, tokenizer, *classes, parameters), Texts(*given, weight=weight)


def with_sentences(
    parameters: Parameters, collection: data.Collection, known: np.ndarray, alone: Texts
) -> tuple[Texts, ByLength]:
    """Return the predictor's examples of all captions, and batches of those of the `known`."""
    given = alone.words, alone.captions, alone.target, alone.longest
    flat, pairs = collection.pairs()
    texts = Texts(*given, pairs, alone.words.tokens(flat))
    lengths = texts.lengths  # so that batches are the same without the sentences
    if not parameters.predictor.append_sentences:
        texts = Texts(*given, pairs)
    rows = np.flatnonzero(np.isin(pairs[:, 0], known))
    draws = max(1, round(parameters.predictor.epoch_share * len(rows)))
    return texts, ByLength(rows, lengths, parameters.training.batch, parameters.seed, draws)


if __name__ == "__main__":
    run_command(lambda: train(Parameters.from_command_line()))
