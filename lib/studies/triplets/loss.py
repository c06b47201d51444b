"""Triplet loss with a flexible margin.

(1) L = max(D(a,p) − D(a,n) + m, 0), with D the Euclidean distance of L2-normalised embeddings;
(2) the same with M(l_a, l_n) in place of m;
(3) a hierarchy of labels: M = max_i m_i·mask_i, m = (2, 1, 0.5) from the top level down;
(5) groups of labels of equal weight: M = Σ_i m_i·mask_i, with (6) Σ_i m_i = 2.
mask_i = 1 where the labels of level i differ. (The paper's (4) prints `=`; its text, and the
purpose of a margin, say that they differ.)

I. S. Petrova, *Method of training image classifiers using additional labels*, Modeling,
Optimization and Information Technology 13(2), 2025.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from studies.triplets import mining as miners


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
    weights = torch.as_tensor(margins, device=differ.device)
    if not weights.is_floating_point():
        weights = weights.to(torch.get_default_dtype())
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
    `mining` is `semihard`, `hardest` or `all`, `take` is `closest` or `most_violating`
    (`studies.triplets.mining`). `mining` may be changed between steps.
    """

    def __init__(
        self,
        margins: Sequence[float],
        combine: str = "max",
        mining: str = "semihard",
        take: str = "closest",
    ) -> None:
        super().__init__()
        if mining not in ("semihard", "hardest", "all"):
            raise ValueError(f"mining must be 'semihard', 'hardest' or 'all', not {mining!r}")
        if take not in ("closest", "most_violating"):
            raise ValueError(f"take must be 'closest' or 'most_violating', not {take!r}")
        self.margins, self.combine, self.mining, self.take = tuple(margins), combine, mining, take

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss, a scalar, of embeddings (B, d) float with labels (B, H) integer."""
        labels = torch.as_tensor(labels, device=embeddings.device)
        embeddings = normalize(embeddings, dim=1)  # (B, d)
        # differences, not a matrix product: equal embeddings must be at distance 0 exactly
        distances = torch.cdist(
            embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist"
        )  # (B, B)
        weights = distances.new_tensor(self.margins)
        margins = flexible_margin(labels[:, None], labels[None], weights, self.combine)  # (B, B)
        pairs, negative = miners.positive_pairs(labels), miners.is_negative(labels)
        if self.mining == "all":
            return mean_over_all(distances, margins, negative, pairs)
        with torch.no_grad():
            mine = miners.semihard if self.mining == "semihard" else miners.hardest
            a, p, n = mine(distances, margins, negative, pairs, self.take)
        violation = torch.relu(distances[a, p] - distances[a, n] + margins[a, n])  # (T,)
        return violation.sum() / (violation > 0).sum().clamp_min(1)


def mean_over_all(
    distances: Tensor, margins: Tensor, negative: Tensor, pairs: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the mean loss over every valid triplet with positive loss, without listing them.

    Given which triplets are violated, the loss is linear in the (B, B) distances: it is enough to
    count how often each distance enters.
    """
    with torch.no_grad():
        times = torch.zeros_like(distances)  # how often D(i, j) enters, with its sign
        constant, total = distances.new_zeros(()), 0
        for a, p in miners.blocks(pairs, len(distances)):
            violated = negative[a] & (distances[a, p][:, None] - distances[a] + margins[a] > 0)
            times.index_put_((a, p), violated.sum(1).to(times), accumulate=True)
            times.index_add_(0, a, violated.to(times), alpha=-1)
            constant += (margins[a] * violated).sum()
            total += int(violated.sum())
    return ((times * distances).sum() + constant) / max(total, 1)
