"""How often the 95 % interval of a difference holds the true one, by simulation.

What items, seeds and their interaction add to the variance of one seed's mean is set; items come in
clusters of two that are alike. The peer adds the variances of items and of seeds plainly, with
Student's quantile; the ratio is that of the mean widths. Below the four cases are those that are
hardest to tell apart with few seeds, see `studies.reporting.bootstrap`.
"""

from collections.abc import Iterator

import numpy as np
from lines import heading, put
from scipy.stats import t as student

from studies.reporting.bootstrap import Estimate, Measured, difference, draws

TRIALS = 5000
CLUSTERS, RESAMPLES = 100, 500
GOAL = 0.93, 0.97
# variance of one seed's mean: by items, seeds, and seeds and items together
CASES = {
    "items": (1, 0, 0),
    "seeds": (0, 1, 0),
    "their interaction": (0, 0, 1),
    "all three": (1, 1, 1),
}
HARD = {
    "seeds, a little of the others": (0.02, 1, 0.02),
    "interaction, a little of the others": (0.02, 0.02, 1),
    "seeds and interaction": (0, 1, 1),
    "seeds, some interaction": (0, 1, 0.3),
}


def simulate(
    case: tuple[float, float, float], seeds: int, trials: int
) -> Iterator[tuple[Estimate, Measured]]:
    """Yield the estimated difference of two systems that do not differ, and those of single seeds.

    The first system's scores vary from item to item, alike for both.
    """
    cluster = np.repeat(np.arange(CLUSTERS), 2)
    weights = draws(cluster, RESAMPLES).astype(np.float64)
    weights /= weights.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(0)
    of_items, of_seeds, of_both = np.sqrt(case) * [CLUSTERS**0.5, 1, CLUSTERS**0.5]

    def measured(scores: np.ndarray) -> Measured:
        samples = dict(enumerate((weights @ scores.T).T))
        return Measured(dict(enumerate(scores.mean(axis=1))), samples, len(cluster))

    for _ in range(trials):
        first = rng.normal(0, 5, len(cluster)) + rng.normal(0, 1, (seeds, len(cluster)))
        gap = of_items * rng.normal(size=CLUSTERS) + of_both * rng.normal(size=(seeds, CLUSTERS))
        gap += of_seeds * rng.normal(size=(seeds, 1))
        one, other = measured(first), measured(first + gap[:, cluster])
        gaps = {k: other.samples[k] - one.samples[k] for k in one.samples}
        yield difference(one, other), Measured({}, gaps)


def main() -> None:
    """Print the table."""
    heading(f"coverage of the 95 % interval, {TRIALS:,} trials; what makes the variance")
    for name, case in {**CASES, **HARD}.items():
        for seeds in (3, 5, 10):
            found = list(simulate(case, seeds, TRIALS))
            values = np.abs([one.value for one, _ in found])
            ours = np.array([one.margin for one, _ in found])
            items = np.array([np.mean([*gaps.samples.values()], 0).var() for _, gaps in found])
            of_seeds = np.array([one.spread for one, _ in found]) ** 2 / seeds
            plain = student.ppf(0.975, seeds - 1) * np.sqrt(items + of_seeds)
            covered, peer = (values <= ours).mean(), (values <= plain).mean()
            verdict = "ok" if GOAL[0] <= covered <= GOAL[1] else "missed"
            cells = f"{covered:.1%}", f"{peer:.1%}", f"{ours.mean() / plain.mean():.2f}"
            put(f"{name}, {seeds} seeds", *cells, "93-97", verdict)


if __name__ == "__main__":
    main()
