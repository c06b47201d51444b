"""What a run of the study may be told: every mistake is one sentence that names the parameter."""

from functools import partial

import pytest

import changing
from studies.captioning.params import Parameters

FLIPS = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.2}
VIT = {"name": "vit", "patch": 8, "width": 64, "layers": 2, "heads": 4}
FROZEN = {"name": "backbone", "weights": "openai/clip-vit-base-patch32", "trained": False}
MOST_FREQUENT = {"name": "most_frequent"}

values_of = partial(changing.values_of, "captioning")
GOOD = values_of("tiny", "resnet_transformer")  # image_size 32, width 64, cnn of three blocks


def message(changes):
    return changing.told_of(Parameters, GOOD, changes)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"network": None}, "network"),
        ({"baseline": MOST_FREQUENT}, "baseline"),
        ({"epochs": 6, "validate_every": 4}, "validate_every"),
        ({"validation_share": 0.5, "test_share": 0.5}, "validation_share + test_share"),
        ({"network.encoder.heads": 3}, "network.encoder.heads (3)"),
        ({"network.decoder.heads": 5}, "network.decoder.heads (5)"),
        ({"network.encoder.source.widths": [8] * 6}, "network.encoder.source.widths"),
        (
            {"network.encoder.grid": None, "network.encoder.projection": "convolution"},
            "network.encoder.projection",
        ),
        (
            {"network.encoder.grid": None, "network.encoder.source": VIT | {"patch": 12}},
            "network.encoder.source: patch",
        ),
        ({"network.encoder.source": VIT}, "network.encoder.grid"),
        ({"network.encoder.source": FROZEN, "augmentation": FLIPS}, "augmentation"),
    ],
)
def test_values_that_contradict_each_other(changes, place):
    assert place in message(changes)
