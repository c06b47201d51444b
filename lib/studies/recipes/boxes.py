"""Pictures of several dishes, cut to the box around each: the layout of UEC Food-256."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

from studies import paths
from studies.inputs import images
from studies.inputs.reading import lines
from studies.paths import StudyError
from studies.runs.files import made_once

HEADER = ["img", "x1", "y1", "x2", "y2"]
# Raise it whenever the same boxes give other pictures: folders cut before are then left alone.
VERSION = 1


@dataclass(frozen=True)
class Box:
    """The box around a dish in a photograph.

    Attributes:
        category: the folder of the dish.
        image: name of the photograph, without extension. A photograph of several dishes lies in
            the folder of each under the same name.
        number: which box of that photograph in this folder, from 1.
        corners: left, upper, right and lower side, pixels; right and lower are just outside.
        where: the line that says so.

    """

    category: str
    image: str
    number: int
    corners: tuple[int, int, int, int]
    where: str

    @property
    def source(self) -> str:
        """Return the file of the photograph."""
        return f"{self.category}/{self.image}.jpg"

    @property
    def file(self) -> str:
        """Return the file of what is cut out."""
        return f"{self.category}/{self.image}-{self.number}.png"


def read_boxes(root: Path, category: str) -> list[Box]:
    """Return the boxes of `<category>/bb_info.txt`: an image and four corners in each line.

    A box that is listed twice counts once. Raises StudyError when the file is missing or has a line
    of another kind, or no box.
    """
    listing = root / category / "bb_info.txt"
    found: dict[str, dict[tuple[int, ...], str]] = {}
    for number, line in enumerate(lines(listing), 1):
        image, *corners = line.split() or [""]
        if not image or (number == 1 and [image, *corners] == HEADER):
            continue
        where = f"{listing} line {number}"
        try:
            box = tuple(int(corner) for corner in corners)
        except ValueError:
            box = ()
        if len(box) != 4 or "/" in image:
            raise StudyError(
                f"{where}: expected `{' '.join(HEADER)}`, an image and four whole numbers, found "
                f"`{line[:60]}`; use the published file"
            )
        found.setdefault(image, {}).setdefault(box, where)
    if not found:
        raise StudyError(f"{listing}: lists no box; use the published file")
    return [
        Box(category, image, number, corners, where)
        for image, boxes in found.items()
        for number, (corners, where) in enumerate(boxes.items(), 1)
    ]


def cut(root: Path, boxes: list[Box]) -> Path:
    """Return the folder of the boxes cut out as `<category>/<image>-<number>.png`, made once.

    It lies in the cache, and its name holds the contents of all photographs and lists of boxes.
    Processes may call it at once; a killed call leaves no half-made folder. A box is clipped to its
    photograph. Raises StudyError when nothing is left of a box, a photograph is missing or damaged,
    or the cache cannot be written.
    """
    sources = {box.source for box in boxes} | {f"{box.category}/bb_info.txt" for box in boxes}
    digest = images.fingerprint([root / source for source in sorted(sources)], root)
    folder = paths.cache() / f"uecfood256-{digest}-v{VERSION}"
    return made_once(folder, lambda partial: _fill(partial, root, boxes))


def _fill(folder: Path, root: Path, boxes: list[Box]) -> None:
    """Cut all boxes into a new folder; each photograph is decoded once."""
    of_source: dict[str, list[Box]] = {}
    for box in boxes:
        of_source.setdefault(box.source, []).append(box)
        (folder / box.category).mkdir(parents=True, exist_ok=True)

    def cut_out(source: str) -> None:
        photograph = images.open_rgb(root / source)
        width, height = photograph.size
        for box in of_source[source]:
            left, upper, right, lower = box.corners
            inside = max(left, 0), max(upper, 0), min(right, width), min(lower, height)
            if inside[0] >= inside[2] or inside[1] >= inside[3]:
                raise StudyError(
                    f"{box.where}: the box {left} {upper} {right} {lower} holds nothing of "
                    f"{source}, which has {width}×{height} pixels; correct or remove the line"
                )
            photograph.crop(inside).save(folder / box.file)

    bar = tqdm(total=len(of_source), desc="cutting out boxes", unit="image", delay=2)
    with ThreadPoolExecutor(images.WORKERS) as pool, bar:
        for _ in pool.map(cut_out, of_source):
            bar.update()
