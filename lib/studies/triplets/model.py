"""The classifier: a trunk of 256 ReLU units, then softmax or an embedding with k-NN.

Scratch: four convolution blocks (`studies.encoders.ScratchCNN`). Frozen: features of a large
backbone, and the same two last layers. Both end in the number of classes (cross-entropy) or in
128 dimensions on the unit sphere (triplet losses).
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn
from torch.nn.functional import normalize

from studies import compute
from studies.encoders import Dense, ScratchCNN
from studies.runs import write_atomic
from studies.triplets.params import Parameters

CHUNK = 256  # images embedded at once


class Network(nn.Module):
    """Trunk and last layer. Maps inputs to logits (B, C) or to unit vectors (B, d)."""

    def __init__(self, trunk: nn.Module, outputs: int, unit: bool) -> None:
        super().__init__()
        self.trunk, self.unit = trunk, unit
        self.head = nn.Linear(trunk.out_features, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map pixels (B, 3, S, S) in 0 to 1, or features (B, F), to (B, outputs)."""
        outputs = self.head(self.trunk(inputs))
        return normalize(outputs.float(), dim=1) if self.unit else outputs


def build(parameters: Parameters, classes: int, features: int | None) -> Network:
    """Return a fresh network; `features` is F for a frozen backbone, None for pixels."""
    backbone = parameters.backbone
    if backbone.name == "scratch":
        trunk = ScratchCNN(parameters.image_size, tuple(backbone.widths), backbone.hidden)
    else:
        trunk = Dense(features, backbone.hidden)
    softmax = parameters.loss.name == "cross_entropy"
    return Network(trunk, classes if softmax else parameters.embedding, unit=not softmax)


def to_input(batch: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Return pixels (B, 3, S, S) as floats in 0 to 1, channels last; features unchanged."""
    batch = torch.as_tensor(batch).to(device)
    if batch.ndim != 4:
        return batch.float()
    scaled = batch.float() / 255 if batch.dtype == torch.uint8 else batch
    return scaled.contiguous(memory_format=torch.channels_last)


@dataclass
class Classifier:
    """A trained network with what it needs to name classes.

    `classes` (C, H) are the labels of each class and `names` the label paths of each level;
    `references` (R, d) and `reference_classes` (R,) are the embedded training images, for k-NN.
    """

    network: Network
    precision: str
    neighbours: int
    names: list[list[str]]
    classes: np.ndarray
    references: np.ndarray
    reference_classes: np.ndarray

    def embed(self, inputs: np.ndarray) -> np.ndarray:
        """Return (N, d) float32: unit embeddings, or the trunk's units under cross-entropy."""
        module = self.network if self.network.unit else self.network.trunk
        return run(module, inputs, self.precision)

    def probabilities(self, inputs: np.ndarray, embedded: np.ndarray | None = None) -> np.ndarray:
        """Return (N, C) class probabilities of softmax or of inverse-distance weighted k-NN."""
        if not self.network.unit:
            return softmax(run(self.network, inputs, self.precision))
        embedded = self.embed(inputs) if embedded is None else embedded
        return vote(
            embedded, self.references, self.reference_classes, len(self.classes), self.neighbours
        )

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return (N, H) label indices of pixels (N, 3, S, S) uint8 or features (N, F)."""
        return self.classes[self.probabilities(inputs).argmax(1)]

    def save(self, file: Path) -> None:
        """Write weights, references and names as one safetensors file, whole or not at all."""
        tensors = {f"network.{k}": v.contiguous() for k, v in self.network.state_dict().items()}
        tensors["classes"] = torch.from_numpy(self.classes)
        tensors["references"] = torch.from_numpy(self.references)
        tensors["reference_classes"] = torch.from_numpy(self.reference_classes)
        content = {"names": json.dumps(self.names)}
        write_atomic(file, save(tensors, metadata=content))


def run(module: nn.Module, inputs: np.ndarray, precision: str) -> np.ndarray:
    """Return (N, outputs) float32 of a module in evaluation mode, `CHUNK` inputs at a time."""
    device = next(module.parameters()).device
    was_training = module.training
    module.eval()
    outputs = []
    with torch.inference_mode(), compute.autocast(precision):
        for start in range(0, len(inputs), CHUNK):
            outputs.append(module(to_input(inputs[start : start + CHUNK], device)).float().cpu())
    module.train(was_training)
    return torch.cat(outputs).numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    """Return (N, C) probabilities of logits (N, C)."""
    return torch.from_numpy(logits).softmax(1).numpy()


def vote(
    queries: np.ndarray,
    references: np.ndarray,
    reference_classes: np.ndarray,
    classes: int,
    neighbours: int,
) -> np.ndarray:
    """Return (N, C) shares of the votes of the k nearest references, weighted by 1 / distance."""
    knn = KNeighborsClassifier(min(neighbours, len(references)), weights="distance")
    knn.fit(references, reference_classes)
    votes = np.zeros((len(queries), classes))
    votes[:, knn.classes_] = knn.predict_proba(queries)
    return votes


def load(run: Any) -> Classifier:
    """Return the classifier of a run folder (`studies.runs.LoadedRun`), ready to predict."""
    parameters = Parameters.from_run(run.params, run.folder)
    with safe_open(run.folder / "model.safetensors", framework="pt") as file:
        names = json.loads(file.metadata()["names"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    weights = {
        key.removeprefix("network."): value
        for key, value in tensors.items()
        if key.startswith("network.")
    }
    features = weights.get("trunk.layers.0.weight")
    network = build(
        parameters, len(tensors["classes"]), None if features is None else features.shape[1]
    )
    network.load_state_dict(weights)
    return Classifier(
        network.to(compute.device()).eval(),
        parameters.precision,
        parameters.neighbours,
        names,
        tensors["classes"].numpy(),
        tensors["references"].numpy(),
        tensors["reference_classes"].numpy(),
    )
