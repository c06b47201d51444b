"""Beam search, for many images at once."""

import torch
from torch import Tensor

from studies.captioning.decoder import Decoder
from studies.captioning.decoding import LEAVE, Caption, Rules, caption, still


def beam(
    decoder: Decoder, memory: Tensor, rules: Rules, width: int, length_penalty: float = 0.0
) -> list[Caption]:
    """Return the best caption that `beams` finds for each image of memory (B, T, D)."""
    return [found[0] for found in beams(decoder, memory, rules, width, length_penalty)]


def beams(
    decoder: Decoder, memory: Tensor, rules: Rules, width: int, length_penalty: float = 0.0
) -> list[list[Caption]]:
    """Return for each image of memory (B, T, D) at most `width` captions, the best first.

    The best has the largest log p / n^length_penalty, where n counts its tokens and eos. Each step
    ranks the continuations of `width` captions by log p; an eos among the first `width` ends its
    caption, and the best of the others go on. The greedy caption is always among them, so that no
    caption is worse than a greedy one that ends. An image is finished when `width` captions and
    the greedy one have ended, or when none that goes on can become the best. Where none ends by
    `max_length`, those that go on are returned.

    Raises:
        ValueError: `width` below 1, or a negative `length_penalty`.

    """
    if width < 1 or length_penalty < 0:
        raise ValueError(
            f"width must be at least 1 and length_penalty at least 0, not {width} and "
            f"{length_penalty:g}"
        )
    with still(decoder):
        return _Search(decoder, memory, rules, width, length_penalty).run()


class _Search:
    """The captions that go on, of the R images of B that are not finished."""

    def __init__(
        self, decoder: Decoder, memory: Tensor, rules: Rules, width: int, penalty: float
    ) -> None:
        self.decoder, self.rules, self.width, self.penalty = decoder, rules, width, penalty
        device, images, length = memory.device, len(memory), rules.max_length
        self.state = decoder.start(memory, width, length)
        self.ended = _Ended(images, width, length, device)
        self.here = torch.arange(images, device=device)  # (R,) of B
        # (R, W, S) and (R, W), log p; W grows from the first step's 1 to `width`
        self.tokens = torch.full((images, 1, length), rules.eos, device=device)
        self.total = torch.zeros(images, 1, device=device)
        self.greedy = torch.ones(images, dtype=torch.bool, device=device)  # beam 0 is greedy
        self.done = torch.zeros(images, dtype=torch.bool, device=device)

    def run(self) -> list[list[Caption]]:
        """Search, and return the captions of all images."""
        last = torch.full_like(self.tokens[:, :, 0], self.rules.bos)
        for step in range(self.rules.max_length):
            last = self._advance(self.decoder.step(last, self.state), step)
            finished = int(self.done.sum())
            if finished == len(self.done):
                break
            if finished >= LEAVE * len(self.done):
                last = self._leave(last)
        none = self.ended.score[self.here, 0] == -torch.inf
        total = self.total[none]
        score = total / self.rules.max_length**self.penalty
        self.ended.add(self.here[none], score, total, self.tokens[none])
        return self.ended.captions(self.rules)

    def _advance(self, logits: Tensor, step: int) -> Tensor:
        """Take a step by logits (R, W, V); return the last token (R, W) of what goes on."""
        # twice the width, since at most `width` of the best are an eos
        wanted = 2 * self.width
        best, token = self.rules.allow(logits, step).topk(min(wanted, logits.shape[2]))  # (R, W, K)
        total = (best + self.total[..., None]).flatten(1)
        rank = total.clone()
        rank[:, 0].masked_fill_(self.greedy, torch.inf)
        place = rank.topk(min(wanted, rank.shape[1])).indices
        total, token = total.gather(1, place), token.flatten(1).gather(1, place)
        parent = place // best.shape[2]
        is_eos = (token == self.rules.eos) & (total > -torch.inf)

        ends = is_eos[:, : self.width] & ~self.done[:, None]
        ended = total[:, : self.width].masked_fill(~ends, -torch.inf)
        tokens = self._written(parent[:, : self.width], token[:, : self.width], step)
        self.ended.add(self.here, ended / (step + 1) ** self.penalty, ended, tokens)

        going = is_eos.sort(dim=1, stable=True).indices[:, : self.width]
        parent, token = parent.gather(1, going), token.gather(1, going)
        self.total = total.gather(1, going).masked_fill(is_eos.gather(1, going), -torch.inf)
        self.tokens = self._written(parent, token, step)
        self.state.select(parent)
        self.greedy &= ~is_eos[:, 0]
        self._judge()
        return token

    def _written(self, parent: Tensor, token: Tensor, step: int) -> Tensor:
        """Return the captions (R, W, S) that go on from beams `parent` (R, W) with `token`."""
        rows = parent[..., None].expand(-1, -1, self.tokens.shape[2])
        tokens = self.tokens.gather(1, rows)
        tokens[:, :, step] = token
        return tokens

    def _judge(self) -> None:
        """Mark the images that are finished."""
        score = self.ended.score[self.here]  # (R, W)
        ceiling = self.total.amax(1) / self.rules.max_length**self.penalty
        full = (score[:, -1] > -torch.inf) & ~self.greedy
        self.done |= full | (ceiling <= score[:, 0])

    def _leave(self, last: Tensor) -> Tensor:
        """Drop the images that are finished; return the tokens of the others."""
        stay = (~self.done).nonzero()[:, 0]
        self.state.keep(stay)
        self.here, self.tokens, self.total = self.here[stay], self.tokens[stay], self.total[stay]
        self.greedy, self.done = self.greedy[stay], self.done[stay]
        return last[stay]


class _Ended:
    """The best captions of each of B images that have ended, by score; -inf where there is none."""

    def __init__(self, images: int, width: int, length: int, device: torch.device) -> None:
        self.score = torch.full((images, width), -torch.inf, device=device)
        self.total = self.score.clone()
        self.tokens = torch.zeros(images, width, length, dtype=torch.int64, device=device)

    def add(self, images: Tensor, score: Tensor, total: Tensor, tokens: Tensor) -> None:
        """Add captions of `images` (R,): scores and log p (R, W), tokens (R, W, S)."""
        score = torch.cat([self.score[images], score], 1)
        best = score.topk(self.score.shape[1])
        self.score[images] = best.values
        total = torch.cat([self.total[images], total], 1)
        self.total[images] = total.gather(1, best.indices)
        tokens = torch.cat([self.tokens[images], tokens], 1)
        rows = best.indices[..., None].expand(-1, -1, tokens.shape[2])
        self.tokens[images] = tokens.gather(1, rows)

    def captions(self, rules: Rules) -> list[list[Caption]]:
        """Return the captions of each image, the best first."""
        return [
            [caption(tokens, p, rules) for tokens, p in zip(*image, strict=True) if p > -torch.inf]
            for image in zip(self.tokens.tolist(), self.total.tolist(), strict=True)
        ]
