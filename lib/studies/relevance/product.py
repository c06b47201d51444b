"""The kept captions as a dataset: `python -m studies.relevance.product <run folder>`.

Below the run folder of an evaluated predictor stands then

    dataset/README.md               the dataset card
    dataset/data/                   kept captions, Parquet by part
    dataset/dropped/                dropped captions, each with its reason
    dataset/class_texts.parquet     class texts with their sources
    dataset/images/                 an image folder of the kept captions, where images exist
"""

import argparse
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.packaged_modules.imagefolder.imagefolder import ImageFolder
from huggingface_hub import DatasetCard, DatasetCardData
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

SHARD = 25_000  # rows of a Parquet file, and rows in memory
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
LICENCES = {
    "kitchen": {"license": "mit"},
    "imagenet_captions": {"license": "other", "license_name": "see-sources-and-licences"},
}
SIZES = {
    **{1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"},
    10_000_000: "1M<n<10M",
}

Rows = Callable[[np.ndarray], pd.DataFrame]  # the columns of KEPT and DROPPED of numbered rows


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
    collection.refuse_changed(run, parameters)
    if not run.predictions["kept"].any():
        raise StudyError(
            f"{relative(run.folder)} keeps no caption, so there is no dataset; train the predictor "
            "for longer, or lower filter.threshold"
        )
    decided = decisions(collection, run.predictions)
    rows_of = partial(described, collection, decided)
    without_image = {}
    with locked(run.folder), whole(folder) as fresh:
        fresh.mkdir()
        for part in PARTS:
            rows = np.flatnonzero(decided["kept"] & (decided["part"] == part))
            write_shards(fresh / "data", part, rows, KEPT, rows_of)
            if collection.folders is not None:
                images = fresh / "images" / part
                without_image[part] = write_images(images, collection.folders, rows, rows_of)
        dropped = np.flatnonzero(~decided["kept"])
        write_shards(fresh / "dropped", "dropped", dropped, DROPPED, rows_of)
        texts = class_texts(parameters, collection)
        pq.write_table(arrow(texts, CLASSES), fresh / "class_texts.parquet")
        card(run, parameters, metrics, collection, without_image).save(fresh / "README.md")
    return folder


def decisions(collection: data.Collection, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return of all captions found: kept, part, probability, coefficient, reason.

    Of those that are dropped before training, part, probability and coefficient are missing.
    """
    reason = pd.Series(collection.reason, dtype="str")
    columns = ["kept", "part", "probability", "coefficient", "reason"]
    frame = predictions[columns].set_axis(np.flatnonzero(reason == "")).reindex(reason.index)
    frame["kept"] = frame["kept"].eq(True)
    frame["reason"] = frame["reason"].where(reason == "", reason)
    return frame


def described(collection: data.Collection, decided: pd.DataFrame, rows: np.ndarray) -> pd.DataFrame:
    """Return the columns of `KEPT` and `DROPPED` for some rows of all captions found."""
    table = collection.everything.select_columns(["image", "wnid", "text"]).with_format("pandas")
    frame = table[rows].rename(columns={"text": "caption"})
    for column, values in (("class", collection.names), ("class_text", collection.texts)):
        frame[column] = frame["wnid"].map(dict(zip(collection.wnids, values, strict=True)))
    frame = frame.join(decided.iloc[rows].reset_index(drop=True))
    return frame.assign(trained_on=frame["part"] == "train")


def class_texts(parameters: Parameters, collection: data.Collection) -> pd.DataFrame:
    """Return the columns of `CLASSES`; what is not known of a page is missing."""
    columns = {"wnid": collection.wnids, "class": collection.names, "text": collection.texts}
    frame = pd.DataFrame(columns)
    file = paths.data() / FILE.with_name(SOURCES)
    if parameters.source.name == "kitchen" or not file.is_file():
        return frame.assign(**dict.fromkeys(PAGE))
    pages = data.read_collected(file, {"title": "str", "url": "str", "revision": "int64"})
    frame = frame.join(pages.astype({"revision": "Int64"}), on="wnid")
    return frame.assign(licence=np.where(frame["url"].notna(), LICENCE, None))


def write_shards(
    folder: Path, split: str, rows: np.ndarray, columns: Sequence[str], rows_of: Rows
) -> None:
    """Write rows (N,) as `<split>-00000-of-00003.parquet` and so on, as `load_dataset` finds them.

    Without rows there is no file, since `load_dataset` refuses a split that has none.
    """
    folder.mkdir(exist_ok=True)
    count = -(-len(rows) // SHARD)
    for number, block in enumerate(blocks(rows, split)):
        file = folder / f"{split}-{number:05}-of-{count:05}.parquet"
        pq.write_table(arrow(rows_of(block), columns), file, compression="zstd")


def blocks(rows: np.ndarray, name: str) -> Iterator[np.ndarray]:
    """Yield rows (N,) in their order, so many at a time, under a bar that says what is written."""
    starts = range(0, len(rows), SHARD)
    for start in tqdm(starts, desc=f"writing {name}", unit="block", delay=2):
        yield rows[start : start + SHARD]


def arrow(frame: pd.DataFrame, columns: Sequence[str]) -> pa.Table:
    """Return columns of a frame as Arrow, nan as null."""
    schema = pa.schema({name: KINDS.get(name, pa.string()) for name in columns})
    table = pa.Table.from_pandas(frame, schema, preserve_index=False)
    return table.replace_schema_metadata(None)


def write_images(folder: Path, sources: dict[str, Path], rows: np.ndarray, rows_of: Rows) -> int:
    """Write the images of rows (N,) and their `metadata.jsonl`; return how many are left out.

    An image lies below its wnid, so that equal names of different classes do not collide; it is a
    hard link to the file in the folder that `sources` has for the wnid, or a copy where there can
    be no link. Left out are images that are not there, or that `load_dataset` would pass over for
    their name. Where none is left there is no folder.
    """
    written = 0
    for block in blocks(rows, f"images of {folder.name}"):
        for record in rows_of(block).to_dict("records"):
            source = sources[record["wnid"]] / record["image"]
            target = folder / record["wnid"] / record["image"]
            hidden = source.name.startswith(".") or source.suffix.lower() not in EXTENSIONS
            if hidden or not source.is_file() or target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                # a link to a symbolic link would lead nowhere from here
                os.link(source.resolve(), target)
            except OSError:  # as from another disk
                shutil.copyfile(source, target)
            columns = {name: record[name] for name in WITH_IMAGES}
            line = {"file_name": target.relative_to(folder).as_posix(), **columns}
            with (folder / "metadata.jsonl").open("a", encoding="utf-8", newline="\n") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
            written += 1
    return len(rows) - written


def card(
    run: LoadedRun,
    parameters: Parameters,
    metrics: dict[str, float],
    collection: data.Collection,
    without_image: dict[str, int],
) -> DatasetCard:
    """Return the dataset card: what is in the dataset, how it was made, what is wrong with it.

    `without_image` is how many kept captions of each part have no image in the image folder, empty
    where there are no images.
    """
    kept = run.predictions[run.predictions["kept"]]
    having = set(kept["class"])
    facts = {"predictor": run.system, **run_facts([run], "captions")}
    accuracy = {"filter against the truth": [*FILTER_AXES]}
    for heading, ending in (("test captions", ""), ("captions it was trained on", "_trained")):
        accuracy[heading] = [metrics.get(name + ending, np.nan) for name in FILTER_AXES]
    return DatasetCard.from_template(
        front_matter(parameters, collection, kept),
        template_path=str(CARD),
        **parameters.model_dump(include={"dataset", "characters", "max_tokens"}),
        source=parameters.source.name,
        filter=parameters.filter,
        kept=len(kept),
        classes=len(collection.wnids),
        without=[markdown_text(n) for w, n in collection.by_wnid.items() if w not in having],
        funnel=to_markdown(funnel(run)),
        parts=to_markdown(parts(run.predictions, without_image)),
        dropped=len(kept) < len(collection.everything),
        images=bool(without_image) and sum(without_image.values()) < len(kept),
        accuracy=to_markdown(pd.DataFrame(accuracy)) if "precision" in metrics else "",
        facts=to_markdown(pd.DataFrame(facts.items(), columns=["what", "value"])),
    )


def front_matter(
    parameters: Parameters, collection: data.Collection, kept: pd.DataFrame
) -> DatasetCardData:
    """Return what Hugging Face reads of a card; files that are not there may not be listed."""
    filled = [part for part in PARTS if part in set(kept["part"])]
    files = {"default": {part: f"data/{part}-*.parquet" for part in filled}}
    if len(kept) < len(collection.everything):
        files["dropped"] = {"dropped": "dropped/dropped-*.parquet"}
    files["class_texts"] = {"classes": "class_texts.parquet"}
    return DatasetCardData(
        pretty_name=f"Captions that describe their class: {parameters.dataset}",
        **LICENCES[parameters.source.name],
        task_categories=["text-classification"],
        size_categories=[next(name for size, name in SIZES.items() if len(kept) < size)],
        configs=[
            {
                "config_name": name,
                "data_files": [{"split": split, "path": path} for split, path in splits.items()],
            }
            for name, splits in files.items()
        ],
    )


def parts(predictions: pd.DataFrame, without_image: dict[str, int]) -> pd.DataFrame:
    """Return what is kept of each part."""
    rows = []
    for part in PARTS:
        kept = predictions["kept"][predictions["part"] == part]
        row = {"part": part, "captions": len(kept), "kept": int(kept.sum())}
        row["share kept"] = kept.mean()
        row["of them trained on"] = row["kept"] if part == "train" else 0
        if without_image:
            row["of them without an image"] = without_image[part]
        rows.append(row)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write what a predictor keeps as a dataset.")
    parser.add_argument("run", type=Path, help="the run folder of an evaluated predictor")
    run_command(lambda: export(load_run(parser.parse_args().run)))
