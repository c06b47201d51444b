"""Systems as their parameters say, their files, and what they say about pictures."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from sentences import refused
from studies.captioning import model
from studies.captioning.decoding import Rules, greedy
from studies.captioning.lstm import LstmDecoder
from studies.captioning.model import Describer, build, to_input
from studies.captioning.tokens import BOS, EOS, PAD, UNKNOWN, Words
from studies.captioning.transformer import TransformerDecoder
from studies.captioning.trunks import Convolutions, Patches
from studies.inputs import images
from studies.learning.networks import FineTuned
from studies.runs.folder import load_run

SYSTEMS = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
SIZE, LONGEST = 32, 20  # of `tiny`
TEXTS = [f"a {colour} {what} on the table" for colour in ("red", "blue") for what in ("cup", "hat")]
FROZEN = {"grid": None, "projection": "linear"}


def dense(inputs, outputs):
    return (inputs + 1) * outputs


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
        pixels = torch.rand(2, 3, SIZE, SIZE)
        assert network.encoder(pixels).shape == (2, places, 64)
        # the longest caption and the token before it
        assert network(pixels, torch.ones(2, LONGEST + 1, dtype=int)).shape == (2, 21, 11)
        assert all(p.requires_grad for p in network.parameters())

    def test_every_size_goes_to_its_place(self, squares):
        network = squares("resnet_transformer").network.model_dump()
        network |= {"width": 12, "dropout": 0.25}
        network["encoder"] |= {"layers": 3, "heads": 2, "feedforward": 20}
        network["encoder"]["source"] = {"name": "cnn", "widths": [5, 7]}
        network["decoder"] |= {"layers": 2, "heads": 3, "feedforward": 30}
        built = build(squares("resnet_transformer", network=network), 11, (3, SIZE, SIZE))
        attention = dense(12, 36) + dense(12, 12)
        encoder = attention + dense(12, 20) + dense(20, 12) + 2 * 24
        decoder = 2 * attention + dense(12, 30) + dense(30, 12) + 3 * 24
        counted = {
            built.encoder.trunk: 27 * 5 + 9 * 5 * 7 + 2 * (5 + 7),
            built.encoder.projection: dense(7, 12),
            built.encoder.layers: 3 * encoder + 24,
            built.decoder: 11 * 12 + 2 * decoder + 24 + dense(12, 11),
        }
        for module, count in counted.items():
            assert sum(p.numel() for p in module.parameters()) == count
        dropouts = {m.p for m in built.modules() if isinstance(m, torch.nn.Dropout)}
        assert dropouts == {0.25}

    def test_frozen(self, squares, backbones):
        source = {"name": "backbone", "weights": str(backbones["clip"]), "trained": False}
        network = build(squares("resnet_lstm", FROZEN | {"source": source}), 11, (17, 16))
        assert network.encoder.trunk is None
        tokens = torch.rand(2, 17, 16, dtype=torch.float16)
        assert network(tokens, torch.ones(2, 4, dtype=int)).shape == (2, 4, 11)

    def test_fine_tuned(self, squares, backbones):
        source = {"name": "backbone", "weights": str(backbones["resnet"]), "trained": True}
        settings = squares("resnet_lstm", {"source": source, "grid": 2}, image_size=64)
        network = build(settings, 11, (3, 64, 64)).eval()
        assert isinstance(network.encoder.trunk, FineTuned)
        assert network.encoder(torch.rand(2, 3, 64, 64)).shape == (2, 4, 64)
        published = load_file(backbones["resnet"] / "model.safetensors")
        own = network.encoder.trunk.backbone.model
        assert {name for name, _ in own.named_parameters()} <= published.keys()
        assert all(torch.equal(value, published[name]) for name, value in own.state_dict().items())
        assert all(p.requires_grad for p in own.parameters())
        fresh = build(settings, 11, (3, 64, 64), pretrained=False).encoder.trunk.backbone.model
        name = next(name for name, value in own.named_parameters() if value.ndim == 4)
        assert not torch.equal(fresh.state_dict()[name], published[name])


def talkative(settings, shape) -> Describer:
    """A system with random weights, so large that it does not say the same of all pictures."""
    torch.manual_seed(0)
    words = Words.learn(TEXTS, 1)
    network = build(settings, len(words), shape).eval()
    with torch.no_grad():
        for one in network.parameters():
            one *= 3 if one.ndim > 1 else 1
        for name, one in network.named_buffers():
            if name.endswith("running_mean"):
                one.uniform_(-0.1, 0.1)
    return Describer(network, words, settings)


def pixels(count, size=SIZE):
    """Pictures of four even quarters."""
    quarters = np.random.default_rng(0).choice([0, 255], (count, 3, 2, 2)).astype(np.uint8)
    return quarters.repeat(size // 2, 2).repeat(size // 2, 3)


def written(describer, folder, shape):
    """A run folder that holds the system."""
    folder.mkdir()
    settings = describer.parameters.resolved()
    (folder / "params.yaml").write_text(yaml.safe_dump(settings))
    (folder / "provenance.json").write_text(json.dumps({"input_shape": shape}))
    describer.save(folder)
    return folder


@pytest.fixture(params=SYSTEMS)
def describer(request, squares):
    return talkative(squares(request.param), (3, SIZE, SIZE))


class TestCaption:
    def test_one_by_one_is_all_at_once(self, describer, monkeypatch):
        given = pixels(7)
        together = describer.caption(given)
        assert len(set(together)) > 1
        assert [describer.caption(given[k : k + 1])[0] for k in range(7)] == together
        monkeypatch.setattr(model, "CHUNK", 3)
        assert describer.caption(given) == together
        assert describer.caption(given[:0]) == []

    def test_one_beam_is_greedy(self, describer, squares):
        decoding = {"beams": 1, "length_penalty": 0.0, "max_length": 5}
        describer.parameters = squares(describer.parameters.model, decoding=decoding)
        given = pixels(5)
        with torch.inference_mode():
            memory = describer.network.encoder(torch.from_numpy(given) / 255)
        rules = Rules(BOS, EOS, (PAD, UNKNOWN), 6, 1)
        wanted = [found.tokens for found in greedy(describer.network.decoder, memory, rules)]
        assert [found.tokens for found in describer.search(given)] == wanted

    @pytest.mark.parametrize("tokens", [[PAD], [BOS], [UNKNOWN], [EOS], [PAD, BOS, UNKNOWN, EOS]])
    def test_nothing_but_words_and_at_least_one(self, describer, tokens):
        with torch.no_grad():
            describer.network.decoder.output.bias[tokens] += 1e4
        for caption in describer.caption(pixels(3)):
            assert 1 <= len(caption.split()) <= LONGEST
            assert set(caption.split()) <= set(" ".join(TEXTS).split())

    def test_a_caption_that_does_not_end_has_max_length_words(self, describer):
        with torch.no_grad():
            describer.network.decoder.output.bias[EOS] -= 1e4
        given = pixels(2)
        said = describer.caption(given)
        assert [len(caption.split()) for caption in said] == [LONGEST] * 2
        assert [len(rows) for rows in describer.attention(given, said)] == [LONGEST] * 2

    def test_the_network_stays_as_it_was(self, describer):
        before = {name: value.clone() for name, value in describer.network.state_dict().items()}
        describer.network.train()
        describer.caption(pixels(2))
        assert describer.network.training
        after = describer.network.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())

    def test_inputs(self):
        given = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
        device = torch.device("cpu")
        assert to_input(given, device).flatten().tolist() == pytest.approx([0, 0.2, 1])
        tokens = torch.rand(1, 4, 5, dtype=torch.float16)
        assert torch.equal(to_input(tokens, device), tokens)


class TestAttention:
    def test_rows_sum_to_one_and_there_is_one_a_word(self, describer):
        given, places = pixels(4), 17 if describer.parameters.model == "clip_transformer" else 16
        # what the vocabulary lacks is a word too, and punctuation is none
        said = ["a red cup", "Blue zebra, on-the table!", "hat", ""]
        found = describer.attention(given, said)
        assert [rows.shape for rows in found] == [(n, places) for n in (3, 4, 1, 0)]
        for rows in found:
            assert torch.allclose(rows.sum(1), torch.ones(len(rows)), atol=1e-5)
            assert (rows >= 0).all()

    def test_it_depends_on_image_and_words_before(self, describer):
        said = ["red cup on the", "red hat on the", "red cup on the"]
        one, other, another = describer.attention(pixels(2)[[0, 0, 1]], said)
        assert torch.allclose(one[:2], other[:2], atol=1e-6)
        assert not torch.allclose(one[3], other[3], atol=1e-3)
        assert not torch.allclose(one[0], another[0], atol=1e-3)


class TestDescribe:
    @pytest.fixture
    def files(self, tmp_path):
        files = [tmp_path / f"{k}.png" for k in (3, 0, 2, 1)]
        for k, (file, side) in enumerate(zip(files, (20, 32, 64, 50), strict=True)):
            picture = pixels(4, side)[k].transpose(1, 2, 0)
            Image.fromarray(picture[: side - 10 * (k % 2)]).save(file)
        return files

    def test_picture_files_are_captioned_as_loaded_pixels(self, describer, files, sandbox):
        loaded = images.load(files, SIZE, files[0].parent)
        said = describer.describe(files)
        assert said == describer.caption(loaded)
        assert len(set(said)) > 1


class TestFile:
    def test_round_trip_to_the_bit(self, describer, sandbox):
        folder, given = written(describer, sandbox / "run", [3, SIZE, SIZE]), pixels(6)
        again = load_run(folder).model()
        assert not again.network.training
        assert again.search(given) == describer.search(given)
        assert again.caption(given) == describer.caption(given)


@pytest.fixture
def folder(squares, sandbox):
    describer = talkative(squares("clip_transformer"), (3, SIZE, SIZE))
    return written(describer, sandbox / "run", [3, SIZE, SIZE])


class TestDamage:
    def test_words_of_another_run(self, folder):
        (folder / "words.json").write_text(Words.learn(["some other words"], 1).to_json())
        message = refused(load_run(folder).model)
        assert message.startswith(f"{folder / 'words.json'}: is the vocabulary of another run; ")

    @pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe"])
    def test_no_words(self, folder, content):
        (folder / "words.json").unlink()
        if content is not None:
            (folder / "words.json").write_bytes(content)
        assert "words.json" in refused(load_run(folder).model)

    @pytest.mark.parametrize("kept", [0, 5, 100, -1000, -1])
    def test_a_file_cut_short(self, folder, kept):
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:kept])
        message = refused(load_run(folder).model)
        assert message.startswith(f"{file}: ")
        assert "cannot be read" in message

    def test_a_damaged_header(self, folder):
        file = folder / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[20] ^= 0xFF
        file.write_bytes(content)
        assert refused(load_run(folder).model).startswith(f"{file}: ")

    def test_weights_of_no_run(self, folder):
        file = folder / "model.safetensors"
        save_file(load_file(file), file)  # without the digest of the words
        assert refused(load_run(folder).model).startswith(f"{file}: ")

    def test_weights_of_another_system(self, folder, squares, sandbox):
        other = talkative(squares("resnet_lstm"), (3, SIZE, SIZE))
        file = written(other, sandbox / "other", [3, SIZE, SIZE]) / "model.safetensors"
        shutil.copy(file, folder)
        message = refused(load_run(folder).model)
        assert message.startswith(f"{folder / 'model.safetensors'}: holds another system's weights")

    def test_no_file(self, folder):
        (folder / "model.safetensors").unlink()
        assert "has no model.safetensors" in refused(load_run(folder).model)

    def test_the_advice_helps(self, copy, squares, capsys):
        from studies.captioning.train import train

        settings = squares("clip_transformer")
        files = [settings.folder() / name for name in ("model.safetensors", "words.json")]
        before = [file.read_bytes() for file in files]
        files[0].unlink()
        files[1].write_text("{")
        train(settings)
        assert "epoch 1" not in capsys.readouterr().out
        assert [file.read_bytes() for file in files] == before
