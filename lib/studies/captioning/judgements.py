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

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from studies import paths
from studies.captioning.metrics import score_captions
from studies.captioning.readers import TOKENS, text_file, token_captions
from studies.inputs import reading
from studies.inputs.download import require
from studies.inputs.tables import read_lines
from studies.paths import StudyError
from studies.reporting.bootstrap import Measured, Metric, measure
from studies.runs.params import Schema

COMPARED = ("BLEU-4", "METEOR", "ROUGE-L", "CIDEr")
NAMES = {"tau_expert": "τ_c, experts", "tau_crowd": "τ_c, crowd"}
AXES = {metric: f"Kendall's {name} (−1 to 1)" for metric, name in NAMES.items()}
PER_VARIANT = 8  # plates of the most frequent variant that the simulated judges see
PAIR = r"(?P<image>[^\t]+)\t(?P<other>[^\t#]+)#(?P<number>\d+)"
FORMS = {
    "expert": ("three grades of 1 to 4", r"\t".join(rf"(?P<judge{k}>[1-4])" for k in (1, 2, 3))),
    # at least one of them
    "crowd": ("share, times yes, times no", r"[^\t]+\t(?!0+\t0+$)(?P<judge1>\d+)\t(?P<judge2>\d+)"),
}
FILES = {"expert": "ExpertAnnotations.txt", "crowd": "CrowdFlowerAnnotations.txt"}


class JudgementParameters(Schema):
    """What the notebook takes: simulated judges of the kitchen, or the people of Flickr8k."""

    source: Literal["kitchen", "flickr8k"]

    @property
    def folder(self) -> Path:
        """Return the folder of the texts; raises StudyError when the data is not there."""
        if self.source == "kitchen":
            return reading.judged(PER_VARIANT)
        return require("flickr8k", paths.data() / "flickr8k")


def judged(folder: Path, judges: str) -> pd.DataFrame:
    """Return the pairs that `judges` (`expert` or `crowd`) saw, scored; starts Java once.

    `folder` holds Flickr8k as it unpacks. Pairs are left out whose caption belongs to the image
    itself, and those whose image or caption is not in the token file. Columns: `image`, `caption`;
    `judge1` to `judge3`, the experts' grades, or `judge1` alone, the share of the crowd that said
    yes; and one for each metric.

    Raises StudyError when a file is missing or malformed, or no pair is left.
    """
    tokens = token_captions(text_file(folder, TOKENS))
    captions = tokens.groupby("image")["caption"].agg(list)
    file = text_file(folder, FILES[judges])
    form, cells = FORMS[judges]
    pairs = read_lines(file, rf"{PAIR}\t{cells}", f"image, caption and {form}, with tabs between")
    pairs = pairs.merge(tokens.rename(columns={"image": "other"}), on=["other", "number"])
    pairs = pairs[pairs["image"].isin(captions.index) & (pairs["image"] != pairs["other"])]
    if pairs.empty:
        raise StudyError(f"{file}: judges no caption of {TOKENS} beside it; use Flickr8k's own")
    references = captions[pairs["image"]].tolist()
    scores = score_captions(dict(enumerate(pairs["caption"])), dict(enumerate(references)))
    grades = pairs.filter(regex="^judge").astype(float)
    if judges == "crowd":
        grades = grades[["judge1"]].div(grades.sum(axis=1), axis=0)
    grades.insert(0, "image", pairs["image"])
    grades.insert(1, "caption", pairs["other"] + "#" + pairs["number"])
    return grades.reset_index(drop=True).join(scores.reset_index(drop=True))


def measured(**pairs: pd.DataFrame) -> dict[str, dict[str, Measured]]:
    """Return τ_c of each metric with each kind of judges, `tau_<judges>`.

    Images and captions are resampled, either with all its pairs: both stand in several.

    `pairs` are what `judged` gives of each.
    """
    systems: dict[str, dict[str, Measured]] = {metric: {} for metric in COMPARED}
    for judges, frame in pairs.items():
        _, levels = np.unique(frame.filter(regex=r"^judge\d"), return_inverse=True)
        for metric, taus in systems.items():
            tau = kendall(frame[metric], levels.reshape(len(frame), -1))
            taus |= measure({0: {f"tau_{judges}": tau}}, frame[["image", "caption"]], fixed=True)
    return systems


def kendall(scores: ArrayLike, levels: np.ndarray) -> Metric:
    """Return Kendall's τ_c of scores (N,) and judgements, as a function of weights (R, N).

    `levels` (N, J) are J judgements of each item, coded from 0; each is an observation of its own
    with the item's score. τ_c = 2 (concordant − discordant) / (n² (m − 1) / m) over n observations,
    where m is the smaller number of distinct values (A. Stuart, Biometrika 40, 1953), as
    `scipy.stats.kendalltau(variant="c")`; nan where either side has fewer than two. Scores are
    sorted once, and a resample takes time in proportion to N.
    """
    _, rank = np.unique(np.asarray(scores), return_inverse=True)
    shape = int(rank.max()) + 1, int(levels.max()) + 1
    cells = (rank[:, None] * shape[1] + levels).ravel()

    def tau(weights: np.ndarray) -> float:
        times = np.repeat(weights, levels.shape[1])
        table = np.bincount(cells, times, shape[0] * shape[1]).reshape(shape)
        below = np.cumsum(table, axis=0) - table  # judgements of items with a smaller score
        smaller = np.cumsum(below, axis=1) - below  # … and with a smaller judgement too
        larger = below.sum(axis=1, keepdims=True) - smaller - below
        excess = (table * (smaller - larger)).sum()
        distinct = min(np.count_nonzero(table.any(axis=1)), np.count_nonzero(table.any(axis=0)))
        if distinct < 2:
            return np.nan
        return 2 * excess / (table.sum() ** 2 * (distinct - 1) / distinct)

    return lambda weights: np.array([tau(row) for row in weights])
