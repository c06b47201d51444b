"""The paired tests between the systems of a dataset: filters with filters, classifiers alike."""

import pandas as pd

from studies import resamples
from studies.relevance.results import Results

TESTED = ("precision", "recall", "rejected", "auc", "accuracy", "macro_f1")


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests, second minus first, by bootstrap over test captions.

    Seeds are those both were run with; a baseline is compared with each seed of the other.
    """
    return resamples.paired_tests(
        *(
            {
                system: {name: one for name, one in found.items() if name in TESTED}
                for system, found in results.resampled.items()
                if system in alike
            }
            for alike in (results.filters, results.downstream)
        )
    )
