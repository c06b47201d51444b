"""Backbones from transformers, out of a folder or from the Hugging Face hub."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from torch import Tensor, nn

from studies import paths
from studies.learning.backbones import Backbone, first_line, unsafe
from studies.paths import StudyError


class Transformers(Backbone):
    """A model of transformers."""

    def forward(self, images: Tensor, pooled: bool = True) -> Tensor:
        """Map images to a vector each, or to tokens; see `Backbone`."""
        output = self.model(pixel_values=images)
        hidden = output.last_hidden_state
        tokens = hidden.flatten(2).transpose(1, 2) if hidden.ndim == 4 else hidden
        if not pooled:
            return tokens
        if getattr(output, "pooler_output", None) is not None:
            return output.pooler_output.flatten(1)
        return tokens.mean(1) if hidden.ndim == 4 else tokens[:, 0]


def load(name: str, trainable: bool, pretrained: bool) -> Backbone:
    """Return the model of that folder or name; see `load_backbone`."""
    put_in = paths.data() / "weights" / name
    here = [p for p in (put_in, paths.REPOSITORY / name) if p.is_dir()]
    if not here and (Path(name).is_absolute() or name.startswith(".") or name.count("/") > 1):
        raise StudyError(
            f"There is no folder {name} with weights, neither below {paths.data() / 'weights'} "
            f"nor below {paths.REPOSITORY}: correct the name or put the model there."
        )
    source = str(here[0]) if here else name
    try:
        with _quiet():
            config = transformers.AutoConfig.from_pretrained(source)
            processor = transformers.AutoImageProcessor.from_pretrained(source)
            model = _load_weights(source, config) if pretrained else _untrained(config)
    except pickle.UnpicklingError as error:
        raise unsafe(name, source) from error
    except StudyError:
        raise
    except Exception as error:
        if here:
            raise StudyError(
                f"The folder {source} holds no complete vision model ({first_line(error)}): it "
                "needs config.json, preprocessor_config.json and model.safetensors."
            ) from error
        raise StudyError(
            f"The weights {name} are neither in {put_in} nor to be had from the Hugging Face hub "
            f"({first_line(error)}): run `hf download {name} --local-dir {put_in}` where there is "
            "a network, and copy the folder."
        ) from error
    # CLIP and its kin hold two towers; the text is none of ours.
    model = getattr(model, "vision_model", model)
    sizes = getattr(model.config, "hidden_sizes", None)
    return Transformers(
        name,
        model,
        lambda image: processor(images=[image], return_tensors="pt")["pixel_values"][0],
        repr(sorted(processor.to_dict().items(), key=lambda item: item[0])),
        getattr(processor, "image_mean", None) or (0.0, 0.0, 0.0),
        getattr(processor, "image_std", None) or (1.0, 1.0, 1.0),
        sizes[-1] if sizes else model.config.hidden_size,
        trainable,
    )


def _load_weights(source: str, config: transformers.PretrainedConfig) -> nn.Module:
    settings = {"config": config, "dtype": torch.float32, "output_loading_info": True}
    load = transformers.AutoModel.from_pretrained
    try:
        model, report = load(source, use_safetensors=True, **settings)
    except OSError:
        model, report = load(source, use_safetensors=False, weights_only=True, **settings)
    absent = {key for key in report["missing_keys"] if not key.startswith("text_model.")}
    if absent and all(key.startswith("pooler.") for key in absent):
        # Classifiers are published without a pooler; transformers would put in a random one.
        model.pooler = None
    elif absent or report["mismatched_keys"]:
        wrong = sorted(absent or report["mismatched_keys"], key=str)
        raise StudyError(f"The weights in {source} lack or misfit {wrong[0]}: fetch them again.")
    return model


def _untrained(config: transformers.PretrainedConfig) -> nn.Module:
    return transformers.AutoModel.from_config(config, dtype=torch.float32)


@contextmanager
def _quiet() -> Iterator[None]:
    # What is missing is checked here; the library's report and bar would spoil stored outputs.
    log = transformers.utils.logging
    level, bar = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bar:
            log.enable_progress_bar()
