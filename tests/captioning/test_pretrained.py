"""From published weights to scores without a network: the shipped systems, sizes reduced."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from PIL import Image
from safetensors.torch import load_file

import changing
from sentences import refused
from studies.captioning import evaluate as evaluation
from studies.captioning.metrics import METRICS
from studies.captioning.params import Parameters
from studies.runs.folder import load_run
from studies.runs.params import load_parameters

FINE_TUNED = "clip_transformer@fine_tuned"
TRAINED = ["resnet_lstm", "resnet_transformer", "clip_transformer", FINE_TUNED]
NEAREST = "nearest_neighbour"
PUBLISHED = {"torchvision/resnet50": "resnet", "openai/clip-vit-base-patch32": "clip"}
COLOURS = ("red", "green", "blue", "grey")  # those of the folder's pictures, in turn
CAPTIONS = {
    f"{k:02}.jpg": [f"Picture {k} is {COLOURS[k % 4]} .", f"A {COLOURS[k % 4]} square ."]
    for k in range(30)
}
NAMES = list(CAPTIONS)
PARTS = {"train": NAMES[:20], "validation": NAMES[20:24], "test": NAMES[24:]}


def reduced(system: str, folders: dict[str, Path]) -> Parameters:
    """The shipped parameters of a system, its sizes reduced and its weights in a folder."""
    values = changing.values_of("captioning", "flickr8k", system)
    small = {"layers": 1, "heads": 2, "feedforward": 32}
    if values["network"]:
        values["network"]["width"] = 16
        encoder, decoder = values["network"]["encoder"], values["network"]["decoder"]
        encoder |= small | {"grid": encoder["grid"] and 2}
        decoder |= {"hidden": 24} if decoder["name"] == "lstm" else small
        source = encoder["source"]
    else:
        source = values["baseline"]["features"]
    source["weights"] = str(folders[PUBLISHED[source["weights"]]])
    values |= {"image_size": 32, "images": 5, "epochs": 2, "min_count": 1, "learning_rate": 0.003}
    values |= {"backbone_learning_rate": 0.0005, "threads": 1, "precision": "32-true"}
    return Parameters.check(values, {"": "test"})


@pytest.fixture(scope="module")
def world(tmp_path_factory, flickr8k_folder, backbones, no_network):
    """Every system with weights trained and evaluated, without a network, and without Java."""
    from studies.captioning.train import train

    folder = tmp_path_factory.mktemp("pretrained")
    flickr8k_folder(folder / "data" / "flickr8k", CAPTIONS, PARTS, side=40)
    runs = {}

    def zero(candidates: dict[str, str], _) -> pd.DataFrame:
        table = pd.DataFrame(0.0, pd.Index(candidates, name="id"), METRICS)
        counts = {"bleu_counts": 10, "meteor_counts": 23}
        return table.assign(**{name: [[0.0] * n] * len(table) for name, n in counts.items()})

    with pytest.MonkeyPatch.context() as patch, no_network() as reached:
        patch.setenv("STUDIES_ROOT", str(folder / "root"))
        patch.setenv("STUDIES_DATA", str(folder / "data"))
        patch.setattr(evaluation, "scored", zero)
        for system in [*TRAINED, NEAREST]:
            parameters = reduced(system, backbones)
            if system != NEAREST:
                train(parameters)
            runs[system] = load_run(evaluation.evaluate(parameters))
    return SimpleNamespace(folder=folder, runs=runs, reached=reached)


@pytest.fixture
def here(world, monkeypatch):
    monkeypatch.setenv("STUDIES_ROOT", str(world.folder / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(world.folder / "data"))
    return world


@pytest.fixture(scope="module")
def by_transformers(world, backbones):
    """What transformers itself says of each picture, one at a time."""
    kinds = {"resnet": transformers.ResNetModel, "clip": transformers.CLIPVisionModel}
    outputs = {}
    for name, kind in kinds.items():
        model = kind.from_pretrained(backbones[name]).eval()
        processor = transformers.AutoImageProcessor.from_pretrained(backbones[name])
        with torch.no_grad():
            outputs[name] = [
                model(**processor(images=Image.open(file), return_tensors="pt"))
                for file in sorted((world.folder / "data/flickr8k/Flicker8k_Dataset").iterdir())
            ]
    return outputs


def described(world, system):
    """The model's captions of the files of the test images, as a user asks for them."""
    run, root = world.runs[system], world.folder / "data/flickr8k/Flicker8k_Dataset"
    return run.model().describe([root / name for name in run.predictions["id"]])


@pytest.mark.parametrize("system", [*TRAINED, NEAREST])
def test_the_test_split_is_captioned_without_the_network(world, system):
    run = world.runs[system]
    frame = run.predictions
    assert world.reached == []
    assert frame["id"].tolist() == PARTS["test"]
    assert frame["candidate"].str.split().map(len).between(1, 24).all()
    assert run.provenance["images"] == {part: len(names) for part, names in PARTS.items()}


class TestFrozen:
    def test_features_are_kept_once_a_backbone(self, world, by_transformers):
        """Two systems read ResNet's map; the baseline reads its pooled features."""
        stored = [np.load(f) for f in (world.folder / "root/cache/features").glob("*.npy")]
        stored = {(tokens.ndim, tokens.shape[-1], tokens.dtype.name): tokens for tokens in stored}
        resnet, clip = by_transformers["resnet"], by_transformers["clip"]
        wanted = {
            (3, 12, "float16"): [out.last_hidden_state[0].flatten(1).T for out in resnet],
            (3, 16, "float16"): [out.last_hidden_state[0] for out in clip],
            (2, 12, "float32"): [out.pooler_output[0].flatten() for out in resnet],
        }
        assert stored.keys() == wanted.keys()
        for key, truth in wanted.items():
            assert np.allclose(stored[key], torch.stack(truth), rtol=2e-3, atol=1e-3), key

    def test_a_new_picture_is_captioned_as_in_evaluation(self, here):
        run = here.runs["clip_transformer"]
        assert described(here, "clip_transformer") == run.predictions["candidate"].tolist()


class TestFineTuned:
    TRUNK = "encoder.trunk.backbone.model."

    def test_the_vision_tower_is_in_the_weights_and_has_changed(self, world, backbones):
        run = world.runs[FINE_TUNED]
        assert run.provenance["input_shape"] == [3, 32, 32]
        tensors = load_file(run.folder / "model.safetensors")
        own = {k.removeprefix(self.TRUNK): v for k, v in tensors.items() if self.TRUNK in k}
        before = {
            name.removeprefix("vision_model."): value
            for name, value in load_file(backbones["clip"] / "model.safetensors").items()
            if name.startswith("vision_model.") and "position_ids" not in name
        }
        assert own.keys() == before.keys()
        matrices = [name for name, value in before.items() if value.ndim > 1]
        assert len(matrices) == 2 + 6  # patches, positions; four of attention, two dense
        for name in matrices:
            change = (own[name] - before[name]).abs().max()
            assert 0 < change < 0.0005 * 2 * 4 * 1.5, name  # AdamW's steps are about the rate

    def test_it_is_loaded_without_the_published_weights(self, here, backbones, tmp_path):
        weights = backbones["clip"] / "model.safetensors"
        weights.rename(tmp_path / "away")
        try:
            captions = described(here, FINE_TUNED)
        finally:
            (tmp_path / "away").rename(weights)
        assert captions == here.runs[FINE_TUNED].predictions["candidate"].tolist()


@pytest.mark.parametrize(
    ("system", "place"),
    [
        ("resnet_lstm", "fetch https://download.pytorch.org/models/resnet50-"),
        ("clip_transformer", "`hf download openai/clip-vit-base-patch32 --local-dir "),
    ],
)
def test_missing_weights_are_told(few, monkeypatch, no_network, system, place):
    monkeypatch.setenv("TORCH_HOME", str(few / "torch"))
    monkeypatch.setenv("HF_HUB_CACHE", str(few / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with no_network() as reached:
        message = refused(evaluation.evaluate, load_parameters("captioning", "flickr8k", system))
    assert place in message
    assert reached or "hf" in place  # it was tried
