"""A system as built from its parameters, written to a run folder, and read back to caption."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from studies.captioning import data
from studies.captioning.beam import beam
from studies.captioning.decoders import Decoder, LstmDecoder, TransformerDecoder
from studies.captioning.encoder import Convolutions, Encoder, Patches, Size
from studies.captioning.params import Parameters
from studies.captioning.tokens import Words
from studies.inputs.features import averaged
from studies.learning import compute
from studies.learning.backbones import load_backbone
from studies.learning.networks import FineTuned
from studies.paths import StudyError
from studies.runs.folder import LoadedRun, read_weights, write_weights

CHUNK = 64  # images captioned at once


class Captioner(nn.Module):
    """An encoder and a decoder, either of which can be exchanged."""

    def __init__(self, encoder: Encoder, decoder: Decoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


def build(
    parameters: Parameters, vocabulary: int, shape: tuple[int, ...], pretrained: bool = True
) -> Captioner:
    """Return a fresh system for a number of words and the shape of one input.

    The shape is (3, S, S) of pixels or (T, F) of a frozen backbone's tokens. A fine-tuned backbone
    begins with its published weights, or if not `pretrained` with random ones, to be filled.
    Raises StudyError when these weights are not to be had, or do not fit image_size or grid.
    """
    network, image_size = parameters.network, parameters.image_size
    spec, source, dropout = network.encoder, network.encoder.source, network.dropout
    if network.frozen:
        trunk, (places, channels) = None, shape
    else:
        if source.name == "cnn":
            trunk = Convolutions(source.widths)
        elif source.name == "vit":
            size = Size(source.width, source.layers, source.heads, 4 * source.width, dropout)
            trunk = Patches(image_size, source.patch, size)
        else:
            trunk = FineTuned(load_backbone(source.weights, True, pretrained), pooled=False)
        try:
            with torch.inference_mode():
                tokens = trunk.eval()(torch.zeros(1, *shape))
        except ValueError as error:  # of transformers, whose models often take one size only
            raise StudyError(
                f"image_size {image_size} does not fit {source.weights} "
                f"({str(error).rstrip('.')}); set image_size to the model's own"
            ) from None
        tokens = tokens if spec.grid is None else averaged(tokens, spec.grid)
        _, places, channels = tokens.shape
    size = Size(network.width, spec.layers, spec.heads, spec.feedforward, dropout)
    encoder = Encoder(trunk, channels, places, spec.grid, spec.projection, size)
    spec, length = network.decoder, parameters.decoding.max_length + 1
    if spec.name == "lstm":
        decoder = LstmDecoder(vocabulary, network.width, spec.hidden, dropout)
    else:
        size = Size(network.width, spec.layers, spec.heads, spec.feedforward, dropout)
        decoder = TransformerDecoder(vocabulary, length, size)
    return Captioner(encoder, decoder)


@dataclass
class Describer:
    """A trained system with its words, ready to caption."""

    network: Captioner
    words: Words
    parameters: Parameters

    def caption(self, inputs: np.ndarray) -> list[str]:
        """Return a caption for each of the inputs (N, 3, S, S) uint8 or (N, T, F) tokens.

        Found by beam search.
        """
        search, decoder, texts = self.parameters.decoding, self.network.decoder, []
        length = search.max_length + 1  # with eos, or a word more, which is cut off
        for memory in self.memories(inputs):
            with compute.autocast(self.parameters.precision):
                captions = beam(decoder, memory, search.beams, length, search.length_penalty)
            texts += [self.words.decode(tokens[: search.max_length]) for tokens in captions]
        return texts

    def attention(self, inputs: np.ndarray, captions: list[str]) -> list[Tensor]:
        """Return for each input how its caption's words attended, (words, T), rows sum to 1."""
        longest, maps = self.parameters.decoding.max_length, []
        for memory, text in zip(self.memories(inputs, 1), captions, strict=True):
            tokens = self.words.encode([text], longest)[:, :-1].to(memory.device)
            with torch.inference_mode():
                maps.append(self.network.decoder.attend(memory, tokens)[0, :-1].float().cpu())
        return maps

    def memories(self, inputs: np.ndarray, size: int = CHUNK) -> Iterator[Tensor]:
        """Yield what the decoder reads, (B, T, D) float32, so many inputs at a time."""
        encoder, precision = self.network.encoder, self.parameters.precision
        for start in range(0, len(inputs), size):
            batch = np.array(inputs[start : start + size])
            [memory] = compute.outputs(encoder, batch, precision, size)
            yield memory.float()

    def describe(self, files: list[Path]) -> list[str]:
        """Return a caption for each picture file."""
        album = data.CaptionedImages(Path(), files, [], None)
        return self.caption(data.inputs(album, self.parameters))

    def save(self, file: Path) -> None:
        """Write weights and words as one safetensors file, whole or not at all."""
        write_weights(file, self.network.state_dict(), {"words": self.words.to_json()})


def load(run: LoadedRun) -> Describer:
    """Return the system of a run folder, ready to caption.

    Raises StudyError when the weights are missing, damaged or another system's.
    """
    parameters = run.parameters
    shape = tuple(run.provenance["input_shape"])
    with read_weights(run.folder / "model.safetensors") as (said, tensors):
        words = Words.from_json(said["words"])
        network = build(parameters, len(words), shape, pretrained=False)
        network.load_state_dict(tensors)
    return Describer(network.to(compute.device()).eval(), words, parameters)
