"""What the predictor is trained on: captions, each with the sentences of its class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studies.paths import StudyError

TRAIN, TEST = "train", "test"


@dataclass(frozen=True)
class Examples:
    """Captions × sentences of their class; an example is two row numbers, its text made on demand.

    Attributes:
        captions: N texts; a list, or a memory-mapped column.
        sentences: S texts.
        rows: (E, 2) int32, the caption and the sentence of each example, see `pairs`.

    """

    captions: Sequence[str]
    sentences: Sequence[str]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, examples: np.ndarray) -> list[str]:
        """Return the texts of some examples: the sentence after the caption."""
        chosen = self.rows[examples].tolist()
        return [f"{self.captions[row]} {self.sentences[sentence]}" for row, sentence in chosen]


def pairs(caption_classes: np.ndarray, sentence_classes: np.ndarray) -> np.ndarray:
    """Return the rows of each caption with each sentence of its class, (E, 2) int32.

    `caption_classes` (N,) and `sentence_classes` (S,) are class numbers. Examples are in the order
    of captions, and those of a caption in that of sentences. Raises ValueError when the class of a
    caption has no sentence.
    """
    caption_classes, sentence_classes = _numbers(caption_classes), _numbers(sentence_classes)
    by_class = np.argsort(sentence_classes, kind="stable")
    ordered = sentence_classes[by_class]
    first = np.searchsorted(ordered, caption_classes, side="left")
    times = np.searchsorted(ordered, caption_classes, side="right") - first
    if (times == 0).any():
        row = int(np.argmax(times == 0))
        raise ValueError(f"class {caption_classes[row]} of caption {row} has no sentence")
    found = np.empty((times.sum(), 2), dtype=np.int32)
    found[:, 0] = np.repeat(np.arange(len(times), dtype=np.int32), times)
    # where the sentences of a caption begin in `by_class`, less where its examples begin
    shift = first - (np.cumsum(times) - times)
    found[:, 1] = by_class[np.arange(len(found)) + np.repeat(shift, times)]
    return found


def split(
    caption_classes: np.ndarray,
    sentence_classes: np.ndarray,
    rng: np.random.Generator,
    *,
    test_share: float,
    rare: int = 100,
    rare_train: float = 0.5,
    rare_test: float = 0.2,
) -> np.ndarray:
    """Return the part of each caption, (N,) `train` or `test`; its examples all lie in it.

    `test_share` of the captions, rounded, are drawn by lot. But a class of at most `rare` examples
    has at least `rare_train` of them in training and at least `rare_test` in test: where the lot
    gives one part too few, as many of its captions as needed change over, and captions of other
    classes make up for it, so that the parts keep their sizes where that is possible. Where a
    class has too few captions for both, training comes first: a single caption is in training.

    Raises ValueError for shares outside 0 to 1 or with `rare_train` + `rare_test` above 1, and
    StudyError when a part would be empty.
    """
    if not (0 < test_share < 1 and 0 <= rare_train <= 1 and 0 <= rare_test <= 1):
        raise ValueError(
            "test_share must be above 0 and below 1, rare_train and rare_test 0 to 1, not "
            f"{test_share}, {rare_train} and {rare_test}"
        )
    if rare_train + rare_test > 1:
        raise ValueError(f"rare_train + rare_test is above 1: {rare_train} + {rare_test}")
    caption_classes, sentence_classes = _numbers(caption_classes), _numbers(sentence_classes)
    count = len(caption_classes)
    classes = int(max(caption_classes.max(initial=-1), sentence_classes.max(initial=-1))) + 1
    captions = np.bincount(caption_classes, minlength=classes)
    sentences = np.bincount(sentence_classes, minlength=classes)
    is_rare = captions * sentences <= rare

    order = rng.permutation(count)
    tests = round(count * test_share)
    drawn = np.zeros(count, dtype=bool)
    drawn[order[:tests]] = True
    of_rare = is_rare[caption_classes[order]]
    # the captions of each rare class, in the order of the lot
    members = order[of_rare][np.argsort(caption_classes[order[of_rare]], kind="stable")]
    starts = np.flatnonzero(np.diff(caption_classes[members], prepend=-1))
    for group in np.split(members, starts[1:]):
        most = len(group) - _at_least(rare_train, len(group))
        least = min(_at_least(rare_test, len(group)), most)
        taken = min(max(int(drawn[group].sum()), least), most)
        drawn[group] = np.arange(len(group)) < taken
    common = order[~of_rare]
    left = min(max(tests - int(drawn[members].sum()), 0), len(common))
    drawn[common] = np.arange(len(common)) < left
    for part, held in ((TRAIN, not drawn.all()), (TEST, drawn.any())):
        if not held or not count:
            raise StudyError(
                f"{count} captions are too few for a {part} set; add captions or change test_share"
            )
    return np.where(drawn, TEST, TRAIN)


def epoch_rows(rng: np.random.Generator, rows: np.ndarray, count: int) -> np.ndarray:
    """Return so many of the rows, in random order: each as often as any other, or once more.

    Raises ValueError when there is no row or none is asked for.
    """
    rows = np.asarray(rows)
    if count < 1 or not len(rows):
        raise ValueError(f"cannot draw {count} of {len(rows)} rows")
    rounds = [rng.permutation(rows) for _ in range(-(-count // len(rows)))]
    return rng.permutation(np.concatenate(rounds)[:count])


def _at_least(share: float, count: int) -> int:
    """Return the least whole number that is no less than a share of a count."""
    # a fifth of 35 is 7, though 0.2 * 35 is a little more
    return int(np.ceil(round(share * count, 9)))


def _numbers(classes: np.ndarray) -> np.ndarray:
    """Return class numbers as an array, checked."""
    classes = np.asarray(classes)
    if classes.ndim != 1:
        raise ValueError(f"classes must be (N,), not {classes.shape}")
    if len(classes) and (classes.dtype.kind not in "iu" or classes.min() < 0):
        raise ValueError(
            f"classes must be numbers from 0, not {classes.dtype} with {classes.min()}"
        )
    return classes.astype(np.int64)
