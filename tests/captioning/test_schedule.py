"""Learning rates, weight decay and clipping, against torch's own and what the optimizer applies."""

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_post_hook

from schedules import cosine
from studies.captioning.model import build
from studies.runs.folder import load_run

SYSTEMS = ["resnet_lstm", "resnet_transformer", "clip_transformer"]
PEAK = 0.003  # learning rate of `tiny`
STEPS = 3 * 3  # epochs of three batches


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


def fine_tuned(backbones, **rates):
    source = {"name": "backbone", "weights": str(backbones["resnet"]), "trained": True}
    return {"encoder": {"source": source, "grid": 2}, "image_size": 64, "epochs": 1, **rates}


class TestSchedule:
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
