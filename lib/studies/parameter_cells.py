"""The cells of a notebook that hold its parameters, read from its file or in its kernel."""

import ast
import json
import linecache
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from studies.errors import StudyError
from studies.paths import relative


def cells_run(history: Sequence[str]) -> Iterable[str]:
    """Return the sources of the cells that this kernel has run, oldest first.

    Those of a kernel that keeps no history, such as nbval's, are where tracebacks find them.
    """
    if any(history):
        return history
    return ["".join(entry[2]) for entry in linecache.cache.values() if len(entry) == 4]


def assigned_names(source: str) -> list[str]:
    """Return the names that a cell assigns at its top level, in order."""
    return [
        target.id
        for node in ast.parse(source).body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    ]


def notebook_defaults(notebook: Path) -> dict[str, Any]:
    """Return the literals of the cell tagged `parameters`, read without running anything."""
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    except OSError as error:
        raise StudyError(f"{relative(notebook)}: cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise StudyError(f"{relative(notebook)}: is no notebook") from None
    tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise StudyError(f"{relative(notebook)}: needs one cell tagged `parameters`")
    body = ast.parse("".join(tagged[0]["source"])).body
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign)
    }
