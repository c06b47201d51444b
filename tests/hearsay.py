"""Web captions of six classes: what they say, whether it is true, and what systems make of them."""

import csv
import json
from pathlib import Path

import numpy as np
import pandas as pd

from studies.relevance.captions import NO_CLASS, ONE_WORD

NAMES = {f"n{k}": name for k, name in enumerate(("cat", "dog", "owl", "bee", "ant", "grey cow"))}
WNIDS = list(NAMES)
EACH = 20  # captions of a class
CLASS = np.repeat(WNIDS, EACH)
NUMBER = np.tile(np.arange(EACH), len(WNIDS))
IDS = [f"{wnid}_{k}.JPEG" for wnid, k in zip(CLASS, NUMBER, strict=True)]
PART = np.where(NUMBER < 10, "train", np.where(NUMBER < 12, "validation", "test"))
TEST = PART == "test"
RELEVANT = NUMBER % 2 == 0
TEXTS = [f"{NAMES[wnid]} seen on day {k}" for wnid, k in zip(CLASS, NUMBER, strict=True)]
SOURCE = {"name": "imagenet_captions", "images": None}
# of a small Flickr8k with noise, see the fixture `tokens`
RATES = {"named": 3, "text_images": 2, "noise": 0.5, "tested_noise": 0.5, "masked": True}
NOISE = {
    "source": {"name": "flickr8k_noise", "seed": 0} | RATES,
    **{"sentences.fewest": 1, "rare.captions": 0, "validation_share": 0.3, "max_tokens": 40},
}
SAID = {"surfing": "A surfer on a wave", "boat": "A boat on a lake", "bird": "A duck on a pond"}


def place(wnid: str, number: int) -> int:
    """The row of a caption."""
    return WNIDS.index(wnid) * EACH + number


def publish(data: Path, texts: list[str] = TEXTS) -> None:
    """Write the captions in ImageNet-Captions' layout, and three that are dropped."""
    folder = data / "imagenet_captions"
    folder.mkdir(parents=True)
    listed = [
        {"filename": image, "wnid": wnid, "title": text, "description": ""}
        for image, wnid, text in zip(IDS, CLASS.tolist(), texts, strict=True)
    ]
    dropped = {"title": "word", "description": ""}
    listed += [{"filename": f"w{k}.JPEG", "wnid": "n0", **dropped} for k in range(2)]
    listed.append({"filename": "x.JPEG", "wnid": "n9", **dropped})
    (folder / "imagenet_captions.json").write_text(json.dumps(listed), encoding="utf-8")
    with (folder / "class_texts.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["wnid", "class", "text"])
        for wnid, name in NAMES.items():
            text = f"A {name} is an animal. It lives in many places. It eats. It naps. It plays."
            rows.writerow([wnid, name, f"{text} It is often seen."])


def predicted(sharp: float, seed: int = 0) -> dict:
    """What a predictor says of all captions: the sharper, the more of it is right."""
    noise = np.random.default_rng(seed).normal(size=len(IDS))
    return of_probability(1 / (1 + np.exp(-sharp * (RELEVANT - 0.5) - noise)))


def of_probability(probability: np.ndarray) -> dict:
    """What a predictor says whose probabilities these are."""
    kept = probability >= 0.5
    return {
        "kept": kept,
        "reason": np.where(kept, "", "its class is less probable than 0.5"),
        "probability": probability,
        "coefficient": np.where(kept, probability, np.nan),
    }


def led(sharp: float, seed: int = 0) -> dict:
    """What a baseline says of all captions."""
    lead = sharp * (RELEVANT - 0.5) + np.random.default_rng(seed).normal(size=len(IDS))
    return {"kept": lead > 0, "lead": lead}


def classified(right: float, seed: int = 0, read: str = "caption") -> dict:
    """What a classifier says of the test captions, of which a share is right."""
    rng = np.random.default_rng(seed)
    true = CLASS[TEST]
    other = np.roll(WNIDS, 1)[[WNIDS.index(wnid) for wnid in true]]
    return {"said": np.where(rng.permutation(len(true)) < right * len(true), true, other)} | {
        "read": read
    }


# what is said of the dataset beside predictions, see `publish`
ITEMS = {
    "found": len(IDS) + 3,
    "dropped": {NO_CLASS: 1, ONE_WORD: 2},
    "names": NAMES,
    "captions": dict.fromkeys(WNIDS, EACH),
}


def frame(says: dict, known: bool = True) -> pd.DataFrame:
    """The predictions of a run: a filter's of all captions, a classifier's of the test captions."""
    truth = RELEVANT.tolist() if known else [None] * len(IDS)
    rows = np.arange(len(IDS))
    captions = pd.DataFrame({"id": rows, "class": CLASS, "part": PART, "cluster": rows})
    captions["relevant"] = pd.array(truth, dtype="boolean")
    if "said" in says:
        captions = captions[TEST].reset_index(drop=True)
    return captions.assign(**says)
