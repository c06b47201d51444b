"""Backbones from torchvision, with its default weights."""

import difflib
import pickle
import re
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from studies.learning.backbones import Backbone, first_line, unsafe
from studies.paths import StudyError


class Torchvision(Backbone):
    """A model of torchvision."""

    def forward(self, images: Tensor, pooled: bool = True) -> Tensor:
        """Map images to a vector each, or to tokens; see `Backbone`."""
        if pooled:
            return self.model(images)
        maps: list[Tensor] = []
        if hasattr(self.model, "avgpool"):
            hook = self.model.avgpool.register_forward_pre_hook(
                lambda _, given: maps.append(*given)
            )
        elif hasattr(self.model, "features"):
            hook = self.model.features.register_forward_hook(lambda *call: maps.append(call[-1]))
        else:
            raise StudyError(f"{self.name} has no feature map: ask for pooled features.")
        try:
            self.model(images)
        finally:
            hook.remove()
        # DenseNet's last ReLU stands between its map and its pooling, outside any module.
        last = maps[0].relu() if isinstance(self.model, torchvision.models.DenseNet) else maps[0]
        return last.flatten(2).transpose(1, 2)


def load(name: str, trainable: bool, pretrained: bool) -> Backbone:
    """Return the model `torchvision/<model>`; see `load_backbone`."""
    models = torchvision.models
    short, known = name.removeprefix("torchvision/"), models.list_models(module=models)
    if short not in known:
        near = difflib.get_close_matches(short, known, 1) or ["resnet50"]
        raise StudyError(f"torchvision has no model {short!r}: did you mean torchvision/{near[0]}?")
    weights = models.get_model_weights(short).DEFAULT
    model = models.get_model(short, weights=None)
    if pretrained:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        try:
            state = weights.get_state_dict(check_hash=True, weights_only=True, map_location="cpu")
            # DenseNet's published keys are older than its modules' names: norm.1 is now norm1.
            own = model.state_dict().keys()
            rename = re.compile(r"\.(norm|conv)\.([12])\.")
            model.load_state_dict(
                {k if k in own else rename.sub(r".\1\2.", k): v for k, v in state.items()}
            )
        except pickle.UnpicklingError as error:
            raise unsafe(name, folder / Path(weights.url).name) from error
        except (OSError, RuntimeError) as error:
            raise StudyError(
                f"The weights of {name} could not be fetched or read ({first_line(error)}): fetch "
                f"{weights.url} on a machine with a network and put the file in {folder}."
            ) from error
    classes = len(weights.meta["categories"])
    heads = [
        path
        for path, module in model.named_modules()
        if isinstance(module, nn.Linear) and module.out_features == classes
    ]
    if not heads:
        raise StudyError(f"{name} ends in no linear layer: choose another model, e.g. a ResNet.")
    width = model.get_submodule(heads[-1]).in_features
    model.set_submodule(heads[-1], nn.Identity())
    recipe = weights.transforms()
    return Torchvision(name, model, recipe, repr(recipe), recipe.mean, recipe.std, width, trainable)
