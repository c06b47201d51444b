"""The loss of teacher forcing against a literal loop over captions and words."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy, pad

from studies.captioning.captioner import Captioner
from studies.captioning.loss import loss
from toys import BOS, EOS, PAD, PLACES, WIDTH, make, script

VOCABULARY, LONGEST, FEATURES = 9, 8, 5
KINDS = ["lstm", "transformer"]


def network(kind):
    decoder = make(kind, VOCABULARY)  # in evaluation mode: no dropout
    return Captioner(nn.Linear(FEATURES, WIDTH), decoder)


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
    found = []
    for caption, owner in zip(captions.tolist(), owners.tolist(), strict=True):
        words = [word for word in caption if word != PAD]
        memory = network.encoder(inputs[owner][None])
        for place in range(1, len(words)):
            logits = network.decoder(memory, torch.tensor([words[:place]]))[0, -1]
            wanted = torch.full((VOCABULARY,), smoothing / VOCABULARY)
            wanted[words[place]] += 1 - smoothing
            found.append(-(wanted * logits.softmax(0).log()).sum().item())
    return found


def gradients(network, value):
    return torch.autograd.grad(value, list(network.parameters()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
@given(st.lists(st.integers(0, LONGEST), min_size=1, max_size=9), st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_it_is_the_formula(kind, smoothing, lengths, seed):
    captioner, given_ = network(kind), batch(lengths, seed=seed)
    found = loss(captioner, *given_, smoothing)
    wanted = word_losses(captioner, *given_, smoothing)
    assert len(wanted) == sum(lengths) + len(lengths)
    assert found.item() == pytest.approx(sum(wanted) / len(wanted), rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_gradient_is_that_of_the_whole_batch_unsorted(kind, smoothing):
    captioner, given_ = network(kind), batch([3, 0, 8, 5, 1, 1, 7, 2, 4, 6])
    inputs, captions, owners = given_
    logits = captioner(inputs, captions[:, :-1], owners).transpose(1, 2)
    options = {"ignore_index": PAD, "label_smoothing": smoothing}
    whole = cross_entropy(logits, captions[:, 1:], **options)
    found = loss(captioner, *given_, smoothing)
    assert found.item() == pytest.approx(whole.item(), rel=1e-6)
    for one, other in zip(gradients(captioner, found), gradients(captioner, whole), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
        assert other.abs().max() > 1e-4


def test_by_hand_with_smoothing():
    # one image, 5 tokens; the words 3, 4 and the end have p = 0.4, 0.5 and 0.2
    decoder, memory = script(
        [[[0.1, 0.1, 0.2, 0.4, 0.2], [0.1, 0.1, 0.1, 0.2, 0.5], [0.2, 0.2, 0.2, 0.2, 0.2]]]
    )
    captioner = Captioner(nn.Identity(), decoder)
    caption, owner = torch.tensor([[BOS, 3, 4, EOS]]), torch.tensor([0])
    plain = -torch.tensor([0.4, 0.5, 0.2]).log().mean().item()
    assert loss(captioner, memory, caption, owner, 0.0).item() == pytest.approx(plain, rel=1e-6)
    # the products of a row's probabilities
    rows = torch.tensor([0.1**2 * 0.2**2 * 0.4, 0.1**3 * 0.2 * 0.5, 0.2**5])
    spread = -rows.log().mean().item() / 5
    wanted = 0.7 * plain + 0.3 * spread
    assert loss(captioner, memory, caption, owner, 0.3).item() == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_padding_of_any_amount_changes_nothing(kind, smoothing):
    captioner, given_ = network(kind), batch([3, 8, 5, 1, 2])
    inputs, captions, owners = given_
    value = loss(captioner, *given_, smoothing)
    wanted = [value, *gradients(captioner, value)]
    for more in (1, 5, 40):  # the Transformer has places for 12 tokens
        value = loss(captioner, inputs, pad(captions, (0, more), value=PAD), owners, smoothing)
        found = [value, *gradients(captioner, value)]
        assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_each_image_is_encoded_once_and_little_padding_is_read(kind):
    captioner, encoded, read = network(kind), [], []
    captioner.encoder.register_forward_hook(lambda *call: encoded.append(len(call[-1])))
    captioner.decoder.register_forward_hook(lambda *call: read.append(call[-1][..., 0].numel()))
    lengths = [2] * 9 + [8] * 3
    loss(captioner, *batch(lengths), 0.0)
    assert encoded == [3]
    assert sum(read) == sum(lengths) + len(lengths)


@pytest.mark.parametrize("kind", KINDS)
def test_parts_add_up_by_their_words(kind):
    captioner = network(kind)
    inputs, captions, owners = batch([3, 0, 8, 5, 1, 1, 7])
    parts = [loss(captioner, inputs, captions[rows], owners[rows], 0.1) for rows in ([4, 0], [6])]
    together = loss(captioner, inputs, captions[[6, 0, 4]], owners[[6, 0, 4]], 0.1)
    # words and ends: 1 + 3 and 2, 7 and 1
    wanted = (6 * parts[0] + 8 * parts[1]) / 14
    assert together.item() == pytest.approx(wanted.item(), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_in_bf16_it_is_nearly_the_same(kind):
    captioner, given_ = network(kind), batch([8, 5, 1, 2] * 20)
    exact = loss(captioner, *given_, 0.0).item()
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(captioner, *given_, 0.0)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact, rel=0.02)
