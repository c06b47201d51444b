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
        device, images, length = memory.device, len(memory), rules.max_length
        state = decoder.start(memory, width, length)
        best = _Ended(images, length, length_penalty, device)
        # of the R images of B that are not finished: which they are, and W captions that go on,
        # tokens (R, W, S) and log p (R, W); W grows from the first step's 1 to `width`
        here = torch.arange(images, device=device)
        tokens = torch.full((images, 1, length), rules.eos, device=device)
        total = torch.zeros(images, 1, device=device)
        last = torch.full((images, 1), rules.bos, device=device)
        greedy = torch.ones(images, dtype=torch.bool, device=device)  # beam 0 is greedy
        done = torch.zeros(images, dtype=torch.bool, device=device)
        for step in range(length):
            # twice the width, since at most `width` of the best are an eos
            log_p = rules.allow(decoder.step(last, state), step)  # (R, W, V)
            log_p, token = log_p.topk(min(2 * width, log_p.shape[2]))
            total = (log_p + total[..., None]).flatten(1)
            rank = total.clone()
            rank[:, 0].masked_fill_(greedy, torch.inf)
            place = rank.topk(min(2 * width, rank.shape[1])).indices  # (R, K)
            total, token = total.gather(1, place), token.flatten(1).gather(1, place)
            parent = place // log_p.shape[2]
            tokens = _rows(tokens, parent)
            tokens[:, :, step] = token

            is_eos = (token == rules.eos) & (total > -torch.inf)
            ends = is_eos[:, :width] & ~done[:, None]
            ended = total[:, :width].masked_fill(~ends, -torch.inf)
            best.add(here, ended, tokens[:, :width], step + 1)

            going = is_eos.sort(dim=1, stable=True).indices[:, :width]
            total = total.gather(1, going).masked_fill(is_eos.gather(1, going), -torch.inf)
            tokens, last = _rows(tokens, going), token.gather(1, going)
            state.select(parent.gather(1, going))
            greedy &= ~is_eos[:, 0]

            ceiling = total.amax(1) / length**length_penalty
            done |= (best.count[here] >= width) & ~greedy | (ceiling <= best.score[here])
            finished = int(done.sum())
            if finished == len(done):
                break
            if finished >= LEAVE * len(done):
                stay = (~done).nonzero()[:, 0]
                state.keep(stay)
                here, tokens, total = here[stay], tokens[stay], total[stay]
                last, greedy, done = last[stay], greedy[stay], done[stay]
        none = best.count[here] == 0
        best.add(here[none], total[none], tokens[none], length)
    return best.captions(rules.eos)


def _rows(tokens: Tensor, places: Tensor) -> Tensor:
    """Return those of the captions (R, W, S) that stand at places (R, K), (R, K, S)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))


class _Ended:
    """How many captions of each of B images have ended, and the best of them."""

    def __init__(self, images: int, length: int, penalty: float, device: torch.device) -> None:
        self.penalty = penalty
        self.count = torch.zeros(images, dtype=torch.int64, device=device)
        self.score = torch.full((images,), -torch.inf, device=device)
        self.total = self.score.clone()
        self.tokens = torch.zeros(images, length, dtype=torch.int64, device=device)

    def add(self, images: Tensor, total: Tensor, tokens: Tensor, length: int) -> None:
        """Add captions of `images` (R,): log p (R, W), -inf for none, and tokens (R, W, S)."""
        self.count[images] += (total > -torch.inf).sum(1)
        score, place = (total / length**self.penalty).max(1)
        rows = (score > self.score[images]).nonzero()[:, 0]
        images, place = images[rows], place[rows]
        self.score[images], self.total[images] = score[rows], total[rows, place]
        self.tokens[images] = tokens[rows, place]

    def captions(self, eos: int) -> list[Caption]:
        """Return the best caption of each image."""
        captions = []
        for tokens, total in zip(self.tokens.tolist(), self.total.tolist(), strict=True):
            ended = eos in tokens
            captions.append(Caption(tokens[: tokens.index(eos)] if ended else tokens, total, ended))
        return captions
