"""The Transformer decoder: one path for whole captions and for one token a beam.

A step takes the W beams of an image for a sequence of length W. Each attends to the cached keys of
all beams and steps of its image, masked to its own ancestors, so that nothing is copied when beams
change places, and the memory's keys and values serve all beams.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from studies.captioning.blocks import Positions, Size
from studies.captioning.decoder import Decoder, State

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class TransformerDecoder(Decoder):
    """Layers of causal self-attention, attention over the memory, and two dense layers.

    Vaswani et al., *Attention is all you need*, 2017, each part normalised first.

    Args:
        vocabulary: V, number of tokens.
        length: the most tokens that `forward` takes, and the most steps.
        positions: `sinusoidal` or `learned`.
        tied: whether the output layer has the weights of the embedding.
        size: of the transformer; its width D is that of the memory.

    """

    def __init__(
        self,
        vocabulary: int,
        length: int,
        positions: Literal["sinusoidal", "learned"],
        tied: bool,
        size: Size,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size.width)
        nn.init.normal_(self.embedding.weight, std=size.width**-0.5)
        self.positions = Positions(positions, length, size.width)
        self.dropout = nn.Dropout(size.dropout)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        self.output = nn.Linear(size.width, vocabulary)
        if tied:
            self.output.weight = self.embedding.weight

    def forward(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return logits (B, L, V); raises ValueError for more than `length` tokens."""
        given = self.dropout(self.positions(self._embed(tokens)))
        for layer in self.layers:
            given = layer(given, layer.read(memory))
        return self.output(self.norm(given))

    def attend(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return (B, L, T), of the last layer, averaged over its heads."""
        given = self.dropout(self.positions(self._embed(tokens)))
        *before, last = self.layers
        for layer in before:
            given = layer(given, layer.read(memory))
        return last.look(given, memory)

    def start(self, memory: Tensor, beams: int, steps: int) -> "Cache":
        """Return the empty cache; raises ValueError for more than `length` steps."""
        if steps > len(self.positions.table):
            raise ValueError(f"{steps} steps, but positions for {len(self.positions.table)}")
        return Cache([layer.read(memory) for layer in self.layers], beams, steps)

    def step(self, tokens: Tensor, state: "Cache") -> Tensor:
        """Return logits (B, W, V)."""
        given = self._embed(tokens) + self.positions.table[state.length]  # (B, W, D)
        state.begin(tokens.shape[1])
        for number, layer in enumerate(self.layers):
            given = layer(given, state.memory[number], partial(state.extend, number))
        return self.output(self.norm(given))

    def _embed(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens) * math.sqrt(self.embedding.embedding_dim)


class Layer(nn.Module):
    """One layer of the decoder."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width, self.heads = size.width, size.heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.own, self.own_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.read_out = nn.Linear(width, width)
        self.dense = nn.Sequential(
            nn.Linear(width, size.feed_forward),
            nn.GELU(),
            nn.Dropout(size.dropout),
            nn.Linear(size.feed_forward, width),
        )
        self.dropout = nn.Dropout(size.dropout)

    def forward(self, given: Tensor, read: tuple[Tensor, Tensor], extend: Extend | None = None):
        """Map (B, L, D) to (B, L, D).

        `read` is what `read` returned. Without `extend` the L tokens are a sequence, each seeing
        those before it; with it they are beams, and it returns what they see (`Cache.extend`).
        """
        given = self._own(given, extend)
        found = scaled_dot_product_attention(self._ask(given), *read)
        given = given + self.dropout(self.read_out(_merge(found)))
        return given + self.dropout(self.dense(self.norms[2](given)))

    def read(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, H, T, d) of a memory (B, T, D)."""
        keys, values = self.key_value(memory).chunk(2, -1)
        return self._split(keys), self._split(values)

    def look(self, given: Tensor, memory: Tensor) -> Tensor:
        """Return the attention (B, L, T) that tokens (B, L, D) pay to the memory."""
        keys, _ = self.read(memory)
        asked = self._ask(self._own(given, None))
        return (asked @ keys.mT / math.sqrt(keys.shape[-1])).softmax(-1).mean(1)

    def _own(self, given: Tensor, extend: Extend | None) -> Tensor:
        query, keys, values = map(self._split, self.own(self.norms[0](given)).chunk(3, -1))
        if extend is None:
            found = scaled_dot_product_attention(query, keys, values, is_causal=True)
        else:
            found = scaled_dot_product_attention(query, *extend(keys, values))
        return given + self.dropout(self.own_out(_merge(found)))

    def _ask(self, given: Tensor) -> Tensor:
        return self._split(self.query(self.norms[1](given)))

    def _split(self, joined: Tensor) -> Tensor:
        return joined.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, L, d)


class Cache(State):
    """Keys and values of the captions begun, and which of them each beam descends from."""

    def __init__(self, memory: list[tuple[Tensor, Tensor]], beams: int, steps: int) -> None:
        keys = memory[0][0]
        images, heads, _, width = keys.shape
        self.memory = memory  # of each layer, keys and values (B, H, T, d)
        self.past = keys.new_zeros(len(memory), 2, images, heads, steps, beams, width)
        self.places = torch.arange(beams, device=keys.device)
        # (B, W, S): which of the keys of step s is that of beam w's caption
        self.ancestors = self.places.new_zeros(images, 1, steps)
        self.length = 0

    def begin(self, beams: int) -> None:
        """Make room for one more token of each of so many beams."""
        self.ancestors[:, :, self.length] = self.places[:beams]
        self.length += 1
        seen = self.ancestors[:, :, : self.length, None] == self.places  # (B, W, L, W)
        self.mask = seen.flatten(2)[:, None]  # (B, 1, W, L × W)

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Add keys and values (B, H, W, d); return all of them (B, H, L × W, d), and the mask."""
        for past, new in zip(self.past[layer], (keys, values), strict=True):
            past[:, :, self.length - 1, : new.shape[2]] = new
        known = self.past[layer, :, :, :, : self.length].flatten(3, 4)
        return known[0], known[1], self.mask

    def select(self, parents: Tensor) -> None:
        """Reorder the beams, by their ancestors alone."""
        rows = parents[..., None].expand(-1, -1, self.ancestors.shape[2])
        self.ancestors = self.ancestors.gather(1, rows)

    def keep(self, images: Tensor) -> None:
        """Forget all images but these."""
        used = self.past[:, :, images, :, : self.length]
        self.past = self.past[:, :, : len(images)]
        self.past[..., : self.length, :, :] = used
        self.memory = [(keys[images], values[images]) for keys, values in self.memory]
        self.ancestors = self.ancestors[images]


def _merge(split: Tensor) -> Tensor:
    return split.transpose(1, 2).flatten(2)  # (B, H, L, d) to (B, L, D)
