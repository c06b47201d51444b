"""Classifiers of images in a world of coloured squares, where what can be learnt is known."""

import numpy as np
import pytest
import torch
from PIL import Image

import hearsay
from sentences import refused
from studies import paths
from studies.relevance import data
from studies.relevance.evaluate import evaluate
from studies.runs.folder import load_run

COLOURS = np.array(
    [(220, 40, 40), (40, 180, 60), (40, 60, 220), (220, 220, 40), (40, 220, 220), (220, 40, 220)]
)
CHANGES = {
    **{"source": {"name": "imagenet_captions", "images": "images"}, "downstream.dropout": 0.0},
    "downstream.encoder": {"name": "pixels", "size": 8, "widths": [4, 8]},
    **{"training.epochs": 12, "training.learning_rate": 0.01, "rare.captions": 0},
}
BAG = {"name": "bag", "width": 8, "vocabulary": 300}


@pytest.fixture
def world(sandbox):
    """Return a function that writes the captions of `hearsay`, each with a square of its colour."""

    def write():
        hearsay.publish(paths.data())
        for number, (name, wnid) in enumerate(zip(hearsay.IDS, hearsay.CLASS, strict=True)):
            shown = hearsay.WNIDS.index(wnid)
            noise = np.random.default_rng(number).integers(-15, 15, (12, 12, 3))
            file = paths.data() / "images" / wnid / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray((COLOURS[shown] + noise).astype(np.uint8)).save(file, "PNG")

    return write


def check_logits(run, parameters):
    collection = data.read(parameters)
    logits = run.model().logits([collection.files[row] for row in run.predictions["id"]])
    assert [collection.wnids[one] for one in logits.argmax(1)] == list(run.predictions["said"])


def test_what_the_images_show_is_learnt(world, small):
    world()
    parameters = small("downstream_all@image", CHANGES)
    run = load_run(evaluate(parameters))
    assert set(run.predictions["read"]) == {"image"}
    assert run.metrics["accuracy"] > 0.95
    assert len(run.predictions) == run.provenance["captions"]["test"]
    assert run.provenance["trained_on"] == run.provenance["captions"]["train"]
    check_logits(run, parameters)


def test_other_images_than_those_of_training_are_refused(world, small, train):
    world()
    seeing = small("downstream_all@image", CHANGES)
    reading = small("downstream_all", CHANGES | {"downstream.encoder": BAG})
    for parameters in (seeing, reading):
        train(parameters)
    collection = data.read(seeing)
    Image.new("RGB", (12, 12), "white").save(collection.files[0])
    assert "was trained on other captions, class texts or images" in refused(evaluate, seeing)
    evaluate(reading)  # which does not look at them


def test_features_of_a_frozen_model(world, small, tmp_path):
    import transformers

    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "image_size": 8, "patch_size": 4}
    config = transformers.ViTConfig(num_hidden_layers=1, num_attention_heads=2, **size)
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    processor = transformers.ViTImageProcessor(size={"height": 8, "width": 8})
    processor.save_pretrained(tmp_path / "vit")
    world()
    encoder = {"name": "features", "weights": str(tmp_path / "vit")}
    rate = {"training.learning_rate": 0.5, "training.epochs": 60}  # for random weights
    changes = CHANGES | rate | {"downstream.encoder": encoder}
    parameters = small("downstream_all@image", changes)
    run = load_run(evaluate(parameters))
    assert run.metrics["accuracy"] > 0.8
    assert run.provenance["parameters_trained"] == 16 * 6 + 6  # the dense layer alone
    check_logits(run, parameters)
