"""Published vision models without their classifiers, from torchvision or transformers."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from studies.paths import StudyError


class Backbone(nn.Module, ABC):
    """A published vision model without its classifier, and the preprocessing that belongs to it.

    Attributes:
        name: as given to `load_backbone`.
        out_features: length of a feature vector.
        preprocess: PIL image to the (3, S, S) float tensor that the model expects.

    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        preprocess: Callable[[Image.Image], Tensor],
        recipe: str,
        mean: Sequence[float],
        std: Sequence[float],
        out_features: int,
        trainable: bool,
    ):
        super().__init__()
        self.name, self.model, self.preprocess = name, model, preprocess
        self.recipe, self.out_features, self.trainable = recipe, out_features, trainable
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        self.requires_grad_(trainable).train(trainable)

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode; a frozen backbone stays in evaluation mode inside a model that trains."""
        return super().train(mode and self.trainable)

    def normalise(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) in 0..1, as from `augment`, to the model's range."""
        return (images - self.mean) / self.std

    @abstractmethod
    def forward(self, images: Tensor, pooled: bool = True) -> Tensor:
        """Map preprocessed (B, 3, S, S) to (B, F), or unless `pooled` to tokens (B, T, F).

        Tokens of a convolutional network are the places of its last map, row by row; those of a
        transformer are its last hidden states, the class token first if it has one.
        """

    def digest(self) -> str:
        """Return a digest of all weights and of the preprocessing."""
        summary = hashlib.blake2b(self.recipe.encode(), digest_size=16)
        for key, tensor in sorted(self.model.state_dict().items()):
            summary.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            summary.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return summary.hexdigest()


def load_backbone(name: str, trainable: bool = False, pretrained: bool = True) -> Backbone:
    """Return a published vision model, frozen unless `trainable`.

    Args:
        name: `torchvision/<model>` with torchvision's default weights; anything else is a model of
            transformers: a folder (absolute, below `STUDIES_DATA/weights`, or below the repository)
            or a name on the Hugging Face hub. Of CLIP and its kin the vision tower is taken.
        trainable: for fine-tuning.
        pretrained: False gives random weights, to be filled from a run folder.

    Weights come from safetensors or through `weights_only=True`; no pickle is ever executed.

    Raises:
        StudyError: no such model, or its weights are not there, incomplete or unsafe.

    """
    # imported late: either library takes seconds
    if name.startswith("torchvision/"):
        from studies.learning.torchvision_backbones import load
    else:
        from studies.learning.transformers_backbones import load
    return load(name, trainable, pretrained)


def unsafe(name: str, place: Path | str) -> StudyError:
    """Return the error of weights that are a pickle of more than tensors."""
    return StudyError(
        f"The weights of {name} in {place} are a pickle that holds more than tensors, which could "
        "run any code, and were not loaded: get a safetensors version."
    )


def first_line(error: Exception) -> str:
    """Return the first line of what an error says, else its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
