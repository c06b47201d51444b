"""What a system minimises: cross-entropy, a triplet loss, or their sum."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from studies.paths import StudyError
from studies.triplets.loss import FlexibleMarginLoss
from studies.triplets.model import Output
from studies.triplets.params import Parameters

COLLAPSED = 0.02  # spread of embeddings on the unit sphere; an untrained network's is about 0.3


class Objective(nn.Module):
    """Cross-entropy of the logits plus `weight` × the margin loss of the embeddings.

    A network without one of the two heads has the other term alone. `mining` of the margin loss
    changes from stage to stage.
    """

    def __init__(self, margin: FlexibleMarginLoss | None, weight: float = 1.0) -> None:
        super().__init__()
        self.margin, self.weight = margin, weight

    def forward(self, output: Output, labels: Tensor, classes: Tensor) -> Tensor:
        """Return the loss, a scalar, for labels (B, H) and class indices (B,)."""
        terms = []
        if output.logits is not None:
            terms.append(cross_entropy(output.logits.float(), classes))
        if self.margin is not None:
            terms.append(self.weight * self.margin(output.embeddings, labels))
        return torch.stack(terms).sum()


def objective(parameters: Parameters, levels: int) -> Objective:
    """Return the objective of a system; raises StudyError when margins and levels disagree."""
    loss, mining = parameters.loss, parameters.stages[0].mining
    if loss.name == "cross_entropy":
        return Objective(None)
    if loss.name == "triplet":
        return Objective(FlexibleMarginLoss([loss.margin] * levels, mining=mining, take=loss.take))
    if len(loss.margins) != levels:
        raise StudyError(
            f"loss.margins has {len(loss.margins)} values and the labels {levels} levels; give one "
            "margin a level"
        )
    margin = FlexibleMarginLoss(loss.margins, loss.combine, mining, loss.take)
    return Objective(margin, loss.weight if loss.name == "hybrid" else 1.0)


def spread(embeddings: Tensor) -> float:
    """Return the root mean square distance between unit embeddings (N, d), every pair counted.

    The mean of |x − y|² over all pairs is 2·(1 − |mean x|²).
    """
    return float((2 * (1 - embeddings.mean(0).square().sum())).clamp_min(0).sqrt())
