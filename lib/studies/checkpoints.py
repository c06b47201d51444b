"""Checkpoints that a killed process or a full disk cannot spoil."""

import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from studies.errors import StudyError
from studies.runs import write_atomic


class AtomicCheckpoints(TorchCheckpointIO):
    """Checkpoints written whole or not at all, and read without unpickling code."""

    def save_checkpoint(self, checkpoint: dict, path: Any, storage_options: Any = None) -> None:
        """Write the checkpoint under a temporary name, then rename it."""
        # through memory: on a full disk torch.save raises what does not say so
        content = io.BytesIO()
        torch.save(checkpoint, content)
        write_atomic(Path(path), content.getvalue())

    def load_checkpoint(self, path: Any, *args: Any, **options: Any) -> dict[str, Any]:
        """Read a checkpoint; raises StudyError when it is damaged."""
        try:
            return super().load_checkpoint(path, *args, **options)
        except Exception as error:  # which one depends on the place of the damage
            raise StudyError(
                f"{path}: the checkpoint cannot be read ({type(error).__name__}); delete it, and "
                "the same command trains from the first epoch"
            ) from error
