"""Networks, the vote of the neighbours, and the file: against counts, brute force and bits."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from studies.inputs import images
from studies.learning.compute import to_input
from studies.runs.folder import load_run
from studies.triplets.model import Classifier, build, run, vote
from studies.triplets.params import Parameters


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def shipped(params_of, dataset, system) -> Parameters:
    return Parameters.check(params_of(dataset, system) | {"seed": 0}, {"": dataset})


class TestNetwork:
    @pytest.mark.parametrize(
        ("system", "parameters"),
        [("cross_entropy", 545_361), ("triplet", 557_440), ("flexible", 557_440)],
    )
    def test_frozen_heads_have_the_published_size(self, params_of, system, parameters):
        network = build(shipped(params_of, "grocery_random_frozen", system), 81, 2048)
        assert count(network) == parameters
        logits, embeddings = network(torch.rand(2, 2048))
        if system == "cross_entropy":
            assert logits.shape == (2, 81)
            assert embeddings.shape == (2, 256)
        else:
            assert logits is None
            assert embeddings.shape == (2, 128)

    @pytest.mark.parametrize("dataset", ["grocery_random", "grocery_official"])
    def test_scratch_network_has_the_published_size(self, params_of, dataset):
        convolutions = 25 * 3 * 32 + 9 * (32 * 64 + 64 * 128 + 128 * 256)
        # 100 pixels a side are 50 after the stride, then 25, 12 and 6 after three poolings
        norms, dense = 2 * (32 + 64 + 128 + 256), (6 * 6 * 256 + 1) * 256
        trunk, heads = convolutions + norms + dense, {"softmax": 257 * 81, "embedding": 257 * 128}
        for system, parts in {
            "cross_entropy": ["softmax"],
            "triplet": ["embedding"],
            "flexible": ["embedding"],
            "hybrid": ["softmax", "embedding"],
        }.items():
            network = build(shipped(params_of, dataset, system), 81, None)
            assert count(network) == trunk + sum(heads[part] for part in parts)
            assert all((getattr(network, head) is None) == (head not in parts) for head in heads)
        assert trunk + heads["softmax"] == 2_770_801  # the paper: about 2.7 M

    def test_the_same_trunk_under_every_loss(self, parameters):
        trunks = []
        for system in ("cross_entropy", "triplet", "flexible", "hybrid"):
            torch.manual_seed(3)
            trunks.append(build(parameters(system), 7, None).trunk.state_dict())
        for trunk in trunks[1:]:
            assert all(torch.equal(value, trunks[0][name]) for name, value in trunk.items())

    @pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
    @pytest.mark.parametrize("system", ["cross_entropy", "flexible", "hybrid"])
    def test_embeddings_lie_on_the_unit_sphere(self, parameters, precision, system):
        network = build(parameters(system), 7, None)
        pixels = np.random.default_rng(0).integers(0, 256, (300, 3, 16, 16), dtype=np.uint8)
        logits, embedded = run(network, pixels, precision)
        assert embedded.shape == (300, 32 if system == "cross_entropy" else 16)
        assert embedded.dtype == torch.float32
        assert np.abs(np.linalg.norm(embedded, axis=1) - 1).max() < 1e-5
        if system == "flexible":
            assert logits is None
        else:
            assert logits.shape == (300, 7)
            assert logits.dtype == torch.float32

    def test_both_heads_read_the_same_units(self, parameters):
        torch.manual_seed(0)
        network = build(parameters("hybrid"), 7, None).eval()
        pixels = torch.rand(5, 3, 16, 16)
        with torch.no_grad():
            units = network.trunk(pixels)
            logits, embedded = network(pixels)
        weight, bias = network.softmax.weight, network.softmax.bias
        assert torch.allclose(logits, units @ weight.T + bias, atol=1e-5)
        point = units @ network.embedding.weight.T + network.embedding.bias
        assert torch.allclose(embedded, point / point.norm(dim=1, keepdim=True), atol=1e-5)

    def test_without_an_embedding_head_the_units_are_the_embedding(self, parameters):
        torch.manual_seed(0)
        network = build(parameters("cross_entropy"), 7, None).eval()
        pixels = torch.rand(5, 3, 16, 16)
        with torch.no_grad():
            units, embedded = network.trunk(pixels), network(pixels).embeddings
        assert torch.allclose(embedded, units / units.norm(dim=1, keepdim=True), atol=1e-5)

    def test_run_does_not_depend_on_the_chunk_and_leaves_the_mode(self, parameters):
        network = build(parameters("cross_entropy"), 7, None).train()
        pixels = np.random.default_rng(0).integers(0, 256, (260, 3, 16, 16), dtype=np.uint8)
        whole = run(network, pixels, "32-true")
        assert network.training
        for all_of_them, last in zip(whole, run(network, pixels[250:], "32-true"), strict=True):
            assert np.allclose(all_of_them[250:], last, atol=1e-5)

    def test_inputs(self):
        pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 3, 1, 1)
        device = torch.device("cpu")
        assert to_input(pixels, device).flatten().tolist() == pytest.approx([0, 0.2, 1])
        drawn = torch.full((1, 3, 1, 1), 0.7)  # augmented pictures are in 0 to 1 already
        assert torch.equal(to_input(drawn, device), drawn)
        assert to_input(np.array([[255.0]]), device).tolist() == [[255.0]]  # features


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


class TestVote:
    @settings(max_examples=60, deadline=None)
    @given(st.integers(1, 12), st.integers(1, 7), st.integers(2, 40), st.integers(0, 2**32 - 1))
    def test_equals_brute_force(self, size, k, width, seed):
        rng = np.random.default_rng(seed)
        references = rng.normal(size=(size, width)).astype(np.float32)
        references /= np.linalg.norm(references, axis=1, keepdims=True)
        queries = rng.normal(size=(4, width)).astype(np.float32)
        queries /= np.linalg.norm(queries, axis=1, keepdims=True)
        classes = rng.choice([0, 2, 3], size)
        got = vote(queries, references, classes, 5, k)
        wanted = [vote_by_hand(q.astype(float), references, classes, 5, k) for q in queries]
        assert got == pytest.approx(np.array(wanted), abs=1e-5)
        assert got.sum(1) == pytest.approx(1)
        assert (got[:, [1, 4]] == 0).all()  # classes without a reference

    @pytest.mark.parametrize("width", [2, 128])
    def test_a_duplicate_outvotes_everyone(self, width):
        rng = np.random.default_rng(1)
        references = rng.normal(size=(9, width)).astype(np.float32)
        references /= np.linalg.norm(references, axis=1, keepdims=True)
        got = vote(references[:1], references, np.array([4, *[1] * 8]), 6, 5)
        assert got[0] == pytest.approx([0, 0, 0, 0, 1, 0], abs=1e-5)

    def test_two_duplicates_of_different_classes_tie(self):
        point = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
        assert vote(point[:1], point, np.array([0, 2, 1, 1]), 3, 3)[0] == pytest.approx(
            [0.5, 0, 0.5]
        )

    def test_by_hand(self):
        # at distances 1, 2 and 4: weights 1, 1/2 and 1/4
        references = np.array([[1.0, 0], [-2, 0], [0, 4], [9, 9]])
        got = vote(np.zeros((1, 2)), references, np.array([0, 1, 1, 0]), 2, 3)
        assert got[0] == pytest.approx([4 / 7, 3 / 7])

    def test_fewer_references_than_neighbours(self):
        got = vote(np.zeros((1, 2)), np.array([[1.0, 0], [0, 3.0]]), np.array([1, 0]), 3, 5)
        assert got[0] == pytest.approx([0.25, 0.75, 0])


# system and what names the class
DECIDED = [
    ("cross_entropy", "softmax"),
    ("cross_entropy", "neighbours"),
    ("flexible", "neighbours"),
    ("hybrid", "softmax"),
    ("hybrid", "neighbours"),
]


@pytest.fixture(params=DECIDED, ids="-".join)
def saved(request, sandbox, parameters) -> tuple[Classifier, np.ndarray, Path]:
    """An untrained classifier, pixels to look at, and a run folder that holds it."""
    torch.manual_seed(0)
    system, decide = request.param
    settings = parameters(system, decide=decide)
    network = build(settings, 3, None).eval()
    # buffers must come back too
    next(m for m in network.modules() if hasattr(m, "running_mean")).running_mean.uniform_(-1, 1)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (20, 3, 16, 16), dtype=np.uint8)
    classifier = Classifier(
        network,
        "32-true",
        decide,
        5,
        [["a", "b"], ["a/x", "a/é|", "b/b"]],
        np.array([[0, 0], [0, 1], [1, 2]]),
        run(network, pixels[:12], "32-true").embeddings.numpy(),
        rng.integers(0, 3, 12),
    )
    (sandbox / "run").mkdir()
    (sandbox / "run" / "params.yaml").write_text(yaml.safe_dump(settings.resolved()))
    classifier.save(sandbox / "run" / "model.safetensors")
    return classifier, pixels, sandbox / "run"


class TestClassifier:
    def test_it_decides_by_what_it_was_told(self, saved):
        classifier, pixels, _ = saved
        probabilities, embedded = classifier.look(pixels)
        logits, seen = run(classifier.network, pixels, "32-true")
        assert np.array_equal(embedded, seen.numpy())
        if classifier.decide == "softmax":
            powers = np.exp(logits.numpy().astype(float))
            wanted = powers / powers.sum(1, keepdims=True)
        else:
            known = classifier.references, classifier.reference_classes
            wanted = [vote_by_hand(query, *known, 3, 5) for query in embedded[12:].astype(float)]
            # an image among the references is its own nearest, at distance 0
            duplicates = np.eye(3)[classifier.reference_classes]
            wanted = np.concatenate([duplicates, wanted])
        assert probabilities == pytest.approx(wanted, abs=1e-4)
        labels = [classifier.classes[row.argmax()] for row in np.asarray(wanted)]
        assert np.array_equal(classifier.predict(pixels), labels)


class TestFile:
    def test_round_trip_to_the_bit(self, saved):
        classifier, pixels, folder = saved
        again = load_run(folder).model()
        assert again.names == classifier.names
        assert again.decide == classifier.decide
        assert (again.classes == classifier.classes).all()
        for one, other in zip(again.look(pixels), classifier.look(pixels), strict=True):
            assert (one == other).all()
        assert (again.predict(pixels) == classifier.predict(pixels)).all()
        assert not again.network.training

    def test_it_is_safetensors_and_no_pickle(self, saved):
        content = (saved[2] / "model.safetensors").read_bytes()
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
        ends = [
            entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"
        ]
        assert 8 + size + max(ends) == len(content)  # the header accounts for every byte
        heads = [head for head in ("softmax", "embedding") if getattr(saved[0].network, head)]
        wanted = {f"network.{head}.weight" for head in heads}
        assert set(header) >= {"classes", "references", "reference_classes", *wanted}

    def test_nothing_else_is_left(self, saved):
        assert sorted(file.name for file in saved[2].iterdir()) == [
            "model.safetensors",
            "params.yaml",
        ]


@pytest.mark.parametrize(
    "system", ["cross_entropy", "triplet", "flexible", "flexible@sum", "hybrid"]
)
def test_a_trained_run_predicts_what_it_wrote(colour_runs, trained, system):
    loaded = load_run(colour_runs[system])
    frame = loaded.predictions
    root = trained / "data" / "colours"
    pixels = np.stack([images.decode(root / file, 16) for file in frame["id"]])
    model = loaded.model()
    labels = model.predict(pixels)
    for level in range(3):
        names = [model.names[level][label] for label in labels[:, level]]
        assert names == frame[f"predicted_level{level + 1}"].tolist()
    probabilities, _ = model.look(pixels)
    assert probabilities.max(1) == pytest.approx(frame["confidence"], abs=1e-5)
