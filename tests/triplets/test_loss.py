"""The loss against brute force, pytorch-metric-learning and its own gradient; its sums."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pytorch_metric_learning.losses import TripletMarginLoss
from pytorch_metric_learning.miners import TripletMarginMiner
from torch.nn.functional import cross_entropy

from studies.triplets.loss import (
    COLLAPSED,
    FlexibleMarginLoss,
    Objective,
    flexible_margin,
    objective,
    spread,
)
from studies.triplets.model import build

MINING = ["semihard", "hardest", "all"]
TAKE = ["closest", "most_violating"]
MARGINS = (2.0, 1.0, 0.5)


def margin_by_hand(anchor, negative, margins, combine):
    terms = [m for m, a, n in zip(margins, anchor, negative, strict=True) if a != n]
    return (max if combine == "max" else sum)(terms) if terms else 0.0


def loss_by_hand(embeddings, labels, margins, combine, mining, take):
    """Loop over all (anchor, positive, negative) and read the paper's definitions literally."""
    units = [e / math.sqrt(sum(x * x for x in e)) for e in np.asarray(embeddings, dtype=float)]
    labels = [tuple(row) for row in np.asarray(labels).tolist()]
    batch = range(len(units))

    def distance(i, j):
        return math.sqrt(sum((x - y) ** 2 for x, y in zip(units[i], units[j], strict=True)))

    losses = []
    for a in batch:
        for p in batch:
            if a == p or labels[a] != labels[p]:
                continue
            candidates = []
            for n in batch:
                if labels[n] == labels[a]:
                    continue
                m = margin_by_hand(labels[a], labels[n], margins, combine)
                ap, an = distance(a, p), distance(a, n)
                if mining == "semihard" and not ap < an < ap + m:
                    continue
                key = an - m if "most_violating" in (mining, take) else an
                candidates.append((key, max(ap - an + m, 0.0)))
            if mining != "all" and candidates:
                candidates = [min(candidates, key=lambda c: c[0])]
            losses += [value for _, value in candidates if value > 0]
    return sum(losses) / len(losses) if losses else 0.0


@st.composite
def ragged_batches(draw):
    """Batches of a ragged label tree: one-image classes, all-same labels and B = 2 included."""
    levels = draw(st.integers(1, 4))
    size = draw(st.integers(2, 12))
    rows = []
    for _ in range(size):
        depth = draw(st.integers(1, levels))
        row = draw(st.lists(st.integers(0, 2), min_size=depth, max_size=depth))
        rows.append(row + [row[-1]] * (levels - depth))  # unequal depth repeats the lowest label
    seed = draw(st.integers(0, 2**32 - 1))
    embeddings = np.random.default_rng(seed).normal(size=(size, 5))
    margins = draw(st.lists(st.floats(0.05, 2.0), min_size=levels, max_size=levels))
    return embeddings, np.array(rows), margins


@pytest.mark.parametrize("combine", ["max", "sum"])
@pytest.mark.parametrize("take", TAKE)
@pytest.mark.parametrize("mining", [*MINING, "most_violating"])
@settings(max_examples=40, deadline=None)
@given(batch=ragged_batches())
def test_loss_equals_a_loop_over_all_triplets(mining, take, combine, batch):
    embeddings, labels, margins = batch
    loss = FlexibleMarginLoss(margins, combine, mining, take)
    got = loss(torch.tensor(embeddings), torch.tensor(labels)).item()
    assert got == pytest.approx(
        loss_by_hand(embeddings, labels, margins, combine, mining, take), abs=1e-9
    )


def test_margin_of_the_paper():
    apple = torch.tensor([0, 0, 0])
    others = torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]])
    assert flexible_margin(apple, others, MARGINS).tolist() == [2.0, 1.0, 0.5, 0.0]
    equal_weight = (2 / 3, 2 / 3, 2 / 3)  # equation (6): they sum to 2
    assert flexible_margin(apple, others, equal_weight, "sum").tolist() == pytest.approx(
        [2.0, 4 / 3, 2 / 3, 0.0]
    )


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equals_pytorch_metric_learning_where_margins_are_equal(mining, dtype):
    generator = torch.Generator().manual_seed(0)
    embeddings = torch.randn(24, 16, generator=generator, dtype=dtype)
    fine = torch.arange(24) // 3
    labels = torch.stack([fine // 4, fine // 2, fine], 1)
    margin = 0.4
    theirs = TripletMarginLoss(margin=margin)
    kind = {"semihard": "semihard", "hardest": "hard", "all": "all"}[mining]
    triplets = TripletMarginMiner(margin=margin, type_of_triplets=kind)(embeddings, fine)
    if mining != "all":
        triplets = one_per_pair(embeddings, fine, triplets, mining)
    ours = FlexibleMarginLoss([margin] * 3, mining=mining, take="closest")(embeddings, labels)
    tolerance = 1e-6 if dtype == torch.float32 else 1e-12
    expected = theirs(embeddings, fine, triplets)
    assert expected > 0
    assert ours.item() == pytest.approx(expected.item(), rel=tolerance)


def one_per_pair(embeddings, fine, triplets, mining):
    """Of the other library's triplets keep the closest negative of each (anchor, positive)."""
    units = torch.nn.functional.normalize(embeddings, dim=1)
    if mining == "hardest":  # its `hard` wants D(a,n) < D(a,p); the hardest of all negatives is
        a, p = ((fine[:, None] == fine) & ~torch.eye(len(fine), dtype=bool)).nonzero(as_tuple=True)
        far = torch.cdist(units, units).masked_fill(fine[:, None] == fine, torch.inf)
        return a, p, far.argmin(1)[a]
    best = {}
    for a, p, n in zip(*(t.tolist() for t in triplets), strict=True):
        d = (units[a] - units[n]).norm().item()
        if (a, p) not in best or d < best[a, p][0]:
            best[a, p] = (d, n)
    return tuple(torch.tensor([(a, p, n) for (a, p), (_, n) in best.items()]).unbind(1))


@pytest.mark.parametrize("combine", ["max", "sum"])
@pytest.mark.parametrize("take", TAKE)
@pytest.mark.parametrize("mining", MINING)
def test_gradcheck(mining, take, combine):
    generator = torch.Generator().manual_seed(1)
    embeddings = torch.randn(10, 4, generator=generator, dtype=torch.double, requires_grad=True)
    fine = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3, 4])
    labels = torch.stack([fine // 3, fine], 1)
    loss = FlexibleMarginLoss((1.0, 0.5), combine, mining, take)
    assert loss(embeddings, labels) > 0
    assert torch.autograd.gradcheck(lambda e: loss(e, labels), (embeddings,))


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("labels", [[[0, 0]] * 6, [[0, i] for i in range(6)]])
def test_without_triplets_loss_and_gradient_are_zero(mining, labels):
    embeddings = torch.randn(len(labels), 8, requires_grad=True)
    loss = FlexibleMarginLoss((2.0, 1.0), mining=mining)(embeddings, torch.tensor(labels))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(embeddings.grad, torch.zeros_like(embeddings))


@pytest.mark.parametrize("mining", ["hardest", "all"])
def test_a_collapsed_batch_costs_the_margin_and_keeps_its_gradient_finite(mining):
    embeddings = torch.ones(8, 4, requires_grad=True)
    labels = torch.tensor([[i // 4, i // 2] for i in range(8)])
    loss = FlexibleMarginLoss((2.0, 1.0), mining=mining, take="most_violating")(embeddings, labels)
    loss.backward()
    assert loss.item() == pytest.approx(2.0 if mining == "hardest" else (2.0 * 4 + 1.0 * 2) / 6)
    assert torch.isfinite(embeddings.grad).all()


def test_a_block_smaller_than_the_batch_changes_nothing(monkeypatch):
    embeddings = torch.randn(40, 8, dtype=torch.double)
    labels = torch.arange(40)[:, None] // torch.tensor([20, 4])
    losses = {m: FlexibleMarginLoss((1.0, 0.5), mining=m)(embeddings, labels) for m in MINING}
    monkeypatch.setattr("studies.triplets.loss.BLOCK", 40 * 7)
    for mining, whole in losses.items():
        parts = FlexibleMarginLoss((1.0, 0.5), mining=mining)(embeddings, labels)
        assert parts.item() == pytest.approx(whole.item(), rel=1e-12)


LABELS = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 2], [0, 1, 2]])
LABELS = torch.cat([LABELS, LABELS + torch.tensor([1, 2, 3])])
CLASSES = LABELS[:, -1]


def test_smoothed_labels_share_what_is_taken_from_the_true_one():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    classes = torch.arange(5) % 4
    wanted = 0.0
    for row, true in zip(logits.log_softmax(1).tolist(), classes.tolist(), strict=True):
        shares = [0.2 / 4 + 0.8 * (label == true) for label in range(4)]
        wanted -= sum(p * q for p, q in zip(shares, row, strict=True)) / 5
    loss = Objective(None, smoothing=0.2)((logits, torch.zeros(5, 2)), None, classes)
    assert loss.item() == pytest.approx(wanted, rel=1e-6)


class TestObjective:
    @pytest.mark.parametrize(
        ("system", "weight", "arguments"),
        [
            ("cross_entropy", 0, None),
            ("triplet", 1, ([0.5] * 3,)),
            ("flexible", 1, ([2.0, 1.0, 0.5],)),
            ("flexible@sum", 1, ([0.6, 0.7, 0.7], "sum", "semihard", "most_violating")),
            ("hybrid", 0.5, ([1.0, 0.6, 0.3],)),
        ],
    )
    def test_terms_and_where_their_gradient_goes(self, parameters, system, weight, arguments):
        torch.manual_seed(0)
        chosen = parameters(system)
        if system == "hybrid":
            loss = chosen.loss.model_copy(update={"weight": weight})
            chosen = chosen.model_copy(update={"loss": loss})
        network = build(chosen, 6, None)
        output = network(torch.rand(12, 3, 16, 16))
        loss = objective(chosen, 3)(output, LABELS, CLASSES)
        wanted = torch.zeros(())
        if output.logits is not None:
            wanted = wanted + cross_entropy(output.logits, CLASSES)
        if arguments:
            margin = FlexibleMarginLoss(*arguments)(output.embeddings, LABELS)
            assert margin > 0.01
            wanted = wanted + weight * margin
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-6)
        loss.backward()
        assert all(p.grad.abs().sum() > 0 for p in network.parameters())
        heads = {head for head in ("softmax", "embedding") if getattr(network, head) is not None}
        assert ("softmax" in heads) == (system in ("cross_entropy", "hybrid"))
        assert ("embedding" in heads) == (system != "cross_entropy")


class TestSpread:
    @settings(max_examples=60, deadline=None)
    @given(
        st.integers(1, 12),
        st.integers(1, 6),
        st.sampled_from([1e-3, 0.1, 1.0, 10.0]),
        st.integers(0, 2**32 - 1),
    )
    def test_it_is_the_rms_distance_of_all_pairs(self, size, width, noise, seed):
        rng = np.random.default_rng(seed)
        points = rng.normal(size=(1, width)) + noise * rng.normal(size=(size, width))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        squares = [((x - y) ** 2).sum() for x in points for y in points]
        got = spread(torch.from_numpy(points))
        assert got == pytest.approx(math.sqrt(np.mean(squares)), abs=1e-7)

    def test_the_alarm_lies_between_equal_points_and_an_untrained_network(self, parameters):
        assert spread(torch.nn.functional.normalize(torch.ones(300, 128), dim=1)) < COLLAPSED / 10
        torch.manual_seed(0)
        colours = torch.rand(40, 3, 1, 1).expand(-1, -1, 16, 16)
        pixels = (colours + 0.1 * torch.rand(40, 3, 16, 16)).clamp(0, 1)
        for system in ("triplet", "flexible", "hybrid"):
            with torch.no_grad():
                embedded = build(parameters(system), 7, None).eval()(pixels).embeddings
            assert spread(embedded) > 2 * COLLAPSED
