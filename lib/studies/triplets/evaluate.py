"""Score one trained system: `python -m studies.triplets.evaluate -f ... -f ... -p seed=0`."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE

from studies import compute, images
from studies.errors import StudyError
from studies.params import relative
from studies.runs import LoadedRun, claim, load_run, to_json, write_atomic
from studies.triplets import data
from studies.triplets.metrics import included, score
from studies.triplets.params import Parameters


def evaluate(parameters: Parameters) -> Path:
    """Predict the test set and score it, unless that is done; return the run folder.

    Trains the system first where that has not been done.
    """
    folder = parameters.folder()
    if not (folder / "model.safetensors").exists():
        # imported late: Lightning alone takes seconds
        from studies.triplets.train import train

        train(parameters)
    with claim(parameters):
        if (folder / "metrics.json").exists():
            print(f"{relative(folder)}: already evaluated", flush=True)
            return folder
        compute.prepare(parameters)
        dataset = data.read(parameters)
        run = load_run(folder)
        refuse_other_images(run, dataset)
        test = np.flatnonzero(data.split(dataset, parameters) == "test")
        classifier = run.model()
        inputs = data.inputs(dataset, parameters)[test]
        embedded = classifier.embed(inputs)
        probabilities = classifier.probabilities(inputs, embedded)
        predicted = classifier.classes[probabilities.argmax(1)]
        true = dataset.labels[test]
        frame = pd.DataFrame({"id": [dataset.files[row] for row in test]})
        for kind, labels in (("true", true), ("predicted", predicted)):
            for level, names in enumerate(dataset.names):
                frame[f"{kind}_level{level + 1}"] = [names[label] for label in labels[:, level]]
        frame["confidence"] = probabilities.max(1)
        frame[["map_x", "map_y"]] = flat_map(embedded, parameters.seed)
        scored = included(dataset.counts, parameters.min_count)
        classes = pd.DataFrame({"class": dataset.names[-1]})
        classes["images"] = [dataset.counts[label] for label in range(len(classes))]
        classes["scored"] = classes.index.isin(scored)
        scores = score(true, predicted, dataset.counts, parameters.min_count)
        write_atomic(folder / "classes.csv", classes.to_csv(index=False))
        write_atomic(folder / "predictions.parquet", lambda path: frame.to_parquet(path))
        write_atomic(folder / "metrics.json", to_json(scores))
    return folder


def refuse_other_images(run: LoadedRun, dataset: data.LabelledImages) -> None:
    """Raise StudyError when the images are not those of training: parts and labels would differ."""
    before = run.provenance["dataset_fingerprint"]
    if images.fingerprint(dataset.paths, dataset.root) != before:
        raise StudyError(
            f"{relative(run.folder)} was trained on other images than {dataset.root} holds now; "
            "restore them, or delete the run folder to train anew"
        )


def flat_map(embedded: np.ndarray, seed: int) -> np.ndarray:
    """Return (N, 2) coordinates of embeddings (N, d) by t-SNE (van der Maaten, Hinton, 2008)."""
    # of a collapsed embedding scikit-learn's t-SNE would divide by zero, and crash the process
    if len(embedded) < 4 or embedded.shape[1] < 2 or np.ptp(embedded, axis=0).max() < 1e-6:
        return np.zeros((len(embedded), 2))
    perplexity = min(30.0, (len(embedded) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(embedded)


if __name__ == "__main__":
    try:
        print(relative(evaluate(Parameters.from_command_line())))
    except StudyError as error:
        sys.exit(f"error: {error}")
