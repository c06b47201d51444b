"""Small networks that turn pixels into tokens, trained from scratch.

Each maps (B, 3, S, S) in 0 to 1 to tokens (B, T, out_features), as a published model that is
trained on does (`studies.learning.networks.FineTuned`); tokens of a frozen one come from disk
(`studies.inputs.features`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from studies.captioning.blocks import Positions, Size, transformer


class Convolutions(nn.Module):
    """Blocks of a 3×3 convolution with stride 2, batch norm and ReLU: a small residual-free CNN."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for before, after in zip((3, *widths[:-1]), widths, strict=True):
            convolution = nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            blocks += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.blocks = nn.Sequential(*blocks)
        self.out_features = widths[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, T, F), the places of the last map row by row.

        T is the square of S, halved once a block and rounded up.
        """
        return self.blocks(images).flatten(2).transpose(1, 2)


class Patches(nn.Module):
    """A small vision transformer over square patches, a class token first, like CLIP's tower.

    Raises:
        ValueError: `patch` does not divide `image_size`.

    """

    def __init__(self, image_size: int, patch: int, size: Size) -> None:
        super().__init__()
        if image_size % patch:
            raise ValueError(f"patches of {patch} pixels must divide the image, {image_size}")
        self.cut = nn.Conv2d(3, size.width, patch, stride=patch)
        self.first = nn.Parameter(0.02 * torch.randn(size.width))
        self.positions = Positions("learned", 1 + (image_size // patch) ** 2, size.width)
        self.layers = transformer(size)
        self.out_features = size.width

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, 1 + P, D): the class token, then P patches row by row."""
        patches = self.cut(images).flatten(2).transpose(1, 2)  # (B, P, D)
        first = self.first.expand(len(images), 1, -1)
        return self.layers(self.positions(torch.cat([first, patches], 1)))
