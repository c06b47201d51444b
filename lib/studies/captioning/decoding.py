"""Captions from a decoder, token by token, for many images at once: greedy, or drawn.

Beam search is in `studies.captioning.beam`. All of it goes by the steps that every decoder has, and
images whose caption is finished leave the batch.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from studies.captioning.decoder import Decoder

LEAVE = 0.25  # share of finished images at which they leave; the others must be copied for it


@dataclass(frozen=True)
class Rules:
    """What captions are made of.

    Raises:
        ValueError: `max_length` below 1.

    """

    bos: int  # begins every caption
    eos: int  # ends it
    never: tuple[int, ...]  # not to be written, such as padding and the unknown word; nor is bos
    max_length: int  # most tokens of a caption, the closing eos among them
    min_length: int = 0  # fewest tokens before eos

    def __post_init__(self) -> None:
        if self.max_length < 1:
            raise ValueError(f"max_length must be at least 1, not {self.max_length}")

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


def greedy(decoder: Decoder, memory: Tensor, rules: Rules) -> list[Caption]:
    """Return a caption for each image of memory (B, T, D): the most probable token each time."""
    return _walk(decoder, memory, rules, lambda log_p, *_: log_p.argmax(-1))


def nucleus(
    decoder: Decoder,
    memory: Tensor,
    rules: Rules,
    p: float,
    temperature: float,
    generator: torch.Generator,
) -> list[Caption]:
    """Return a caption drawn for each image of memory (B, T, D).

    Each token is drawn among the fewest whose probabilities reach `p`, in (0, 1] (Holtzman et al.,
    *The curious case of neural text degeneration*, 2020), after division of the logits by
    `temperature`, above 0. Of `generator` only (B, max_length) numbers are drawn, at once.

    Raises:
        ValueError: `p` or `temperature` out of range.

    """
    if not 0 < p <= 1 or temperature <= 0:
        raise ValueError(f"p must be in (0, 1] and temperature above 0, not {p} and {temperature}")
    size = len(memory), rules.max_length
    chance = torch.rand(size, generator=generator, device=generator.device).to(memory.device)

    def draw(log_p: Tensor, here: Tensor, step: int) -> Tensor:
        return _draw((log_p / temperature).softmax(-1), p, chance[here, step])

    return _walk(decoder, memory, rules, draw)


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


def _walk(
    decoder: Decoder, memory: Tensor, rules: Rules, pick: Callable[[Tensor, Tensor, int], Tensor]
) -> list[Caption]:
    """Write a caption an image; `pick(log_p (R, V), images (R,), step)` says which token (R,)."""
    device, images = memory.device, len(memory)
    written = torch.full((images, rules.max_length), rules.eos, device=device)
    total = torch.zeros(images, device=device)
    here = torch.arange(images, device=device)  # (R,) the image that each row is about
    done = torch.zeros(images, dtype=torch.bool, device=device)  # (R,)
    last = torch.full((images, 1), rules.bos, device=device)
    with still(decoder):
        state = decoder.start(memory, 1, rules.max_length)
        for step in range(rules.max_length):
            log_p = rules.allow(decoder.step(last, state)[:, 0], step)  # (R, V)
            token = pick(log_p, here, step).masked_fill(done, rules.eos)
            gain = log_p.gather(1, token[:, None])[:, 0]
            total[here] += gain.masked_fill(done, 0)
            written[here, step] = token
            done = done | (token == rules.eos)
            last = token[:, None]
            if (finished := int(done.sum())) == len(done):
                break
            if finished >= LEAVE * len(done):
                stay = (~done).nonzero()[:, 0]
                state.keep(stay)
                here, done, last = here[stay], done[stay], last[stay]
    return [caption(*pair, rules) for pair in zip(written.tolist(), total.tolist(), strict=True)]


def caption(tokens: list[int], log_probability: float, rules: Rules) -> Caption:
    """Return the caption of `tokens`, up to the first eos."""
    ended = rules.eos in tokens
    return Caption(tokens[: tokens.index(rules.eos)] if ended else tokens, log_probability, ended)


def _draw(probabilities: Tensor, p: float, chance: Tensor) -> Tensor:
    """Return a token (R,) for each of probabilities (R, V), by `chance` (R,) in [0, 1)."""
    ranked, token = probabilities.sort(-1, descending=True)
    before = pad(ranked.cumsum(-1)[:, :-1], (1, 0))
    kept = ranked.masked_fill(before >= p, 0)
    reached = kept.cumsum(-1)
    place = (reached <= chance[:, None] * reached[:, -1:]).sum(-1)
    place = place.minimum((kept > 0).sum(-1) - 1)  # a product may round up to the whole
    return token.gather(1, place[:, None])[:, 0]
