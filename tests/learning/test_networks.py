"""The scratch network against convolution by hand; what is trained on is normalised first."""

import pytest
import torch
import transformers
from torch import nn

from studies.learning.backbones import load_backbone
from studies.learning.networks import Dense, FineTuned, ScratchCNN

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def total(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def convolved(images: torch.Tensor, kernel: torch.Tensor, stride: int) -> torch.Tensor:
    """The convolution as a sum of shifted images, with zeros around them."""
    width = kernel.shape[-1]
    padded = nn.functional.pad(images, (width // 2,) * 4)
    end = stride * ((images.shape[-1] - 1) // stride) + 1
    total = 0
    for i in range(width):
        for j in range(width):
            part = padded[:, :, i : i + end : stride, j : j + end : stride]
            total = total + torch.einsum("bchw,oc->bohw", part, kernel[:, :, i, j])
    return total


class TestScratchCNN:
    def test_parameter_counts_at_full_size(self):
        assert total(Dense(2048, 256), nn.Linear(256, 81)) == 545_361
        assert total(ScratchCNN(100), nn.Linear(256, 81)) == 2_770_801

    @pytest.mark.parametrize(("size", "widths"), [(20, (4, 6, 8)), (17, (4,)), (16, (4, 5))])
    @pytest.mark.parametrize("training", [True, False])
    def test_it_is_convolution_pooling_norm_and_relu_block_by_block(self, size, widths, training):
        torch.manual_seed(0)
        network, pixels = ScratchCNN(size, widths, 16), torch.rand(6, 3, size, size)
        kernels = [one.weight for one in network.blocks if isinstance(one, nn.Conv2d)]
        norms = [one for one in network.blocks if isinstance(one, nn.BatchNorm2d)]
        for norm in norms:
            nn.init.normal_(norm.weight)  # also negative, so that the order of the steps shows
            nn.init.normal_(norm.bias)
            norm.running_mean.normal_()
        network.train(training)
        got, expected = network(pixels), pixels
        for number, (kernel, norm) in enumerate(zip(kernels, norms, strict=True)):
            first, last = number == 0, number == len(widths) - 1
            assert kernel.shape[2:] == ((5, 5) if first else (3, 3))
            expected = convolved(expected, kernel, 2 if first else 1)
            if not last:
                side = expected.shape[2] // 2
                corners = [expected[:, :, i::2, j::2][:, :, :side, :side] for i, j in CORNERS]
                expected = torch.stack(corners).amax(0)
            mean, spread = norm.running_mean[:, None, None], norm.running_var[:, None, None]
            if training:
                mean = expected.mean((0, 2, 3), keepdim=True)
                spread = expected.var((0, 2, 3), correction=0, keepdim=True)
            expected = (expected - mean) / (spread + norm.eps).sqrt()
            expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
            expected = expected.clamp_min(0)
        dense = network.dense.layers[0]
        expected = (expected.flatten(1) @ dense.weight.T + dense.bias).clamp_min(0)
        assert torch.allclose(got, expected, atol=1e-5)
        assert got.shape == (6, network.out_features) == (6, 16)


@pytest.mark.parametrize("pooled", [True, False])
class TestFineTuned:
    def test_it_normalises_and_learns(self, pooled):
        backbone = load_backbone("torchvision/resnet18", trainable=True, pretrained=False)
        trunk, images = FineTuned(backbone, pooled).eval(), torch.rand(2, 3, 64, 64)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        scaled = (images - mean[:, None, None]) / std[:, None, None]
        seen = trunk(images)
        assert seen.shape == ((2, trunk.out_features) if pooled else (2, 4, 512))
        assert torch.allclose(seen, backbone(scaled, pooled=pooled), atol=1e-5)
        seen.sum().backward()
        assert all(p.grad is not None for p in backbone.parameters())

    def test_it_has_no_weights_that_many_models_lack(self, pooled):
        backbone = load_backbone("torchvision/resnet18", trainable=True, pretrained=False)
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        backbone.model = transformers.ViTModel(transformers.ViTConfig(**small))
        assert any("pooler" in name for name in backbone.state_dict())
        assert not any("pooler" in name for name in FineTuned(backbone, pooled).state_dict())
