"""Texts as tokens: a tokenizer, tokens on disk, batches of examples of about one length."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import datasets
import numpy as np
from tokenizers import ByteLevelBPETokenizer, Tokenizer

from studies import paths
from studies.paths import StudyError
from studies.relevance.systems import Reading
from studies.runs.files import unwritable

BEGIN, PAD, END = "<s>", "<pad>", "</s>"


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
        given = json.loads(text)
        return cls(**given | {"tokenizer": Tokenizer.from_str(given["tokenizer"])})


def words(encoder: Reading, texts: Iterable[str]) -> Words:
    """Return the tokenizer of an encoder; one without a published encoder is learnt from texts.

    Raises StudyError when a published tokenizer is not there or is none of the `tokenizers`
    library.
    """
    if encoder.name == "published":
        return published(encoder.weights)
    learnt = ByteLevelBPETokenizer()
    special = [BEGIN, PAD, END]
    learnt.train_from_iterator(
        texts, vocab_size=encoder.vocabulary, special_tokens=special, show_progress=False
    )
    return Words(learnt._tokenizer, *(learnt.token_to_id(one) for one in (BEGIN, END, PAD)))


def published(weights: str) -> Words:
    """Return a published tokenizer."""
    # imported late: transformers takes seconds
    from transformers import AutoTokenizer

    try:
        whole = AutoTokenizer.from_pretrained(weights)
        begin = whole.cls_token_id if whole.cls_token_id is not None else whole.bos_token_id
        end = whole.sep_token_id if whole.sep_token_id is not None else whole.eos_token_id
        found = Words(whole.backend_tokenizer, begin, end, whole.pad_token_id)
    except Exception as error:  # which one depends on what is missing or damaged
        raise StudyError(
            f"encoder.weights: no tokenizer at {weights} ({type(error).__name__}); give the name "
            "of a text encoder on the hub, or a folder that save_pretrained wrote"
        ) from error
    if None in (found.begin, found.end, found.pad):
        raise StudyError(
            f"encoder.weights: the tokenizer at {weights} lacks a token that begins, ends or fills "
            "up a text; give an encoder such as RoBERTa"
        )
    # limits and paddings are the batch's business
    found.tokenizer.no_truncation()
    found.tokenizer.no_padding()
    return found


@dataclass(frozen=True)
class Tokens:
    """Tokens of texts, memory-mapped: `rows(...)` returns those of some of them."""

    table: datasets.Dataset
    lengths: np.ndarray  # (N,)

    def rows(self, numbers: np.ndarray) -> list[list[int]]:
        """Return the tokens of some texts."""
        return self.table[np.asarray(numbers)]["tokens"]


def tokenized(texts: datasets.Dataset, words: Words, whose: str) -> Tokens:
    """Return the tokens of the column `text`, kept below `cache/relevance`.

    `whose` names the texts: the same name stands for the same texts. Raises StudyError when the
    cache cannot be written.
    """
    said = f"{whose} {words.to_json()}"
    name = hashlib.blake2b(said.encode(), digest_size=12).hexdigest()
    file = paths.cache() / "relevance" / f"tokens-{name}.arrow"

    def encode(batch: dict[str, list[str]]) -> dict[str, list]:
        found = words.tokens(batch["text"])
        return {"tokens": found, "length": [len(one) for one in found]}

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        table = texts.map(
            encode,
            batched=True,
            remove_columns=texts.column_names,
            cache_file_name=str(file),
            new_fingerprint=name,
            desc="tokenizing",
        )
    except OSError as error:
        raise unwritable(file, error) from error
    return Tokens(table, table.data.column("length").to_numpy().astype(np.int64))
