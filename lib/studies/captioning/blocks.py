"""What encoders and decoders are both built of: the size of a transformer, and positions."""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Size:
    """The size of a transformer.

    Raises:
        ValueError: `heads` does not divide `width`.

    """

    width: int  # D, dimensions of a token
    layers: int  # 0 for none
    heads: int
    feed_forward: int  # units between the two dense layers of a block
    dropout: float  # probability

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"{self.heads} heads must divide the width, {self.width}")


class Positions(nn.Module):
    """Adds to each token a vector of its place in the sequence.

    `sinusoidal` is the fixed table of Vaswani et al., *Attention is all you need*, 2017; `learned`
    is trained.
    """

    def __init__(self, kind: Literal["sinusoidal", "learned"], places: int, width: int) -> None:
        super().__init__()
        if kind == "learned":
            self.table = nn.Parameter(0.02 * torch.randn(places, width))
        else:
            self.register_buffer("table", sinusoids(places, width), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D); raises ValueError for more tokens than there are places."""
        if tokens.shape[1] > len(self.table):
            raise ValueError(f"{tokens.shape[1]} tokens, but positions for {len(self.table)}")
        return tokens + self.table[: tokens.shape[1]]


def sinusoids(places: int, width: int) -> Tensor:
    """Return (places, width): sines in the even columns, cosines in the odd ones.

    The wavelengths grow from 2π to 10,000 × 2π.
    """
    column = torch.arange(width)
    rate = torch.exp((column - column % 2) * (-math.log(10_000) / width))
    angle = torch.arange(places)[:, None] * rate
    return torch.where(column % 2 == 0, angle.sin(), angle.cos())


def transformer(size: Size) -> nn.Module:
    """Return layers of self-attention, each normalised first, and a last norm; or that alone."""
    if not size.layers:
        return nn.LayerNorm(size.width)
    layer = nn.TransformerEncoderLayer(
        size.width,
        size.heads,
        size.feed_forward,
        size.dropout,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )
    return nn.TransformerEncoder(
        layer, size.layers, nn.LayerNorm(size.width), enable_nested_tensor=False
    )
