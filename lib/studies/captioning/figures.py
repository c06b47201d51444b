"""What notebooks and reports show of captions and runs: figures, and tables to look at."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from PIL import Image

from studies.captioning import data
from studies.captioning.evaluate import IDS
from studies.captioning.metrics import METRICS
from studies.captioning.params import Parameters
from studies.inputs.images import open_rgb
from studies.inputs.splits import PARTS
from studies.paths import StudyError
from studies.reporting import plots, tables
from studies.reporting.results import cost_table
from studies.runs.folder import LoadedRun

NAMES = {IDS[metric]: metric for metric in ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")}
ALL_NAMES = {IDS[metric]: metric for metric in METRICS}
AXES = {
    "bleu4": "BLEU-4 (0–1)",
    "meteor": "METEOR (0–1)",
    "rouge_l": "ROUGE-L (0–1)",
    "cider": "CIDEr (0–10)",
}
CURVES = {
    "train_loss": "training loss (nats a word)",
    "validation_loss": "validation loss (nats a word)",
}
STEPS = {
    "batch_loss": "batch loss (nats a word)",
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
    "epoch": "epoch",
}
CASES = (("best", 0.0), ("median", 0.5), ("worst", 1.0))


def overview(dataset: data.CaptionedImages, parts: np.ndarray) -> pd.DataFrame:
    """Return how many images and captions every part holds, and how long captions are."""
    rows = []
    for part in PARTS:
        mine = [given for given, of in zip(dataset.captions, parts, strict=True) if of == part]
        lengths = [len(caption.split()) for given in mine for caption in given]
        rows.append(
            {
                "part": part,
                "images": len(mine),
                "captions": len(lengths),
                "words a caption": f"{np.mean(lengths):.1f}",
            }
        )
    return pd.DataFrame(rows)


def sample(dataset: data.CaptionedImages, shown: int = 6) -> Figure:
    """Draw a few images from all over the dataset, each with its first caption."""
    rows = np.linspace(0, len(dataset.files) - 1, shown).round().astype(int)
    items = [(open_rgb(dataset.paths[row]), dataset.captions[row][0]) for row in rows]
    return plots.images(items, columns=3)


def score_table(run: LoadedRun) -> pd.DataFrame:
    """Return a run's scores on the test set, one row a metric."""
    shown = {ALL_NAMES[name]: f"{run.metrics[name]:.3f}" for name in ALL_NAMES}
    return pd.DataFrame({"metric": shown.keys(), run.system: shown.values()})


def caption_table(run: LoadedRun, shown: int = 5) -> pd.DataFrame:
    """Return the first captions of a run beside a reference, with their CIDEr."""
    frame = run.predictions.head(shown)
    return pd.DataFrame(
        {
            "image": frame["id"].str.rpartition("/")[2],
            "caption": frame["candidate"],
            "a reference": [given[0] for given in frame["references"]],
            "CIDEr": frame["CIDEr"].map("{:.2f}".format),
        }
    )


def score_figure(frame: pd.DataFrame) -> Figure:
    """Draw the four metrics of the tidy frame: each system with its intervals."""
    return plots.intervals(frame, AXES)


def test_table(tests: pd.DataFrame) -> pd.DataFrame:
    """Return the paired tests, one row a pair of systems."""
    return tables.wide_tests(tests, NAMES, [])


def agreement(frame: pd.DataFrame) -> Figure:
    """Draw how far each metric agrees with each kind of judge, from `judgements.agreement`."""
    rows = frame.rename(columns={"metric": "model", "judgements": "metric", "tau": "mean"})
    rows = rows.assign(variant="", published=None)
    axes = {judges: f"Kendall's τ_c, {judges} (−1 to 1)" for judges in rows["metric"].unique()}
    return plots.intervals(rows, axes)


def agreement_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return how far metrics agree with judges, or by how much one does better, to be read."""
    value = "tau" if "tau" in frame else "difference"
    known = frame[[value, "ci_low", "ci_high"]].itertuples(index=False)
    cells = [tables.signed(*row, count=False) for row in known]
    shown = frame.drop(columns=["ci_low", "ci_high"]).assign(**{value: cells})
    if "p" in shown:
        shown["p"] = shown["p"].map(tables.p_value)
    return shown.rename(columns={"tau": "τ_c", "difference": "difference in τ_c"})


def curves(systems: dict[str, list[LoadedRun]]) -> Figure | None:
    """Draw training and validation loss against the step; None without a system."""
    if not systems:
        return None
    return plots.curves(logged(systems, "curves.csv"), "step", CURVES, columns=2)


def steps(systems: dict[str, list[LoadedRun]]) -> Figure:
    """Draw batch loss, learning rate, gradient norm and epoch against the step."""
    frame = logged(systems, "steps.csv")
    return plots.curves(frame, "step", STEPS, columns=2, log=["gradient_norm"])


def logged(systems: dict[str, list[LoadedRun]], name: str) -> pd.DataFrame:
    """Return a log of every run, one below the other; at most 200 rows a run."""
    frames = []
    for system, runs in systems.items():
        for run in runs:
            frame = pd.read_csv(run.folder / name)
            kept = frame.iloc[:: max(1, math.ceil(len(frame) / 200))]
            frames.append(kept.assign(system=system, seed=run.params["seed"]))
    return pd.concat(frames)


def cost(systems: dict[str, list[LoadedRun]]) -> pd.DataFrame:
    """Return what each system cost, and how many words it knows."""
    return cost_table(systems, "words", lambda facts: f"{facts['words']:,}")


def cases(run: LoadedRun, shown: int = 3) -> list[tuple[str, pd.DataFrame]]:
    """Return the test images with the best, median and worst captions by CIDEr."""
    frame = run.predictions.sort_values(["CIDEr", "id"], ascending=[False, True])
    found = []
    for name, share in CASES:
        start = round(share * max(0, len(frame) - shown))
        found.append((name, frame.iloc[start : start + shown]))
    return found


def case_pictures(run: LoadedRun) -> Figure:
    """Draw the pictures of the best, median and worst captions of a run."""
    root = data.read(Parameters.from_run(run.params, run.folder)).root
    items = [
        (open_rgb(root / row.id), f"{name}: {row.candidate} ({row.CIDEr:.2f})")
        for name, frame in cases(run)
        for row in frame.itertuples()
    ]
    return plots.images(items, columns=3)


def describe(run: LoadedRun, shown: int = 1) -> Figure | None:
    """Caption picture files as a user would, the first test images, and draw them.

    None for a trivial baseline, which captions no other pictures.
    """
    if run.params["network"] is None:
        return None
    root = data.read(Parameters.from_run(run.params, run.folder)).root
    files = [root / name for name in run.predictions["id"].head(shown)]
    captions = run.model().describe(files)
    return plots.images([(open_rgb(f), text) for f, text in zip(files, captions, strict=True)])


def attention(run: LoadedRun, name: str, most: int = 9) -> Figure | None:
    """Draw where each word of a run's caption of a test image looked, the picture first.

    None for a trivial baseline, whose words look nowhere. Raises StudyError when the image is gone.
    """
    if run.params["network"] is None:
        return None
    parameters = Parameters.from_run(run.params, run.folder)
    dataset = data.read(parameters)
    if name not in dataset.files:
        raise StudyError(
            f"{run.folder} was tested on {name}, which {dataset.root} lacks; restore the images"
        )
    row = dataset.files.index(name)
    caption = run.predictions.set_index("id").loc[name, "candidate"]
    given = data.inputs(dataset, parameters)[row : row + 1]
    weights = run.model().attention(given, [caption])[0].numpy()
    side = int(np.sqrt(weights.shape[1]))
    maps = weights[:, weights.shape[1] - side * side :].reshape(-1, side, side)
    image = open_rgb(dataset.paths[row]).resize((192, 192))
    items = [(image, caption)]
    for word, one in list(zip(caption.split(), maps, strict=False))[:most]:
        items.append((overlaid(image, one), word))
    return plots.images(items, columns=5)


def overlaid(image: Image.Image, weights: np.ndarray) -> Image.Image:
    """Return the picture dark where the weights (g, g) are small."""
    share = np.uint8(255 * weights / max(weights.max(), 1e-12))
    light = Image.fromarray(share).resize(image.size, Image.Resampling.BICUBIC)
    dark = Image.new("RGB", image.size, (20, 20, 40))
    return Image.composite(image, Image.blend(image, dark, 0.75), light)
