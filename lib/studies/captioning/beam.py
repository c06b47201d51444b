"""Captions from a decoder by beam search, token by token, for many images at once.

It goes by the steps that every decoder has; images whose caption is finished leave the batch.
"""

import torch
from torch import Tensor

from studies.captioning.decoders import Decoder
from studies.captioning.tokens import BOS, EOS, PAD, UNKNOWN

LEAVE = 0.25  # share of finished images at which they leave; the others must be copied for it
NEVER = (PAD, BOS, UNKNOWN)  # not to be written


@torch.inference_mode()
def beam(
    decoder: Decoder, memory: Tensor, width: int, length: int, length_penalty: float
) -> list[list[int]]:
    """Return the best caption that a beam of `width` finds for each image of memory (B, T, D).

    A caption is its tokens, one at least, without bos and eos; those of `NEVER` are not written,
    and keep their share of p. It has at most `length`, eos among them: one of so many has not
    ended. The decoder should be in evaluation mode.

    The best has the largest log p / n^length_penalty, where n counts its tokens and eos. Each step
    ranks the continuations of `width` captions by log p; an eos among the first `width` ends its
    caption, and the best of the others go on. The greedy caption is always among them, so that no
    caption is worse than a greedy one that ends. An image is finished when `width` captions and
    the greedy one have ended, or when none that goes on can become the best. Where none ends in
    time, the best of those that go on is returned.
    """
    device, images = memory.device, len(memory)
    state = decoder.start(memory, width, length)
    # of each image how many captions have ended, and the best of them
    count = torch.zeros(images, dtype=torch.int64, device=device)
    score = torch.full((images,), -torch.inf, device=device)
    best = torch.full((images, length), EOS, device=device)

    def end(here: Tensor, total: Tensor, tokens: Tensor, length: int) -> None:
        """Note captions of images `here` (R,): log p (R, W), -inf for none, tokens (R, W, S)."""
        count[here] += (total > -torch.inf).sum(1)
        own, place = (total / length**length_penalty).max(1)
        better = (own > score[here]).nonzero()[:, 0]
        rows = here[better]
        score[rows], best[rows] = own[better], tokens[better, place[better]]

    # of the R images of B that are not finished: which they are, and W captions that go on,
    # tokens (R, W, S) and log p (R, W); W grows from the first step's 1 to `width`
    here = torch.arange(images, device=device)
    tokens = torch.full((images, 1, length), EOS, device=device)
    total = torch.zeros(images, 1, device=device)
    last = torch.full((images, 1), BOS, device=device)
    greedy = torch.ones(images, dtype=torch.bool, device=device)  # beam 0 is greedy
    done = torch.zeros(images, dtype=torch.bool, device=device)
    for step in range(length):
        log_p = decoder.step(last, state).float().log_softmax(-1)  # (R, W, V)
        log_p[..., [*NEVER] if step else [*NEVER, EOS]] = -torch.inf
        # twice the width, since at most `width` of the best are an eos
        log_p, token = log_p.topk(min(2 * width, log_p.shape[2]))
        total = (log_p + total[..., None]).flatten(1)
        rank = total.clone()
        rank[:, 0].masked_fill_(greedy, torch.inf)
        place = rank.topk(min(2 * width, rank.shape[1])).indices  # (R, K)
        total, token = total.gather(1, place), token.flatten(1).gather(1, place)
        parent = place // log_p.shape[2]
        tokens = _rows(tokens, parent)
        tokens[:, :, step] = token

        is_eos = (token == EOS) & (total > -torch.inf)
        ends = is_eos[:, :width] & ~done[:, None]
        end(here, total[:, :width].masked_fill(~ends, -torch.inf), tokens[:, :width], step + 1)

        going = is_eos.sort(dim=1, stable=True).indices[:, :width]
        total = total.gather(1, going).masked_fill(is_eos.gather(1, going), -torch.inf)
        tokens, last = _rows(tokens, going), token.gather(1, going)
        state.select(parent.gather(1, going))
        greedy &= ~is_eos[:, 0]

        ceiling = total.amax(1) / length**length_penalty
        done |= (count[here] >= width) & ~greedy | (ceiling <= score[here])
        finished = int(done.sum())
        if finished == len(done):
            break
        if finished >= LEAVE * len(done):
            stay = (~done).nonzero()[:, 0]
            state.keep(stay)
            here, tokens, total = here[stay], tokens[stay], total[stay]
            last, greedy, done = last[stay], greedy[stay], done[stay]
    none = count[here] == 0
    end(here[none], total[none], tokens[none], length)
    return [row[: row.index(EOS)] if EOS in row else row for row in best.tolist()]


def _rows(tokens: Tensor, places: Tensor) -> Tensor:
    """Return those of the captions (R, W, S) that stand at places (R, K), (R, K, S)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))
