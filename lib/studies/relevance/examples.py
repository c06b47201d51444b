"""What networks read: tokens on disk, and batches of texts of about one length, or of images."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from torch import Tensor
from torch.utils.data import Dataset

from studies.inputs import images
from studies.inputs.features import features
from studies.learning.backbones import weights_of
from studies.learning.fit import Batches, Examples
from studies.paths import StudyError
from studies.relevance.captions import kept_table
from studies.relevance.data import Collection
from studies.relevance.params import Features, Parameters, Pixels, Reading

if TYPE_CHECKING:
    import datasets

BEGIN, PAD, END = "<s>", "<pad>", "</s>"
POOL = 50  # batches whose texts are sorted by length together


@dataclass(frozen=True)
class Words:
    """A tokenizer, with the numbers of the tokens that begin, end and fill up a text."""

    tokenizer: Tokenizer
    begin: int
    end: int
    pad: int

    def __post_init__(self) -> None:
        # "<pad>" in a caption is what somebody wrote
        self.tokenizer.encode_special_tokens = True

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, without what begins and ends them."""
        # the space makes a text the same tokens alone and behind another
        spaced = [f" {text}" for text in texts]
        encoded = self.tokenizer.encode_batch(spaced, add_special_tokens=False)
        return [one.ids for one in encoded]

    def to_json(self) -> str:
        """Return everything that `from_json` needs."""
        numbers = {"begin": self.begin, "end": self.end, "pad": self.pad}
        return json.dumps({**numbers, "tokenizer": self.tokenizer.to_str()})

    @classmethod
    def from_json(cls, text: str) -> "Words":
        """Return what `to_json` gave."""
        values = json.loads(text)
        return cls(**values | {"tokenizer": Tokenizer.from_str(values["tokenizer"])})


def words(encoder: Reading, texts: Iterable[str]) -> Words:
    """Return the tokenizer of an encoder; one without a published encoder is learnt from texts.

    Raises StudyError when a published tokenizer is not there or is none of the `tokenizers`
    library.
    """
    if encoder.name == "published":
        return published(encoder.weights)
    learnt = ByteLevelBPETokenizer()
    plan = {"vocab_size": encoder.vocabulary, "special_tokens": [BEGIN, PAD, END]}
    learnt.train_from_iterator(texts, show_progress=False, **plan)
    return Words(learnt._tokenizer, *(learnt.token_to_id(one) for one in (BEGIN, END, PAD)))


def published(weights: str) -> Words:
    """Return a published tokenizer."""
    # imported late: transformers takes seconds
    from transformers import AutoTokenizer

    with weights_of(weights) as source:
        whole = AutoTokenizer.from_pretrained(source)
        begin = whole.cls_token_id if whole.cls_token_id is not None else whole.bos_token_id
        end = whole.sep_token_id if whole.sep_token_id is not None else whole.eos_token_id
        found = Words(whole.backend_tokenizer, begin, end, whole.pad_token_id)
    if None in (found.begin, found.end, found.pad):
        raise StudyError(
            f"encoder.weights: the tokenizer at {weights} lacks a token that begins, ends or fills "
            "up a text; give an encoder such as RoBERTa"
        )
    # limits and paddings are the batch's business
    found.tokenizer.no_truncation()
    found.tokenizer.no_padding()
    return found


def tokenized(texts: "datasets.Dataset", words: Words, fingerprint: str) -> "datasets.Dataset":
    """Return `tokens` and their number, `length`, of the column `text`, memory-mapped.

    They are kept below `cache/relevance`; `fingerprint` names the texts: the same name stands for
    the same texts. Raises StudyError when the cache cannot be written.
    """

    def encode(batch: dict[str, list[str]]) -> dict[str, list]:
        tokens = words.tokens(batch["text"])
        return {"tokens": tokens, "length": [len(one) for one in tokens]}

    def encode_all(partial: Path) -> None:
        plan = {"batched": True, "remove_columns": texts.column_names, "desc": "tokenizing"}
        texts.map(encode, cache_file_name=str(partial), **plan)

    return kept_table("tokens", f"{fingerprint} {words.to_json()}", encode_all)


@dataclass(eq=False)
class Texts(Dataset):
    """Batches of captions or examples: row numbers in, a batch out.

    Args:
        words: the tokenizer of `captions` and `sentences`.
        captions: the tokens of N captions, see `tokenized`.
        target: (N,), their class numbers.
        weight: (N,), what each caption counts.
        longest: tokens of a text, its begin and end included; what is longer is cut.
        pairs: (E, 2), the caption and the sentence of each example; None for captions alone.
        sentences: tokens of S sentences; None for captions alone.
        appended: whether the sentence of an example is read, of which the length is in any case.
        apart: whether every other example of a batch is its sentence alone, and else its caption.

    """

    words: Words
    captions: "datasets.Dataset"
    target: np.ndarray
    weight: np.ndarray
    longest: int
    pairs: np.ndarray | None = None
    sentences: Sequence[list[int]] | None = None
    appended: bool = True
    apart: bool = False

    def __post_init__(self) -> None:
        lengths = self.captions.data.column("length").to_numpy().astype(np.int64)
        if self.pairs is not None:
            behind = np.array([len(one) for one in self.sentences])
            lengths = lengths[self.pairs[:, 0]] + behind[self.pairs[:, 1]]
        self.lengths = np.minimum(lengths + 2, self.longest)

    def __getitem__(self, rows: Sequence[int]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return tokens (B, L), which of them are real (B, L), classes (B,) and weights (B,)."""
        chosen = np.asarray(rows)
        captions = chosen if self.pairs is None else self.pairs[chosen, 0]
        texts = self.captions[captions]["tokens"]
        if self.pairs is not None and self.appended:
            behind = [self.sentences[one] for one in self.pairs[chosen, 1]]
            both = zip(texts, behind, strict=True)
            if self.apart:
                texts = [two[place % 2] for place, two in enumerate(both)]
            else:
                texts = [joined(*two, self.longest - 2) for two in both]
        return (
            *padded(self.words, texts, self.longest),
            torch.from_numpy(self.target[captions]),
            torch.from_numpy(self.weight[captions]).float(),
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


class Pictures(Examples):
    """Batches of images: row numbers in; inputs (B, ...), classes (B,) and weights (B,) out."""

    def __init__(self, inputs: np.ndarray, target: np.ndarray, weight: np.ndarray) -> None:
        super().__init__(inputs, target, weight.astype(np.float32))
        self.inputs = inputs
        # images are of one length, so that batches of texts and of images are drawn alike
        self.lengths = np.ones(len(target), dtype=np.int64)


def image_inputs(encoder: Pixels | Features, files: Sequence[Path], root: Path) -> np.ndarray:
    """Return what a network reads of images, in their order, memory-mapped.

    (N, 3, S, S) uint8 pixels, or (N, F) features. Raises StudyError when an image is missing or
    cannot be read.
    """
    if encoder.name == "features":
        return features(files, root, encoder.weights)
    return images.load(files, encoder.size, root)


def items(
    parameters: Parameters,
    collection: Collection,
    words: Words | None,
    weight: np.ndarray | None = None,
) -> Texts | Pictures:
    """Return what a system reads: all captions, each alone, or all images.

    `words` is the tokenizer, None of a system that looks at images; `weight` (N,) is what each
    caption counts, None for 1.
    """
    weight = np.ones(len(collection.target)) if weight is None else weight
    if words is None:
        inputs = image_inputs(parameters.encoder, collection.files, collection.root)
        return Pictures(inputs, collection.target, weight)
    captions = tokenized(collection.captions, words, collection.fingerprint)
    return Texts(words, captions, collection.target, weight, parameters.max_tokens)


class ByLength(Batches):
    """Batches of rows of about one length: in every epoch `draws` of them, drawn afresh.

    Each row comes as often as any other, or once more, and batches come in random order; without a
    seed, once each, the longest first.
    """

    def __init__(
        self,
        rows: np.ndarray,
        lengths: np.ndarray,
        size: int,
        seed: int | None = None,
        draws: int | None = None,
    ) -> None:
        super().__init__(rows, size, seed)
        self.lengths, self.draws = lengths, len(rows) if draws is None else draws

    def __iter__(self) -> Iterator[list[int]]:
        if self.seed is None:
            yield from self._cut(self.rows)
            return
        rng, pool = np.random.default_rng([self.seed, self.epoch]), self.size * POOL
        rounds = [rng.permutation(self.rows) for _ in range(-(-self.draws // len(self.rows)))]
        rows = rng.permutation(np.concatenate(rounds)[: self.draws])
        pools = (rows[start : start + pool] for start in range(0, len(rows), pool))
        batches = [batch for one in pools for batch in self._cut(one)]
        for place in rng.permutation(len(batches)):
            yield batches[place]

    def __len__(self) -> int:
        return -(-self.draws // self.size)

    def _cut(self, rows: np.ndarray) -> Iterator[list[int]]:
        """Yield rows in batches, the longest first."""
        longest_first = rows[np.argsort(-self.lengths[rows], kind="stable")]
        for start in range(0, len(rows), self.size):
            yield longest_first[start : start + self.size].tolist()
