"""The sentences of a class text, and which of them go with the captions of the class."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np

from studies.paths import StudyError
from studies.runs.params import read_yaml

Choice = Literal["longest", "random"]

# the end of a sentence and what closes after it; no space follows in Chinese and Japanese
END = re.compile(r"(?<![.!?…])(?P<mark>[.!?…]++)[\"'”’»)\]]*+(?= )|[。！？]+[」』”）]*|\n")
NEXT = re.compile(r"[\"'“‘«(\[¿¡\s]*(\w*\.?)")  # a dot: initials go on
WORD = re.compile(r"[^\s\"'“‘«(\[¿¡]*$")
INITIALS = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # A.A. of A.A. Milne, also U.S.
WINDOW = 40  # characters; no abbreviation is longer


_WORDS = read_yaml(Path(__file__).with_name("abbreviations.yaml"))
BEFORE, NUMBERED, EITHER, STARTERS = (
    frozenset(_WORDS[name].split()) for name in ("before", "numbered", "either", "starters")
)


def split(text: str) -> list[str]:
    """Return the sentences of a text, in their order, with single spaces.

    One ends at `.`, `!`, `?` or `…` before a space and anything but a small letter; at `。`, `！`
    and `？`; and at a line break. It does not at the dot of a common English abbreviation or an
    initial; where these may end a sentence too, as in "U.S." and "vitamin C.", it does before a
    usual first word. What has no letter, as the "1." of a list, goes with what follows, or at the
    end with what precedes.
    """
    text = re.sub(r"\s*\n\s*", "\n", re.sub(r"[^\S\n]+", " ", text))
    begins = [0]
    seen = 0
    lettered = False  # whether the sentence has a letter before `seen`
    for end in END.finditer(text):
        lettered = lettered or any(map(str.isalpha, text[seen : end.end()]))
        seen = end.end()
        if lettered and (end["mark"] is None or _ends(text, end)):
            begins.append(seen)
            lettered = False
    if len(begins) > 1 and not any(map(str.isalpha, text[begins[-1] :])):
        begins.pop()
    sentences = (" ".join(text[slice(*ends)].split()) for ends in pairwise([*begins, None]))
    return [one for one in sentences if one]


def _ends(text: str, end: re.Match) -> bool:
    """Return whether a sentence ends at a Latin mark."""
    following = NEXT.match(text, end.end())[1]
    if following[:1].islower():
        return False
    if end.group() != ".":
        return True
    word = WORD.search(text[max(0, end.start() - WINDOW) : end.start()])[0]
    plain = word.lower()
    if plain in BEFORE or (plain in NUMBERED and following[:1].isdigit()):
        return False
    if plain in EITHER or INITIALS.fullmatch(word):
        return following in STARTERS
    return True


def choose(
    sentences: Sequence[str], most: int, choice: Choice, rng: np.random.Generator
) -> list[str]:
    """Return up to `most` sentences, each once, in their order.

    `longest` takes those of most characters, of equally long ones the first; `random` draws from
    `rng`.
    """
    distinct = list(dict.fromkeys(sentences))
    longest = np.argsort([-len(one) for one in distinct], kind="stable")
    places = longest if choice == "longest" else rng.permutation(len(distinct))
    return [distinct[place] for place in sorted(places[:most])]


def of_classes(
    texts: Mapping[str, str], fewest: int, most: int, choice: Choice, seed: int
) -> dict[str, list[str]]:
    """Return the sentences of each class that go with its captions, by wnid, see `choose`.

    What is drawn for a class does not depend on the others. Raises StudyError when a text has
    fewer than `fewest` distinct sentences.
    """
    chosen = {}
    for wnid, text in texts.items():
        rng = np.random.default_rng([seed, *map(ord, wnid)])
        chosen[wnid] = choose(split(text), most, choice, rng)
        if (count := len(chosen[wnid])) < fewest:
            raise StudyError(
                f"{wnid}: its text has too few sentences ({count} of {fewest}); give the class "
                "another article or remove it"
            )
    return chosen
