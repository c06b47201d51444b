"""Runs of the tiny datasets that several files need, and that none of them looks into."""

import os
from collections.abc import Collection
from pathlib import Path

from studies.runs.params import run_files


def share(root: Path, study: str, but: Collection[str]) -> None:
    """Put links in a root to the session's runs of a study, but for some systems.

    Who needs one first makes it; its lock lets others wait.
    """
    folder = Path("runs", "tiny", study)
    (root / folder).mkdir(parents=True)
    for system in run_files(study, "tiny").keys() - but:
        own = os.environ["STUDIES_ROOT"] / folder / system
        own.mkdir(parents=True, exist_ok=True)
        (root / folder / system).symlink_to(own)
