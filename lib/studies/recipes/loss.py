"""What CNN-1 and CNN-2 are trained with: equations (1) and (2)."""

from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy


def dish_loss(logits: Tensor, dish: Tensor) -> Tensor:
    """Return equation (1), L = −Σ_i y_i log ŷ_i with ŷ = softmax(logits), as a mean over images.

    Args:
        logits: (B, C).
        dish: (B,) index of the true dish.

    """
    return cross_entropy(logits.float(), dish)


def ingredient_loss(logits: Tensor, present: Tensor) -> Tensor:
    """Return equation (2), binary cross-entropy as a mean over images and ingredients.

    L = −1/(N·S) Σ_j Σ_i [y_ji log ŷ_ji + (1 − y_ji) log(1 − ŷ_ji)] with ŷ = sigmoid(logits).

    Args:
        logits: (N, S).
        present: (N, S) whether an ingredient is there.

    """
    return binary_cross_entropy_with_logits(logits.float(), present.float())


def weighted_loss(dish: Tensor, ingredients: Tensor, weight: float) -> Tensor:
    """Return (1) + weight × (2), what two heads on one trunk are trained with in parallel."""
    return dish + weight * ingredients if weight else dish
