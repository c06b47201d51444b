"""Which captions a downstream classifier is trained on, and how much each of them counts."""

import numpy as np
import pandas as pd

from studies.paths import StudyError, relative
from studies.relevance.data import Collection
from studies.relevance.params import Parameters
from studies.runs.folder import load_run


def taken(
    parameters: Parameters, collection: Collection, known: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the rows taken of the training captions `known`, and (N,) weights, None for 1.

    Weights of the taken are 1 on average, so that one learning rate fits all systems. Raises
    StudyError when the predictor was not evaluated, or on other captions, or keeps none.
    """
    given = parameters.downstream
    if given.captions == "all":
        return known, None
    folder = parameters.sister(given.scores).folder()
    if not (folder / "metrics.json").exists():
        raise StudyError(
            f"{relative(folder)} is not evaluated, and {parameters.system} is trained on what it "
            "keeps; run python -m studies.relevance.evaluate with the same files, which does both"
        )
    run = load_run(folder)
    run.refuse_other_data(collection.fingerprint, "captions or class texts than there are now")
    scores = run.predictions
    kept = known[scores["kept"].to_numpy()[known]]
    if not len(kept):
        raise StudyError(
            f"{relative(run.folder)} keeps no training caption, so nothing is left to train on; "
            "train the predictor for longer, or lower filter.threshold"
        )
    if given.captions == "random":
        rng = np.random.default_rng([parameters.split_seed, parameters.seed])
        return np.sort(rng.choice(known, len(kept), replace=False)), None
    return kept, weights(scores, kept) if given.captions == "weighted" else None


def weights(scores: pd.DataFrame, kept: np.ndarray) -> np.ndarray:
    """Return the coefficients, scaled to 1 on average over the kept ones, (N,); 0 elsewhere."""
    found = scores["coefficient"].to_numpy(dtype=np.float64, na_value=0.0).copy()
    return np.nan_to_num(found) / found[kept].mean()
