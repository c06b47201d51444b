"""The classifier: a trunk of 256 ReLU units, then softmax, an embedding with k-NN, or both heads.

Scratch: four convolution blocks (`learning.networks.ScratchCNN`). Frozen: features of a large
backbone, and the same two last layers. Both end in the number of classes (cross-entropy), in 128
dimensions on the unit sphere (triplet losses), or in one head of each kind (hybrid).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from studies.learning import compute
from studies.learning.networks import Dense, ScratchCNN
from studies.runs.folder import LoadedRun, accounted, read_weights, write_weights
from studies.triplets.metrics import nearest
from studies.triplets.params import Parameters

CHUNK = 256  # images embedded at once
KEPT = ("classes", "references", "reference_classes")  # arrays beside the weights


class Output(NamedTuple):
    """What a network says of a batch."""

    logits: Tensor | None  # (B, C); None without a softmax head
    embeddings: Tensor  # (B, d) float32 of length 1; without an embedding head, the trunk's units


class Network(nn.Module):
    """A trunk with a softmax head over `classes`, an embedding head of `dimensions`, or both."""

    def __init__(self, trunk: nn.Module, classes: int | None, dimensions: int | None) -> None:
        super().__init__()
        self.trunk = trunk
        self.softmax = nn.Linear(trunk.out_features, classes) if classes else None
        self.embedding = nn.Linear(trunk.out_features, dimensions) if dimensions else None

    def forward(self, inputs: Tensor) -> Output:
        """Map pixels (B, 3, S, S) in 0 to 1, or features (B, F), to logits and embeddings."""
        units = self.trunk(inputs)
        logits = self.softmax(units) if self.softmax else None
        embedded = self.embedding(units) if self.embedding else units
        return Output(logits, normalize(embedded.float(), dim=1))


def build(parameters: Parameters, classes: int, features: int | None) -> Network:
    """Return a fresh network; `features` is F for a frozen backbone, None for pixels."""
    backbone = parameters.backbone
    if backbone.name == "scratch":
        trunk = ScratchCNN(parameters.image_size, tuple(backbone.widths), backbone.hidden)
    else:
        trunk = Dense(features, backbone.hidden, backbone.standardised, backbone.dropout)
    softmax = classes if parameters.loss.name in ("cross_entropy", "hybrid") else None
    dimensions = None if parameters.loss.name == "cross_entropy" else parameters.embedding
    return Network(trunk, softmax, dimensions)


@dataclass
class Classifier:
    """A trained network with what it needs to name classes.

    `classes` (C, H) are the labels of each class and `names` the label names of each level;
    `references` (R, d) and `reference_classes` (R,) are the embedded images that k-NN looks among:
    those trained on, and those of classes held out of training.
    """

    parameters: Parameters
    network: Network
    names: list[list[str]]
    classes: np.ndarray
    references: np.ndarray
    reference_classes: np.ndarray

    @accounted("decoding")
    def look(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, C) class probabilities and (N, d) embeddings of length 1.

        What the probabilities are, `shares` says.
        """
        logits, embedded = run(self.network, inputs, self.parameters.precision)
        return self.shares(logits, embedded), embedded.numpy()

    def shares(self, logits: Tensor | None, embedded: Tensor) -> np.ndarray:
        """Return (N, C) what speaks for each class, 0 to 1, of logits (N, C), embeddings (N, d).

        The votes of the neighbours; the probabilities of softmax; or under `least_cost` what
        `levels_right` says.
        """
        if self.parameters.decide == "neighbours":
            return self.vote(embedded.numpy())
        if self.parameters.decide == "least_cost":
            return levels_right(logits, self.classes)
        return logits.softmax(1).numpy()

    def vote(self, embedded: np.ndarray) -> np.ndarray:
        """Return (N, C) shares of the votes of the k nearest references, weighted by 1/distance."""
        known = self.references, self.reference_classes
        knn = nearest(*known, self.parameters.neighbours)
        votes = np.zeros((len(embedded), len(self.classes)))
        votes[:, knn.classes_] = knn.predict_proba(embedded)
        return votes

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Return (N, H) label indices of pixels (N, 3, S, S) uint8 or features (N, F)."""
        return self.classes[self.look(inputs)[0].argmax(1)]

    def save(self, file: Path) -> None:
        """Write weights, references and names as one safetensors file, whole or not at all."""
        tensors = {f"network.{name}": one for name, one in self.network.state_dict().items()}
        tensors |= {name: torch.from_numpy(getattr(self, name)) for name in KEPT}
        write_weights(file, tensors, {"names": self.names})


def levels_right(logits: Tensor, classes: np.ndarray) -> np.ndarray:
    """Return (N, C) which share of levels each class is expected to have right, of logits (N, C).

    `classes` (C, H) are the labels of each class. The largest share has the least expected cost, a
    cost of 1 a wrong level (conditional risk, as in L. Bertinetto et al., CVPR 2020).
    """
    return logits.softmax(1).numpy() @ (classes[:, None] == classes).mean(-1)


def run(network: Network, inputs: np.ndarray, precision: str) -> Output:
    """Return the output for N inputs in evaluation mode, `CHUNK` at a time, as float32 on the CPU.

    Without inputs there is nothing to return: N must not be 0.
    """
    return gather(compute.outputs(network, inputs, precision, CHUNK))


def gather(outputs: list[Output]) -> Output:
    """Return the outputs of several batches as one, as float32 on the CPU."""
    logits, embedded = zip(*outputs, strict=True)
    together = None if logits[0] is None else torch.cat(logits).float().cpu()
    return Output(together, torch.cat(embedded).float().cpu())


def load(run: LoadedRun) -> Classifier:
    """Return the classifier of a run folder, ready to predict.

    Raises StudyError when its weights are missing, damaged, or another system's.
    """
    parameters = run.parameters
    with read_weights(run.folder / "model.safetensors") as (said, tensors):
        names = said["names"]
        known = {name: tensors.pop(name).numpy() for name in KEPT}
        first = tensors.get("network.trunk.layers.0.weight")  # of a frozen backbone's dense layer
        features = None if first is None else first.shape[1]
        network = build(parameters, len(known["classes"]), features)
        network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items()})
    return Classifier(parameters, network.to(compute.device()).eval(), names, **known)
