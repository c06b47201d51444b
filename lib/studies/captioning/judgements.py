"""Which metric agrees best with people: Flickr8k's human judgements of captions (claim C2).

M. Hodosh, P. Young, J. Hockenmaier, JAIR 47, 2013. People judged how well a caption, usually of
another photograph, fits a photograph: three experts on a scale of 1 to 4
(`ExpertAnnotations.txt`), and three or more crowd workers by yes or no
(`CrowdFlowerAnnotations.txt`). A metric scores the same pair, with the photograph's five captions
as references; Kendall's τ_c says how far it orders the pairs as people do. Pairs whose caption is
one of the photograph's own are left out: they would be scored against themselves. Each (image,
caption) pair is one item of one corpus, which gives CIDEr its document frequencies.

With the experts τ_c is 0.308 for BLEU-4, 0.323 ROUGE-L, 0.418 METEOR and 0.439 CIDEr on the 5,664
published pairs (Anderson et al., ECCV 2016; Hessel et al., EMNLP 2021). What is published for the
crowd is τ_b.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from studies import demo, paths
from studies.captioning.data import text_folder
from studies.captioning.metrics import score_captions
from studies.inputs.download import require
from studies.inputs.reading import numbered_lines
from studies.paths import StudyError
from studies.reporting.bootstrap import bootstrap, bootstrap_p, interval
from studies.runs.params import Schema

COMPARED = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
# the claim's order: CIDEr before all others, METEOR before BLEU
CLAIMED = (("CIDEr", "METEOR"), ("CIDEr", "ROUGE-L"), ("CIDEr", "BLEU-4"), ("METEOR", "BLEU-4"))
PER_VARIANT = 8  # plates of the most frequent variant that the simulated judges see
FILES = {"expert": "ExpertAnnotations.txt", "crowd": "CrowdFlowerAnnotations.txt"}


class JudgementParameters(Schema):
    """What the notebook takes: simulated judges of the kitchen, or the people of Flickr8k."""

    source: Literal["kitchen", "flickr8k"]

    @property
    def folder(self) -> Path:
        """Return the folder of the texts; raises StudyError when the data is not there."""
        if self.source == "kitchen":
            return demo.judged(PER_VARIANT)
        return require("flickr8k", paths.data() / "flickr8k")


@dataclass(frozen=True)
class Judged:
    """N pairs of image and caption, judged by people and scored by metrics.

    `images` (N,) codes the image of each pair from 0, `levels` (N, J) what each judge said, coded
    from 0 in ascending order, and `scores` has N rows and a column for each metric.
    """

    judges: str
    images: np.ndarray
    levels: np.ndarray
    scores: pd.DataFrame

    def tau(self, metric: str) -> Callable[[np.ndarray | None], float]:
        """Return τ_c of a metric as a function of resampled images, None for all as they are."""
        tau = kendall(self.scores[metric].to_numpy(), self.levels)
        n_images = int(self.images.max()) + 1

        def resampled(items: np.ndarray | None) -> float:
            times = 1 if items is None else np.bincount(items, minlength=n_images)
            return tau(np.broadcast_to(times, n_images)[self.images])

        return resampled

    def resampled(self, metric: str, n_resamples: int, seed: int) -> np.ndarray:
        """Return τ_c over resampled images, (n_resamples,), paired between metrics."""
        tau, n_images = self.tau(metric), int(self.images.max()) + 1
        return bootstrap(lambda items, _: tau(items), n_images, n_resamples=n_resamples, seed=seed)


def judged(folder: Path, judges: str) -> Judged:
    """Read the pairs that `judges` (`expert` or `crowd`) saw, and score them; starts Java once.

    `folder` holds Flickr8k as it unpacks. Pairs are left out whose caption belongs to the image
    itself, and those whose image or caption is not in the token file. The experts' judgements are
    three a pair; the crowd's is one, the share that said yes.

    Raises StudyError when a file is missing or malformed, or no pair is left.
    """
    captions = numbered_captions(text_folder(folder) / "Flickr8k.token.txt")
    references: dict[str, list[str]] = {}
    for name, caption in captions.items():
        references.setdefault(image_of(name), []).append(caption)
    file = text_folder(folder, FILES[judges]) / FILES[judges]
    pairs = [
        (image, caption, said)
        for image, caption, said in read_pairs(file, judges)
        if image_of(caption) != image and image in references and caption in captions
    ]
    if not pairs:
        raise StudyError(f"{file}: judges no caption of {text_folder(folder)}; use Flickr8k's own")
    scores = score_captions(
        {str(k): captions[caption] for k, (_, caption, _) in enumerate(pairs)},
        {str(k): references[image] for k, (image, _, _) in enumerate(pairs)},
    )
    _, images = np.unique([image for image, _, _ in pairs], return_inverse=True)
    said = np.array([said for _, _, said in pairs])
    _, levels = np.unique(said, return_inverse=True)
    return Judged(judges, images, levels.reshape(said.shape), scores.reset_index(drop=True))


def image_of(caption_id: str) -> str:
    """Return the image file of a caption id, `x.jpg#2` -> `x.jpg`."""
    return caption_id.partition("#")[0]


def numbered_captions(file: Path) -> dict[str, str]:
    """Return the captions of a token file by their id, such as `x.jpg#2`."""
    cells = (line.partition("\t") for _, line in numbered_lines(file))
    return {name.strip(): caption.strip() for name, _, caption in cells}


def read_pairs(file: Path, judges: str) -> list[tuple[str, str, list[float]]]:
    """Return image, caption id and judgements of each line: three grades, or the share of yes.

    Raises StudyError for a line of another form.
    """
    found = []
    for number, line in numbered_lines(file):
        try:
            image, caption, *numbers = line.split("\t")
            if judges == "expert":
                said = [float(int(grade)) for grade in numbers]
                right = len(said) == 3 and all(1 <= grade <= 4 for grade in said)
            else:
                _, yes, no = (float(cell) for cell in numbers)
                right = min(yes, no) >= 0 < yes + no
                said = [yes / (yes + no)] if right else []
        except ValueError:
            right = False
        if not right:
            form = "three grades of 1 to 4" if judges == "expert" else "share, times yes, times no"
            raise StudyError(
                f"{file} line {number}: expected image, caption and {form}, with tabs between, "
                f"found `{line[:80]}`; use the published file"
            )
        found.append((image.strip(), caption.strip(), said))
    return found


def kendall(scores: ArrayLike, levels: np.ndarray) -> Callable[[ArrayLike], float]:
    """Return Kendall's τ_c of scores (N,) and judgements, as a function of how often each counts.

    `levels` (N, J) are J judgements of each item, coded from 0; each is an observation of its own
    with the item's score. τ_c = 2 (concordant − discordant) / (n² (m − 1) / m) over n observations,
    where m is the smaller number of distinct values (A. Stuart, Biometrika 40, 1953), as
    `scipy.stats.kendalltau(variant="c")`. The function takes weights (N,), whole numbers, such as
    the times an item is drawn: sorting is done once, and a resample takes time in proportion to N.
    It is nan where either side has fewer than two values.
    """
    _, rank = np.unique(np.asarray(scores), return_inverse=True)
    shape = int(rank.max()) + 1, int(levels.max()) + 1
    cells = (rank[:, None] * shape[1] + levels).ravel()

    def tau(weights: ArrayLike) -> float:
        times = np.repeat(np.asarray(weights, dtype=np.float64), levels.shape[1])
        table = np.bincount(cells, times, shape[0] * shape[1]).reshape(shape)
        below = np.cumsum(table, axis=0) - table  # judgements of items with a smaller score
        smaller = np.cumsum(below, axis=1) - below  # … and with a smaller judgement too
        larger = below.sum(axis=1, keepdims=True) - smaller - below
        excess = (table * (smaller - larger)).sum()
        distinct = min(np.count_nonzero(table.any(axis=1)), np.count_nonzero(table.any(axis=0)))
        if distinct < 2:
            return float("nan")
        return float(2 * excess / (table.sum() ** 2 * (distinct - 1) / distinct))

    return tau


def agreement(
    given: Judged,
    metrics: Sequence[str] = COMPARED,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how far each metric agrees with people.

    Columns: metric, judgements (whose), tau (Kendall's τ_c, −1 to 1), ci_low, ci_high (95 %
    percentile bootstrap over images, each with all its pairs), pairs.
    """
    rows = []
    for metric in metrics:
        low, high = interval(given.resampled(metric, n_resamples, seed))
        rows.append((metric, given.judges, given.tau(metric)(None), low, high, len(given.scores)))
    return pd.DataFrame(rows, columns=["metric", "judgements", "tau", "ci_low", "ci_high", "pairs"])


def differences(
    given: Judged,
    compared: Sequence[tuple[str, str]] = CLAIMED,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how much better the first metric of a pair agrees than the second.

    Columns: first, second, judgements, difference (of τ_c), ci_low, ci_high, p. Both metrics see
    the same resamples of images; `p` is two-sided, see `statistics.bootstrap_p`.
    """
    names = {name for pair in compared for name in pair}
    samples = {name: given.resampled(name, n_resamples, seed) for name in sorted(names)}
    rows = []
    for first, second in compared:
        gap = samples[first] - samples[second]
        difference = given.tau(first)(None) - given.tau(second)(None)
        rows.append((first, second, given.judges, difference, *interval(gap), bootstrap_p(gap)))
    columns = ["first", "second", "judgements", "difference", "ci_low", "ci_high", "p"]
    return pd.DataFrame(rows, columns=columns)
