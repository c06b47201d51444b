"""Tiny published models and an album to encode: `pytest_plugins = ["encoders"]`."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import nn


@pytest.fixture
def places(sandbox, monkeypatch) -> Path:
    """A folder of one's own for weights and caches, and one thread."""
    monkeypatch.setenv("TORCH_HOME", str(sandbox / "torch"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield sandbox
    torch.set_num_threads(threads)


@pytest.fixture
def album(tmp_path) -> list[Path]:
    folder = tmp_path / "album"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(7):
        pixels = rng.integers(0, 256, (40 + k, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> Path:
    """Tiny random models in the layout of save_pretrained."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1])
    convnext = transformers.ConvNextForImageClassification(config)
    # the initial layer scale of 1e-6 would hide every block's output from the comparison
    for name, parameter in convnext.named_parameters():
        if "layer_scale" in name:
            nn.init.normal_(parameter)
    sizes = {"hidden_size": 16, "intermediate_size": 32}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2}
    patches, square = {"image_size": 32, "patch_size": 8}, {"height": 32, "width": 32}
    words = {"vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
    clip = transformers.CLIPConfig(
        vision_config=sizes | patches, text_config=sizes | words, projection_dim=8
    )
    vit = transformers.ViTConfig(**sizes, **patches)
    models = {
        "convnext": (convnext, transformers.ConvNextImageProcessor(size={"shortest_edge": 64})),
        "clip": (
            transformers.CLIPModel(clip),
            transformers.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=square),
        ),
        "vit": (
            transformers.ViTForImageClassification(vit),
            transformers.ViTImageProcessor(size=square),
        ),
    }
    for name, parts in models.items():
        for part in parts:
            part.save_pretrained(folder / name)
    return folder


@pytest.fixture
def convnext(weights, tmp_path) -> Path:
    return shutil.copytree(weights / "convnext", tmp_path / "convnext")
