"""Scores of captions against reference captions, as pycocoevalcap gives them.

BLEU: Papineni, Roukos, Ward, Zhu, ACL 2002. METEOR (version 1.5): Banerjee, Lavie, ACL Workshop
2005; Denkowski, Lavie, WMT 2014. ROUGE-L: Lin, ACL Workshop 2004. CIDEr: Vedantam, Zitnick, Parikh,
CVPR 2015. All texts pass through Stanford's PTBTokenizer first: lower case, no punctuation.

All scores are 0 to 1, but CIDEr 0 to 10. CIDEr weighs n-grams by how many of the given images have
them in their references, so it is a score within a test set: on few images it means little, on one
image it is 0.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from studies.captioning import java
from studies.paths import StudyError

BLEU = ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4")
METRICS = (*BLEU, "METEOR", "ROUGE-L", "CIDEr")

# METEOR 1.5 for English: equations and weights of Denkowski, Lavie, 2014
ALPHA, BETA, GAMMA, DELTA = 0.85, 0.20, 0.60, 0.75
MATCHERS = np.array([1.0, 0.6, 0.8, 0.6])  # exact, stem, synonym, paraphrase


def score_captions(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Return the scores of each image's caption, one row an id, in the order of `candidates`.

    Columns are `METRICS`. See `scored` for the arguments and what is raised.
    """
    return scored(candidates, references).by_image


def corpus_scores(
    candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]
) -> dict[str, float]:
    """Return the scores of all captions together, by `METRICS`.

    See `Scores.corpus` for how, and `scored` for the arguments and what is raised.
    """
    return scored(candidates, references).corpus()


@dataclass(frozen=True)
class Scores:
    """The scores of N captions, and the counts that corpus scores are made of.

    `by_image` has N rows and the columns `METRICS`. `bleu_counts` (N, 10) are the matches and the
    guesses of 1- to 4-grams, the length of the candidate and of the reference closest to it;
    `meteor_counts` (N, 23) are METEOR's statistics: lengths and function words of candidate and
    reference; for each of four matchers the matched content words of both and function words of
    both; chunks; matched words of both.
    """

    by_image: pd.DataFrame
    bleu_counts: np.ndarray
    meteor_counts: np.ndarray

    def corpus(self) -> dict[str, float]:
        """Return the corpus scores of all images, by `METRICS`.

        BLEU (closest reference length) and METEOR come from the summed counts, as in
        pycocoevalcap; ROUGE-L and CIDEr are means.
        """
        values = self.resampled(np.ones((1, len(self.by_image))))[:, 0]
        return dict(zip(METRICS, values.tolist(), strict=True))

    def resampled(self, weights: np.ndarray) -> np.ndarray:
        """Return the corpus scores of R test sets, (len(METRICS), R).

        `weights` (R, N) says how often each of them holds each image. CIDEr's document frequencies
        stay those of all images.
        """
        bleus = bleu(weights @ self.bleu_counts)
        meteors = meteor(weights @ self.meteor_counts)
        means = weights @ self.by_image[["ROUGE-L", "CIDEr"]].to_numpy()
        return np.stack([*bleus.T, meteors, *(means / weights.sum(axis=1, keepdims=True)).T])


def scored(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> Scores:
    """Score one caption an image against the image's references; starts Java once.

    `candidates` gives a caption for each id, `references` one text or more for the same ids. Any
    white space, line ends included, counts as a space; lone surrogates and `|||`, METEOR's mark
    between references, are left out. A candidate without a word scores 0.

    METEOR takes about 10 s and 1.4 GB of memory to start.

    Raises StudyError when there is nothing to score, the ids differ, a candidate is no text, an
    image has no reference with a word in it, or Java is missing, fails or hangs.
    """
    check(candidates, references)
    ids = list(candidates)
    found = java.score(
        [plain(candidates[name]) for name in ids],
        [[plain(text) for text in references[name]] for name in ids],
    )
    if "wordless" in found:
        raise StudyError(
            f"caption {ids[found['wordless']]!r} has no reference with a word in it; give it one, "
            "or leave the image out"
        )
    columns = [*np.transpose(found["bleu"]), found["meteor"], found["rouge"], found["cider"]]
    index = pd.Index(ids, dtype=object, name="id")  # of objects: an id may hold what UTF-8 cannot
    table = pd.DataFrame(dict(zip(METRICS, columns, strict=True)), index=index, dtype=np.float64)
    counts = np.array(found["statistics"])
    counts[whole(counts), CHUNKS] = 0
    return Scores(table, np.array(found["counts"]), counts)


def check(candidates: Mapping[str, str], references: Mapping[str, Sequence[str]]) -> None:
    """Raise StudyError unless each id has one candidate text and a list of reference texts."""
    if len(candidates) == 0:
        raise StudyError("there is no caption to score; give at least one")
    for name, text in candidates.items():
        if name not in references:
            raise StudyError(f"caption {name!r} has no references; give them, or leave it out")
        if not isinstance(text, str):
            raise StudyError(f"caption {name!r} should be a text, not {text!r}")
    for name, texts in references.items():
        if name not in candidates:
            raise StudyError(
                f"the references of {name!r} have no caption to score; give one, or leave them out"
            )
        listed = isinstance(texts, Collection) and not isinstance(texts, str)
        if not listed or not all(isinstance(text, str) for text in texts):
            raise StudyError(f"the references of {name!r} should be a list of texts, not {texts!r}")
        if len(texts) == 0:
            raise StudyError(f"caption {name!r} has an empty list of references; give at least one")


def plain(text: str) -> str:
    """Return the text on one line, without what would end it or break METEOR's protocol."""
    return " ".join(text.encode("utf-8", "ignore").decode().replace("|||", " ").split())


def bleu(counts: np.ndarray) -> np.ndarray:
    """Return BLEU-1 to BLEU-4 of counts as in `Scores`, (..., 10) -> (..., 4), 0 to 1.

    BLEU-n = min(1, exp(1 − r/c)) · (p_1 ⋯ p_n)^(1/n), with pycocoevalcap's guards against 0/0.
    """
    tiny, small = 1e-15, 1e-9
    matches, guesses = counts[..., :4], counts[..., 4:8]
    precision = (matches + tiny) / (guesses + small)
    ratio = (counts[..., 8:9] + tiny) / (counts[..., 9:10] + small)
    brevity = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return brevity * np.cumprod(precision, axis=-1) ** (1 / np.arange(1, 5))


CHUNKS, MATCHED = 20, slice(21, 23)


def whole(counts: np.ndarray) -> np.ndarray:
    """Return where candidate and reference match whole and in order, (..., 23) -> (...) bool.

    METEOR counts no chunk there: nothing is fragmented.
    """
    lengths_match = (counts[..., MATCHED] == counts[..., :2]).all(axis=-1)
    return lengths_match & (counts[..., CHUNKS] == 1)


def meteor(counts: np.ndarray) -> np.ndarray:
    """Return METEOR of counts as in `Scores`, (..., 23) -> (...), 0 to 1.

    P and R are weighted shares of matched words, a content word counting δ, a function word 1 − δ;
    F = PR / (αP + (1 − α)R), METEOR = (1 − γ · (chunks / matched words)^β) · F.
    """
    length, function = counts[..., 0:2], counts[..., 2:4]  # of candidate and reference
    matches = counts[..., 4:20].reshape(*counts.shape[:-1], 4, 2, 2)  # matcher, kind, side
    of_kind = np.einsum("...mks,m->...ks", matches, MATCHERS)
    matched = DELTA * of_kind[..., 0, :] + (1 - DELTA) * of_kind[..., 1, :]
    words = DELTA * (length - function) + (1 - DELTA) * function
    precision, recall = np.moveaxis(matched / np.maximum(words, 1e-300), -1, 0)
    mean = precision * recall / np.maximum(ALPHA * precision + (1 - ALPHA) * recall, 1e-300)
    pairs = counts[..., MATCHED].mean(axis=-1)
    fragmentation = counts[..., CHUNKS] / np.maximum(pairs, 1e-300)
    return mean * (1 - GAMMA * fragmentation**BETA)
