"""Batches of texts of about one length, so that little is computed for what fills them up."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from studies.relevance.examples import epoch_rows
from studies.relevance.tokens import Tokens, Words

POOL = 50  # batches whose texts are sorted by length together


class Texts(Dataset):
    """Batches of captions or examples: row numbers in, a `Batch` out.

    Args:
        words: the tokenizer of `captions` and `sentences`.
        captions: the tokens of N captions.
        target: (N,), their class numbers.
        longest: tokens of a text, its begin and end included; what is longer is cut.
        pairs: (E, 2), the caption and the sentence of each example; None for captions alone.
        sentences: tokens of S sentences; None leaves them out of the examples.
        weight: (N,), what each caption counts; None for 1.

    """

    def __init__(
        self,
        words: Words,
        captions: Tokens,
        target: np.ndarray,
        longest: int,
        pairs: np.ndarray | None = None,
        sentences: Sequence[list[int]] | None = None,
        weight: np.ndarray | None = None,
    ) -> None:
        self.words, self.captions, self.target, self.longest = words, captions, target, longest
        self.pairs, self.sentences, self.weight = pairs, sentences, weight
        self.lengths = captions.lengths
        if pairs is not None:
            self.lengths = self.lengths[pairs[:, 0]]
            if sentences is not None:
                self.lengths = self.lengths + np.array([len(one) for one in sentences])[pairs[:, 1]]
        self.lengths = np.minimum(self.lengths + 2, longest)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return tokens (B, L), which of them are real (B, L), classes (B,) and weights (B,)."""
        chosen = np.asarray(rows)
        captions = chosen if self.pairs is None else self.pairs[chosen, 0]
        texts = self.captions.rows(captions)
        if self.pairs is not None and self.sentences is not None:
            behind = [self.sentences[one] for one in self.pairs[chosen, 1]]
            texts = [joined(*both, self.longest - 2) for both in zip(texts, behind, strict=True)]
        weight = np.ones(len(chosen)) if self.weight is None else self.weight[captions]
        return (
            *padded(self.words, texts, self.longest),
            torch.from_numpy(self.target[captions]),
            torch.from_numpy(weight).float(),
        )


def joined(caption: list[int], sentence: list[int], longest: int) -> list[int]:
    """Return a caption and the sentence behind it, the longer cut first where both are too long."""
    room = max(longest - len(sentence), (longest + 1) // 2)
    return [*caption[:room], *sentence][:longest]


def padded(words: Words, texts: Sequence[list[int]], longest: int) -> tuple[Tensor, Tensor]:
    """Return texts with begin and end, filled up to the longest, (B, L), and what is real."""
    cut = [[words.begin, *text[: longest - 2], words.end] for text in texts]
    width = max(map(len, cut))
    tokens = torch.tensor([text + [words.pad] * (width - len(text)) for text in cut])
    lengths = torch.tensor([len(text) for text in cut])
    return tokens, torch.arange(width) < lengths[:, None]


class ByLength(Sampler):
    """Batches of rows of about one length: in every epoch `draws` of them, drawn afresh.

    They come in random order; without a seed, once each, the longest first.
    """

    def __init__(
        self,
        rows: np.ndarray,
        lengths: np.ndarray,
        size: int,
        seed: int | None = None,
        draws: int | None = None,
    ) -> None:
        self.rows, self.lengths, self.size = np.asarray(rows), lengths, size
        self.draws = len(self.rows) if draws is None else draws
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        if self.seed is None:
            yield from self._cut(self._sorted(self.rows))
            return
        rng = np.random.default_rng([self.seed, self.epoch])
        rows, pool = epoch_rows(rng, self.rows, self.draws), self.size * POOL
        batches = [
            batch
            for start in range(0, len(rows), pool)
            for batch in self._cut(self._sorted(rows[start : start + pool]))
        ]
        for place in rng.permutation(len(batches)):
            yield batches[place]

    def __len__(self) -> int:
        return -(-self.draws // self.size)

    def _sorted(self, rows: np.ndarray) -> np.ndarray:
        return rows[np.argsort(-self.lengths[rows], kind="stable")]

    def _cut(self, rows: np.ndarray) -> Iterator[list[int]]:
        for start in range(0, len(rows), self.size):
            yield rows[start : start + self.size].tolist()
