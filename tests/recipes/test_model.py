"""CNN-1 and CNN-2 as their parameters say, what they decide, and their file."""

import copy
import json
import math
import shutil

import numpy as np
import pytest
import torch
import torchvision
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file

from sentences import refused
from studies.recipes import model
from studies.recipes.model import (
    NEIGHBOURS,
    AttentionPooling,
    Decision,
    DenseTrunk,
    Logits,
    Recogniser,
    build,
)
from studies.runs.folder import load_run

SIZE = 16
DISHES = ["green", "red", "yellow"]
INGREDIENTS = ["egg", "nori", "rice", "crème fraîche"]
DECISION = Decision(0.7, 1.3, [0.1 + 0.2, 0.5, 1 / 3, 0.45])


def count(module):
    return sum(p.numel() for p in module.parameters())


class TestDenseTrunk:
    SIZES = (32, (6, 12, 24, 16), 64)

    def test_densenet121_is_torchvisions_and_has_the_parameters_of_the_paper(self):
        torch.manual_seed(0)
        whole = torchvision.models.densenet121(weights=None).eval()
        with torch.no_grad():  # norms that do something
            for name, one in whole.named_buffers():
                if name.endswith("running_mean"):
                    one.uniform_(-0.1, 0.1)
        trunk = DenseTrunk(*self.SIZES).eval()
        trunk.features.load_state_dict(whole.features.state_dict())
        whole = copy.deepcopy(whole)
        whole.classifier = torch.nn.Identity()
        pixels = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            features, wanted = trunk(pixels), whole(pixels - 0.5)
        assert features.shape == (2, 1024)
        assert torch.allclose(features, wanted, atol=1e-5)
        assert features.std() > 0.01
        assert count(trunk) == count(whole) == 6_953_856


class TestBuild:
    @pytest.mark.parametrize(("system", "trunks"), [("shared_backbone", 1), ("two_networks", 2)])
    def test_each_head_reads_its_own_trunk(self, tiles, system, trunks):
        network = build(tiles(system).network, 5, 7, None).eval()
        body = DenseTrunk(4, (1, 1), 8)
        assert count(network) == trunks * count(body) + (body.out_features + 1) * 12
        inputs = torch.rand(2, 3, SIZE, SIZE)
        with torch.no_grad():
            before = network(inputs)
            assert (before.dishes.shape, before.ingredients.shape) == ((2, 5), (2, 7))
            for one in network.trunks[-1].parameters():
                one.add_(0.1)
            after = network(inputs)
        assert not torch.equal(before.ingredients, after.ingredients)
        assert torch.equal(before.dishes, after.dishes) == (system == "two_networks")

    @pytest.mark.parametrize(("system", "trunks"), [("shared_backbone", 1), ("two_networks", 2)])
    def test_a_published_model_that_is_trained(self, tiles, vit, system, trunks):
        import transformers

        backbone = {"name": "backbone", "weights": str(vit), "trained": True}
        chosen = tiles(system, network={"trunk": backbone}).network
        network = build(chosen, 5, 7, None).eval()
        own = transformers.ViTModel.from_pretrained(vit, add_pooling_layer=False).eval()
        published = own.state_dict()
        picture = Image.fromarray(pixels(1)[0].transpose(1, 2, 0))
        processor = transformers.ViTImageProcessor.from_pretrained(vit)
        with torch.no_grad():
            wanted = own(**processor(picture, return_tensors="pt")).last_hidden_state[:, 0]
        assert len(network.trunks) == trunks
        for trunk in network.trunks:
            state = trunk.backbone.model.state_dict()
            assert all(torch.equal(v, published[k]) for k, v in state.items())
            with torch.no_grad():  # it sees pixels as its processor does
                assert torch.allclose(trunk(torch.from_numpy(pixels(1)) / 255), wanted, atol=1e-4)
        blank = build(chosen, 5, 7, None, pretrained=False).trunks[0].backbone.model.state_dict()
        assert not all(torch.equal(v, published[k]) for k, v in blank.items())


FEATURES = 10
FROZEN = {"name": "backbone", "weights": "package/efficientnet_lite0", "trained": False}
ON_FEATURES = {
    "two_networks": {},
    "attention_pooling": {"grid": 3},
    "metric_learning": {"triplet": 0.2},
}


@pytest.fixture(params=ON_FEATURES)
def on_features(request, tiles):
    """The parameters of a system on frozen features."""
    network = {"trunk": FROZEN, "hidden": 6, "dropout": 0.5, **ON_FEATURES[request.param]}
    return tiles("two_networks", network=network, augmentation=None)


def numbers(*shape):
    """Made-up features."""
    return np.random.default_rng(0).normal(size=(*shape, FEATURES)).astype(np.float32)


class TestFrozen:
    def test_attention_is_a_softmax_that_begins_as_the_mean_and_knows_no_order(self):
        pool, places = AttentionPooling(4), torch.randn(3, 9, 4)
        assert torch.allclose(pool(places), places.mean(1), atol=1e-6)
        with torch.no_grad():
            pool.query.normal_()
            pooled = pool(places)
            assert torch.allclose(pool(places[:, torch.randperm(9)]), pooled, atol=1e-6)
            for row, one in zip(pooled, places, strict=True):
                odds = [math.exp(place @ pool.query / 2) for place in one]
                wanted = sum(o * place for o, place in zip(odds, one, strict=True)) / sum(odds)
                assert torch.allclose(row, wanted, atol=1e-5)

    def test_the_nearest_training_plates_say_what_is_there(self, tiles):
        network = {"trunk": FROZEN, "hidden": 6, "triplet": 0.2}
        chosen = tiles("two_networks", network=network, augmentation=None)
        rng, count = np.random.default_rng(1), 40
        network = build(chosen.network, 3, 4, FEATURES, plates=count).eval()
        known, inputs = numbers(count), numbers(8)[::-1].copy() + 0.1
        dish, present = rng.integers(0, 3, count), rng.random((count, 4)) < 0.4
        network.remember(known, dish, present)
        with torch.no_grad():
            embed = [network.embedding(torch.from_numpy(one)).numpy() for one in (known, inputs)]
            said = network(torch.from_numpy(inputs))
        assert np.linalg.norm(embed[0], axis=1) == pytest.approx(np.ones(count), rel=1e-5)
        for row, own in enumerate(embed[1]):
            far = np.linalg.norm(embed[0] - own, axis=1)
            near = np.argsort(far)[:NEIGHBOURS]
            share = np.exp(-far[near]) / np.exp(-far[near]).sum()
            votes = np.array([share[dish[near] == c].sum() for c in range(3)])
            there = (share[:, None] * present[near]).sum(0)
            assert said.dishes[row].exp().numpy() == pytest.approx(votes, abs=1e-3)
            assert said.ingredients[row].sigmoid().numpy() == pytest.approx(there, abs=1e-3)

    def test_to_the_bit_and_back(self, on_features, sandbox):
        one = opinionated(on_features, FEATURES)
        if on_features.network.triplet:
            one.network.remember(numbers(12), np.arange(12) % 2, np.eye(12, 4) > 0)
        again = load_run(written(one, sandbox / "run")).model()
        inputs = numbers(6, 9) if on_features.network.grid else numbers(6)
        for first, second in zip(one.see(inputs), again.see(inputs), strict=True):
            assert (first == second).all()


def pixels(number, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (number, 3, size, size), dtype=np.uint8)


def opinionated(settings, width=None):
    """A system of random weights, so large that it does not say the same of all pictures."""
    torch.manual_seed(0)
    network = build(settings.network, len(DISHES), len(INGREDIENTS), width, plates=12).eval()
    with torch.no_grad():
        for one in network.parameters():
            one *= 3 if one.ndim > 1 else 1
    return Recogniser(network, settings, DISHES, INGREDIENTS, DECISION)


@pytest.fixture(params=["shared_backbone", "two_networks"])
def recogniser(request, tiles):
    return opinionated(tiles(request.param))


class TestSee:
    DISHES = ((2.0, -1.0, 0.5), (0.0, 0.0, 3.0))
    INGREDIENTS = ((1.0, -2.0, 0.0, 0.3), (-0.5, 4.0, 0.1, -0.4))

    def seen(self, monkeypatch, tiles, decision):
        logits = Logits(torch.tensor(self.DISHES), torch.tensor(self.INGREDIENTS))
        monkeypatch.setattr(model, "look", lambda *_: logits)
        return Recogniser(None, tiles(), DISHES, INGREDIENTS, decision).see(pixels(2))

    @pytest.mark.parametrize(("dish", "ingredient"), [(0.7, 1.3), (4.0, 0.25)])
    def test_temperatures_divide_logits(self, monkeypatch, tiles, dish, ingredient):
        seen = self.seen(monkeypatch, tiles, Decision(dish, ingredient, [0.5] * 4))
        odds = np.array([[math.exp(z / dish) for z in row] for row in self.DISHES])
        assert seen.dishes == pytest.approx(odds / odds.sum(1, keepdims=True), rel=1e-5)
        wanted = [[1 / (1 + math.exp(-z / ingredient)) for z in row] for row in self.INGREDIENTS]
        assert seen.ingredients == pytest.approx(np.array(wanted), rel=1e-5)

    def test_each_ingredient_has_a_threshold_of_its_own(self, monkeypatch, tiles):
        # at temperature 2: .62 .27 .50 .54 and .44 .88 .51 .45; the threshold itself is not above
        seen = self.seen(monkeypatch, tiles, Decision(1.0, 2.0, [0.4, 0.9, 0.5, 0.5]))
        assert seen.named.tolist() == [[True, False, False, True], [True, False, True, False]]
        assert seen.named.dtype == bool


def written(recogniser, folder):
    """A run folder that holds the system."""
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(recogniser.parameters.resolved()))
    recogniser.save(folder / "model.safetensors")
    return folder


class TestRoundTrip:
    def test_to_the_bit(self, recogniser, sandbox):
        folder, inputs = written(recogniser, sandbox / "run"), pixels(6)
        again = load_run(folder).model()
        assert not again.network.training
        assert (again.dishes, again.ingredients) == (DISHES, INGREDIENTS)
        assert again.decision == DECISION
        assert again.parameters == recogniser.parameters
        state, before = again.network.state_dict(), recogniser.network.state_dict()
        assert state.keys() == before.keys()
        assert all(torch.equal(state[name], value) for name, value in before.items())
        for one, other in zip(again.see(inputs), recogniser.see(inputs), strict=True):
            assert (one == other).all()

    def test_a_fine_tuned_model_is_loaded_without_the_published_weights(
        self, tiles, vit, sandbox, tmp_path
    ):
        own = shutil.copytree(vit, tmp_path / "vit")
        trunk = {"name": "backbone", "weights": str(own), "trained": True}
        recogniser = opinionated(tiles(network={"trunk": trunk}))
        folder = written(recogniser, sandbox / "run")
        (own / "model.safetensors").unlink()
        again = load_run(folder).model()
        for one, other in zip(again.see(pixels(3)), recogniser.see(pixels(3)), strict=True):
            assert (one == other).all()


class TestDamage:
    @pytest.fixture
    def file(self, tiles, sandbox):
        return written(opinionated(tiles()), sandbox / "run") / "model.safetensors"

    def message(self, file):
        """What is said, which begins with the file and ends with what helps."""
        message = refused(load_run(file.parent).model)
        assert message.startswith(f"{file}: ")
        assert message.endswith("writes it again from its checkpoint")
        return message

    def test_no_names(self, file):
        save_file(load_file(file), file)
        assert "cannot be read (" in self.message(file)

    def test_another_decision(self, file):
        entry = {"dishes": DISHES, "ingredients": INGREDIENTS, "decision": {"temperature": 1.0}}
        save_file(load_file(file), file, {"said": json.dumps(entry)})
        assert "holds another system's weights; " in self.message(file)

    @pytest.mark.parametrize("other", ["two networks", "features", "more dishes"])
    def test_another_systems_weights(self, file, tiles, sandbox, other):
        strange = opinionated(tiles(), 10 if other == "features" else None)
        if other == "two networks":
            strange = opinionated(tiles("two_networks"))
        elif other == "more dishes":
            strange.dishes = [*DISHES, "blue"]
        strange = written(strange, sandbox / "other") / "model.safetensors"
        shutil.copy(strange, file)
        assert "holds another system's weights; " in self.message(file)
