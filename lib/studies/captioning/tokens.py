"""Words and their numbers: a word-level tokenizer made from training captions."""

import sys
from collections.abc import Iterable, Sequence
from itertools import takewhile

import torch
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFKC, Lowercase, Replace
from tokenizers.normalizers import Sequence as Steps
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.trainers import WordLevelTrainer
from torch import Tensor

from studies.paths import StudyError

PAD, BOS, EOS, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")


class Words:
    """A vocabulary: texts to rows of word numbers and back.

    Words are in lower case, without punctuation but for apostrophes and hyphens inside them, which
    is what the metrics look at.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size()

    @classmethod
    def learn(cls, captions: Iterable[str], min_count: int) -> "Words":
        """Return the words that occur in the captions `min_count` times or more, frequent first.

        Raises StudyError when there is none.
        """
        counted = _tokenizer({})
        kept = {"min_frequency": min_count, "vocab_size": sys.maxsize, "special_tokens": [*SPECIAL]}
        counted.train_from_iterator(captions, WordLevelTrainer(show_progress=False, **kept))
        vocabulary = counted.get_vocab()
        if len(vocabulary) == len(SPECIAL):
            raise StudyError(
                f"no word occurs {min_count} times in the training captions; lower min_count"
            )
        return cls(_tokenizer(vocabulary))  # anew: in a caption `<unk>` is a text like others

    @classmethod
    def from_json(cls, text: str) -> "Words":
        """Return a vocabulary that `to_json` gave."""
        return cls(Tokenizer.from_str(text))

    def to_json(self) -> str:
        """Return the vocabulary as the `tokenizers` library stores it."""
        return self.tokenizer.to_str(pretty=True)

    def encode(self, captions: Sequence[str], max_length: int) -> Tensor:
        """Return (N, L) int64: `<bos>`, at most `max_length` words, `<eos>`, then `<pad>`."""
        encoded = self.tokenizer.encode_batch(captions)
        rows = [[BOS, *one.ids[:max_length], EOS] for one in encoded]
        longest = max(map(len, rows))
        return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the words up to the first `<eos>`, joined by spaces."""
        written = takewhile(lambda number: number != EOS, map(int, numbers))
        return " ".join(self.tokenizer.id_to_token(n) for n in written if n not in (PAD, BOS))


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=SPECIAL[UNKNOWN]))
    apart = Regex(
        r"[^\p{L}\p{M}\p{N}'’-]+|(?<![\p{L}\p{M}\p{N}])['’-]+|['’-]+(?![\p{L}\p{M}\p{N}])"
    )
    tokenizer.normalizer = Steps([NFKC(), Lowercase(), Replace(apart, " ")])
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return tokenizer
