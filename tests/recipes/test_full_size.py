"""The paper's systems as shipped: their networks at full size, and a whole study without a network.

Published weights are random ones here, as they would have to be fetched; names, files and counts
are theirs.
"""

import socket
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tokenizers
import torch
import torchvision
import transformers
from safetensors.torch import load_file
from torchvision.models import DenseNet

from studies.recipes import evaluate as evaluation
from studies.recipes.model import DenseTrunk, build
from studies.recipes.params import Parameters
from studies.runs.folder import load_run
from studies.runs.params import read_yaml, run_files

FINE_TUNED = ["food101", "recipes5k", "uecfood256"]
DATASETS = [*FINE_TUNED, "food101_scratch"]
TRUNKS = {"two_networks": 2, "shared_backbone": 1}
DISHES = {"food101": 101, "recipes5k": 101, "uecfood256": 256, "food101_scratch": 101}
DENSENET121 = 6_953_856  # parameters without the classifier
INGREDIENTS = 33


def shipped(dataset: str, system: str, *overrides: str) -> Parameters:
    return Parameters.from_files(run_files("recipes", dataset)[system], ["seed=0", *overrides])


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("system", TRUNKS)
def test_shipped_networks_are_densenet121_with_two_heads(dataset, system):
    parameters = shipped(dataset, system)
    sizes = DISHES[dataset], INGREDIENTS
    network = build(parameters.network, *sizes, None, pretrained=False)
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trained == TRUNKS[system] * DENSENET121 + 1025 * sum(sizes)
    if dataset == "food101_scratch":
        assert [type(trunk) for trunk in network.trunks] == [DenseTrunk] * TRUNKS[system]
        # the map of the shipped picture size has places enough to take means over
        with torch.no_grad():
            side = parameters.image_size
            maps = network.trunks[0].features(torch.zeros(2, 3, side, side))
        assert maps.shape == (2, 1024, 2, 2)
    else:
        names = [trunk.backbone.name for trunk in network.trunks]
        assert names == ["torchvision/densenet121"] * TRUNKS[system]
        # published weights are fine-tuned at a low rate
        assert 0 < parameters.backbone_learning_rate <= parameters.learning_rate / 10


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


def language_model(folder: Path) -> Path:
    """A tiny random one, which reads and writes bytes."""
    torch.manual_seed(0)
    words = tokenizers.ByteLevelBPETokenizer()
    words.train_from_iterator([], vocab_size=257, special_tokens=["<end>"])
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, eos_token="<end>"
    ).save_pretrained(folder)
    sizes = {"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 1024}
    config = transformers.GPT2Config(vocab_size=257, eos_token_id=0, bos_token_id=0, **sizes)
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def write_data(data: Path, layouts: dict) -> None:
    layouts["food101"](data / "food101" / "food-101", FOODS)
    layouts["ingredients101"](data / "ingredients101")
    layouts["recipes5k"](data / "recipes5k")
    layouts["uecfood256"](data / "uecfood256" / "UECFOOD256", BOXES, {1: "rice", 2: "eels on rice"})
    table = "dish,ingredients\nrice,rice;sesame\neels on rice,rice;eel\n"
    (data / "uecfood256" / "ingredients.csv").write_text(table)


@pytest.fixture(scope="module")
def world(
    tmp_path_factory,
    food101_folder,
    ingredients101_folder,
    recipes5k_folder,
    uecfood256_folder,
):
    """On each dataset a naive and a supervised prompt, evaluated with all that they build on."""
    folder = tmp_path_factory.mktemp("full_size")
    layouts = {"food101": food101_folder, "ingredients101": ingredients101_folder}
    layouts |= {"recipes5k": recipes5k_folder, "uecfood256": uecfood256_folder}
    write_data(folder / "data", layouts)
    model = language_model(folder / "data" / "weights" / "tiny" / "writer")
    reached, runs = [], {}

    def refuse(*given, **_):
        reached.append(given)
        raise OSError("no network here")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_ROOT", str(folder / "root"))
        patch.setenv("STUDIES_DATA", str(folder / "data"))
        patch.setenv("TORCH_HOME", str(folder / "torch"))
        patch.setattr(torchvision.models.densenet, "_densenet", densenet)
        patch.setattr(socket, "getaddrinfo", refuse)
        patch.setattr(socket.socket, "connect", refuse)
        torch.manual_seed(0)
        published = torchvision.models.densenet121().state_dict()
        url = torchvision.models.get_model_weights("densenet121").DEFAULT.url
        checkpoint = folder / "torch" / "hub" / "checkpoints" / Path(url).name
        checkpoint.parent.mkdir(parents=True)
        torch.save(published, checkpoint)
        for dataset in FINE_TUNED:
            writing = shipped(dataset, "naive").writing.model_dump()
            writing |= {"plates": 2, "max_tokens": 6}
            writing["generator"]["model"] = str(model.relative_to(folder / "data" / "weights"))
            given = f"writing={writing!r}".replace("None", "null")
            smaller = ("image_size=32", "epochs=1", "threads=1", "precision=32-true", given)
            for system in ("naive", "supervised"):
                parameters = shipped(dataset, system, *smaller)
                runs[dataset, system] = load_run(evaluation.evaluate(parameters))
            for system in TRUNKS:
                sister = parameters.sister(system)
                runs[dataset, system] = load_run(sister.folder())
    return SimpleNamespace(folder=folder, runs=runs, reached=reached, published=published)


@pytest.mark.parametrize("dataset", FINE_TUNED)
class TestStudy:
    def test_both_networks_were_trained_and_scored(self, world, dataset):
        counts = {"food101": (10, 2, 2), "recipes5k": (2, 1, 2), "uecfood256": (8, 2, 2)}[dataset]
        for system in TRUNKS:
            run = world.runs[dataset, system]
            assert run.provenance["images"] == dict(
                zip(("train", "validation", "test"), counts, strict=True)
            )
            assert len(run.curves) == 1
            assert run.metrics["n"] == len(run.predictions) == counts[-1]
            assert 0 <= run.metrics["dish_top1"] <= run.metrics["dish_top5"] == 1
            assert {"ingredient_micro_f1", "ingredient_map", "jaccard"} <= run.metrics.keys()

    def test_they_began_with_the_published_weights(self, world, dataset):
        for system, trunks in TRUNKS.items():
            run = world.runs[dataset, system]
            tensors = load_file(run.folder / "model.safetensors")
            rate = run.params["backbone_learning_rate"]
            for place in range(trunks):
                for name, value in world.published.items():
                    if name.startswith("classifier") or "running" in name or "tracked" in name:
                        continue
                    own = tensors[f"trunks.{place}.backbone.model.{name}"]
                    # AdamW's one step is about the rate, and decay is less
                    assert (own - value).abs().max() <= 1.2 * rate, name
            heads = {name for name in tensors if not name.startswith("trunks.")}
            assert heads == {"dish.weight", "dish.bias", "ingredients.weight", "ingredients.bias"}

    def test_recipes_were_written_by_what_the_better_network_saw(self, world, dataset):
        scores = {system: world.runs[dataset, system].provenance["best_score"] for system in TRUNKS}
        naive, supervised = (world.runs[dataset, system] for system in ("naive", "supervised"))
        for run in (naive, supervised):
            eyes = run.provenance["perception"]
            assert scores[eyes] == max(scores.values())
            assert run.metrics["n"] == 2
            assert all(len(written) == 2 for written in run.predictions["recipes"])
            assert 0 <= run.metrics["grounding_recall"] <= 1
        assert naive.predictions["id"].tolist() == supervised.predictions["id"].tolist()
        for short, long in zip(
            naive.predictions["prompt"], supervised.predictions["prompt"], strict=True
        ):
            (told,) = set(long.splitlines()) - set(short.splitlines())
            assert told.startswith("Visible ingredients: ")

    def test_ingredients_are_those_of_the_source(self, world, dataset):
        run = world.runs[dataset, "two_networks"]
        names = read_yaml(run.folder / evaluation.NAMES)["ingredients"]
        wanted = {
            "food101": {"flour", "apple", "sugar", "butter", "miso", "tofu", "spring onion"},
            "uecfood256": {"rice", "sesame", "eel"},
        }
        if dataset in wanted:
            assert set(names) == wanted[dataset]
        else:
            assert {"romaine lettuce", "cinnamon", "kale"} <= set(names)
        shapes = np.stack(run.predictions["present"]).shape
        assert shapes == (len(run.predictions), len(names))


def test_nothing_touched_the_network(world):
    assert world.reached == []
