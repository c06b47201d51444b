"""Score one trained system: `python -m studies.triplets.evaluate -f ... -f ... -p seed=0`."""

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.manifold import TSNE

from studies.inputs import images
from studies.learning import compute
from studies.paths import relative, run_command
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import claim, load_run
from studies.triplets import clustering, data, metrics, sampling
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
        run.refuse_other_images(images.fingerprint(dataset.paths, dataset.root), dataset.root)
        parts = data.split(dataset, parameters)
        test = np.flatnonzero(parts == "test")
        classifier = run.model()
        probabilities, embedded = classifier.look(data.inputs(dataset, parameters)[test])
        # at the last level the classes, which several groups of labels make together
        numbers = [*map(len, dataset.names[:-1]), len(dataset.class_names)]
        answers = metrics.Answers(
            true=dataset.class_index[test],
            predicted=probabilities.argmax(1),
            clusters=np.stack(
                [clustering.clusters(embedded, n, parameters.seed) for n in numbers], 1
            ),
            first_match=clustering.first_match(embedded, dataset.class_index[test]),
        )
        frame = answers_frame(answers, dataset, [dataset.files[row] for row in test])
        frame["confidence"] = probabilities.max(1)
        frame[["map_x", "map_y"]] = flat_map(embedded, parameters.seed)
        roles = sampling.roles(dataset, parts, parameters)
        trained = np.unique(dataset.class_index[roles == "train"])
        unseen = np.setdiff1d(np.arange(len(dataset.classes)), trained)
        scored = metrics.included(dataset.counts, parameters.min_count)
        found = {
            name: score(answers)
            for name, score in metrics.scores(dataset.classes, scored, unseen).items()
        }
        found |= {"n": len(test), "n_classes": len(scored)}
        classes = class_frame(dataset, scored, unseen)
        write_atomic(folder / "classes.csv", classes.to_csv(index=False))
        write_atomic(folder / "predictions.parquet", lambda path: frame.to_parquet(path))
        write_atomic(folder / "metrics.json", to_json(found))
    return folder


def answers_frame(
    answers: metrics.Answers, dataset: data.LabelledImages, ids: list[str]
) -> pd.DataFrame:
    """Return one row a test image: its id, then truth, prediction and cluster at each level."""
    frame = pd.DataFrame({"id": ids})
    for kind, classes in (("true", answers.true), ("predicted", answers.predicted)):
        frame[f"{kind}_class"] = [dataset.class_names[label] for label in classes]
        for level, names in enumerate(dataset.names):
            labels = dataset.classes[classes, level]
            frame[f"{kind}_level{level + 1}"] = [names[label] for label in labels]
    for level in range(len(dataset.names)):
        frame[f"cluster_level{level + 1}"] = answers.clusters[:, level]
    frame["first_match"] = answers.first_match
    return frame


def class_frame(
    dataset: data.LabelledImages, scored: list[int], unseen: np.ndarray
) -> pd.DataFrame:
    """Return one row a class: name, label at each level, images, whether scored, whether unseen."""
    frame = pd.DataFrame({"class": dataset.class_names})
    for level, names in enumerate(dataset.names):
        frame[f"level{level + 1}"] = [names[label] for label in dataset.classes[:, level]]
    frame["images"] = [dataset.counts[label] for label in range(len(frame))]
    frame["scored"] = frame.index.isin(scored)
    frame["unseen"] = frame.index.isin(unseen)
    return frame


def flat_map(embedded: np.ndarray, seed: int) -> np.ndarray:
    """Return (N, 2) coordinates of embeddings (N, d) by t-SNE (van der Maaten, Hinton, 2008)."""
    # of a collapsed embedding scikit-learn's t-SNE would divide by zero, and crash the process
    if len(embedded) < 4 or embedded.shape[1] < 2 or np.ptp(embedded, axis=0).max() < 1e-6:
        return np.zeros((len(embedded), 2))
    perplexity = min(30.0, (len(embedded) - 1) / 3)
    return TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(embedded)


if __name__ == "__main__":
    run_command(lambda: evaluate(Parameters.from_command_line()))
