"""Score one system: `python -m studies.captioning.evaluate -f dataset.yaml -f system.yaml`."""

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

from studies.captioning import data
from studies.captioning.metrics import METRICS, corpus, scored
from studies.captioning.mllm import answers, cleaned
from studies.captioning.params import NearestNeighbour, Parameters
from studies.captioning.tokens import Words
from studies.inputs import images
from studies.inputs.features import features
from studies.inputs.reading import sizes
from studies.learning import compute
from studies.paths import run_command
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import accounted, load_run, provenance

IDS = {metric: metric.lower().replace("bleu-", "bleu").replace("-", "_") for metric in METRICS}
# of the training, told again of a run that captions another dataset
TRAINING = ("parameters_trained", "seconds", "best_epoch", "best_score", "stopped", "device")
TRAINING += ("precision", "threads", "words", "input_shape")


@compute.once
def evaluate(parameters: Parameters, folder: Path) -> None:
    """Caption the test set and score it."""
    dataset = data.read(parameters)
    parts = data.split(dataset, parameters)
    test = np.flatnonzero(parts == "test")
    facts = {"dataset_fingerprint": dataset.fingerprint, "images": sizes(parts)}
    raw, source = None, next(iter(parameters.builds_on()), parameters)
    if source.trained:
        run = load_run(source.folder())
        if parameters.trained:
            run.refuse_other_images(facts["dataset_fingerprint"], dataset.root)
        else:
            for name in ("curves.csv", "steps.csv"):
                write_atomic(folder / name, run.read(name, Path.read_bytes))
            facts = {name: run.provenance[name] for name in TRAINING} | facts
        inputs = data.inputs(dataset, source)[test]
        with accounted("decoding"):
            candidates = run.model().caption(inputs)
    elif parameters.baseline.name == "mllm":
        files = [dataset.paths[row] for row in test]
        with accounted("decoding"):
            raw, remarks = answers(files, parameters.baseline, parameters.decoding.beams)
        candidates = [*map(cleaned, raw)] if parameters.baseline.clean else raw
        facts["remarks"] = remarks
    else:
        candidates = baseline(parameters, dataset, parts)
    if not parameters.trained:
        write_atomic(folder / "provenance.json", to_json(provenance(**facts)))
    references = {dataset.files[row]: dataset.captions[row] for row in test}
    frame = scored(dict(zip(references, candidates, strict=True)), references).reset_index()
    frame.insert(1, "cluster", np.arange(len(test)))
    frame.insert(2, "candidate", candidates)
    if raw is not None:
        frame["answer"] = raw
    if dataset.domains is not None:
        frame["domain"] = dataset.domains[test]
    metrics = {IDS[metric]: value for metric, value in corpus(frame).items()}
    metrics |= {"n": len(test), "distinct": len(set(candidates))}
    write_atomic(folder / "predictions.parquet", partial(frame.to_parquet, compression="zstd"))
    items = {"parts": data.overview(dataset, parts).to_dict("records")}
    write_atomic(folder / "items.json", to_json(items))
    write_atomic(folder / "metrics.json", to_json(metrics))


# What a system must beat: one caption for every image, and the caption of the nearest image.


@accounted("decoding")
def baseline(parameters: Parameters, dataset: data.CaptionedImages, parts: np.ndarray) -> list[str]:
    """Return the captions that a trivial baseline gives the test images."""
    train, test = (np.flatnonzero(parts == part) for part in ("train", "test"))
    if parameters.baseline.name == "most_frequent":
        captions = data.training_captions(dataset, parts)
        return [most_frequent(captions, parameters.decoding.max_length)] * len(test)
    space = feature_space(dataset, parameters.baseline, train)
    return nearest_neighbour(space[train], [dataset.captions[row] for row in train], space[test])


def most_frequent(captions: list[str], longest: int) -> str:
    """Return the caption that is written most often, word for word; the first of several such."""
    words = Words.learn(captions, min_count=1)  # else captions with rare words would be alike
    texts = Counter(words.decode(row) for row in words.encode(captions, longest).tolist())
    return texts.most_common(1)[0][0]


def nearest_neighbour(known: np.ndarray, captions: list[list[str]], asked: np.ndarray) -> list[str]:
    """Return for each asked image the first caption of the most similar known one.

    Similarity is the cosine of features: `known` (N, F) with N lists of captions, `asked` (M, F).
    """
    from sklearn.metrics import pairwise_distances_argmin  # late: no trained system needs it

    return [captions[row][0] for row in pairwise_distances_argmin(asked, known, metric="cosine")]


def feature_space(
    dataset: data.CaptionedImages, baseline: NearestNeighbour, train: np.ndarray
) -> np.ndarray:
    """Return the features (N, F) in which images are near each other, in the order of `files`.

    Of a thumbnail's pixels their mean over the training images, the rows `train`, is taken.
    """
    space = baseline.features
    if space.name == "thumbnail":
        pixels = images.load(dataset.paths, space.side, dataset.root)
        flat = pixels.reshape(len(pixels), -1).astype(np.float32)
        return flat - flat[train].mean(0)
    if space.grid:
        return data.tokens(dataset, space.weights, space.grid).mean(1, dtype=np.float32)
    return features(dataset.paths, dataset.root, space.weights)


if __name__ == "__main__":
    run_command(lambda: evaluate(Parameters.from_command_line()))
