"""The `model.safetensors` of a run, written and read back."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from studies.errors import StudyError
from studies.runs import write_atomic

AGAIN = "delete it, and the command that trained the run writes it again from its checkpoint"


def write(file: Path, network: nn.Module, said: dict[str, Any]) -> None:
    """Write the weights of a network, and as JSON what else belongs to it, whole or not at all."""
    tensors = {key: value.contiguous() for key, value in network.state_dict().items()}
    # safetensors writes several entries in any order, and one always the same
    write_atomic(file, save(tensors, {"said": json.dumps(said)}))


@contextmanager
def opened(file: Path) -> Iterator[tuple[dict[str, str], dict[str, Tensor]]]:
    """Yield the metadata of a file and its tensors by name, on the CPU.

    Raises StudyError when the file is missing or damaged, and so is whatever fails in the block,
    where the metadata is taken apart.
    """
    try:
        with safe_open(file, framework="pt") as content:
            tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118
            yield content.metadata(), tensors
    except Exception as error:  # which one depends on the place of the damage
        raise StudyError(f"{file}: cannot be read ({type(error).__name__}); {AGAIN}") from error


@contextmanager
def fitting(file: Path) -> Iterator[None]:
    """Raise StudyError when a network built in the block does not take the tensors of `file`."""
    try:
        yield
    except (KeyError, RuntimeError) as error:
        raise StudyError(f"{file}: holds another system's weights; {AGAIN}") from error
