"""Which variant of a dish a plate is, when the dish is known: by its ingredients, or by a softmax.

Claim R3. Chance and the most frequent variant are what a system without any sight reaches.
"""

import numpy as np

from studies.recipes.plates import Plates

RARE = 0.01  # no variant has an ingredient never or always for certain


def profiles(plates: Plates, known: np.ndarray) -> np.ndarray:
    """Return how often each ingredient lies on each variant, (V, S), on the plates `known`."""
    return np.stack(
        [
            plates.present[known][plates.variant[known] == variant].mean(0)
            for variant in range(len(plates.variants))
        ]
    )


def by_ingredients(probabilities: np.ndarray, profiles: np.ndarray) -> np.ndarray:
    """Return the expected log-likelihood of each variant, (N, V).

    Of ingredient probabilities p (N, S) and the share π (V, S) of each variant's plates that have
    them: Σ_s p log π + (1 − p) log(1 − π).
    """
    share = profiles.clip(RARE, 1 - RARE)
    return probabilities @ np.log(share).T + (1 - probabilities) @ np.log(1 - share).T


def within_dish(scores: np.ndarray, plates: Plates, rows: np.ndarray) -> np.ndarray:
    """Return for each plate of `rows` the variant of its own dish with the highest score, (N,)."""
    dish_of = np.zeros(len(plates.variants), dtype=int)
    dish_of[plates.variant] = plates.dish
    possible = dish_of == plates.dish[rows][:, None]
    return np.where(possible, scores, -np.inf).argmax(1)
