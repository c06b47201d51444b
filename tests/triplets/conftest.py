"""Small worlds with known truth: folders of plain colours, the groceries' layout, run folders."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

import noted
from studies.runs.files import to_json
from studies.runs.params import load_parameters
from studies.triplets.params import Parameters

COLOURS = {
    "warm/red/bright": (250, 40, 40),
    "warm/red/dark": (120, 0, 0),
    "warm/yellow/bright": (250, 240, 40),
    "warm/yellow/dark": (130, 120, 0),
    "cold/blue/bright": (60, 60, 250),
    "cold/blue/dark": (0, 0, 110),
    "cold/green": (30, 200, 60),  # one level less than the others
}
SYSTEMS = ["cross_entropy", "triplet", "flexible", "flexible@sum", "hybrid"]
SUM = {"name": "flexible_margin", "margins": [0.6, 0.7, 0.7], "combine": "sum"}


@pytest.fixture(scope="session")
def draw():
    """Return a function that writes a noisy picture of one colour."""

    def write(file: Path, colour=(200, 100, 50), seed: int = 0, noise: int = 12, side: int = 20):
        rng = np.random.default_rng(seed)
        pixels = np.array(colour) + rng.normal(0, noise, (side, side + 4, 3))
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)

    return write


@pytest.fixture(scope="session")
def colours(draw):
    """Return a function that draws the folder of colours: 7 classes in 3 levels, easy to tell."""

    def make(folder: Path, images: int = 30) -> Path:
        for c, (name, colour) in enumerate(COLOURS.items()):
            for i in range(images):
                draw(folder / name / f"{i:02}.png", colour, seed=100 * c + i)
        return folder

    return make


@pytest.fixture(scope="session")
def parameters():
    """Return a function that gives the parameters of a small system on the folder of colours.

    What it does not change is that of `params/triplets/tiny`.
    """

    def make(system: str = "flexible", **changes) -> Parameters:
        model, _, variant = system.partition("@")
        values = load_parameters("triplets", "tiny", model).resolved()
        mining = values["stages"][0]["mining"]
        values |= {
            "dataset": "colours",
            "variant": variant,
            "source": {"name": "folder", "folder": "colours"},
            "image_size": 16,
            "backbone": {"name": "scratch", "widths": [8, 16], "hidden": 32},
            "embedding": 16,
            "epochs": 3,
            "stages": [
                {"from_epoch": 0, "learning_rate": 0.003, "mining": mining},
                {"from_epoch": 2, "learning_rate": 0.0003, "mining": mining and "hardest"},
            ],
            "min_count": 10,
        }
        if system == "flexible@sum":
            values["loss"] = {**SUM, "take": "most_violating"}
        del values["study"]
        return Parameters.check(values | changes, {"": "test"})

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory, colours, parameters):
    """Train and evaluate every system on the colours, once; `root` holds runs, `data` images."""
    folder = tmp_path_factory.mktemp("trained")
    colours(folder / "data" / "colours")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STUDIES_ROOT", str(folder / "root"))
        patch.setenv("STUDIES_DATA", str(folder / "data"))
        from studies.triplets.evaluate import evaluate

        for system in SYSTEMS:
            evaluate(parameters(system))
    return folder


@pytest.fixture
def colour_runs(trained, monkeypatch) -> dict[str, Path]:
    """Return the run folders of `trained`, with the paths of the house pointing there."""
    monkeypatch.setenv("STUDIES_ROOT", str(trained / "root"))
    monkeypatch.setenv("STUDIES_DATA", str(trained / "data"))
    base = trained / "root" / "runs" / "colours" / "triplets"
    return {system: base / system / "seed0" for system in SYSTEMS}


@pytest.fixture(scope="session")
def write_run(parameters):
    """Return a function that writes an evaluated run by hand, from class paths alone.

    `clusters` are (N, H) integers, by default the predicted labels, and `first_match` (N,) ranks,
    by default 1. The classes `unscored` do not count in macro-F1, those `unseen` were not trained
    on; both may be others than those of the test items.
    """

    def write(
        root: Path,
        system: str,
        seed: int,
        true: list[str],
        predicted: list[str],
        dataset: str = "made_up",
        unscored: tuple[str, ...] = (),
        unseen: tuple[str, ...] = (),
        clusters=None,
        first_match=1,
        stopped: str = "",
        trained: int = 7,
        ids: list[str] | None = None,
        bits: Sequence[int] | None = None,
        **changes,
    ) -> Path:
        model, _, variant = system.partition("@")
        known = model if model in SYSTEMS else "flexible"
        named = {"dataset": dataset, "model": model, "variant": variant, "seed": seed}
        settings = parameters(known, **named, **changes)
        folder = root / "runs" / dataset / "triplets" / system / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "params.yaml").write_text(yaml.safe_dump(settings.resolved()))
        (folder / "model.safetensors").touch()
        levels = range(1, len(true[0].split("/")) + 1)

        def in_words(names: list[str], start: str = "") -> dict[str, list[str]]:
            upper = {
                f"{start}level{k}": ["/".join(n.split("/")[:k]) for n in names] for k in levels
            }
            return {f"{start}class": names, **upper}

        frame = pd.DataFrame({"id": ids or [f"{i:03}.png" for i in range(len(true))]})
        frame = frame.assign(**in_words(true, "true_"), **in_words(predicted, "predicted_"))
        for level in levels:
            found = pd.factorize(frame[f"predicted_level{level}"])[0]
            frame[f"cluster_level{level}"] = (
                found if clusters is None else np.asarray(clusters)[:, level - 1]
            )
        rng = np.random.default_rng(0)
        frame = frame.assign(first_match=first_match, confidence=rng.uniform(0.2, 1, len(true)))
        frame[["map_x", "map_y"]] = rng.normal(size=(len(true), 2))
        frame["cluster"] = range(len(true))
        if bits is not None:
            frame["bits_to_training"] = bits
        frame.to_parquet(folder / "predictions.parquet")
        classes = pd.DataFrame(in_words(sorted({*true, *predicted, *unscored, *unseen})))
        classes["images"] = 60
        classes["scored"] = ~classes["class"].isin(unscored)
        classes["unseen"] = classes["class"].isin(unseen)
        items = {"min_count": settings.min_count, "classes": classes.to_dict("records")}
        (folder / "items.json").write_text(to_json(items))
        severe = int((frame["true_level1"] != frame["predicted_level1"]).sum())
        (folder / "metrics.json").write_text(json.dumps({"severe_errors": severe, "n": len(true)}))
        (folder / "curves.csv").write_text(
            "epoch,step,learning_rate,train_loss,validation_macro_f1,validation_severe_errors\n"
            "1,5,0.001,0.9,0.3,7\n2,10,0.001,0.5,0.6,3\n"
        )
        facts = {
            **noted.RUN,
            **noted.TRAINING,
            "best_score": 0.6,
            "stopped": stopped,
            "images": {"train": trained, "validation": 1, "test": len(true)},
        }
        (folder / "provenance.json").write_text(to_json(facts))
        return folder

    return write
