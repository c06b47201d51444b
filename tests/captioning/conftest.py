"""Small worlds of captioned images with known truth."""

import socket
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image

import changing
import noted
from spoken import Spoken
from studies import paths
from studies.captioning import evaluate
from studies.captioning.evaluate import IDS
from studies.captioning.metrics import METRICS
from studies.captioning.model import Describer, build
from studies.captioning.params import Parameters
from studies.captioning.tokens import Words
from studies.runs.files import to_json
from studies.runs.folder import load_run

COLOURS = {"red": (220, 40, 40), "green": (40, 180, 60), "blue": (50, 60, 220), "grey": (128,) * 3}
SQUARES = {
    f"{k:02}.jpg": [
        f"A {colour} square .",
        f"A square of plain {colour} .",
        f"There is a {colour} square .",
        f"Somebody painted a wall {colour} .",
        f"It is all {colour} .",
    ]
    for k, colour in enumerate([*COLOURS] * 5)
}
LISTS = {"train": "trainImages", "validation": "devImages", "test": "testImages"}


@pytest.fixture(scope="session")
def real_flickr8k() -> Path:
    """Flickr8k's own folder; without it the test is skipped."""
    for base in (paths.data(), paths.REPOSITORY.parent / "shared" / "data"):
        if (base / "flickr8k" / "Flickr8k_text" / "ExpertAnnotations.txt").is_file():
            return base / "flickr8k"
    pytest.skip("no flickr8k below STUDIES_DATA or ../shared")


@pytest.fixture(scope="session")
def flickr8k_folder():
    """Return a function that writes Flickr8k's published layout with given images and captions.

    By default the images are 20 squares in four colours, every fifth of them in test and the one
    before it in validation. Each image is a noisy square of the colour that is its turn. `text` is
    the folder of the texts, from the top.
    """

    def write(
        folder: Path,
        captions: dict[str, list[str]] = SQUARES,
        parts: dict[str, list[str]] | None = None,
        text: str = "Flickr8k_text",
        side: int = 20,
    ) -> Path:
        names = list(captions)
        others = {"validation": names[3::5], "test": names[4::5]}
        held = {name for part in others.values() for name in part}
        parts = parts or {"train": [name for name in names if name not in held], **others}
        for place in (folder / "Flicker8k_Dataset", folder / text):
            place.mkdir(parents=True, exist_ok=True)
        for k, name in enumerate(names):
            rng, colour = np.random.default_rng(k), list(COLOURS.values())[k % len(COLOURS)]
            pixels = (colour + rng.normal(0, 12, (side, side, 3))).clip(0, 255)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / "Flicker8k_Dataset" / name)
        lines = [
            f"{name}#{which}\t{caption}\n"
            for name, own in captions.items()
            for which, caption in enumerate(own)
        ]
        (folder / text / "Flickr8k.token.txt").write_text("".join(lines), "utf-8", newline="")
        for part, name in LISTS.items():
            listed = "".join(f"{image}\n" for image in parts[part])
            (folder / text / f"Flickr_8k.{name}.txt").write_text(listed)
        return folder

    return write


@pytest.fixture(scope="session")
def squares():
    """Return a function that gives the parameters of a system of `tiny`, on the squares.

    `encoder` says what is other in its encoder.
    """

    def make(system: str = "resnet_lstm", encoder: dict | None = None, **changes) -> Parameters:
        values = changing.values_of("captioning", "tiny", system)
        if encoder:
            values["network"]["encoder"] |= encoder
        source = {"name": "flickr8k", "splits": "official"}
        smaller = {"dataset": "squares", "source": source, "min_count": 1, "images": 5, "epochs": 3}
        return Parameters.check(values | smaller | changes, {"": "test"})

    return make


@pytest.fixture(scope="session")
def plates():
    """Return a function that gives the parameters of a system of `tiny`, on a few drawn plates.

    A model that `tiny` lacks is another `resnet_transformer`. `trunk` is what an encoder begins
    with, by default the system's own; a published backbone is `{"name": "backbone", …}`.
    """

    def make(system: str = "resnet_lstm", trunk: dict | None = None, **changes) -> Parameters:
        model, _, variant = system.partition("@")
        try:
            values = changing.values_of("captioning", "tiny", model)
        except KeyError:
            values = changing.values_of("captioning", "tiny", "resnet_transformer")
        if trunk and values["network"]:
            values["network"]["encoder"]["source"] = trunk
        smaller = {
            **{"dataset": "plates", "model": model, "variant": variant, "test_share": 0.5},
            "source": {"name": "kitchen", "per_variant": 1, "seed": 0},
        }
        return Parameters.check(values | smaller | changes, {"": "test"})

    return make


@pytest.fixture
def unscored(monkeypatch):
    """Scores without Java, all of them 1; what was to be scored is kept."""
    calls = []

    def ones(candidates, references):
        calls.append((candidates, references))
        frame = pd.DataFrame(1.0, pd.Index(list(candidates), name="id"), METRICS)
        return frame.assign(
            bleu_counts=[[1] * 10] * len(frame), meteor_counts=[[1] * 23] * len(frame)
        )

    monkeypatch.setattr(evaluate, "scored", ones)
    return calls


@pytest.fixture
def few(sandbox, flickr8k_folder) -> Path:
    """A sandbox with the squares."""
    flickr8k_folder(sandbox / "data" / "flickr8k")
    return sandbox


@pytest.fixture(scope="session")
def backbones(tmp_path_factory) -> dict[str, Path]:
    """Folders of a ResNet and a CLIP as published, but tiny and random."""
    import transformers

    folder = tmp_path_factory.mktemp("backbones")
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 8, 12], "depths": [1, 1, 1, 1]}
    resnet = transformers.ResNetModel(transformers.ResNetConfig(layer_type="basic", **sizes))
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    tower |= {"num_attention_heads": 2, "projection_dim": 8}
    config = transformers.CLIPConfig(
        vision_config=tower | {"image_size": 32, "patch_size": 8},
        text_config=tower | {"vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2},
    )
    crop = {"height": 32, "width": 32}
    parts = {
        "resnet": (resnet, transformers.ConvNextImageProcessor(size={"shortest_edge": 64})),
        "clip": (
            transformers.CLIPModel(config),
            transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop),
        ),
    }
    for name, (model, processor) in parts.items():
        model.save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
    return {name: folder / name for name in parts}


@pytest.fixture(scope="session")
def no_network():
    """Return a context that refuses and collects every attempt to reach another machine."""

    @contextmanager
    def refusing():
        reached = []

        def refuse(*given, **_):
            reached.append(given)
            raise OSError("no network here")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "getaddrinfo", refuse)
            patch.setattr(socket.socket, "connect", refuse)
            yield reached

    return refusing


@pytest.fixture(scope="session")
def write_run(plates):
    """Return a function that writes an evaluated run by hand, from captions alone.

    `said` are the captions of the test images, `references` what people said of them, and `ids`
    their files, by default of no picture. Its weights are an empty file: see `weigh`.
    """

    def write(
        root: Path,
        system: str,
        seed: int,
        said: list[str],
        references: list[list[str]],
        dataset: str = "made_up",
        ids: list[str] | None = None,
        steps: int = 20,
        facts: dict | None = None,
        **changes,
    ) -> Path:
        settings = plates(system, dataset=dataset, seed=seed, **changes)
        folder = root / "runs" / dataset / "captioning" / system / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "params.yaml").write_text(yaml.safe_dump(settings.resolved()))
        spoken = Spoken(said, references)
        frame = spoken.by_image.copy()
        frame.insert(0, "id", ids or [f"{k:03}.jpg" for k in range(len(said))])
        frame.insert(1, "cluster", range(len(said)))
        frame.insert(2, "candidate", said)
        frame["bleu_counts"] = spoken.bleu_counts
        frame["meteor_counts"] = [[float(one) for one in row] for row in spoken.meteor_counts]
        frame.to_parquet(folder / "predictions.parquet")
        metrics = dict(zip(IDS.values(), spoken.corpus().values(), strict=True))
        (folder / "metrics.json").write_text(to_json(metrics | {"n": len(said), "distinct": 1}))
        part = {"part": "test", "images": len(said), "captions": 99, "words a caption": "7.5"}
        (folder / "items.json").write_text(to_json({"parts": [part]}))
        known = noted.RUN | {"images": {"train": 10, "validation": 2, "test": len(said)}}
        if settings.trained:
            shape = [3, settings.image_size, settings.image_size]
            (folder / "model.safetensors").touch()
            known |= {**noted.TRAINING, "words": 99, "input_shape": shape}
            rows = [f"{n},{n // 10},0.001,{4 / n},{1 + 1 / n}" for n in range(1, steps + 1)]
            header = "step,epoch,learning_rate,batch_loss,gradient_norm"
            (folder / "steps.csv").write_text("\n".join([header, *rows, ""]))
            (folder / "curves.csv").write_text(
                "epoch,step,learning_rate,train_loss,validation_loss\n"
                "1,10,0.001,2.5,1.9\n2,20,0.001,1.8,1.5\n"
            )
        (folder / "provenance.json").write_text(to_json(known | (facts or {})))
        return folder

    return write


@pytest.fixture(scope="session")
def weigh():
    """Return a function that gives a run written by hand a network of random weights."""

    def give(folder: Path) -> Path:
        run = load_run(folder)
        settings = run.parameters
        words = Words.learn(run.predictions["candidate"], 1)
        torch.manual_seed(0)
        network = build(settings, len(words), tuple(run.provenance["input_shape"]))
        Describer(network, words, settings).save(folder / "model.safetensors")
        return folder

    return give
