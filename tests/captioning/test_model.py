"""Systems as their parameters say, at full size too; their files; what they say about pictures."""

import json

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import nn

import changing
from sentences import refused
from studies.captioning import model
from studies.captioning.model import Describer, build
from studies.captioning.params import Parameters
from studies.captioning.tokens import BOS, EOS, PAD, UNKNOWN, Words
from studies.inputs import images
from studies.runs.folder import load_run

SYSTEMS = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
SIZE, LONGEST = 32, 20  # of `tiny`
TEXTS = [f"a {colour} {what} on the table" for colour in ("red", "blue") for what in ("cup", "hat")]


def talkative(parameters) -> Describer:
    """A system with random weights, so large that it does not say the same of all pictures."""
    torch.manual_seed(0)
    words = Words.learn(TEXTS, 1)
    network = build(parameters, len(words), (3, SIZE, SIZE)).eval()
    with torch.no_grad():
        network.decoder.embedding.weight *= 0.1  # else it is the last word that counts
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
    describer.save(folder / "model.safetensors")
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

    @pytest.mark.parametrize("length", [0, 100, -1])
    def test_weights_cut_short(self, folder, length):
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:length])
        assert refused(load_run(folder).model).startswith(f"{file}: cannot be read")

    def test_weights_of_another_system(self, folder, squares, sandbox):
        other = saved(talkative(squares("resnet_lstm")), sandbox / "other")
        file = folder / "model.safetensors"
        file.write_bytes((other / file.name).read_bytes())
        message = refused(load_run(folder).model)
        assert message.startswith(f"{file}: holds another system's weights")


# The slides' systems at full size, as shipped.

SHAPES = dict(zip(SYSTEMS, ((49, 2048), (49, 2048), (50, 768)), strict=True))  # frozen tokens


@pytest.mark.parametrize("system", SHAPES)
def test_shipped_sizes_fit_each_other(system):
    values, shape = changing.values_of("captioning", "flickr8k", system), SHAPES[system]
    captioner = build(Parameters.check(values, {"": system}), 2500, shape).eval()
    memory = captioner.encoder(torch.rand(1, *shape))
    states = captioner.decoder(memory, torch.tensor([[BOS, 5]]))
    assert captioner.decoder.output(states).shape == (1, 2, 2500)
    rates = {part.p for part in captioner.modules() if isinstance(part, nn.Dropout)}
    assert rates == {values["network"]["dropout"]}
