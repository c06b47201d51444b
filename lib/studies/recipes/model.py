"""CNN-1 and CNN-2: a softmax over dishes and sigmoids over ingredients, on two trunks or on one."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from studies.inputs import images
from studies.inputs.features import features
from studies.learning import compute
from studies.learning.backbones import load_backbone
from studies.learning.networks import FineTuned
from studies.recipes.params import Network, Parameters
from studies.runs.folder import accounted, fitting_weights, open_weights, write_weights

CHUNK = 256  # images looked at once


class Logits(NamedTuple):
    """What the two heads say of a batch."""

    dishes: Tensor  # (B, C)
    ingredients: Tensor  # (B, S)


class DenseTrunk(nn.Module):
    """DenseNet (Huang et al., CVPR 2017) of random weights, without its classifier."""

    def __init__(self, growth: int, blocks: tuple[int, ...], stem: int) -> None:
        # imported late: torchvision takes seconds, which prompts and baselines need not pay
        from torchvision.models import DenseNet

        super().__init__()
        whole = DenseNet(growth, blocks, stem)
        self.out_features = whole.classifier.in_features
        self.features = whole.features

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) in 0 to 1 to (B, F)."""
        return adaptive_avg_pool2d(self.features(images - 0.5).relu(), 1).flatten(1)


class Heads(nn.Module):
    """The two heads, each on a trunk of its own or both on the same one.

    Without trunks the heads read features of a frozen backbone.
    """

    def __init__(self, trunks: list[nn.Module], width: int, dishes: int, ingredients: int) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(trunks)
        self.dish = nn.Linear(width, dishes)
        self.ingredients = nn.Linear(width, ingredients)

    def forward(self, inputs: Tensor) -> Logits:
        """Map pixels (B, 3, S, S) in 0 to 1, or features (B, F), to logits (B, C) and (B, S)."""
        seen = [trunk(inputs) for trunk in self.trunks] or [inputs]
        return Logits(self.dish(seen[0]), self.ingredients(seen[-1]))


def build(
    network: Network, dishes: int, ingredients: int, width: int | None, pretrained: bool = True
) -> Heads:
    """Return a fresh network; `width` is F for features of a frozen backbone, None for pixels.

    `pretrained=False` leaves published weights out: a run folder holds those that training made.
    """
    if width is not None:
        return Heads([], width, dishes, ingredients)
    settings, trunks = network.trunk, []
    for _ in range(1 if network.shared else 2):
        if settings.name == "densenet":
            trunks.append(DenseTrunk(settings.growth, tuple(settings.blocks), settings.stem))
        else:
            backbone = load_backbone(settings.weights, True, pretrained)
            trunks.append(FineTuned(backbone, pooled=True))
    return Heads(trunks, trunks[0].out_features, dishes, ingredients)


@accounted("decoding")
def look(network: Heads, inputs: np.ndarray, precision: str) -> Logits:
    """Return the logits of N inputs in evaluation mode, as float32 on the CPU."""
    return gathered(compute.outputs(network, inputs, precision, CHUNK))


def gathered(batches: list[Logits]) -> Logits:
    """Return the logits of batches as one, float32 on the CPU."""
    return Logits(*(torch.cat(parts).float().cpu() for parts in zip(*batches, strict=True)))


@dataclass(frozen=True)
class Decision:
    """What turns logits into probabilities and named ingredients, chosen on validation data."""

    dish_temperature: float
    ingredient_temperature: float
    thresholds: list[float]  # one an ingredient


class Seen(NamedTuple):
    """What a system says of N pictures."""

    dishes: np.ndarray  # (N, C) calibrated probabilities
    ingredients: np.ndarray  # (N, S) calibrated probabilities
    named: np.ndarray  # (N, S) whether above the ingredient's threshold


@dataclass
class Recogniser:
    """A trained network with the names it gives, ready to look at pictures."""

    network: Heads
    parameters: Parameters
    dishes: list[str]
    ingredients: list[str]
    decision: Decision

    def see(self, inputs: np.ndarray) -> Seen:
        """Return what it says of pixels (N, 3, S, S) uint8 or features (N, F)."""
        logits = look(self.network, inputs, self.parameters.precision)
        dishes = (logits.dishes / self.decision.dish_temperature).softmax(1).numpy()
        warm = logits.ingredients / self.decision.ingredient_temperature
        ingredients = warm.sigmoid().numpy()
        named = ingredients > np.asarray(self.decision.thresholds, dtype=np.float32)
        return Seen(dishes, ingredients, named)

    def see_files(self, files: list[Path]) -> Seen:
        """Return what it says of picture files anywhere."""
        network, size = self.parameters.network, self.parameters.image_size
        if network.frozen:
            # torch warns of what cannot be written, as the cached ones cannot
            return self.see(features(files, Path("/"), network.trunk.weights).copy())
        return self.see(np.stack([images.decode(file, size) for file in files]))

    def save(self, file: Path) -> None:
        """Write weights, names and decision as one safetensors file, whole or not at all."""
        said = {"dishes": self.dishes, "ingredients": self.ingredients}
        write_weights(file, self.network, said | {"decision": asdict(self.decision)})


def load(run: Any) -> Recogniser:
    """Return the system of a run folder (`runs.folder.LoadedRun`), ready to look at pictures.

    Raises StudyError when its weights are missing, damaged, or another system's.
    """
    parameters = run.parameters
    file = run.folder / "model.safetensors"
    with open_weights(file) as (metadata, tensors):
        saved = json.loads(metadata["said"])
        decision = Decision(**saved["decision"])
        names = saved["dishes"], saved["ingredients"]
    with fitting_weights(file):
        width = tensors["dish.weight"].shape[1] if parameters.network.frozen else None
        network = build(parameters.network, *map(len, names), width, pretrained=False)
        network.load_state_dict(tensors)
    return Recogniser(network.to(compute.device()).eval(), parameters, *names, decision)
