"""The predictor: an encoder of text, the mean over real tokens, a dense layer, sigmoids.

A downstream classifier is the same network, or one that looks at images.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from tqdm.auto import tqdm

from studies import paths
from studies.learning import compute
from studies.learning.backbones import weights_of
from studies.learning.networks import ScratchCNN
from studies.paths import StudyError
from studies.relevance.examples import ByLength, Pictures, Texts, Words, image_inputs, padded
from studies.relevance.examples import published as tokenizer_of
from studies.relevance.params import Parameters
from studies.runs.files import made_once
from studies.runs.folder import LoadedRun, read_weights, write_weights

LONGEST, BATCH = 128, 64  # tokens of a text, and texts at once, of an encoder that stays as it is


class Classifier(nn.Module):
    """(1): an encoder, of texts the mean over the real tokens, dropout, and a dense layer."""

    def __init__(self, encoder: nn.Module, width: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, classes)

    def forward(self, inputs: Tensor, real: Tensor | None = None) -> Tensor:
        """Return logits (B, C).

        Of texts, tokens (B, L) int64, of which some are `real` (B, L) bool; of images, pixels
        (B, 3, S, S) uint8 or features (B, F).
        """
        if real is None:
            states = self.encoder(compute.to_input(inputs, self.dense.weight.device))
        else:
            states = mean_pool(self.encoder(inputs, real), real)
        return self.dense(self.dropout(states))


def mean_pool(states: Tensor, real: Tensor) -> Tensor:
    """Return the mean over the real tokens: (B, L, H) and (B, L) to (B, H)."""
    kept = real[..., None].to(states.dtype)
    return (states * kept).sum(1) / kept.sum(1)


class Vectors(nn.Embedding):
    """A vector for each token, whatever stands beside it."""

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map (B, L) to (B, L, H)."""
        return super().forward(tokens)


class Transformer(nn.Module):
    """An encoder of the transformers library, without its pooler, which is not asked."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if getattr(model, "pooler", None) is not None:
            model.pooler = None
        self.model = model

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map (B, L) to (B, L, H)."""
        return self.model(input_ids=tokens, attention_mask=real).last_hidden_state


def embedded(texts: Sequence[str], weights: str) -> np.ndarray:
    """Return the means over tokens of texts, (N, F) float32 of length 1, by a published encoder.

    They are computed once and kept below `cache/relevance`. Longer texts are cut at `LONGEST`
    tokens.
    """
    encoder, tokenizer = Transformer(published(weights, LONGEST)), tokenizer_of(weights)
    digest = hashlib.blake2b(repr((tokenizer.to_json(), list(texts))).encode(), digest_size=12)
    for tensor in encoder.state_dict().values():
        digest.update(tensor.numpy().tobytes())

    def compute_all(partial: Path) -> None:
        where, tokens = compute.device(), tokenizer.tokens(texts)
        encoder.to(where).eval()
        lengths = np.array([len(one) for one in tokens])
        found = np.zeros((len(texts), encoder.model.config.hidden_size), dtype=np.float32)
        with torch.inference_mode():
            for rows in ByLength(np.arange(len(texts)), lengths, BATCH):
                batch = padded(tokenizer, [tokens[row] for row in rows], LONGEST)
                inputs, real = (one.to(where) for one in batch)
                found[rows] = normalize(mean_pool(encoder(inputs, real), real), dim=1).cpu()
        with partial.open("wb") as stream:
            np.save(stream, found)

    file = paths.cache() / "relevance" / f"vectors-{digest.hexdigest()}.npy"
    return np.load(made_once(file, compute_all), mmap_mode="r")


def build(
    parameters: Parameters,
    classes: int,
    words: Words | None = None,
    features: int = 0,
    config: dict[str, Any] | None = None,
) -> Classifier:
    """Return a fresh network over so many classes.

    `words` is the tokenizer of a network that reads texts, `features` how many numbers an image is
    for one that reads features. With the `config` of a published encoder its weights
    are left out: a run folder holds those that training made. Raises StudyError when a published
    encoder is not there or cannot read that much.
    """
    name = parameters.encoder.name
    if name == "features":
        encoder, width = nn.Identity(), features
    elif name == "pixels":
        encoder = ScratchCNN(parameters.encoder.size, tuple(parameters.encoder.widths))
        width = encoder.out_features
    elif name == "bag":
        width = parameters.encoder.width
        encoder = Vectors(len(words), width)
    else:
        encoder = Transformer(transformer(parameters, words, config))
        width = encoder.model.config.hidden_size
    dropout = (parameters.predictor or parameters.downstream).dropout
    return Classifier(encoder, width, dropout, classes)


def transformer(parameters: Parameters, words: Words, config: dict[str, Any] | None) -> nn.Module:
    """Return an encoder of text of the transformers library."""
    # imported late: transformers takes seconds
    import transformers

    encoder, longest = parameters.encoder, parameters.max_tokens
    if encoder.name == "published":
        if config is None:
            model = published(encoder.weights, longest)
        else:
            settings = transformers.AutoConfig.for_model(**config)
            model = transformers.AutoModel.from_config(settings, dtype=torch.float32)
        if encoder.frozen:
            model.embeddings.requires_grad_(False)
            model.encoder.layer[: encoder.frozen].requires_grad_(False)
        return model
    settings = transformers.RobertaConfig(
        vocab_size=len(words),
        hidden_size=encoder.width,
        num_hidden_layers=encoder.layers,
        num_attention_heads=encoder.heads,
        intermediate_size=4 * encoder.width,
        max_position_embeddings=longest + words.pad + 1,
        type_vocab_size=1,
        pad_token_id=words.pad,
        bos_token_id=words.begin,
        eos_token_id=words.end,
    )
    return transformers.RobertaModel(settings, add_pooling_layer=False)


def published(name: str, longest: int) -> nn.Module:
    """Return a published encoder of text with its weights."""
    import transformers

    with weights_of(name) as source:
        safe = {"use_safetensors": True, "dtype": torch.float32}
        model = transformers.AutoModel.from_pretrained(source, **safe)
        # what lacks one of these is no encoder of text
        room, _ = model.config.max_position_embeddings, model.config.hidden_size
    # RoBERTa counts places from behind its padding token's number
    room -= (model.config.pad_token_id or 0) + 1 if "roberta" in model.config.model_type else 0
    if longest > room:
        raise StudyError(
            f"max_tokens is {longest}, and {name} reads up to {room}; lower max_tokens"
        )
    return model


@dataclass
class Reader:
    """A trained network with the classes that it knows, and its tokenizer if it reads texts."""

    network: Classifier
    words: Words | None
    wnids: list[str]
    names: list[str]
    parameters: Parameters

    def predict(
        self, items: Texts | Pictures, rows: np.ndarray
    ) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield rows of items and their logits (B, C), float32 on the CPU, long texts first."""
        batches = ByLength(rows, items.lengths, self.parameters.training.batch)
        where = next(self.network.parameters()).device
        with torch.inference_mode(), compute.autocast(self.parameters.precision):
            for batch in tqdm(batches, desc="classifying", unit="batch", delay=2):
                *inputs, _, _ = (one.to(where) for one in items[batch])
                yield np.asarray(batch), self.network(*inputs).float().cpu()

    def logits(self, items: Sequence[str] | Sequence[Path]) -> np.ndarray:
        """Return what it says of N texts, or of N image files anywhere, (N, C)."""
        precision, where = self.parameters.precision, next(self.network.parameters()).device
        if self.words is None:
            # torch warns of what cannot be written, as a memory map cannot
            inputs = np.array(image_inputs(self.parameters.encoder, items, Path("/")))
            size = self.parameters.training.batch
            logits = torch.cat(compute.outputs(self.network, inputs, precision, size))
            return logits.float().cpu().numpy()
        batch = padded(self.words, self.words.tokens(items), self.parameters.max_tokens)
        with torch.inference_mode(), compute.autocast(precision):
            return self.network(*(one.to(where) for one in batch)).float().cpu().numpy()

    def save(self, file: Path) -> None:
        """Write weights, tokenizer and classes as one safetensors file, whole or not at all."""
        facts: dict[str, Any] = {"words": self.words.to_json()} if self.words else {}
        if self.parameters.encoder.name == "published":
            facts["config"] = self.network.encoder.model.config.to_dict()
        said = {**facts, "wnids": self.wnids, "names": self.names}
        write_weights(file, self.network.state_dict(), said)


def load(run: LoadedRun) -> Reader:
    """Return the system of a run folder, ready to read captions or to look at images.

    Raises StudyError when its weights are missing, damaged, or another system's.
    """
    parameters = run.parameters
    with read_weights(run.folder / "model.safetensors") as (said, tensors):
        words = None if parameters.sees_images else Words.from_json(said["words"])
        wnids, names = said["wnids"], said["names"]
        features = tensors["dense.weight"].shape[1]
        network = build(parameters, len(wnids), words, features, said.get("config"))
        network.load_state_dict(tensors)
    return Reader(network.to(compute.device()).eval(), words, wnids, names, parameters)
