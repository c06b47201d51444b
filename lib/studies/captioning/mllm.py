"""Multimodal language models, asked zero-shot what a picture shows.

Any image-text-to-text model of transformers (SmolVLM, Qwen2-VL, LLaVA, …), through the chat
template of its processor, or any server with OpenAI's interface that takes pictures. Such models
answer in paragraphs where people write a sentence: `cleaned` says by which rule an answer becomes a
caption, and a run keeps both.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from studies.captioning.params import Mllm
from studies.inputs.chat import ServerWriter, without_thought
from studies.inputs.images import open_rgb
from studies.learning import compute
from studies.learning.backbones import weights_of
from studies.paths import StudyError

QUOTES = "\"'“”‘’«»*_` "
IMAGE = r"(?:image|picture|photo(?:graph)?|scene)"
OPENING = re.compile(  # said of the picture, before what it shows
    rf"(?i)(?:(?:{IMAGE} )?caption|description)\s*:\s*"
    rf"|(?:sure|certainly|of course)[,!.:]\s*|here(?: is|'s|’s) [^.:\n]*:\s*"
    rf"|(?:in )?(?:the|this) {IMAGE},?\s+(?:shows|depicts|features|captures|displays|is of"
    r"|(?:we|you|one) (?:can )?see|there (?:is|are))\s+"
)
END = re.compile(r"(?<=[^\s.!?])[.!?]+(?=[\"'”’*_]*(?:\s|$))|\n")


def cleaned(answer: str) -> str:
    """Return the caption in an answer: its first sentence, as somebody would write it alone.

    Left out are what was thought before, quotes and Markdown's signs around, and openings such as
    "Sure!", "Caption:" and "The image shows". The sentence ends at the first full stop, question or
    exclamation mark before white space, or at a line's end. An answer of which nothing would be
    left stays as it is.
    """
    text = without_thought(answer).strip(QUOTES + "\n")
    while opening := OPENING.match(text):
        text = text[opening.end() :].strip(QUOTES + "\n")
    end = END.search(text)
    text = (text[: end.start()] if end else text).strip(QUOTES)
    return text or answer.strip()


def answers(files: Sequence[Path], settings: Mllm, beams: int) -> tuple[list[str], dict[str, int]]:
    """Return what a model answers to the prompt and each picture, and how many are odd, and how.

    Raises StudyError when the model cannot be had, has no chat template, or a server does not
    answer; see `ServerWriter.write`.
    """
    if settings.model.name == "server":
        writer = ServerWriter(settings.model, 0.0, settings.max_tokens, 0, "baseline.model")
        said = writer.describe(files, settings.prompt)
        return said, dict(writer.remarks)
    model, processor = load(settings.model.model)
    said = []
    size = settings.model.batch
    for start in tqdm(range(0, len(files), size), "describing images", unit="batch", delay=2):
        said += asked(model, processor, files[start : start + size], settings, beams)
    return said, dict(Counter("empty" for text in said if not text))


def load(name: str) -> tuple[Any, Any]:
    """Return model and processor (see `weights_of`).

    Weights come from safetensors; no code of the model's repository is run.
    Raises StudyError when they cannot be had or read, or the processor has no chat template.
    """
    # imported late: transformers takes seconds
    from transformers import AutoModelForImageTextToText, AutoProcessor

    with weights_of(name) as source:
        processor = AutoProcessor.from_pretrained(source)
        model = AutoModelForImageTextToText.from_pretrained(source, use_safetensors=True)
    if processor.chat_template is None:
        raise StudyError(
            f"{name} has no chat template, so that nothing says how it is asked: name a model that "
            "was trained to follow instructions"
        )
    processor.tokenizer.padding_side = "left"
    if processor.tokenizer.pad_token_id is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return model.to(compute.device()).eval(), processor


def asked(model: Any, processor: Any, files: Sequence[Path], settings: Mllm, beams: int) -> list:
    """Return a model's answers to the prompt and each of a batch of pictures."""
    text = {"type": "text", "text": settings.prompt}
    contents = [[{"type": "image", "image": open_rgb(file)}, text] for file in files]
    conversations = [[{"role": "user", "content": content}] for content in contents]
    framing = {"add_generation_prompt": True, "tokenize": True, "return_dict": True}
    framing |= {"return_tensors": "pt", "padding": True}
    inputs = processor.apply_chat_template(conversations, **framing).to(model.device)
    search = {"do_sample": False, "num_beams": beams, "max_new_tokens": settings.max_tokens}
    search["pad_token_id"] = processor.tokenizer.pad_token_id
    with torch.inference_mode():
        tokens = model.generate(**inputs, **search)
    new = tokens[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in processor.batch_decode(new, skip_special_tokens=True)]
