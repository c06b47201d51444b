"""Simulated judges of captions, in the layout of Flickr8k's human judgements.

They show how the comparison of metrics with people works, without a download. Their grades follow
from the label tree and so say nothing about what people think.
"""

from itertools import chain
from pathlib import Path

import numpy as np

from studies import paths
from studies.demo.captions import captions
from studies.demo.world import Plate, plates
from studies.runs.files import write_atomic

JUDGES_STREAM = 2
# Raise it whenever a grade or a file is written otherwise.
VERSION = 1
GRADES = 4  # the levels of the tree that image and caption share, and one
NOISE = (0.15, 0.7, 0.15)  # probability that an expert's grade is one lower, right, one higher


def judged(per_variant: int, seed: int = 0) -> Path:
    """Return a folder like Flickr8k's texts: captions of all plates, and judgements of pairs.

    It holds `Flickr8k.token.txt`, `ExpertAnnotations.txt` (three grades, 1 to 4) and
    `CrowdFlowerAnnotations.txt` (share of yes, times yes, times no). Each plate is paired with a
    caption of another plate for every number of tree levels that the two can share.
    Raises StudyError as `plates` does, or when the cache cannot be written.
    """
    folder = paths.cache() / f"judges{VERSION}-{per_variant}-{seed}"
    made = plates(per_variant, seed)
    rng = np.random.default_rng([seed, JUDGES_STREAM])
    pairs = list(chain.from_iterable(_pairs(plate, made, rng) for plate in made))
    tokens = [
        f"{plate.id}.png#{number}\t{text}"
        for plate in made
        for number, text in enumerate(captions(plate, seed))
    ]
    experts = [f"{pair}\t{_expert(true, rng)}" for pair, true in pairs]
    crowd = [f"{pair}\t{_crowd(true, rng)}" for pair, true in pairs]
    write_atomic(folder / "Flickr8k.token.txt", "\n".join(tokens))
    write_atomic(folder / "ExpertAnnotations.txt", "\n".join(experts))
    write_atomic(folder / "CrowdFlowerAnnotations.txt", "\n".join(crowd))
    return folder


def _pairs(plate: Plate, made: list[Plate], rng: np.random.Generator) -> list[tuple[str, int]]:
    """Return image and caption id, joined by a tab, with the levels that they share."""
    by_level: dict[int, list[Plate]] = {}
    for other in made:
        if other.id != plate.id:
            by_level.setdefault(_shared(plate, other), []).append(other)
    drawn = {level: others[int(rng.integers(len(others)))] for level, others in by_level.items()}
    return [
        (f"{plate.id}.png\t{other.id}.png#{int(rng.integers(5))}", level)
        for level, other in sorted(drawn.items())
    ]


def _shared(one: Plate, other: Plate) -> int:
    labels = zip(
        (one.category, one.dish, one.variant),
        (other.category, other.dish, other.variant),
        strict=True,
    )
    return sum(a == b for a, b in labels)


def _expert(level: int, rng: np.random.Generator) -> str:
    grades = level + 1 + rng.choice([-1, 0, 1], 3, p=NOISE)
    return "\t".join(str(grade) for grade in np.clip(grades, 1, GRADES))


def _crowd(level: int, rng: np.random.Generator) -> str:
    yes = int(rng.binomial(3, level / (GRADES - 1)))
    return f"{yes / 3:.6f}\t{yes}\t{3 - yes}"
