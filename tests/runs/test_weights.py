"""Weights are read back as they were written, and what is wrong with them is one sentence."""

import json

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sentences import refused
from studies.paths import StudyError
from studies.runs.folder import fitting_weights, open_weights

ADVICE = "; delete it, and the command that trained the run writes it again from its checkpoint"


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "model.safetensors"
    save_file({"one": torch.arange(3.0), "two": torch.eye(2)}, file, {"names": '["a", "b"]'})
    return file


def names(file) -> list[str]:
    with open_weights(file) as (metadata, _):
        return json.loads(metadata["names"])


@pytest.mark.parametrize("kept", [None, 0, 30, -1])
def test_a_file_cut_short_or_missing(file, kept):
    content = file.read_bytes()[:kept]
    file.unlink()
    if kept is not None:
        file.write_bytes(content)
    message = refused(names, file)
    assert message.startswith(f"{file}: cannot be read (")
    assert message.endswith(ADVICE)


@pytest.mark.parametrize("metadata", [None, {"other": "1"}, {"names": "["}])
def test_metadata_that_cannot_be_taken_apart(file, metadata):
    save_file({"one": torch.zeros(1)}, file, metadata)
    assert refused(names, file).endswith(ADVICE)


def test_a_network_that_does_not_fit(file):
    with (
        pytest.raises(StudyError, match="holds another system's weights"),
        fitting_weights(file),
    ):
        nn.Linear(3, 2).load_state_dict({"weight": torch.ones(2, 3)})
