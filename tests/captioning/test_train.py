"""Training at a size of seconds: does it learn, keep its schedule, and give the same bits again."""

import hashlib
import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy
from torch.optim.optimizer import register_optimizer_step_post_hook

from sentences import kept, refused
from studies import images
from studies.captioning import data
from studies.captioning.model import build
from studies.captioning.tokens import PAD
from studies.runs import load_run

SYSTEMS = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
AUGMENTATION = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.1}
PEAK = 0.003  # learning rate of `tiny`
STEPS = 3 * 3  # epochs of three batches


@pytest.fixture
def learner():
    from studies.captioning.train import Learner

    return Learner


@pytest.fixture
def train():
    from studies.captioning.train import train

    return train


@pytest.fixture
def few(sandbox, flickr8k_folder):
    """A sandbox with the squares."""
    flickr8k_folder(sandbox / "data" / "flickr8k")
    return sandbox


@pytest.fixture
def elsewhere(sandbox, monkeypatch):
    """Return a function that moves to a fresh STUDIES_ROOT."""
    return lambda name: monkeypatch.setenv("STUDIES_ROOT", str(sandbox / name))


@pytest.fixture
def runs(trained, squares, monkeypatch):
    """The run folders of `trained`, with the paths of the house pointing there."""
    monkeypatch.setenv("STUDIES_ROOT", str(trained / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(trained / "data"))
    return {system: squares(system).folder() for system in SYSTEMS}


@pytest.fixture
def applied():
    """What each step of a training applies: the norm of the gradient, and the rates."""
    found = []

    def look(optimizer, *_):
        if isinstance(optimizer, torch.optim.AdamW):
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
            norm = torch.cat([one.flatten() for one in gradients]).norm().item()
            found.append((norm, [group["lr"] for group in optimizer.param_groups]))

    hook = register_optimizer_step_post_hook(look)
    yield found
    hook.remove()


@pytest.fixture
def script(learner, monkeypatch):
    """Return a function that says the loss of each validation, and keeps the weights at each."""

    def losses(*values):
        weights = {}

        def validate(self, *_):
            now = self.current_epoch
            weights[now + 1] = {k: v.clone() for k, v in self.network.state_dict().items()}
            self.total, self.count = values[now], 1

        monkeypatch.setattr(learner, "validation_step", validate)
        return weights

    return losses


def fine_tuned(backbones, **rates):
    source = {"name": "backbone", "weights": str(backbones["resnet"]), "trained": True}
    return {"encoder": {"source": source, "grid": 2}, "image_size": 64, "epochs": 1, **rates}


def bits(folder):
    names = ("model.safetensors", "words.json", "curves.csv", "steps.csv")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


def cosine(step, steps, warm_up):
    """The schedule as torch's own classes give it."""
    rising = max(1, round(warm_up * steps))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / rising, 1.0, rising - 1)
    for _ in range(min(step, rising - 1)):
        optimizer.step()
        rise.step()
    if step >= rising:
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - rising)
        for _ in range(step - rising):
            optimizer.step()
            fall.step()
    return optimizer.param_groups[0]["lr"]


class TestLearning:
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_a_few_images_are_learnt_by_heart(
        self, sandbox, flickr8k_folder, squares, train, system
    ):
        said = ["A red square .", "It is all green here .", "Somebody saw blue .", "Dull grey ."]
        captions = {f"{k:02}.jpg": [said[k % 4]] for k in range(20)}
        flickr8k_folder(sandbox / "data" / "flickr8k", captions)
        chosen = squares(system, epochs=20, images=6, validate_every=5, learning_rate=0.005)
        run = load_run(train(chosen))
        wanted = ["a red square", "it is all green here", "somebody saw blue", "dull grey"]
        dataset = data.read(chosen)
        found = run.model().caption(data.inputs(dataset, chosen))
        assert found == [wanted[int(name[:2]) % 4] for name in dataset.files]
        assert run.curves["train_loss"].iloc[-1] < 0.2 * run.curves["train_loss"].iloc[0]

    def test_the_validation_loss_is_that_of_all_words(self, few, squares, train):
        # batches of three images and of one; smoothing is for training alone
        chosen = squares("resnet_transformer", images=3, label_smoothing=0.3, epochs=2)
        run = load_run(train(chosen))
        dataset = data.read(chosen)
        rows = np.flatnonzero(data.split(dataset, chosen) == "validation")
        describer = run.model()
        texts = [text for row in rows for text in dataset.captions[row]]
        captions = describer.words.encode(texts, 20)
        pixels = torch.from_numpy(data.inputs(dataset, chosen)[rows]) / 255
        with torch.inference_mode():
            logits = describer.network(pixels.repeat_interleave(5, 0), captions[:, :-1])
        wanted = cross_entropy(logits.transpose(1, 2), captions[:, 1:], ignore_index=PAD).item()
        assert len(rows) == 4
        assert run.provenance["best_score"] == pytest.approx(wanted, rel=1e-5)
        assert run.curves["validation_loss"].min() == pytest.approx(wanted, rel=1e-5)

    def test_a_frozen_backbone_is_read_from_disk(self, few, squares, backbones, train):
        source = {"name": "backbone", "weights": str(backbones["clip"]), "trained": False}
        chosen = squares("clip_transformer", {"source": source}, epochs=1)
        run = load_run(train(chosen))
        [cache] = (few / "root" / "cache" / "features").glob("*.npy")
        assert np.load(cache).shape == (20, 17, 16)
        assert run.provenance["input_shape"] == [17, 16]
        assert not [name for name in load_file(run.folder / "model.safetensors") if "trunk" in name]
        dataset = data.read(chosen)
        said = run.model().caption(data.inputs(dataset, chosen)[:3])
        assert run.model().describe(dataset.paths[:3]) == said


class TestSchedule:
    @given(st.integers(1, 60), st.floats(0, 0.99), st.data())
    @settings(deadline=None)
    def test_it_rises_evenly_and_falls_along_a_cosine(self, steps, warm_up, draw):
        from studies.captioning.train import schedule

        step = draw.draw(st.integers(0, steps - 1))
        wanted = cosine(step, steps, warm_up)
        assert schedule(step, steps, warm_up) == pytest.approx(wanted, abs=1e-6)

    def test_by_hand(self):
        from studies.captioning.train import schedule

        found = [schedule(step, 8, 0.5) for step in range(8)]
        root = math.sqrt(0.5)
        wanted = [0.25, 0.5, 0.75, 1, 1, (1 + root) / 2, 0.5, (1 - root) / 2]
        assert found == pytest.approx(wanted)

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_every_step_is_noted(self, runs, system):
        steps = pd.read_csv(runs[system] / "steps.csv")
        assert steps["step"].tolist() == list(range(1, STEPS + 1))
        assert steps["epoch"].tolist() == [1] * 3 + [2] * 3 + [3] * 3
        wanted = [PEAK * cosine(step, STEPS, 0.1) for step in range(STEPS)]
        assert steps["learning_rate"].tolist() == pytest.approx(wanted, rel=1e-5)
        assert (steps["gradient_norm"] > 0).all()
        curves = load_run(runs[system]).curves
        assert curves["step"].tolist() == [3, 6, 9]
        losses = steps.groupby("epoch")["batch_loss"].mean()
        assert losses.tolist() == pytest.approx(curves["train_loss"].tolist(), rel=1e-5)


class TestOptimizer:
    def test_vectors_do_not_decay_and_a_backbone_has_its_own_rate(
        self, squares, backbones, learner
    ):
        rates = {"backbone_learning_rate": 0.0005, "weight_decay": 0.2}
        chosen = squares(**fine_tuned(backbones, **rates))
        network = build(chosen, 11, (3, 64, 64))
        optimizer = learner(chosen, network, 10).configure_optimizers()
        assert isinstance(optimizer, torch.optim.AdamW)
        groups = {p: group for group in optimizer.param_groups for p in group["params"]}
        assert sum(len(group["params"]) for group in optimizer.param_groups) == len(groups)
        assert groups.keys() == set(network.parameters())
        for name, one in network.named_parameters():
            assert groups[one]["weight_decay"] == (0.2 if one.ndim > 1 else 0.0)
            assert groups[one]["lr"] == (0.0005 if "backbone" in name else PEAK)

    @pytest.mark.parametrize("rate", [0.0, 0.0005])
    def test_both_rates_follow_the_schedule(self, few, squares, backbones, train, applied, rate):
        folder = train(squares(**fine_tuned(backbones, backbone_learning_rate=rate)))
        for step, (_, rates) in enumerate(applied):
            now = cosine(step, 3, 0.1)
            # what is new comes first: the curves show the first rate
            assert rates == pytest.approx([PEAK * now] * 2 + [rate * now] * 2)
        assert len(applied) == 3
        published = load_file(backbones["resnet"] / "model.safetensors")
        tensors = load_file(folder / "model.safetensors")
        moved = [
            not torch.equal(tensors[f"encoder.trunk.backbone.model.{name}"], value)
            for name, value in published.items()
            if name.endswith(("weight", "bias"))
        ]
        assert any(moved) == all(moved) == (rate > 0)

    @pytest.mark.parametrize("bound", [0.05, 1e6])
    def test_no_larger_gradient_is_applied(self, few, squares, train, applied, bound):
        folder = train(squares("resnet_transformer", gradient_norm=bound, epochs=1))
        noted = pd.read_csv(folder / "steps.csv")["gradient_norm"]
        assert (noted > 0.1).all()
        norms = [norm for norm, _ in applied]
        assert norms == pytest.approx(noted.clip(upper=bound).tolist(), rel=1e-3)


class TestPatience:
    def test_it_ends_and_the_best_epoch_is_kept(self, few, squares, train, script):
        weights = script(3.0, 2.0, 2.5, 2.0, 1.0, 1.0)  # the fourth is not better
        run = load_run(train(squares("clip_transformer", epochs=6, patience=2)))
        assert run.curves["validation_loss"].tolist() == [3.0, 2.0, 2.5, 2.0]
        facts = run.provenance
        assert facts["stopped"] == "has not become better on validation data for 2 epochs"
        assert (facts["best_epoch"], facts["best_score"]) == (2, 2.0)
        tensors = load_file(run.folder / "model.safetensors")
        assert tensors.keys() == weights[2].keys()
        assert all(torch.equal(tensors[name], value) for name, value in weights[2].items())
        assert len(pd.read_csv(run.folder / "steps.csv")) == 4 * 3

    def test_it_counts_validations(self, few, squares, train, script):
        script(None, 3.0, None, 2.0, None, 2.5, None, 1.0)
        chosen = squares("clip_transformer", epochs=8, patience=1, validate_every=2)
        run = load_run(train(chosen))
        assert run.provenance["stopped"].endswith("for 2 epochs")
        assert run.provenance["best_epoch"] == 4
        assert len(run.curves) == 6

    def test_it_need_not_end(self, runs):
        for folder in runs.values():
            run = load_run(folder)
            losses = run.curves["validation_loss"]
            assert run.provenance["stopped"] == ""
            assert run.provenance["best_epoch"] == losses.argmin() + 1
            assert run.provenance["best_score"] == pytest.approx(losses.min())


class TestSameBits:
    def test_same_seed_same_bits_other_seed_others(self, few, squares, train, elsewhere):
        changes = {"augmentation": AUGMENTATION, "epochs": 1}
        elsewhere("one")
        first = bits(train(squares(**changes)))
        elsewhere("two")
        torch.rand(5)  # chance drawn before must not matter
        assert bits(train(squares(**changes))) == first
        other = bits(train(squares(seed=1, **changes)))
        assert {name for name in other if other[name] == first[name]} == {"words.json"}

    @pytest.mark.parametrize("system", ["resnet_lstm", "clip_transformer"])
    def test_a_run_that_was_stopped_ends_the_same(
        self, few, squares, train, learner, script, elsewhere, monkeypatch, system
    ):
        script(3.0, 2.0, 2.5, 2.5, 1.0)
        chosen = squares(system, augmentation=AUGMENTATION, images=6, epochs=5, patience=2)
        elsewhere("whole")
        whole = train(chosen)
        assert pd.read_csv(whole / "steps.csv")["step"].tolist() == list(range(1, 4 * 2 + 1))
        elsewhere("stopped")
        step = learner.training_step

        def stop(self, batch, index):
            if self.current_epoch == 3 and index == 1:  # one validation was in vain
                raise RuntimeError("the plug is pulled")
            return step(self, batch, index)

        with monkeypatch.context() as patch:
            patch.setattr(learner, "training_step", stop)
            with pytest.raises(RuntimeError, match="the plug"):
                train(chosen)
        assert not (chosen.folder() / "model.safetensors").exists()
        assert bits(train(chosen)) == bits(whole)

    def test_a_finished_run_is_left_alone(self, copy, squares, train, capsys):
        folder = squares().folder()
        before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.*") if file.stem}
        assert train(squares()) == folder
        assert capsys.readouterr().out == f"{folder}: already trained\n"
        assert {f: f.stat().st_mtime_ns for f in before if f.name != ".lock"}.items() <= (
            before.items()
        )


class TestMistakes:
    @pytest.mark.parametrize("model", ["most_frequent", "nearest_neighbour"])
    def test_a_baseline_is_not_trained(self, few, squares, train, model):
        assert refused(train, squares(model)).startswith(f"{model} is a baseline, ")
        assert kept(few / "root") == []

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_divergence_is_one_sentence(self, few, squares, train, system):
        message = refused(train, squares(system, learning_rate=1e30))
        assert message.endswith("lower learning_rate")

    def test_words_too_rare(self, few, squares, train):
        chosen = squares(min_count=1000)
        assert "no word occurs 1000 times" in refused(train, chosen)
        assert not chosen.folder().exists()

    def test_no_data(self, sandbox, squares, train):
        assert "flickr8k" in refused(train, squares())
        assert kept(sandbox / "root") == []


@pytest.mark.parametrize("system", SYSTEMS)
def test_provenance_says_what_was_trained(runs, squares, system):
    facts = json.loads((runs[system] / "provenance.json").read_text())
    dataset = data.read(squares(system))
    assert facts["dataset_fingerprint"] == images.fingerprint(dataset.paths, dataset.root)
    assert facts["images"] == {"train": 12, "validation": 4, "test": 4}
    vocabulary = json.loads((runs[system] / "words.json").read_text())["model"]["vocab"]
    # four marks, and each word of the captions
    words = "a square of plain there is somebody painted wall it all red green blue grey"
    assert set(vocabulary) == {"<pad>", "<bos>", "<eos>", "<unk>", *words.split()}
    assert facts["words"] == len(vocabulary)
    assert facts["input_shape"] == [3, 32, 32]
    tensors = load_file(runs[system] / "model.safetensors")
    learnt = {k: v for k, v in tensors.items() if "running" not in k and "tracked" not in k}
    assert facts["parameters_trained"] == sum(map(torch.numel, learnt.values()))
    assert facts["threads"] == 1
    assert facts["seconds"] > 0
