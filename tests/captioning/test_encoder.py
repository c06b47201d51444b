"""Encoders: shapes, what each part does, and the full-size systems counted by formula."""

import pytest
import torch
import transformers
from torch import nn

from studies.captioning.blocks import Positions, Size, sinusoids
from studies.captioning.captioner import Captioner
from studies.captioning.encoder import Encoder
from studies.captioning.lstm import LstmDecoder
from studies.captioning.transformer import TransformerDecoder
from studies.captioning.trunks import Convolutions, Patches
from studies.learning.backbones import load_backbone
from studies.learning.networks import FineTuned

SMALL = Size(width=16, layers=2, heads=4, feed_forward=32, dropout=0.1)
FULL = Size(width=512, layers=3, heads=8, feed_forward=2048, dropout=0.1)
RESNET50, CLIP_TOWER, VOCABULARY = 23_508_032, 87_456_000, 5000


def total(module):
    return sum(p.numel() for p in module.parameters())


def dense(inputs, outputs):
    return (inputs + 1) * outputs


def layers_of(size):
    """Parameters of a transformer encoder with its last norm, by formula."""
    d, f = size.width, size.feed_forward
    layer = dense(d, 3 * d) + dense(d, d) + dense(d, f) + dense(f, d) + 2 * 2 * d
    return size.layers * layer + 2 * d


def decoder_of(size, vocabulary):
    """Parameters of a Transformer decoder, untied and with sinusoids, by formula."""
    d, f = size.width, size.feed_forward
    attention = 2 * (dense(d, 3 * d) + dense(d, d))
    layer = attention + dense(d, f) + dense(f, d) + 3 * 2 * d
    return vocabulary * d + size.layers * layer + 2 * d + dense(d, vocabulary)


def lstm_of(vocabulary, d):
    attention = dense(d, d) + d * d + d
    cell = 4 * d * (2 * d + d + 2)
    return vocabulary * d + dense(d, 2 * d) + attention + dense(d, d) + cell + dense(d, vocabulary)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    """CLIP ViT-B/32 as published, but for the weights."""
    folder = tmp_path_factory.mktemp("clip")
    tower = {"hidden_size": 768, "patch_size": 32, "image_size": 224, "num_hidden_layers": 12}
    small = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = transformers.CLIPConfig(vision_config=tower, text_config=small | {"vocab_size": 9})
    config.save_pretrained(folder)
    transformers.CLIPImageProcessor().save_pretrained(folder)
    return folder


class TestPositions:
    def test_sinusoids_are_those_of_the_paper(self):
        table = sinusoids(7, 6)
        for place in range(7):
            for pair in range(3):
                angle = torch.tensor(place / 10_000 ** (2 * pair / 6))
                assert table[place, 2 * pair] == pytest.approx(float(angle.sin()), abs=1e-6)
                assert table[place, 2 * pair + 1] == pytest.approx(float(angle.cos()), abs=1e-6)

    @pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
    def test_they_are_added_and_end(self, kind):
        positions, tokens = Positions(kind, 5, 4), torch.rand(2, 3, 4)
        assert torch.equal(positions(tokens), tokens + positions.table[:3])
        assert total(positions) == (20 if kind == "learned" else 0)
        assert not positions.state_dict() or kind == "learned"
        with pytest.raises(ValueError, match="6 tokens, but positions for 5"):
            positions(torch.rand(2, 6, 4))


class TestTrunks:
    @pytest.mark.parametrize(("size", "side"), [(32, 4), (33, 5), (8, 1)])
    def test_convolutions_halve_the_side(self, size, side):
        trunk = Convolutions((4, 8, 6))
        assert trunk(torch.rand(2, 3, size, size)).shape == (2, side * side, trunk.out_features)
        kernels = 27 * 4 + 9 * 4 * 8 + 9 * 8 * 6
        assert total(trunk) == kernels + 2 * (4 + 8 + 6)

    def test_the_map_is_read_row_by_row(self):
        trunk, images = Convolutions((4, 8)).eval(), torch.rand(1, 3, 16, 16)
        assert torch.equal(trunk(images)[0, 4 * 1 + 2], trunk.blocks(images)[0, :, 1, 2])

    def test_patches(self):
        trunk, images = Patches(32, 8, SMALL).eval(), torch.rand(2, 3, 32, 32)
        assert trunk(images).shape == (2, 1 + 16, 16)
        assert total(trunk) == dense(3 * 64, 16) + 16 + 17 * 16 + layers_of(SMALL)
        patch = trunk.cut(images[:, :, 8:16, 16:24]).flatten(1)
        given = []
        trunk.layers.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
        trunk(images)
        assert torch.allclose(given[0][:, 1 + 4 + 2] - trunk.positions.table[7], patch, atol=1e-6)
        assert torch.allclose(given[0][:, 0], trunk.first + trunk.positions.table[0])
        with pytest.raises(ValueError, match="patches of 5 pixels must divide the image, 32"):
            Patches(32, 5, SMALL)


class TestEncoder:
    @pytest.mark.parametrize("projection", ["linear", "convolution"])
    @pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
    @pytest.mark.parametrize("layers", [0, 2])
    def test_cached_tokens_of_a_map(self, projection, positions, layers):
        size = Size(16, layers, 4, 32, 0.1)
        encoder = Encoder(None, 12, 9, 3, projection, positions, size)
        memory = encoder(torch.rand(2, 36, 12, dtype=torch.float16))
        assert memory.shape == (2, 9, 16)
        memory.sum().backward()
        assert all(p.grad is not None for p in encoder.parameters())
        learned = 9 * 16 if positions == "learned" else 0
        assert total(encoder) == dense(12, 16) + learned + layers_of(size)

    def test_tokens_of_a_transformer_are_all_kept(self):
        encoder = Encoder(None, 12, 17, None, "linear", "learned", SMALL)
        assert encoder(torch.rand(2, 17, 12)).shape == (2, 17, 16)

    def test_pixels(self):
        cnn = Encoder(Convolutions((4, 8)), 8, 4, 2, "convolution", "sinusoidal", SMALL)
        vit = Encoder(Patches(16, 8, SMALL), 16, 5, None, "linear", "sinusoidal", SMALL)
        assert cnn(torch.rand(2, 3, 16, 16)).shape == (2, 4, 16)
        assert vit(torch.rand(2, 3, 16, 16)).shape == (2, 5, 16)

    def test_both_projections_are_one_function(self):
        encoders = [
            Encoder(None, 12, 4, 2, kind, "sinusoidal", SMALL).eval()
            for kind in ("linear", "convolution")
        ]
        state = encoders[0].state_dict()
        state["projection.weight"] = state["projection.weight"][..., None, None]
        encoders[1].load_state_dict(state)
        tokens = torch.rand(3, 16, 12)
        assert torch.allclose(encoders[0](tokens), encoders[1](tokens), atol=1e-5)

    def test_pooling_averages_the_map(self):
        encoder = Encoder(None, 5, 4, 2, "linear", "sinusoidal", SMALL)
        tokens = torch.rand(2, 16, 5)
        pooled = encoder._pool(tokens)
        corner = tokens[:, [2, 3, 6, 7]].mean(1)
        assert torch.allclose(pooled[:, 1], corner, atol=1e-6)
        assert encoder._pool(tokens[:, :4]) is not None
        assert torch.equal(encoder._pool(tokens[:, :4]), tokens[:, :4])

    def test_the_place_of_a_token_matters(self):
        encoder = Encoder(None, 5, 4, 2, "linear", "sinusoidal", SMALL).eval()
        tokens = torch.rand(1, 4, 5)
        assert not torch.allclose(encoder(tokens).mean(1), encoder(tokens.flip(1)).mean(1))

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match="set grid"):
            Encoder(None, 5, 4, None, "convolution", "sinusoidal", SMALL)
        with pytest.raises(ValueError, match="grid of side 2 has 4 places, not 5"):
            Encoder(None, 5, 5, 2, "linear", "sinusoidal", SMALL)
        with pytest.raises(ValueError, match="17 tokens are no square map: set grid to null"):
            Encoder(None, 5, 4, 2, "linear", "sinusoidal", SMALL)(torch.rand(1, 17, 5))
        with pytest.raises(ValueError, match="3 heads must divide the width, 16"):
            Size(16, 1, 3, 32, 0.0)


class TestFullSize:
    """The three systems with every weight, on one image."""

    def run(self, captioner, pixels):
        with torch.inference_mode():
            return captioner.eval()(pixels, torch.tensor([[1, 5, 6]]))

    @pytest.mark.parametrize("head", ["lstm", "transformer"])
    def test_resnet50(self, head):
        trunk = FineTuned(load_backbone("torchvision/resnet50", True, pretrained=False), False)
        assert total(trunk) == RESNET50
        projection = "convolution" if head == "lstm" else "linear"
        encoder = Encoder(trunk, 2048, 49, 7, projection, "sinusoidal", FULL)
        assert total(encoder) == RESNET50 + dense(2048, 512) + layers_of(FULL)
        if head == "lstm":
            decoder = LstmDecoder(VOCABULARY, 512, 512, 512, 512, 0.5)
            assert total(decoder) == lstm_of(VOCABULARY, 512)
        else:
            decoder = TransformerDecoder(VOCABULARY, 24, "sinusoidal", False, FULL)
            assert total(decoder) == decoder_of(FULL, VOCABULARY)
        captioner = Captioner(encoder, decoder)
        assert total(captioner) == total(encoder) + total(decoder)
        assert self.run(captioner, torch.rand(1, 3, 224, 224)).shape == (1, 3, VOCABULARY)

    def test_clip(self, clip_folder):
        trunk = FineTuned(load_backbone(str(clip_folder), True, pretrained=False), False)
        patches = 3 * 32 * 32 * 768
        tower = Size(768, 12, 12, 3072, 0.0)
        assert patches + 768 + 50 * 768 + 2 * 768 + layers_of(tower) == CLIP_TOWER
        assert total(trunk) == CLIP_TOWER
        encoder = Encoder(trunk, 768, 50, None, "linear", "sinusoidal", FULL)
        assert total(encoder) == CLIP_TOWER + dense(768, 512) + layers_of(FULL)
        decoder = TransformerDecoder(VOCABULARY, 24, "learned", True, FULL)
        assert total(decoder) == decoder_of(FULL, VOCABULARY) - 512 * VOCABULARY + 24 * 512
        captioner = Captioner(encoder, decoder)
        assert self.run(captioner, torch.rand(1, 3, 224, 224)).shape == (1, 3, VOCABULARY)

    def test_a_frozen_backbone_is_no_part_of_the_network(self):
        encoder = Encoder(None, 2048, 49, 7, "linear", "sinusoidal", FULL)
        assert total(encoder) == dense(2048, 512) + layers_of(FULL)


class TestCaptioner:
    def test_several_captions_of_an_image_encode_it_once(self):
        encoder = Encoder(None, 5, 4, 2, "linear", "sinusoidal", SMALL)
        decoder = TransformerDecoder(11, 6, "sinusoidal", False, SMALL)
        captioner = Captioner(encoder, decoder).eval()
        tokens, image = torch.randint(0, 11, (5, 6)), torch.tensor([0, 0, 2, 1, 2])
        inputs, seen = torch.rand(3, 4, 5), []
        encoder.register_forward_hook(lambda *call: seen.append(call[-1]))
        got = captioner(inputs, tokens, image)
        assert len(seen[0]) == 3
        assert torch.allclose(got, captioner(inputs[image], tokens), atol=1e-5)

    def test_encoder_and_decoder_can_be_exchanged(self):
        for trunk in (Convolutions((4, 8)), Patches(16, 8, SMALL)):
            grid, places = (2, 4) if isinstance(trunk, Convolutions) else (None, 5)
            for decoder in (
                LstmDecoder(11, 16, 8, 12, 10, 0.0),
                TransformerDecoder(11, 6, "learned", True, SMALL),
            ):
                encoder = Encoder(
                    trunk, trunk.out_features, places, grid, "linear", "learned", SMALL
                )
                assert isinstance(decoder, nn.Module)
                logits = Captioner(encoder, decoder)(
                    torch.rand(2, 3, 16, 16), torch.ones(2, 6, dtype=torch.int64)
                )
                assert logits.shape == (2, 6, 11)
