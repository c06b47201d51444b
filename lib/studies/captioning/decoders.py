"""The two decoders: an LSTM with attention, and a Transformer.

Either writes a caption about a memory (B, T, D), token by token. Training reads whole captions:
`decoder(memory, tokens)` returns states (B, L, D), of which `decoder.output` makes logits (B, L, V)
of the token after each of `tokens` (B, L) int64, and `attend(memory, tokens)` returns how much each
place counts for it, (B, L, T), summing to 1. With the longest captions first, an LSTM computes none
of the padding; a Transformer less in `groups` of captions of like length.

Decoding goes step by step, without gradients, with a state that keeps what was computed for W beams
of each of B images; what belongs to the image, its memory, is kept once and not once a beam.
`start(memory, beams, steps)` returns the state before the first token: one beam, with room for so
many. `step(tokens, state)` appends tokens (B, W) to the captions and returns logits (B, W, V).
`state.select(parents)` makes beam w of image b go on from what was beam `parents[b, w]`, (B, W')
int64; `state.keep(images)` forgets all images but these, (B',) int64 in rising order.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence

from studies.captioning.encoder import Positions, Size
from studies.captioning.tokens import PAD

Extend = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


# The LSTM. Its attention is additive (Bahdanau et al., *Neural machine translation by jointly
# learning to align and translate*, 2015); what it attends to passes a gate, and the output reads
# the token, what was attended to, and the hidden state (Xu et al., *Show, attend and tell*, 2015,
# equation 7), normalised as the Transformer's does: `flickr8k_lite` reached CIDEr .565 so, and .356
# from the hidden state alone.


class LstmDecoder(nn.Module):
    """An LSTM that attends to the memory before each token.

    Args:
        vocabulary: V, number of tokens.
        width: D, of the memory, of a token and of the attention.
        hidden: units of the LSTM.
        dropout: probability, before the LSTM and before the output.

    """

    groups = 1

    def __init__(self, vocabulary: int, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.first = nn.Linear(width, 2 * hidden)
        self.attention = Attention(width, hidden)
        self.gate = nn.Linear(hidden, width)
        self.cell = nn.LSTMCell(2 * width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.deep = nn.Sequential(nn.Linear(2 * width + hidden, width), nn.LayerNorm(width))
        self.output = nn.Linear(width, vocabulary)

    def forward(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return states (B, L, D); behind the end of a caption they mean nothing."""
        return self.dropout(self.deep(self._unroll(memory, tokens)[0]))

    def attend(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return (B, L, T)."""
        return self._unroll(memory, tokens)[1]

    def start(self, memory: Tensor, beams: int = 1, steps: int = 0) -> "LstmState":
        """Return the state that the mean of the memory gives, for any number of beams and steps."""
        hidden, cell = self.first(memory.mean(1, keepdim=True)).tanh().chunk(2, -1)
        return LstmState(memory, self.attention.keys(memory), hidden, cell)

    def step(self, tokens: Tensor, state: "LstmState") -> Tensor:
        """Return logits (B, W, V)."""
        read, _ = self._advance(self.embedding(tokens), state)
        return self.output(self.dropout(self.deep(read)))

    def _unroll(self, memory: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `_advance` does of each step, (B, L, 2 D + H) and (B, L, T)."""
        state, parts = self.start(memory), []
        rows = torch.arange(1, len(tokens) + 1, device=tokens.device)[:, None]
        going = ((tokens != PAD) * rows).amax(0).tolist()  # up to the last that has not ended
        for token, number in zip(self.embedding(tokens).unbind(1), going, strict=True):
            state.keep(slice(number))
            parts.append([part[:, 0] for part in self._advance(token[:number, None], state)])
        return tuple(map(pad_sequence, zip(*parts, strict=True)))

    def _advance(self, embedded: Tensor, state: "LstmState") -> tuple[Tensor, Tensor]:
        """Take a step of tokens (B, W, D) in `state`.

        Returns token, context and hidden state (B, W, 2 D + H), and the attention (B, W, T).
        """
        context, weights = self.attention(state.hidden, state.memory, state.keys)
        entered = torch.cat([embedded, context * self.gate(state.hidden).sigmoid()], -1)
        inputs = self.dropout(entered).flatten(0, 1)  # (B × W, 2 D)
        before = state.hidden.flatten(0, 1), state.cell.flatten(0, 1)
        state.hidden, state.cell = (
            after.unflatten(0, embedded.shape[:2]) for after in self.cell(inputs, before)
        )
        return torch.cat([entered, state.hidden], -1), weights


class Attention(nn.Module):
    """Additive attention: a place's score is v · tanh(K m + Q h)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.keys = nn.Linear(width, width)
        self.query = nn.Linear(hidden, width, bias=False)
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, hidden: Tensor, memory: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return what hidden states (B, W, H) attend to, (B, W, D), and the weights (B, W, T).

        `keys` (B, T, D) are those of the memory (B, T, D), from `self.keys`.
        """
        mixed = keys[:, None] + self.query(hidden)[:, :, None]  # (B, W, T, D)
        weights = self.score(mixed.tanh_()).squeeze(-1).softmax(-1)
        return weights.to(memory.dtype) @ memory, weights


class LstmState:
    """Hidden state and cell (B, W, H) of each beam; memory and keys (B, T, D)."""

    def __init__(self, memory: Tensor, keys: Tensor, hidden: Tensor, cell: Tensor) -> None:
        self.memory, self.keys, self.hidden, self.cell = memory, keys, hidden, cell

    def select(self, parents: Tensor) -> None:
        """Reorder the beams."""
        rows = parents[..., None].expand(-1, -1, self.hidden.shape[2])
        self.hidden, self.cell = self.hidden.gather(1, rows), self.cell.gather(1, rows)

    def keep(self, images: Tensor | slice) -> None:
        """Forget all images but these."""
        self.memory, self.keys = self.memory[images], self.keys[images]
        self.hidden, self.cell = self.hidden[images], self.cell[images]


# The Transformer: one path for whole captions and for one token a beam. A step takes the W beams of
# an image for a sequence of length W. Each attends to the cached keys of all beams and steps of its
# image, masked to its own ancestors, so that nothing is copied when beams change places, and the
# memory's keys and values serve all beams.


class TransformerDecoder(nn.Module):
    """Layers of causal self-attention, attention over the memory, and two dense layers.

    Vaswani et al., *Attention is all you need*, 2017, each part normalised first.

    Args:
        vocabulary: V, number of tokens.
        length: the most tokens that `forward` takes, and the most steps.
        size: of the Transformer; its width D is that of the memory.

    """

    groups = 4

    def __init__(self, vocabulary: int, length: int, size: Size) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size.width)
        nn.init.normal_(self.embedding.weight, std=size.width**-0.5)
        self.positions = Positions(length, size.width)
        self.dropout = nn.Dropout(size.dropout)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        self.output = nn.Linear(size.width, vocabulary)

    def forward(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return states (B, L, D)."""
        return self.norm(self._through(self.layers, memory, tokens))

    def attend(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return (B, L, T), of the last layer, averaged over its heads."""
        *before, last = self.layers
        return last.attention(self._through(before, memory, tokens), memory)

    def start(self, memory: Tensor, beams: int, steps: int) -> "Cache":
        """Return the empty cache, for at most `length` steps."""
        return Cache([layer.keys_values(memory) for layer in self.layers], beams, steps)

    def step(self, tokens: Tensor, state: "Cache") -> Tensor:
        """Return logits (B, W, V)."""
        hidden = self._embed(tokens) + self.positions.table[state.length]  # (B, W, D)
        state.begin(tokens.shape[1])
        for number, layer in enumerate(self.layers):
            hidden = layer(hidden, state.memory[number], partial(state.extend, number))
        return self.output(self.norm(hidden))

    def _embed(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens) * math.sqrt(self.embedding.embedding_dim)

    def _through(self, layers: "list[Layer]", memory: Tensor, tokens: Tensor) -> Tensor:
        """Return what comes out of the layers, (B, L, D), for whole captions (B, L)."""
        hidden = self.dropout(self.positions(self._embed(tokens)))
        for layer in layers:
            hidden = layer(hidden, layer.keys_values(memory))
        return hidden


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

    def forward(
        self, hidden: Tensor, memory: tuple[Tensor, Tensor], extend: Extend | None = None
    ) -> Tensor:
        """Map (B, L, D) to (B, L, D).

        `memory` is its `keys_values`. Without `extend` the L tokens are a sequence, each seeing
        those before it; with it they are beams, and it returns what they see (`Cache.extend`).
        """
        hidden = self._own(hidden, extend)
        attended = scaled_dot_product_attention(self._query(hidden), *memory)
        hidden = hidden + self.dropout(self.read_out(_merge(attended)))
        return hidden + self.dropout(self.dense(self.norms[2](hidden)))

    def keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, H, T, d) of a memory (B, T, D)."""
        keys, values = self.key_value(memory).chunk(2, -1)
        return self._split(keys), self._split(values)

    def attention(self, hidden: Tensor, memory: Tensor) -> Tensor:
        """Return the attention (B, L, T) that tokens (B, L, D) pay to the memory."""
        keys, _ = self.keys_values(memory)
        query = self._query(self._own(hidden, None))
        return (query @ keys.mT / math.sqrt(keys.shape[-1])).softmax(-1).mean(1)

    def _own(self, hidden: Tensor, extend: Extend | None) -> Tensor:
        query, keys, values = map(self._split, self.own(self.norms[0](hidden)).chunk(3, -1))
        if extend is None:
            attended = scaled_dot_product_attention(query, keys, values, is_causal=True)
        else:
            attended = scaled_dot_product_attention(query, *extend(keys, values))
        return hidden + self.dropout(self.own_out(_merge(attended)))

    def _query(self, hidden: Tensor) -> Tensor:
        return self._split(self.query(self.norms[1](hidden)))

    def _split(self, joined: Tensor) -> Tensor:
        return joined.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, H, L, d)


class Cache:
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
        keys, values = self.past[layer, :, :, :, : self.length].flatten(3, 4)
        return keys, values, self.mask

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


Decoder = LstmDecoder | TransformerDecoder
