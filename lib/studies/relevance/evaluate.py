"""Score one system: `python -m studies.relevance.evaluate -f dataset.yaml -f system.yaml`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from studies.inputs import splits
from studies.learning import compute
from studies.paths import relative, run_command
from studies.relevance import baselines, data, filter, metrics, model, pictures
from studies.relevance.batching import Texts
from studies.relevance.params import Parameters
from studies.relevance.tokens import tokenized
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import claim, load_run, provenance

CHANGED = "captions or class texts than there are now"
CHANGED_IMAGES = "captions, class texts or images than there are now"


def evaluate(parameters: Parameters) -> Path:
    """Score a system, unless that is done; return the run folder.

    Evaluates what it builds on first, and trains it, where that has not been done. A filter says of
    every caption whether it is kept, a downstream classifier of every test caption, or of its
    image, what its class is.
    """
    folder = parameters.folder()
    if not (folder / "metrics.json").exists():
        for system in parameters.after:
            evaluate(parameters.sister(system))
        if parameters.trained and not (folder / "model.safetensors").exists():
            # imported late: Lightning alone takes seconds
            from studies.relevance.train import train

            train(parameters)
    with claim(parameters):
        if (folder / "metrics.json").exists():
            print(f"{relative(folder)}: already evaluated", flush=True)
            return folder
        compute.prepare(parameters)
        collection = data.read(parameters)
        parts = data.split(collection, parameters)
        if parameters.trained:
            changed = CHANGED_IMAGES if parameters.sees_images else CHANGED
            fingerprint = pictures.fingerprint(parameters, collection)
            load_run(folder).refuse_other_data(fingerprint, changed)
        else:
            facts = {
                "dataset_fingerprint": collection.fingerprint,
                "captions": splits.sizes(parts),
            }
            write_atomic(folder / "provenance.json", to_json(provenance(**facts)))
        found = classified if parameters.downstream is not None else filtered
        frame = found(parameters, collection, parts)
        write_atomic(folder / "predictions.parquet", lambda path: frame.to_parquet(path))
        write_atomic(folder / "metrics.json", to_json(metrics.scores(frame)))
    return folder


def filtered(
    parameters: Parameters, collection: data.Collection, parts: np.ndarray
) -> pd.DataFrame:
    """Return what a filter says of all captions, in their order, each read alone."""
    count = len(collection.captions)
    own, mean, highest = np.zeros(count), np.zeros(count), np.zeros(count)
    if parameters.predictor is not None:
        for rows, likely in probabilities(parameters, collection):
            own[rows], mean[rows] = filter.own_and_mean(likely, collection.target[rows])
        said = filter.decide(own, mean, **parameters.filter.model_dump())
    else:
        for rows, similar in baselines.similarities(parameters, collection):
            places = np.arange(len(rows)), collection.target[rows]
            own[rows] = similar[places]
            similar[places] = -np.inf
            highest[rows] = similar.max(axis=1)
        ahead = baselines.lead(parameters, own, highest)
        said = pd.DataFrame({"kept": ahead > 0, "lead": ahead})
    return pd.concat([described(collection, parts), said], axis=1)


def probabilities(
    parameters: Parameters, collection: data.Collection
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows of captions and the predictor's probability of each class, (B,) and (B, C)."""
    reader = model.load(load_run(parameters.folder()))
    for rows, logits in read(parameters, collection, reader, np.arange(len(collection.captions))):
        yield rows, logits.sigmoid().numpy()


def classified(
    parameters: Parameters, collection: data.Collection, parts: np.ndarray
) -> pd.DataFrame:
    """Return the class that a downstream classifier gives to each test caption or its image."""
    test = np.flatnonzero(parts == "test")
    frame = described(collection, parts)
    said = np.zeros(len(parts), dtype=np.int64)
    reader = model.load(load_run(parameters.folder()))
    for rows, logits in read(parameters, collection, reader, test):
        said[rows] = logits.argmax(1).numpy()
    frame["said"] = [collection.wnids[one] for one in said]
    frame["read"] = "image" if parameters.sees_images else "caption"
    return frame.iloc[test].reset_index(drop=True)


def read(
    parameters: Parameters,
    collection: data.Collection,
    reader: model.Reader | pictures.Viewer,
    rows: np.ndarray,
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield rows and logits of captions or of their images, (B,) and (B, C)."""
    if parameters.sees_images:
        items = pictures.pictures(parameters, collection)
    else:
        captions = tokenized(collection.captions, reader.words, collection.fingerprint)
        items = Texts(reader.words, captions, collection.target, parameters.max_tokens)
    size = parameters.training.batch
    return model.said_by(reader.network, items, rows, parameters.precision, size)


def described(collection: data.Collection, parts: np.ndarray) -> pd.DataFrame:
    """Return id, class, part and truth of all captions."""
    return pd.DataFrame(
        {
            "id": list(collection.captions["image"]),
            "class": list(collection.captions["wnid"]),
            "part": parts,
            "relevant": pd.array(list(collection.captions["relevant"]), dtype="boolean"),
        }
    )


if __name__ == "__main__":
    run_command(lambda: evaluate(Parameters.from_command_line()))
