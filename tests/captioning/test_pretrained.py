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

from studies.captioning import evaluate as evaluation
from studies.captioning.metrics import METRICS, Scores
from studies.captioning.model import build
from studies.captioning.params import Parameters
from studies.runs.folder import load_run
from studies.runs.params import read_yaml, run_files

FINE_TUNED = "clip_transformer@fine_tuned"
TRAINED = ["resnet_lstm", "resnet_transformer", "clip_transformer", FINE_TUNED]
NEAREST = "nearest_neighbour"
PUBLISHED = {"torchvision/resnet50": "resnet", "openai/clip-vit-base-patch32": "clip"}
COLOURS = ("red", "green", "blue", "grey")  # those of the folder's pictures, in turn
CAPTIONS = {
    f"{k:02}.jpg": [
        f"Picture {k} is {colour} .",
        f"A {colour} square .",
        f"A square of plain {colour} .",
        f"Somebody painted a wall {colour} .",
        f"It is all {colour} .",
    ]
    for k, colour in enumerate([*COLOURS] * 8)
    if k < 30
}
NAMES = list(CAPTIONS)
PARTS = {"train": NAMES[:20], "validation": NAMES[20:24], "test": NAMES[24:]}


def reduced(system: str, folders: dict[str, Path], **changes) -> Parameters:
    """The shipped parameters of a system, its sizes reduced and its weights in a folder."""
    values = {}
    for file in run_files("captioning", "flickr8k")[system]:
        values |= read_yaml(file)
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
    smaller = {"image_size": 32, "images": 5, "epochs": 2, "min_count": 1, "learning_rate": 0.003}
    values |= {"seed": 0, "threads": 1, "precision": "32-true"} | smaller | changes
    return Parameters.check(values, {"": "test"})


@pytest.fixture(scope="module")
def world(tmp_path_factory, flickr8k_folder, backbones, no_network):
    """Every system with weights trained and evaluated, without a network.

    Only one run is scored by Java, which takes seconds to start.
    """
    from studies.captioning.train import train

    folder = tmp_path_factory.mktemp("pretrained")
    flickr8k_folder(folder / "data" / "flickr8k", CAPTIONS, PARTS, side=40)
    runs = {}

    def zero(said: dict[str, str], _) -> Scores:
        table = pd.DataFrame(0.0, pd.Index(said, name="id"), METRICS)
        return Scores(table, np.zeros((len(said), 10)), np.zeros((len(said), 23)))

    with pytest.MonkeyPatch.context() as patch, no_network() as reached:
        patch.setenv("STUDIES_ROOT", str(folder / "root"))
        patch.setenv("STUDIES_DATA", str(folder / "data"))
        for system in [*TRAINED, NEAREST]:
            parameters = reduced(system, backbones, backbone_learning_rate=0.0005)
            with pytest.MonkeyPatch.context() as quick:
                if system != FINE_TUNED:
                    quick.setattr(evaluation, "scored", zero)
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
    found = {}
    for name, kind in kinds.items():
        model = kind.from_pretrained(backbones[name]).eval()
        processor = transformers.AutoImageProcessor.from_pretrained(backbones[name])
        with torch.no_grad():
            found[name] = [
                model(**processor(images=Image.open(file), return_tensors="pt"))
                for file in sorted((world.folder / "data/flickr8k/Flicker8k_Dataset").iterdir())
            ]
    return found


class TestRuns:
    def test_nothing_touched_the_network(self, world):
        assert world.reached == []

    @pytest.mark.parametrize("system", [*TRAINED, NEAREST])
    def test_the_test_split_is_captioned(self, world, system):
        run = world.runs[system]
        frame = run.predictions
        assert frame["id"].tolist() == PARTS["test"]
        assert [list(own) for own in frame["references"]] == [CAPTIONS[n] for n in PARTS["test"]]
        assert frame["candidate"].str.split().map(len).between(1, 24).all()
        assert run.metrics["n"] == len(PARTS["test"])
        facts = run.provenance["images"]
        assert facts == {part: len(names) for part, names in PARTS.items()}

    def test_java_scored_the_fine_tuned_one(self, world):
        run = world.runs[FINE_TUNED]
        assert run.metrics["rouge_l"] == pytest.approx(run.predictions["ROUGE-L"].mean())
        words = {word for own in CAPTIONS.values() for text in own for word in text.lower().split()}
        assert {w for said in run.predictions["candidate"] for w in said.split()} <= words
        # every candidate shares "a", "is" or a colour with what was said
        assert 0 < run.metrics["rouge_l"] <= 1
        assert 0 < run.metrics["bleu1"] <= 1

    @pytest.mark.parametrize("system", TRAINED)
    def test_the_curves_show_the_rate_of_the_new_parts(self, world, system):
        steps = pd.read_csv(world.runs[system].folder / "steps.csv")
        assert len(steps) == 2 * len(PARTS["train"]) // 5
        assert steps["learning_rate"].max() == 0.003


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

    @pytest.mark.parametrize("system", TRAINED[:3])
    def test_the_backbone_is_not_in_the_weights(self, world, system):
        run = world.runs[system]
        tensors = load_file(run.folder / "model.safetensors")
        assert {name.split(".")[0] for name in tensors} == {"encoder", "decoder"}
        inside = {name.split(".")[1] for name in tensors if name.startswith("encoder.")}
        assert inside == {"projection", "layers"}
        features = 16 if system == "clip_transformer" else 12
        assert tensors["encoder.projection.weight"].numel() == features * 16
        kept_here = sum(tensor.numel() for tensor in tensors.values())
        assert run.provenance["parameters_trained"] == kept_here

    def test_a_new_picture_is_captioned_as_in_evaluation(self, here):
        run = here.runs["clip_transformer"]
        root = here.folder / "data/flickr8k/Flicker8k_Dataset"
        said = run.model().describe([root / name for name in run.predictions["id"]])
        assert said == run.predictions["candidate"].tolist()

    def test_the_nearest_picture_is_that_of_the_largest_cosine(self, world, by_transformers):
        points = [out.pooler_output[0].flatten() for out in by_transformers["resnet"]]
        wanted = []
        for name in PARTS["test"]:
            nearest, best = "", -2.0
            for known in PARTS["train"]:
                one, other = points[NAMES.index(name)], points[NAMES.index(known)]
                cosine = float(one @ other / (one.norm() * other.norm()))
                if cosine > best:
                    nearest, best = known, cosine
            wanted.append(CAPTIONS[nearest][0])
        assert world.runs[NEAREST].predictions["candidate"].tolist() == wanted


class TestFineTuned:
    TRUNK = "encoder.trunk.backbone.model."

    def test_the_vision_tower_is_in_the_weights_and_has_changed(self, world, backbones):
        run = world.runs[FINE_TUNED]
        assert run.provenance["input_shape"] == [3, 32, 32]
        tensors = load_file(run.folder / "model.safetensors")
        own = {k.removeprefix(self.TRUNK): v for k, v in tensors.items() if self.TRUNK in k}
        before = load_file(backbones["clip"] / "model.safetensors")
        before = {
            name.removeprefix("vision_model."): value
            for name, value in before.items()
            if name.startswith("vision_model.") and "position_ids" not in name
        }
        assert own.keys() == before.keys()
        matrices = [name for name, value in before.items() if value.ndim > 1]
        assert len(matrices) == 2 + 6  # patches, positions; four of attention, two dense
        for name in matrices:
            change = (own[name] - before[name]).abs().max()
            assert 0 < change < 0.0005 * 2 * 4 * 1.5, name  # AdamW's steps are about the rate

    def test_it_is_loaded_without_the_published_weights(self, here, backbones, tmp_path):
        run, weights = here.runs[FINE_TUNED], backbones["clip"] / "model.safetensors"
        weights.rename(tmp_path / "away")
        try:
            model = run.model()
        finally:
            (tmp_path / "away").rename(weights)
        root = here.folder / "data/flickr8k/Flicker8k_Dataset"
        said = model.describe([root / name for name in run.predictions["id"]])
        assert said == run.predictions["candidate"].tolist()

    def test_a_pooler_that_was_never_published_is_not_missed(self, backbones, tmp_path):
        """A classifier is saved without one; transformers makes one up for random weights."""
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
        config = transformers.ViTConfig(image_size=32, patch_size=8, num_attention_heads=2, **sizes)
        transformers.ViTForImageClassification(config).save_pretrained(tmp_path)
        processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
        processor.save_pretrained(tmp_path)
        parameters = reduced(FINE_TUNED, dict.fromkeys(backbones, tmp_path))
        known = build(parameters, 11, (3, 32, 32))
        blank = build(parameters, 11, (3, 32, 32), pretrained=False)
        blank.load_state_dict(known.state_dict())
        pixels = torch.rand(2, 3, 32, 32)
        assert torch.equal(blank.eval().encoder(pixels), known.eval().encoder(pixels))
