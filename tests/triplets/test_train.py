"""Training at a size of seconds: does it learn, keep its schedule, and give the same bits again."""

import hashlib
import json

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import load_file
from sklearn.metrics import f1_score, silhouette_score

from plug import noting, pulled
from sentences import refused
from studies.inputs import features, images
from studies.runs.folder import load_run
from studies.triplets.evaluate import evaluate
from studies.triplets.loss import COLLAPSED, FlexibleMarginLoss
from studies.triplets.model import build, run

SYSTEMS = ["cross_entropy", "triplet", "flexible", "flexible@sum", "hybrid"]
CHANCE = 1 / 7
AUGMENTATION = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.1}


@pytest.fixture
def few(sandbox, colours):
    """A sandbox with the folder of colours, 15 images a class."""
    colours(sandbox / "data" / "colours", 15)
    return sandbox


class TestLearning:
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_easy_images_are_told_apart(self, colour_runs, parameters, trained, system):
        loaded = load_run(colour_runs[system])
        frame, scores = loaded.predictions, loaded.curves["validation_macro_f1"]
        truth = frame["true_level3"]
        assert f1_score(truth, frame["predicted_level3"], average="macro") > 0.9
        assert loaded.provenance["stopped"] == ""
        assert loaded.provenance["best_score"] == pytest.approx(scores.max())
        assert loaded.provenance["best_epoch"] == int(scores.argmax()) + 1  # the earliest best
        # classes of unseen images draw together
        pixels = [images.decode(trained / "data/colours" / file, 16) for file in frame["id"]]
        torch.manual_seed(0)
        before = run(build(parameters(system), 7, None), np.stack(pixels), "32-true").embeddings
        _, after = loaded.model().look(np.stack(pixels))
        assert silhouette_score(after, truth) > silhouette_score(before, truth)

    def test_the_hierarchy_shows_in_the_distances(self, colour_runs):
        """With margins 2, 1, 0.5 siblings end nearer to each other than strangers."""
        tensors = load_file(colour_runs["flexible"] / "model.safetensors")
        labels = tensors["classes"][tensors["reference_classes"]]
        points = tensors["references"]
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
        same = labels[:, None] == labels[None]
        siblings = distances[same[..., 1] & ~same[..., 2]].mean()
        strangers = distances[~same[..., 0]].mean()
        assert distances[same[..., 2]].mean() < siblings < strangers


class TestSchedule:
    def test_learning_rate_and_mining_change_at_their_epoch(
        self, few, parameters, train, monkeypatch
    ):
        seen = []
        forward = FlexibleMarginLoss.forward

        def spy(self, embeddings, labels):
            seen.append(self.mining)
            return forward(self, embeddings, labels)

        monkeypatch.setattr(FlexibleMarginLoss, "forward", spy)
        stages = [
            {"from_epoch": 0, "learning_rate": 0.003, "mining": "semihard"},
            {"from_epoch": 1, "learning_rate": 0.002, "mining": "all"},
            {"from_epoch": 3, "learning_rate": 0.0001, "mining": "hardest"},
        ]
        curves = load_run(train(parameters("flexible", epochs=4, stages=stages))).curves
        assert curves["learning_rate"].tolist() == [0.003, 0.002, 0.002, 0.0001]
        steps = np.diff([0, *curves["step"]])
        assert len(set(steps)) == 1
        kinds = ["semihard", "all", "all", "hardest"]
        assert seen == [kind for kind in kinds for _ in range(steps[0])]


class TestSameBits:
    @pytest.mark.parametrize("system", ["cross_entropy", "flexible"])
    def test_same_seed_same_bits_stopped_or_not_other_seed_others(
        self, few, parameters, train, learner, elsewhere, system
    ):
        def bits(**changes) -> list[str]:
            folder = evaluate(parameters(system, augmentation=AUGMENTATION, **changes))
            kept = ("model.safetensors", "metrics.json", "predictions.parquet", "curves.csv")
            return [hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in kept]

        elsewhere("one")
        first = bits()
        assert bits(seed=1)[0] != first[0]
        elsewhere("two")
        torch.rand(5)  # chance drawn before must not matter
        assert bits() == first
        elsewhere("stopped")
        settings = parameters(system, augmentation=AUGMENTATION)
        with pulled(learner, 2, 1):
            train(settings)
        assert not (settings.folder() / "model.safetensors").exists()
        assert bits() == first

    def test_all_approaches_see_the_same_batches(
        self, few, parameters, train, learner, monkeypatch
    ):
        seen = {}

        def spy(watched, _, batch):
            content = batch[0].numpy().tobytes() + batch[1].numpy().tobytes()
            drawn = seen.setdefault(watched.settings.system, [])
            drawn.append(hashlib.sha256(content).hexdigest())

        noting(monkeypatch, learner, spy)
        for system in SYSTEMS:
            train(parameters(system))
        assert len({tuple(seen[system]) for system in SYSTEMS}) == 1
        assert len(set(seen["triplet"])) > len(seen["triplet"]) // 2  # and they do change


class TestRefused:
    @pytest.mark.parametrize(
        ("system", "changes", "words"),
        [
            ("flexible", {"margins": [2.0, 1.0]}, "has 2 values and the labels 3 levels"),
            ("triplet", {"held_out": 6}, "6 of 7 classes"),
            ("triplet", {"min_count": 15}, "has more than 15 images"),
        ],
    )
    def test_what_cannot_be_trained_makes_no_folder(
        self, few, parameters, train, system, changes, words
    ):
        if "margins" in changes:
            loss = {"name": "flexible_margin", "combine": "max", "take": "closest", **changes}
            changes = {"loss": loss}
        settings = parameters(system, **changes)
        assert words in refused(train, settings)
        assert not settings.folder().exists()


def test_a_frozen_backbone_end_to_end(few, parameters, monkeypatch):
    """From a local folder: nothing is fetched, features are made once."""
    torch.manual_seed(0)
    config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1])
    transformers.ConvNextModel(config).save_pretrained(few / "weights")
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 32})
    processor.save_pretrained(few / "weights")
    backbone = {"name": "frozen", "weights": str(few / "weights"), "hidden": 32}
    heads = {
        "flexible": {"embedding": 16},
        "cross_entropy": {"softmax": 7},
        "hybrid": {"softmax": 7, "embedding": 16},
    }
    files = sorted((few / "data/colours").rglob("*.png"))
    ids = [file.relative_to(few / "data/colours").as_posix() for file in files]
    for system, widths in heads.items():
        folder = evaluate(parameters(system, backbone=backbone, epochs=10))
        monkeypatch.setattr(features, "write_header", lambda *_: pytest.fail("made twice"))
        (cache,) = (few / "root/cache/features").glob("*.npy")
        stored = np.load(cache)
        assert stored.shape == (105, 64)
        loaded = load_run(folder)
        trained = 65 * 32 + 33 * sum(widths.values())
        assert loaded.provenance["parameters_trained"] == trained
        tensors = load_file(folder / "model.safetensors")
        for head, width in widths.items():
            assert tensors[f"network.{head}.weight"].shape == (width, 32)
        frame = loaded.predictions
        score = f1_score(frame["true_level3"], frame["predicted_level3"], average="macro")
        assert score > 2 * CHANCE
        # the file alone turns features into the predictions that were written
        model = loaded.model()
        labels = model.predict(stored[[ids.index(file) for file in frame["id"]]])
        assert [model.names[2][k] for k in labels[:, 2]] == frame["predicted_level3"].tolist()


class TestCollapse:
    """A space that collapses ends the training, in one sentence, and it stays ended."""

    @pytest.fixture
    def alike(self, sandbox):
        """Pictures that differ as files and not as pixels: any network embeds all at one point."""
        picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8))
        for number in range(4 * 15):
            note = PngInfo()
            note.add_text("number", f"{number:02}")
            tree = ["warm/red/pale", "warm/red/dark", "warm/blue/dark", "cold/blue/pale"]
            file = sandbox / "data/colours" / tree[number % 4] / f"{number:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture.save(file, pnginfo=note)

    def contents(self, folder) -> list:
        facts = json.loads((folder / "provenance.json").read_text())
        files = [(folder / name).read_bytes() for name in ("curves.csv", "model.safetensors")]
        return [*files, *(facts[name] for name in ("best_epoch", "best_score", "stopped"))]

    @pytest.mark.parametrize("system", ["triplet", "flexible", "hybrid"])
    def test_it_ends_and_is_never_taken_up_again(
        self, alike, parameters, train, learner, elsewhere, capsys, system
    ):
        settings = parameters(system, epochs=6, validate_every=2)
        folder = train(settings)
        said = [line for line in capsys.readouterr().out.splitlines() if "collapsed" in line]
        run = load_run(folder)
        assert said == [f"training stops: it {run.provenance['stopped']}"]
        assert run.provenance["stopped"].startswith("collapsed by epoch 2: ")
        assert run.curves["epoch"].tolist() == [1, 2]
        points = load_file(folder / "model.safetensors")["references"]
        assert np.linalg.norm(points[:, None] - points, axis=-1).max() < COLLAPSED
        assert load_run(evaluate(settings)).metrics["macro_f1"] < 0.5
        before = self.contents(folder)
        with pytest.MonkeyPatch.context() as patch:
            noting(patch, learner, lambda *_: pytest.fail("trained again"))
            train(settings)
            (folder / "model.safetensors").unlink()  # as if killed after the last checkpoint
            (folder / "provenance.json").unlink()
            train(settings)
        assert self.contents(folder) == before
        elsewhere("again")
        with pulled(learner, 1, 1):
            train(settings)
        assert self.contents(train(settings)) == before

    def test_cross_entropy_has_no_such_alarm(self, alike, parameters, train):
        run = load_run(train(parameters("cross_entropy", epochs=6, validate_every=2)))
        assert run.provenance["stopped"] == ""
        assert len(run.curves) == 6
