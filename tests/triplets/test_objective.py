"""What is minimised: against torch's cross-entropy, the loss alone, and loops over all pairs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from studies.paths import StudyError
from studies.triplets.loss import FlexibleMarginLoss
from studies.triplets.model import Output, build
from studies.triplets.objective import COLLAPSED, objective, spread

LABELS = torch.tensor([[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 2], [0, 1, 2]])
LABELS = torch.cat([LABELS, LABELS + torch.tensor([1, 2, 3])])
CLASSES = LABELS[:, -1]


def output(logits: bool, embeddings: bool, seed: int = 0) -> Output:
    chance = torch.Generator().manual_seed(seed)
    points = torch.nn.functional.normalize(torch.randn(12, 16, generator=chance), dim=1)
    scores = torch.randn(12, 6, generator=chance)
    return Output(
        scores.requires_grad_() if logits else None, points.requires_grad_() if embeddings else None
    )


class TestSum:
    @pytest.mark.parametrize("weight", [0.5, 1.0, 3.0])
    @pytest.mark.parametrize("mining", ["semihard", "hardest", "all"])
    def test_the_hybrid_is_cross_entropy_plus_weight_times_margin_loss(
        self, parameters, weight, mining
    ):
        loss = {
            "name": "hybrid",
            "weight": weight,
            "margins": [1.0, 0.6, 0.3],
            "combine": "max",
            "take": "most_violating",
        }
        stages = [{"from_epoch": 0, "learning_rate": 0.1, "mining": mining}]
        given = output(True, True)
        got = objective(parameters("hybrid", loss=loss, stages=stages), 3)(given, LABELS, CLASSES)
        margin = FlexibleMarginLoss([1.0, 0.6, 0.3], "max", mining, "most_violating")
        wanted = cross_entropy(given.logits, CLASSES)
        wanted = wanted + weight * margin(given.embeddings, LABELS)
        assert margin(given.embeddings, LABELS) > 0.01
        assert got.item() == pytest.approx(wanted.item(), rel=1e-6)

    def test_cross_entropy_alone(self, parameters):
        given = output(True, True)
        got = objective(parameters("cross_entropy"), 3)(given, LABELS, CLASSES)
        # minus the log of the softmax of the true class, averaged
        powers = np.exp(given.logits.detach().numpy().astype(float))
        shares = powers / powers.sum(1, keepdims=True)
        wanted = -np.mean([math.log(row[c]) for row, c in zip(shares, CLASSES, strict=True)])
        assert got.item() == pytest.approx(wanted, rel=1e-6)

    def test_one_margin_is_the_same_at_every_level(self, parameters):
        given = output(False, True)
        got = objective(parameters("triplet"), 3)(given, LABELS, CLASSES)
        wanted = FlexibleMarginLoss([0.5], mining="semihard")(given.embeddings, CLASSES[:, None])
        assert got.item() == pytest.approx(wanted.item(), rel=1e-6)

    @pytest.mark.parametrize(
        ("system", "arguments"),
        [
            ("flexible", ([2.0, 1.0, 0.5], "max", "semihard", "closest")),
            ("flexible@sum", ([0.6, 0.7, 0.7], "sum", "semihard", "most_violating")),
        ],
    )
    def test_the_flexible_margin_alone(self, parameters, system, arguments):
        given = output(False, True)
        got = objective(parameters(system), 3)(given, LABELS, CLASSES)
        wanted = FlexibleMarginLoss(*arguments)(given.embeddings, LABELS)
        assert got.item() == pytest.approx(wanted.item(), rel=1e-6)

    @pytest.mark.parametrize("system", ["flexible", "hybrid"])
    @pytest.mark.parametrize("levels", [1, 2, 4])
    def test_margins_and_levels_must_agree(self, parameters, system, levels):
        with pytest.raises(
            StudyError, match=f"has 3 values and the labels {levels} level"
        ) as caught:
            objective(parameters(system), levels)
        assert "\n" not in str(caught.value)


class TestGradient:
    @pytest.mark.parametrize(
        ("system", "reached"),
        [
            ("cross_entropy", {"trunk", "softmax"}),
            ("flexible", {"trunk", "embedding"}),
            ("hybrid", {"trunk", "softmax", "embedding"}),
        ],
    )
    def test_it_reaches_the_trunk_and_every_head(self, parameters, system, reached):
        torch.manual_seed(0)
        settings = parameters(system)
        network = build(settings, 6, None)
        loss = objective(settings, 3)(network(torch.rand(12, 3, 16, 16)), LABELS, CLASSES)
        loss.backward()
        moved = {name.partition(".")[0] for name, p in network.named_parameters() if moves(p)}
        still = [name for name, p in network.named_parameters() if not moves(p)]
        assert moved == reached
        assert not still

    def test_both_terms_move_the_trunk_of_the_hybrid(self, parameters):
        """The gradient of the sum is the sum of the gradients, each with its own direction."""
        pixels, settings = torch.rand(12, 3, 16, 16), parameters("hybrid")
        gradients = []
        for terms in ("both", "cross-entropy", "margin"):
            torch.manual_seed(0)
            network, total = build(settings, 6, None), objective(settings, 3)
            given = network(pixels)
            if terms == "cross-entropy":
                loss = cross_entropy(given.logits, CLASSES)
            elif terms == "margin":
                loss = total.weight * total.margin(given.embeddings, LABELS)
            else:
                loss = total(given, LABELS, CLASSES)
            loss.backward()
            gradients.append(torch.cat([p.grad.flatten() for p in network.trunk.parameters()]))
        both, first, second = gradients
        assert torch.allclose(both, first + second, atol=1e-5)
        assert min(first.norm(), second.norm()) > 1e-3


def moves(parameter) -> bool:
    return parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)


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

    @pytest.mark.parametrize("system", ["triplet", "flexible", "hybrid"])
    def test_an_untrained_network_is_far_from_the_alarm(self, parameters, system):
        torch.manual_seed(0)
        network = build(parameters(system), 7, None).eval()
        colours = torch.rand(40, 3, 1, 1).expand(-1, -1, 16, 16)
        with torch.no_grad():
            embedded = network((colours + 0.1 * torch.rand(40, 3, 16, 16)).clamp(0, 1)).embeddings
        assert spread(embedded) > 2 * COLLAPSED

    def test_equal_points_have_none_in_single_precision(self):
        points = torch.nn.functional.normalize(torch.ones(300, 128), dim=1)
        assert spread(points) < COLLAPSED / 10
