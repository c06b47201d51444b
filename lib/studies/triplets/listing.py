"""What lies in a dataset's folder and what a list may say of it, whatever the layout."""

from collections import Counter
from pathlib import Path

from studies.paths import StudyError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
PART_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


def image_files(root: Path) -> list[Path]:
    """Return the image files below a folder, sorted, hidden ones left out."""
    return sorted(
        file
        for file in root.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and not file.is_dir()
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    )


def padded(branches: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return label paths of one depth: shorter ones repeat their lowest label."""
    depth = max(map(len, branches))
    return [branch + (branch[-1],) * (depth - len(branch)) for branch in branches]


def inner(branches: list[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Return every label path that has others below it, the empty one included."""
    return {branch[:depth] for branch in set(branches) for depth in range(len(branch))}


def refuse_two_classes(root: Path, files: list[str], trees: list[tuple[str, ...]]) -> None:
    """Raise StudyError when a file is listed with two classes, or twice."""
    first: dict[str, tuple[str, ...]] = {}
    for file, tree in zip(files, trees, strict=True):
        if file in first:
            both = " and ".join(sorted({"/".join(first[file]), "/".join(tree)}))
            raise StudyError(f"{root / file}: is listed twice, in {both}; keep one line")
        first[file] = tree


def refuse_same_content(root: Path, files: list[str], trees: list[tuple[str, ...]]) -> None:
    """Raise StudyError when the same picture, byte for byte, lies in two classes.

    Missing files are left to whoever reads the pictures.
    """
    size = {file: (root / file).stat().st_size for file in files if (root / file).is_file()}
    times = Counter(size.values())
    first: dict[bytes, int] = {}
    for i, file in enumerate(files):
        if file not in size or times[size[file]] == 1:
            continue
        j = first.setdefault((root / file).read_bytes(), i)
        if trees[j] != trees[i]:
            raise StudyError(
                f"{root / file}: the same picture is {files[j]}, so it is in two classes; remove "
                "one of them"
            )
