"""AdamW with a learning rate that rises, then falls along a cosine."""

import math
from collections.abc import Collection

import torch
from torch import nn


def adamw(
    network: nn.Module,
    rate: float,
    weight_decay: float,
    published: Collection[nn.Parameter] = (),
    published_rate: float = 0.0,
) -> torch.optim.Optimizer:
    """Return AdamW over what is trained; biases, norms and other vectors do not decay.

    `published` parameters, of a model that is fine-tuned, get a highest learning rate of their own.
    """
    known = set(published)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for one in network.parameters():
        if one.requires_grad:
            highest = published_rate if one in known else rate
            groups.setdefault((highest, weight_decay if one.ndim > 1 else 0.0), []).append(one)
    # what is new comes first: the curves show the learning rate of the first group
    ranked = sorted(groups.items(), key=lambda group: group[0][0] != rate)
    return torch.optim.AdamW(
        {"params": members, "lr": highest, "peak": highest, "weight_decay": decay}
        for (highest, decay), members in ranked
    )


def set_rate(optimizer: torch.optim.Optimizer, share: float) -> None:
    """Give every group of `adamw` that share of its highest learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = share * group["peak"]


def schedule(step: int, steps: int, warm_up: float) -> float:
    """Return the learning rate of a step, from 0, as a share of the highest."""
    rising = max(1, round(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))
