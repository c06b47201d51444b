"""The small network trained from scratch, and its last layer alone for frozen features."""

import torch
from torch import Tensor, nn


class ScratchCNN(nn.Module):
    """The scratch network of the triplets study (Petrova, MoIT 13(2), 2025).

    Four blocks of convolution 3×3, batch norm, ReLU and max pooling, then 256 units with ReLU. At
    100×100 and with a softmax layer over 81 classes it has 2.77 M parameters (the paper: "about
    2.7 M"; it does not print the widths).

    Maps (B, 3, image_size, image_size) float to (B, 256).
    """

    def __init__(
        self,
        image_size: int = 100,
        widths: tuple[int, ...] = (32, 64, 128, 256),
        out_features: int = 256,
    ):
        super().__init__()
        blocks: list[nn.Module] = []
        for before, after in zip((3, *widths[:-1]), widths, strict=True):
            blocks += [
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
        side = image_size >> len(widths)
        self.blocks = nn.Sequential(*blocks)
        self.dense = Dense(widths[-1] * side * side, out_features)
        self.out_features = out_features

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, out_features)."""
        return self.dense(torch.flatten(self.blocks(images), 1))


class Dense(nn.Module):
    """The scratch network's last layer alone, for frozen features: (B, in_features) to (B, 256)."""

    def __init__(self, in_features: int, out_features: int = 256):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(in_features, out_features), nn.ReLU(inplace=True))
        self.out_features = out_features

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_features) to (B, out_features)."""
        return self.layers(features)
