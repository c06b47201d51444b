"""The demo's language model: small, and trained in seconds on recipes of kitchens not tested on."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer
from tqdm.auto import tqdm

import kitchen
from studies import paths
from studies.learning import compute
from studies.learning.fit import adamw, schedule, set_rate
from studies.recipes.llm import BREAK
from studies.recipes.params import Writer
from studies.recipes.prompt import build_prompt
from studies.runs.files import made_once

VERSION = 1  # raise it whenever the same settings give another model
PLATES = 100  # of the most frequent variant, that recipes are read from
WORDS = 1000  # tokens at most
WARM_UP = 0.1
END = "<end>"


def kitchen_writer(settings: Writer) -> Path:
    """Return the folder of the language model, trained at the first call, as `save_pretrained`.

    Raises StudyError when the cache cannot be written.
    """
    said = json.dumps([VERSION, settings.model_dump()], sort_keys=True)
    name = hashlib.blake2b(said.encode(), digest_size=8).hexdigest()
    folder = paths.cache() / f"writer-{name}"
    return made_once(folder, lambda partial: train(settings, partial))


def examples(settings: Writer) -> list[tuple[str, str]]:
    """Return prompts and recipes of a kitchen of its own, every form of prompt equally often.

    The forms are those that the study asks with: the dish alone or with ingredients, each named
    outright, or with probabilities and, for the dish, with others that it might be.
    """
    rng = np.random.default_rng(settings.seed)
    plates = kitchen.plates(PLATES, settings.seed)
    dishes = sorted({one.dish for one in plates})
    pairs = []
    for plate in plates:
        others = rng.permutation([name for name in dishes if name != plate.dish])[:2]
        left = rng.dirichlet([1.0, 1.0]) * (1 - (sure := rng.uniform(0.4, 0.79)))
        unsure = {plate.dish: sure, **dict(zip(others.tolist(), left.tolist(), strict=True))}
        seen = {name: rng.uniform(0.4, 1.0) for name in plate.ingredients}
        told = list(plate.ingredients)
        recipe = kitchen.recipe(plate, settings.seed)
        for dish in (plate.dish, unsure):
            # the dish alone twice: as often as with ingredients
            for ingredients in (None, None, rng.permutation(told).tolist(), seen):
                pairs.append((build_prompt(dish, ingredients), recipe))
    return pairs


def train(settings: Writer, folder: Path) -> None:
    """Train the model and save it with its tokenizer; raises OSError when that cannot be."""
    # imported late: transformers takes seconds
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    pairs = examples(settings)
    words = ByteLevelBPETokenizer()
    words.train_from_iterator(
        [text for pair in pairs for text in pair], vocab_size=WORDS, special_tokens=[END]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words._tokenizer, eos_token=END, pad_token=END, padding_side="left"
    )
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
    optimizer = adamw(model, settings.learning_rate, weight_decay=0.01)
    rng = np.random.default_rng(settings.seed)
    for step in tqdm(range(settings.steps), desc="training the writer", unit="step", delay=2):
        rows = rng.integers(len(pairs), size=settings.batch)
        tokens, targets = batch(
            [(prompts[row], recipes[row]) for row in rows], tokenizer.pad_token_id
        )
        set_rate(optimizer, schedule(step, settings.steps, WARM_UP))
        loss = model(input_ids=tokens, labels=targets).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except Exception as error:
        if "(os error " not in str(error):
            raise
        raise OSError(str(error)) from error  # what is written by Rust has errors of its own


def batch(pairs: list[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens (B, L), filled up on the right, and targets (B, L), −100 but for recipes."""
    longest = max(len(prompt) + len(recipe) for prompt, recipe in pairs)
    tokens = torch.full((len(pairs), longest), pad)
    targets = torch.full((len(pairs), longest), -100)
    for row, (prompt, recipe) in enumerate(pairs):
        end = len(prompt) + len(recipe)
        tokens[row, :end] = torch.tensor(prompt + recipe)
        targets[row, len(prompt) : end] = torch.tensor(recipe)
    return tokens, targets
