"""Triplet loss with a flexible margin: the formulas, mining, and what a system minimises.

(1) L = max(D(a,p) − D(a,n) + m, 0), with D the Euclidean distance of L2-normalised embeddings;
(2) the same with M(l_a, l_n) in place of m;
(3) a hierarchy of labels: M = max_i m_i·mask_i, m = (2, 1, 0.5) from the top level down;
(5) groups of labels of equal weight: M = Σ_i m_i·mask_i, with (6) Σ_i m_i = 2.
mask_i = 1 where the labels of level i differ. (The paper's (4) prints `=`; its text, and the
purpose of a margin, say that they differ.)

I. S. Petrova, *Method of training image classifiers using additional labels*, Modeling,
Optimization and Information Technology 13(2), 2025.
"""

from collections.abc import Iterator, Sequence
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from studies.paths import StudyError
from studies.triplets.params import Mining, Parameters

BLOCK = 2**21  # elements of a (pairs, B) matrix held at once
COLLAPSED = 0.02  # spread of embeddings on the unit sphere; an untrained network's is about 0.3


def flexible_margin(
    anchor_labels: Tensor,
    negative_labels: Tensor,
    margins: Sequence[float] | Tensor,
    combine: str = "max",
) -> Tensor:
    """Return M(l_a, l_n), equations (3) and (5).

    `anchor_labels` and `negative_labels` are (..., H) integers that broadcast against each other,
    `margins` (H,) in units of distance (the unit sphere has diameter 2). The result is (...),
    0 where no label differs. Raises ValueError when H differs or `combine` is neither `max`
    nor `sum`.
    """
    differ = torch.as_tensor(anchor_labels) != torch.as_tensor(negative_labels)  # (..., H)
    weights = 1.0 * torch.as_tensor(margins, device=differ.device)  # floats, if integers are given
    if weights.shape != differ.shape[-1:]:
        raise ValueError(f"{weights.numel()} margins for {differ.shape[-1]} levels of labels")
    if combine == "max":
        return (weights * differ).amax(-1)
    if combine == "sum":
        return (weights * differ).sum(-1)
    raise ValueError(f"combine must be 'max' or 'sum', not {combine!r}")


class FlexibleMarginLoss(nn.Module):
    """Equation (2), averaged over the taken triplets that have positive loss; 0 if there is none.

    A positive shares all labels with the anchor, a negative differs in at least one. Anchors
    without a positive or a valid negative are skipped. With equal margins it is equation (1).

    `margins` holds one value a level, from the top level down; `combine` is `max` or `sum`;
    `mining` is `semihard`, `hardest`, `most_violating` or `all`, `take` is `closest` or
    `most_violating` (see `mined`). `mining` may be changed between steps.
    """

    def __init__(
        self,
        margins: Sequence[float],
        combine: str = "max",
        mining: str = "semihard",
        take: str = "closest",
    ) -> None:
        super().__init__()
        if mining not in get_args(Mining):
            raise ValueError(f"mining must be one of {', '.join(get_args(Mining))}, not {mining!r}")
        if take not in ("closest", "most_violating"):
            raise ValueError(f"take must be 'closest' or 'most_violating', not {take!r}")
        self.margins, self.combine, self.mining, self.take = tuple(margins), combine, mining, take

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, a scalar, of embeddings (B, d) float with labels (B, H) integer."""
        labels = torch.as_tensor(labels, device=embeddings.device)
        embeddings = normalize(embeddings, dim=1)  # (B, d)
        # differences, not a matrix product: equal embeddings must be at distance 0 exactly
        exact = "donot_use_mm_for_euclid_dist"
        distances = torch.cdist(embeddings, embeddings, compute_mode=exact)  # (B, B)
        weights = distances.new_tensor(self.margins)
        margins = flexible_margin(labels[:, None], labels[None], weights, self.combine)  # (B, B)
        same = (labels[:, None] == labels[None]).all(-1)  # (B, B)
        if self.mining == "all":
            return mean_over_all(distances, margins, same)
        a, p, n = mined(distances.detach(), margins, same, self.mining, self.take)
        violation = torch.relu(distances[a, p] - distances[a, n] + margins[a, n])  # (T,)
        return violation.sum() / (violation > 0).sum().clamp_min(1)


def mined(
    distances: Tensor, margins: Tensor, same: Tensor, mining: str, take: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Return indices (T,), (T,), (T,) of the triplets that are learned from, at most one a pair.

    - `semihard`: negatives with D(a,p) < D(a,n) < D(a,p) + M(a,n) (F. Schroff et al., FaceNet,
      CVPR 2015); of these the closest, or the one that violates its margin most, with the largest
      M(a,n) − D(a,n).
    - `hardest`: the negative of largest loss, `most_violating`; with `closest`, of smallest D(a,n).
    - `most_violating`: `hardest` that takes this, whatever `take` says of the stages before.

    `distances` D and `margins` M are (B, B) floats, `same` (B, B) marks equal labels.
    """
    smallest = distances - margins if "most_violating" in (mining, take) else distances
    smallest = smallest.masked_fill(same, torch.inf)
    taken = []
    for anchors, positives in positive_pairs(same):
        candidates = smallest[anchors]  # (P, B)
        if mining == "semihard":
            to_positive = distances[anchors, positives][:, None]  # (P, 1)
            to_negative = distances[anchors]  # (P, B)
            band = (to_negative > to_positive) & (to_negative < to_positive + margins[anchors])
            candidates = candidates.masked_fill(~band, torch.inf)
        value, negatives = candidates.min(1)
        taken.append(torch.stack([anchors, positives, negatives])[:, value < torch.inf])
    return torch.cat(taken, dim=1).unbind()


def mean_over_all(distances: Tensor, margins: Tensor, same: Tensor) -> Tensor:
    """Return the mean loss over every valid triplet with positive loss, without listing them.

    Given which triplets are violated, the loss is linear in the (B, B) distances: it is enough to
    count how often each distance enters.
    """
    with torch.no_grad():
        times = torch.zeros_like(distances)  # how often D(i, j) enters, with its sign
        constant, total = distances.new_zeros(()), 0
        for a, p in positive_pairs(same):
            violated = ~same[a] & (distances[a, p][:, None] - distances[a] + margins[a] > 0)
            times.index_put_((a, p), violated.sum(1).to(times), accumulate=True)
            times.index_add_(0, a, violated.to(times), alpha=-1)
            constant += (margins[a] * violated).sum()
            total += int(violated.sum())
    return ((times * distances).sum() + constant) / max(total, 1)


def positive_pairs(same: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield indices (P,), (P,) of every anchor and positive, another image of equal labels.

    They come in blocks small enough for a (P, B) matrix, so that memory grows with B², never
    with B³. `same` (B, B) marks equal labels.
    """
    others = same.clone().fill_diagonal_(False)
    size = max(1, BLOCK // len(same))
    yield from zip(*(i.split(size) for i in others.nonzero(as_tuple=True)), strict=True)


class Objective(nn.Module):
    """Cross-entropy of the logits, labels smoothed, plus `weight` × the margin loss of embeddings.

    A network without one of the two heads has the other term alone. `mining` of the margin loss
    changes from stage to stage.
    """

    def __init__(
        self, margin: FlexibleMarginLoss | None, weight: float = 1.0, smoothing: float = 0.0
    ) -> None:
        super().__init__()
        self.margin, self.weight, self.smoothing = margin, weight, smoothing

    def forward(
        self, output: tuple[Tensor | None, Tensor], labels: Tensor, classes: Tensor
    ) -> Tensor:
        """Return the loss, a scalar.

        `output` is logits (B, C) and embeddings (B, d), `labels` (B, H), `classes` (B,) indices.
        """
        logits, embeddings = output
        loss = 0
        if logits is not None:
            loss = cross_entropy(logits.float(), classes, label_smoothing=self.smoothing)
        if self.margin is not None:
            loss = loss + self.weight * self.margin(embeddings, labels)
        return loss


def objective(parameters: Parameters, levels: int) -> Objective:
    """Return the objective of a system; raises StudyError when margins and levels disagree."""
    loss, mining = parameters.loss, parameters.stages[0].mining
    if loss.name == "cross_entropy":
        return Objective(None, smoothing=loss.smoothing)
    if loss.name == "triplet":
        return Objective(FlexibleMarginLoss([loss.margin] * levels, "max", mining, loss.take))
    if len(loss.margins) != levels:
        raise StudyError(
            f"loss.margins has {len(loss.margins)} values and the labels {levels} levels; give one "
            "margin a level"
        )
    margin = FlexibleMarginLoss(loss.margins, loss.combine, mining, loss.take)
    return Objective(margin, getattr(loss, "weight", 1.0), getattr(loss, "smoothing", 0.0))


def spread(embeddings: Tensor) -> float:
    """Return the root mean square distance between unit embeddings (N, d), every pair counted.

    The mean of |x − y|² over all pairs is 2·(1 − |mean x|²).
    """
    return float((2 * (1 - embeddings.mean(0).square().sum())).clamp_min(0).sqrt())
