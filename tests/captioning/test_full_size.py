"""The slides' systems at full size, built of the shipped files: which parts, in which order.

Weights are random, as published ones would have to be fetched; shapes and counts are theirs.
"""

import math
import re

import pytest
import torch
import transformers
from PIL import Image
from torch import nn

from studies.captioning.lstm import LstmDecoder
from studies.captioning.model import build
from studies.captioning.params import Parameters
from studies.captioning.transformer import TransformerDecoder
from studies.learning.backbones import load_backbone
from studies.runs.params import read_yaml, run_files

FOLDER = run_files("captioning", "flickr8k")
FINE_TUNED = "clip_transformer@fine_tuned"
SYSTEMS = ["resnet_lstm", "resnet_transformer", "clip_transformer", FINE_TUNED]
CLIP = "openai/clip-vit-base-patch32"
WORDS = 2500  # of a vocabulary; Flickr8k's has about as many
MAP, TOKENS, PIXELS = (49, 2048), (50, 768), (3, 224, 224)
GIVEN = dict(zip(SYSTEMS, (MAP, MAP, TOKENS, PIXELS), strict=True))


def read(system: str) -> dict:
    """The values of the shipped files of a system."""
    values = {}
    for file in FOLDER[system]:
        values |= read_yaml(file)
    return values


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """CLIP ViT-B/32's description without its weights, where its name is looked up."""
    data = tmp_path_factory.mktemp("data")
    tower = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    tower |= {"num_attention_heads": 12, "patch_size": 32, "image_size": 224}
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 9}
    config = transformers.CLIPConfig(vision_config=tower, text_config=text)
    config.save_pretrained(data / "weights" / CLIP)
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 224})
    processor.save_pretrained(data / "weights" / CLIP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_DATA", str(data))
        yield load_backbone(CLIP, pretrained=False)


@pytest.fixture(scope="module", params=SYSTEMS)
def system(request, clip):
    """A system's name and the system itself, of random weights."""
    parameters = Parameters.from_files(FOLDER[request.param], ["seed=0"])
    torch.manual_seed(0)
    captioner = build(parameters, WORDS, GIVEN[request.param], pretrained=False)
    return request.param, captioner.eval()


class TestBackbones:
    PHOTOGRAPH = Image.effect_noise((500, 375), 80).convert("RGB")

    def test_resnet50_gives_a_map_of_49_places(self):
        backbone = load_backbone("torchvision/resnet50", pretrained=False)
        pixels = backbone.preprocess(self.PHOTOGRAPH)[None]
        assert pixels.shape[1:] == PIXELS
        maps = []
        backbone.model.layer4.register_forward_hook(lambda *call: maps.append(call[-1]))
        with torch.inference_mode():
            tokens, pooled = backbone(pixels, pooled=False), backbone(pixels)
        assert maps[0].shape == (1, 2048, 7, 7)
        assert tokens.shape[1:] == MAP
        for row, column in ((0, 0), (2, 5), (6, 6)):
            assert torch.equal(tokens[0, 7 * row + column], maps[0][0, :, row, column])
        assert torch.allclose(pooled, maps[0].mean((2, 3)), atol=1e-5)

    def test_clip_gives_a_class_token_and_a_token_a_patch(self, clip):
        pixels = clip.preprocess(self.PHOTOGRAPH)[None]
        assert pixels.shape[1:] == PIXELS
        with torch.inference_mode():
            tokens = clip(pixels, pooled=False)
        assert tokens.shape[1:] == (1 + (224 // 32) ** 2, 768) == TOKENS


class TestParts:
    """As in the slides: encoder, pooling, projection, positions, Transformer encoder, decoder."""

    def test_they_follow_each_other(self, system):
        name, captioner = system
        encoder, decoder = captioner.encoder, captioner.decoder
        assert isinstance(encoder.layers, nn.TransformerEncoder)
        parts = {"backbone": encoder.trunk, "projection": encoder.projection}
        parts |= {"positions": encoder.positions}
        parts |= {f"layer {k}": layer for k, layer in enumerate(encoder.layers.layers, 1)}
        parts |= {"norm": encoder.layers.norm, "decoder": decoder}
        seen = {}
        for part, module in parts.items():
            if module is not None:
                module.register_forward_hook(
                    lambda _, given, got, part=part: seen.update({part: (given[0], got)})
                )
        inputs, owners = torch.rand(2, *GIVEN[name]), torch.tensor([0, 0, 1])
        with torch.no_grad():
            logits = captioner(inputs, torch.randint(4, WORDS, (3, 5)), owners)
        tail = ["positions", "layer 1", "layer 2", "layer 3", "norm", "decoder"]
        head = ["backbone", "projection"] if name == FINE_TUNED else ["projection"]
        assert list(seen) == [*head, *tail]
        assert logits.shape == (3, 5, WORDS)

        places, features = MAP if "resnet" in name else TOKENS
        given, got = seen["projection"]
        if name == "resnet_lstm":  # 1×1 convolution of a map
            assert given.shape == (2, features, 7, 7)
            given, got = (maps.flatten(2).transpose(1, 2) for maps in (given, got))
        assert given.shape == (2, places, features)
        weight = encoder.projection.weight.view(512, features)
        assert torch.allclose(got, given @ weight.T + encoder.projection.bias, atol=1e-4)
        assert torch.equal(given, seen["backbone"][1] if name == FINE_TUNED else inputs)
        for part in tail[:-1]:
            assert torch.equal(seen[part][0], got)
            assert seen[part][1].shape == (2, places, 512)
            got = seen[part][1]
        assert torch.equal(seen["decoder"][0], got[owners])

    def test_positions_are_sines_and_cosines(self, system):
        name, captioner = system
        places = 49 if "resnet" in name else 50
        tokens = torch.zeros(1, places, 512)
        for place in (0, 1, places - 1):
            for column in (0, 1, 100, 101, 511):
                angle = place / 10_000 ** ((column - column % 2) / 512)
                wave = math.cos(angle) if column % 2 else math.sin(angle)
                got = captioner.encoder.positions(tokens)[0, place, column]
                assert float(got) == pytest.approx(wave, abs=1e-5)

    def test_a_larger_map_is_averaged_to_7_by_7(self, system):
        name, captioner = system
        if "resnet" not in name:
            assert captioner.encoder.grid is None
            return
        maps = torch.rand(1, 2048, 14, 14)
        small = maps.view(1, 2048, 7, 2, 7, 2).mean((3, 5))
        memories = [captioner.encoder(given.flatten(2).transpose(1, 2)) for given in (maps, small)]
        assert torch.allclose(*memories, atol=1e-4)

    def test_sizes(self, system):
        name, captioner = system
        encoder, decoder = captioner.encoder, captioner.decoder
        kind = nn.Conv2d if name == "resnet_lstm" else nn.Linear
        assert type(encoder.projection) is kind
        if kind is nn.Conv2d:
            assert encoder.projection.kernel_size == encoder.projection.stride == (1, 1)
            assert encoder.projection.padding == (0, 0)
        for layer in encoder.layers.layers:
            assert (layer.self_attn.embed_dim, layer.self_attn.num_heads) == (512, 8)
            assert layer.linear1.weight.shape == (2048, 512)
            assert layer.linear2.weight.shape == (512, 2048)
        assert decoder.embedding.weight.shape == (WORDS, 512)
        assert decoder.output.weight.shape == (WORDS, 512)
        assert decoder.output.weight is not decoder.embedding.weight
        if name == "resnet_lstm":
            assert type(decoder) is LstmDecoder
            assert (decoder.cell.input_size, decoder.cell.hidden_size) == (512 + 512, 512)
        else:
            assert type(decoder) is TransformerDecoder
            assert [layer.heads for layer in decoder.layers] == [8, 8, 8]
            assert {layer.dense[0].weight.shape for layer in decoder.layers} == {(2048, 512)}
            # the longest caption with its <bos>: its <eos> is only predicted
            assert len(decoder.positions.table) == 24 + 1
        rates = {part.p for part in captioner.modules() if isinstance(part, nn.Dropout)}
        assert rates == {read(name)["network"]["dropout"]}


class TestCounts:
    """By formula, of the sizes in the files."""

    def dense(self, inputs: int, outputs: int) -> int:
        return (inputs + 1) * outputs

    def layer(self, d: int, f: int, attentions: int) -> int:
        """Each attention has queries, keys, values and an output; each part a norm before it."""
        parts = attentions * 4 * self.dense(d, d) + self.dense(d, f) + self.dense(f, d)
        return parts + (attentions + 1) * 2 * d

    def encoder(self, name: str) -> int:
        network = read(name)["network"]
        d, given = network["width"], network["encoder"]
        features = 2048 if "resnet" in name else 768
        layers = given["layers"] * self.layer(d, given["feedforward"], 1)
        return self.dense(features, d) + layers + 2 * d

    def decoder(self, name: str) -> int:
        network = read(name)["network"]
        d, given = network["width"], network["decoder"]
        if given["name"] == "transformer":
            layers = given["layers"] * self.layer(d, given["feedforward"], 2)
            return WORDS * d + layers + 2 * d + self.dense(d, WORDS)
        h = given["hidden"]
        first = 2 * self.dense(d, h)
        attention = self.dense(d, d) + h * d + d
        gate = self.dense(h, d)
        cell = 4 * h * ((d + d) + h + 2)  # four gates of token, finding and state, two biases
        return WORDS * d + first + attention + gate + cell + self.dense(h, WORDS)

    def tower(self) -> int:
        """CLIP's: patches without a bias, class token, positions, a norm before and one after."""
        embeddings = 3 * 32 * 32 * 768 + 768 + 50 * 768
        return embeddings + 12 * self.layer(768, 3072, 1) + 2 * 2 * 768

    def test_parameters(self, system):
        name, captioner = system
        wanted = self.encoder(name) + self.decoder(name)
        wanted += self.tower() if name == FINE_TUNED else 0
        got = [p.numel() for p in captioner.parameters() if p.requires_grad]
        assert sum(got) == wanted
        # no hidden state besides: a frozen backbone is no part of what a run folder keeps
        assert sum(tensor.numel() for tensor in captioner.state_dict().values()) == wanted


class TestFiles:
    def test_backbones_are_frozen_but_in_the_variant(self):
        sources = {name: read(name)["network"]["encoder"]["source"] for name in SYSTEMS}
        assert {name for name, source in sources.items() if source["trained"]} == {FINE_TUNED}
        assert {source["weights"] for source in sources.values()} == {"torchvision/resnet50", CLIP}
        rates = {name: read(name)["backbone_learning_rate"] for name in SYSTEMS}
        assert 0 < rates.pop(FINE_TUNED) <= read(FINE_TUNED)["learning_rate"] / 10
        assert set(rates.values()) == {0.0}

    def test_the_variant_differs_in_nothing_else(self):
        one, other = read("clip_transformer"), read(FINE_TUNED)
        for values in (one, other):
            del values["network"]["encoder"]["source"]["trained"]
            del values["backbone_learning_rate"], values["variant"]
        assert one == other

    @pytest.mark.parametrize(
        ("name", "numbers"),
        [
            ("resnet_lstm", ".194/.216/.461/.516"),
            ("resnet_transformer", ".229/.232/.477/.613"),
            ("clip_transformer", ".253/.245/.501/.684"),
        ],
    )
    def test_headers_say_what_was_published_and_that_sizes_are_a_guess(self, name, numbers):
        shared, own = (file.read_text() for file in FOLDER[name])
        for text in (shared, own):
            said = re.sub(r"\n# ", " ", text)
            assert numbers in said
            assert "a documented guess" in said
