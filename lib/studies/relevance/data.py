"""What a run reads: captions, class texts and their sentences, and the parts they fall into."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

import kitchen
from studies import paths
from studies.inputs import images, reading
from studies.inputs.reading import refuse_empty, tell_parts
from studies.inputs.tables import own_table, read_table, refuse
from studies.paths import StudyError
from studies.relevance import captions as written
from studies.relevance import sentences
from studies.relevance.captions import Caption, concepts, imagenet_captions, joined, table
from studies.relevance.params import CLASSES, FILE, FLICKR8K, TEXTS, Parameters
from studies.runs.folder import LoadedRun
from studies.runs.params import suggestion

if TYPE_CHECKING:
    import datasets

WEB = 1  # raise it whenever the kitchen's web texts are others: tables made before are left alone

IMAGES = "Flicker8k_Dataset"  # as it is published
TRUTH = {"1": True, "true": True, "0": False, "false": False, "": None}

Texts = dict[str, str]  # by wnid
# all captions, names and texts of the classes, where their images are, and the part of each caption
Source = tuple["datasets.Dataset", Texts, Texts, dict[str, Path] | None, np.ndarray | None]


@dataclass(frozen=True)
class Collection:
    """Captions of images, each of a class that a text describes.

    Attributes:
        everything: a table of all captions that were found, see `captions.table`.
        wnids: the classes, in order.
        names: what each is called.
        texts: the class text of each.
        sentences: the sentences of each that go with its captions.
        folders: where the images of each class are; None where there are no images.
        given: the part of each of all captions, where it is published.

    """

    everything: "datasets.Dataset"
    wnids: list[str]
    names: list[str]
    texts: list[str]
    sentences: list[list[str]]
    folders: dict[str, Path] | None
    given: np.ndarray | None = None

    @cached_property
    def reason(self) -> np.ndarray:
        """Return why each of all captions is dropped before training, empty where it is not."""
        return self.everything.data.column("reason").to_numpy(zero_copy_only=False)

    @property
    def official(self) -> np.ndarray | None:
        """Return the published part of each of the N captions; None where there is no split."""
        return None if self.given is None else self.given[self.reason == ""]

    @cached_property
    def captions(self) -> "datasets.Dataset":
        """Return the table of the N captions that are not dropped before training."""
        return self.everything.select(np.flatnonzero(self.reason == ""))

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
    def sentence_counts(self) -> np.ndarray:
        """Return how many sentences each class has, (C,)."""
        return np.array([len(chosen) for chosen in self.sentences])

    @cached_property
    def files(self) -> list[Path]:
        """Return the image of each caption, N of them; raises where there are no images."""
        places = zip(self.captions["wnid"], self.captions["image"], strict=True)
        return [self.folders[wnid] / name for wnid, name in places]

    @property
    def root(self) -> Path:
        """Return the folder that the images of all classes lie in."""
        return Path(os.path.commonpath(self.folders.values()))

    @cached_property
    def fingerprint(self) -> str:
        """Return a digest of captions and class texts."""
        digest = hashlib.blake2b(repr((self.wnids, self.texts)).encode(), digest_size=16)
        for batch in self.everything.iter(10_000):
            digest.update(repr(batch).encode())
        digest.update(b"" if self.given is None else " ".join(self.given).encode())
        return digest.hexdigest()

    def fingerprint_for(self, parameters: Parameters) -> str:
        """Return a digest of what a system reads: captions and class texts, and images if it does.

        Raises StudyError when an image is missing.
        """
        if not parameters.sees_images:
            return self.fingerprint
        both = self.fingerprint + images.fingerprint(self.files, self.root)
        return hashlib.blake2b(both.encode(), digest_size=16).hexdigest()

    def refuse_changed(self, run: LoadedRun, parameters: Parameters) -> None:
        """Raise StudyError when a run, of these parameters, was made with other data."""
        what = "captions, class texts or images than there are now"
        run.refuse_other_data(self.fingerprint_for(parameters), what)

    def pairs(self) -> tuple[list[str], np.ndarray]:
        """Return all sentences, (S,), and the examples: rows of captions and sentences, (E, 2)."""
        flat = [sentence for chosen in self.sentences for sentence in chosen]
        return flat, pairs(self.target, self.sentence_counts)


def pairs(target: np.ndarray, sentence_counts: np.ndarray) -> np.ndarray:
    """Return the rows of each caption with each sentence of its class, (E, 2) int32.

    `target` (N,) are class numbers; the sentences of all classes, `sentence_counts` (C,) of each,
    stand one behind the other. Examples are in the order of captions, and those of a caption in
    that of sentences.
    """
    times = sentence_counts[target]
    rows = np.repeat(np.arange(len(target), dtype=np.int32), times)
    first = np.cumsum(sentence_counts) - sentence_counts  # sentence of each class
    behind = np.arange(len(rows)) - np.repeat(np.cumsum(times) - times, times)
    return np.stack([rows, (first[target][rows] + behind).astype(np.int32)], axis=1)


def read(parameters: Parameters) -> Collection:
    """Return the collection that the parameters name.

    Raises StudyError when it is not there, is not as it should be, or holds no caption.
    """
    parameters.require_data()
    readers = {"kitchen": from_kitchen, "imagenet_captions": published, "table": from_tables}
    readers |= {"flickr8k_noise": flickr8k_noise}
    everything, names, texts, folders, given = readers[parameters.source.name](parameters)
    if parameters.sees_images and folders is None:
        raise StudyError(
            f"{parameters.source.file}: has no column `image`, and {parameters.system} looks at "
            "images; add it, or take an encoder of text"
        )
    chosen = sentences.of_classes(texts, **parameters.sentences.model_dump())
    wnids = sorted(texts)
    by_class = ([of[wnid] for wnid in wnids] for of in (names, texts, chosen))
    result = Collection(everything, wnids, *by_class, folders, given)
    if not len(result.captions):
        raise StudyError(
            f"none of {len(everything):,} captions has several words and a class with a text; see "
            "that the captions are those published, and collect the texts of more classes"
        )
    return result


def published(parameters: Parameters) -> Source:
    """Return ImageNet-Captions, with the class texts that were collected."""
    source, file = parameters.source, paths.data() / FILE
    classes = read_collected(file.with_name(TEXTS), ["class", "text"])
    names, texts = (classes[column].to_dict() for column in ("class", "text"))
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "blake2b").hexdigest()
    everything = table(
        lambda: imagenet_captions(file, parameters.characters),
        texts,
        *(source.name, parameters.characters, digest),
    )
    folders = None
    if source.images:
        folders = {wnid: paths.data() / source.images / wnid for wnid in texts}
    return everything, names, texts, folders, None


def flickr8k_noise(parameters: Parameters) -> Source:
    """Return Flickr8k's captions, of which some are replaced by those of other images.

    An image is of the class that its captions but the first name, see `captions.only_class`; the
    first is what the web says of it, unless replaced, see `captions.replaced`. The class text is
    what the class is, and the first captions of `text_images` of its images, which are in no part.
    """
    source, file = parameters.source, paths.data() / FLICKR8K
    classes, (files, captions) = concepts(), written.flickr8k(file)
    names = written.naming(captions, classes)
    target = written.only_class(names, source.named)
    rng, count = np.random.default_rng(source.seed), len(classes)
    order = rng.permutation(len(target))
    texts = [order[target[order] == number][: source.text_images] for number in range(count)]
    parts = np.full(len(target), "text", dtype="<U10")
    # images of no class are one more class here, and give captions to those of their part
    rest = np.setdiff1d(order, np.concatenate(texts))
    parts[rest] = draw_parts(target[rest] % (count + 1), count + 1, parameters)
    groups = np.unique([one.group for one in classes], return_inverse=True)[1]
    noise = np.where(parts == "test", source.tested_noise, source.noise)
    of_part = np.where(parts == "text", -1, target)
    chosen = written.replaced(of_part, parts, names, groups, noise, source.seed)
    hidden, rows = classes if source.masked else (), np.flatnonzero(of_part >= 0)

    unnamed = 1 - names[rows, 0, target[rows]][chosen[rows] == rows].mean()
    reading.say(f"{source.name}: {unnamed:.0%} of the right captions do not name their class")

    def said(row: int) -> str:
        return joined([written.masked(captions[row][0], hidden)], parameters.characters)

    found = [
        Caption(files[row], classes[target[row]].name, said(chosen[row]), bool(chosen[row] == row))
        for row in rows
    ]
    told = {
        one.name: "\n".join([one.definition, *map(said, own)])
        for one, own in zip(classes, texts, strict=True)
    }
    everything = table(lambda: found, told, source.name, found)
    folders = dict.fromkeys(told, file.parents[1] / IMAGES)
    return everything, {name: name.replace("_", " ") for name in told}, told, folders, parts[rows]


def from_tables(parameters: Parameters) -> Source:
    """Return captions of a user's own: a line each in the table, and one a class in `classes.csv`.

    | `captions.csv` | holds |
    | --- | --- |
    | `id`, `class`, `text` | of a caption |
    | `image` | may be left out: its path, relative to the folder of the table |
    | `relevant` | may be left out, or empty: `1` if it describes the class, else `0` |
    | `split` | may be left out: `train`, `val` or `test` |

    | `classes.csv` | holds |
    | --- | --- |
    | `class`, `text` | what describes it, in sentences |
    | `name` | may be left out: what it is called |

    Raises StudyError as `own_table`, and for a caption of another class.
    """
    file = paths.data() / parameters.source.file
    of_classes = file.with_name(CLASSES)
    classes = own_table(of_classes, ["class", "text"], ["name"], once="class", names=["class"])
    slash = classes["class"].str.contains(r"[/\\]|^\.\.?$")  # it becomes the name of a folder
    refuse(classes, slash, "the class `{class}` should have no slash, and not be dots; rename it")
    needed, others = ["id", "class", "text"], ["image", "relevant"]
    rows = own_table(file, needed, others, blank=["relevant"], once="id", names=["class"])
    for where, name in rows["class"][~rows["class"].isin(classes["class"])].items():
        said = f"{CLASSES} has no class `{name}`"
        raise StudyError(f"{where}: {said}{suggestion(name, classes['class'])}")
    known = rows.get("relevant", pd.Series("", rows.index)).str.casefold()
    refuse(rows, ~known.isin(TRUTH), "relevant should be 1, 0 or empty, not `{relevant}`")
    columns = rows["image" if "image" in rows else "id"], rows["class"], rows["text"], known
    captions = [
        Caption(image, wnid, joined((text,), parameters.characters), TRUTH[truth])
        for image, wnid, text, truth in zip(*columns, strict=True)
    ]
    classes = classes.set_index("class")
    names = classes.get("name", classes.index.to_series()).to_dict()
    texts = classes["text"].to_dict()
    folders = dict.fromkeys(texts, file.parent) if "image" in rows else None
    given = rows["part"].to_numpy("str") if "part" in rows else None
    everything = table(lambda: captions, texts, parameters.source.name, captions)
    return everything, names, texts, folders, given


def from_kitchen(parameters: Parameters) -> Source:
    """Return the embedded demo: what the web says of plates, with its truth."""
    source = parameters.source
    root = reading.kitchen(source.per_variant, source.seed) / "images"
    plates = kitchen.plates(source.per_variant, source.seed)

    def captions() -> Iterator[Caption]:
        for plate in plates:
            said = kitchen.web(plate, source.seed)
            text = joined((said.title, said.description), parameters.characters)
            yield Caption(f"{plate.id}.png", plate.variant, text, said.relevant)

    folders = {one.variant: root / one.category / one.dish / one.variant for one in plates}
    names = {variant: variant.replace("_", " ") for variant in folders}
    known = source.name, parameters.characters, WEB, source.per_variant, source.seed
    texts = {variant: kitchen.article(variant) for variant in folders}
    return table(captions, names, *known), names, texts, folders, None


def read_collected(file: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return columns that `studies.relevance.collect` wrote of classes, as text, by wnid."""
    frame = read_table(file, ["wnid", *columns])
    again = "delete the file and collect the class texts again"
    refuse(frame, frame.eq("").any(axis=1), f"has an empty cell; {again}")
    refuse(frame, frame["wnid"].duplicated(), f"{{wnid}} is there twice; {again}")
    return frame.set_index("wnid")


def split(collection: Collection, parameters: Parameters) -> np.ndarray:
    """Return the part of each caption, (N,) `train`, `validation` or `test`, see `draw_parts`.

    Raises StudyError when a part would be empty.
    """
    parts, source = collection.official, parameters.source
    if parts is None or "validation" not in parts:
        tested = None if parts is None else parts == "test"
        parts = draw_parts(collection.target, len(collection.wnids), parameters, tested)
    refuse_empty(parts, paths.data() / getattr(source, "file", source.name), "captions")
    numbers = {"captions": len(parts), "classes": len(collection.wnids)}
    tell_parts(source, numbers, parts, collection.official)
    return parts


def draw_parts(
    target: np.ndarray, classes: int, plan: Parameters, tested: np.ndarray | None = None
) -> np.ndarray:
    """Return the part of each caption, (N,); its examples all lie in it.

    `target` (N,) are class numbers below `classes`. Of `plan` only the shares, `rare` and
    `split_seed` count.

    `test_share` of the captions, rounded, are drawn by lot. But a class of at most `rare.captions`
    captions has at least `rare.train` of them in training and at least `rare.test` in test: where
    the lot gives one part too few, as many of its captions as needed change over, and captions of
    other classes make up for it, so that the parts keep their sizes where that is possible. Where a
    class has too few captions for both, training comes first: a single caption is in training.

    Where a test set is published, `tested` (N,), it is kept, and no other caption tested on.

    Validation is `validation_share` of the training captions, drawn from those of classes that are
    not rare.
    """
    rare, rng = plan.rare, np.random.default_rng(plan.split_seed)
    is_rare = np.bincount(target, minlength=classes) <= rare.captions
    drawn = np.zeros(len(target), dtype=bool) if tested is None else tested
    if tested is None:
        order = rng.permutation(len(target))
        tests = round(len(target) * plan.test_share)
        drawn[order[:tests]] = True
        shuffled = target[order]
        of_rare = is_rare[shuffled]
        for number in np.unique(shuffled[of_rare]):
            members = order[shuffled == number]
            most = len(members) - _at_least(rare.train, len(members))
            least = min(_at_least(rare.test, len(members)), most)
            drawn[members] = np.arange(len(members)) < np.clip(drawn[members].sum(), least, most)
        common = order[~of_rare]
        left = max(tests - drawn[order[of_rare]].sum(), 0)
        drawn[common] = np.arange(len(common)) < left
    parts = np.where(drawn, "test", "train").astype("<U10")
    known = np.flatnonzero(~drawn & ~is_rare[target])
    parts[rng.permutation(known)[: round(plan.validation_share * np.sum(~drawn))]] = "validation"
    return parts


def _at_least(share: float, count: int) -> int:
    """Return the least whole number that is no less than a share of a count."""
    # a fifth of 35 is 7, though 0.2 * 35 is a little more
    return int(np.ceil(round(share * count, 9)))
