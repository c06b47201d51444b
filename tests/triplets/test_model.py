"""Networks, the vote of the neighbours, and the file: against counts, brute force and bits."""

import shutil

import numpy as np
import pytest
import timm
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from changing import change_run
from sentences import refused
from studies.runs.folder import LoadedRun, load_run
from studies.triplets.figures import PAPER
from studies.triplets.model import Classifier, build, load, run
from studies.triplets.params import Parameters

SYSTEMS = ["cross_entropy", "triplet", "flexible", "hybrid"]


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def shipped(dataset, system) -> Parameters:
    values = {"dataset": dataset, "system": system, "seed": 0}
    return Parameters.from_names(values, "test")


class TestNetwork:
    def test_published_sizes(self):
        convolutions = 25 * 3 * 32 + 9 * (32 * 64 + 64 * 128 + 128 * 256)
        # 100 pixels a side are 50 after the stride, then 25, 12 and 6 after three poolings
        norms, dense = 2 * (32 + 64 + 128 + 256), (6 * 6 * 256 + 1) * 256
        trunk, softmax, embedding = convolutions + norms + dense, 257 * 81, 257 * 128
        assert trunk + softmax == 2_770_801  # the paper: about 2.7 M
        heads = {"cross_entropy": softmax, "flexible": embedding, "hybrid": softmax + embedding}
        for system, size in heads.items():
            network = build(shipped("grocery_random", system), 81, None)
            assert count(network) == trunk + size
        # on features of ConvNeXt-XLarge
        for system, size in {"cross_entropy": 545_361, "triplet": 557_440}.items():
            network = build(shipped("grocery_random_convnext", system), 81, 2048)
            assert count(network) == size

    def test_the_sizes_that_a_claim_is_tested_with(self):
        backbone = count(timm.create_model("tf_efficientnet_lite2", num_classes=0))
        for variant, millions in PAPER["sizes"].items():
            given = shipped("grocery_random", f"flexible@{variant}")
            frozen = given.backbone.name == "frozen"
            network = build(given, 81, 1280 if frozen else None)
            assert round((count(network) + frozen * backbone) / 1e6, 3) == millions

    def test_that_of_frozen_features_may_be_standardised(self, parameters, tmp_path):
        block = {"name": "frozen", "weights": ["a", "b"], "hidden": 6}
        block |= {"standardised": True, "dropout": 0.5}
        given = parameters("hybrid", backbone=block, augmentation=None)
        network = build(given, 3, 4)
        features = 5 + 20 * torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
        trunk = network.train().trunk
        with torch.no_grad():
            assert 0.5 < (trunk(features) == 0).float().mean() < 0.95  # half by ReLU, half dropped
            for layer in (trunk.before, trunk.layers[:2]):
                features = layer(features)
                assert features.mean(0).abs().max() < 1e-5
                assert (features.var(0, unbiased=False) - 1).abs().max() < 1e-2
            assert torch.equal(trunk.eval().layers[2:](features), features.relu())
        known = [["x", "y", "z"]], np.arange(3)[:, None], np.eye(3, 5), np.arange(3)
        Classifier(given, network, *known).save(tmp_path / "model.safetensors")
        again = load(LoadedRun(tmp_path, given.resolved())).network.state_dict()
        assert all(torch.equal(one, again[name]) for name, one in network.state_dict().items())

    def test_the_same_trunk_under_every_loss(self, parameters):
        trunks = []
        for system in SYSTEMS:
            torch.manual_seed(3)
            trunks.append(build(parameters(system), 7, None).trunk.state_dict())
        for trunk in trunks[1:]:
            assert all(torch.equal(value, trunks[0][name]) for name, value in trunk.items())

    @pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
    @pytest.mark.parametrize("system", ["cross_entropy", "flexible", "hybrid"])
    def test_heads_read_the_same_units_and_embeddings_have_length_1(
        self, parameters, precision, system
    ):
        network = build(parameters(system), 7, None).train()
        pixels = np.random.default_rng(0).integers(0, 256, (300, 3, 16, 16), dtype=np.uint8)
        logits, embedded = run(network, pixels, precision)
        assert network.training
        assert embedded.dtype == torch.float32
        assert np.abs(np.linalg.norm(embedded, axis=1) - 1).max() < 1e-5
        close = {"atol": 1e-5 if precision == "32-true" else 0.1}
        with torch.no_grad():
            units = network.eval().trunk(torch.from_numpy(pixels) / 255)
        point = units if system == "cross_entropy" else network.embedding(units)
        assert torch.allclose(embedded, point / point.norm(dim=1, keepdim=True), **close)
        if system == "flexible":
            assert logits is None
        else:
            assert torch.allclose(logits, network.softmax(units), **close)
        # nor does it depend on the chunk
        last = run(network, pixels[290:], precision).embeddings
        assert torch.allclose(embedded[290:], last, **close)


def vote_by_hand(query, references, classes, total, k) -> list[float]:
    """Inverse distances of the k nearest; those at distance 0 share the vote alone."""
    distances = [float(np.sqrt(((query - r) ** 2).sum())) for r in references.astype(float)]
    nearest = sorted(range(len(references)), key=lambda i: distances[i])[:k]
    exact = [i for i in nearest if distances[i] == 0]
    weights = dict.fromkeys(exact, 1.0) if exact else {i: 1 / distances[i] for i in nearest}
    shares = [0.0] * total
    for i, weight in weights.items():
        shares[classes[i]] += weight / sum(weights.values())
    return shares


@pytest.fixture(scope="session")
def vote(parameters):
    """Return a function: queries, references, their classes, all classes, k -> shares."""

    def vote(queries, references, classes, total, k):
        settings = parameters("triplet", neighbours=k)
        labels = np.arange(total)[:, None]
        known = np.array(references), np.array(classes)
        return Classifier(settings, None, [], labels, *known).vote(np.array(queries))

    return vote


class TestVote:
    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 12), st.integers(1, 7), st.integers(2, 40), st.integers(0, 2**32 - 1))
    def test_equals_brute_force(self, vote, size, k, width, seed):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(size + 4, width)).astype(np.float32)
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        queries, references = points[:4], points[4:]
        classes = rng.choice([0, 2, 3], size)
        got = vote(queries, references, classes, 5, k)
        wanted = [vote_by_hand(q.astype(float), references, classes, 5, k) for q in queries]
        assert got == pytest.approx(np.array(wanted), abs=1e-5)
        assert (got[:, [1, 4]] == 0).all()  # classes without a reference

    def test_by_hand(self, vote):
        # at distances 1, 2 and 4: weights 1, 1/2 and 1/4
        references = [[1.0, 0], [-2, 0], [0, 4], [9, 9]]
        assert vote([[0.0, 0]], references, [0, 1, 1, 0], 2, 3)[0] == pytest.approx([4 / 7, 3 / 7])
        assert vote([[0.0, 0]], [[1.0, 0], [0, 3]], [1, 0], 3, 5)[0].tolist() == [0.25, 0.75, 0]
        # duplicates outvote everyone, and tie
        twins = np.eye(3)[[0, 0, 1, 2]]
        assert vote(twins[:1], twins, [0, 2, 1, 1], 3, 3)[0] == pytest.approx([0.5, 0, 0.5])


class TestLeastCost:
    @given(st.integers(0, 2**32 - 1))
    def test_no_class_has_a_lower_expected_cost(self, parameters, seed):
        rng = np.random.default_rng(seed)
        labels = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3], [1, 2, 4]])
        known = np.zeros((1, 2)), np.zeros(1, dtype=int)
        settings = parameters("cross_entropy", decide="least_cost")
        logits = torch.from_numpy(rng.normal(scale=2, size=(4, 5)))
        shares = Classifier(settings, None, [], labels, *known).shares(logits, None)
        for row, chances in zip(shares, torch.softmax(logits, 1).tolist(), strict=True):
            # a cost of 1 for each level that is wrong
            costs = [
                sum(p * sum(a != b for a, b in zip(mine, true, strict=True)) for p, true in pairs)
                for pairs in [list(zip(chances, labels.tolist(), strict=True))]
                for mine in labels.tolist()
            ]
            assert row == pytest.approx([1 - cost / 3 for cost in costs])
            assert costs[row.argmax()] == pytest.approx(min(costs))


# system and what names the class
DECIDED = [("cross_entropy", "softmax"), ("flexible", "neighbours"), ("hybrid", "neighbours")]


@pytest.mark.parametrize(("system", "decide"), DECIDED)
def test_a_file_gives_back_the_classifier_to_the_bit(sandbox, parameters, system, decide):
    torch.manual_seed(0)
    settings = parameters(system, decide=decide)
    network = build(settings, 3, None).eval()
    # buffers must come back too
    next(m for m in network.modules() if hasattr(m, "running_mean")).running_mean.uniform_(-1, 1)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 3, 16, 16), dtype=np.uint8)
    names, classes = [["a", "b"], ["a/x", "a/é|", "b/b"]], np.array([[0, 0], [0, 1], [1, 2]])
    logits, embedded = run(network, pixels, "32-true")
    known = embedded[:12].numpy(), rng.integers(0, 3, 12)
    classifier = Classifier(settings, network, names, classes, *known)
    probabilities, seen = classifier.look(pixels)
    assert np.array_equal(embedded, seen)
    if decide == "softmax":
        powers = np.exp(logits.numpy().astype(float))
        wanted = powers / powers.sum(1, keepdims=True)
    else:
        wanted = [vote_by_hand(query, *known, 3, 5) for query in seen[12:].astype(float)]
        # an image among the references is its own nearest, at distance 0
        wanted = np.concatenate([np.eye(3)[known[1]], wanted])
    assert probabilities == pytest.approx(wanted, abs=1e-4)
    assert np.array_equal(classifier.predict(pixels), classes[np.asarray(wanted).argmax(1)])

    folder = sandbox / "run"
    folder.mkdir()
    (folder / "params.yaml").write_text(yaml.safe_dump(settings.resolved()))
    classifier.save(folder / "model.safetensors")
    assert {file.name for file in folder.iterdir()} == {"model.safetensors", "params.yaml"}
    with safe_open(folder / "model.safetensors", framework="np") as content:
        assert {"classes", "references", "reference_classes"} < set(content.keys())
    again = load_run(folder).model()
    assert again.names == names
    assert not again.network.training
    for one, other in zip(again.look(pixels), classifier.look(pixels), strict=True):
        assert (one == other).all()


@pytest.mark.parametrize("kept", [0, 100, -1000])
def test_a_damaged_file_is_one_sentence(colour_runs, tmp_path, kept):
    folder = shutil.copytree(colour_runs["triplet"], tmp_path / "run")
    change_run(folder)  # as one that holds no digests
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    assert refused(load_run(folder).model).startswith(f"{file}: cannot be read (")
    shutil.copy(colour_runs["cross_entropy"] / "model.safetensors", folder)
    assert refused(load_run(folder).model).startswith(f"{file}: holds another system's weights")
