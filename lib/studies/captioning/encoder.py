"""From an image to the memory that a decoder reads: trunk, pooling, projection, Transformer.

The encoders of all three systems (Kochetkov & Khoroshenko, *Comparison of architectures for image
description generation*, 2025). ResNet50+Transformer pools its map and projects linearly,
ResNet50+LSTM pools and projects by a 1×1 convolution (the same map of numbers by another name),
CLIP projects all tokens of its vision tower linearly. Between projection and Transformer encoder
all have sinusoidal positions.

A trunk maps pixels (B, 3, S, S) in 0 to 1 to tokens (B, T, F): a published model that is trained on
(`studies.learning.networks.FineTuned`), or one of the two small networks below, trained from
scratch. Tokens of a frozen backbone come from disk (`studies.inputs.features`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from studies.inputs.features import averaged


@dataclass(frozen=True)
class Size:
    """The size of a Transformer."""

    width: int  # D, dimensions of a token
    layers: int  # 0 for none
    heads: int  # a divisor of the width
    feed_forward: int  # units between the two dense layers of a block
    dropout: float  # probability


def transformer(size: Size) -> nn.Module:
    """Return layers of self-attention, each normalised first, and a last norm; or that alone."""
    if not size.layers:
        return nn.LayerNorm(size.width)
    kind = {"activation": "gelu", "batch_first": True, "norm_first": True}
    shape = size.width, size.heads, size.feed_forward, size.dropout
    layer = nn.TransformerEncoderLayer(*shape, **kind)
    norm = nn.LayerNorm(size.width)
    return nn.TransformerEncoder(layer, size.layers, norm, enable_nested_tensor=False)


class Positions(nn.Module):
    """Adds to each token (B, L, D) a vector of its place in the sequence.

    The fixed sines and cosines of Vaswani et al., *Attention is all you need*, 2017, whose
    wavelengths grow from 2π to 10,000 × 2π.
    """

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        column = torch.arange(width)
        rate = torch.exp((column - column % 2) * (-math.log(10_000) / width))
        angle = torch.arange(places)[:, None] * rate
        waves = torch.where(column % 2 == 0, angle.sin(), angle.cos())
        self.register_buffer("table", waves, persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map (B, L, D) to (B, L, D), for at most as many tokens as there are places."""
        return tokens + self.table[: tokens.shape[1]]


class Convolutions(nn.Module):
    """Blocks of a 3×3 convolution with stride 2, batch norm and ReLU: a small residual-free CNN."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for before, after in zip((3, *widths[:-1]), widths, strict=True):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, T, F), the places of the last map row by row.

        T is the square of S, halved once a block and rounded up; F the last of the widths.
        """
        return self.blocks(images).flatten(2).transpose(1, 2)


class Patches(nn.Module):
    """A small vision transformer over square patches, a class token first, like CLIP's tower."""

    def __init__(self, image_size: int, patch: int, size: Size) -> None:
        super().__init__()
        self.cut = nn.Conv2d(3, size.width, patch, stride=patch)
        self.first = nn.Parameter(0.02 * torch.randn(size.width))
        places = 1 + (image_size // patch) ** 2
        self.positions = nn.Parameter(0.02 * torch.randn(places, size.width))
        self.layers = transformer(size)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, 1 + P, D): the class token, then P patches row by row."""
        patches = self.cut(images).flatten(2).transpose(1, 2)  # (B, P, D)
        first = self.first.expand(len(images), 1, -1)
        return self.layers(torch.cat([first, patches], 1) + self.positions)


class Encoder(nn.Module):
    """Maps an image to its memory (B, T, D).

    Args:
        trunk: pixels to tokens; None when tokens of a frozen backbone are the input.
        features: F, dimensions of a token before the projection.
        places: number of tokens, which without a grid is T.
        grid: side of the grid that the map of a CNN is averaged to, the root of T; None keeps all
            tokens.
        projection: `linear`, or `convolution` (1×1; only with a grid).
        size: of the Transformer; D is its width.

    """

    def __init__(
        self,
        trunk: nn.Module | None,
        features: int,
        places: int,
        grid: int | None,
        projection: Literal["linear", "convolution"],
        size: Size,
    ) -> None:
        super().__init__()
        self.trunk, self.grid, self.convolves = trunk, grid, projection == "convolution"
        shape = features, size.width
        self.projection = nn.Conv2d(*shape, 1) if self.convolves else nn.Linear(*shape)
        self.positions = Positions(places if grid is None else grid**2, size.width)
        self.dropout = nn.Dropout(size.dropout)
        self.layers = transformer(size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map pixels (B, 3, S, S) in 0 to 1, or cached tokens (B, T', F), to (B, T, D).

        With a grid the T' tokens are those of a square map.
        """
        tokens = inputs.float() if self.trunk is None else self.trunk(inputs)
        if self.grid is not None:
            tokens = averaged(tokens, self.grid)
        if self.convolves:
            maps = tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))  # (B, F, g, g)
            projected = self.projection(maps).flatten(2).transpose(1, 2)
        else:
            projected = self.projection(tokens)
        return self.layers(self.dropout(self.positions(projected)))
