"""What notebooks and reports show of captions and runs: figures, and tables to look at."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from studies.captioning import data
from studies.captioning.evaluate import IDS
from studies.inputs.images import open_rgb
from studies.paths import StudyError
from studies.reporting import publish
from studies.reporting.results import cost_table
from studies.reporting.tables import Shown, show
from studies.runs.folder import LoadedRun, load_run
from studies.runs.params import read_yaml

Systems = Mapping[str, Sequence[LoadedRun]]  # the runs of each system

NAMES = {IDS[metric]: metric for metric in ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")}
AXES = {name: f"{metric} (0–{10 if name == 'cider' else 1})" for name, metric in NAMES.items()}
SCORES = {name: metric for metric, name in IDS.items()}
PAPER = read_yaml(Path(__file__).with_name("claims.yaml"))
CURVES, STEPS = PAPER["labels"]["curves"], PAPER["labels"]["steps"]
CASES = {"best": 0.0, "median": 0.5, "worst": 1.0}


def sample(dataset: data.CaptionedImages, shown: int = 6) -> Shown:
    """Draw a few images from all over the dataset, each with its first caption."""
    rows = np.linspace(0, len(dataset.files) - 1, shown).round().astype(int)
    items = [(dataset.paths[row], dataset.captions[row][0]) for row in rows]
    return publish.picture_grid(items, columns=3)


def caption_table(run: LoadedRun, shown: int = 5) -> pd.DataFrame:
    """Return the first captions of a run beside a reference, with their CIDEr."""
    frame = run.predictions.head(shown)
    dataset, rows = tested(run, frame["id"])
    return pd.DataFrame(
        {
            "image": frame["id"].str.rpartition("/")[2],
            "caption": frame["candidate"],
            "a reference": [dataset.captions[row][0] for row in rows],
            "CIDEr": frame["CIDEr"].map("{:.2f}".format),
        }
    )


def cost(systems: Systems) -> Shown | None:
    """Show what each system cost, and how many words it knows; None without a system."""
    if not systems:
        return None
    return show(cost_table(systems, "words", lambda facts: f"{facts['words']:,}"))


def cases(run: LoadedRun, shown: int = 3) -> pd.DataFrame:
    """Return the predictions of the best, median and worst captions by CIDEr, `case` says which."""
    frame = run.predictions.sort_values(["CIDEr", "id"], ascending=[False, True])
    starts = {name: round(share * max(0, len(frame) - shown)) for name, share in CASES.items()}
    parts = {name: frame.iloc[start : start + shown] for name, start in starts.items()}
    return pd.concat(parts, names=["case"]).reset_index("case")


def gallery(systems: Systems) -> Iterator[Shown]:
    """Show the best, median and worst captions of each system's first run, and what people said.

    Where the photographs are not at hand, that.
    """
    for system, (run, *_) in systems.items():
        frame = cases(run)
        try:
            dataset, rows = tested(run, frame["id"])
        except StudyError as error:
            yield publish.missing(error)
            return
        for name, some in frame.assign(row=rows).groupby("case", sort=False):
            yield publish.heading(f"{system}: {name} by CIDEr")
            files = [dataset.paths[row] for row in some["row"]]
            people = [" / ".join(dataset.captions[row]) for row in some["row"]]
            said = some["candidate"] + some["CIDEr"].map(" (CIDEr {:.2f}). References: ".format)
            yield publish.picture_grid(zip(files, said + people, strict=True), columns=3)


def attended(systems: Systems, shown: int = 2) -> Iterator[Shown]:
    """Draw where the words of some captions of each system's first run looked, or say why not."""
    for system, (run, *_) in systems.items():
        ids = run.predictions["id"].sort_values().to_numpy()
        places = np.linspace(0, len(ids) - 1, shown + 2).round().astype(int)[1:-1]
        try:
            drawn = [attention(run, name) for name in ids[places]]
        except StudyError as error:
            yield publish.missing(error)
            return
        yield publish.heading(system)
        yield from drawn


def describe(run: LoadedRun, *files: Path, shown: int = 1) -> Shown | None:
    """Caption picture files, or without any the first test images, and draw them.

    None for what is trained nowhere.
    """
    if (trained := captioner(run)) is None:
        return None
    if not files:
        dataset, rows = tested(run, run.predictions["id"].head(shown))
        files = [dataset.paths[row] for row in rows]
    return publish.picture_grid(zip(files, trained.model().describe([*files]), strict=True))


def captioner(run: LoadedRun) -> LoadedRun | None:
    """Return the run that trained the system of a run, on whichever dataset; None without one."""
    if run.params["network"] is not None:
        return run
    others = run.parameters.builds_on()
    return load_run(others[0].folder()) if others else None


def attention(run: LoadedRun, name: str, most: int = 9) -> Shown | None:
    """Draw where each word of a run's caption of a test image looked, the picture first.

    None for what is trained nowhere, whose words look nowhere. Raises StudyError when the image is
    gone.
    """
    if (trained := captioner(run)) is None:
        return None
    dataset, [row] = tested(run, [name])
    caption = run.predictions.set_index("id").loc[name, "candidate"]
    model = trained.model()
    inputs = data.inputs(dataset, model.parameters)[row : row + 1]
    weights = model.attention(inputs, [caption])[0].numpy()
    side = math.isqrt(weights.shape[1])
    maps = weights[:, weights.shape[1] - side * side :].reshape(-1, side, side)
    image = open_rgb(dataset.paths[row]).resize((192, 192))
    words = list(zip(caption.split(), maps, strict=False))[:most]
    items = [(image, caption), *((overlaid(image, one), word) for word, one in words)]
    return publish.picture_grid(items)


def tested(run: LoadedRun, ids: Iterable[str]) -> tuple[data.CaptionedImages, list[int]]:
    """Return the images that a run was made with, and the rows of some of them.

    Raises StudyError when they are not there.
    """
    dataset = data.read(run.parameters)
    place = {file: row for row, file in enumerate(dataset.files)}
    for name in ids:
        if name not in place:
            raise StudyError(
                f"{run.folder} was tested on {name}, which {dataset.root} lacks; restore the images"
            )
    return dataset, [place[name] for name in ids]


def overlaid(image: Image.Image, weights: np.ndarray) -> Image.Image:
    """Return the picture dark where the weights (g, g) are small."""
    share = np.uint8(255 * weights / max(weights.max(), 1e-12))
    light = Image.fromarray(share).resize(image.size, Image.Resampling.BICUBIC)
    dark = Image.new("RGB", image.size, (20, 20, 40))
    return Image.composite(image, Image.blend(image, dark, 0.75), light)
