"""The paired tests between the systems of a dataset: filters, and classifiers of equal steps."""

import pandas as pd

from studies.relevance.results import Results
from studies.reporting import bootstrap

TESTED = ("precision", "recall", "rejected", "auc", "accuracy", "macro_f1")


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests, second minus first, by bootstrap over test captions.

    Seeds are those both were run with; a baseline is compared with each seed of the other. A
    classifier is compared with those of its variant, which are trained in as many steps. What some
    resample leaves undefined, as the precision of a filter that keeps next to nothing, has no test.
    """
    variants = dict.fromkeys(system.partition("@")[2] for system in results.downstream)
    groups = [
        list(results.filters),
        *(
            [system for system in results.downstream if system.partition("@")[2] == variant]
            for variant in variants
        ),
    ]
    found = bootstrap.paired_tests(
        *(
            {
                system: {
                    name: one for name, one in results.resampled[system].items() if name in TESTED
                }
                for system in group
            }
            for group in groups
        )
    )
    return found.dropna(subset=["ci_low"], ignore_index=True)
