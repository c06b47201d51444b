"""Beam search against brute force over all captions, as a loop, and one image at a time."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.captioning.beam import Rules, beam
from toys import BOS, EOS, PAD, Chain, about, log_p, make, script

PENALTIES = [0.0, 0.7, 1.0, 2.0]
TOY = Rules(BOS, EOS, (PAD,), 4)  # over 5 tokens: two words and eos
KINDS = pytest.mark.parametrize("kind", ["lstm", "transformer"])


def score(caption, penalty):
    return caption.log_probability / (len(caption.tokens) + caption.ended) ** penalty


def best_of_all(decoder, memory, rules, penalty):
    """(score, words) of the best of all captions of the words 3 and 4 that end."""
    captions = []
    for count in range(rules.min_length, rules.max_length):
        for tokens in itertools.product([3, 4], repeat=count):
            p = log_p(decoder, memory, [*tokens, EOS])
            captions.append((p / (count + 1) ** penalty, list(tokens)))
    return max(captions)


def plain_beam(decoder, image, rules, width):
    """Beam search of one image as a loop over lists: no penalty, greedy may be lost."""
    going, ended = [(0.0, [])], []
    for _ in range(rules.max_length):
        ranked = []
        for p, tokens in going:
            with torch.no_grad():
                logits = decoder(image[None], torch.tensor([[BOS, *tokens]]))[0, -1]
            rows = enumerate(logits.log_softmax(0).tolist())
            ranked += [(p + q, [*tokens, token]) for token, q in rows if token not in (PAD, BOS)]
        ranked.sort(reverse=True)
        ended += [(p, tokens[:-1]) for p, tokens in ranked[:width] if tokens[-1] == EOS]
        going = [(p, tokens) for p, tokens in ranked if tokens[-1] != EOS][:width]
        if len(ended) >= width or (ended and max(ended)[0] >= going[0][0]):
            break
    return max(ended or going)


class TestAgainstLoops:
    @given(st.integers(0, 10**6), st.sampled_from(PENALTIES), st.integers(0, 3))
    @settings(max_examples=25, deadline=None)
    def test_on_many_models(self, seed, penalty, shortest):
        rules = Rules(BOS, EOS, (PAD,), 4, shortest)
        decoder, memory = make("lstm", sharp=8.0, seed=seed), about(2, seed)
        for image, best in zip(memory, beam(decoder, memory, rules, 81, penalty), strict=True):
            value, _ = best_of_all(decoder, image, rules, penalty)
            assert score(best, penalty) == pytest.approx(value, abs=1e-4)
            wanted = log_p(decoder, image, [*best.tokens, EOS])
            assert best.log_probability == pytest.approx(wanted, abs=1e-4)
            assert len(best.tokens) >= shortest

    @pytest.mark.parametrize("width", [1, 2, 3])
    def test_it_is_beam_search_as_a_loop(self, width):
        # a seed with which greedy stays in the beam anyway, as it nearly always does
        decoder, memory = make("lstm", sharp=3.0, seed=3), about(12)
        for image, caption in zip(memory, beam(decoder, memory, TOY, width), strict=True):
            p, tokens = plain_beam(decoder, image, TOY, width)
            assert caption.log_probability == pytest.approx(p, abs=1e-4)
            assert caption.tokens == tokens

    @given(st.integers(0, 10**6), st.sampled_from([1.0, 4.0, 12.0]), st.sampled_from(PENALTIES))
    @settings(max_examples=40, deadline=None)
    def test_never_worse_than_greedy(self, seed, sharp, penalty):
        rules = Rules(BOS, EOS, (PAD,), 8)
        decoder, memory = make("lstm", 9, sharp, seed), about(8, seed)
        greedy = beam(decoder, memory, rules, 1, penalty)
        for width in (2, 3, 5):
            for wide, one in zip(beam(decoder, memory, rules, width, penalty), greedy, strict=True):
                assert wide.ended or not one.ended
                if one.ended or not wide.ended:
                    assert score(wide, penalty) >= score(one, penalty) - 1e-5

    def test_the_greedy_caption_is_kept_where_a_plain_beam_loses_it(self):
        table = torch.full((13, 13), 1e-9)
        table[BOS, 3:6] = torch.tensor([0.4, 0.3, 0.3])
        table[3, 6:11] = torch.tensor([0.24, 0.19, 0.19, 0.19, 0.19])  # greedy: 3, 6, eos
        table[4:6, 11:13] = 0.5  # at the second word, each more probable than greedy's
        table[6:11, EOS] = 1
        table[11:13, 2:13] = 1 / 11
        decoder, memory = Chain(table.log()), torch.zeros(1, 1, 1)
        rules = Rules(BOS, EOS, (PAD,), 6)
        (caption,) = beam(decoder, memory, rules, 2)
        assert caption.tokens == [3, 6]
        assert caption.log_probability > plain_beam(decoder, memory[0], rules, 2)[0]

    @KINDS
    @pytest.mark.parametrize("penalty", [0.0, 1.0])
    @pytest.mark.parametrize("leave", [1e-9, 0.25])
    def test_batch_equals_one_by_one(self, kind, penalty, leave, monkeypatch):
        monkeypatch.setattr("studies.captioning.beam.LEAVE", leave)
        rules = Rules(BOS, EOS, (PAD, 5), 10)
        decoder, memory = make(kind, 9, 3.0, seed=2), 4 * about(30)
        sizes, step = [], decoder.step
        decoder.step = lambda tokens, state: sizes.append(len(tokens)) or step(tokens, state)
        together = beam(decoder, memory, rules, 3, penalty)
        assert len(set(sizes)) > 2 or leave == 0.25  # they leave one after the other
        for image, caption in zip(memory, together, strict=True):
            (alone,) = beam(decoder, image[None], rules, 3, penalty)
            assert alone.tokens == caption.tokens
            assert alone.log_probability == pytest.approx(caption.log_probability, abs=1e-4)
            tokens = [*caption.tokens, *([EOS] if caption.ended else [])]
            assert not {PAD, BOS, EOS, 5} & set(caption.tokens)
            wanted = log_p(decoder, image, tokens)  # what is banned keeps its share
            assert caption.log_probability == pytest.approx(wanted, abs=1e-4)


class TestEnds:
    @pytest.mark.parametrize("width", [1, 2, 5])
    def test_no_caption_ends(self, width):
        decoder, memory = script([[[0.3, 0.3, 0, 0.3, 0.1]] * 4] * 2)
        for caption in beam(decoder, memory, TOY, width, 1.0):
            assert caption.tokens == [3] * 4
            assert not caption.ended
            assert caption.log_probability == pytest.approx(4 * torch.tensor(0.3).log().item())

    @pytest.mark.parametrize("length", [1, 5])
    def test_eos_at_once(self, length):
        decoder, memory = script([[[0, 0, 1, 0, 0]] * 5] * 3)
        found = beam(decoder, memory, Rules(BOS, EOS, (PAD,), length), 4)
        assert found == [([], 0.0, True)] * 3
