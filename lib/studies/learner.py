"""What networks with a rising and falling learning rate share in training."""

from collections.abc import Collection
from typing import Any

import lightning
import torch
from torch import nn

from studies import compute
from studies.optimisation import adamw, schedule, set_rate
from studies.params import RunParameters


class Scheduled(lightning.LightningModule):
    """A network in training by AdamW over so many `steps`, its augmentation seeded every epoch.

    `published` are the weights of a model that is fine-tuned, at a rate of their own. The
    parameters hold `learning_rate`, `backbone_learning_rate`, `warm_up` and `weight_decay`.
    """

    def __init__(
        self,
        parameters: RunParameters,
        network: nn.Module,
        steps: int,
        published: Collection[nn.Parameter] = (),
    ) -> None:
        super().__init__()
        self.settings, self.network, self.steps = parameters, network, steps
        self.published = list(published)
        self.chance = torch.Generator()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW."""
        return adamw(
            self.network,
            self.settings.learning_rate,
            self.settings.weight_decay,
            self.published,
            self.settings.backbone_learning_rate,
        )

    def on_train_epoch_start(self) -> None:
        """Seed this epoch's augmentation."""
        self.chance.manual_seed(compute.epoch_seed(self.settings.seed, self.current_epoch))

    def on_train_batch_start(self, batch: Any, number: int) -> None:
        """Set the learning rate of this step."""
        share = schedule(self.global_step, self.steps, self.settings.warm_up)
        set_rate(self.trainer.optimizers[0], share)
