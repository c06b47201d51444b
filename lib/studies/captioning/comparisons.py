"""The paired tests between the systems of a dataset."""

from itertools import combinations

import numpy as np
import pandas as pd

from studies import statistics
from studies.captioning.evaluate import IDS
from studies.captioning.metrics import METRICS
from studies.captioning.results import Results, over_seeds
from studies.differences import BOOTSTRAP

TESTED = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
COLUMNS = ["first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high", "p"]


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests between systems, second minus first, by bootstrap over images.

    Seeds are those both were run with; a baseline, which has no chance in it, is compared with each
    seed of the other.
    """
    rows = []
    for first, second in combinations(results.systems, 2):
        pairs = matched(results, first, second)
        if not pairs:
            continue
        samples = over_seeds(
            [results.resampled[second][b] - results.resampled[first][a] for a, b in pairs],
            results.items,
        )
        for metric in TESTED:
            sampled = samples[METRICS.index(metric)]
            low, high = statistics.interval(sampled)
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "metric": IDS[metric],
                    "test": BOOTSTRAP,
                    "seeds": len(pairs),
                    "difference": difference(results, first, second, pairs, metric),
                    "ci_low": low,
                    "ci_high": high,
                    "p": statistics.bootstrap_p(sampled),
                }
            )
    return pd.DataFrame(rows, columns=COLUMNS)


def difference(
    results: Results, first: str, second: str, pairs: list[tuple[int, int]], metric: str
) -> float:
    """Return the mean difference in a metric over the pairs of runs, second minus first."""
    a, b = results.scores[first], results.scores[second]
    return float(np.mean([b[j].corpus()[metric] - a[i].corpus()[metric] for i, j in pairs]))


def matched(results: Results, first: str, second: str) -> list[tuple[int, int]]:
    """Return which run of the first system stands against which of the second, by place.

    A baseline's one run stands against every run of the other.
    """
    seeds = {
        name: {seed: place for place, seed in enumerate(results.seeds(name))}
        for name in (first, second)
    }
    for name, other in ((first, second), (second, first)):
        if name not in results.trained:
            seeds[name] = dict.fromkeys(seeds[other], 0)
    common = sorted(set(seeds[first]) & set(seeds[second]))
    return [(seeds[first][seed], seeds[second][seed]) for seed in common]
