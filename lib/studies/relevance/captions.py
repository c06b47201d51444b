"""Captions of images as plain text, and as a table on disk: of ImageNet-Captions, of Flickr8k.

A. Fang et al., *Data determines distributional robustness in contrastive language-image
pre-training (CLIP)*, ICML 2022. M. Hodosh, P. Young, J. Hockenmaier, *Framing image description as
a ranking task*, JAIR 47, 2013.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from studies import paths
from studies.inputs.reading import read_text
from studies.inputs.tables import read_lines, token_captions
from studies.paths import StudyError
from studies.runs.files import made_once
from studies.runs.params import read_yaml

if TYPE_CHECKING:
    from datasets import Dataset, Features

LIMIT = 2000  # characters; RoBERTa reads 512 tokens, which are about as many
NAME = re.compile(r"[^/\\]*[^/\\ .][^/\\]*")  # no path and neither "." nor ".."
# none looks far where many begin and none ends
COMMENT = re.compile(r"<!--((?!<!--).)*?-->", re.DOTALL)
UNSHOWN = re.compile(r"<(script|style)\b[^<>]*(?<!/)>.*?(</\1\s*>|$)", re.DOTALL | re.IGNORECASE)
TAG = re.compile(r"<(?:/?([a-zA-Z][^\s<>/]*)|[/?!])[^<>]*>")  # not as in "I <3 dogs"
# tags inside a word, which others part
INLINE = re.compile(
    "a|abbr|b|bdi|bdo|big|cite|code|em|font|i|ins|mark|q|s|small|span|strike|strong|sub|sup|tt|u|wbr"
)

NO_CLASS = "its wnid is none of the classes"
NO_TEXT = "it has no text"
ONE_WORD = "its text is a single word"
TWICE = "another caption of this image is kept"
REASONS = (NO_CLASS, NO_TEXT, ONE_WORD, TWICE)  # in the order in which they are asked

REMEDY = "put the published file there or point STUDIES_DATA at the folder that holds it"

VERSION = 2  # raise it whenever the same captions give another table
COLUMNS = {
    **dict.fromkeys(("image", "wnid", "text"), "string"),
    "relevant": "bool",  # null where nobody knows
    "reason": "string",  # why it is dropped before training, or empty
}


class Caption(NamedTuple):
    """What the web says of an image.

    Attributes:
        image: the name of its file, such as `n03146219_27278.JPEG`.
        wnid: the WordNet id of its class.
        text: title and description, plain.
        relevant: whether the text describes the class; None where nobody knows.

    """

    image: str
    wnid: str
    text: str
    relevant: bool | None = None


def imagenet_captions(file: Path, limit: int = LIMIT) -> Iterator[Caption]:
    """Yield the captions of ImageNet-Captions' JSON, in their order, see `caption`.

    Raises StudyError when the file is missing, no UTF-8, or no list of such records.
    """
    try:
        records = json.loads(read_text(file, REMEDY))
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{file}: is damaged ({error}); fetch it again") from None
    if not isinstance(records, list) or not records:
        raise StudyError(f"{file}: lists no record; fetch it again")
    for number, record in enumerate(records, 1):
        where = f"{file} record {number}"
        if not isinstance(record, dict):
            raise StudyError(f"{where}: is no record; fetch it again")
        image, wnid, *parts = (
            text_of(where, record, name) for name in ("filename", "wnid", "title", "description")
        )
        for name in (image, wnid):  # which may become part of a path
            if not name.isprintable() or not NAME.fullmatch(name):
                raise StudyError(
                    f"{where}: {name[:60]!r} is no file name and no wnid; use the published file"
                )
        yield Caption(image, wnid, joined(parts, limit))


class Concept(NamedTuple):
    """A class of `flickr8k_noise`: its name, its siblings' group, what names it, what it is."""

    name: str
    group: str
    words: re.Pattern
    definition: str


def concepts() -> list[Concept]:
    """Return the classes of `concepts.yaml`."""
    table = read_yaml(Path(__file__).with_name("concepts.yaml"))
    return [
        Concept(name, group, re.compile(rf"\b(?:{words})\b", re.IGNORECASE), definition)
        for group, classes in table.items()
        for name, (words, definition) in classes.items()
    ]


def flickr8k(file: Path) -> tuple[list[str], list[list[str]]]:
    """Return the images of Flickr8k's splits and the five captions of each, of its token file.

    Its lists of the splits lie beside it; it has captions of other images, also of one that does
    not exist. Left out is what has fewer captions. Raises StudyError as `token_captions`.
    """
    five = token_captions(file).pivot(index="image", columns="number", values="caption").dropna()
    lists = [file.with_name(f"Flickr_8k.{part}Images.txt") for part in ("train", "dev", "test")]
    listed = pd.concat(read_lines(one, "(?P<image>.+)", "an image") for one in lists)
    five = five[five.index.isin(listed["image"])]
    return [*five.index], five.to_numpy().tolist()


def naming(captions: Sequence[Sequence[str]], classes: Sequence[Concept]) -> np.ndarray:
    """Return whether each of K captions of N images names each class, (N, K, C) bool."""
    # one search in all captions, a line each, is many times as fast as one in each
    lines = [line for own in captions for line in own]
    begins = np.cumsum([0, *(len(line) + 1 for line in lines)])
    found = np.zeros((len(lines), len(classes)), dtype=bool)
    for number, one in enumerate(classes):
        places = [match.start() for match in one.words.finditer("\n".join(lines))]
        found[np.searchsorted(begins, places, "right") - 1, number] = True
    return found.reshape(len(captions), -1, len(classes))


def only_class(names: np.ndarray, least: int) -> np.ndarray:
    """Return the class of each image, (N,): the one that `least` captions but the first name.

    -1 where there is none, or more than one. `names` is what `naming` returns.
    """
    enough = names[:, 1:].sum(axis=1) >= least
    return np.where(enough.sum(axis=1) == 1, enough.argmax(axis=1), -1)


def replaced(
    target: np.ndarray,
    parts: np.ndarray,
    names: np.ndarray,
    groups: np.ndarray,
    noise: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Return for each of N images whose first caption stands for its own, (N,): noise with truth.

    `target` (N,) are classes, -1 for none, and `groups` (C,) those of siblings. With the
    probability `noise` (N,), the caption of an image of a class is that of another
    image of the part, none of whose captions names the class (`names`, as of `naming`): by lot of a
    sibling class, of another class, or of none; where there is no such image, of the next of
    these kinds. A higher noise replaces the same captions and more.
    """
    rng, of_class = np.random.default_rng(seed), names.any(axis=1)
    chosen = np.arange(len(target))
    for row in np.flatnonzero(target >= 0):
        own = target[row]
        free = (parts == parts[row]) & ~of_class[:, own]
        other = free & (target >= 0) & (target != own)
        kinds = [other & (groups[target] == groups[own]), other, free & (target < 0)]
        # drawn in any case, so that no image depends on the noise of others
        chance, kind, place = rng.random(3)
        asked = np.roll(range(3), -int(3 * kind))
        donors = next((found for k in asked if len(found := np.flatnonzero(kinds[k]))), [row])
        if chance < noise[row]:
            chosen[row] = donors[int(len(donors) * place)]
    return chosen


def masked(text: str, classes: Iterable[Concept]) -> str:
    """Return a text without the words that name a class."""
    for one in classes:
        text = one.words.sub(" ", text)
    return " ".join(text.split())


def text_of(where: str, record: dict, field: str) -> str:
    """Return a text of a record, empty where there is none."""
    text = record.get(field)
    if not isinstance(text, str | None):
        raise StudyError(
            f"{where}: `{field}` is no text, {str(text)[:60]!r}; use the published file"
        )
    return text or ""


def joined(parts: Iterable[str], limit: int = LIMIT) -> str:
    """Return title and description as one text of at most `limit` characters, see `plain`."""
    return cut(" ".join(filter(None, map(plain, parts))), limit)


def sifted(captions: Iterable[Caption], classes: Container[str]) -> Iterator[tuple[Caption, str]]:
    """Yield each caption with the reason why it is dropped, empty where it is kept.

    Kept are texts of several words whose wnid is one of `classes`; of several such captions with
    the same file name, the first.
    """
    kept: set[str] = set()
    for caption in captions:
        if caption.wnid not in classes:
            yield caption, NO_CLASS
        elif not caption.text:
            yield caption, NO_TEXT
        elif not several_words(caption.text):
            yield caption, ONE_WORD
        elif caption.image in kept:
            yield caption, TWICE
        else:
            kept.add(caption.image)
            yield caption, ""


def several_words(text: str) -> bool:
    """Return whether a text has more than one word.

    A word is what white space parts and has a letter or digit of any script, so "Boeing 747" are
    two, and "DSC_0123", "T-shirt" and "Hello !" one. Where words are written without spaces, as in
    Japanese, Chinese or Thai, what stands between two spaces counts as one word: such a caption is
    kept when it has a space, as there is between title and description.
    """
    return sum(any(map(str.isalnum, word)) for word in text.split()) > 1


def plain(markup: str) -> str:
    """Return what a reader sees of a text with HTML, with single spaces.

    Tags, comments, scripts and styles go, entities become characters; what only looks like a tag,
    as in "I <3 dogs", stays. Lone surrogates and control characters, which no file of the dataset
    can hold, go as well.
    """
    shown = UNSHOWN.sub(" ", COMMENT.sub("", markup))
    shown = TAG.sub(lambda tag: "" if INLINE.fullmatch((tag[1] or "b").lower()) else " ", shown)
    shown = " ".join(unescape(shown).split())
    if shown.isprintable():
        return shown
    shown = "".join(one for one in shown if unicodedata.category(one) not in ("Cc", "Cs"))
    return " ".join(shown.split())  # a character may have been all that parted two spaces


def cut(text: str, limit: int) -> str:
    """Return as many whole words of a text as `limit` characters hold; of a longer word a part."""
    if len(text) <= limit:
        return text
    words, space, _ = text[: limit + 1].rpartition(" ")
    return words if space else text[:limit]


def features() -> "Features":
    """Return the columns of a table of captions."""
    from datasets import Features, Value

    return Features({name: Value(kind) for name, kind in COLUMNS.items()})


def table(
    captions: Callable[[], Iterable[Caption]], classes: Iterable[str], *origin: object
) -> "Dataset":
    """Return every caption with the reason why it is dropped before training, memory-mapped.

    `captions` is called when there is no such table below `cache/relevance` yet; it is named by
    `classes` and by `origin`, which says where the captions come from. Raises StudyError when the
    cache cannot be written, and whatever `captions` raises.
    """
    from datasets.arrow_writer import ArrowWriter  # late: it costs a third of torch

    known = sorted(classes)

    def fill(partial: Path) -> None:
        with ArrowWriter(path=str(partial), features=features()) as writer:
            rows = sifted(captions(), frozenset(known))
            for caption, reason in tqdm(rows, desc="reading captions", unit="caption", delay=2):
                writer.write({**caption._asdict(), "reason": reason})
            writer.finalize()

    return kept_table("captions", repr((VERSION, known, origin)), fill)


def kept_table(name: str, key: str, fill: Callable[[Path], object]) -> "Dataset":
    """Return the table below `cache/relevance` of a key, which `fill` writes at the first call.

    It is memory-mapped. Raises StudyError when the cache cannot be written.
    """
    from datasets import Dataset

    digest = hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
    file = paths.cache() / "relevance" / f"{name}-{digest}.arrow"
    return Dataset.from_file(str(made_once(file, fill)))
