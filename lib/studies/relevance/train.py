"""Train one system: `python -m studies.relevance.train -f dataset.yaml -f system.yaml`."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot
from torch.utils.data import DataLoader

from studies import command, compute, splits, training
from studies.errors import StudyError
from studies.learner import Scheduled
from studies.paths import relative
from studies.relevance import data, downstream
from studies.relevance.batching import ByLength, Texts
from studies.relevance.model import Reader, TextClassifier, build
from studies.relevance.params import Parameters
from studies.relevance.tokens import tokenized, words
from studies.runs import claim, provenance, to_json, write_atomic

MONITOR = "validation_accuracy"


class Learner(Scheduled):
    """A classifier of texts in training; `steps` is how many there are.

    The epoch is chosen by the share of validation captions, read alone, whose class is the most
    probable: that of their image, since what truly describes it is not known in training.
    """

    def __init__(self, parameters: Parameters, network: TextClassifier, steps: int) -> None:
        fine_tuned = parameters.encoder.name == "published"
        super().__init__(
            parameters, network, steps, network.encoder.parameters() if fine_tuned else ()
        )

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of one batch."""
        tokens, real, target, weight = batch
        logits = self.network(tokens, real)
        if self.settings.predictor is not None:
            return predictor_loss(logits, target)
        return weighted_cross_entropy(logits, target, weight)

    def on_validation_epoch_start(self) -> None:
        """Begin to count."""
        self.right: list[Tensor] = []

    def validation_step(self, batch: tuple[Tensor, Tensor, Tensor, Tensor], _: int) -> None:
        """Count captions whose class is the most probable."""
        tokens, real, target, _ = batch
        self.right.append(self.network(tokens, real).argmax(1) == target)

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
        known = np.flatnonzero(parts == "train")
        flat, pairs = collection.pairs()
        tokenizer = words(
            parameters.encoder, [*collection.captions.select(known)["text"], *collection.texts]
        )
        captions = tokenized(collection.captions, tokenizer, collection.fingerprint)
        given = (tokenizer, captions, collection.target, parameters.max_tokens)
        alone = Texts(*given)
        plan = parameters.training
        facts = {}
        if parameters.predictor is not None:
            texts = Texts(*given, pairs, tokenizer.tokens(flat))
            lengths = texts.lengths  # so that batches are the same without the sentences
            if not parameters.predictor.append_sentences:
                texts = Texts(*given, pairs)
            rows = np.flatnonzero(np.isin(pairs[:, 0], known))
            draws = max(1, round(parameters.predictor.epoch_share * len(rows)))
        else:
            taken, weight = downstream.taken(parameters, collection, known)
            # an epoch has as many steps whatever is taken
            texts, rows, draws = Texts(*given, weight=weight), taken, len(known)
            lengths = texts.lengths
            facts["trained_on"] = len(taken)
        network = build(parameters, tokenizer, len(collection.wnids))
        batches = ByLength(rows, lengths, plan.batch, parameters.seed, draws)
        rest = ByLength(np.flatnonzero(parts == "validation"), alone.lengths, plan.batch)
        outcome = training.fit(
            Learner(parameters, network, plan.epochs * len(batches)),
            DataLoader(texts, sampler=batches, batch_size=None),
            DataLoader(alone, sampler=rest, batch_size=None),
            folder,
            parameters,
            MONITOR,
        )
        facts = provenance(
            **outcome.facts(network, parameters),
            dataset_fingerprint=collection.fingerprint,
            captions=splits.sizes(parts),
            **facts,
        )
        write_atomic(folder / "provenance.json", to_json(facts))
        Reader(network, tokenizer, collection.wnids, collection.names, parameters).save(file)
    return folder


if __name__ == "__main__":
    command.run(lambda: train(Parameters.from_command_line()))
