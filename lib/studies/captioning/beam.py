"""Captions from a decoder by beam search, token by token, for many images at once.

It goes by the steps that every decoder has; images whose caption is finished leave the batch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from studies.captioning.decoders import Decoder

LEAVE = 0.25  # share of finished images at which they leave; the others must be copied for it


@dataclass(frozen=True)
class Rules:
    """What captions are made of."""

    bos: int  # begins every caption
    eos: int  # ends it
    never: tuple[int, ...]  # not to be written, such as padding and the unknown word; nor is bos
    max_length: int  # most tokens of a caption, the closing eos among them; at least 1
    min_length: int = 0  # fewest tokens before eos

    def allow(self, logits: Tensor, step: int) -> Tensor:
        """Return log p of logits (…, V), -inf for what may not follow `step` tokens.

        The rest is the model's own log p: what is banned keeps its share.
        """
        log_p = logits.float().log_softmax(-1)
        log_p[..., [self.bos, *self.never]] = -torch.inf
        if step < self.min_length:
            log_p[..., self.eos] = -torch.inf
        return log_p


class Caption(NamedTuple):
    """What was written about an image."""

    tokens: list[int]  # neither bos nor eos
    log_probability: float  # sum over the tokens, and eos if it ended; the model's own, unbanned
    ended: bool  # by eos, and not by max_length


@contextmanager
def still(network: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside the block."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        network.train(was_training)


def beam(
    decoder: Decoder, memory: Tensor, rules: Rules, width: int, length_penalty: float = 0.0
) -> list[Caption]:
    """Return the best caption that a beam of `width` finds for each image of memory (B, T, D).

    The best has the largest log p / n^length_penalty, where n counts its tokens and eos. Each step
    ranks the continuations of `width` captions by log p; an eos among the first `width` ends its
    caption, and the best of the others go on. The greedy caption is always among them, so that no
    caption is worse than a greedy one that ends. An image is finished when `width` captions and
    the greedy one have ended, or when none that goes on can become the best. Where none ends by
    `max_length`, the best of those that go on is returned.
    """
    with still(decoder):
        return _Search(decoder, memory, rules, width, length_penalty).run()


class _Search:
    """The captions that go on, of the R images of B that are not finished, and the best ended."""

    def __init__(
        self, decoder: Decoder, memory: Tensor, rules: Rules, width: int, penalty: float
    ) -> None:
        self.decoder, self.rules, self.width, self.penalty = decoder, rules, width, penalty
        device, images, length = memory.device, len(memory), rules.max_length
        self.state = decoder.start(memory, width, length)
        self.here = torch.arange(images, device=device)  # (R,) of B
        # (R, W, S) and (R, W), log p; W grows from the first step's 1 to `width`
        self.tokens = torch.full((images, 1, length), rules.eos, device=device)
        self.total = torch.zeros(images, 1, device=device)
        self.greedy = torch.ones(images, dtype=torch.bool, device=device)  # beam 0 is greedy
        self.done = torch.zeros(images, dtype=torch.bool, device=device)
        # of all B: how many captions have ended, and score, log p and tokens of the best of them
        self.ended = torch.zeros(images, dtype=torch.int64, device=device)
        self.best_score = torch.full((images,), -torch.inf, device=device)
        self.best_total = self.best_score.clone()
        self.best_tokens = torch.zeros(images, length, dtype=torch.int64, device=device)

    def run(self) -> list[Caption]:
        """Search, and return the captions of all images."""
        last = torch.full_like(self.tokens[:, :, 0], self.rules.bos)
        for step in range(self.rules.max_length):
            last = self._advance(self.decoder.step(last, self.state), step)
            finished = int(self.done.sum())
            if finished == len(self.done):
                break
            if finished >= LEAVE * len(self.done):
                last = self._leave(last)
        none = self.best_score[self.here] == -torch.inf
        self._end(self.here[none], self.total[none], self.tokens[none], self.rules.max_length)
        captions = []
        for tokens, total in zip(self.best_tokens.tolist(), self.best_total.tolist(), strict=True):
            ended = self.rules.eos in tokens
            words = tokens[: tokens.index(self.rules.eos)] if ended else tokens
            captions.append(Caption(words, total, ended))
        return captions

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
        tokens = self._append(parent[:, : self.width], token[:, : self.width], step)
        self._end(self.here, ended, tokens, step + 1)

        going = is_eos.sort(dim=1, stable=True).indices[:, : self.width]
        parent, token = parent.gather(1, going), token.gather(1, going)
        self.total = total.gather(1, going).masked_fill(is_eos.gather(1, going), -torch.inf)
        self.tokens = self._append(parent, token, step)
        self.state.select(parent)
        self.greedy &= ~is_eos[:, 0]

        full = (self.ended[self.here] >= self.width) & ~self.greedy
        ceiling = self.total.amax(1) / self.rules.max_length**self.penalty
        self.done |= full | (ceiling <= self.best_score[self.here])
        return token

    def _append(self, parent: Tensor, token: Tensor, step: int) -> Tensor:
        """Return the captions (R, W, S) that go on from beams `parent` (R, W) with `token`."""
        rows = parent[..., None].expand(-1, -1, self.tokens.shape[2])
        tokens = self.tokens.gather(1, rows)
        tokens[:, :, step] = token
        return tokens

    def _end(self, images: Tensor, total: Tensor, tokens: Tensor, length: int) -> None:
        """End captions of `images` (R,): log p (R, W), -inf for none, and tokens (R, W, S)."""
        self.ended[images] += (total > -torch.inf).sum(1)
        score, place = (total / length**self.penalty).max(1)
        better = score > self.best_score[images]
        rows, place = better.nonzero()[:, 0], place[better]
        self.best_score[images[rows]] = score[rows]
        self.best_total[images[rows]] = total[rows, place]
        self.best_tokens[images[rows]] = tokens[rows, place]

    def _leave(self, last: Tensor) -> Tensor:
        """Drop the images that are finished; return the tokens of the others."""
        stay = (~self.done).nonzero()[:, 0]
        self.state.keep(stay)
        self.here, self.tokens, self.total = self.here[stay], self.tokens[stay], self.total[stay]
        self.greedy, self.done = self.greedy[stay], self.done[stay]
        return last[stay]
