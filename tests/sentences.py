"""How tests look at what a user is told, and at what is left behind."""

from pathlib import Path

import pytest

from studies.paths import StudyError


def kept(root: Path) -> list[str]:
    """What lies below STUDIES_ROOT: runs, caches, halves."""
    return sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())


def refused(call, *values) -> str:
    """Return the message of the StudyError, which must be one line."""
    with pytest.raises(StudyError) as caught:
        call(*values)
    message = str(caught.value)
    assert "\n" not in message
    assert message.strip()
    return message
