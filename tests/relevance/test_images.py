"""Classifiers of images in worlds of coloured squares, where what can be learnt is known."""

import csv
import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, f1_score

from sentences import refused
from studies import paths
from studies.relevance import data
from studies.relevance.evaluate import evaluate
from studies.relevance.params import Parameters
from studies.runs.files import to_json
from studies.runs.folder import load_run
from studies.runs.params import read_yaml, run_files

COLOURS = {"n1": (220, 40, 40), "n2": (40, 180, 60), "n3": (40, 60, 220)}
NEXT = {"n1": "n2", "n2": "n3", "n3": "n1"}
PLENTY = 40  # images of each class
PIXELS = {"name": "pixels", "size": 8, "widths": [4, 8]}
BAG = {"name": "bag", "width": 8, "vocabulary": 300}


@pytest.fixture
def world(sandbox):
    """Return a function that writes ImageNet-Captions with images of one colour and some noise.

    `shown` says which class an image has the colour of, by the number of the image in its class.
    No caption says anything.
    """

    def write(shown=lambda wnid, number: wnid):
        folder = paths.data() / "imagenet_captions"
        folder.mkdir()
        records = []
        for seed, (wnid, number) in enumerate((w, n) for w in COLOURS for n in range(PLENTY)):
            name = f"{wnid}_{number}.png"
            said = {"title": "a photo", "description": "of something"}
            records.append({"filename": name, "wnid": wnid, **said})
            noise = np.random.default_rng(seed).integers(-30, 30, (12, 12, 3))
            pixels = (np.array(COLOURS[shown(wnid, number)]) + noise).clip(0, 255).astype(np.uint8)
            file = paths.data() / "images" / wnid / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
        (folder / "imagenet_captions.json").write_text(json.dumps(records))
        with (folder / "class_texts.csv").open("w", newline="") as stream:
            rows = [(wnid, wnid, "It is one thing. It is seen. It is known.") for wnid in COLOURS]
            csv.writer(stream).writerows([("wnid", "class", "text"), *rows])

    return write


def values(captions="all", encoder=PIXELS, epochs=6, **changes):
    """The demo's classifier on the world above; the predictor it builds on is `scored`."""
    found = {}
    for file in run_files("relevance", "demo")[f"downstream_{captions}@image"]:
        found |= read_yaml(file)
    found["downstream"] |= {"encoder": encoder, "dropout": 0.0}
    found["training"] |= {"epochs": epochs, "batch": 16, "learning_rate": 0.01}
    found |= {"seed": 0, "source": {"name": "imagenet_captions", "images": "images"}}
    return found | {"rare": found["rare"] | {"examples": 0}} | changes


def chosen(*given, **changes):
    return Parameters.check(values(*given, **changes), {"": "test"})


def scored(parameters, coefficient):
    """Write the run of a predictor that keeps what has a coefficient (N,), not nan."""
    collection = data.read(parameters)
    folder = parameters.sister("predictor").folder()
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text("{}")
    facts = {"dataset_fingerprint": collection.fingerprint}
    (folder / "provenance.json").write_text(to_json(facts))
    (folder / "metrics.json").write_text("{}")
    ids = list(collection.captions["image"])
    found = np.array([coefficient(*name.removesuffix(".png").split("_")) for name in ids])
    frame = pd.DataFrame({"id": ids, "kept": ~np.isnan(found), "coefficient": found})
    frame.to_parquet(folder / "predictions.parquet")


def accuracy(parameters, train):
    """The accuracy on test images, without `evaluate`, which would run the predictor."""
    train(parameters)
    run = load_run(parameters.folder())
    collection = data.read(parameters)
    test = np.flatnonzero(data.split(collection, parameters) == "test")
    logits = run.model().logits([collection.files[row] for row in test])
    assert logits.shape == (len(test), len(COLOURS))
    return accuracy_score(collection.target[test], logits.argmax(1))


def test_what_the_images_show_is_learnt(world):
    world()
    parameters = chosen()
    run = load_run(evaluate(parameters))
    collection = data.read(parameters)
    rows = data.split(collection, parameters) == "test"
    frame = run.predictions
    assert list(frame["id"]) == list(np.array(list(collection.captions["image"]))[rows])
    assert set(frame["read"]) == {"image"}
    assert frame["relevant"].isna().all()
    assert run.metrics["accuracy"] == pytest.approx(accuracy_score(frame["class"], frame["said"]))
    assert run.metrics["macro_f1"] == pytest.approx(
        f1_score(frame["class"], frame["said"], average="macro")
    )
    assert run.metrics["accuracy"] > 0.95
    seen = run.model().logits([collection.files[row] for row in np.flatnonzero(rows)])
    assert [collection.wnids[one] for one in seen.argmax(1)] == list(frame["said"])
    assert sum(run.provenance["captions"].values()) == len(COLOURS) * PLENTY
    assert run.provenance["trained_on"] == run.provenance["captions"]["train"]


def test_what_the_images_do_not_show_is_not_learnt(world):
    world(lambda wnid, number: sorted(COLOURS)[number % 3])
    found = load_run(evaluate(chosen())).metrics["accuracy"]
    assert found < 0.7  # chance is a third; 28 test images


def misleading(wnid, number):
    """Two images of three have the colour of another class."""
    return wnid if int(number) % 3 == 0 else NEXT[wnid]


def in_truth(truth):
    return lambda wnid, number: 1.0 if (misleading(wnid, number) == wnid) == truth else np.nan


def of_kind(truth, yes, no):
    """Return a coefficient for images of the right colour, or of the wrong one, and for others."""
    return lambda wnid, number: yes if (misleading(wnid, number) == wnid) == truth else no


@pytest.mark.parametrize("truth", [True, False])
@pytest.mark.parametrize(("captions", "otherwise"), [("kept", np.nan), ("weighted", 0.001)])
def test_what_is_dropped_or_counts_little_is_not_learnt(world, train, captions, otherwise, truth):
    world(misleading)
    parameters = chosen(captions, epochs=4)
    scored(parameters, of_kind(truth, 1.0, otherwise))
    collection = data.read(parameters)
    parts = data.split(collection, parameters)
    names = [name.removesuffix(".png").split("_") for name in collection.captions["image"]]
    right = np.array([misleading(*name) == name[0] for name in names])
    share = right[parts == "test"].mean()
    assert 0.2 < share < 0.45
    # who has learnt the colours of one kind is right about test images of that kind
    expected = share if truth else 1 - share
    assert accuracy(parameters, train) == pytest.approx(expected, abs=0.04)
    taken = right[parts == "train"] == truth if captions == "kept" else parts == "train"
    assert load_run(parameters.folder()).provenance["trained_on"] == taken.sum()


def test_other_images_than_those_of_training_are_refused(world, train):
    world()
    seeing, reading = chosen(epochs=1), chosen(epochs=1, encoder=BAG, variant="reading")
    for parameters in (seeing, reading):
        train(parameters)
    collection = data.read(seeing)
    Image.new("RGB", (12, 12), "white").save(collection.files[0])
    assert "was trained on other captions, class texts or images" in refused(evaluate, seeing)
    evaluate(reading)  # which does not look at them
    assert collection.fingerprint_for(reading) == collection.fingerprint


def test_features_of_a_frozen_model(world, tmp_path):
    import transformers

    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "image_size": 8, "patch_size": 4}
    config = transformers.ViTConfig(num_hidden_layers=1, num_attention_heads=2, **size)
    transformers.ViTModel(config).save_pretrained(tmp_path / "vit")
    processor = transformers.ViTImageProcessor(size={"height": 8, "width": 8})
    processor.save_pretrained(tmp_path / "vit")
    world()
    found = {}
    shipped = run_files("relevance", "imagenet_captions_images")["downstream_all@image"]
    for file in shipped:
        found |= read_yaml(file)
    assert found["downstream"]["encoder"].keys() == {"name", "weights"}
    found["downstream"]["encoder"]["weights"] = str(tmp_path / "vit")
    found["training"] |= {"batch": 16, "learning_rate": 0.1}  # for features of random weights
    found |= {"source": values()["source"], "threads": 1, "precision": "32-true", "seed": 0}
    parameters = Parameters.check(found, {"": "test"})
    run = load_run(evaluate(parameters))
    assert run.metrics["accuracy"] > 0.8
    assert run.provenance["parameters_trained"] == 16 * 3 + 3  # the dense layer alone
    collection = data.read(parameters)
    files = [collection.folders[w] / i for w, i in zip(*run_columns(run), strict=True)]
    said = [collection.wnids[one] for one in run.model().logits(files).argmax(1)]
    assert said == list(run.predictions["said"])


def run_columns(run):
    return run.predictions["class"], run.predictions["id"]
