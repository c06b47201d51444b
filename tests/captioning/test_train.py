"""The loss against a literal loop; then training: does it learn, keep its schedule, survive kills,
and give the same bits again?
"""

import hashlib
import json
import random
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import cross_entropy, pad
from torch.optim.optimizer import register_optimizer_step_post_hook

from commands import FULL, Command
from plug import pulled
from schedules import cosine
from sentences import kept, refused
from studies.captioning import data
from studies.captioning.model import Captioner, build
from studies.captioning.train import loss
from studies.inputs import images
from studies.paths import REPOSITORY
from studies.runs.folder import load_run
from toys import BOS, EOS, PAD, PLACES, WIDTH, make, script

VOCABULARY, LONGEST, FEATURES = 9, 8, 5
SYSTEMS = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
KINDS = pytest.mark.parametrize("kind", ["lstm", "transformer"])
AUGMENTATION = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.1}
PEAK = 0.003  # learning rate of `tiny`
STEPS = 3 * 3  # epochs of three batches


def network(kind):
    return Captioner(nn.Linear(FEATURES, WIDTH), make(kind, VOCABULARY))  # without dropout


def batch(lengths, images=3, seed=0):
    """Inputs of some images, captions of so many words about them, and whose each is."""
    chance = torch.Generator().manual_seed(seed)
    inputs = torch.randn(images, PLACES, FEATURES, generator=chance)
    captions = torch.full((len(lengths), max(lengths) + 2), PAD)
    for row, length in enumerate(lengths):
        captions[row, 0], captions[row, length + 1] = BOS, EOS
        # 3 is the unknown word, and a word like others
        captions[row, 1 : length + 1] = torch.randint(3, VOCABULARY, (length,), generator=chance)
    return inputs, captions, torch.randint(images, (len(lengths),), generator=chance)


@torch.no_grad()
def word_losses(network, inputs, captions, owners, smoothing):
    """The loss of each word of each caption, one by one."""
    losses = []
    for caption, owner in zip(captions.tolist(), owners.tolist(), strict=True):
        words = [word for word in caption if word != PAD]
        memory = network.encoder(inputs[owner][None])
        for place in range(1, len(words)):
            logits = network.decoder(memory, torch.tensor([words[:place]]))[0, -1]
            wanted = torch.full((VOCABULARY,), smoothing / VOCABULARY)
            wanted[words[place]] += 1 - smoothing
            losses.append(-(wanted * logits.softmax(0).log()).sum().item())
    return losses


def gradients(network, value):
    return torch.autograd.grad(value, list(network.parameters()))


@KINDS
class TestLoss:
    @pytest.mark.parametrize("smoothing", [0.0, 0.3])
    @given(st.lists(st.integers(0, LONGEST), min_size=1, max_size=9), st.integers(0, 10**6))
    @settings(max_examples=15, deadline=None)
    def test_it_is_the_formula(self, kind, smoothing, lengths, seed):
        captioner, some = network(kind), batch(lengths, seed=seed)
        wanted = word_losses(captioner, *some, smoothing)
        assert len(wanted) == sum(lengths) + len(lengths)
        value = loss(captioner, *some, smoothing).item()
        assert value == pytest.approx(sum(wanted) / len(wanted), rel=1e-5)

    @pytest.mark.parametrize("smoothing", [0.0, 0.1])
    def test_the_gradient_is_that_of_the_whole_batch_unsorted(self, kind, smoothing):
        captioner, some = network(kind), batch([3, 0, 8, 5, 1, 1, 7, 2, 4, 6])
        inputs, captions, owners = some
        logits = captioner.decoder(captioner.encoder(inputs)[owners], captions[:, :-1])
        options = {"ignore_index": PAD, "label_smoothing": smoothing}
        whole = cross_entropy(logits.transpose(1, 2), captions[:, 1:], **options)
        value = loss(captioner, *some, smoothing)
        assert value.item() == pytest.approx(whole.item(), rel=1e-6)
        pairs = zip(gradients(captioner, value), gradients(captioner, whole), strict=True)
        for one, other in pairs:
            assert torch.allclose(one, other, atol=1e-6)
            assert other.abs().max() > 1e-4

    def test_padding_of_any_amount_changes_nothing(self, kind):
        captioner, (inputs, captions, owners) = network(kind), batch([3, 8, 5, 1, 2])
        value = loss(captioner, inputs, captions, owners, 0.1)
        wanted = [value, *gradients(captioner, value)]
        for more in (1, 40):  # the Transformer has places for 12 tokens
            value = loss(captioner, inputs, pad(captions, (0, more), value=PAD), owners, 0.1)
            again = [value, *gradients(captioner, value)]
            assert all(torch.equal(one, other) for one, other in zip(again, wanted, strict=True))

    def test_each_image_is_encoded_once_and_little_padding_is_read(self, kind):
        captioner, encoded, tokens = network(kind), [], []
        captioner.encoder.register_forward_hook(lambda *call: encoded.append(len(call[-1])))
        captioner.decoder.register_forward_hook(lambda *call: tokens.append(call[1][1].numel()))
        lengths = [2] * 9 + [8] * 3
        loss(captioner, *batch(lengths), 0.0)
        assert encoded == [3]
        assert sum(tokens) == sum(lengths) + len(lengths)

    def test_in_bf16_it_is_nearly_the_same(self, kind):
        captioner, some = network(kind), batch([8, 5, 1, 2] * 20)
        exact = loss(captioner, *some, 0.0).item()
        with torch.autocast("cpu", torch.bfloat16):
            value = loss(captioner, *some, 0.0)
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(exact, rel=0.02)


def test_the_loss_by_hand():
    # one image, 5 tokens; the words 3, 4 and the end have p = 0.4, 0.5 and 0.2
    decoder, memory = script(
        [[[0.1, 0.1, 0.2, 0.4, 0.2], [0.1, 0.1, 0.1, 0.2, 0.5], [0.2, 0.2, 0.2, 0.2, 0.2]]]
    )
    some = Captioner(nn.Identity(), decoder), memory, torch.tensor([[BOS, 3, 4, EOS]])
    plain = -torch.tensor([0.4, 0.5, 0.2]).log().mean().item()
    assert loss(*some, torch.tensor([0]), 0.0).item() == pytest.approx(plain, rel=1e-6)
    # the products of a row's probabilities
    rows = torch.tensor([0.1**2 * 0.2**2 * 0.4, 0.1**3 * 0.2 * 0.5, 0.2**5])
    wanted = 0.7 * plain + 0.3 * -rows.log().mean().item() / 5
    assert loss(*some, torch.tensor([0]), 0.3).item() == pytest.approx(wanted, rel=1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory, flickr8k_folder, squares) -> Path:
    """Train every system on the squares, once; `root` holds runs, `data` images."""
    from studies.captioning.train import train

    folder = tmp_path_factory.mktemp("trained")
    flickr8k_folder(folder / "data" / "flickr8k")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_ROOT", str(folder / "root"))
        patch.setenv("STUDIES_DATA", str(folder / "data"))
        for system in SYSTEMS:
            train(squares(system))
    return folder


@pytest.fixture
def runs(trained, squares, monkeypatch) -> dict[str, Path]:
    """The run folder of each system of `trained`, with the paths of the house pointing there."""
    monkeypatch.setenv("STUDIES_ROOT", str(trained / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(trained / "data"))
    return {system: squares(system).folder() for system in SYSTEMS}


@pytest.fixture
def elsewhere(sandbox, monkeypatch):
    """Return a function that moves to a fresh STUDIES_ROOT."""
    return lambda name: monkeypatch.setenv("STUDIES_ROOT", str(sandbox / name))


@pytest.fixture
def validations(learner, monkeypatch):
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
        written = run.model().caption(data.inputs(dataset, chosen))
        assert written == [wanted[int(name[:2]) % 4] for name in dataset.files]
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
            memory = describer.network.encoder(pixels.repeat_interleave(5, 0))
            logits = describer.network.decoder(memory, captions[:, :-1])
        wanted = cross_entropy(logits.transpose(1, 2), captions[:, 1:], ignore_index=PAD).item()
        assert len(rows) == 4
        assert run.provenance["best_score"] == pytest.approx(wanted, rel=1e-5)
        assert run.curves["validation_loss"].min() == pytest.approx(wanted, rel=1e-5)


class TestPatience:
    def test_it_ends_and_the_best_epoch_is_kept(self, few, squares, train, validations):
        weights = validations(3.0, 2.0, 2.5, 2.0, 1.0, 1.0)  # the fourth is not better
        run = load_run(train(squares("clip_transformer", epochs=6, patience=2)))
        assert run.curves["validation_loss"].tolist() == [3.0, 2.0, 2.5, 2.0]
        facts = run.provenance
        assert facts["stopped"] == "has not become better on validation data for 2 epochs"
        assert (facts["best_epoch"], facts["best_score"]) == (2, 2.0)
        tensors = load_file(run.folder / "model.safetensors")
        assert tensors.keys() == weights[2].keys()
        assert all(torch.equal(tensors[name], value) for name, value in weights[2].items())
        assert len(pd.read_csv(run.folder / "steps.csv")) == 4 * 3

    def test_it_counts_validations(self, few, squares, train, validations):
        validations(None, 3.0, None, 2.0, None, 2.5, None, 1.0)
        chosen = squares("clip_transformer", epochs=8, patience=1, validate_every=2)
        run = load_run(train(chosen))
        assert run.provenance["stopped"].endswith("for 2 epochs")
        assert run.provenance["best_epoch"] == 4
        assert len(run.curves) == 6


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
        self, few, squares, train, learner, validations, elsewhere, system
    ):
        validations(3.0, 2.0, 2.5, 2.5, 1.0)
        chosen = squares(system, augmentation=AUGMENTATION, images=6, epochs=5, patience=2)
        elsewhere("whole")
        whole = train(chosen)
        assert pd.read_csv(whole / "steps.csv")["step"].tolist() == list(range(1, 4 * 2 + 1))
        elsewhere("stopped")
        with pulled(learner, 3, 1):  # one validation was in vain
            train(chosen)
        assert not (chosen.folder() / "model.safetensors").exists()
        assert bits(train(chosen)) == bits(whole)

    @pytest.mark.parametrize("model", ["most_frequent", "nearest_neighbour"])
    def test_a_baseline_is_not_trained(self, sandbox, squares, train, model):
        assert refused(train, squares(model)).startswith(f"{model} is a baseline")
        assert kept(sandbox / "root") == []


@pytest.fixture
def applied():
    """What each step of a training applies: the norm of the gradient, and the rates."""
    steps = []

    def look(optimizer, *_):
        if isinstance(optimizer, torch.optim.AdamW):
            gradients = [p.grad for group in optimizer.param_groups for p in group["params"]]
            norm = torch.cat([one.flatten() for one in gradients]).norm().item()
            steps.append((norm, [group["lr"] for group in optimizer.param_groups]))

    hook = register_optimizer_step_post_hook(look)
    yield steps
    hook.remove()


class TestSchedule:
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_every_step_is_noted(self, runs, system):
        run, steps = load_run(runs[system]), pd.read_csv(runs[system] / "steps.csv")
        assert steps["step"].tolist() == list(range(1, STEPS + 1))
        assert steps["epoch"].tolist() == [1] * 3 + [2] * 3 + [3] * 3
        wanted = [PEAK * cosine(step, STEPS, 0.1) for step in range(STEPS)]
        assert steps["learning_rate"].tolist() == pytest.approx(wanted, rel=1e-5)
        assert (steps["gradient_norm"] > 0).all()
        assert run.curves["step"].tolist() == [3, 6, 9]
        losses = steps.groupby("epoch")["batch_loss"].mean()
        assert losses.tolist() == pytest.approx(run.curves["train_loss"].tolist(), rel=1e-5)
        validated = run.curves["validation_loss"]
        assert run.provenance["stopped"] == ""
        assert run.provenance["best_epoch"] == validated.argmin() + 1
        assert run.provenance["best_score"] == pytest.approx(validated.min())

    @pytest.mark.parametrize("rate", [0.0, 0.0005])
    def test_a_backbone_has_its_own_rate(
        self, few, squares, backbones, train, learner, applied, rate
    ):
        source = {"name": "backbone", "weights": str(backbones["resnet"]), "trained": True}
        changes = {"image_size": 64, "epochs": 1, "weight_decay": 0.2}
        encoder = {"source": source, "grid": 2}
        chosen = squares(encoder=encoder, backbone_learning_rate=rate, **changes)
        network = build(chosen, 11, (3, 64, 64))
        optimizer = learner(chosen, network, 10).configure_optimizers()
        groups = {p: group for group in optimizer.param_groups for p in group["params"]}
        assert groups.keys() == set(network.parameters())
        for name, one in network.named_parameters():
            assert groups[one]["weight_decay"] == (0.2 if one.ndim > 1 else 0.0)
            assert groups[one]["lr"] == (rate if "backbone" in name else PEAK)

        folder = train(chosen)
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


# Training that is killed wherever it hurts ends with the files of one that never was.

TINY = REPOSITORY / "params" / "captioning" / "tiny"
EPOCHS = 10
GIVEN = (
    *("-f", TINY / "dataset.yaml", "-f", TINY / "resnet_transformer.yaml", "-p", "seed=0"),
    *("-p", "source={name: kitchen, per_variant: 2, seed: 0}"),
    *("-p", "augmentation={flip: 0.5, shift: 0.1, zoom: 0.1, colour: 0.1}"),
    *("-p", f"epochs={EPOCHS}", "-p", f"patience={EPOCHS}"),
)
RUN = Path("runs", "tiny", "captioning", "resnet_transformer", "seed0")
TRAIN = "studies.captioning.train"


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The root of a run that nothing stopped."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    command = Command(folder / "logs", folder / "root", TRAIN, *GIVEN)
    assert command.finish().splitlines()[-1] == str(folder / "root" / RUN)
    return folder / "root"


@pytest.fixture
def start(commands):
    """Start the training on a root."""
    return lambda root, *more, code="": commands(root, TRAIN, *GIVEN, *more, code=code)


@pytest.fixture
def root(uninterrupted, tmp_path):
    """A root with the plates drawn already."""
    shutil.copytree(uninterrupted / "cache", tmp_path / "root" / "cache")
    return tmp_path / "root"


def assert_same(one: Path, other: Path):
    one, other = one / RUN, other / RUN
    assert bits(one) == bits(other)
    assert (one / "params.yaml").read_bytes() == (other / "params.yaml").read_bytes()
    made = [sorted(str(f.relative_to(own)) for f in own.rglob("*")) for own in (one, other)]
    assert made[0] == made[1]
    steps = pd.read_csv(one / "steps.csv")
    assert steps["step"].tolist() == list(range(1, len(steps) + 1))
    assert steps["epoch"].iloc[-1] == EPOCHS


class TestKilled:
    def test_at_random_moments(self, start, uninterrupted, root):
        chance = random.Random(3)
        resumed = []
        while not resumed or (len(resumed) < 3 and resumed[-1] < 4):
            command = start(root)
            goal = (resumed[-1] if resumed else 0) + chance.randint(1, 2)
            assert command.until(lambda goal=goal, c=command: c.epochs >= goal)
            time.sleep(chance.uniform(0, 0.1))
            command.kill()
            assert command.process.exitcode == -signal.SIGKILL
            resumed.append(command.epochs)
            assert not (root / RUN / "model.safetensors").exists()
        printed = start(root).finish()
        after = int(re.match(rf"resumed after epoch (\d+) of {EPOCHS}\n", printed)[1])
        assert after in (resumed[-1], resumed[-1] + 1)
        assert printed.count("\nepoch ") == EPOCHS - after
        assert_same(root, uninterrupted)
        assert start(root).finish() == f"{root / RUN}: already trained\n{root / RUN}\n"

    def test_while_drawing_the_plates_and_in_the_first_epoch(self, start, uninterrupted, tmp_path):
        root = tmp_path / "root"
        command = start(root)
        assert command.until(lambda: len(list(root.rglob("*.png"))) > 5)
        command.kill()
        command = start(root)
        assert command.until((root / RUN / "params.yaml").exists)
        command.kill()
        assert not (root / RUN / "model.safetensors").exists()
        start(root).finish()
        assert_same(root, uninterrupted)

    def test_by_ctrl_c(self, start, uninterrupted, root):
        command = start(root)
        assert command.until(lambda: command.epochs >= 2)
        command.signal(signal.SIGINT)
        assert command.wait() == 1
        assert command.err == "stopped; the same command goes on from here\n"
        assert start(root).finish().startswith("resumed after epoch ")
        assert_same(root, uninterrupted)

    @pytest.mark.parametrize(
        ("place", "number", "epochs"),
        [
            ("checkpoint/last.ckpt", 3, 2),
            ("steps.csv", EPOCHS, EPOCHS - 1),
            ("model.safetensors", 1, EPOCHS),
        ],
    )
    def test_by_a_full_disk(self, start, uninterrupted, root, place, number, epochs):
        command = start(root, place.rpartition("/")[2], number, TRAIN, code=FULL)
        assert command.wait() == 1
        wanted = f"error: cannot write {root / RUN / place}: No space left on device; free the disk"
        assert command.err.startswith(wanted)
        assert command.err.count("\n") == 1
        checkpoint = torch.load(root / RUN / "checkpoint" / "last.ckpt", weights_only=True)
        assert checkpoint["epoch"] == epochs - 1
        assert not list(root.rglob(".*.part"))
        printed = start(root).finish()
        assert len(re.findall(r"^epoch ", printed, re.M)) == EPOCHS - epochs
        assert_same(root, uninterrupted)
