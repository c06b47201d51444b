"""Greedy and nucleus decoding, and what all decoding does when captions end or do not."""

import pytest
import torch
from scipy.stats import chisquare

from studies.captioning.beam import beam
from studies.captioning.decoding import Rules, _draw, greedy, nucleus
from toys import BOS, EOS, PAD, about, make, script

TOY = Rules(BOS, EOS, (PAD,), 4)  # over 5 tokens: two words and eos


class TestEnds:
    @pytest.mark.parametrize("width", [1, 2, 5])
    def test_no_caption_ends(self, width):
        decoder, memory = script([[[0.3, 0.3, 0, 0.3, 0.1]] * 4] * 2)
        rules = Rules(BOS, EOS, (PAD,), 4)
        for found in (beam(decoder, memory, rules, width, 1.0), greedy(decoder, memory, rules)):
            for caption in found:
                assert caption.tokens == [3] * 4
                assert not caption.ended
                assert caption.log_probability == pytest.approx(4 * torch.tensor(0.3).log().item())

    @pytest.mark.parametrize("length", [1, 5])
    def test_eos_at_once(self, length):
        decoder, memory = script([[[0, 0, 1, 0, 0]] * 5] * 3)
        rules = Rules(BOS, EOS, (PAD,), length)
        generator = torch.Generator().manual_seed(0)
        for found in (
            beam(decoder, memory, rules, 4),
            greedy(decoder, memory, rules),
            nucleus(decoder, memory, rules, 0.9, 1.0, generator),
        ):
            assert found == [([], 0.0, True)] * 3

    def test_a_shortest_length(self):
        decoder, memory = script([[[0, 0, 0.8, 0.15, 0.05]] * 6])
        rules = Rules(BOS, EOS, (PAD,), 6, min_length=2)
        for found in (beam(decoder, memory, rules, 3), greedy(decoder, memory, rules)):
            assert found[0].tokens == [3, 3]
            assert found[0].ended

    def test_some_end_and_some_do_not(self):
        ends, goes_on = [[0, 0, 1.0, 0, 0]] * 4, [[0, 0, 0, 0.6, 0.4]] * 4
        decoder, memory = script([goes_on, ends, goes_on, ends, ends])
        found = beam(decoder, memory, Rules(BOS, EOS, (PAD,), 4), 2)
        assert [caption.ended for caption in found] == [False, True, False, True, True]
        assert [len(caption.tokens) for caption in found] == [4, 0, 4, 0, 0]

    def test_bad_values_are_refused(self):
        decoder, memory = script([[[0, 0, 1, 0, 0]]])
        generator = torch.Generator()
        with pytest.raises(ValueError, match="max_length must be at least 1, not 0"):
            Rules(BOS, EOS, (), 0)
        with pytest.raises(ValueError, match="width must be at least 1"):
            beam(decoder, memory, TOY, 0)
        with pytest.raises(ValueError, match="length_penalty at least 0"):
            beam(decoder, memory, TOY, 1, -1.0)
        for p, temperature in ((0.0, 1.0), (1.1, 1.0), (0.5, 0.0)):
            with pytest.raises(ValueError, match="p must be in"):
                nucleus(decoder, memory, TOY, p, temperature, generator)

    def test_the_mode_is_left_as_it_was(self):
        decoder, memory = make("lstm"), about(2)
        first = greedy(decoder, memory, TOY)
        assert greedy(decoder.train(), memory, TOY) == first  # without dropout
        assert decoder.training
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()

    @pytest.mark.parametrize("kind", ["lstm", "transformer"])
    def test_greedy_and_draws_equal_one_by_one(self, kind):
        rules = Rules(BOS, EOS, (PAD,), 10)
        decoder = make(kind, 9, 3.0, seed=1 if kind == "lstm" else 2)
        memory = 4 * about(30)
        together = greedy(decoder, memory, rules)
        assert len({len(caption.tokens) for caption in together}) > 1
        for image, caption in zip(memory, together, strict=True):
            alone = greedy(decoder, image[None], rules)[0]
            assert alone.tokens == caption.tokens
            assert alone.log_probability == pytest.approx(caption.log_probability, abs=1e-4)
        first, again = (torch.Generator().manual_seed(0) for _ in range(2))
        drawn = nucleus(decoder, memory, rules, 0.9, 1.0, first)
        alone = nucleus(decoder, memory[:1], rules, 0.9, 1.0, again)
        assert alone[0].tokens == drawn[0].tokens


class TestNucleus:
    SHARES = (0.4, 0.05, 0.3, 0.15, 0.1)

    @pytest.mark.parametrize(
        ("p", "kept"), [(1.0, 5), (0.86, 4), (0.85, 3), (0.7, 2), (0.5, 2), (0.4, 1), (1e-9, 1)]
    )
    def test_draws_follow_the_truncated_distribution(self, p, kept):
        shares, draws = torch.tensor(self.SHARES, dtype=torch.float64), 20_000
        order = shares.sort(descending=True).indices[:kept]
        chance = torch.rand(draws, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        drawn = _draw(shares.expand(draws, -1), p, chance)
        seen = torch.bincount(drawn, minlength=5)
        assert seen[order].sum() == draws
        wanted = shares[order] / shares[order].sum() * draws
        assert kept == 1 or chisquare(seen[order].numpy(), wanted.numpy()).pvalue > 1e-3

    @pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
    def test_temperature(self, temperature):
        rows, images = torch.tensor([0, 0, 0.2, 0.5, 0.3]), 5000
        decoder, memory = script([[rows.tolist()]])
        generator, rules = torch.Generator().manual_seed(0), Rules(BOS, EOS, (PAD,), 1)
        found = nucleus(decoder, memory.expand(images, 1, 1), rules, 1.0, temperature, generator)
        drawn = torch.tensor([[EOS, *caption.tokens][-1] for caption in found])
        wanted = rows[2:] ** (1 / temperature)
        wanted = (wanted / wanted.sum()).double() * images
        seen = torch.bincount(drawn, minlength=5)[2:]
        assert chisquare(seen.numpy(), wanted.numpy() / wanted.sum().item() * images).pvalue > 1e-3

    @pytest.mark.parametrize("kind", ["lstm", "transformer"])
    def test_a_small_p_is_greedy(self, kind):
        rules, generator = Rules(BOS, EOS, (PAD,), 10), torch.Generator().manual_seed(0)
        decoder, memory = make(kind, 9), about(30)
        drawn = nucleus(decoder, memory, rules, 1e-6, 1.0, generator)
        assert drawn == greedy(decoder, memory, rules)

    def test_a_generator_gives_the_same_captions_again(self):
        rules, found = Rules(BOS, EOS, (PAD,), 10), []
        for seed in (0, 0, 1):
            generator = torch.Generator().manual_seed(seed)
            found.append(nucleus(make("lstm", 9), about(20), rules, 0.9, 1.0, generator))
        assert found[0] == found[1] != found[2]
        assert all(not {PAD, BOS, EOS} & set(caption.tokens) for caption in found[0])

    def test_a_chance_of_nearly_one_stays_in_the_nucleus(self):
        shares = torch.tensor([[0.1, 0.3, 0.6]])
        for chance in (0.0, 1 - 2**-24):
            assert _draw(shares, 0.7, torch.tensor([chance])).item() in (1, 2)
