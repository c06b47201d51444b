"""The dataset card: what is in the dataset, how it was made, and what is wrong with it."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import yaml

from studies.inputs.splits import PARTS
from studies.relevance.data import Collection
from studies.relevance.funnel import funnel
from studies.relevance.params import Filter, Parameters
from studies.reporting.results import run_facts
from studies.reporting.tables import markdown_text, to_markdown
from studies.runs.folder import LoadedRun

SIZES = {
    **{1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"},
    10_000_000: "1M<n<10M",
}
METRICS = ("precision", "recall", "rejected", "auc")
COLUMNS = {
    "image": "file name of the image",
    "wnid": "WordNet id of the class of the image",
    "class": "name of the class",
    "caption": "title and description of the image on the web, as plain text",
    "class_text": "what describes the class",
    "probability": "of the class, as the predictor says on reading the caption alone",
    "coefficient": "how much the caption should count, above 0 to 1",
    "part": "train, validation or test",
    "trained_on": "the predictor was trained on this caption, so its probability is less sure",
    "reason": "why the caption is dropped (dropped ones only)",
}
SOURCES = {
    "kitchen": (
        "Images, captions and class texts are of a world drawn by this project, under its licence, "
        "MIT.",
    ),
    "imagenet_captions": (
        "Captions: ImageNet-Captions (A. Fang et al., *Data determines distributional robustness "
        "in contrastive language-image pre-training (CLIP)*, ICML 2022), which are titles and "
        "descriptions that people gave to their photographs on Flickr and hold the rights in.",
        "Class texts: Wikipedia, CC BY-SA 4.0; title, address and revision of each page stand in "
        "`class_texts.parquet` where they are known. The column `class_text` is "
        "under the same licence.",
        "Images: ImageNet's terms of access (research that is not commercial) hold for them, and "
        "they may not be passed on with this dataset.",
    ),
}
LICENCES = {
    "kitchen": {"license": "mit"},
    "imagenet_captions": {"license": "other", "license_name": "see-sources-and-licences"},
}
WRONG = (
    "The predictor learnt from the very captions that it filters. Probabilities of captions with "
    "`trained_on` are less sure than those of others, and more of them may be kept in error.",
    "Some kept captions do not describe their class, and some dropped ones do.",
    "The classes are not balanced: some keep many captions, others few or none.",
    "A coefficient orders captions of one predictor; it is no probability, and those of another "
    "run or curve do not compare.",
    "A caption that describes the class need not describe what else is in the image.",
)


def card(
    run: LoadedRun,
    metrics: dict[str, float],
    collection: Collection,
    frame: pd.DataFrame,
    left_out: dict[str, int],
) -> str:
    """Return the card as Markdown with its front matter.

    `frame` is what the run, of these metrics, says of the captions. `left_out` is how many kept
    captions of each part have no image in the image folder, empty where there are no images.
    """
    parameters = Parameters.from_run(run.params, run.folder)
    kept = frame[frame["kept"]]
    dropped = len(kept) < len(collection.everything)
    facts = {"predictor": run.system, **run_facts([run], "captions")}
    images = bool(left_out) and sum(left_out.values()) < len(kept)
    names, having = zip(collection.wnids, collection.names, strict=True), set(kept["class"])
    without = [markdown_text(name) for wnid, name in names if wnid not in having]
    classes = f"{len(having):,} of {len(collection.wnids):,} classes"
    texts = [
        front_matter(parameters, collection, frame),
        f"# Captions that describe their class: {parameters.dataset}\n",
        f"{len(kept):,} captions of images from the web, each with the class of its image, which a "
        "classifier of text found it to describe, the text that describes the class, and a "
        f"coefficient that says how much the caption should count. They are of {classes}.\n",
        "## From all captions to the kept ones\n",
        to_markdown(funnel(collection, frame)),
        "## Parts\n",
        to_markdown(parts(frame, left_out)),
        "## How captions are filtered\n",
        filtering(parameters.filter),
        "## Classes without a kept caption\n",
        f"{', '.join(without) or 'None.'}\n",
        "## Columns\n",
        to_markdown(pd.DataFrame(COLUMNS.items(), columns=["column", "meaning"])),
        "## How to load it\n",
        loading(dropped, images),
        "## What is wrong with it\n",
        bullets([*WRONG, *cuts(parameters)]),
        accuracy(metrics),
        "## Sources and licences\n",
        bullets(SOURCES[parameters.source.name]),
        "## Where it comes from\n",
        to_markdown(pd.DataFrame(facts.items(), columns=["what", "value"])),
    ]
    return "\n".join(texts)


def front_matter(parameters: Parameters, collection: Collection, frame: pd.DataFrame) -> str:
    """Return what Hugging Face reads of a card; files that are not there may not be listed."""
    splits = frame["part"][frame["kept"]].unique()
    count = int(frame["kept"].sum())
    files = {"default": {part: f"data/{part}-*.parquet" for part in PARTS if part in splits}}
    if count < len(collection.everything):
        files["dropped"] = {"dropped": "dropped/dropped-*.parquet"}
    files["class_texts"] = {"classes": "class_texts.parquet"}
    given = {
        "pretty_name": f"Captions that describe their class: {parameters.dataset}",
        **LICENCES[parameters.source.name],
        "task_categories": ["text-classification"],
        "size_categories": [next(said for size, said in SIZES.items() if count < size)],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": split, "path": path} for split, path in found.items()],
            }
            for name, found in files.items()
        ],
    }
    return f"---\n{yaml.safe_dump(given, sort_keys=False)}---\n"


def parts(frame: pd.DataFrame, left_out: dict[str, int]) -> pd.DataFrame:
    """Return what is kept of each part."""
    rows = []
    for part in PARTS:
        kept = frame["kept"][frame["part"] == part]
        row = {"part": part, "captions": len(kept), "kept": int(kept.sum())}
        row["share kept"] = kept.mean()
        row["of them trained on"] = row["kept"] if part == "train" else 0
        if left_out:
            row["of them without an image"] = left_out[part]
        rows.append(row)
    return pd.DataFrame(rows)


def filtering(given: Filter) -> str:
    """Return how the filter decides, with its thresholds."""
    base = given.threshold + given.bonus
    even = f"(v − {base:g}) / {1 - base:g}"
    curve = {
        "linear": f"{even}, at least {given.lowest:g}",
        "power": f"({even}) to the power of {given.exponent:g}, at least {given.lowest:g}",
        "rank": f"equal steps in the order of P, and 1 where P > {given.sure:g}",
    }[given.curve]
    return bullets(
        [
            "P is the probability that the predictor gives to the class of the image, on reading "
            "the caption alone.",
            "Dropped where P is below the mean of the caption's probabilities of all classes, or "
            f"below {given.threshold:g}.",
            f"v is 1 where P > {given.sure:g}, and P + {given.bonus:g} otherwise.",
            f"The coefficient ({given.curve}) is {curve}.",
        ]
    )


def loading(dropped: bool, images: bool) -> str:
    """Return how to load everything that there is, as code."""
    lines = ["from datasets import load_dataset", ""]
    lines.append('kept = load_dataset("dataset")  # or load_dataset("parquet", data_dir="dataset")')
    if dropped:
        lines.append('dropped = load_dataset("dataset", "dropped", split="dropped")')
    lines.append('classes = load_dataset("dataset", "class_texts", split="classes")')
    if images:
        lines.append('images = load_dataset("imagefolder", data_dir="dataset/images")')
    return "\n".join(["```python", *lines, "```\n"])


def cuts(parameters: Parameters) -> list[str]:
    """Return what the predictor could not read."""
    return [
        f"Captions are cut to {parameters.characters:,} characters, and the predictor reads "
        f"at most {parameters.max_tokens:,} tokens of them, its marks of begin and end included."
    ]


def accuracy(metrics: dict[str, float]) -> str:
    """Return how often the filter is right, where the truth is known."""
    if "precision" not in metrics:
        return "Nobody knows which captions describe their class, so precision is not known.\n"
    rows = [
        {
            "filter against the truth": name,
            "test captions": metrics.get(name, np.nan),
            "captions it was trained on": metrics.get(f"{name}_trained", np.nan),
        }
        for name in METRICS
    ]
    return to_markdown(pd.DataFrame(rows))


def bullets(items: Iterable[str]) -> str:
    """Return a list."""
    return "".join(f"- {item}\n" for item in items)
