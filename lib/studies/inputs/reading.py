"""What every dataset is read with: its text files, its parts, and the drawn kitchen."""

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

import kitchen as world
from studies import paths
from studies.paths import StudyError
from studies.runs.blocks import ImageParameters
from studies.runs.files import made_once
from studies.runs.params import Block


def read_text(file: Path, remedy: str = "unpack the dataset again") -> str:
    """Return the text of a UTF-8 file, with or without byte order mark, line ends as they are.

    Raises StudyError when the file cannot be read, with what helps, or is not UTF-8.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise StudyError(f"{file} line {line}: is not UTF-8; save the file as UTF-8") from None
    except OSError as error:
        raise StudyError(f"{file}: {(error.strerror or str(error)).lower()}; {remedy}") from None


def lines(file: Path) -> list[str]:
    """Return the lines without white space around them, those that are blank at the end left out.

    Only line feeds end one. Other blank lines stay, since files that belong together are matched
    by line number. Raises StudyError as `read_text`, or when all are blank.
    """
    found = [line.strip() for line in read_text(file).rstrip().split("\n")]
    if not any(found):
        raise StudyError(f"{file}: is empty; unpack the dataset again")
    return found


# The parts of a dataset: drawn by strata, and none of them empty.

PARTS = ("train", "validation", "test")


def stratified(
    strata: np.ndarray, shares: tuple[float, float], seed: int, tested: np.ndarray | None = None
) -> np.ndarray:
    """Return (N,) `train`, `validation` or `test`, each stratum (N,) divided by two shares.

    They are of validation and test. A published test set, `tested` (N,) bool, is kept; no other
    item is then tested on, and the first share is of the rest. One item of each stratum is always
    trained on, unless the published test set holds them all.
    """
    rng = np.random.default_rng(seed)
    validation_share, test_share = shares if tested is None else (shares[0], 0.0)
    tested = np.zeros(len(strata), dtype=bool) if tested is None else tested
    parts = np.where(tested, "test", "train").astype("<U10")
    for stratum in np.unique(strata):
        members = rng.permutation(np.flatnonzero((strata == stratum) & ~tested))
        spare = max(0, len(members) - 1)
        tests = min(round(len(members) * test_share), spare)
        validations = min(round(len(members) * validation_share), spare - tests)
        parts[members[:tests]] = "test"
        parts[members[tests : tests + validations]] = "validation"
    return parts


def divided(
    strata: np.ndarray,
    plan: ImageParameters,
    root: Path,
    items: str,
    stratum: str = "",
    official: np.ndarray | None = None,
) -> np.ndarray:
    """Return (N,) the part of each of the items below `root`: published, `official` (N,), or drawn.

    Of a published split without a validation part that is drawn from training, see `stratified`.
    Raises StudyError when a part would be empty.
    """
    if official is not None and set(PARTS) <= set(official):
        return official
    shares = plan.validation_share, plan.test_share
    tested = None if official is None else official == "test"
    parts = stratified(strata, shares, plan.split_seed, tested)
    refuse_empty(parts, root, items, stratum)
    return parts


say = cache(print)  # once a process: a notebook reads the data, and then training does


def tell(source: Block, numbers: Mapping[str, int], notes: Iterable[str] = ()) -> None:
    """Print in one line what was read of a dataset on disk: how much of what, and notes."""
    if source.name != "kitchen":
        place = getattr(source, "file", getattr(source, "folder", source.name))
        line = ", ".join(f"{name} {count:,}" for name, count in numbers.items())
        say("; ".join([f"{place}: {line}", *notes]), flush=True)


def tell_parts(
    source: Block, numbers: Mapping[str, int], parts: np.ndarray, official: np.ndarray | None
) -> None:
    """Print what was read, the size of each part, and which were drawn since none is published."""
    drawn = [part for part in PARTS if part in parts and (official is None or part not in official)]
    tell(source, {**numbers, **sizes(parts)}, [f"drawn: {', '.join(drawn)}"] if drawn else [])


def sizes(parts: np.ndarray) -> dict[str, int]:
    """Return how many items each part has."""
    return {part: int(np.sum(parts == part)) for part in PARTS}


def refuse_empty(parts: np.ndarray, root: Path, items: str, stratum: str = "") -> None:
    """Raise StudyError when a part of the dataset below `root` holds none of the `items`."""
    for part in PARTS:
        if part not in parts:
            many = f"{items} a {stratum}" if stratum else items
            raise StudyError(
                f"{root}: too few {many} for a {part} set; add {items} or change the split, or "
                "validation_share and test_share"
            )


# The kitchen in the cache: its pictures, and what its simulated judges said, each made once.

# Raise it whenever a picture or a file is made otherwise: folders made before are then left alone.
VERSION = 1


def kitchen(per_variant: int, seed: int = 0) -> Path:
    """Return the folder of a drawn kitchen, as `kitchen.write_images` fills it at the first call.

    Processes may call it at once; a killed call leaves no half-made folder.
    Raises StudyError when the cache cannot be written.
    """
    return _made("kitchen", per_variant, seed, world.write_images)


def judged(per_variant: int) -> Path:
    """Return a folder like Flickr8k's texts, as `kitchen.write_judgements` fills it once.

    Raises StudyError as `kitchen` does.
    """
    return _made("judges", per_variant, 0, world.write_judgements)


def _made(name: str, per_variant: int, seed: int, write: Callable) -> Path:
    folder = paths.cache() / f"{name}{VERSION}-{per_variant}-{seed}"
    return made_once(folder, lambda partial: write(partial, world.plates(per_variant, seed)))
