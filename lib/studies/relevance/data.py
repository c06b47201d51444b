"""What a run reads: captions, class texts and their sentences, and the parts they fall into."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import datasets
import numpy as np
import pandas as pd

import kitchen
from studies import demo, paths
from studies.inputs.splits import refuse_empty
from studies.paths import StudyError
from studies.relevance import examples, sentences
from studies.relevance.captions import imagenet_captions, of_records
from studies.relevance.params import FILE, TEXTS, Parameters
from studies.relevance.table import table

WEB = 1  # raise it whenever the kitchen's web texts are others: tables made before are left alone


@dataclass(frozen=True)
class Collection:
    """Captions of images, each of a class that a text describes.

    Attributes:
        everything: a table of all captions that were found, see `table`.
        wnids: the classes, in order.
        names: what each is called.
        texts: the class text of each.
        sentences: the sentences of each that go with its captions.
        folders: where the images of each class are; None where there are no images.

    """

    everything: datasets.Dataset
    wnids: list[str]
    names: list[str]
    texts: list[str]
    sentences: list[list[str]]
    folders: dict[str, Path] | None

    @cached_property
    def captions(self) -> datasets.Dataset:
        """Return the table of the N captions that are not dropped before training."""
        return self.everything.select(np.flatnonzero(self._column("reason") == ""))

    @cached_property
    def reasons(self) -> dict[str, int]:
        """Return how many captions are dropped before training, by reason."""
        counts = Counter(self._column("reason"))
        del counts[""]
        return dict(counts)

    @cached_property
    def by_wnid(self) -> dict[str, str]:
        """Return the names of the classes by wnid."""
        return dict(zip(self.wnids, self.names, strict=True))

    @cached_property
    def target(self) -> np.ndarray:
        """Return the class number of each caption, (N,)."""
        place = {wnid: number for number, wnid in enumerate(self.wnids)}
        return np.array([place[wnid] for wnid in self.captions["wnid"]], dtype=np.int64)

    @cached_property
    def relevant(self) -> np.ndarray:
        """Return whether each caption describes its class, (N,): 1, 0, or nan where unknown."""
        return np.array(self.captions["relevant"], dtype=np.float64)

    @cached_property
    def fingerprint(self) -> str:
        """Return a digest of captions and class texts."""
        digest = hashlib.blake2b(repr((self.wnids, self.texts)).encode(), digest_size=16)
        for batch in self.everything.iter(10_000):
            digest.update(repr(batch).encode())
        return digest.hexdigest()

    @cached_property
    def files(self) -> list[Path] | None:
        """Return the image of each caption, N of them; None where there are no images."""
        if self.folders is None:
            return None
        places = zip(self.captions["wnid"], self.captions["image"], strict=True)
        return [self.folders[wnid] / name for wnid, name in places]

    def pairs(self) -> tuple[list[str], np.ndarray]:
        """Return all sentences, (S,), and the examples: rows of captions and sentences, (E, 2)."""
        flat = [sentence for chosen in self.sentences for sentence in chosen]
        return flat, examples.pairs(self.target, self.sentence_classes())

    def sentence_classes(self) -> np.ndarray:
        """Return the class number of each sentence, (S,)."""
        return np.repeat(np.arange(len(self.wnids)), [len(one) for one in self.sentences])

    def _column(self, name: str) -> np.ndarray:
        return self.everything.data.column(name).to_numpy(zero_copy_only=False)


def read(parameters: Parameters) -> Collection:
    """Return the collection that the parameters name; raises StudyError when it is not there."""
    parameters.require_data()
    source = parameters.source
    if source.name == "kitchen":
        return from_kitchen(parameters)
    folder = paths.data() / FILE.parent
    names, texts = collected(folder / TEXTS)
    file = paths.data() / FILE
    images = paths.data() / source.images if source.images else None
    with file.open("rb") as stream:
        whence = hashlib.file_digest(stream, "blake2b").hexdigest()
    found = table(
        lambda: imagenet_captions(file, parameters.characters),
        texts,
        *(source.name, parameters.characters, whence),
    )
    folders = {wnid: images / wnid for wnid in texts} if images else None
    return collection(parameters, found, names, texts, folders)


def from_kitchen(parameters: Parameters) -> Collection:
    """Return the embedded demo: what the web says of plates, with its truth."""
    source = parameters.source
    root = demo.kitchen(source.per_variant, source.seed) / "images"
    plates = kitchen.plates(source.per_variant, source.seed)

    def records() -> Iterator[tuple[str, dict]]:
        for plate in plates:
            record = kitchen.web(plate, source.seed)._asdict()
            yield plate.id, {"filename": f"{plate.id}.png", "wnid": plate.variant, **record}

    names = {plate.variant: plate.variant.replace("_", " ") for plate in plates}
    found = table(
        lambda: of_records(records(), parameters.characters),
        names,
        *(source.name, parameters.characters, WEB, source.per_variant, source.seed),
    )
    folders = {
        plate.variant: root / plate.category / plate.dish / plate.variant for plate in plates
    }
    texts = {variant: kitchen.article(variant) for variant in names}
    return collection(parameters, found, names, texts, folders)


def collected(file: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return names and texts of classes by wnid, as `studies.relevance.collect` wrote them."""
    try:
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
        # a row that is cut short has empty cells
        empty = frame[["wnid", "class", "text"]].eq("").any(axis=None)
        if not len(frame) or frame["wnid"].duplicated().any() or empty:
            raise ValueError("no class, one twice, or an empty cell")
        by_wnid = frame.set_index("wnid")
        return by_wnid["class"].to_dict(), by_wnid["text"].to_dict()
    except (OSError, ValueError, KeyError) as error:
        said = " ".join(str(error).split())
        raise StudyError(
            f"{file}: no table of class texts with the columns wnid, class, text ({said}); delete "
            "it and collect the class texts again"
        ) from None


def collection(
    parameters: Parameters,
    found: datasets.Dataset,
    names: dict[str, str],
    texts: dict[str, str],
    folders: dict[str, Path] | None,
) -> Collection:
    """Return the collection of a table and class texts; raises StudyError when it is empty."""
    given = parameters.sentences
    chosen = sentences.of_classes(texts, given.fewest, given.most, given.choice, given.seed)
    wnids = sorted(texts)
    collected = Collection(
        everything=found,
        wnids=wnids,
        names=[names[wnid] for wnid in wnids],
        texts=[texts[wnid] for wnid in wnids],
        sentences=[chosen[wnid] for wnid in wnids],
        folders=folders,
    )
    if not len(collected.captions):
        raise StudyError(
            f"none of {len(found):,} captions has several words and a class with a text; see that "
            "the captions are those published, and collect the texts of more classes"
        )
    return collected


def split(collection: Collection, parameters: Parameters) -> np.ndarray:
    """Return the part of each caption, (N,) `train`, `validation` or `test`.

    Training and test by `examples.split`; validation is drawn from the training captions of
    classes that are not rare. Raises StudyError when a part would be empty.
    """
    rng = np.random.default_rng(parameters.split_seed)
    rare, classes = parameters.rare, collection.sentence_classes()
    parts = examples.split(
        collection.target,
        classes,
        rng,
        test_share=parameters.test_share,
        rare=rare.examples,
        rare_train=rare.train,
        rare_test=rare.test,
    ).astype("<U10")
    per_class = np.bincount(collection.target, minlength=len(collection.wnids))
    common = per_class * np.bincount(classes, minlength=len(collection.wnids)) > rare.examples
    known = np.flatnonzero((parts == "train") & common[collection.target])
    count = round(parameters.validation_share * np.sum(parts == "train"))
    parts[rng.permutation(known)[:count]] = "validation"
    refuse_empty(parts, paths.data() / FILE.parent, "captions")
    return parts
