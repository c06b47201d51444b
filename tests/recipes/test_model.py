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
from studies.inputs import images
from studies.learning.compute import to_input
from studies.learning.networks import FineTuned
from studies.recipes import model
from studies.recipes.model import (
    Decision,
    DenseTrunk,
    Logits,
    Recogniser,
    build,
    decide,
    look,
)
from studies.runs.folder import load_run

SIZE = 16
DISHES = ["green", "red", "yellow"]
INGREDIENTS = ["egg", "nori", "rice", "crème fraîche"]
DECISION = Decision(0.7, 1.3, [0.1 + 0.2, 0.5, 1 / 3, 0.45])


def dense_net(growth, blocks, stem):
    """The parameters of a DenseNet without its classifier, layer by layer."""
    channels = stem
    total = 3 * 7 * 7 * stem + 2 * stem
    for place, layers in enumerate(blocks):
        for _ in range(layers):
            narrow = 4 * growth
            total += 2 * channels + channels * narrow  # norm, 1×1 convolution
            total += 2 * narrow + 3 * 3 * narrow * growth  # norm, 3×3 convolution
            channels += growth
        total += 2 * channels  # the norm of a transition, or the last one
        if place < len(blocks) - 1:
            total += channels * (channels // 2)
            channels //= 2
    return total, channels


def count(module):
    return sum(p.numel() for p in module.parameters())


@pytest.fixture(scope="module")
def whole():
    """Torchvision's own, with norms that do something."""
    torch.manual_seed(0)
    whole = torchvision.models.densenet121(weights=None).eval()
    with torch.no_grad():
        for name, one in whole.named_buffers():
            if name.endswith("running_mean"):
                one.uniform_(-0.1, 0.1)
    return whole


class TestDenseTrunk:
    SIZES = (32, (6, 12, 24, 16), 64)

    def test_densenet121_says_what_torchvisions_says(self, whole):
        trunk = DenseTrunk(*self.SIZES).eval()
        trunk.features.load_state_dict(whole.features.state_dict())
        whole = copy.deepcopy(whole)
        whole.classifier = torch.nn.Identity()
        pixels = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            found, wanted = trunk(pixels), whole(pixels - 0.5)
        assert found.shape == (2, 1024)
        assert torch.allclose(found, wanted, atol=1e-5)
        assert found.std() > 0.01

    def test_densenet121_has_the_parameters_of_the_paper(self, whole):
        assert dense_net(*self.SIZES) == (6_953_856, 1024)
        assert count(DenseTrunk(*self.SIZES)) == count(whole.features) == 6_953_856

    @pytest.mark.parametrize("sizes", [(4, (1, 1), 8), (6, (2, 1, 3), 10), (12, (2, 4, 4), 24)])
    def test_narrow_ones_by_formula(self, sizes):
        trunk = DenseTrunk(*sizes)
        assert (count(trunk), trunk.out_features) == dense_net(*sizes)
        assert trunk(torch.rand(2, 3, 32, 32)).shape == (2, trunk.out_features)


class TestBuild:
    @pytest.mark.parametrize(("system", "trunks"), [("shared_backbone", 1), ("two_networks", 2)])
    def test_trunks_and_heads(self, tiles, system, trunks):
        network = build(tiles(system).network, 5, 7, None)
        body, width = dense_net(4, (1, 1), 8)
        assert len(network.trunks) == trunks
        assert count(network.dish) == (width + 1) * 5
        assert count(network.ingredients) == (width + 1) * 7
        assert count(network) == trunks * body + (width + 1) * 12
        found = network(torch.rand(2, 3, SIZE, SIZE))
        assert (found.dishes.shape, found.ingredients.shape) == ((2, 5), (2, 7))

    def test_two_trunks_are_two(self, tiles):
        first, second = build(tiles("two_networks").network, 5, 7, None).trunks
        matrices = [name for name, one in first.named_parameters() if one.ndim > 1]
        others = dict(second.named_parameters())
        assert matrices
        assert not any(torch.equal(first.get_parameter(n), others[n]) for n in matrices)

    def test_each_head_reads_its_own_trunk(self, tiles):
        pixels = torch.rand(2, 3, SIZE, SIZE)
        for system in ("shared_backbone", "two_networks"):
            network = build(tiles(system).network, 5, 7, None).eval()
            with torch.no_grad():
                before = network(pixels)
                for one in network.trunks[-1].parameters():
                    one.add_(0.1)
                after = network(pixels)
            assert not torch.equal(before.ingredients, after.ingredients)
            assert torch.equal(before.dishes, after.dishes) == (system == "two_networks")

    def test_features_of_a_frozen_backbone(self, tiles):
        network = build(tiles("two_networks").network, 5, 7, 16)
        assert len(network.trunks) == 0
        assert count(network) == 17 * (5 + 7)
        features = torch.rand(2, 16)
        found = network(features)
        assert torch.equal(found.dishes, network.dish(features))
        assert torch.equal(found.ingredients, network.ingredients(features))

    @pytest.mark.parametrize(("system", "trunks"), [("shared_backbone", 1), ("two_networks", 2)])
    def test_a_published_model_that_is_trained(self, tiles, vit, system, trunks):
        import transformers

        given = {"name": "backbone", "weights": str(vit), "trained": True}
        chosen = tiles(system, network={"trunk": given}).network
        network = build(chosen, 5, 7, None).eval()
        published = transformers.ViTModel.from_pretrained(vit, add_pooling_layer=False).state_dict()
        for trunk in network.trunks:
            assert isinstance(trunk, FineTuned)
            state = trunk.backbone.model.state_dict()
            assert all(torch.equal(v, published[k]) for k, v in state.items())
            assert all(p.requires_grad for p in trunk.parameters())
        assert len(network.trunks) == trunks
        assert not {*map(id, network.trunks[0].parameters())} & {
            id(p) for trunk in network.trunks[1:] for p in trunk.parameters()
        }
        assert network(torch.rand(2, 3, SIZE, SIZE)).dishes.shape == (2, 5)
        blank = build(chosen, 5, 7, None, pretrained=False).trunks[0].backbone.model.state_dict()
        assert not all(torch.equal(v, published[k]) for k, v in blank.items())

    def test_it_sees_pixels_as_its_processor_does(self, tiles, vit):
        import transformers

        given = {"name": "backbone", "weights": str(vit), "trained": True}
        network = build(tiles(network={"trunk": given}).network, 5, 7, None).eval()
        picture = Image.fromarray(pixels(1)[0].transpose(1, 2, 0))
        processor = transformers.ViTImageProcessor.from_pretrained(vit)
        own = transformers.ViTModel.from_pretrained(vit, add_pooling_layer=False).eval()
        with torch.no_grad():
            found = network.trunks[0](torch.from_numpy(pixels(1)) / 255)
            wanted = own(**processor(picture, return_tensors="pt")).last_hidden_state[:, 0]
        assert torch.allclose(found, wanted, atol=1e-4)


def pixels(number, size=SIZE):
    return np.random.default_rng(0).integers(0, 256, (number, 3, size, size), dtype=np.uint8)


def opinionated(settings, width=None):
    """A system of random weights, so large that it does not say the same of all pictures."""
    torch.manual_seed(0)
    network = build(settings.network, len(DISHES), len(INGREDIENTS), width).eval()
    with torch.no_grad():
        for one in network.parameters():
            one *= 3 if one.ndim > 1 else 1
    return Recogniser(network, settings, DISHES, INGREDIENTS, DECISION)


@pytest.fixture(params=["shared_backbone", "two_networks"])
def recogniser(request, tiles):
    return opinionated(tiles(request.param))


class TestLook:
    def test_one_by_one_is_all_at_once(self, recogniser, monkeypatch):
        given = pixels(7)
        together = look(recogniser.network, given, "32-true")
        alone = [look(recogniser.network, given[k : k + 1], "32-true") for k in range(7)]
        monkeypatch.setattr(model, "CHUNK", 3)
        in_threes = look(recogniser.network, given, "32-true")
        for place, (found, three) in enumerate(zip(together, in_threes, strict=True)):
            one = torch.cat([logits[place] for logits in alone])
            assert torch.allclose(found, one, rtol=1e-4, atol=1e-4)
            assert torch.allclose(found, three, rtol=1e-4, atol=1e-4)
            assert found.std(0).min() > 0.01

    def test_the_network_stays_as_it_was(self, recogniser):
        network = recogniser.network
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network.train()
        recogniser.see(pixels(2))
        assert network.training
        after = network.state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())
        network.eval()
        recogniser.see(pixels(2))
        assert not network.training

    def test_inputs(self):
        device = torch.device("cpu")
        given = np.array([0, 51, 255], dtype=np.uint8).reshape(1, 3, 1, 1)
        assert to_input(given, device).flatten().tolist() == pytest.approx([0, 0.2, 1])
        augmented = torch.rand(2, 3, 4, 4)
        assert torch.equal(to_input(augmented, device), augmented)
        features = np.array([[1.5, -200.0]], dtype=np.float32)
        assert to_input(features, device).tolist() == [[1.5, -200.0]]

    def test_in_bf16_it_is_nearly_the_same_and_comes_back_in_fp32(self, recogniser):
        exact = look(recogniser.network, pixels(4), "32-true")
        found = look(recogniser.network, pixels(4), "bf16-mixed")
        for one, other in zip(found, exact, strict=True):
            assert one.dtype == torch.float32
            assert not torch.equal(one, other)
            assert (one - other).abs().max() < 0.1 * other.abs().max()


DISH_LOGITS = [[2.0, -1.0, 0.5], [0.0, 0.0, 3.0]]
INGREDIENT_LOGITS = [[1.0, -2.0, 0.0, 0.3], [-0.5, 4.0, 0.1, -0.4]]


class TestDecide:
    def by_hand(self, temperature):
        found = []
        for row in DISH_LOGITS:
            warm = [math.exp(value / temperature) for value in row]
            found.append([value / sum(warm) for value in warm])
        return found

    def seen(self, decision):
        return decide(Logits(torch.tensor(DISH_LOGITS), torch.tensor(INGREDIENT_LOGITS)), decision)

    @pytest.mark.parametrize(("dish", "ingredient"), [(0.7, 1.3), (1.0, 1.0), (4.0, 0.25)])
    def test_temperatures_divide_logits(self, dish, ingredient):
        seen = self.seen(Decision(dish, ingredient, [0.5] * 4))
        assert seen.dishes == pytest.approx(np.array(self.by_hand(dish)), rel=1e-5)
        assert seen.raw_dishes == pytest.approx(np.array(self.by_hand(1)), rel=1e-5)
        wanted = [[1 / (1 + math.exp(-z / ingredient)) for z in row] for row in INGREDIENT_LOGITS]
        assert seen.ingredients == pytest.approx(np.array(wanted), rel=1e-5)

    def test_each_ingredient_has_a_threshold_of_its_own(self):
        # at temperature 2: .62 .27 .50 .54 and .44 .88 .51 .45
        seen = self.seen(Decision(1.0, 2.0, [0.4, 0.9, 0.505, 0.5]))
        assert seen.named.tolist() == [[True, False, False, True], [True, False, True, False]]
        assert seen.named.dtype == bool

    def test_the_threshold_itself_is_not_above_it(self):
        logits = Logits(torch.zeros(1, 3), torch.zeros(1, 2))
        assert decide(logits, Decision(1.0, 1.0, [0.5, 0.4999])).named.tolist() == [[False, True]]

    def test_a_decision_changes_no_ranking(self, recogniser):
        seen = recogniser.see(pixels(6))
        logits = look(recogniser.network, pixels(6), "32-true")
        order = logits.dishes.numpy().argsort(1)
        assert (np.take_along_axis(seen.dishes, order, 1) == np.sort(seen.dishes, 1)).all()
        order = logits.ingredients.numpy().argsort(0)
        assert (
            np.take_along_axis(seen.ingredients, order, 0) == np.sort(seen.ingredients, 0)
        ).all()
        assert np.allclose(seen.dishes.sum(1), 1, atol=1e-5)


class TestFiles:
    @pytest.fixture
    def files(self, tmp_path):
        files = [tmp_path / f"{k}.png" for k in (3, 0, 2, 1)]
        for k, (file, side) in enumerate(zip(files, (16, 32, 50, 20), strict=True)):
            picture = pixels(4, side)[k].transpose(1, 2, 0)
            Image.fromarray(picture[: side - 4 * (k % 2)]).save(file)
        return files

    def test_picture_files_are_seen_as_loaded_pixels(self, recogniser, files, sandbox):
        loaded = images.load(files, SIZE, files[0].parent).copy()
        found, wanted = recogniser.see_files(files), recogniser.see(loaded)
        assert all((one == other).all() for one, other in zip(found, wanted, strict=True))
        assert len(np.unique(found.dishes, axis=0)) == len(files)

    def test_and_as_features_of_a_frozen_backbone(self, tiles, vit, files, sandbox):
        from studies.inputs.features import features

        trunk = {"name": "backbone", "weights": str(vit), "trained": False}
        recogniser = opinionated(tiles(network={"trunk": trunk}), 16)
        loaded = features(files, files[0].parent, str(vit)).copy()
        found, wanted = recogniser.see_files(files), recogniser.see(loaded)
        for one, other in zip(found, wanted, strict=True):
            assert np.allclose(one, other, atol=1e-5)
        assert len(np.unique(found.dishes, axis=0)) == len(files)


def written(recogniser, folder):
    """A run folder that holds the system."""
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(recogniser.parameters.resolved()))
    recogniser.save(folder / "model.safetensors")
    return folder


class TestRoundTrip:
    def test_to_the_bit(self, recogniser, sandbox):
        folder, given = written(recogniser, sandbox / "run"), pixels(6)
        again = load_run(folder).model()
        assert not again.network.training
        assert (again.dishes, again.ingredients) == (DISHES, INGREDIENTS)
        assert again.decision == DECISION
        assert again.parameters == recogniser.parameters
        state = again.network.state_dict()
        before = recogniser.network.state_dict()
        assert state.keys() == before.keys()
        assert all(torch.equal(state[name], value) for name, value in before.items())
        for one, other in zip(again.see(given), recogniser.see(given), strict=True):
            assert (one == other).all()

    def test_channels_last_is_written_as_any_other(self, recogniser, sandbox):
        plain = written(recogniser, sandbox / "plain")
        recogniser.network.to(memory_format=torch.channels_last)
        other = written(recogniser, sandbox / "channels_last")
        files = [folder / "model.safetensors" for folder in (plain, other)]
        assert files[0].read_bytes() == files[1].read_bytes()

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
    def folder(self, tiles, sandbox):
        return written(opinionated(tiles()), sandbox / "run")

    def told(self, folder):
        """What is said, which begins with the file and ends with what helps."""
        message = refused(load_run(folder).model)
        file = folder / "model.safetensors"
        assert message.startswith(f"{file}: ")
        assert message.endswith("writes it again from its checkpoint")
        return message.removeprefix(f"{file}: ")

    @pytest.mark.parametrize("kept", [0, 5, 100, -1000, -1])
    def test_a_file_cut_short(self, folder, kept):
        file = folder / "model.safetensors"
        file.write_bytes(file.read_bytes()[:kept])
        assert self.told(folder).startswith("cannot be read (")

    def test_a_damaged_header(self, folder):
        file = folder / "model.safetensors"
        content = bytearray(file.read_bytes())
        content[20] ^= 0xFF
        file.write_bytes(content)
        assert self.told(folder).startswith("cannot be read (")

    @pytest.mark.parametrize("kept", [None, ["dishes"], ["dishes", "ingredients"]])
    def test_no_names_or_no_decision(self, folder, kept):
        file = folder / "model.safetensors"
        said = {"dishes": DISHES, "ingredients": INGREDIENTS}
        entry = kept and {"said": json.dumps({name: said[name] for name in kept})}
        save_file(load_file(file), file, entry)
        assert self.told(folder).startswith("cannot be read (")

    def test_a_decision_of_other_parts(self, folder):
        file = folder / "model.safetensors"
        said = {"dishes": DISHES, "ingredients": INGREDIENTS, "decision": {"temperature": 1.0}}
        save_file(load_file(file), file, {"said": json.dumps(said)})
        assert self.told(folder).startswith("cannot be read (")

    @pytest.mark.parametrize("other", ["two networks", "wider", "features", "more dishes"])
    def test_another_systems_weights(self, folder, tiles, sandbox, other):
        if other == "two networks":
            strange = opinionated(tiles("two_networks"))
        elif other == "wider":
            trunk = {"name": "densenet", "growth": 4, "blocks": [1, 1], "stem": 12}
            strange = opinionated(tiles(network={"trunk": trunk}))
        elif other == "features":
            strange = opinionated(tiles(), 10)
        else:
            strange = opinionated(tiles())
            strange.dishes = [*DISHES, "blue"]
        shutil.copy(written(strange, sandbox / "other") / "model.safetensors", folder)
        assert self.told(folder).startswith("holds another system's weights; ")

    def test_pixels_where_features_are_read(self, folder, tiles, vit, sandbox):
        trunk = {"name": "backbone", "weights": str(vit), "trained": False}
        frozen = written(opinionated(tiles(network={"trunk": trunk}), 16), sandbox / "frozen")
        shutil.copy(folder / "model.safetensors", frozen)
        assert self.told(frozen).startswith("holds another system's weights; ")

    def test_no_file(self, folder):
        (folder / "model.safetensors").unlink()
        assert "has no model.safetensors" in refused(load_run(folder).model)
