"""Photographs as arrays: decoded once, kept on disk."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm.auto import tqdm

from studies import paths as places
from studies.caches import cached, write_header
from studies.errors import StudyError

Fit = Literal["pad", "squash", "crop"]
# Raise it whenever `decode` gives other pixels for the same file: old caches are then left alone.
VERSION = 1
PADDING = 128
LUMA = (0.299, 0.587, 0.114)
WORKERS = min(8, os.cpu_count() or 1)


def fingerprint(paths: Sequence[Path], root: Path, *, ordered: bool = False) -> str:
    """Return a digest of the files' contents and of their places below `root`.

    Moving the whole folder does not change it; renaming, editing, adding or dropping a file does.
    The order of `paths` matters only when `ordered`, as for a cache whose rows follow the list.

    Raises:
        StudyError: a file is missing or cannot be read.

    """

    def line(path: Path) -> bytes:
        with _reading(path):
            content = hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
        return f"{Path(os.path.relpath(path, root)).as_posix()}\0{content}\n".encode()

    with ThreadPoolExecutor(WORKERS) as pool:
        lines = list(pool.map(line, paths))
    return hashlib.blake2b(
        b"".join(lines if ordered else sorted(lines)), digest_size=16
    ).hexdigest()


def open_rgb(path: Path, least: int | None = None) -> Image.Image:
    """Return the photograph upright and in RGB, whatever colours the file keeps.

    EXIF orientation is applied, transparent parts become white, and 16-bit grey is scaled, not
    clipped. With `least`, a JPEG much larger than `least` × `least` is decoded at reduced size,
    never below twice that, which is several times faster.

    Raises:
        StudyError: the file is missing, unreadable, cut short, no image, or a decompression bomb.

    """
    with _reading(path), Image.open(path) as image:
        if least:
            image.draft(None, (2 * least, 2 * least))
        image.load()
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        upright = Image.fromarray((np.asarray(upright) >> 8).clip(0, 255).astype(np.uint8))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return upright.convert("RGB")


def decode(path: Path, size: int, fit: Fit = "pad") -> np.ndarray:
    """Return the photograph as (3, size, size) uint8, RGB.

    `pad` keeps the aspect ratio and centres the picture on middle grey (128), which is close to
    zero after normalisation and not taken from the picture, so that the frame tells nothing about
    it; `crop` keeps the aspect ratio and the central square; `squash` keeps neither.

    Raises:
        StudyError: as `open_rgb`.

    """
    image = open_rgb(path, least=size)
    square = (size, size)
    if fit == "squash":
        image = image.resize(square, Image.Resampling.BICUBIC)
    elif fit == "crop":
        image = ImageOps.fit(image, square, Image.Resampling.BICUBIC)
    elif fit == "pad":
        image = ImageOps.pad(image, square, Image.Resampling.BICUBIC, color=(PADDING,) * 3)
    else:
        raise StudyError(f"Unknown fit {fit!r} for images: choose pad, squash or crop.")
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def load(paths: Sequence[Path], size: int, root: Path, fit: Fit = "pad") -> np.ndarray:
    """Return (N, 3, size, size) uint8 in the order of `paths`, read-only and memory-mapped.

    Every image is decoded once; later calls, and other processes, map the same file below
    `cache/images`. Its name holds the contents of all images, so a changed image is never missed.

    Raises:
        StudyError: there is no image, one cannot be decoded, or the cache cannot be written.

    """
    if not paths:
        raise StudyError(f"There is no image to load below {root}: the list of files is empty.")
    key = f"{fingerprint(paths, root, ordered=True)}-{size}-{fit}-v{VERSION}"

    def decode_all(partial: Path) -> None:
        shape = (len(paths), 3, size, size)
        bar = tqdm(total=len(paths), desc="decoding images", unit="image", delay=2)
        try:
            with partial.open("wb") as file, ThreadPoolExecutor(WORKERS) as pool, bar:
                write_header(file, shape, np.dtype(np.uint8))
                for start in range(0, len(paths), 256):
                    chunk = paths[start : start + 256]
                    for pixels in pool.map(lambda path: decode(path, size, fit), chunk):
                        file.write(pixels.tobytes())
                        bar.update()
        except StudyError:
            # the mended images have another key, so nobody would take up this file again
            partial.unlink()
            raise

    return cached(places.cache() / "images" / f"{key}.npy", decode_all)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    # From the special to the general: most of these are kinds of OSError.
    try:
        yield
    except FileNotFoundError as error:
        raise StudyError(
            f"The image {path} is missing: unpack the dataset again, or drop it from the list."
        ) from error
    except PermissionError as error:
        raise StudyError(f"The image {path} may not be read: give read permission.") from error
    except IsADirectoryError as error:
        raise StudyError(f"{path} is a folder where an image should be: remove it.") from error
    except Image.DecompressionBombError as error:
        raise StudyError(
            f"The image {path} claims more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels: "
            "replace it by a smaller one."
        ) from error
    except UnidentifiedImageError as error:
        raise StudyError(f"{path} is not an image: fetch it again or remove it.") from error
    # Pillow's decoders raise nearly anything on damaged data: SyntaxError, struct.error, ...
    except Exception as error:
        raise StudyError(
            f"The image {path} is damaged or cut short ({error}): fetch it again or remove it."
        ) from error
