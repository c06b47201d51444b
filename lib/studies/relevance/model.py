"""The predictor: an encoder of text, the mean over real tokens, a dense layer, sigmoids."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

from studies.learning import compute
from studies.paths import StudyError
from studies.relevance import pictures
from studies.relevance.batching import ByLength, Texts, padded
from studies.relevance.params import Parameters
from studies.relevance.pictures import PictureClassifier, Pictures, Viewer
from studies.relevance.tokens import Words
from studies.runs.folder import LoadedRun, fitting_weights, open_weights, write_weights


class TextClassifier(nn.Module):
    """(1): an encoder, the mean over the real tokens, dropout, and a dense layer."""

    def __init__(self, encoder: nn.Module, width: int, dropout: float, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(width, classes)

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map tokens (B, L) int64, of which some are real (B, L) bool, to logits (B, C)."""
        return self.dense(self.dropout(mean_pool(self.encoder(tokens, real), real)))


def mean_pool(states: Tensor, real: Tensor) -> Tensor:
    """Return the mean over the real tokens: (B, L, H) and (B, L) to (B, H)."""
    kept = real[..., None].to(states.dtype)
    return (states * kept).sum(1) / kept.sum(1)


class Vectors(nn.Module):
    """A vector for each token, whatever stands beside it."""

    def __init__(self, vocabulary: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocabulary, width)

    def forward(self, tokens: Tensor, real: Tensor) -> Tensor:
        """Map (B, L) to (B, L, H)."""
        return self.table(tokens)


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


def build(
    parameters: Parameters, words: Words, classes: int, config: dict[str, Any] | None = None
) -> TextClassifier:
    """Return a fresh network over so many classes.

    With the `config` of a published encoder its weights are left out: a run folder holds those that
    training made. Raises StudyError when a published encoder is not there or cannot read that much.
    """
    encoder, longest = parameters.encoder, parameters.max_tokens
    dropout = (parameters.predictor or parameters.downstream).dropout
    if encoder.name == "bag":
        return TextClassifier(Vectors(len(words), encoder.width), encoder.width, dropout, classes)
    # imported late: transformers takes seconds
    import transformers

    if encoder.name == "roberta":
        given = transformers.RobertaConfig(
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
        model = transformers.RobertaModel(given, add_pooling_layer=False)
    elif config is not None:
        model = transformers.AutoModel.from_config(
            transformers.AutoConfig.for_model(**config), dtype=torch.float32
        )
    else:
        model = published(encoder.weights, longest)
    return TextClassifier(Transformer(model), model.config.hidden_size, dropout, classes)


def published(name: str, longest: int) -> nn.Module:
    """Return a published encoder of text with its weights."""
    import transformers

    try:
        model = transformers.AutoModel.from_pretrained(
            name, use_safetensors=True, dtype=torch.float32
        )
        # what lacks one of these is no encoder of text
        room, _ = model.config.max_position_embeddings, model.config.hidden_size
    except Exception as error:  # which one depends on what is missing or damaged
        raise StudyError(
            f"encoder.weights: no encoder of text in safetensors at {name} "
            f"({type(error).__name__}); give the name of one on the hub, such as "
            "FacebookAI/roberta-base, or a folder that save_pretrained wrote"
        ) from error
    # RoBERTa counts places from behind its padding token's number
    room -= (model.config.pad_token_id or 0) + 1 if "roberta" in model.config.model_type else 0
    if longest > room:
        raise StudyError(
            f"max_tokens is {longest}, and {name} reads up to {room}; lower max_tokens"
        )
    return model


def said_by(
    network: TextClassifier | PictureClassifier,
    items: Texts | Pictures,
    rows: np.ndarray,
    precision: str,
    size: int,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield rows of items and their logits (B, C), float32 on the CPU, the longest texts first."""
    where = next(network.parameters()).device
    network.eval()
    batches = ByLength(rows, items.lengths, size)
    with torch.inference_mode(), compute.autocast(precision):
        for batch in tqdm(batches, desc="classifying", unit="batch", delay=2):
            *inputs, _, _ = items[batch]
            yield np.asarray(batch), network(*(one.to(where) for one in inputs)).float().cpu()


@dataclass
class Reader:
    """A trained network with its tokenizer and the classes that it knows."""

    network: TextClassifier
    words: Words
    wnids: list[str]
    names: list[str]
    parameters: Parameters

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return what it says of N texts, (N, C)."""
        longest = self.parameters.max_tokens
        tokens, real = padded(self.words, self.words.tokens(texts), longest)
        where = next(self.network.parameters()).device
        with torch.inference_mode(), compute.autocast(self.parameters.precision):
            return self.network(tokens.to(where), real.to(where)).float().cpu().numpy()

    def save(self, file: Path) -> None:
        """Write weights, tokenizer and classes as one safetensors file, whole or not at all."""
        given: dict[str, Any] = {"words": self.words.to_json()}
        if self.parameters.encoder.name == "published":
            given["config"] = self.network.encoder.model.config.to_dict()
        write_weights(file, self.network, {**given, "wnids": self.wnids, "names": self.names})


def load(run: LoadedRun) -> Reader | Viewer:
    """Return the system of a run folder, ready to read captions or to look at images.

    Raises StudyError when its weights are missing, damaged, or another system's.
    """
    parameters = Parameters.from_run(run.params, run.folder)
    file = run.folder / "model.safetensors"
    with open_weights(file) as (metadata, tensors):
        said = json.loads(metadata["said"])
        words = None if parameters.sees_images else Words.from_json(said["words"])
        wnids, names = said["wnids"], said["names"]
    with fitting_weights(file):
        if words is None:
            width = tensors["dense.weight"].shape[1]
            network = pictures.build(parameters.downstream, len(wnids), width)
        else:
            network = build(parameters, words, len(wnids), said.get("config"))
        network.load_state_dict(tensors)
    network = network.to(compute.device()).eval()
    if words is None:
        return Viewer(network, wnids, names, parameters)
    return Reader(network, words, wnids, names, parameters)
