"""Two processes that share every batch take the steps of one, in all four studies.

Run as a script, in as many processes as a launcher starts, this file trains a system of each study
and writes the losses of its steps, a file a rank.
"""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from studies.learning import compute, fit
from studies.runs.params import system_files

# An odd number of images a batch, so that shares differ; in the other studies the last batch of an
# epoch has one row, so that one rank has no share.
CASES = {
    "triplets": ("hybrid", "images_per_class=3", "held_out=1", "decide=neighbours", "epochs=5"),
    "captioning": ("resnet_transformer", "images=25", "epochs=2"),
    "recipes": ("shared_backbone", "images=28", "epochs=2"),
    "relevance": (
        "predictor",
        "predictor={encoder: {name: bag, width: 16, vocabulary: 400}, dropout: 0.25, "
        "append_sentences: true, epoch_share: 0.1}",  # 77 examples
        "training={batch: 19, epochs: 2, learning_rate: 0.003, backbone_learning_rate: 0.0, "
        "warm_up: 0.1, weight_decay: 0.01, validate_every: 1}",
    ),
}
# by an earlier job, and by SLURM for a shell; rank 0 would never come
LEFT_BEHIND = {
    **{"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "-1", "PMI_SIZE": "2"},
    **{"MASTER_ADDR": "localhost", "MASTER_PORT": "1", "SLURM_NTASKS": "2", "SLURM_PROCID": "1"},
}


def note_losses(folder: Path) -> None:
    """Train a system of each study, with dropout and normalisation as in evaluation."""
    losses, mean_loss = [], fit.mean_loss

    def noted(each, *rest):
        losses.extend(map(float, each))
        return mean_loss(each, *rest)

    fit.mean_loss = noted
    kinds = nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd, nn.MultiheadAttention
    for kind in kinds:
        kind.train = lambda module, mode=True: nn.Module.train(module, False)
    for study, (system, *changes) in CASES.items():
        schema = importlib.import_module(f"studies.{study}.params").Parameters
        parameters = schema.from_files(system_files(study, "tiny", system), ["seed=0", *changes])
        importlib.import_module(f"studies.{study}.train").train(parameters)
        (folder / f"{study}.{compute.rank()}").write_text(json.dumps(losses))
        losses.clear()


def test_two_ranks_take_the_steps_of_one_process(tmp_path):
    """What the environment of the one process says of others is not believed."""
    single, both = tmp_path / "single", tmp_path / "both"
    torchrun = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    for folder, launcher, more in ((single, [], LEFT_BEHIND), (both, ["-m", *torchrun], {})):
        folder.mkdir()
        ended = subprocess.run(
            [sys.executable, *launcher, __file__, folder],
            env=os.environ | {"STUDIES_ROOT": str(folder), "OMP_NUM_THREADS": "1"} | more,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count("epoch 2/") == len(CASES)  # one rank alone tells
    for study, (system, *_) in CASES.items():
        alone, *two = (
            np.array(json.loads(file.read_text()))
            for file in (single / f"{study}.0", both / f"{study}.0", both / f"{study}.1")
        )
        assert len(alone) >= 8
        assert np.ptp(alone) > 0.01
        for losses in two:
            assert losses == pytest.approx(alone, abs=1e-5)
        run = both / "runs/tiny" / study / system / "seed0"
        assert json.loads((run / "provenance.json").read_text())["ranks"] == 2
        assert (run / "model.safetensors").exists()


if __name__ == "__main__":
    note_losses(Path(sys.argv[1]))
