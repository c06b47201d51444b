"""Near-duplicates of training images among the test images, and the scores without them."""

import numpy as np
import pandas as pd

from studies.inputs import images
from studies.runs.files import write_atomic
from studies.triplets import data
from studies.triplets.params import Parameters
from studies.triplets.results import Results


def nearest(results: Results) -> np.ndarray:
    """Return (N,) how many bits each test image is from its nearest training image.

    Computed once from the images and kept beside the runs; again for another set of test images.
    Raises StudyError when the images are not at hand.
    """
    file, run = results.folder / "near_duplicates.csv", results.runs[0]
    tested = run.predictions["id"]
    if not file.exists() or set(pd.read_csv(file)["test"]) != set(tested):
        parameters = Parameters.from_run(run.params, run.folder)
        dataset = data.read(parameters)
        parts = data.split(dataset, parameters)
        found = images.nearest_duplicates(images.hashes(dataset.paths, dataset.root), parts)
        frame = pd.DataFrame(
            {
                "test": [dataset.files[row] for row in found["test"]],
                "train": [dataset.files[row] for row in found["train"]],
                "bits": found["distance"],
            }
        )
        write_atomic(file, frame.to_csv(index=False))
    bits = pd.read_csv(file, index_col="test")["bits"]
    return bits.loc[tested].to_numpy()


def counts(bits: np.ndarray) -> pd.DataFrame:
    """Return how many test images have a training image within so many of the 64 bits."""
    found = images.count_duplicates(bits)
    return pd.DataFrame(
        {
            "bits apart, at most": found["distance"],
            "test images": found["near_duplicates"],
            "share": found["share"].map("{:.1%}".format),
        }
    )


def without(results: Results, bits: np.ndarray) -> pd.DataFrame:
    """Return macro-F1 and severe errors on all test images and on those without a near-duplicate.

    Means over seeds.
    """
    far, rows = bits > images.DUPLICATE_BITS, []
    for system, answers in results.plain().answers.items():
        row = {"system": system}
        for metric, name, digits in (
            ("macro_f1", "macro-F1", 3),
            ("severe_errors", "severe errors", 1),
        ):
            score = results.scores[system][metric]
            for heading, items in (("all", np.ones(len(far), dtype=bool)), ("without", far)):
                value = np.mean([score(one.at(items)) for one in answers])
                row[f"{name}, {heading}"] = f"{value:.{digits}f}"
        rows.append(row)
    return pd.DataFrame(rows)
