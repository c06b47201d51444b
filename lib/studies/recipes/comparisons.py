"""The paired tests between the systems of a dataset: eyes with eyes, prompts with prompts."""

import pandas as pd

from studies.recipes.results import Results
from studies.reporting import bootstrap


def paired_tests(results: Results) -> pd.DataFrame:
    """Return the paired tests, second minus first, by bootstrap over test plates.

    Seeds are those both were run with; a baseline is compared with each seed of the other.
    """
    groups = (results.perceptions, results.prompts)
    return bootstrap.paired_tests(
        *({system: results.resampled[system] for system in alike} for alike in groups)
    )
