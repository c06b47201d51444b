"""Where things lie: every path of the project, resolved from the repository root.

A kernel may start in any folder, so nothing here depends on the working directory. The root is
the folder that holds `lib/`; `STUDIES_ROOT` puts runs, reports and caches elsewhere (tests do),
and `STUDIES_DATA` names the folder of the published datasets.
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def root() -> Path:
    """Return the folder that `runs/`, `reports/` and `cache/` are made in."""
    return Path(os.environ.get("STUDIES_ROOT", REPOSITORY)).resolve()


def data() -> Path:
    """Return the folder of the published datasets; a relative `STUDIES_DATA` starts at the root."""
    return (REPOSITORY / os.environ.get("STUDIES_DATA", "data")).resolve()


def runs() -> Path:
    """Return the folder of all run folders."""
    return root() / "runs"


def reports() -> Path:
    """Return the folder of all reports."""
    return root() / "reports"


def cache() -> Path:
    """Return the folder of what can be made again: decoded images, features, the demo's plates."""
    return root() / "cache"


def relative(file: Path) -> str:
    """Return the path as a reader of the repository would write it."""
    file = Path(file).resolve()
    return str(file.relative_to(REPOSITORY) if REPOSITORY in file.parents else file)
