"""Training at a size of seconds: does it learn, keep its schedule, and give the same bits again."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import cross_entropy

from plug import pulled
from sentences import kept, refused
from studies.captioning import data
from studies.captioning.tokens import PAD
from studies.inputs import images
from studies.runs.folder import load_run

SYSTEMS = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
AUGMENTATION = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.1}
PEAK = 0.003  # learning rate of `tiny`
STEPS = 3 * 3  # epochs of three batches


@pytest.fixture
def elsewhere(sandbox, monkeypatch):
    """Return a function that moves to a fresh STUDIES_ROOT."""
    return lambda name: monkeypatch.setenv("STUDIES_ROOT", str(sandbox / name))


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


def bits(folder):
    names = ("model.safetensors", "words.json", "curves.csv", "steps.csv")
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


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
        self, few, squares, train, learner, script, elsewhere, system
    ):
        script(3.0, 2.0, 2.5, 2.5, 1.0)
        chosen = squares(system, augmentation=AUGMENTATION, images=6, epochs=5, patience=2)
        elsewhere("whole")
        whole = train(chosen)
        assert pd.read_csv(whole / "steps.csv")["step"].tolist() == list(range(1, 4 * 2 + 1))
        elsewhere("stopped")
        with pulled(learner, 3, 1):  # one validation was in vain
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
