"""Equations (1) and (2), and training at a size of seconds: does it learn, repeat itself."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score
from torch.nn.functional import normalize

from changing import bits
from sentences import refused
from studies.learning import compute
from studies.recipes import data
from studies.recipes.model import Logits, build, look
from studies.recipes.train import triplet_loss, weighted_loss
from studies.runs.folder import load_run

pytest_plugins = ["encoders"]
SYSTEMS = ["two_networks", "shared_backbone"]
AUGMENTATION = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.1}


def rows_of(chosen, part):
    """The plates and inputs of a run, and which rows are of a part."""
    plates = data.read(chosen)
    rows = np.flatnonzero(data.split(plates, chosen) == part)
    return plates, data.inputs(plates, chosen), rows


def fresh(chosen, width=None):
    """The network that training begins with."""
    compute.prepare(chosen)
    return build(chosen.network, 3, 3, width)


def equation_1(logits, dishes):
    """−Σ_i y_i log ŷ_i of each image, and their mean."""
    losses = []
    for row, dish in zip(logits.tolist(), dishes.tolist(), strict=True):
        whole = sum(math.exp(value) for value in row)
        losses.append(-math.log(math.exp(row[dish]) / whole))
    return sum(losses) / len(losses)


def equation_2(logits, present):
    """−1/(N·S) Σ_j Σ_i [y_ji log ŷ_ji + (1 − y_ji) log(1 − ŷ_ji)]."""
    total = 0.0
    for row, there in zip(logits.tolist(), present.tolist(), strict=True):
        for value, y in zip(row, there, strict=True):
            likely = 1 / (1 + math.exp(-value))
            total += y * math.log(likely) + (1 - y) * math.log(1 - likely)
    return -total / present.numel()


class TestLoss:
    @settings(max_examples=40, deadline=None)
    @given(st.tuples(*[st.integers(1, 6)] * 3), st.integers(0, 10**6), st.floats(0, 10))
    def test_it_is_both_equations(self, sizes, seed, weight):
        n, c, s = sizes
        chance = torch.Generator().manual_seed(seed)
        logits = Logits(*(3 * torch.randn(n, size, generator=chance) for size in (c, s)))
        dish = torch.randint(c, (n,), generator=chance)
        present = torch.rand(n, s, generator=chance) < 0.4
        exact = [part.double() for part in logits]
        wanted = equation_1(exact[0], dish) + weight * equation_2(exact[1], present)
        # the loss of a sure and right answer is small, and fp32 has no more digits of it
        loss = weighted_loss(logits, dish, present, weight).item()
        assert loss == pytest.approx(wanted, rel=1e-5, abs=1e-6)
        rough = Logits(*(part.bfloat16() for part in logits))  # added up in fp32 all the same
        exact = [part.double() for part in rough]
        wanted = equation_1(exact[0], dish) + weight * equation_2(exact[1], present)
        loss = weighted_loss(rough, dish, present, weight).item()
        assert loss == pytest.approx(wanted, rel=1e-5, abs=1e-6)

    @pytest.mark.parametrize("far", [200.0, 1e4])
    def test_sure_and_wrong_is_finite_and_what_is_not_asked_for_spoils_nothing(self, far):
        """Where a probability rounds to 0, the loss is the distance between the logits."""
        logits = Logits(torch.tensor([[far, 0.0]]), torch.tensor([[far, 0.0]]))
        case = logits, torch.tensor([1]), torch.tensor([[False, True]])
        wanted = far + (far + math.log(2)) / 2
        assert weighted_loss(*case, 1.0).item() == pytest.approx(wanted)
        nothing = logits._replace(ingredients=torch.full((1, 2), math.nan))
        assert weighted_loss(nothing, *case[1:], 0.0).item() == pytest.approx(far)


class TestTriplets:
    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2**32 - 1), st.sampled_from([0.1, 0.3, 1.0]))
    def test_semi_hard_ones_by_brute_force(self, seed, margin):
        chance = torch.Generator().manual_seed(seed)
        points = normalize(torch.randn(9, 3, generator=chance))
        dish = torch.randint(3, (9,), generator=chance)
        far, losses = torch.cdist(points, points), []
        for a, p, n in product(range(9), repeat=3):
            gap = float(far[a, n] - far[a, p])
            if a != p and dish[a] == dish[p] != dish[n] and 0 < gap <= margin:
                losses.append(margin - gap)
        # the library leaves those of no loss out of its mean
        losses = [loss for loss in losses if loss > 0]
        wanted = sum(losses) / len(losses) if losses else 0.0
        assert triplet_loss(points, dish, margin).item() == pytest.approx(wanted, abs=1e-4)


class TestLearning:
    @pytest.mark.parametrize(
        ("model", "own"), [("vit", {}), ("vit", {"triplet": 0.3}), ("convnext", {"grid": 2})]
    )
    def test_on_features_of_a_frozen_backbone(self, few, tiles, train, weights, model, own):
        trunk = {"name": "backbone", "weights": str(weights / model), "trained": False}
        network = {"trunk": trunk, "hidden": 32, "ingredient_weight": 5.0, **own}
        options = {"epochs": 20, "learning_rate": 0.03, "validate_every": 4, "augmentation": None}
        chosen = tiles("two_networks", network=network, **options)
        run = load_run(train(chosen))
        assert run.provenance["pixels_wide"] == 16
        plates, inputs, test = rows_of(chosen, "test")
        assert inputs.shape[1:-1] == ((4,) if "grid" in own else ())
        seen = run.model().see(inputs[test])
        assert (seen.dishes.argmax(1) == plates.dish[test]).mean() > 0.8
        files = [plates.paths[row] for row in test]
        np.testing.assert_allclose(run.model().see_files(files).dishes, seen.dishes, atol=1e-5)

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_dishes_and_ingredients_of_new_pictures(self, few, tiles, train, system):
        trunk = {"name": "densenet", "growth": 8, "blocks": [1, 1], "stem": 16}
        network = {"trunk": trunk, "ingredient_weight": 5.0}
        chosen = tiles(system, network=network, epochs=12, learning_rate=0.03, validate_every=4)
        run = load_run(train(chosen))
        losses = run.curves["train_loss"]
        assert losses.iloc[-1] < 0.3 * losses.iloc[0]
        plates, inputs, test = rows_of(chosen, "test")
        recogniser = run.model()
        seen = recogniser.see(inputs[test])
        assert recogniser.dishes == plates.dishes
        assert recogniser.ingredients == plates.ingredients
        assert (seen.dishes.argmax(1) == plates.dish[test]).mean() >= 11 / 12
        assert (seen.named == plates.present[test]).mean() >= 0.9


class TestValidation:
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_the_score_is_the_mean_of_both_heads(self, few, tiles, train, system):
        chosen = tiles(system, augmentation=AUGMENTATION)
        run = load_run(train(chosen))
        plates, inputs, rest = rows_of(chosen, "validation")
        logits = look(run.model().network, inputs[rest], "32-true")
        top1 = np.mean(logits.dishes.argmax(1).numpy() == plates.dish[rest])
        precision = [
            average_precision_score(plates.present[rest, place], logits.ingredients[:, place])
            for place in range(3)
        ]
        best = run.curves.iloc[run.provenance["best_epoch"] - 1]
        assert best["validation_dish_top1"] == pytest.approx(top1)
        assert best["validation_ingredient_map"] == pytest.approx(np.mean(precision), abs=1e-6)
        wanted = (top1 + np.mean(precision)) / 2
        assert best["validation_score"] == pytest.approx(wanted, abs=1e-6)
        assert run.provenance["best_score"] == pytest.approx(wanted, abs=1e-6)

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_what_is_asked_of_nobody_is_not_scored_and_not_trained(self, few, tiles, train, system):
        chosen = tiles(system, network={"ingredient_weight": 0.0})
        run = load_run(train(chosen))
        assert "validation_ingredient_map" not in run.curves
        assert (run.curves["validation_score"] == run.curves["validation_dish_top1"]).all()
        tensors = load_file(run.folder / "model.safetensors")
        for name, value in fresh(chosen).named_parameters():
            idle = name.startswith("ingredients.") or (
                name.startswith("trunks.1.") and system == "two_networks"
            )
            assert torch.equal(tensors[name], value) == idle, name


class TestTestDataIsNotSeen:
    def spoil(self, few, chosen, part):
        """Give the pictures of a part other ingredients, and for the test also other pixels."""
        plates, _, rows = rows_of(chosen, part)
        names = {plates.files[row].removesuffix(".jpg") for row in rows}
        table = few / "data" / "tiles.csv"
        lines = table.read_text().splitlines()
        for place, line in enumerate(lines):
            image, _, ingredients = line.partition(",")
            if image in names:
                lines[place] = f"{image},{'rice' if 'nori' in ingredients else 'nori'}"
                if part == "test":
                    other = plates.root / "red" / "00.jpg"
                    (plates.root / f"{image}.jpg").write_bytes(other.read_bytes())
        table.write_text("\n".join(lines) + "\n")

    @pytest.mark.parametrize("part", ["test", "validation"])
    def test_test_plates_change_nothing_and_validation_plates_decide(
        self, few, tiles, train, elsewhere, part
    ):
        chosen = tiles(epochs=1)
        elsewhere("before")
        before = train(chosen)
        self.spoil(few, chosen, part)
        elsewhere("after")
        after = train(chosen)
        one, other = (load_run(folder) for folder in (before, after))
        if part == "test":
            assert bits(after) == bits(before)
            prints = [run.provenance["dataset_fingerprint"] for run in (one, other)]
            assert prints[0] != prints[1]
            assert one.provenance["best_score"] == other.provenance["best_score"]
        else:
            # what is decided depends on them; the weights, after one epoch, do not
            first, second = (run.model().network.state_dict() for run in (one, other))
            assert all(torch.equal(first[name], second[name]) for name in first)
            one, other = one.model().decision, other.model().decision
            assert one.dish_temperature == other.dish_temperature
            assert one.ingredient_temperature != other.ingredient_temperature


class TestSameBits:
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_same_seed_same_bits_other_seed_others(self, few, tiles, train, elsewhere, system):
        changes = {"augmentation": AUGMENTATION, "epochs": 1}
        elsewhere("one")
        first = bits(train(tiles(system, **changes)))
        elsewhere("two")
        torch.rand(5)  # chance drawn before must not matter
        assert bits(train(tiles(system, **changes))) == first
        other = bits(train(tiles(system, seed=1, **changes)))
        assert not set(other.values()) & set(first.values())

    def test_a_finished_run_is_left_alone_and_lost_weights_come_back(
        self, few, tiles, train, capsys
    ):
        folder = train(tiles())
        before, file = bits(folder), folder / "model.safetensors"
        touched = {f: f.stat().st_mtime_ns for f in folder.rglob("*.*") if f.name != ".lock"}
        capsys.readouterr()
        assert train(tiles()) == folder
        assert capsys.readouterr().out == f"{folder}: already trained\n"
        assert touched == {f: f.stat().st_mtime_ns for f in touched}
        file.write_bytes(b"cut short")
        assert "is not what the run wrote" in refused(load_run(folder).model)
        file.unlink()  # as that sentence says
        train(tiles())
        assert "epoch 1/" not in capsys.readouterr().out
        assert bits(folder) == before


class TestPublishedBackbone:
    def test_frozen_features_are_made_once_and_only_heads_are_trained(self, few, tiles, vit, train):
        trunk = {"name": "backbone", "weights": str(vit), "trained": False}
        made = []
        for system in SYSTEMS:
            network = {"trunk": trunk, "hidden": 8}
            chosen = tiles(system, network=network, epochs=20, learning_rate=0.02)
            run = load_run(train(chosen))
            (stored,) = (few / "root" / "cache" / "features").glob("*.npy")
            made.append(stored.stat().st_mtime_ns)
            tensors = load_file(run.folder / "model.safetensors")
            trunks = 1 if system == "shared_backbone" else 2
            assert tensors["trunks.0.1.weight"].shape == (8, 16)
            count = trunks * (2 * 16 + 8 * 17) + 2 * 3 * 9
            assert run.provenance["parameters_trained"] == count
            assert sum(one.numel() for one in tensors.values()) == count
            plates, inputs, test = rows_of(chosen, "test")
            predicted = run.model().see(inputs[test]).dishes.argmax(1)
            assert (predicted == plates.dish[test]).mean() > 0.5
        assert made[0] == made[1]
        assert not (few / "root" / "cache" / "images").exists()


class TestMistakes:
    def test_a_last_batch_of_one_picture(self, few, tiles, train):
        """The last map has two by two places, the least that parameters allow."""
        chosen = tiles(images=23, epochs=1)
        assert load_run(train(chosen)).curves["step"].tolist() == [2]
