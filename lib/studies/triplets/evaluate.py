"""Score one trained system: `python -m studies.triplets.evaluate -f ... -f ... -p seed=0`."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE

from studies.learning import compute
from studies.paths import run_command
from studies.reporting.bootstrap import value
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import accounted, load_run
from studies.triplets import data, metrics, sampling
from studies.triplets.params import Parameters


@compute.once
def evaluate(parameters: Parameters, folder: Path) -> None:
    """Predict the test set and score it."""
    dataset = data.read(parameters)
    run = load_run(folder)
    run.refuse_other_images(dataset.fingerprint, dataset.root)
    parts = data.split(dataset, parameters)
    test = np.flatnonzero(parts == "test")
    model = run.model()
    probabilities, embedded = model.look(data.inputs(dataset, parameters)[test])
    # of the lowest level, the classes, which several groups of labels make together
    numbers = [*map(len, dataset.names[:-1]), len(dataset.class_names)]
    true, predicted = dataset.class_index[test], probabilities.argmax(1)
    found = [metrics.clusters(embedded, number, parameters.seed) for number in numbers]
    clusters, match = np.stack(found, 1), metrics.first_match(embedded, true)
    predictions = pd.DataFrame(
        {
            "id": [dataset.files[row] for row in test],
            **dataset.in_words(true, "true_"),
            **dataset.in_words(predicted, "predicted_"),
            **{f"cluster_level{k}": level for k, level in enumerate(clusters.T, 1)},
            "first_match": match,
            "confidence": probabilities.max(1).astype(np.float16),
        }
    )
    known = model.references, model.reference_classes
    others = metrics.classified(*known, embedded, parameters.neighbours, parameters.seed)
    for name, classes in others.items():
        predictions[f"by_{name}"] = dataset.in_words(classes)["class"]
    predictions[["map_x", "map_y"]] = flat_map(embedded, parameters.seed)
    predictions["cluster"] = range(len(test))
    if parameters.source.name != "kitchen":
        near = data.near_duplicates(dataset, parts)
        predictions[["cluster", "bits_to_training"]] = near.to_numpy()
    roles = sampling.roles(dataset, parts, parameters)
    everything = np.arange(len(dataset.classes))
    unseen = np.setdiff1d(everything, dataset.class_index[roles == "train"])
    scored = metrics.included(dataset.counts, parameters.min_count)
    answers = (true, predicted, clusters, match)
    scores = metrics.scores(dataset.classes, scored, unseen, *answers, others)
    values = {name: value(metric, len(test)) for name, metric in scores.items()}
    counts = {"severe_errors": round(values["severe_errors"]), "n": len(test)}
    values |= {**counts, "n_classes": len(scored)}
    classes = pd.DataFrame(dataset.in_words(everything))
    classes["images"] = [dataset.counts[label] for label in everything]
    classes["scored"] = classes.index.isin(scored)
    classes["unseen"] = classes.index.isin(unseen)
    items = {"min_count": parameters.min_count, "classes": classes.to_dict("records")}
    write_atomic(folder / "items.json", to_json(items))
    write_atomic(folder / "predictions.parquet", lambda path: predictions.to_parquet(path))
    write_atomic(folder / "metrics.json", to_json(values))


@accounted("scoring")
def flat_map(embedded: np.ndarray, seed: int) -> np.ndarray:
    """Return (N, 2) coordinates of embeddings (N, d) by t-SNE (van der Maaten, Hinton, 2008)."""
    # of a collapsed embedding scikit-learn's t-SNE would divide by zero, and crash the process
    if len(embedded) < 4 or embedded.shape[1] < 2 or np.ptp(embedded, axis=0).max() < 1e-6:
        return np.zeros((len(embedded), 2))
    perplexity = min(30.0, (len(embedded) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(embedded)


if __name__ == "__main__":
    run_command(lambda: evaluate(Parameters.from_command_line()))
