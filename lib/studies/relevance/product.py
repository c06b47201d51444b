"""The kept captions as a dataset: `python -m studies.relevance.product <run folder>`.

Below the run folder of an evaluated predictor stands then

    dataset/README.md               the dataset card
    dataset/data/                   kept captions, Parquet by part
    dataset/dropped.parquet         dropped captions, each with its reason
    dataset/class_texts.parquet     class texts with their sources
    dataset/images/                 an image folder of the kept captions, where images exist
"""

import argparse
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
from jinja2 import Template
from tqdm.auto import tqdm

from studies import paths
from studies.inputs.reading import PARTS
from studies.paths import StudyError, relative, run_command
from studies.relevance import data
from studies.relevance.figures import FILTER_AXES, funnel
from studies.relevance.params import FILE, SOURCES, Parameters
from studies.reporting.results import run_facts
from studies.reporting.tables import markdown_text, to_markdown
from studies.runs.files import locked, whole
from studies.runs.folder import LoadedRun, load_run

ALONE = "00000-of-00001"  # how `load_dataset` knows the one file of a split
BLOCK = 25_000  # rows that are written at once
KINDS = {
    **dict.fromkeys(["probability", "coefficient"], pa.float64()),
    **{"trained_on": pa.bool_(), "revision": pa.int64()},
}
CAPTION = ["image", "wnid", "class", "caption"]
KEPT = [*CAPTION, "class_text", "probability", "coefficient", "part", "trained_on"]
DROPPED = [*CAPTION, "probability", "part", "reason"]
PAGE = ["title", "url", "revision", "licence"]
CLASSES = ["wnid", "class", "text", *PAGE]
WITH_IMAGES = ["wnid", "class", "caption", "class_text", "probability", "coefficient"]
EXTENSIONS = ImageFolder.EXTENSIONS  # in small letters, of what `load_dataset` takes for images
CARD = Path(__file__).with_name("card.md.jinja")
LICENCE = "CC BY-SA 4.0"  # of Wikipedia


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
    if not run.metrics["kept"]:
        raise StudyError(
            f"{relative(run.folder)} keeps no caption, so there is no dataset; train the predictor "
            "for longer, or lower filter.threshold"
        )
    parameters = run.parameters
    collection = data.read(parameters)
    collection.refuse_changed(run, parameters)
    frame = decided(collection, run.predictions)
    texts = class_texts(parameters, collection)
    kept, without_image = frame[frame["kept"]], {}
    with locked(run.folder), whole(folder) as fresh:
        (fresh / "data").mkdir(parents=True)
        for part in PARTS:
            rows = kept[kept["part"] == part]
            # without rows there is no file, since `load_dataset` refuses a split that has none
            if len(rows):
                write(fresh / "data" / f"{part}-{ALONE}.parquet", rows, KEPT, texts)
            if collection.folders is not None:
                images = fresh / "images" / part
                without_image[part] = write_images(images, collection.folders, rows, texts)
        write(fresh / "dropped.parquet", frame[~frame["kept"]], DROPPED, texts)
        pages = texts.rename(columns={"class_text": "text"})
        write(fresh / "class_texts.parquet", texts[["wnid"]], CLASSES, pages)
        told = card(run, collection, without_image)
        (fresh / "README.md").write_text(told, encoding="utf-8", newline="\n")
    return folder


def decided(collection: data.Collection, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return all captions found, with the columns of `KEPT` and `DROPPED` but those of classes.

    Of those that are dropped before training, part, probability and coefficient are missing.
    """
    columns = ["image", "wnid", "text", "reason"]
    frame = collection.everything.select_columns(columns).to_pandas()
    frame = frame.rename(columns={"text": "caption", "reason": "before"})
    asked = predictions[["kept", "part", "probability", "coefficient", "reason"]]
    frame = frame.join(asked.set_axis(np.flatnonzero(frame["before"] == "")))
    return frame.assign(
        kept=frame["kept"].eq(True),
        reason=frame["reason"].where(frame["before"] == "", frame["before"]),
        trained_on=frame["part"] == "train",
    )


def class_texts(parameters: Parameters, collection: data.Collection) -> pd.DataFrame:
    """Return the columns of `CLASSES`, the text as `class_text`; what is not known is missing."""
    columns = {"wnid": collection.wnids, "class": collection.names, "class_text": collection.texts}
    frame = pd.DataFrame(columns)
    file = paths.data() / FILE.with_name(SOURCES)
    if parameters.source.name != "imagenet_captions" or not file.is_file():
        return frame.assign(**dict.fromkeys(PAGE))
    pages = data.read_collected(file, ["title", "url", "revision"])
    frame = frame.join(pages.astype({"revision": "int64"}).astype({"revision": "Int64"}), on="wnid")
    return frame.assign(licence=np.where(frame["url"].notna(), LICENCE, None))


def write(file: Path, frame: pd.DataFrame, columns: Sequence[str], texts: pd.DataFrame) -> None:
    """Write columns of rows, with those of their classes, as Parquet, nan as null.

    Block by block, since class texts are long.
    """
    schema = pa.schema({name: KINDS.get(name, pa.string()) for name in columns})
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for start in tqdm(range(0, len(frame), BLOCK), f"writing {file.stem}", delay=2):
            rows = frame[start : start + BLOCK].merge(texts, how="left", on="wnid")
            writer.write_table(pa.Table.from_pandas(rows, schema, preserve_index=False))


def write_images(
    folder: Path, sources: dict[str, Path], rows: pd.DataFrame, texts: pd.DataFrame
) -> int:
    """Write the images of rows and their `metadata.jsonl`; return how many are left out.

    An image lies below its wnid, so that equal names of different classes do not collide; it is a
    hard link to the file in the folder that `sources` has for the wnid, or a copy where there can
    be no link. Left out are images that are not there, or that `load_dataset` would pass over for
    their name. Where none is left there is no folder.
    """
    names = rows["wnid"] + "/" + rows["image"]
    for name, wnid, image in zip(names, rows["wnid"], rows["image"], strict=True):
        source, target = sources[wnid] / image, folder / name
        hidden = image.startswith(".") or target.suffix.lower() not in EXTENSIONS
        if hidden or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # a link to a symbolic link would lead nowhere from here
            os.link(source.resolve(), target)
        except OSError:  # as from another disk
            shutil.copyfile(source, target)
    written = rows[[(folder / name).exists() for name in names]]
    if len(written):
        told = written.assign(file_name=names).merge(texts, on="wnid")
        records = told[["file_name", *WITH_IMAGES]].to_dict("records")
        lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / "metadata.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")
    return len(rows) - len(written)


def card(run: LoadedRun, collection: data.Collection, without_image: dict[str, int]) -> str:
    """Return the dataset card: what is in the dataset, how it was made, what is wrong with it.

    `without_image` is how many kept captions of each part have no image in the image folder, empty
    where there are no images.
    """
    parameters, metrics = run.parameters, run.metrics
    kept, found = run.predictions[run.predictions["kept"]], len(collection.everything)
    having, names = set(kept["class"]), collection.by_wnid
    without = [markdown_text(name) for wnid, name in names.items() if wnid not in having]
    facts = {"predictor": run.system, **run_facts([run], "captions")}
    accuracy = {"filter against the truth": [*FILTER_AXES]}
    for heading, ending in (("test captions", ""), ("captions it was trained on", "_trained")):
        accuracy[heading] = [metrics.get(name + ending, np.nan) for name in FILTER_AXES]
    return Template(CARD.read_text(encoding="utf-8"), keep_trailing_newline=True).render(
        **parameters.model_dump(include={"dataset", "characters", "max_tokens"}),
        source=parameters.source.name,
        filter=parameters.filter,
        kept=len(kept),
        # files that are not there may not be listed
        filled=[part for part in PARTS if part in set(kept["part"])],
        classes=len(collection.wnids),
        without=without,
        funnel=to_markdown(funnel(run)),
        parts=to_markdown(parts(run.predictions, without_image)),
        dropped=len(kept) < found,
        images=bool(without_image) and sum(without_image.values()) < len(kept),
        accuracy=to_markdown(pd.DataFrame(accuracy)) if "precision" in metrics else "",
        facts=to_markdown(pd.DataFrame(facts.items(), columns=["what", "value"])),
    )


def parts(predictions: pd.DataFrame, without_image: dict[str, int]) -> pd.DataFrame:
    """Return what is kept of each part."""
    kept = predictions.groupby("part")["kept"].agg(["size", "sum", "mean"])
    table = kept.reindex(PARTS, fill_value=0)
    table = table.set_axis(["captions", "kept", "share kept"], axis=1)
    table["of them trained on"] = table["kept"].where(table.index == "train", 0)
    if without_image:
        table["of them without an image"] = pd.Series(without_image)
    return table.reset_index()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write what a predictor keeps as a dataset.")
    parser.add_argument("run", type=Path, help="the run folder of an evaluated predictor")
    run_command(lambda: export(load_run(parser.parse_args().run)))
