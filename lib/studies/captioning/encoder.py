"""From an image to what the decoder reads: trunk, pooling, projection, positions, transformer.

The encoders of all three systems (Kochetkov & Khoroshenko, *Comparison of architectures for image
description generation*, 2025). ResNet50+Transformer pools its map and projects linearly,
ResNet50+LSTM pools and projects by a 1×1 convolution (the same map of numbers by another name),
CLIP projects all tokens of its vision tower linearly.
"""

import math
from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from studies.captioning.blocks import Positions, Size, transformer


class Encoder(nn.Module):
    """Maps an image to its memory (B, T, D).

    Args:
        trunk: pixels to tokens (`studies.captioning.trunks`); None when tokens of a frozen backbone
            are the input.
        features: F, dimensions of a token before the projection.
        places: T. With `grid`, its square.
        grid: side of the grid that the map of a CNN is averaged to; None keeps all tokens.
        projection: `linear`, or `convolution` (1×1; only with a grid).
        positions: `sinusoidal` or `learned`.
        size: of the transformer; D is its width.

    Raises:
        ValueError: a convolution without a grid, or `places` that are not those of the grid.

    """

    def __init__(
        self,
        trunk: nn.Module | None,
        features: int,
        places: int,
        grid: int | None,
        projection: Literal["linear", "convolution"],
        positions: Literal["sinusoidal", "learned"],
        size: Size,
    ) -> None:
        super().__init__()
        if projection == "convolution" and grid is None:
            raise ValueError("projection: convolution needs the map of a CNN; set grid")
        if grid is not None and places != grid * grid:
            raise ValueError(f"a grid of side {grid} has {grid * grid} places, not {places}")
        self.trunk, self.grid = trunk, grid
        self.projection = (
            nn.Conv2d(features, size.width, 1)
            if projection == "convolution"
            else nn.Linear(features, size.width)
        )
        self.positions = Positions(positions, places, size.width)
        self.dropout = nn.Dropout(size.dropout)
        self.layers = transformer(size)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map pixels (B, 3, S, S) in 0 to 1, or cached tokens (B, T', F), to (B, T, D).

        Raises ValueError when there is a grid and the T' tokens are not those of a square map.
        """
        tokens = inputs.float() if self.trunk is None else self.trunk(inputs)
        projected = self._project(tokens if self.grid is None else self._pool(tokens))
        return self.layers(self.dropout(self.positions(projected)))

    def _project(self, tokens: Tensor) -> Tensor:
        if isinstance(self.projection, nn.Linear):
            return self.projection(tokens)
        maps = tokens.transpose(1, 2).unflatten(2, (self.grid, self.grid))  # (B, F, g, g)
        return self.projection(maps).flatten(2).transpose(1, 2)

    def _pool(self, tokens: Tensor) -> Tensor:
        side = math.isqrt(tokens.shape[1])
        if side * side != tokens.shape[1]:
            raise ValueError(
                f"{tokens.shape[1]} tokens are no square map: set grid to null for a transformer"
            )
        if side == self.grid:
            return tokens
        maps = tokens.transpose(1, 2).unflatten(2, (side, side))  # (B, F, side, side)
        return adaptive_avg_pool2d(maps, self.grid).flatten(2).transpose(1, 2)
