"""The loss against a literal loop; then training: does it learn, keep its schedule and its bits?"""

import hashlib
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from studies.captioning import data
from studies.captioning import train as training
from studies.captioning.model import Captioner
from studies.captioning.train import TeacherForcing, loss, train
from studies.runs.folder import load_run
from toys import BOS, EOS, PAD, PLACES, WIDTH, make

VOCABULARY, LONGEST, FEATURES = 9, 8, 5
SYSTEMS = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
KINDS = pytest.mark.parametrize("kind", ["lstm", "transformer"])
AUGMENTATION = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.1}


def network(kind):
    return Captioner(nn.Linear(FEATURES, WIDTH), make(kind, VOCABULARY))  # without dropout


def batch(lengths, images=3, seed=0):
    """Inputs of some images, captions of so many words about them, and whose each is."""
    chance = torch.Generator().manual_seed(seed)
    inputs = torch.randn(images, PLACES, FEATURES, generator=chance)
    captions = torch.full((len(lengths), max(lengths) + 2), PAD)
    for row, length in enumerate(lengths):
        captions[row, 0], captions[row, length + 1] = BOS, EOS
        # 3 is the unknown word, and a word like others
        captions[row, 1 : length + 1] = torch.randint(3, VOCABULARY, (length,), generator=chance)
    return inputs, captions, torch.randint(images, (len(lengths),), generator=chance)


@torch.no_grad()
def word_losses(network, inputs, captions, owners, smoothing):
    """The loss of each word of each caption, one by one."""
    losses = []
    for caption, owner in zip(captions.tolist(), owners.tolist(), strict=True):
        words = [word for word in caption if word != PAD]
        memory = network.encoder(inputs[owner][None])
        for place in range(1, len(words)):
            states = network.decoder(memory, torch.tensor([words[:place]]))
            logits = network.decoder.output(states[0, -1])
            wanted = torch.full((VOCABULARY,), smoothing / VOCABULARY)
            wanted[words[place]] += 1 - smoothing
            losses.append(-(wanted * logits.softmax(0).log()).sum().item())
    return losses


def gradients(network, value):
    return torch.autograd.grad(value, list(network.parameters()))


@KINDS
class TestLoss:
    @pytest.mark.parametrize("smoothing", [0.0, 0.3])
    @given(st.lists(st.integers(0, LONGEST), min_size=1, max_size=9), st.integers(0, 10**6))
    @settings(max_examples=15, deadline=None)
    def test_it_is_the_formula(self, kind, smoothing, lengths, seed):
        captioner, some = network(kind), batch(lengths, seed=seed)
        wanted = word_losses(captioner, *some, smoothing)
        assert len(wanted) == sum(lengths) + len(lengths)
        value = loss(captioner, *some, smoothing).item()
        assert value == pytest.approx(sum(wanted) / len(wanted), rel=1e-5)

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_the_gradient_is_that_of_the_whole_batch_unsorted(self, kind, smoothing):
        captioner, some = network(kind), batch([3, 0, 8, 5, 1, 1, 7, 2, 4, 6])
        inputs, captions, owners = some
        states = captioner.decoder(captioner.encoder(inputs)[owners], captions[:, :-1])
        logits = captioner.decoder.output(states)
        options = {"ignore_index": PAD, "label_smoothing": smoothing}
        whole = cross_entropy(logits.transpose(1, 2), captions[:, 1:], **options)
        value = loss(captioner, *some, smoothing)
        assert value.item() == pytest.approx(whole.item(), rel=1e-6)
        pairs = zip(gradients(captioner, value), gradients(captioner, whole), strict=True)
        for one, other in pairs:
            assert torch.allclose(one, other, atol=1e-6)
            assert other.abs().max() > 1e-4


@pytest.fixture
def validations(monkeypatch):
    """Return a function that says the loss of each validation."""

    def losses(*values):
        scores = TeacherForcing.scores

        def scripted(self, batches, curves):
            with pytest.MonkeyPatch.context() as patch:
                value = torch.tensor(values[len(curves)])
                patch.setattr(training, "loss", lambda *_, **__: value)
                return scores(self, batches, curves)

        monkeypatch.setattr(TeacherForcing, "scores", scripted)

    return losses


@contextmanager
def pulled(step):
    """Expect that a training inside stops before a step, counted from 0."""
    own, seen = TeacherForcing.loss, []

    def stop(self, batch):
        seen.append(batch)
        if len(seen) > step:
            raise RuntimeError("the plug is pulled")
        return own(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TeacherForcing, "loss", stop)
        with pytest.raises(RuntimeError, match="the plug"):
            yield


def bits(folder):
    names = ("model.safetensors", "curves.csv", "steps.csv")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


class TestLearning:
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_a_few_images_are_learnt_by_heart(self, sandbox, flickr8k_folder, squares, system):
        said = ["A red square .", "It is all green here .", "Somebody saw blue .", "Dull grey ."]
        captions = {f"{k:02}.jpg": [said[k % 4]] for k in range(20)}
        flickr8k_folder(sandbox / "data" / "flickr8k", captions)
        plan = {"epochs": 20, "images": 6, "validate_every": 5, "learning_rate": 0.005}
        plan["precision"] = "bf16-mixed" if system == "resnet_transformer" else "32-true"
        chosen = squares(system, **plan)
        run = load_run(train(chosen))
        wanted = ["a red square", "it is all green here", "somebody saw blue", "dull grey"]
        dataset = data.read(chosen)
        written = run.model().caption(data.inputs(dataset, chosen))
        assert written == [wanted[int(name[:2]) % 4] for name in dataset.files]
        assert run.curves["train_loss"].iloc[-1] < 0.2 * run.curves["train_loss"].iloc[0]

    def test_the_validation_loss_is_that_of_all_words(self, few, squares):
        # batches of three images and of one; smoothing is for training alone
        chosen = squares("resnet_transformer", images=3, label_smoothing=0.3, epochs=2)
        run = load_run(train(chosen))
        dataset = data.read(chosen)
        rows = np.flatnonzero(data.split(dataset, chosen) == "validation")
        describer = run.model()
        texts = [text for row in rows for text in dataset.captions[row]]
        captions = describer.words.encode(texts, 20)
        pixels = torch.from_numpy(data.inputs(dataset, chosen)[rows]) / 255
        with torch.inference_mode():
            memory = describer.network.encoder(pixels.repeat_interleave(5, 0))
            decoder = describer.network.decoder
            logits = decoder.output(decoder(memory, captions[:, :-1]))
        wanted = cross_entropy(logits.transpose(1, 2), captions[:, 1:], ignore_index=PAD).item()
        assert len(rows) == 4
        assert run.provenance["best_score"] == pytest.approx(wanted, rel=1e-5)
        assert run.curves["validation_loss"].min() == pytest.approx(wanted, rel=1e-5)


class TestSameBits:
    def test_same_seed_same_bits_other_seed_others(self, few, squares, elsewhere):
        changes = {"augmentation": AUGMENTATION, "epochs": 1}
        elsewhere("one")
        first = bits(train(squares(**changes)))
        elsewhere("two")
        torch.rand(5)  # chance drawn before must not matter
        assert bits(train(squares(**changes))) == first
        other = bits(train(squares(seed=1, **changes)))
        assert all(other[name] != first[name] for name in first)

    def test_a_run_that_was_stopped_ends_the_same(self, few, squares, validations, elsewhere):
        validations(3.0, 2.0, 2.5, 2.5, 1.0)
        changes = {"augmentation": AUGMENTATION, "images": 6, "epochs": 5, "patience": 2}
        chosen = squares("clip_transformer", **changes)
        elsewhere("whole")
        whole = train(chosen)
        run = load_run(whole)  # the fourth is not better than the second for the second time
        assert run.curves["validation_loss"].tolist() == [3.0, 2.0, 2.5, 2.5]
        assert (run.provenance["best_epoch"], run.provenance["best_score"]) == (2, 2.0)
        assert run.provenance["stopped"]
        elsewhere("stopped")
        with pulled(3 * 2 + 1):  # one validation was in vain
            train(chosen)
        assert not (chosen.folder() / "model.safetensors").exists()
        assert bits(train(chosen)) == bits(whole)
