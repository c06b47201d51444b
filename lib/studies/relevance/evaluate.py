"""Score one system: `python -m studies.relevance.evaluate -f dataset.yaml -f system.yaml`."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from torch import Tensor
from torch.nn.functional import normalize
from tqdm.auto import tqdm

from studies.inputs import reading
from studies.inputs.features import features
from studies.learning import compute
from studies.learning.backbones import weights_of
from studies.paths import run_command
from studies.relevance import data, filter, metrics, model
from studies.relevance.captions import REASONS, concepts
from studies.relevance.data import Collection
from studies.relevance.examples import items
from studies.relevance.model import embedded
from studies.relevance.params import Clip, Parameters
from studies.relevance.train import training_captions
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import accounted, load_run, provenance

BLOCK = 4096  # captions at once


@compute.once
def evaluate(parameters: Parameters, folder: Path) -> None:
    """Score a system.

    A filter says of every caption whether it is kept, a downstream classifier of every test
    caption, or of its image, what its class is.
    """
    collection = data.read(parameters)
    parts = data.split(collection, parameters)
    if parameters.trained:
        collection.refuse_changed(load_run(folder), parameters)
    else:
        read = collection.fingerprint_for(parameters)
        facts = provenance(dataset_fingerprint=read, captions=reading.sizes(parts))
        write_atomic(folder / "provenance.json", to_json(facts))
    others = classified if parameters.trained else retrieved
    score = filtered if parameters.downstream is None else others
    with accounted("decoding"):
        frame = score(parameters, collection, parts)
    write_atomic(folder / "items.json", to_json(about(collection)))
    write_atomic(folder / "predictions.parquet", lambda path: write(frame, path))
    write_atomic(folder / "metrics.json", to_json(metrics.scores(frame)))


def filtered(parameters: Parameters, collection: Collection, parts: np.ndarray) -> pd.DataFrame:
    """Return what a filter says of all captions, in their order, each read alone."""
    count = len(collection.captions)
    # rounded as they are kept, so that what is kept follows from the file
    own, mean, highest = np.zeros((3, count), dtype=np.float16)
    if parameters.predictor is not None:
        for rows, logits in predicted(parameters, collection, np.arange(count)):
            exclusive = parameters.predictor.exclusive
            probabilities = (logits.softmax(1) if exclusive else logits.sigmoid()).numpy()
            own[rows], mean[rows] = filter.own_and_mean(probabilities, collection.target[rows])
            highest[rows] = probabilities.max(axis=1)
        both = own.astype(np.float64), mean.astype(np.float64)
        decisions = filter.decide(*both, parameters.filter).assign(probability=own)
    else:
        for rows, similar in similarities(parameters, collection):
            places = np.arange(len(rows)), collection.target[rows]
            lead, highest[rows] = similar[places], similar.max(axis=1)
            # a name in the caption is enough, whatever other names are there
            if parameters.baseline.name != "name_match":
                similar[places] = -np.inf
                lead = lead - similar.max(axis=1)
            own[rows] = lead
        decisions = pd.DataFrame({"kept": own > 0, "lead": own})
    return pd.concat([described(collection, parts), decisions.assign(highest=highest)], axis=1)


def classified(parameters: Parameters, collection: Collection, parts: np.ndarray) -> pd.DataFrame:
    """Return the class that a downstream classifier gives to each test caption or its image."""
    test, said = np.flatnonzero(parts == "test"), np.zeros(len(parts), dtype=np.int64)
    for rows, logits in predicted(parameters, collection, test):
        said[rows] = logits.argmax(1).numpy()
    frame = described(collection, parts).assign(said=np.array(collection.wnids)[said])
    frame["read"] = "image" if parameters.sees_images else "caption"
    return frame.iloc[test].reset_index(drop=True)


def retrieved(parameters: Parameters, collection: Collection, parts: np.ndarray) -> pd.DataFrame:
    """Return at which place, from 1, each test caption finds its image among those of all.

    Images are looked for by the cosine of the caption's vector and the image's features, mapped by
    a ridge regression on the training captions; leave-one-out chooses its penalty.
    """
    encoder, test = parameters.encoder, np.flatnonzero(parts == "test")
    taken, weight = training_captions(parameters, collection, parts)
    sights = features(collection.files, collection.root, encoder.images)
    sights = (sights - sights[taken].mean(0)) / (sights[taken].std(0) + 1e-6)
    vectors = embedded(collection.captions["text"][:], encoder.texts)
    ridge = RidgeCV(alphas=np.logspace(1, 5, 9))
    ridge.fit(sights[taken], vectors[taken], None if weight is None else weight[taken])
    mapped = ridge.predict(sights[test])
    likeness = vectors[test] @ (mapped / np.linalg.norm(mapped, axis=1, keepdims=True)).T
    rank = (likeness >= likeness.diagonal()[:, None]).sum(axis=1)
    return described(collection, parts).iloc[test].reset_index(drop=True).assign(rank=rank)


def predicted(
    parameters: Parameters, collection: Collection, rows: np.ndarray
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield rows and logits of captions or of their images, (B,) and (B, C)."""
    reader = model.load(load_run(parameters.folder()))
    return reader.predict(items(parameters, collection, reader.words), rows)


def described(collection: Collection, parts: np.ndarray) -> pd.DataFrame:
    """Return id, class, part, truth and cluster of all captions, and nothing of what they say.

    The id is the row of `collection.captions`. Captions of one cluster say nearly the same, as
    those of a series of photographs do: they differ in case, digits and punctuation at most.
    """
    frame = collection.captions.select_columns(["wnid", "relevant", "text"]).to_pandas()
    letters = frame["text"].str.casefold().str.replace(r"[\W\d_]+", " ", regex=True).str.strip()
    return pd.DataFrame(
        {
            "id": np.arange(len(frame), dtype=np.int32),
            "class": frame["wnid"],
            "part": parts,
            "relevant": frame["relevant"].astype("boolean"),
            "cluster": pd.factorize(letters)[0].astype(np.int32),
        }
    )


def about(collection: Collection) -> dict[str, Any]:
    """Return what a report says of the captions beyond predictions: numbers, and class names."""
    dropped, of_class = Counter(collection.reason), np.bincount(collection.target)
    return {
        "found": len(collection.everything),
        "dropped": {reason: dropped[reason] for reason in REASONS if dropped[reason]},
        "names": collection.by_wnid,
        "captions": dict(zip(collection.wnids, of_class.tolist(), strict=False)),
    }


def write(frame: pd.DataFrame, file: Path) -> None:
    """Write predictions as small as they get; numbers that mostly ascend as their differences."""
    ascending = ["id", "cluster"]
    frame.to_parquet(
        file,
        index=False,
        compression="zstd",
        use_dictionary=[name for name in frame if name not in ascending],
        column_encoding=dict.fromkeys(ascending, "DELTA_BINARY_PACKED"),
    )


# What can be said of a caption without training: its class by name, by words, by CLIP.


def similarities(
    parameters: Parameters, collection: Collection
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows of captions and their similarity to each class, (B,) and (B, C) float64."""
    baseline = parameters.baseline
    if baseline.name == "name_match":
        words = None
        if parameters.source.name == "flickr8k_noise":
            by_name = {one.name: one.words for one in concepts()}
            words = [by_name[wnid] for wnid in collection.wnids]
        for rows, texts in blocks(collection, BLOCK):
            yield rows, named(texts, collection.names, words)
    elif baseline.name == "tfidf":
        vectors = TfidfVectorizer(sublinear_tf=True)
        classes = vectors.fit_transform(collection.texts)
        for rows, texts in blocks(collection, BLOCK):
            yield rows, (vectors.transform(texts) @ classes.T).toarray()
    elif baseline.name == "similarity":
        sentences, ends = collection.pairs()[0], np.cumsum(collection.sentence_counts)[:-1]
        by_class = np.split(embedded(sentences, baseline.weights), ends)
        centres = np.stack([one.mean(0) / np.linalg.norm(one.mean(0)) for one in by_class])
        vectors = embedded(collection.captions["text"][:], baseline.weights)
        yield np.arange(len(vectors)), (vectors @ centres.T).astype(np.float64)
    else:
        yield from clip(baseline, collection, parameters.precision)


def blocks(collection: Collection, size: int) -> Iterator[tuple[np.ndarray, list[str]]]:
    """Yield the captions in their order, so many at a time."""
    count = len(collection.captions)
    for start in tqdm(range(0, count, size), desc="reading captions", unit="block", delay=2):
        rows = np.arange(start, min(start + size, count))
        yield rows, collection.captions[rows]["text"]


def named(
    texts: Sequence[str], names: Sequence[str], patterns: Sequence[re.Pattern] | None = None
) -> np.ndarray:
    """Return 1 where a text has the name of a class, whole or in plural, else 0, (B, C).

    With `patterns` those are what names a class.
    """
    found = np.zeros((len(texts), len(names)))
    lower = [text.lower() for text in texts]
    for place, words in enumerate(map(str.split, names)):
        name = " ".join(words)
        whole = re.compile(rf"\b{re.escape(name)}(?:s|es)?\b", re.IGNORECASE)
        if patterns is not None:
            name, whole = "", patterns[place]
        for row, text in enumerate(texts):
            # the first look is many times as fast, and most texts name no class
            found[row, place] = name.lower() in lower[row] and whole.search(text) is not None
    return found


def clip(
    baseline: Clip, collection: Collection, precision: str
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the cosine of captions and "a photo of a <class>" in the text space of a CLIP.

    A. Radford et al., *Learning transferable visual models from natural language supervision*,
    ICML 2021. Raises StudyError when there are no such weights.
    """
    # imported late: transformers takes seconds
    from transformers import AutoTokenizer, CLIPTextModelWithProjection

    weights, batch = baseline.weights, baseline.batch
    with weights_of(weights) as source:
        tokenizer = AutoTokenizer.from_pretrained(source)
        encoder = CLIPTextModelWithProjection.from_pretrained(
            source, use_safetensors=True, dtype=torch.float32
        )
    where = compute.device()
    encoder = encoder.to(where).eval()

    def embedded(texts: Sequence[str]) -> Tensor:
        tokens = tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode(), compute.autocast(precision):
            return normalize(encoder(**tokens.to(where)).text_embeds.float(), dim=1)

    names = [f"a photo of a {name}" for name in collection.names]
    classes = torch.cat([embedded(names[i : i + batch]) for i in range(0, len(names), batch)])
    for rows, texts in blocks(collection, batch):
        yield rows, (embedded(texts) @ classes.T).double().cpu().numpy()


if __name__ == "__main__":
    run_command(lambda: evaluate(Parameters.from_command_line()))
