"""The LSTM decoder with attention.

The attention is additive (Bahdanau et al., *Neural machine translation by jointly learning to align
and translate*, 2015); what it finds passes a gate (Xu et al., *Show, attend and tell*, 2015).
"""

import torch
from torch import Tensor, nn

from studies.captioning.decoder import Decoder, State


class LstmDecoder(Decoder):
    """An LSTM that looks at the memory before each token.

    Args:
        vocabulary: V, number of tokens.
        memory: D, width of the memory.
        embedding: dimensions of a token.
        hidden: units of the LSTM.
        attention: units of the attention.
        dropout: probability, before the LSTM and before the output.

    """

    def __init__(
        self,
        vocabulary: int,
        memory: int,
        embedding: int,
        hidden: int,
        attention: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.first = nn.Linear(memory, 2 * hidden)
        self.attention = Attention(memory, hidden, attention)
        self.gate = nn.Linear(hidden, memory)
        self.cell = nn.LSTMCell(embedding + memory, hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, vocabulary)

    def forward(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return logits (B, L, V)."""
        return self.output(self.dropout(self._read(memory, tokens)[0]))

    def attend(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Return (B, L, T)."""
        return self._read(memory, tokens)[1]

    def start(self, memory: Tensor, beams: int = 1, steps: int = 0) -> "Kept":
        """Return the state that the mean of the memory gives, for any number of beams and steps."""
        hidden, cell = self.first(memory.mean(1, keepdim=True)).tanh().chunk(2, -1)
        return Kept(memory, self.attention.keys(memory), hidden, cell)

    def step(self, tokens: Tensor, state: "Kept") -> Tensor:
        """Return logits (B, W, V)."""
        self._advance(self.embedding(tokens), state)
        return self.output(self.dropout(state.hidden))

    def _read(self, memory: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        state = self.start(memory)
        hidden, weights = [], []
        for token in self.embedding(tokens).split(1, 1):  # (B, 1, E)
            weights.append(self._advance(token, state))
            hidden.append(state.hidden)
        return torch.cat(hidden, 1), torch.cat(weights, 1)

    def _advance(self, tokens: Tensor, state: "Kept") -> Tensor:
        found, weights = self.attention(state.hidden, state.memory, state.keys)
        found = found * self.gate(state.hidden).sigmoid()
        given = self.dropout(torch.cat([tokens, found], -1)).flatten(0, 1)  # (B × W, E + D)
        before = state.hidden.flatten(0, 1), state.cell.flatten(0, 1)
        state.hidden, state.cell = (
            after.unflatten(0, tokens.shape[:2]) for after in self.cell(given, before)
        )
        return weights  # (B, W, T)


class Attention(nn.Module):
    """Additive attention: a place's score is v · tanh(K m + Q h)."""

    def __init__(self, memory: int, hidden: int, units: int) -> None:
        super().__init__()
        self.keys = nn.Linear(memory, units)
        self.query = nn.Linear(hidden, units, bias=False)
        self.score = nn.Linear(units, 1, bias=False)

    def forward(self, hidden: Tensor, memory: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return what hidden states (B, W, H) find, (B, W, D), and the weights (B, W, T).

        `keys` (B, T, A) are those of the memory (B, T, D), from `self.keys`.
        """
        mixed = keys[:, None] + self.query(hidden)[:, :, None]  # (B, W, T, A)
        weights = self.score(mixed.tanh_()).squeeze(-1).softmax(-1)
        return weights.to(memory.dtype) @ memory, weights


class Kept(State):
    """Hidden state and cell (B, W, H) of each beam; memory (B, T, D) and keys (B, T, A)."""

    def __init__(self, memory: Tensor, keys: Tensor, hidden: Tensor, cell: Tensor) -> None:
        self.memory, self.keys, self.hidden, self.cell = memory, keys, hidden, cell

    def select(self, parents: Tensor) -> None:
        """Reorder the beams."""
        rows = parents[..., None].expand(-1, -1, self.hidden.shape[2])
        self.hidden, self.cell = self.hidden.gather(1, rows), self.cell.gather(1, rows)

    def keep(self, images: Tensor) -> None:
        """Forget all images but these."""
        self.memory, self.keys = self.memory[images], self.keys[images]
        self.hidden, self.cell = self.hidden[images], self.cell[images]
