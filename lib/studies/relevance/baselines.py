"""What can be said of a caption without training: its class by name, by words, by CLIP."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm.auto import tqdm

from studies.learning import compute
from studies.paths import StudyError
from studies.relevance.data import Collection
from studies.relevance.params import Parameters

BLOCK = 4096  # captions at once


def similarities(
    parameters: Parameters, collection: Collection
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows of captions and their similarity to each class, (B,) and (B, C) float64."""
    given = parameters.baseline
    if given.name == "name_match":
        for rows, texts in blocks(collection, BLOCK):
            yield rows, named(texts, collection.names)
    elif given.name == "tfidf":
        vectors = TfidfVectorizer(sublinear_tf=True)
        classes = vectors.fit_transform(collection.texts)
        for rows, texts in blocks(collection, BLOCK):
            yield rows, (vectors.transform(texts) @ classes.T).toarray()
    else:
        yield from clip(given.weights, given.batch, collection, parameters.precision)


def blocks(collection: Collection, size: int) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Yield the captions in their order, so many at a time."""
    count = len(collection.captions)
    for start in tqdm(range(0, count, size), desc="reading captions", unit="block", delay=2):
        rows = np.arange(start, min(start + size, count))
        yield rows, collection.captions[rows]["text"]


def pattern(name: str) -> re.Pattern:
    """Return what finds the name of a class in a text: as whole words, with a plural's end."""
    words = r"\s+".join(re.escape(word) for word in name.split())
    return re.compile(rf"\b{words}(?:s|es)?\b", re.IGNORECASE)


def named(texts: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Return 1 where a text has the name of a class, else 0, (B, C)."""
    patterns = [(" ".join(name.lower().split()), pattern(name)) for name in names]
    found = np.zeros((len(texts), len(names)))
    for row, text in enumerate(texts):
        lower = text.lower()
        for place, (name, whole) in enumerate(patterns):
            # the first look is many times as fast, and most texts name no class
            found[row, place] = name in lower and whole.search(text) is not None
    return found


def clip(
    weights: str, batch: int, collection: Collection, precision: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the cosine of captions and "a photo of a <class>" in the text space of a CLIP.

    A. Radford et al., *Learning transferable visual models from natural language supervision*,
    ICML 2021. Raises StudyError when there are no such weights.
    """
    # imported late: transformers takes seconds
    from transformers import AutoTokenizer, CLIPTextModelWithProjection

    try:
        tokenizer = AutoTokenizer.from_pretrained(weights)
        model = CLIPTextModelWithProjection.from_pretrained(
            weights, use_safetensors=True, dtype=torch.float32
        )
    except Exception as error:  # which one depends on what is missing or damaged
        raise StudyError(
            f"baseline.weights: no CLIP with a text encoder in safetensors at {weights} "
            f"({type(error).__name__}); give its name on the hub or a folder that save_pretrained "
            "wrote"
        ) from error
    where = compute.device()
    model = model.to(where).eval()

    def embedded(texts: Sequence[str]) -> torch.Tensor:
        given = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode(), compute.autocast(precision):
            found = model(**given.to(where)).text_embeds
        return torch.nn.functional.normalize(found.float(), dim=1)

    names = [f"a photo of a {name}" for name in collection.names]
    classes = torch.cat([embedded(names[i : i + batch]) for i in range(0, len(names), batch)])
    for rows, texts in blocks(collection, batch):
        yield rows, (embedded(texts) @ classes.T).double().cpu().numpy()


def lead(parameters: Parameters, own: np.ndarray, highest: np.ndarray) -> np.ndarray:
    """Return by how much the class of each caption is ahead, (N,); those above 0 are kept.

    `own` is the similarity to the class, `highest` the highest to another one. A name in the
    caption is enough, whatever other names are there.
    """
    return own if parameters.baseline.name == "name_match" else own - highest
