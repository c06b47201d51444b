"""Equations (1) and (2) against plain loops, and whose gradient reaches which trunk."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from studies.recipes.loss import dish_loss, ingredient_loss, weighted_loss
from studies.recipes.model import DenseTrunk, Heads

DISHES, INGREDIENTS = 3, 4
SIZES = st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(0, 10**6))


def equation_1(logits, dishes):
    """−Σ_i y_i log ŷ_i of each image, and their mean."""
    found = []
    for row, dish in zip(logits.tolist(), dishes.tolist(), strict=True):
        whole = sum(math.exp(value) for value in row)
        likely = [math.exp(value) / whole for value in row]
        y = [float(place == dish) for place in range(len(row))]
        found.append(-sum(a * math.log(b) for a, b in zip(y, likely, strict=True)))
    return sum(found) / len(found)


def equation_2(logits, present):
    """−1/(N·S) Σ_j Σ_i [y_ji log ŷ_ji + (1 − y_ji) log(1 − ŷ_ji)]."""
    total, n, s = 0.0, len(logits), len(logits[0])
    for row, there in zip(logits.tolist(), present.tolist(), strict=True):
        for value, y in zip(row, there, strict=True):
            likely = 1 / (1 + math.exp(-value))
            total += y * math.log(likely) + (1 - y) * math.log(1 - likely)
    return -total / (n * s)


@given(SIZES)
@settings(max_examples=30, deadline=None)
def test_dishes_by_equation_1(sizes):
    n, c, seed = sizes
    chance = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, c, generator=chance)
    dishes = torch.randint(c, (n,), generator=chance)
    wanted = equation_1(logits.double(), dishes)
    assert dish_loss(logits, dishes).item() == pytest.approx(wanted, rel=1e-5, abs=1e-6)


@given(SIZES)
@settings(max_examples=30, deadline=None)
def test_ingredients_by_equation_2(sizes):
    n, s, seed = sizes
    chance = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, s, generator=chance)
    present = torch.rand(n, s, generator=chance) < 0.4
    wanted = equation_2(logits.double(), present)
    # the loss of a sure and right answer is small, and fp32 has no more digits of it
    assert ingredient_loss(logits, present).item() == pytest.approx(wanted, rel=1e-5, abs=1e-6)


def test_by_hand():
    # p of the dishes 1/2, 1/4, 1/4 and 1/3 each; of the ingredients 3/4 and 1/2, then 1/5 and 1/2
    logits = torch.tensor([[2.0, 1.0, 1.0], [5.0, 5.0, 5.0]]).log()
    wanted = (math.log(4) + math.log(3)) / 2
    assert dish_loss(logits, torch.tensor([2, 0])).item() == pytest.approx(wanted)
    odds = torch.tensor([[3.0, 1.0], [0.25, 1.0]]).log()
    present = torch.tensor([[True, False], [False, True]])
    wanted = (math.log(4 / 3) + math.log(2) + math.log(5 / 4) + math.log(2)) / 4
    assert ingredient_loss(odds, present).item() == pytest.approx(wanted)


@pytest.mark.parametrize("far", [200.0, 1e4])
def test_sure_and_wrong_is_finite(far):
    """Where a probability rounds to 0, the loss is the distance between the logits."""
    logits = torch.tensor([[far, 0.0]])
    assert dish_loss(logits, torch.tensor([1])).item() == pytest.approx(far)
    assert dish_loss(logits, torch.tensor([0])).item() == 0
    wanted = (far + math.log(2)) / 2
    assert ingredient_loss(logits, torch.tensor([[False, True]])).item() == pytest.approx(wanted)


def test_bf16_logits_are_added_up_in_fp32():
    logits = torch.randn(64, 9).bfloat16()
    dishes, present = torch.randint(9, (64,)), torch.rand(64, 9) < 0.5
    exact = logits.double()
    assert dish_loss(logits, dishes).item() == pytest.approx(equation_1(exact, dishes), rel=1e-5)
    found = ingredient_loss(logits, present).item()
    assert found == pytest.approx(equation_2(exact, present), rel=1e-5)


def test_the_weight_is_of_equation_2():
    dish, ingredients = torch.tensor(1.25), torch.tensor(0.5)
    for weight, wanted in ((0.0, 1.25), (1.0, 1.75), (10.0, 6.25)):
        assert weighted_loss(dish, ingredients, weight).item() == wanted
    # what is not asked for cannot spoil what is
    assert weighted_loss(dish, torch.tensor(math.nan), 0.0).item() == 1.25


class TestGradients:
    WEIGHT = 2.5

    def heads(self, trunks):
        torch.manual_seed(0)
        trunks = [DenseTrunk(4, (1, 1), 8) for _ in range(trunks)]
        return Heads(trunks, trunks[0].out_features, DISHES, INGREDIENTS)

    def gradients(self, network):
        """Those of (1) and of (2), each alone, and those of what is trained with, by parameter."""
        pixels, dishes = torch.rand(5, 3, 16, 16), torch.tensor([0, 2, 1, 1, 0])
        present = torch.rand(5, INGREDIENTS) < 0.5
        found = []
        for which in ("dishes", "ingredients", "both"):
            network.zero_grad()
            logits = network(pixels)
            one = dish_loss(logits.dishes, dishes)
            two = ingredient_loss(logits.ingredients, present)
            both = weighted_loss(one, two, self.WEIGHT)
            {"dishes": one, "ingredients": two, "both": both}[which].backward()
            found.append(
                {
                    name: torch.zeros_like(p) if p.grad is None else p.grad.clone()
                    for name, p in network.named_parameters()
                }
            )
        return found

    def near(self, one, other):
        return torch.allclose(one, other, rtol=1e-4, atol=1e-6 + 1e-5 * other.abs().max().item())

    def test_a_shared_trunk_gets_the_sum(self):
        dishes, ingredients, both = self.gradients(self.heads(1))
        for name, value in both.items():
            assert self.near(value, dishes[name] + self.WEIGHT * ingredients[name]), name
            if name.startswith("trunks."):
                assert dishes[name].abs().max() > 0, name
                assert ingredients[name].abs().max() > 0, name

    def test_each_of_two_trunks_gets_its_own(self):
        dishes, ingredients, both = self.gradients(self.heads(2))
        for name, value in both.items():
            mine = name.startswith(("trunks.0.", "dish."))
            own, weight = (dishes, 1.0) if mine else (ingredients, self.WEIGHT)
            strange = ingredients if mine else dishes
            assert self.near(value, weight * own[name]), name
            assert own[name].abs().max() > 0, name
            assert not strange[name].any(), name

    def test_a_head_is_moved_by_its_own_loss_alone(self):
        for trunks in (1, 2):
            dishes, ingredients, _ = self.gradients(self.heads(trunks))
            for head, own, strange in (
                ("dish", dishes, ingredients),
                ("ingredients", ingredients, dishes),
            ):
                for name in (f"{head}.weight", f"{head}.bias"):
                    assert own[name].any()
                    assert not strange[name].any()

    def test_without_weight_the_second_head_gets_none(self):
        network = self.heads(1)
        logits = network(torch.rand(2, 3, 16, 16))
        one = dish_loss(logits.dishes, torch.tensor([0, 1]))
        weighted_loss(one, logits.ingredients.sum(), 0.0).backward()
        assert isinstance(network.ingredients, nn.Linear)
        assert all(p.grad is None for p in network.ingredients.parameters())
        assert all(p.grad is not None for p in network.dish.parameters())
