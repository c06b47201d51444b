"""Which triplets of a batch are learned from.

Everything here reads the (B, B) matrices of distances D and margins M. Pairs of anchor and
positive are taken a block at a time, so that memory grows with B², never with B³.

Mining (I. S. Petrova, MOIT 13(2), 2025; semi-hard after F. Schroff et al., FaceNet, CVPR 2015):

- `semihard`: negatives with D(a,p) < D(a,n) < D(a,p) + M(a,n); of these the closest, or the one
  that violates its margin most (largest M(a,n) − D(a,n)).
- `hardest`: the negative of largest loss, largest M(a,n) − D(a,n); with `closest`, smallest
  D(a,n).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 2**21  # elements of a (pairs, B) matrix held at once


def positive_pairs(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return indices (P,), (P,) of every anchor and positive: other image, all labels equal.

    `labels` is (B, H), any integers.
    """
    same = (labels[:, None] == labels[None]).all(-1)  # (B, B)
    anchors, positives = same.fill_diagonal_(False).nonzero(as_tuple=True)
    return anchors, positives


def is_negative(labels: Tensor) -> Tensor:
    """Return the (B, B) mask of pairs whose labels (B, H) differ in at least one level."""
    return (labels[:, None] != labels[None]).any(-1)


def semihard(
    distances: Tensor, margins: Tensor, negative: Tensor, pairs: tuple[Tensor, Tensor], take: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return indices (T,), (T,), (T,) of the semi-hard triplets, at most one a pair.

    `distances`, `margins` (B, B) floats, `negative` (B, B) mask, `pairs` from `positive_pairs`.
    """
    wanted = distances if take == "closest" else distances - margins  # smallest is taken
    taken = []
    for anchors, positives in blocks(pairs, len(distances)):
        to_positive = distances[anchors, positives][:, None]  # (P, 1)
        to_negative = distances[anchors]  # (P, B)
        band = (to_negative > to_positive) & (to_negative < to_positive + margins[anchors])
        band &= negative[anchors]
        score, negatives = wanted[anchors].masked_fill_(~band, torch.inf).min(1)
        found = score < torch.inf
        taken.append(torch.stack([anchors, positives, negatives])[:, found])
    return tuple(torch.cat(taken, dim=1)) if taken else (*pairs, pairs[0])


def hardest(
    distances: Tensor, margins: Tensor, negative: Tensor, pairs: tuple[Tensor, Tensor], take: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return indices (T,), (T,), (T,) of one triplet a pair; the negative depends on the anchor."""
    wanted = distances if take == "closest" else distances - margins
    score, negatives = wanted.masked_fill(~negative, torch.inf).min(1)  # (B,)
    anchors, positives = pairs
    found = score[anchors] < torch.inf
    return anchors[found], positives[found], negatives[anchors[found]]


def blocks(pairs: tuple[Tensor, Tensor], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the pairs in blocks small enough for a (pairs, `size`) matrix."""
    rows = max(1, BLOCK // size)
    if len(pairs[0]):
        yield from zip(*(indices.split(rows) for indices in pairs), strict=True)
