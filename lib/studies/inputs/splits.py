"""The parts of a dataset: drawn by strata, and none of them empty."""

from pathlib import Path

import numpy as np

from studies.paths import StudyError

PARTS = ("train", "validation", "test")


def stratified(
    strata: np.ndarray,
    validation_share: float,
    test_share: float,
    seed: int,
    tested: np.ndarray | None = None,
) -> np.ndarray:
    """Return (N,) `train`, `validation` or `test`, each stratum (N,) divided by the shares.

    A published test set, `tested` (N,) bool, is kept; no other item is then tested on, and
    `validation_share` is of the rest. One item of each stratum is always trained on, unless the
    published test set holds them all.
    """
    rng = np.random.default_rng(seed)
    if tested is None:
        tested = np.zeros(len(strata), dtype=bool)
    else:
        test_share = 0.0
    parts = np.where(tested, "test", "train").astype("<U10")
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero((strata == stratum) & ~tested))
        spare = max(0, len(members) - 1)
        tests = min(round(len(members) * test_share), spare)
        validations = min(round(len(members) * validation_share), spare - tests)
        parts[members[:tests]] = "test"
        parts[members[tests : tests + validations]] = "validation"
    return parts


def sizes(parts: np.ndarray) -> dict[str, int]:
    """Return how many items each part has."""
    return {part: int(np.sum(parts == part)) for part in PARTS}


def refuse_empty(parts: np.ndarray, root: Path, items: str, stratum: str = "") -> None:
    """Raise StudyError when a part of the dataset below `root` holds none of the `items`."""
    for part in PARTS:
        if part not in parts:
            many = f"{items} a {stratum}" if stratum else items
            raise StudyError(
                f"{root}: too few {many} for a {part} set; add {items} or change "
                "validation_share and test_share"
            )
