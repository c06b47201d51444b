"""A system as built from its parameters, written to a run folder, and read back to caption."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from studies.captioning.beam import beam
from studies.captioning.blocks import Size
from studies.captioning.captioner import Captioner
from studies.captioning.decoder import Decoder
from studies.captioning.decoding import Caption, Rules, still
from studies.captioning.encoder import Encoder
from studies.captioning.lstm import LstmDecoder
from studies.captioning.params import Network, Parameters
from studies.captioning.tokens import BOS, EOS, PAD, UNKNOWN, Words
from studies.captioning.transformer import TransformerDecoder
from studies.captioning.trunks import Convolutions, Patches
from studies.inputs import images
from studies.inputs.features import features
from studies.learning import compute
from studies.learning.backbones import load_backbone
from studies.learning.networks import FineTuned
from studies.paths import StudyError
from studies.runs.files import write_atomic
from studies.runs.folder import fitting_weights, open_weights

CHUNK = 64  # images captioned at once
WORDS = "words.json"


def build(
    parameters: Parameters, vocabulary: int, shape: tuple[int, ...], pretrained: bool = True
) -> Captioner:
    """Return a fresh system for a number of words and the shape of one input.

    The shape is (3, S, S) of pixels or (T, F) of a frozen backbone's tokens. A fine-tuned backbone
    begins with its published weights, or if not `pretrained` with random ones, to be filled.
    Raises StudyError when these weights are not to be had, or do not fit image_size or grid.
    """
    network = parameters.network
    return Captioner(
        build_encoder(network, parameters.image_size, shape, pretrained),
        build_decoder(network, vocabulary, parameters.decoding.max_length + 1),
    )


def build_encoder(
    network: Network, image_size: int, shape: tuple[int, ...], pretrained: bool
) -> Encoder:
    """Return the encoder of a network; see `build`."""
    given = network.encoder
    trunk = build_trunk(network, image_size, pretrained)
    if trunk is None:
        places, features = shape
    else:
        try:
            with still(trunk):
                _, places, features = trunk(torch.zeros(1, *shape)).shape
        except ValueError as error:  # of transformers, whose models often take one size only
            raise StudyError(
                f"image_size {image_size} does not fit {given.source.weights} "
                f"({str(error).rstrip('.')}); set image_size to the model's own"
            ) from None
    if given.grid is not None and math.isqrt(places) ** 2 != places:
        raise StudyError(
            f"network.encoder.grid is {given.grid}, but the encoder gives {places} tokens, which "
            "are no square map; set grid to null, as for all vision transformers"
        )
    return Encoder(
        trunk,
        features,
        places if given.grid is None else given.grid**2,
        given.grid,
        given.projection,
        "sinusoidal",
        Size(network.width, given.layers, given.heads, given.feedforward, network.dropout),
    )


def build_trunk(network: Network, image_size: int, pretrained: bool) -> nn.Module | None:
    """Return what turns pixels into tokens; None for a frozen backbone, whose tokens are kept."""
    source = network.encoder.source
    if source.name == "cnn":
        return Convolutions(source.widths)
    if source.name == "vit":
        size = Size(source.width, source.layers, source.heads, 4 * source.width, network.dropout)
        return Patches(image_size, source.patch, size)
    if not source.trained:
        return None
    return FineTuned(load_backbone(source.weights, True, pretrained), pooled=False)


def build_decoder(network: Network, vocabulary: int, length: int) -> Decoder:
    """Return the decoder of a network for so many words and steps."""
    given, width = network.decoder, network.width
    if given.name == "lstm":
        return LstmDecoder(vocabulary, width, width, given.hidden, width, network.dropout)
    size = Size(width, given.layers, given.heads, given.feedforward, network.dropout)
    return TransformerDecoder(vocabulary, length, "sinusoidal", False, size)


@dataclass
class Describer:
    """A trained system with its words, ready to caption."""

    network: Captioner
    words: Words
    parameters: Parameters

    def caption(self, inputs: np.ndarray) -> list[str]:
        """Return a caption for each of the inputs (N, 3, S, S) uint8 or (N, T, F) tokens."""
        longest = self.parameters.decoding.max_length  # one that does not end has a word more
        return [self.words.decode(found.tokens[:longest]) for found in self.search(inputs)]

    def search(self, inputs: np.ndarray) -> list[Caption]:
        """Return the best caption of beam search for each input."""
        given = self.parameters.decoding
        rules = Rules(BOS, EOS, (PAD, UNKNOWN), given.max_length + 1, min_length=1)
        found: list[Caption] = []
        decoder = self.network.decoder
        for memory in self.memories(inputs):
            with compute.autocast(self.parameters.precision):
                found += beam(decoder, memory, rules, given.beams, given.length_penalty)
        return found

    def attention(self, inputs: np.ndarray, captions: list[str]) -> list[Tensor]:
        """Return for each input how its caption's words looked at it, (words, T), rows sum to 1."""
        longest, maps = self.parameters.decoding.max_length, []
        for memory, given in zip(self.memories(inputs, 1), captions, strict=True):
            tokens = self.words.encode([given], longest)[:, :-1].to(memory.device)
            with still(self.network):
                maps.append(self.network.decoder.attend(memory, tokens)[0, :-1].float().cpu())
        return maps

    def memories(self, inputs: np.ndarray, size: int = CHUNK) -> Iterator[Tensor]:
        """Yield what the decoder reads, (B, T, D) float32, so many inputs at a time."""
        device = next(self.network.parameters()).device
        for start in range(0, len(inputs), size):
            batch = torch.from_numpy(np.array(inputs[start : start + size]))
            with still(self.network), compute.autocast(self.parameters.precision):
                memory = self.network.encoder(to_input(batch, device))
            yield memory.float()

    def describe(self, files: list[Path]) -> list[str]:
        """Return a caption for each picture file."""
        return self.caption(self.read(files))

    def read(self, files: list[Path]) -> np.ndarray:
        """Return what the network reads of picture files."""
        source = self.parameters.network.encoder.source
        if source.name == "backbone" and not source.trained:
            return features(files, Path("/"), source.weights, pooled=False, dtype="float16")
        return np.stack([images.decode(file, self.parameters.image_size) for file in files])

    def save(self, folder: Path) -> None:
        """Write the words, then the weights with the digest of the words, each whole or not."""
        words = self.words.to_json()
        write_atomic(folder / WORDS, words)
        tensors = {k: v.contiguous() for k, v in self.network.state_dict().items()}
        write_atomic(folder / "model.safetensors", save(tensors, {"words": digest(words)}))


def digest(words: str) -> str:
    """Return what tells one vocabulary from another."""
    return hashlib.blake2b(words.encode(), digest_size=16).hexdigest()


def to_input(batch: Tensor, device: torch.device) -> Tensor:
    """Return pixels (B, 3, S, S) as floats in 0 to 1, channels last; tokens unchanged."""
    if batch.dtype != torch.uint8:
        return batch.to(device)
    return batch.to(device, memory_format=torch.channels_last).float() / 255


def load(run: Any) -> Describer:
    """Return the system of a run folder (`studies.runs.folder.LoadedRun`), ready to caption.

    Raises StudyError when weights or words are missing, damaged or those of another run.
    """
    parameters = Parameters.from_run(run.params, run.folder)
    file = run.folder / "model.safetensors"
    with open_weights(file) as (metadata, tensors):
        trained_with = metadata["words"]
    try:
        words = (run.folder / WORDS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(
            f"{run.folder / WORDS}: cannot be read ({type(error).__name__}); delete {file.name} "
            "beside it, and the command that trained the run writes both again from its checkpoint"
        ) from error
    if trained_with != digest(words):
        raise StudyError(
            f"{run.folder / WORDS}: is the vocabulary of another run; restore the file, or "
            "delete the run folder to train anew"
        )
    vocabulary = Words.from_json(words)
    shape = tuple(run.provenance["input_shape"])
    network = build(parameters, len(vocabulary), shape, pretrained=False)
    with fitting_weights(file):
        network.load_state_dict(tensors)
    return Describer(network.to(compute.device()).eval(), vocabulary, parameters)
