"""What stands before the heads: a small network trained from scratch, its last layer alone for
frozen features, or a published model that is trained on.
"""

import torch
from torch import Tensor, nn

from studies.learning.backbones import Backbone


class ScratchCNN(nn.Module):
    """The scratch network of the triplets study (Petrova, MoIT 13(2), 2025).

    Four blocks of convolution, max pooling, batch norm and ReLU, then 256 units with ReLU. At
    100×100 and with a softmax layer over 81 classes it has 2.77 M parameters (the paper: "about
    2.7 M"; it prints neither widths nor strides). The first convolution is 5×5 with stride 2, the
    others 3×3, and the last block does not pool: a fifth of the work of stride 1 and pooling
    everywhere, for the same parameters.

    Maps (B, 3, image_size, image_size) float to (B, 256).
    """

    def __init__(
        self, image_size: int, widths: tuple[int, ...] = (32, 64, 128, 256), out_features: int = 256
    ):
        super().__init__()
        blocks: list[nn.Module] = []
        last = len(widths) - 1
        for number, (before, after) in enumerate(zip((3, *widths[:-1]), widths, strict=True)):
            kernel, stride = (5, 2) if number == 0 else (3, 1)
            blocks += [
                nn.Conv2d(before, after, kernel, stride, padding=kernel // 2, bias=False),
                # before the norm and not after it: the same features, a quarter of their cost
                nn.MaxPool2d(2) if number < last else nn.Identity(),
                nn.BatchNorm2d(after),
                nn.ReLU(inplace=True),
            ]
        side = (image_size + 1) // 2 >> last
        self.blocks = nn.Sequential(*blocks)
        self.dense = Dense(widths[-1] * side * side, out_features)
        self.out_features = out_features

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) to (B, out_features)."""
        return self.dense(torch.flatten(self.blocks(images), 1))


class Dense(nn.Module):
    """The scratch network's last layer alone, for frozen features.

    `standardised`, it has batch norm before the layer and behind it; `dropout` is of its units.
    """

    def __init__(
        self, in_features: int, out_features: int, standardised: bool = False, dropout: float = 0.0
    ):
        super().__init__()
        self.before = nn.BatchNorm1d(in_features, affine=False) if standardised else nn.Identity()
        norm = [nn.BatchNorm1d(out_features)] if standardised else []
        drop = [nn.Dropout(dropout)] if dropout else []
        units = nn.Linear(in_features, out_features), *norm, nn.ReLU(inplace=True), *drop
        self.layers, self.out_features = nn.Sequential(*units), out_features

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, in_features) to (B, out_features)."""
        return self.layers(self.before(features))


class FineTuned(nn.Module):
    """A published model that is trained with what stands behind it; see `Backbone` for `pooled`."""

    def __init__(self, backbone: Backbone, pooled: bool):
        super().__init__()
        pooler = getattr(backbone.model, "pooler", None)
        if pooler is not None and any(True for _ in pooler.parameters()):
            # tokens do not pass it, many a model is published without one, and a run folder must
            # fit either way
            backbone.model.pooler = None
        self.backbone, self.out_features, self.pooled = backbone, backbone.out_features, pooled

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) in 0 to 1 to (B, F), or unless `pooled` to tokens (B, T, F)."""
        return self.backbone(self.backbone.normalise(images), self.pooled)
