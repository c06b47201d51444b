"""CNN-1 and CNN-2: a softmax over dishes and sigmoids over ingredients, on two trunks or on one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, normalize, scaled_dot_product_attention

from studies.inputs import images
from studies.inputs.features import features
from studies.learning import compute
from studies.learning.backbones import load_backbone
from studies.learning.networks import FineTuned
from studies.recipes.params import Network, Parameters
from studies.runs.folder import accounted, read_weights, write_weights

CHUNK = 256  # images looked at once
EMBEDDING, NEIGHBOURS = 128, 5  # of the rival that learns distances


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

    Those that read frozen features are a layer each.
    """

    def __init__(self, trunks: list[nn.Module], dishes: int, ingredients: int) -> None:
        super().__init__()
        self.trunks = nn.ModuleList(trunks)
        width = trunks[0].out_features
        self.dish = nn.Linear(width, dishes)
        self.ingredients = nn.Linear(width, ingredients)

    def forward(self, inputs: Tensor) -> Logits:
        """Map pixels (B, 3, S, S) in 0 to 1, or features (B, …), to logits (B, C) and (B, S)."""
        seen = [trunk(inputs) for trunk in self.trunks]
        return Logits(self.dish(seen[0]), self.ingredients(seen[-1]))


class AttentionPooling(nn.Module):
    """The mean of the places of a map, weighted by a learnt query: softmax(places · query / √F)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(width))  # at first all weigh the same

    def forward(self, places: Tensor) -> Tensor:
        """Map (B, T, F) to (B, F)."""
        query = self.query.expand(len(places), 1, -1)
        return scaled_dot_product_attention(query, places, places)[:, 0]


class Nearest(nn.Module):
    """What the five nearest training plates are, by an embedding trained with triplets of a dish.

    Trained, it maps inputs to embeddings (B, 128) of length 1; in evaluation to the logits of the
    shares of the neighbours, weighted by exp(−distance), once it `remember`s training plates.
    """

    def __init__(self, trunk: nn.Module, dishes: int, ingredients: int, plates: int) -> None:
        super().__init__()
        self.trunk, self.embed = trunk, nn.Linear(trunk.out_features, EMBEDDING)
        self.register_buffer("known", torch.zeros(plates, EMBEDDING))
        self.register_buffer("truth", torch.zeros(plates, dishes + ingredients))
        self.dishes = dishes

    def remember(self, inputs: np.ndarray, dish: np.ndarray, present: np.ndarray) -> None:
        """Keep the embeddings of (M, …) training inputs, their dishes (M,) and ingredients."""
        chunks = (torch.from_numpy(inputs[k : k + CHUNK]) for k in range(0, len(inputs), CHUNK))
        device = self.known.device
        with torch.inference_mode():
            embedded = [self.embedding(compute.to_input(chunk, device)) for chunk in chunks]
        self.known.copy_(torch.cat(embedded))
        self.truth.copy_(torch.from_numpy(np.c_[np.eye(self.dishes)[dish], present]))

    def embedding(self, inputs: Tensor) -> Tensor:
        """Map inputs to embeddings of length 1, (B, 128)."""
        return normalize(self.embed(self.trunk(inputs)).float())

    def forward(self, inputs: Tensor) -> Tensor | Logits:
        """Return embeddings in training, else logits (B, C) and (B, S)."""
        own = self.embedding(inputs)
        if self.training:
            return own
        near, which = torch.cdist(own, self.known).topk(NEIGHBOURS, largest=False)
        share = (near.neg().softmax(1)[:, :, None] * self.truth[which]).sum(1).clamp(1e-4, 1 - 1e-4)
        return Logits(share[:, : self.dishes].log(), share[:, self.dishes :].logit())


def build(
    network: Network,
    dishes: int,
    ingredients: int,
    width: int | None,
    pretrained: bool = True,
    plates: int = 0,
) -> Heads | Nearest:
    """Return a fresh network; `width` is F for features of a frozen backbone, None for pixels.

    `pretrained=False` leaves published weights out: a run folder holds those that training made.
    `plates` are those that neighbours are sought among.
    """
    settings, trunks = network.trunk, []
    for _ in range(1 if network.shared or network.triplet else 2):
        if width is not None:
            first = [AttentionPooling(width)] if network.grid else []
            layers = [nn.LayerNorm(width), nn.Linear(width, network.hidden), nn.ReLU()]
            trunks.append(nn.Sequential(*first, *layers, nn.Dropout(network.dropout)))
            trunks[-1].out_features = network.hidden
        elif settings.name == "densenet":
            trunks.append(DenseTrunk(settings.growth, tuple(settings.blocks), settings.stem))
        else:
            backbone = load_backbone(settings.weights, True, pretrained)
            trunks.append(FineTuned(backbone, pooled=True))
    if network.triplet:
        return Nearest(trunks[0], dishes, ingredients, plates)
    return Heads(trunks, dishes, ingredients)


def frozen(files: Sequence[Path], root: Path, network: Network) -> np.ndarray:
    """Return what a frozen backbone sees, (N, F), or (N, grid², F) float16 for attention."""
    of_places = {"pooled": False, "dtype": "float16", "grid": network.grid}
    return features(files, root, network.trunk.weights, **of_places if network.grid else {})


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
        """Return what it says of pixels (N, 3, S, S) uint8 or features (N, …)."""
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
            return self.see(frozen(files, Path("/"), network).copy())
        return self.see(np.stack([images.decode(file, size) for file in files]))

    def save(self, file: Path) -> None:
        """Write weights, names and decision as one safetensors file, whole or not at all."""
        said = {"dishes": self.dishes, "ingredients": self.ingredients}
        write_weights(file, self.network.state_dict(), said | {"decision": asdict(self.decision)})


def load(run: Any) -> Recogniser:
    """Return the system of a run folder (`runs.folder.LoadedRun`), ready to look at pictures.

    Raises StudyError when its weights are missing, damaged, or another system's.
    """
    parameters = run.parameters
    with read_weights(run.folder / "model.safetensors") as (said, tensors):
        decision = Decision(**said["decision"])
        names = said["dishes"], said["ingredients"]
        # of what reads them, whose weights are a vector
        first = min(name for name in tensors if name.startswith("trunk"))
        width = len(tensors[first]) if parameters.network.frozen else None
        known = len(tensors.get("known", ()))
        network = build(parameters.network, *map(len, names), width, False, known)
        network.load_state_dict(tensors)
    return Recogniser(network.to(compute.device()).eval(), parameters, *names, decision)
