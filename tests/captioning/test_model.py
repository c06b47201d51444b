"""Systems as their parameters say, at full size too; their files; what they say about pictures."""

import json
import math
import re

import numpy as np
import pytest
import torch
import transformers
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import changing
from sentences import refused
from studies.captioning import model
from studies.captioning.decoders import LstmDecoder, TransformerDecoder
from studies.captioning.encoder import Convolutions, Patches
from studies.captioning.model import Describer, build
from studies.captioning.params import Parameters
from studies.captioning.tokens import BOS, EOS, PAD, UNKNOWN, Words
from studies.inputs import images
from studies.learning.backbones import load_backbone
from studies.learning.networks import FineTuned
from studies.runs.folder import load_run
from studies.runs.params import run_files

SYSTEMS = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
SIZE, LONGEST = 32, 20  # of `tiny`
TEXTS = [f"a {colour} {what} on the table" for colour in ("red", "blue") for what in ("cup", "hat")]


def dense(inputs, outputs):
    return (inputs + 1) * outputs


def layer(d, f, attentions):
    """Each attention has queries, keys, values and an output; each part a norm before it."""
    parts = attentions * 4 * dense(d, d) + dense(d, f) + dense(f, d)
    return parts + (attentions + 1) * 2 * d


class TestBuild:
    @pytest.mark.parametrize(
        ("system", "trunk", "places", "decoder"),
        [
            ("resnet_lstm", Convolutions, 16, LstmDecoder),
            ("resnet_transformer", Convolutions, 16, TransformerDecoder),
            ("clip_transformer", Patches, 17, TransformerDecoder),
        ],
    )
    def test_from_scratch(self, squares, system, trunk, places, decoder):
        network = build(squares(system), 11, (3, SIZE, SIZE))
        assert isinstance(network.encoder.trunk, trunk)
        assert isinstance(network.decoder, decoder)
        memory = network.encoder(torch.rand(2, 3, SIZE, SIZE))
        assert memory.shape == (2, places, 64)
        # the longest caption and the token before it
        tokens = torch.ones(2, LONGEST + 1, dtype=int)
        assert network.decoder(memory, tokens).shape == (2, 21, 11)
        assert all(p.requires_grad for p in network.parameters())

    def test_every_size_goes_to_its_place(self, squares):
        network = squares("resnet_transformer").network.model_dump()
        network |= {"width": 12, "dropout": 0.25}
        network["encoder"] |= {"layers": 3, "heads": 2, "feedforward": 20}
        network["encoder"]["source"] = {"name": "cnn", "widths": [5, 7]}
        network["decoder"] |= {"layers": 2, "heads": 3, "feedforward": 30}
        built = build(squares("resnet_transformer", network=network), 11, (3, SIZE, SIZE))
        counted = {
            built.encoder.trunk: 27 * 5 + 9 * 5 * 7 + 2 * (5 + 7),
            built.encoder.projection: dense(7, 12),
            built.encoder.layers: 3 * layer(12, 20, 1) + 24,
            built.decoder: 11 * 12 + 2 * layer(12, 30, 2) + 24 + dense(12, 11),
        }
        for module, count in counted.items():
            assert sum(p.numel() for p in module.parameters()) == count
        assert {m.p for m in built.modules() if isinstance(m, nn.Dropout)} == {0.25}

    def test_fine_tuned(self, squares, backbones):
        source = {"name": "backbone", "weights": str(backbones["resnet"]), "trained": True}
        chosen = squares("resnet_lstm", {"source": source, "grid": 2}, image_size=64)
        network = build(chosen, 11, (3, 64, 64)).eval()
        assert isinstance(network.encoder.trunk, FineTuned)
        assert network.encoder(torch.rand(2, 3, 64, 64)).shape == (2, 4, 64)
        published = load_file(backbones["resnet"] / "model.safetensors")
        own = network.encoder.trunk.backbone.model
        assert all(torch.equal(value, published[name]) for name, value in own.state_dict().items())
        assert all(p.requires_grad for p in own.parameters())
        fresh = build(chosen, 11, (3, 64, 64), pretrained=False).encoder.trunk.backbone.model
        name = next(name for name, value in own.named_parameters() if value.ndim == 4)
        assert not torch.equal(fresh.state_dict()[name], published[name])

    @pytest.mark.parametrize(
        ("trained", "grid", "shape", "place"),
        [
            (True, None, (3, 48, 48), "image_size 48 does not fit"),
            (True, 4, (3, 32, 32), "network.encoder.grid is 4"),
            (False, 4, (17, 16), "network.encoder.grid is 4"),
        ],
    )
    def test_what_does_not_fit_a_backbone_is_told(
        self, squares, backbones, trained, grid, shape, place
    ):
        source = {"name": "backbone", "weights": str(backbones["clip"]), "trained": trained}
        size = {"image_size": shape[-1]} if trained else {}
        chosen = squares("clip_transformer", {"source": source, "grid": grid}, **size)
        assert refused(build, chosen, 11, shape).startswith(place)


def talkative(parameters) -> Describer:
    """A system with random weights, so large that it does not say the same of all pictures."""
    torch.manual_seed(0)
    words = Words.learn(TEXTS, 1)
    network = build(parameters, len(words), (3, SIZE, SIZE)).eval()
    with torch.no_grad():
        for one in network.parameters():
            one *= 3 if one.ndim > 1 else 1
        for name, one in network.named_buffers():
            if name.endswith("running_mean"):
                one.uniform_(-0.1, 0.1)
    return Describer(network, words, parameters)


def pixels(count, size=SIZE):
    """Pictures of four even quarters."""
    quarters = np.random.default_rng(0).choice([0, 255], (count, 3, 2, 2)).astype(np.uint8)
    return quarters.repeat(size // 2, 2).repeat(size // 2, 3)


def saved(describer, folder):
    """A run folder that holds the system."""
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(describer.parameters.resolved()))
    (folder / "provenance.json").write_text(json.dumps({"input_shape": [3, SIZE, SIZE]}))
    describer.save(folder)
    return folder


@pytest.fixture(params=SYSTEMS)
def describer(request, squares):
    return talkative(squares(request.param))


class TestCaption:
    def test_one_by_one_is_all_at_once(self, describer, monkeypatch):
        inputs = pixels(7)
        together = describer.caption(inputs)
        assert len(set(together)) > 1
        assert [describer.caption(inputs[k : k + 1])[0] for k in range(7)] == together
        monkeypatch.setattr(model, "CHUNK", 3)
        assert describer.caption(inputs) == together
        assert describer.caption(inputs[:0]) == []

    @pytest.mark.parametrize("tokens", [[PAD], [BOS], [EOS], [PAD, BOS, UNKNOWN, EOS]])
    def test_nothing_but_words_and_at_least_one(self, describer, tokens):
        with torch.no_grad():
            describer.network.decoder.output.bias[tokens] += 1e4
        for caption in describer.caption(pixels(3)):
            assert 1 <= len(caption.split()) <= LONGEST
            assert set(caption.split()) <= set(" ".join(TEXTS).split())

    def test_a_caption_that_does_not_end_has_max_length_words(self, describer):
        with torch.no_grad():
            describer.network.decoder.output.bias[EOS] -= 1e4
        captions = describer.caption(pixels(2))
        assert [len(caption.split()) for caption in captions] == [LONGEST] * 2
        assert [len(rows) for rows in describer.attention(pixels(2), captions)] == [LONGEST] * 2

    def test_the_network_stays_as_it_was(self, describer):
        before = {name: value.clone() for name, value in describer.network.state_dict().items()}
        describer.network.train()
        describer.caption(pixels(2))
        assert all(part.training for part in describer.network.modules())
        after = describer.network.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())

    def test_picture_files_are_captioned_as_loaded_pixels(self, describer, sandbox):
        files = [sandbox / f"{k}.png" for k in (3, 0, 2, 1)]
        for k, (file, side) in enumerate(zip(files, (20, 32, 64, 50), strict=True)):
            picture = pixels(4, side)[k].transpose(1, 2, 0)
            Image.fromarray(picture[: side - 10 * (k % 2)]).save(file)
        captions = describer.describe(files)
        assert captions == describer.caption(images.load(files, SIZE, sandbox))
        assert len(set(captions)) > 1


class TestAttention:
    def test_rows_sum_to_one_and_there_is_one_a_word(self, describer):
        places = 17 if describer.parameters.model == "clip_transformer" else 16
        # what the vocabulary lacks is a word too, and punctuation is none
        captions = ["a red cup", "Blue zebra, on-the table!", "hat", ""]
        maps = describer.attention(pixels(4), captions)
        assert [rows.shape for rows in maps] == [(n, places) for n in (3, 4, 1, 0)]
        for rows in maps:
            assert torch.allclose(rows.sum(1), torch.ones(len(rows)), atol=1e-5)
            assert (rows >= 0).all()

    def test_it_depends_on_image_and_words_before(self, describer):
        captions = ["red cup on the", "red hat on the", "red cup on the"]
        one, other, another = describer.attention(pixels(2)[[0, 0, 1]], captions)
        assert torch.allclose(one[:2], other[:2], atol=1e-6)
        assert not torch.allclose(one[3], other[3], atol=1e-3)
        assert not torch.allclose(one[0], another[0], atol=1e-3)


class TestFile:
    def test_round_trip_to_the_bit(self, describer, sandbox):
        again = load_run(saved(describer, sandbox / "run")).model()
        assert not again.network.training
        before, after = describer.network.state_dict(), again.network.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())
        assert again.caption(pixels(6)) == describer.caption(pixels(6))

    @pytest.fixture
    def folder(self, squares, sandbox):
        return saved(talkative(squares("clip_transformer")), sandbox / "run")

    @pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b'{"version": "1.0"}'])
    def test_words_are_missing_damaged_or_of_another_run(self, folder, content):
        (folder / "words.json").unlink()
        if content is not None:
            (folder / "words.json").write_bytes(content)
        assert refused(load_run(folder).model).startswith(str(folder / "words.json"))

    @pytest.mark.parametrize("length", [0, 100, -1])
    def test_weights_cut_short(self, folder, length):
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:length])
        assert refused(load_run(folder).model).startswith(f"{file}: cannot be read")

    def test_weights_of_another_system(self, folder, squares, sandbox):
        other = saved(talkative(squares("resnet_lstm")), sandbox / "other")
        for name in ("model.safetensors", "words.json"):
            (folder / name).write_bytes((other / name).read_bytes())
        message = refused(load_run(folder).model)
        assert message.startswith(f"{folder / 'model.safetensors'}: holds another system's weights")


# The slides' systems at full size, built of the shipped files. Weights are random, as published
# ones would have to be fetched; shapes and counts are theirs.

FINE_TUNED = "clip_transformer@fine_tuned"
CLIP = "openai/clip-vit-base-patch32"
VOCABULARY = 2500  # Flickr8k's has about as many
MAP, TOKENS, PIXELS = (49, 2048), (50, 768), (3, 224, 224)
GIVEN = dict(zip([*SYSTEMS, FINE_TUNED], (MAP, MAP, TOKENS, PIXELS), strict=True))


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """CLIP ViT-B/32's description without its weights, where its name is looked up."""
    place = tmp_path_factory.mktemp("data") / "weights" / CLIP
    tower = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12}
    tower |= {"num_attention_heads": 12, "patch_size": 32, "image_size": 224}
    text = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "vocab_size": 9}
    transformers.CLIPConfig(vision_config=tower, text_config=text).save_pretrained(place)
    transformers.CLIPImageProcessor(size={"shortest_edge": 224}).save_pretrained(place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_DATA", str(place.parents[2]))
        yield load_backbone(CLIP, pretrained=False)


@pytest.fixture(scope="module", params=GIVEN)
def full(request, clip):
    """A system's name, the values of its files, and the system itself."""
    values = changing.values_of("captioning", "flickr8k", request.param)
    torch.manual_seed(0)
    parameters = Parameters.check(values, {"": request.param})
    captioner = build(parameters, VOCABULARY, GIVEN[request.param], pretrained=False)
    return request.param, values["network"], captioner.eval()


class TestFullSize:
    def test_backbones_give_the_tokens_of_the_slides(self, clip):
        photograph = Image.effect_noise((500, 375), 80).convert("RGB")
        resnet = load_backbone("torchvision/resnet50", pretrained=False)
        inputs, maps = resnet.preprocess(photograph)[None], []
        resnet.model.layer4.register_forward_hook(lambda *call: maps.append(call[-1]))
        with torch.inference_mode():
            tokens = resnet(inputs, pooled=False)
            others = clip(clip.preprocess(photograph)[None], pooled=False)
        assert inputs.shape[1:] == PIXELS
        assert tokens.shape[1:] == MAP
        assert torch.equal(tokens[0], maps[0][0].flatten(1).T)
        assert others.shape[1:] == (1 + (224 // 32) ** 2, 768) == TOKENS

    def test_parts_follow_each_other(self, full):
        """Backbone, pooling, projection, positions, Transformer encoder, decoder."""
        name, _, captioner = full
        encoder = captioner.encoder
        parts = {"backbone": encoder.trunk, "projection": encoder.projection}
        parts |= {"positions": encoder.positions}
        parts |= {f"layer {k}": layer for k, layer in enumerate(encoder.layers.layers, 1)}
        parts |= {"norm": encoder.layers.norm}
        seen = {}
        for part, module in parts.items():
            if module is not None:
                module.register_forward_hook(
                    lambda _, given, got, part=part: seen.update({part: (given[0], got)})
                )
        inputs = torch.rand(2, *GIVEN[name])
        with torch.no_grad():
            memory = encoder(inputs)
        tail = ["positions", "layer 1", "layer 2", "layer 3", "norm"]
        assert list(seen) == [*(["backbone"] if name == FINE_TUNED else []), "projection", *tail]
        places, features = MAP if "resnet" in name else TOKENS
        given, got = seen["projection"]
        if name == "resnet_lstm":  # 1×1 convolution of a map
            assert encoder.projection.kernel_size == encoder.projection.stride == (1, 1)
            given, got = (maps.flatten(2).transpose(1, 2) for maps in (given, got))
        weight = encoder.projection.weight.view(512, features)
        assert torch.allclose(got, given @ weight.T + encoder.projection.bias, atol=1e-4)
        assert torch.equal(given, seen["backbone"][1] if name == FINE_TUNED else inputs)
        for part in tail:
            assert torch.equal(seen[part][0], got)
            assert seen[part][1].shape == (2, places, 512)
            got = seen[part][1]
        assert torch.equal(memory, got)

    def test_sizes(self, full):
        name, network, captioner = full
        decoder = captioner.decoder
        for one in captioner.encoder.layers.layers:
            assert (one.self_attn.embed_dim, one.self_attn.num_heads) == (512, 8)
        if name == "resnet_lstm":
            assert (decoder.cell.input_size, decoder.cell.hidden_size) == (512 + 512, 512)
        else:
            assert [one.heads for one in decoder.layers] == [8, 8, 8]
            # the longest caption with its <bos>: its <eos> is only predicted
            assert len(decoder.positions.table) == 24 + 1
        rates = {part.p for part in captioner.modules() if isinstance(part, nn.Dropout)}
        assert rates == {network["dropout"]}

    def test_parameters_are_as_many_as_the_formulas_say(self, full):
        name, network, captioner = full
        d, encoder, decoder = network["width"], network["encoder"], network["decoder"]
        wanted = dense(2048 if "resnet" in name else 768, d) + 2 * d
        wanted += encoder["layers"] * layer(d, encoder["feedforward"], 1)
        if name == FINE_TUNED:  # patches, class token, positions, a norm before and one after
            wanted += 3 * 32 * 32 * 768 + 51 * 768 + 12 * layer(768, 3072, 1) + 2 * 2 * 768
        if decoder["name"] == "transformer":
            layers = decoder["layers"] * layer(d, decoder["feedforward"], 2)
            wanted += VOCABULARY * d + layers + 2 * d + dense(d, VOCABULARY)
        else:
            h = decoder["hidden"]
            attention = dense(d, d) + h * d + d
            cell = 4 * h * ((d + d) + h + 2)  # four gates of token, context and state, two biases
            wanted += VOCABULARY * d + 2 * dense(d, h) + attention + dense(h, d) + cell
            wanted += dense(h, VOCABULARY)
        assert sum(p.numel() for p in captioner.parameters() if p.requires_grad) == wanted
        # no hidden state besides: a frozen backbone is no part of what a run folder keeps
        assert sum(tensor.numel() for tensor in captioner.state_dict().values()) == wanted

    def test_positions_are_sines_and_cosines(self, full):
        places = 49 if "resnet" in full[0] else 50
        table = full[2].encoder.positions(torch.zeros(1, places, 512))[0]
        for column in (0, 1, 100, 511):
            angle = (places - 1) / 10_000 ** ((column - column % 2) / 512)
            wave = math.cos(angle) if column % 2 else math.sin(angle)
            assert float(table[-1, column]) == pytest.approx(wave, abs=1e-5)

    def test_the_variant_differs_in_its_training_of_the_backbone_alone(self):
        one, other = (
            changing.values_of("captioning", "flickr8k", name) for name in (SYSTEMS[2], FINE_TUNED)
        )
        assert 0 < other["backbone_learning_rate"] <= other["learning_rate"] / 10
        assert other["network"]["encoder"]["source"]["trained"]
        other["network"]["encoder"]["source"]["trained"] = False
        assert other | {"variant": "", "backbone_learning_rate": 0.0} == one

    @pytest.mark.parametrize(
        ("name", "numbers"),
        [
            ("resnet_lstm", ".194/.216/.461/.516"),
            ("resnet_transformer", ".229/.232/.477/.613"),
            ("clip_transformer", ".253/.245/.501/.684"),
        ],
    )
    def test_headers_say_what_was_published_and_that_sizes_are_a_guess(self, name, numbers):
        for file in run_files("captioning", "flickr8k")[name]:
            text = re.sub(r"\n# ", " ", file.read_text())
            assert numbers in text
            assert "a documented guess" in text
