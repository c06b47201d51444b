"""Score one system: `python -m studies.captioning.evaluate -f dataset.yaml -f system.yaml`."""

from pathlib import Path

import numpy as np

from studies.captioning import baselines, data
from studies.captioning.metrics import METRICS, scored
from studies.captioning.params import Parameters
from studies.captioning.tokens import Words
from studies.inputs import images
from studies.inputs.splits import sizes
from studies.learning import compute
from studies.paths import relative, run_command
from studies.runs.files import to_json, write_atomic
from studies.runs.folder import claim, load_run, provenance

IDS = {metric: metric.lower().replace("bleu-", "bleu").replace("-", "_") for metric in METRICS}


def evaluate(parameters: Parameters) -> Path:
    """Caption the test set and score it, unless that is done; return the run folder.

    Trains the system first where that has not been done; a baseline needs no training.
    """
    folder = parameters.folder()
    if parameters.trained and not (folder / "model.safetensors").exists():
        # imported late: Lightning alone takes seconds
        from studies.captioning.train import train

        train(parameters)
    with claim(parameters):
        if (folder / "metrics.json").exists():
            print(f"{relative(folder)}: already evaluated", flush=True)
            return folder
        compute.prepare(parameters)
        dataset = data.read(parameters)
        parts = data.split(dataset, parameters)
        test = np.flatnonzero(parts == "test")
        if not parameters.trained:
            said = baseline(parameters, dataset, parts)
            facts = provenance(
                dataset_fingerprint=images.fingerprint(dataset.paths, dataset.root),
                images=sizes(parts),
            )
            write_atomic(folder / "provenance.json", to_json(facts))
        else:
            run = load_run(folder)
            run.refuse_other_images(images.fingerprint(dataset.paths, dataset.root), dataset.root)
            said = run.model().caption(data.inputs(dataset, parameters)[test])
        ids = [dataset.files[row] for row in test]
        references = {name: dataset.captions[row] for name, row in zip(ids, test, strict=True)}
        scores = scored(dict(zip(ids, said, strict=True)), references)
        frame = scores.by_image.reset_index()
        frame.insert(1, "candidate", said)
        frame.insert(2, "references", list(references.values()))
        frame["bleu_counts"] = scores.bleu_counts.tolist()
        frame["meteor_counts"] = scores.meteor_counts.tolist()
        found = {IDS[metric]: value for metric, value in scores.corpus().items()}
        found |= {"n": len(test), "distinct": len(set(said))}
        write_atomic(folder / "predictions.parquet", lambda path: frame.to_parquet(path))
        write_atomic(folder / "metrics.json", to_json(found))
    return folder


def baseline(parameters: Parameters, dataset: data.CaptionedImages, parts: np.ndarray) -> list[str]:
    """Return the captions that a trivial baseline gives the test images."""
    known = np.flatnonzero(parts == "train")
    test = np.flatnonzero(parts == "test")
    captions = [dataset.captions[row] for row in known]
    if parameters.baseline.name == "most_frequent":
        said = data.training_captions(dataset, parts)
        words = Words.learn(said, min_count=1)  # else captions with rare words would be alike
        return [baselines.most_frequent(said, words, parameters.decoding.max_length)] * len(test)
    space = baselines.feature_space(dataset, parameters.baseline, known)
    return baselines.nearest_neighbour(space[known], captions, space[test])


if __name__ == "__main__":
    run_command(lambda: evaluate(Parameters.from_command_line()))
