"""Training at a size of seconds: does it learn, keep its schedule, and give the same bits again."""

import hashlib
import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.numpy import load_file
from sklearn.metrics import f1_score, silhouette_score

from plug import pulled
from studies.inputs import images
from studies.paths import StudyError
from studies.runs.folder import load_run
from studies.triplets.loss import FlexibleMarginLoss
from studies.triplets.model import build, run

SYSTEMS = ["cross_entropy", "triplet", "flexible", "flexible@sum", "hybrid"]
CHANCE = 1 / 7
AUGMENTATION = {"flip": 0.5, "shift": 0.1, "zoom": 0.1, "colour": 0.1}


@pytest.fixture
def evaluate():
    from studies.triplets.evaluate import evaluate

    return evaluate


@pytest.fixture
def few(sandbox, colours):
    """A sandbox with the folder of colours, 15 images a class."""
    colours(sandbox / "data" / "colours", 15)
    return sandbox


class TestLearning:
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_easy_images_are_told_apart(self, colour_runs, system):
        loaded = load_run(colour_runs[system])
        frame = loaded.predictions
        truth, predicted = frame["true_level3"], frame["predicted_level3"]
        assert f1_score(truth, predicted, average="macro") > 0.9
        assert loaded.curves["validation_macro_f1"].max() > 3 * CHANCE

    @pytest.mark.parametrize("system", ["cross_entropy", "hybrid"])
    def test_the_loss_falls(self, colour_runs, system):
        losses = load_run(colour_runs[system]).curves["train_loss"]
        assert losses.iloc[-1] < 0.5 * losses.iloc[0]

    @pytest.mark.parametrize("system", ["triplet", "flexible", "flexible@sum", "hybrid"])
    def test_classes_of_unseen_images_draw_together(self, colour_runs, parameters, trained, system):
        frame = load_run(colour_runs[system]).predictions
        root = trained / "data" / "colours"
        pixels = np.stack([images.decode(root / file, 16) for file in frame["id"]])
        torch.manual_seed(0)
        before = run(build(parameters(system), 7, None), pixels, "32-true").embeddings
        _, after = load_run(colour_runs[system]).model().look(pixels)
        truth = frame["true_level3"]
        assert silhouette_score(after, truth) > silhouette_score(before, truth) + 0.05

    @pytest.mark.parametrize("system", SYSTEMS)
    def test_the_best_epoch_is_the_earliest_best(self, colour_runs, system):
        loaded = load_run(colour_runs[system])
        scores = loaded.curves["validation_macro_f1"]
        assert loaded.provenance["best_score"] == pytest.approx(scores.max())
        assert loaded.provenance["best_epoch"] == int(scores.argmax()) + 1

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
        folder = train(parameters("flexible", epochs=4, stages=stages))
        curves = load_run(folder).curves
        assert curves["learning_rate"].tolist() == [0.003, 0.002, 0.002, 0.0001]
        steps = np.diff([0, *curves["step"]])
        assert len(set(steps)) == 1
        kinds = ["semihard", "all", "all", "hardest"]
        assert seen == [kind for kind in kinds for _ in range(steps[0])]

    @pytest.mark.parametrize("system", ["cross_entropy", "triplet", "hybrid"])
    def test_learning_rate_0_keeps_the_weights_to_the_bit(self, few, parameters, train, system):
        mining = None if system == "cross_entropy" else "semihard"
        stages = [{"from_epoch": 0, "learning_rate": 0.0, "mining": mining}]
        tensors = load_file(train(parameters(system, stages=stages)) / "model.safetensors")
        torch.manual_seed(0)
        fresh = build(parameters(system), 7, None)
        for name, value in fresh.named_parameters():
            assert tensors[f"network.{name}"].tobytes() == value.detach().numpy().tobytes()
        moved = [name for name in tensors if name.endswith("running_mean")]
        assert all(np.abs(tensors[name]).max() > 0 for name in moved)


class TestSameBits:
    def bits(self, folder) -> dict[str, str]:
        kept = ("model.safetensors", "metrics.json", "predictions.parquet", "curves.csv")
        return {n: hashlib.sha256((folder / n).read_bytes()).hexdigest() for n in kept}

    @pytest.fixture
    def elsewhere(self, sandbox, monkeypatch):
        """Return a function that moves to a fresh STUDIES_ROOT."""
        return lambda name: monkeypatch.setenv("STUDIES_ROOT", str(sandbox / name))

    @pytest.mark.parametrize("system", ["cross_entropy", "flexible"])
    def test_same_seed_same_bits_other_seed_others(
        self, few, parameters, train, evaluate, learner, elsewhere, system
    ):
        settings = parameters(system, augmentation=AUGMENTATION)
        elsewhere("one")
        first = self.bits(evaluate(settings))
        elsewhere("two")
        torch.rand(5)  # chance drawn before must not matter
        assert self.bits(evaluate(settings)) == first
        other = self.bits(evaluate(parameters(system, augmentation=AUGMENTATION, seed=1)))
        assert other["model.safetensors"] != first["model.safetensors"]
        assert other["curves.csv"] != first["curves.csv"]

    @pytest.mark.parametrize("system", ["cross_entropy", "flexible"])
    def test_a_run_that_was_stopped_ends_the_same(
        self, few, parameters, train, evaluate, learner, elsewhere, system
    ):
        settings = parameters(system, augmentation=AUGMENTATION)
        elsewhere("whole")
        whole = self.bits(evaluate(settings))
        elsewhere("stopped")
        with pulled(learner, 2, 1):
            train(settings)
        assert not (settings.folder() / "model.safetensors").exists()
        assert self.bits(evaluate(settings)) == whole

    def test_all_approaches_see_the_same_batches(self, few, parameters, train, monkeypatch):
        from studies.triplets.train import Learner

        step, seen = Learner.training_step, {}

        def spy(self, batch, index):
            content = batch[0].numpy().tobytes() + batch[1].numpy().tobytes()
            drawn = seen.setdefault(self.settings.system, [])
            drawn.append(hashlib.sha256(content).hexdigest())
            return step(self, batch, index)

        monkeypatch.setattr(Learner, "training_step", spy)
        for system in SYSTEMS:
            train(parameters(system))
        assert set(seen) == set(SYSTEMS)
        assert len({tuple(drawn) for drawn in seen.values()}) == 1
        assert len(set(seen["triplet"])) > len(seen["triplet"]) // 2  # and they do change

    def test_a_finished_run_is_left_alone(self, few, parameters, train, capsys):
        folder = train(parameters("triplet"))
        before = {file: file.stat().st_mtime_ns for file in folder.iterdir() if file.is_file()}
        capsys.readouterr()
        assert train(parameters("triplet")) == folder
        assert "already trained" in capsys.readouterr().out
        after = {file: file.stat().st_mtime_ns for file in before}
        assert {f for f in before if before[f] != after[f]} <= {folder / ".lock"}

    def test_other_parameters_are_refused(self, few, parameters, train):
        train(parameters("triplet"))
        with pytest.raises(StudyError, match="neighbours was 5, now 3"):
            train(parameters("triplet", neighbours=3))


class TestMistakes:
    @pytest.mark.parametrize("system", SYSTEMS)
    def test_divergence_is_one_sentence(self, few, parameters, train, system):
        mining = None if system == "cross_entropy" else "semihard"
        stages = [{"from_epoch": 0, "learning_rate": 1e30, "mining": mining}]
        with pytest.raises(StudyError, match="lower learning_rate") as caught:
            train(parameters(system, stages=stages))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("margins", [[1.0], [2.0, 1.0], [2.0, 1.0, 0.5, 0.2]])
    def test_margins_that_do_not_fit_the_tree(self, few, parameters, train, margins):
        loss = {"name": "flexible_margin", "margins": margins, "combine": "max", "take": "closest"}
        settings = parameters("flexible", loss=loss)
        with pytest.raises(StudyError, match=f"has {len(margins)} values and the labels 3 levels"):
            train(settings)
        assert not settings.folder().exists()

    def test_too_many_classes_held_out(self, few, parameters, train):
        settings = parameters("triplet", held_out=6)
        with pytest.raises(StudyError, match="6 of 7 classes leaves fewer than two") as caught:
            train(settings)
        assert "\n" not in str(caught.value)
        assert not settings.folder().exists()

    def test_no_class_is_large_enough_to_score(self, few, parameters, train):
        with pytest.raises(StudyError, match=r"no class of .* has more than 15 images; lower"):
            train(parameters("triplet", min_count=15))


class TestFrozen:
    """A frozen backbone from a local folder: nothing is fetched, features are made once."""

    @pytest.fixture
    def weights(self, few):
        torch.manual_seed(0)
        config = transformers.ConvNextConfig(hidden_sizes=[8, 16, 32, 64], depths=[1, 1, 1, 1])
        transformers.ConvNextModel(config).save_pretrained(few / "weights")
        processor = transformers.ConvNextImageProcessor(size={"shortest_edge": 32})
        processor.save_pretrained(few / "weights")
        return {"name": "frozen", "weights": str(few / "weights"), "hidden": 32}

    def test_end_to_end(self, few, weights, parameters, evaluate, monkeypatch):
        from studies.inputs import features

        settings = {"backbone": weights, "epochs": 10}
        folders = {"flexible": evaluate(parameters("flexible", **settings))}
        cache = sorted((few / "root" / "cache" / "features").glob("*.npy"))
        assert len(cache) == 1
        stored = np.load(cache[0])
        assert stored.shape == (105, 64)

        def never(*_):
            raise AssertionError("features are computed a second time")

        monkeypatch.setattr(features, "_extract", never)
        for system in ("cross_entropy", "hybrid"):
            folders[system] = evaluate(parameters(system, **settings))
        heads = {
            "flexible": {"embedding": 16},
            "cross_entropy": {"softmax": 7},
            "hybrid": {"softmax": 7, "embedding": 16},
        }
        for system, folder in folders.items():
            tensors = load_file(folder / "model.safetensors")
            shapes = {name: value.shape for name, value in tensors.items() if "network" in name}
            wanted = {"trunk.layers.0.weight": (32, 64), "trunk.layers.0.bias": (32,)}
            for head, width in heads[system].items():
                wanted |= {f"{head}.weight": (width, 32), f"{head}.bias": (width,)}
            assert shapes == {f"network.{name}": shape for name, shape in wanted.items()}
            loaded = load_run(folder)
            trained = 65 * 32 + 33 * sum(heads[system].values())
            assert loaded.provenance["parameters_trained"] == trained
            frame = loaded.predictions
            score = f1_score(frame["true_level3"], frame["predicted_level3"], average="macro")
            assert score > 2 * CHANCE
            # the file alone turns features into the predictions that were written
            rows = [sorted(_ids(few)).index(file) for file in frame["id"]]
            model = loaded.model()
            got = [model.names[2][label[2]] for label in model.predict(stored[rows])]
            assert got == frame["predicted_level3"].tolist()

    def test_missing_weights(self, few, parameters, evaluate):
        backbone = {"name": "frozen", "weights": str(few / "nowhere"), "hidden": 32}
        settings = parameters("flexible", backbone=backbone)
        with pytest.raises(StudyError, match="nowhere"):
            evaluate(settings)
        assert not settings.folder().exists()


def _ids(folder) -> list[str]:
    root = folder / "data" / "colours"
    return [file.relative_to(root).as_posix() for file in root.rglob("*.png")]


def test_provenance_says_what_was_trained(colour_runs):
    facts = json.loads((colour_runs["triplet"] / "provenance.json").read_text())
    convolutions, norms = 25 * 3 * 8 + 9 * 8 * 16, 2 * (8 + 16)
    assert facts["parameters_trained"] == convolutions + norms + 257 * 32 + 33 * 16
    assert facts["images"] == {"train": 126, "validation": 42, "test": 42}
    assert facts["threads"] == 1
    assert facts["seconds"] > 0
