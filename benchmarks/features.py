"""An epoch on cached features against an epoch that encodes every image again.

The head of `grocery_random_convnext` with the flexible margin, in batches of 32,
behind a ResNet50 with random weights at 224 px, images read from disk. One thread, processor time,
medians of interleaved rounds.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lines import heading, line
from PIL import Image

from studies.inputs.features import features
from studies.learning.backbones import Backbone, load_backbone
from studies.learning.compute import interleaved, threads
from studies.runs.params import run_files
from studies.triplets.loss import objective
from studies.triplets.model import build
from studies.triplets.params import Parameters

CLASSES, IMAGES, ROUNDS = 32, 2, 3


def draw(folder: Path) -> list[Path]:
    """Write photographs of noise, 320 by 240 px, and return their files."""
    rng = np.random.default_rng(0)
    files = [folder / f"{number:03}.jpg" for number in range(CLASSES * IMAGES)]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)).save(file)
    return files


def head_epoch(width: int) -> Callable[[np.ndarray], None]:
    """Return a function that trains the head for one epoch on features (N, F)."""
    settings = Parameters.from_files(
        run_files("triplets", "grocery_random_convnext")["flexible"], ["seed=0", "threads=1"]
    )
    network, loss = build(settings, CLASSES, width), objective(settings, 3)
    adam = torch.optim.Adam(network.parameters())
    classes = torch.arange(CLASSES).repeat(IMAGES)
    labels = torch.stack([classes // 8, classes // 2, classes], 1)

    def epoch(known: np.ndarray) -> None:
        for rows in torch.arange(len(classes)).split(CLASSES):
            value = loss(network(torch.from_numpy(known[rows])), labels[rows], classes[rows])
            adam.zero_grad()
            value.backward()
            adam.step()

    return epoch


def main() -> None:
    """Print the line."""
    encoder: Backbone = load_backbone("torchvision/resnet50", pretrained=False)
    with tempfile.TemporaryDirectory() as place, threads(1):
        os.environ["STUDIES_ROOT"] = place
        files = draw(Path(place))
        stored, epoch = features(files, Path(place), encoder), head_epoch(encoder.out_features)

        def again() -> None:
            for file in Path(place, "cache").rglob("*.npy"):
                file.unlink()
            epoch(features(files, Path(place), encoder))

        seconds = interleaved({"cached": lambda: epoch(stored), "again": again}, ROUNDS)
    heading(f"epoch of a head behind a frozen ResNet50, {len(files)} images")
    mine, other = (np.median(seconds[name]) for name in ("cached", "again"))
    ratio = float(np.median(seconds["again"] / seconds["cached"]))
    line("times faster than encoding again", f"{1e3 * mine:.0f} ms", f"{other:.1f} s", ratio, 50)


if __name__ == "__main__":
    main()
