"""Beam search against brute force over all captions, as a loop, and one image at a time."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.captioning.beam import beam, beams
from studies.captioning.decoding import Rules, greedy
from toys import BOS, EOS, PAD, Chain, about, log_p, make, script

PENALTIES = [0.0, 0.7, 1.0, 2.0]
TOY = Rules(BOS, EOS, (PAD,), 4)  # over 5 tokens: two words and eos


def all_captions(decoder, memory, rules, words, penalty):
    """(score, words) of every caption that ends, the best first."""
    found = []
    for count in range(rules.min_length, rules.max_length):
        for tokens in itertools.product(words, repeat=count):
            p = log_p(decoder, memory, [*tokens, EOS])
            found.append((p / (count + 1) ** penalty, list(tokens)))
    return sorted(found, reverse=True)


def score(found, penalty):
    return found.log_probability / (len(found.tokens) + found.ended) ** penalty


class TestExhaustive:
    @pytest.mark.parametrize("kind", ["lstm", "transformer"])
    @pytest.mark.parametrize("penalty", PENALTIES)
    def test_a_beam_as_wide_as_all_captions_finds_the_best(self, kind, penalty):
        decoder, memory = make(kind), about(5)
        found = beams(decoder, memory, TOY, 3**4, penalty)
        for image, ranked in zip(memory, found, strict=True):
            truth = all_captions(decoder, image, TOY, [3, 4], penalty)
            assert ranked[0].tokens == truth[0][1]
            assert score(ranked[0], penalty) == pytest.approx(truth[0][0], abs=1e-4)
            scores = [score(caption, penalty) for caption in ranked]
            assert scores == sorted(scores, reverse=True)

    @given(st.integers(0, 10**6), st.sampled_from(PENALTIES), st.integers(0, 3))
    @settings(max_examples=25, deadline=None)
    def test_on_many_models(self, seed, penalty, shortest):
        rules = Rules(BOS, EOS, (PAD,), 4, shortest)
        decoder, memory = make("lstm", sharp=8.0, seed=seed), about(2, seed)
        for image, best in zip(memory, beam(decoder, memory, rules, 81, penalty), strict=True):
            truth = all_captions(decoder, image, rules, [3, 4], penalty)
            assert score(best, penalty) == pytest.approx(truth[0][0], abs=1e-4)
            assert log_p(decoder, image, [*best.tokens, EOS]) == pytest.approx(
                best.log_probability, abs=1e-4
            )
            assert len(best.tokens) >= shortest


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


class TestBeam:
    @pytest.mark.parametrize("width", [1, 2, 3])
    def test_it_is_beam_search_as_a_loop(self, width):
        # a seed with which greedy stays in the beam anyway, as it nearly always does
        decoder, memory = make("lstm", sharp=3.0, seed=3), about(12)
        found = beam(decoder, memory, TOY, width)
        for image, caption in zip(memory, found, strict=True):
            p, tokens = plain_beam(decoder, image, TOY, width)
            assert caption.log_probability == pytest.approx(p, abs=1e-4)
            assert caption.tokens == tokens

    @given(st.integers(0, 10**6), st.sampled_from([1.0, 4.0, 12.0]), st.sampled_from(PENALTIES))
    @settings(max_examples=40, deadline=None)
    def test_never_worse_than_greedy(self, seed, sharp, penalty):
        rules = Rules(BOS, EOS, (PAD,), 8)
        decoder, memory = make("lstm", 9, sharp, seed), about(8, seed)
        simple = greedy(decoder, memory, rules)
        for width in (2, 3, 5):
            for wide, one in zip(beam(decoder, memory, rules, width, penalty), simple, strict=True):
                assert wide.ended or not one.ended
                if one.ended or not wide.ended:
                    assert score(wide, penalty) >= score(one, penalty) - 1e-5

    @pytest.mark.parametrize("kind", ["lstm", "transformer"])
    def test_width_one_is_greedy(self, kind):
        rules = Rules(BOS, EOS, (PAD,), 8)
        decoder, memory = make(kind, 9), about(40)
        for one, other in zip(
            beam(decoder, memory, rules, 1, 1.0), greedy(decoder, memory, rules), strict=True
        ):
            assert one.tokens == other.tokens
            assert one.ended == other.ended
            assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)

    def test_the_greedy_caption_is_kept_where_a_plain_beam_loses_it(self):
        table = torch.full((13, 13), 1e-9)
        table[BOS, 3:6] = torch.tensor([0.4, 0.3, 0.3])
        table[3, 6:11] = torch.tensor([0.24, 0.19, 0.19, 0.19, 0.19])  # greedy: 3, 6, eos
        table[4:6, 11:13] = 0.5  # at the second word, each more probable than greedy's
        table[6:11, EOS] = 1
        table[11:13, 2:13] = 1 / 11
        decoder, memory = Chain(table.log()), torch.zeros(1, 1, 1)
        rules = Rules(BOS, EOS, (PAD,), 6)
        found = beams(decoder, memory, rules, 2)[0]
        assert found[0].tokens == greedy(decoder, memory, rules)[0].tokens == [3, 6]
        assert found[0].log_probability > plain_beam(decoder, memory[0], rules, 2)[0]

    @pytest.mark.parametrize("kind", ["lstm", "transformer"])
    @pytest.mark.parametrize("penalty", [0.0, 1.0])
    @pytest.mark.parametrize("leave", [1e-9, 0.25])
    def test_batch_equals_one_by_one(self, kind, penalty, leave, monkeypatch):
        monkeypatch.setattr("studies.captioning.beam.LEAVE", leave)
        rules = Rules(BOS, EOS, (PAD,), 10)
        decoder = make(kind, 9, 3.0, seed=0 if kind == "lstm" else 2)
        memory, sizes, step = 4 * about(30), [], decoder.step
        decoder.step = lambda tokens, state: sizes.append(len(tokens)) or step(tokens, state)
        together = beams(decoder, memory, rules, 3, penalty)
        assert len(set(sizes)) > 2 or leave == 0.25  # they leave one after the other
        for image, ranked in zip(memory, together, strict=True):
            alone = beams(decoder, image[None], rules, 3, penalty)[0]
            assert [caption.tokens for caption in ranked] == [caption.tokens for caption in alone]
            for one, other in zip(ranked, alone, strict=True):
                assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)

    def test_log_probabilities_are_the_models(self):
        rules = Rules(BOS, EOS, (PAD, 5), 7)
        for kind in ("lstm", "transformer"):
            decoder, memory = make(kind, 9), about(6)
            for image, ranked in zip(memory, beams(decoder, memory, rules, 4, 0.5), strict=True):
                assert 1 <= len(ranked) <= 4
                for caption in ranked:
                    tokens = [*caption.tokens, *([EOS] if caption.ended else [])]
                    assert not {PAD, BOS, EOS, 5} & set(caption.tokens)
                    assert caption.log_probability == pytest.approx(
                        log_p(decoder, image, tokens), abs=1e-4
                    )

    def test_finished_early_without_a_penalty(self):
        decoder, memory = script([[[0, 0, 0.9, 0.05, 0.05]] * 6])
        calls = []
        step = decoder.step
        decoder.step = lambda *inputs: calls.append(1) or step(*inputs)
        assert beam(decoder, memory, Rules(BOS, EOS, (PAD,), 6), 3)[0].tokens == []
        assert len(calls) == 1
