"""Training at a size of seconds: does it learn, choose on validation data, repeat itself."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from sklearn.metrics import average_precision_score

from plug import pulled
from schedules import cosine
from sentences import kept, refused
from studies.inputs import images
from studies.learning import compute
from studies.recipes import data
from studies.recipes.model import build, look
from studies.runs.folder import load_run

SYSTEMS = ["two_networks", "shared_backbone"]
AUGMENTATION = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.1}
STILL = {"learning_rate": 1e-30, "weight_decay": 0.0}  # steps that fp32 cannot show


@pytest.fixture
def elsewhere(sandbox, monkeypatch):
    """Return a function that moves to a fresh STUDIES_ROOT."""
    return lambda name: monkeypatch.setenv("STUDIES_ROOT", str(sandbox / name))


def bits(folder):
    names = ("model.safetensors", "curves.csv")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def decided(folder):
    with safe_open(folder / "model.safetensors", framework="pt") as content:
        return json.loads(content.metadata()["said"])["decision"]


def rows_of(chosen, part):
    """The plates and inputs of a run, and which rows are of a part."""
    plates = data.read(chosen)
    rows = np.flatnonzero(data.split(plates, chosen) == part)
    return plates, data.inputs(plates, chosen), rows


def fresh(chosen, width=None):
    """The network that training begins with."""
    compute.prepare(chosen)
    return build(chosen.network, 3, 3, width)


class TestLearning:
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_dishes_and_ingredients_of_new_pictures(self, few, tiles, train, system):
        trunk = {"name": "densenet", "growth": 8, "blocks": [1, 1], "stem": 16}
        network = {"trunk": trunk, "ingredient_weight": 5.0}
        chosen = tiles(system, network=network, epochs=12, learning_rate=0.03, validate_every=4)
        run = load_run(train(chosen))
        losses = run.curves["train_loss"]
        assert losses.iloc[-1] < 0.3 * losses.iloc[0]
        plates, given, test = rows_of(chosen, "test")
        recogniser = run.model()
        seen = recogniser.see(given[test])
        assert recogniser.dishes == plates.dishes
        assert recogniser.ingredients == plates.ingredients
        assert (seen.dishes.argmax(1) == plates.dish[test]).mean() >= 11 / 12
        assert (seen.named == plates.present[test]).mean() >= 0.9

    def test_the_loss_is_the_two_equations(self, few, tiles, train):
        network = {"ingredient_weight": 2.5}
        chosen = tiles(network=network, images=100, epochs=1, **STILL)
        run = load_run(train(chosen))
        plates, given, known = rows_of(chosen, "train")
        begun = fresh(chosen)
        with torch.no_grad():
            said = begun.train()(torch.from_numpy(given[known]) / 255)
        likely = said.dishes.double().softmax(1)[range(len(known)), plates.dish[known]]
        there = torch.from_numpy(plates.present[known])
        chance = said.ingredients.double().sigmoid()
        right = torch.where(there, chance, 1 - chance)
        wanted = -likely.log().mean() - 2.5 * right.log().mean()
        assert run.curves["train_loss"].item() == pytest.approx(wanted.item(), rel=1e-5)
        tensors = load_file(run.folder / "model.safetensors")
        for name, value in begun.named_parameters():
            assert torch.allclose(tensors[name], value, rtol=0, atol=1e-20), name

    def test_the_rate_is_that_of_the_step(self, few, tiles, train, learner, monkeypatch):
        rates, step = [], learner.training_step

        def spy(self, batch, number):
            rates.extend(group["lr"] for group in self.trainer.optimizers[0].param_groups)
            return step(self, batch, number)

        monkeypatch.setattr(learner, "training_step", spy)
        train(tiles(warm_up=0.25, learning_rate=0.004, backbone_learning_rate=0.1))
        # 24 pictures in batches of 8 for three epochs; with and without decay
        wanted = [0.004 * cosine(step, 9, 0.25) for step in range(9) for _ in range(2)]
        assert rates == pytest.approx(wanted)

    def test_variants_of_dishes(self, sandbox, tiles, train):
        network = {"names": "variant", "ingredient_weight": 0.0}
        source = {"name": "kitchen", "per_variant": 3, "seed": 0}
        chosen = tiles(network=network, source=source, test_share=0.34, epochs=1, images=32)
        run = load_run(train(chosen))
        plates, given, test = rows_of(chosen, "test")
        recogniser = run.model()
        assert recogniser.dishes == plates.variants
        assert recogniser.see(given[test]).dishes.shape == (len(test), 24)


class TestValidation:
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_the_score_is_the_mean_of_both_heads(self, few, tiles, train, system):
        chosen = tiles(system, augmentation=AUGMENTATION)
        run = load_run(train(chosen))
        plates, given, rest = rows_of(chosen, "validation")
        said = look(run.model().network, given[rest], "32-true")
        top1 = np.mean(said.dishes.argmax(1).numpy() == plates.dish[rest])
        precision = [
            average_precision_score(plates.present[rest, place], said.ingredients[:, place])
            for place in range(3)
        ]
        best = run.curves.iloc[run.provenance["best_epoch"] - 1]
        assert best["validation_dish_top1"] == pytest.approx(top1)
        assert best["validation_ingredient_map"] == pytest.approx(np.mean(precision), abs=1e-6)
        wanted = (top1 + np.mean(precision)) / 2
        assert best["validation_score"] == pytest.approx(wanted, abs=1e-6)
        assert run.provenance["best_score"] == pytest.approx(wanted, abs=1e-6)

    def test_the_earliest_best_epoch_is_kept(self, few, tiles, train, learner, monkeypatch):
        weights, scores = {}, [0.2, 0.7, 0.6, 0.7, 0.1]

        def validated(self):
            now = self.current_epoch
            weights[now + 1] = {k: v.clone() for k, v in self.network.state_dict().items()}
            self.log("validation_score", scores[now], batch_size=1)

        monkeypatch.setattr(learner, "on_validation_epoch_end", validated)
        run = load_run(train(tiles(epochs=5)))
        assert run.curves["validation_score"].tolist() == pytest.approx(scores)
        assert run.provenance["best_epoch"] == 2
        tensors = load_file(run.folder / "model.safetensors")
        assert tensors.keys() == weights[2].keys()
        assert all(torch.equal(tensors[name], value) for name, value in weights[2].items())
        assert any(not torch.equal(tensors[name], value) for name, value in weights[4].items())

    def test_what_is_asked_of_nobody_is_not_scored_and_not_trained(self, few, tiles, train):
        for system in SYSTEMS:
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
    CHANGES = {"epochs": 1, "augmentation": None}  # noqa: RUF012

    def spoil(self, few, chosen, part):
        """Give the pictures of a part other ingredients, and for the test also other pixels."""
        plates, _, rows = rows_of(chosen, part)
        names = {plates.files[row].removesuffix(".jpg") for row in rows}
        table = few / "data" / "tiles.csv"
        lines = table.read_text().splitlines()
        for place, line in enumerate(lines):
            image, _, given = line.partition(",")
            if image in names:
                lines[place] = f"{image},{'nori' if 'nori' not in given else 'rice'}"
                if part == "test":
                    other = plates.root / "red" / "00.jpg"
                    (plates.root / f"{image}.jpg").write_bytes(other.read_bytes())
        table.write_text("\n".join(lines) + "\n")

    def test_test_plates_change_nothing(self, few, tiles, train, elsewhere):
        chosen = tiles(**self.CHANGES)
        elsewhere("before")
        before = train(chosen)
        self.spoil(few, chosen, "test")
        elsewhere("after")
        after = train(chosen)
        assert bits(after) == bits(before)
        one, other = (load_run(folder).provenance for folder in (before, after))
        assert one["dataset_fingerprint"] != other["dataset_fingerprint"]
        assert one["best_score"] == other["best_score"]

    def test_validation_plates_decide(self, few, tiles, train, elsewhere):
        """What is decided depends on them; the weights, after one epoch, do not."""
        chosen = tiles(**self.CHANGES)
        elsewhere("before")
        before = train(chosen)
        self.spoil(few, chosen, "validation")
        elsewhere("after")
        after = train(chosen)
        one, other = (load_file(folder / "model.safetensors") for folder in (before, after))
        assert all(torch.equal(one[name], other[name]) for name in one)
        one, other = decided(before), decided(after)
        assert one["dish_temperature"] == other["dish_temperature"]
        assert one["ingredient_temperature"] != other["ingredient_temperature"]

    def test_decisions_are_better_than_none_on_validation_plates(self, few, tiles, train):
        chosen = tiles(epochs=6, learning_rate=0.01)
        run = load_run(train(chosen))
        plates, given, rest = rows_of(chosen, "validation")
        recogniser = run.model()
        decision, seen = recogniser.decision, recogniser.see(given[rest])
        logits = look(recogniser.network, given[rest], "32-true")
        dish, present = torch.from_numpy(plates.dish[rest]), torch.from_numpy(plates.present[rest])

        def of_dishes(t):
            return torch.nn.functional.cross_entropy(logits.dishes / t, dish).item()

        def of_ingredients(t):
            given = logits.ingredients / t, present.float()
            return torch.nn.functional.binary_cross_entropy_with_logits(*given).item()

        for loss, chosen_ in (
            (of_dishes, decision.dish_temperature),
            (of_ingredients, decision.ingredient_temperature),
        ):
            for other in (1.0, chosen_ * 0.9, chosen_ * 1.1):
                if 0.05 <= other <= 20:
                    assert loss(chosen_) <= loss(other) + 1e-6

        def f1(named, there):
            return 2 * (named & there).sum() / max(1, named.sum() + there.sum())

        for place, there in enumerate(plates.present[rest].T):
            likely = seen.ingredients[:, place]
            best = max(f1(likely > limit, there) for limit in [-1.0, *likely])
            assert f1(seen.named[:, place], there) == pytest.approx(best)


class TestSameBits:
    def test_same_seed_same_bits_other_seed_others(self, few, tiles, train, elsewhere):
        for system in SYSTEMS:
            changes = {"augmentation": AUGMENTATION, "epochs": 1}
            elsewhere(f"{system} one")
            first = bits(train(tiles(system, **changes)))
            elsewhere(f"{system} two")
            torch.rand(5)  # chance drawn before must not matter
            assert bits(train(tiles(system, **changes))) == first
            other = bits(train(tiles(system, seed=1, **changes)))
            assert not set(other.values()) & set(first.values())

    def test_a_run_that_was_stopped_ends_the_same(self, few, tiles, train, learner, elsewhere):
        chosen = tiles(augmentation=AUGMENTATION, epochs=4)
        elsewhere("whole")
        whole = bits(train(chosen))
        elsewhere("stopped")
        with pulled(learner, 2, 1):
            train(chosen)
        assert not (chosen.folder() / "model.safetensors").exists()
        assert bits(train(chosen)) == whole

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
        assert "cannot be read" in refused(load_run(folder).model)
        file.unlink()  # as that sentence says
        train(tiles())
        assert "epoch 1/" not in capsys.readouterr().out
        assert bits(folder) == before


class TestPublishedBackbone:
    def test_frozen_features_are_made_once_and_only_heads_are_trained(self, few, tiles, vit, train):
        trunk = {"name": "backbone", "weights": str(vit), "trained": False}
        cache, kept_features = few / "root" / "cache" / "features", {}
        for system in SYSTEMS:
            chosen = tiles(system, network={"trunk": trunk}, epochs=6, learning_rate=0.05)
            run = load_run(train(chosen))
            if not kept_features:
                (stored,) = cache.glob("*.npy")
                assert np.load(stored).shape == (48, 16)
                kept_features[stored] = stored.stat().st_mtime_ns
            assert {file: file.stat().st_mtime_ns for file in cache.glob("*.npy")} == kept_features
            tensors = load_file(run.folder / "model.safetensors")
            assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
                **{"dish.weight": (3, 16), "dish.bias": (3,)},
                **{"ingredients.weight": (3, 16), "ingredients.bias": (3,)},
            }
            assert run.provenance["parameters_trained"] == 2 * 3 * 17
            losses = run.curves["train_loss"]
            assert losses.iloc[-1] < losses.iloc[0]
            plates, given, test = rows_of(chosen, "test")
            said = run.model().see(given[test]).dishes.argmax(1)
            assert (said == plates.dish[test]).mean() > 0.5
        assert not (few / "root" / "cache" / "images").exists()

    @pytest.mark.parametrize("rate", [0.0, 0.0005])
    def test_a_fine_tuned_trunk_has_a_rate_of_its_own(self, few, tiles, vit, train, rate):
        import transformers

        trunk = {"name": "backbone", "weights": str(vit), "trained": True}
        changes = {"backbone_learning_rate": rate, "weight_decay": 0.0, "epochs": 1}
        run = load_run(train(tiles(network={"trunk": trunk}, **changes)))
        tensors = load_file(run.folder / "model.safetensors")
        published = transformers.ViTModel.from_pretrained(vit, add_pooling_layer=False).state_dict()
        prefix = "trunks.0.backbone.model."
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        assert own.keys() == published.keys()
        for name, value in own.items():
            change = (value - published[name]).abs().max()
            # three of AdamW's steps, each about the rate
            assert change <= 1.5 * 3 * rate
            assert change > 0 or not rate or ".k_proj.bias" in name, name
        assert run.curves["learning_rate"].iloc[-1] <= 0.003  # shown is that of the heads

    def test_rates_go_to_their_groups(self, tiles, vit, learner):
        for kind, highest in (("backbone", 0.0002), ("densenet", 0.003)):
            trunk = {"name": "backbone", "weights": str(vit), "trained": True}
            other = {"trunk": trunk} if kind == "backbone" else None
            for system in SYSTEMS:
                chosen = tiles(system, network=other, backbone_learning_rate=0.0002)
                network = build(chosen.network, 3, 3, None)
                groups = learner(chosen, network, 9).configure_optimizers().param_groups
                peaks = {id(p): group["peak"] for group in groups for p in group["params"]}
                decays = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
                assert len(peaks) == sum(len(group["params"]) for group in groups)
                for name, one in network.named_parameters():
                    wanted = highest if name.startswith("trunks.") else 0.003
                    assert peaks.pop(id(one)) == wanted, name
                    assert decays[id(one)] == (0.01 if one.ndim > 1 else 0.0), name
                assert not peaks


class TestMistakes:
    @pytest.mark.parametrize("system", ["majority", "frequencies", "naive", "supervised"])
    def test_what_has_no_network_is_not_trained(self, few, tiles, train, system):
        assert refused(train, tiles(system)).startswith(f"{system} has no network")
        assert kept(few / "root") == []

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_divergence_is_one_sentence(self, few, tiles, train, system):
        message = refused(train, tiles(system, learning_rate=1e30))
        assert message.endswith("lower learning_rate")
        assert not (tiles(system).folder() / "model.safetensors").exists()

    def test_too_few_pictures_are_noticed_before_a_folder_is_made(self, few, tiles, train):
        chosen = tiles(validation_share=0.0)
        assert "for a validation set" in refused(train, chosen)
        assert not chosen.folder().exists()

    def test_no_data(self, sandbox, tiles, train):
        assert "food-101" in refused(train, tiles())
        assert kept(sandbox / "root") == []

    def test_a_last_batch_of_one_picture(self, few, tiles, train):
        """The last map has two by two places, the least that parameters allow."""
        chosen = tiles(images=23, epochs=1)
        assert load_run(train(chosen)).curves["step"].tolist() == [2]


@pytest.mark.parametrize("system", SYSTEMS)
def test_provenance_says_what_was_trained(few, tiles, train, system):
    chosen = tiles(system)
    facts = load_run(train(chosen)).provenance
    plates = data.read(chosen)
    assert facts["dataset_fingerprint"] == images.fingerprint(plates.paths, plates.root)
    assert facts["images"] == {"train": 24, "validation": 12, "test": 12}
    tensors = load_file(chosen.folder() / "model.safetensors")
    learnt = {k: v for k, v in tensors.items() if "running" not in k and "tracked" not in k}
    assert facts["parameters_trained"] == sum(map(torch.numel, learnt.values()))
    assert facts["threads"] == 1
    assert facts["seconds"] > 0
