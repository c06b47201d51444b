"""A checkpoint is whole or not there, and holds no code. See `test_training` for its use."""

import pickle
import resource

import pytest
import torch

from sentences import refused
from studies.learning.fit import AtomicCheckpoints


@pytest.fixture
def file(tmp_path):
    return tmp_path / "checkpoint" / "last.ckpt"


def load(file):
    return AtomicCheckpoints().load_checkpoint(file, weights_only=True)


def test_it_is_read_as_it_was_written(file):
    AtomicCheckpoints().save_checkpoint({"epoch": 3, "weights": torch.arange(4.0)}, file)
    found = load(file)
    assert found["epoch"] == 3
    assert found["weights"].tolist() == [0, 1, 2, 3]
    assert list(file.parent.iterdir()) == [file]


def test_a_full_disk_leaves_the_one_before(file):
    """The size limit of a process makes writes fail halfway, as a full disk does."""
    AtomicCheckpoints().save_checkpoint({"epoch": 1}, file)
    before, limits = file.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        message = refused(
            AtomicCheckpoints().save_checkpoint, {"weights": torch.zeros(10_000)}, file
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert message.startswith(f"cannot write {file}: File too large; ")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


class Trap:
    def __reduce__(self):
        return pytest.fail, ("code of a checkpoint was run",)


@pytest.mark.parametrize("content", [b"", b"noise" * 50, pickle.dumps(Trap(), 2)])
def test_what_is_no_checkpoint_is_one_sentence(file, content):
    file.parent.mkdir()
    file.write_bytes(content)
    message = refused(load, file)
    assert message.startswith(f"{file}: the checkpoint cannot be read (")
    assert message.endswith("delete it, and the same command trains from the first epoch")
