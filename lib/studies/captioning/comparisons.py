"""The paired tests between the systems of a dataset."""

from itertools import combinations

import numpy as np
import pandas as pd

from studies import statistics
from studies.captioning.evaluate import IDS
from studies.captioning.results import Results
from studies.differences import BOOTSTRAP

TESTED = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests between systems, second minus first, by bootstrap over images.

    Seeds are those both were run with; a baseline, which has no chance in it, is compared with each
    seed of the other.
    """
    rows = []
    for first, second in combinations(results.systems, 2):
        a, b = matched(results, first, second)
        for metric in TESTED if a else ():

            def difference(items: np.ndarray, k: int, a=a, b=b, metric=metric) -> float:
                return b[k].corpus(items)[metric] - a[k].corpus(items)[metric]

            samples = statistics.bootstrap(difference, results.items, len(a))
            low, high = statistics.interval(samples)
            everything = np.arange(results.items)
            rows.append(
                {
                    "first": first,
                    "second": second,
                    "metric": IDS[metric],
                    "test": BOOTSTRAP,
                    "seeds": len(a),
                    "difference": float(
                        np.mean([difference(everything, k) for k in range(len(a))])
                    ),
                    "ci_low": low,
                    "ci_high": high,
                    "p": statistics.bootstrap_p(samples),
                }
            )
    columns = ["first", "second", "metric", "test", "seeds", "difference", "ci_low", "ci_high", "p"]
    return pd.DataFrame(rows, columns=columns)


def matched(results: Results, first: str, second: str) -> tuple[list, list]:
    """Return the scores of two systems seed by seed; a baseline's once for each of the other's."""
    seeds = {
        name: dict(zip(results.seeds(name), results.scores[name], strict=True))
        for name in (first, second)
    }
    for name, other in ((first, second), (second, first)):
        if name not in results.trained:
            constant = next(iter(seeds[name].values()))
            seeds[name] = dict.fromkeys(seeds[other], constant)
    common = sorted(set(seeds[first]) & set(seeds[second]))
    return [seeds[first][seed] for seed in common], [seeds[second][seed] for seed in common]
