"""Train one system: `python -m studies.relevance.train -f dataset.yaml -f system.yaml`."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from studies.inputs import reading
from studies.learning import compute
from studies.learning.fit import Scheduled, fit
from studies.paths import StudyError, relative, run_command
from studies.relevance import data
from studies.relevance.examples import ByLength, Pictures, Texts, items, words
from studies.relevance.model import Classifier, Reader, build
from studies.relevance.params import Parameters
from studies.runs.folder import load_run

MONITOR = "validation_accuracy"


class Reading(Scheduled):
    """A classifier of texts or images in training; `steps` is how many there are.

    The epoch is chosen by the share of validation captions, read alone, whose class is the most
    probable: that of their image, since what truly describes it is not known in training.
    """

    def __init__(self, parameters: Parameters, network: Classifier, steps: int) -> None:
        fine_tuned = parameters.encoder.name == "published"
        published = network.encoder.parameters() if fine_tuned else ()
        super().__init__(parameters, network, steps, published)

    def loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Return the loss of inputs, (B,) classes and (B,) weights."""
        *inputs, target, weight = batch
        logits, target, weight = self.whole((self.network(*inputs), target, weight))
        plan = self.settings.predictor
        if plan is not None and not plan.exclusive:
            return predictor_loss(logits, target)
        return weighted_cross_entropy(logits, target, weight)

    def scores(self, batches: Iterable[Any], curves: pd.DataFrame) -> dict[str, float]:
        """Return the share of validation captions whose class is the most probable."""
        right = [self.network(*inputs).argmax(1) == target for *inputs, target, _ in batches]
        return {MONITOR: float(torch.cat(right).float().mean())}


def predictor_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return the binary cross-entropy, the mean over texts and classes, of (B, C) and (B,)."""
    return binary_cross_entropy_with_logits(logits, one_hot(target, logits.shape[1]).to(logits))


def weighted_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the mean over texts of weight × cross-entropy, of (B, C), (B,) and (B,)."""
    return (weight * cross_entropy(logits, target, reduction="none")).mean()


@compute.trains
def train(parameters: Parameters) -> Iterator[Any]:
    """Train a system unless its run folder says that it is trained; return the run folder.

    Resumes from the last checkpoint. Raises StudyError for whatever a user can mend, as when the
    predictor that a downstream classifier builds on is not evaluated.
    """
    collection = data.read(parameters)
    parts = data.split(collection, parameters)
    folder = yield
    known, rest = (np.flatnonzero(parts == part) for part in ("train", "validation"))
    facts = {"dataset_fingerprint": collection.fingerprint_for(parameters)}
    weight, plan = None, parameters.predictor
    if plan is not None and plan.fold is not None:
        known = known[halves(parts, parameters)[known] != plan.fold]
        facts["trained_on"] = len(known)
    if parameters.downstream is not None:
        taken, weight = training_captions(parameters, collection, parts)
        facts["trained_on"] = len(taken)
    reader, alone = untrained(parameters, collection, known, weight)
    plan = parameters.training
    if parameters.predictor is not None:
        examples, batches = with_sentences(parameters, collection, known, alone)
    else:
        examples = alone
        # an epoch has as many steps whatever is taken
        batches = ByLength(taken, alone.lengths, plan.batch, parameters.seed, len(known))
    learner = Reading(parameters, reader.network, plan.epochs * len(batches))
    read = (examples, batches), (alone, ByLength(rest, alone.lengths, plan.batch))
    outcome = fit(learner, *read, folder, parameters, MONITOR)
    told = outcome.facts(reader.network, parameters)
    yield {**told, "captions": reading.sizes(parts), **facts}, reader


def untrained(
    parameters: Parameters,
    collection: data.Collection,
    known: np.ndarray,
    weight: np.ndarray | None,
) -> tuple[Reader, Texts | Pictures]:
    """Return a fresh system, and what it reads: all captions alone, or all images.

    `known` are the training captions, `weight` (N,) is what each caption counts.
    """
    tokenizer = None
    if not parameters.sees_images:
        # a column is read as it is asked for, which for a published tokenizer is never
        learnt_from = chain(collection.captions.select(known)["text"], collection.texts)
        tokenizer = words(parameters.encoder, learnt_from)
    alone = items(parameters, collection, tokenizer, weight)
    features = alone.inputs.shape[1] if parameters.sees_images else 0
    network = build(parameters, len(collection.wnids), tokenizer, features)
    return Reader(network, tokenizer, collection.wnids, collection.names, parameters), alone


def with_sentences(
    parameters: Parameters, collection: data.Collection, known: np.ndarray, alone: Texts
) -> tuple[Texts, ByLength]:
    """Return the predictor's examples of all captions, and batches of those of the `known`."""
    flat, pairs = collection.pairs()
    plan = parameters.predictor
    rng = np.random.default_rng([parameters.split_seed, parameters.seed])
    if plan.appended == "name":
        flat, pairs[:, 1] = collection.names, collection.target[pairs[:, 0]]
    elif plan.appended == "wrong":
        classes = collection.target[pairs[:, 0]]
        pairs[:, 1] = others_sentence(classes, collection.sentence_counts, rng)
    sentences = alone.words.tokens(flat)
    # batches are the same whether sentences are appended or not
    asked = {"appended": plan.append_sentences, "apart": plan.appended == "apart"}
    texts = replace(alone, pairs=pairs, sentences=sentences, **asked)
    rows = np.flatnonzero(np.isin(pairs[:, 0], known))
    if plan.sentences_each is not None:
        rows = rng.permutation(rows)
        before = pd.Series(pairs[rows, 0]).groupby(pairs[rows, 0]).cumcount()
        rows = np.sort(rows[before < plan.sentences_each])
    draws = max(1, round(plan.epoch_share * len(rows)))
    return texts, ByLength(rows, texts.lengths, parameters.training.batch, parameters.seed, draws)


def halves(parts: np.ndarray, parameters: Parameters) -> np.ndarray:
    """Return in which half, 0 or 1, each caption is, (N,); training is halved by lot."""
    half, known = np.zeros(len(parts), dtype=int), np.flatnonzero(parts == "train")
    rng = np.random.default_rng(parameters.split_seed)
    half[rng.permutation(known)[: len(known) // 2]] = 1
    return half


def others_sentence(target: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return for each of E classes a sentence of another class by lot, (E,).

    The sentences of all classes, `counts` (C,) of each, stand one behind the other.
    """
    behind = np.cumsum(counts)[target]  # the first sentence that is not of the class, in a circle
    return (behind + rng.integers(counts.sum() - counts[target])) % counts.sum()


def training_captions(
    parameters: Parameters, collection: data.Collection, parts: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return which of the training captions a downstream classifier takes, and weights.

    `parts` (N,) are those of all. Weights (N,), None for 1, are the coefficients, and 1 on average
    over the taken captions, so that one learning rate fits all systems. Raises StudyError when a
    predictor was not evaluated, or on other captions, or keeps none.
    """
    plan, known = parameters.downstream, np.flatnonzero(parts == "train")
    if plan.captions == "all":
        return known, None
    if plan.captions == "clean":
        return known[collection.relevant[known] == 1], None
    decided, half = [], halves(parts, parameters)
    for predictor in parameters.builds_on():
        folder, fold = predictor.folder(), predictor.predictor.fold
        if not (folder / "metrics.json").exists():
            raise StudyError(
                f"{relative(folder)} is not evaluated, and {parameters.system} is trained on what "
                "it keeps; run python -m studies.relevance.evaluate with the same files, which "
                "does both"
            )
        run = load_run(folder)
        collection.refuse_changed(run, predictor)
        decided.append(run.predictions[(half == fold) | (fold is None)])
    decisions = pd.concat(decided).sort_index()
    kept = known[decisions["kept"].to_numpy(dtype=bool)[known]]
    if not len(kept):
        raise StudyError(
            f"{relative(folder)} keeps no training caption, so nothing is left to train on; "
            "train the predictor for longer, or lower filter.threshold"
        )
    if plan.captions == "random":
        rng = np.random.default_rng([parameters.split_seed, parameters.seed])
        return np.sort(rng.choice(known, len(kept), replace=False)), None
    if plan.captions == "kept":
        return kept, None
    coefficients = decisions["coefficient"].to_numpy()
    return kept, np.nan_to_num(coefficients) / coefficients[kept].mean()


if __name__ == "__main__":
    run_command(lambda: train(Parameters.from_command_line()))
