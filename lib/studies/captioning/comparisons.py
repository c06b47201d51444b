"""The paired tests between the systems of a dataset."""

import pandas as pd

from studies.captioning.results import Results
from studies.reporting import bootstrap

TESTED = ("bleu4", "meteor", "rouge_l", "cider")


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests between systems, second minus first, by bootstrap over images.

    Seeds are those both were run with; a baseline, which has no chance in it, is compared with each
    seed of the other.
    """
    return bootstrap.paired_tests(
        {
            system: {metric: found[metric] for metric in TESTED}
            for system, found in results.resampled.items()
        }
    )
