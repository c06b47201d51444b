"""Encoders: shapes, counts by formula, and what each part does."""

import math

import pytest
import torch

from studies.captioning.encoder import Encoder, Patches, Positions, Size

SMALL = Size(width=16, layers=2, heads=4, feed_forward=32, dropout=0.1)


def total(module):
    return sum(p.numel() for p in module.parameters())


def dense(inputs, outputs):
    return (inputs + 1) * outputs


def layers_of(size):
    """Parameters of a Transformer encoder with its last norm, by formula."""
    d, f = size.width, size.feed_forward
    layer = dense(d, 3 * d) + dense(d, d) + dense(d, f) + dense(f, d) + 2 * 2 * d
    return size.layers * layer + 2 * d


class TestPositions:
    def test_sinusoids_are_those_of_the_paper(self):
        positions = Positions(7, 6)
        for place in range(7):
            for pair in range(3):
                angle = place / 10_000 ** (2 * pair / 6)
                got = positions.table[place, 2 * pair : 2 * pair + 2]
                assert got.tolist() == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-6)
        assert not positions.state_dict()


class TestTrunks:
    def test_patches(self):
        trunk, images = Patches(32, 8, SMALL).eval(), torch.rand(2, 3, 32, 32)
        assert total(trunk) == dense(3 * 64, 16) + 16 + 17 * 16 + layers_of(SMALL)
        patch = trunk.cut(images[:, :, 8:16, 16:24]).flatten(1)
        inputs = []
        trunk.layers.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
        assert trunk(images).shape == (2, 1 + 16, 16)
        place = 1 + 4 * 1 + 2
        assert torch.allclose(inputs[0][:, place] - trunk.positions[place], patch, atol=1e-6)
        assert torch.allclose(inputs[0][:, 0], trunk.first + trunk.positions[0])


class TestEncoder:
    def test_both_projections_are_one_function(self):
        encoders = [
            Encoder(None, 12, 16, 2, kind, SMALL).eval() for kind in ("linear", "convolution")
        ]
        state = encoders[0].state_dict()
        state["projection.weight"] = state["projection.weight"][..., None, None]
        encoders[1].load_state_dict(state)
        tokens = torch.rand(3, 16, 12)
        assert torch.allclose(encoders[0](tokens), encoders[1](tokens), atol=1e-5)

    @pytest.mark.parametrize("projection", ["linear", "convolution"])
    def test_pooling_averages_the_map(self, projection):
        encoder = Encoder(None, 5, 16, 2, projection, SMALL).eval()
        maps = torch.rand(2, 5, 4, 4)
        small = maps.view(2, 5, 2, 2, 2, 2).mean((3, 5))
        memories = [encoder(given.flatten(2).transpose(1, 2)) for given in (maps, small)]
        assert torch.allclose(*memories, atol=1e-5)
