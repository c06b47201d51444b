"""The paper's systems as shipped: a whole study without a network.

Published weights are random ones here, as they would have to be fetched; names, files and counts
are theirs.
"""

import socket
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import load_file
from torchvision.models import DenseNet

import chains
from studies.recipes.evaluate import evaluate
from studies.recipes.params import Parameters
from studies.runs.folder import load_run
from studies.runs.params import run_files

TRUNKS = {"two_networks": 2, "shared_backbone": 1}


def shipped(dataset: str, system: str, *overrides: str) -> Parameters:
    return Parameters.from_files(run_files("recipes", dataset)[system], ["seed=0", *overrides])


FOODS = {dish: ([f"{k}" for k in range(6)], ["90"]) for dish in ("apple_pie", "miso_soup")}
COLOURS = [(230, 30, 30), (40, 60, 230)]
BOXES = {
    (category, f"{10 * category + k}"): [((4, 6, 40, 40), COLOURS[category - 1])]
    for category in (1, 2)
    for k in range(6)
}


def densenet(growth, blocks, stem, weights, progress, **options):
    """A tiny stand-in for every DenseNet of torchvision; it ends in as many classes."""
    return DenseNet(4, (1, 1), 8, **options)


@pytest.fixture
def published(sandbox, monkeypatch) -> dict:
    """The weights that torchvision would fetch, where it keeps them; nothing can be fetched."""

    def refuse(*_):
        raise AssertionError("asked for the network")

    monkeypatch.setenv("TORCH_HOME", str(sandbox / "torch"))
    monkeypatch.setattr(torchvision.models.densenet, "_densenet", densenet)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    torch.manual_seed(0)
    weights = torchvision.models.densenet121().state_dict()
    url = torchvision.models.get_model_weights("densenet121").DEFAULT.url
    file = sandbox / "torch" / "hub" / "checkpoints" / Path(url).name
    file.parent.mkdir(parents=True)
    torch.save(weights, file)
    return weights


@pytest.mark.parametrize(
    ("dataset", "counts", "ingredients"),
    [
        ("food101", (10, 2, 2), {"flour", "apple", "miso", "spring onion"}),
        ("recipes5k", (2, 1, 2), {"romaine lettuce", "cinnamon", "kale"}),
        ("uecfood256", (8, 2, 2), {"rice", "sesame", "eel"}),
    ],
)
def test_a_study_from_published_files_to_recipes(
    sandbox, published, request, dataset, counts, ingredients
):
    data = sandbox / "data"
    if dataset == "food101":
        request.getfixturevalue("food101_folder")(data / "food101" / "food-101", FOODS)
        request.getfixturevalue("ingredients101_folder")(data / "ingredients101")
    elif dataset == "recipes5k":
        request.getfixturevalue("recipes5k_folder")(data / "recipes5k")
    else:
        folder, names = data / "uecfood256" / "UECFOOD256", {1: "rice", 2: "eels on rice"}
        request.getfixturevalue("uecfood256_folder")(folder, BOXES, names)
        table = "dish,ingredients\nrice,rice;sesame\neels on rice,rice;eel\n"
        (data / "uecfood256" / "ingredients.csv").write_text(table)
    chains.random(data / "weights" / "tiny" / "writer")
    writing = shipped(dataset, "naive").writing.model_dump() | {"plates": 2, "max_tokens": 6}
    writing["generator"]["model"] = "tiny/writer"
    override = f"writing={writing!r}".replace("None", "null")
    smaller = ("image_size=32", "epochs=1", "threads=1", "precision=32-true", override)
    runs = {}
    for system in ("naive", "supervised", *TRUNKS):
        runs[system] = load_run(evaluate(shipped(dataset, system, *smaller)))
    for system, trunks in TRUNKS.items():
        run = runs[system]
        assert tuple(run.provenance["images"].values()) == counts
        assert run.metrics["n"] == len(run.predictions) == counts[-1]
        assert 0 <= run.metrics["dish_top1"] <= run.metrics["dish_top5"] == 1
        assert ingredients <= set(run.items["ingredients"])
        # it began with the published weights: AdamW's one step is about the rate
        tensors = load_file(run.folder / "model.safetensors")
        rate = run.params["backbone_learning_rate"]
        for place in range(trunks):
            for name, value in published.items():
                if not name.startswith("classifier") and "running" not in name:
                    own = tensors[f"trunks.{place}.backbone.model.{name}"]
                    assert "tracked" in name or (own - value).abs().max() <= 1.2 * rate, name
    best = {system: runs[system].provenance["best_score"] for system in TRUNKS}
    for system in ("naive", "supervised"):
        run = runs[system]
        assert best[run.provenance["perception"]] == max(best.values())
        assert run.metrics["n"] == 2
        assert all(len(recipes) == 2 for recipes in run.predictions["recipes"])
    prompts = (runs[system].predictions["prompt"] for system in ("naive", "supervised"))
    for short, long in zip(*prompts, strict=True):
        (more,) = set(long.splitlines()) - set(short.splitlines())
        assert more.startswith("Visible ingredients: ")
