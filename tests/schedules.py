"""The learning rates that torch's own schedulers give."""

import torch


def cosine(step, steps, warm_up):
    """The schedule as torch's own classes give it."""
    rising = max(1, round(warm_up * steps))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, 1 / rising, 1.0, rising - 1)
    for _ in range(min(step, rising - 1)):
        optimizer.step()
        rise.step()
    if step >= rising:
        fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - rising)
        for _ in range(step - rising):
            optimizer.step()
            fall.step()
    return optimizer.param_groups[0]["lr"]
