"""Web captions of images: what ImageNet-Captions says, as plain text, and as a table on disk.

A. Fang et al., *Data determines distributional robustness in contrastive language-image
pre-training (CLIP)*, ICML 2022.
"""

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tqdm.auto import tqdm

from studies import paths
from studies.inputs.reading import read_text
from studies.paths import StudyError
from studies.runs.files import made_once

if TYPE_CHECKING:
    from datasets import Dataset, Features

LIMIT = 2000  # characters; RoBERTa reads 512 tokens, which are about as many
NO_TAG = re.compile(r"<(?!(?:[a-zA-Z/?]|!(?!--))[^<>]*>)")  # as in "I <3 dogs"
NAME = re.compile(r"[^/\\]*[^/\\ .][^/\\]*")  # no path and neither "." nor ".."
UNSHOWN = ("script", "style")
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
AGAIN = "fetch it again"

VERSION = 1  # raise it whenever the same captions give another table
COLUMNS = {
    "image": "string",
    "wnid": "string",
    "text": "string",
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
    """Yield the captions of ImageNet-Captions' JSON, in their order.

    Raises StudyError as `records` and `of_records`.
    """
    return of_records(records(file), limit)


def of_records(numbered: Iterable[tuple[str, dict]], limit: int = LIMIT) -> Iterator[Caption]:
    """Yield the captions of records in the layout of ImageNet-Captions, each with its place.

    Title and description become one text of at most `limit` characters, see `plain` and `cut`;
    either may be empty, null or missing, and both are then too. `relevant`, which the published
    file does not have, is the truth of a drawn world. Raises StudyError, which names the record,
    when one has no file name or no wnid.
    """
    for where, record in numbered:
        image, wnid = (_name(where, record, field) for field in ("filename", "wnid"))
        parts = (plain(_text(where, record, field)) for field in ("title", "description"))
        text = cut(" ".join(filter(None, parts)), limit)
        yield Caption(image, wnid, text, record.get("relevant"))


def _name(where: str, record: dict, field: str) -> str:
    """Return a file name or wnid, which may become part of a path."""
    name = record.get(field)
    if name is None or name == "":
        raise StudyError(f"{where}: has no `{field}`; use the published file")
    if not isinstance(name, str) or not name.isprintable() or not NAME.fullmatch(name):
        raise StudyError(
            f"{where}: `{field}` is {str(name)[:60]!r}, which is no name; use the published file"
        )
    return name


def _text(where: str, record: dict, field: str) -> str:
    """Return a text of a record, empty where there is none."""
    text = record.get(field)
    if text is not None and not isinstance(text, str):
        raise StudyError(
            f"{where}: `{field}` is no text, {str(text)[:60]!r}; use the published file"
        )
    return text or ""


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
    shown = markup
    if "<" in markup or "&" in markup:
        reader = _Reader()
        reader.feed(NO_TAG.sub("&lt;", _uncommented(markup)))
        reader.close()
        shown = "".join(reader.shown)
    shown = " ".join(shown.split())
    if shown.isprintable():
        return shown
    shown = "".join(one for one in shown if unicodedata.category(one) not in ("Cc", "Cs"))
    return " ".join(shown.split())  # a character may have been all that parted two spaces


def _uncommented(markup: str) -> str:
    """Return a text without comments, in linear time also where many begin and none ends."""
    first, *others = markup.split("<!--")
    return first + "".join(
        one.partition("-->")[2] if "-->" in one else f"<!--{one}" for one in others
    )


class _Reader(HTMLParser):
    """Collects what is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[str] = []
        self.hidden = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what comes between two words, or hides them."""
        self.hidden = self.hidden or tag in UNSHOWN
        self.shown.append("" if INLINE.fullmatch(tag) else " ")

    def handle_endtag(self, tag: str) -> None:
        """Note what comes between two words, or ends what is hidden."""
        self.hidden = self.hidden and tag not in UNSHOWN
        self.shown.append("" if INLINE.fullmatch(tag) else " ")

    def handle_data(self, data: str) -> None:
        """Keep text."""
        if not self.hidden:
            self.shown.append(data)


def cut(text: str, limit: int) -> str:
    """Return as many whole words of a text as `limit` characters hold; of a longer word a part."""
    if len(text) <= limit:
        return text
    words, space, _ = text[: limit + 1].rpartition(" ")
    return words if space else text[:limit]


def records(file: Path) -> Iterator[tuple[str, dict]]:
    """Yield the objects of a JSON list, each with its place for messages: file and number, from 1.

    Raises StudyError when the file is missing, no UTF-8, or no list of objects.
    """
    try:
        content = json.loads(read_text(file, REMEDY))
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{file}: is damaged ({error}); {AGAIN}") from None
    if not isinstance(content, list) or not content:
        raise StudyError(f"{file}: lists no record; {AGAIN}")
    for number, record in enumerate(content, 1):
        where = f"{file} record {number}"
        if not isinstance(record, dict):
            raise StudyError(f"{where}: is no record; {AGAIN}")
        yield where, record


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
    from datasets import Dataset  # late: it costs a third of torch
    from datasets.arrow_writer import ArrowWriter

    known = sorted(classes)
    key = repr((VERSION, known, origin))
    name = hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
    file = paths.cache() / "relevance" / f"captions-{name}.arrow"

    def fill(partial: Path) -> None:
        with ArrowWriter(path=str(partial), features=features()) as writer:
            rows = sifted(captions(), frozenset(known))
            for caption, reason in tqdm(rows, desc="reading captions", unit="caption", delay=2):
                writer.write({**caption._asdict(), "reason": reason})
            writer.finalize()

    return Dataset.from_file(str(made_once(file, fill)))
