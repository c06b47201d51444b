"""Captions as an Arrow table on disk: written once, memory-mapped whenever they are read."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
from datasets.arrow_writer import ArrowWriter
from tqdm.auto import tqdm

from studies import paths
from studies.relevance.captions import Caption, sifted
from studies.runs.files import write_atomic

# Raise it whenever the same captions give another table.
VERSION = 1
FEATURES = datasets.Features(
    {
        "image": datasets.Value("string"),
        "wnid": datasets.Value("string"),
        "text": datasets.Value("string"),
        "relevant": datasets.Value("bool"),  # null where nobody knows
        "reason": datasets.Value("string"),  # why it is dropped before training, or empty
    }
)


def table(
    captions: Callable[[], Iterable[Caption]], classes: Iterable[str], *given: object
) -> datasets.Dataset:
    """Return every caption with the reason why it is dropped before training, memory-mapped.

    `captions` is called when there is no such table below `cache/relevance` yet; it is named by
    `classes` and by `given`, which say where the captions come from. A few are in memory at a time.
    Raises StudyError when the cache cannot be written, and whatever `captions` raises.
    """
    known = sorted(classes)
    said = repr((VERSION, known, given))
    name = hashlib.blake2b(said.encode(), digest_size=12).hexdigest()
    file = paths.cache() / "relevance" / f"captions-{name}.arrow"
    if not file.exists():
        write_atomic(file, lambda partial: fill(partial, captions(), frozenset(known)))
    return datasets.Dataset.from_file(str(file))


def fill(file: Path, captions: Iterable[Caption], classes: frozenset[str]) -> None:
    """Write the table."""
    with ArrowWriter(path=str(file), features=FEATURES) as writer:
        bar = tqdm(sifted(captions, classes), desc="reading captions", unit="caption", delay=2)
        for caption, reason in bar:
            writer.write({**caption._asdict(), "reason": reason})
        writer.finalize()
