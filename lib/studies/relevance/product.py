"""The kept captions as a dataset: `python -m studies.relevance.product <run folder>`.

Below the run folder of an evaluated predictor stands then

    dataset/README.md               the dataset card
    dataset/data/                   kept captions, Parquet by part
    dataset/dropped/                dropped captions, each with its reason
    dataset/class_texts.parquet     class texts with their sources
    dataset/images/                 an image folder of the kept captions, where images exist
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from studies import paths
from studies.inputs.splits import PARTS
from studies.paths import StudyError, relative, run_command
from studies.relevance import card, data, image_folder, shards
from studies.relevance.evaluate import CHANGED
from studies.relevance.params import FILE, SOURCES, Parameters
from studies.runs.files import locked, whole
from studies.runs.folder import LoadedRun, load_run

LICENCE = "CC BY-SA 4.0"
TEXT = pa.string()
KEPT = pa.schema(
    {
        **dict.fromkeys(["image", "wnid", "class", "caption", "class_text"], TEXT),
        **{"probability": pa.float64(), "coefficient": pa.float64()},
        **{"part": TEXT, "trained_on": pa.bool_()},
    }
)
DROPPED = pa.schema(
    {
        **dict.fromkeys(["image", "wnid", "class", "caption"], TEXT),
        **{"probability": pa.float64(), "part": TEXT, "reason": TEXT},
    }
)
PAGE = {"title": TEXT, "url": TEXT, "revision": pa.int64(), "licence": TEXT}
CLASSES = pa.schema({**dict.fromkeys(["wnid", "class", "text"], TEXT), **PAGE})


def export(run: LoadedRun) -> Path:
    """Write the dataset of an evaluated predictor below its run folder; return its folder.

    It is made anew where it is there already. A killed call leaves the one from before, or none.
    Raises StudyError when the run is no evaluated predictor, was made with other captions, keeps
    none of them, or the folder cannot be written.
    """
    folder = run.folder / "dataset"
    if run.params.get("study") != Parameters.study or not run.params.get("predictor"):
        raise StudyError(
            f"{relative(run.folder)} is the run of no relevance predictor, and only a predictor "
            "gives captions coefficients; name the run folder of one"
        )
    metrics = run.metrics
    parameters = Parameters.from_run(run.params, run.folder)
    collection = data.read(parameters)
    run.refuse_other_data(collection.fingerprint, CHANGED)
    frame = run.predictions
    if not frame["kept"].any():
        raise StudyError(
            f"{relative(run.folder)} keeps no caption, so there is no dataset; train the predictor "
            "for longer, or lower filter.threshold"
        )
    said = told(collection, frame)
    rows_of = partial(described, collection, said)
    left_out = {}
    with locked(run.folder), whole(folder) as half:
        half.mkdir()
        for part in PARTS:
            rows = np.flatnonzero(said["kept"] & (said["part"] == part))
            shards.write(half / "data", part, rows, KEPT, rows_of)
            if collection.folders is not None:
                images = half / "images" / part
                left_out[part] = image_folder.write(images, collection.folders, rows, rows_of)
        dropped = np.flatnonzero(~said["kept"])
        shards.write(half / "dropped", "dropped", dropped, DROPPED, rows_of)
        texts = class_texts(parameters, collection)
        pq.write_table(shards.arrow(texts, CLASSES), half / "class_texts.parquet")
        (half / "README.md").write_bytes(
            card.card(run, metrics, collection, frame, left_out).encode()
        )
    return folder


def told(collection: data.Collection, frame: pd.DataFrame) -> pd.DataFrame:
    """Return what is said of all captions found: kept, part, probability, coefficient, reason.

    Of those that are dropped before training, part, probability and coefficient are missing.
    """
    reason = pd.Series(collection.everything.data.column("reason").to_pandas())
    columns = ["kept", "part", "probability", "coefficient", "reason"]
    said = frame[columns].set_axis(np.flatnonzero(reason == "")).reindex(reason.index)
    said["kept"] = said["kept"].eq(True)
    said["reason"] = said["reason"].where(reason == "", reason)
    return said


def described(collection: data.Collection, said: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Return the columns of `KEPT` and `DROPPED` for some rows of all captions found."""
    found = collection.everything.select_columns(["image", "wnid", "text"]).with_format("pandas")
    frame = found[rows].rename(columns={"text": "caption"})
    for column, values in (("class", collection.names), ("class_text", collection.texts)):
        frame[column] = frame["wnid"].map(dict(zip(collection.wnids, values, strict=True)))
    frame = frame.join(said.iloc[rows].reset_index(drop=True))
    return frame.assign(trained_on=frame["part"] == "train")


def class_texts(parameters: Parameters, collection: data.Collection) -> pd.DataFrame:
    """Return the columns of `CLASSES`; what is not known of a page is missing."""
    given = {"wnid": collection.wnids, "class": collection.names, "text": collection.texts}
    frame = pd.DataFrame(given)
    file = paths.data() / FILE.with_name(SOURCES)
    if parameters.source.name == "kitchen" or not file.is_file():
        return frame.assign(**dict.fromkeys(PAGE))
    try:
        pages = pd.read_csv(file, dtype="str", keep_default_na=False, na_values=[""])
        pages = pages[["wnid", "title", "url", "revision"]]
        pages["revision"] = pages["revision"].astype("Int64")
        found = frame.merge(pages, how="left", on="wnid", validate="one_to_one")
    except (OSError, ValueError, KeyError) as error:
        raise StudyError(
            f"{file}: no table of pages with the columns wnid, title, url, revision ({error}); "
            "delete it and collect the class texts again"
        ) from None
    return found.assign(licence=np.where(found["url"].notna(), LICENCE, None))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write what a predictor keeps as a dataset.")
    parser.add_argument("run", type=Path, help="the run folder of an evaluated predictor")
    run_command(lambda: export(load_run(parser.parse_args().run)))
