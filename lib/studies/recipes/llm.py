"""Who writes the recipes: one small interface, three ways to have it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from tqdm.auto import tqdm

from studies import paths
from studies.learning import compute
from studies.paths import StudyError
from studies.recipes.params import Parameters

BREAK = "\n\n"  # between prompt and recipe where a model has no chat template


class RecipeWriter(Protocol):
    """Whoever answers prompts."""

    def write(self, prompts: Sequence[str], recipes: int) -> list[list[str]]:
        """Return so many recipes for each prompt, in order."""


class LocalWriter:
    """A causal language model of transformers, asked in batches.

    Chat templates are used where the tokenizer has one. `temperature` 0 is greedy; otherwise the
    draws of a batch depend on `seed` and on the place of the batch alone.
    """

    def __init__(
        self, model: str | Path, batch: int, temperature: float, max_tokens: int, seed: int
    ) -> None:
        self.model, self.tokenizer = load(str(model))
        self.batch, self.temperature = batch, temperature
        self.max_tokens, self.seed = max_tokens, seed
        self.chats = getattr(self.tokenizer, "chat_template", None) is not None

    def write(self, prompts: Sequence[str], recipes: int) -> list[list[str]]:
        """Return so many recipes for each prompt, in order."""
        texts = [self.framed(prompt) for prompt in prompts]
        written: list[list[str]] = []
        starts = range(0, len(texts), self.batch)
        for start in tqdm(starts, desc="writing recipes", unit="batch", delay=2):
            compute.seed_all(compute.epoch_seed(self.seed, start))
            answers = self.complete(texts[start : start + self.batch], recipes)
            written += [
                answers[first : first + recipes] for first in range(0, len(answers), recipes)
            ]
        return written

    def complete(self, texts: list[str], recipes: int) -> list[str]:
        """Return the continuations of a batch of texts, those of one text side by side."""
        device = next(self.model.parameters()).device
        # a chat template writes the special tokens itself
        given = self.tokenizer(
            texts, add_special_tokens=not self.chats, return_tensors="pt", padding=True
        ).to(device)
        sampled = self.temperature > 0
        chance = {"temperature": self.temperature, "top_k": 0, "top_p": 1.0} if sampled else {}
        with torch.inference_mode():
            tokens = self.model.generate(
                **given,
                do_sample=sampled,
                num_return_sequences=recipes if sampled else 1,
                max_new_tokens=self.max_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
                **chance,
            )
        new = tokens[:, given["input_ids"].shape[1] :]
        answers = [
            text.strip() for text in self.tokenizer.batch_decode(new, skip_special_tokens=True)
        ]
        return answers if sampled else [text for text in answers for _ in range(recipes)]

    def framed(self, prompt: str) -> str:
        """Return the prompt as the model expects it."""
        if not self.chats:
            return prompt + BREAK
        said = [{"role": "user", "content": prompt}]
        return self.tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)


def load(model: str) -> tuple[Any, Any]:
    """Return model and tokenizer of a folder (also below STUDIES_DATA/weights) or of the hub.

    Weights come from safetensors; no code of the model's repository is run.
    Raises StudyError when they cannot be had or read.
    """
    # imported late: transformers takes seconds
    from transformers import AutoModelForCausalLM, AutoTokenizer

    put_in = paths.data() / "weights" / model
    source = str(put_in) if put_in.is_dir() else model
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
        network = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True)
    except Exception as error:  # which one depends on what is missing
        first = str(error).strip().split("\n")[0][:200]
        raise StudyError(
            f"The language model {model} is neither in {put_in} nor to be had from the Hugging "
            f"Face hub ({first}): run `hf download {model} --local-dir {put_in}` where there is a "
            "network, and copy the folder."
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return network.to(compute.device()).eval(), tokenizer


def recipe_writer(parameters: Parameters) -> RecipeWriter:
    """Return who writes for a run."""
    given, writing = parameters.writing.generator, parameters.writing
    sampling = (writing.temperature, writing.max_tokens, parameters.seed)
    if given.name == "server":
        from studies.recipes.server import ServerWriter

        return ServerWriter(given, *sampling)
    if given.name == "local":
        return LocalWriter(given.model, given.batch, *sampling)
    from studies.recipes.writer import kitchen_writer

    return LocalWriter(kitchen_writer(given), given.batch, *sampling)
