"""Photographs as arrays: decoded once, kept on disk."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from studies import paths as places
from studies.paths import StudyError
from studies.runs.files import cached, write_header

Fit = Literal["pad", "squash"]
# Raise it whenever `decode` gives other pixels for the same file: old caches are then left alone.
VERSION = 2
# Greatest value of grey, and what makes 0 to 255 of it: fractions, 8, 12 and 16 bits.
DEPTHS = ((1, 255), (255, 1), (4095, 1 / 16), (65535, 1 / 256))
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
    together = b"".join(lines if ordered else sorted(lines))
    return hashlib.blake2b(together, digest_size=16).hexdigest()


class Pictures:
    """What every dataset of pictures has: `files` below `root`, and `tables` of a user's own."""

    root: Path
    files: list[str]
    tables: tuple[Path, ...]

    @property
    def paths(self) -> list[Path]:
        """Return the picture files."""
        return [self.root / file for file in self.files]

    @property
    def fingerprint(self) -> str:
        """Return a digest of the pictures and tables; StudyError when one cannot be read."""
        return fingerprint([*self.paths, *self.tables], self.root)


def open_rgb(path: Path, least: int | None = None) -> Image.Image:
    """Return the photograph upright and in RGB, whatever colours the file keeps.

    EXIF orientation is applied and transparent parts become white. Grey of more than 8 bits is
    scaled, not clipped: by the least range of `DEPTHS` that holds it, since files do not say of how
    many bits it is, and by its own least and greatest value if none does. With `least`, a JPEG much
    larger than `least` × `least` is decoded at reduced size, never below twice that, which is
    several times faster.

    Raises:
        StudyError: the file is missing, unreadable, cut short, no image, or a decompression bomb.

    """
    with _reading(path), Image.open(path) as image:
        if least:
            image.draft(None, (2 * least, 2 * least))
        image.load()
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith(("I", "F")):
            upright = Image.fromarray(_to_bytes(np.asarray(upright, dtype=np.float64)))
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        upright = Image.alpha_composite(Image.new("RGBA", upright.size, "white"), upright)
    return upright.convert("RGB")


def _to_bytes(grey: np.ndarray) -> np.ndarray:
    low, high = grey.min(), grey.max()
    if not np.isfinite(low + high):
        raise ValueError("some of its values are no numbers")
    if low < 0 or high > DEPTHS[-1][0]:
        return np.interp(grey, (low, high), (0, 255)).astype(np.uint8)
    return (grey * next(factor for top, factor in DEPTHS if high <= top)).astype(np.uint8)


def decode(path: Path, size: int, fit: Fit = "pad") -> np.ndarray:
    """Return the photograph as (3, size, size) uint8, RGB.

    `pad` keeps the aspect ratio and centres the picture on middle grey (128), which is close to
    zero after normalisation and not taken from the picture, so that the frame tells nothing about
    it; `squash` does not keep it.

    Raises:
        StudyError: as `open_rgb`.

    """
    image = open_rgb(path, least=size)
    square = (size, size)
    if fit == "squash":
        image = image.resize(square, Image.Resampling.BICUBIC)
    else:
        image = ImageOps.pad(image, square, Image.Resampling.BICUBIC, color=(PADDING,) * 3)
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
        with partial.open("wb") as file, ThreadPoolExecutor(WORKERS) as pool, bar:
            write_header(file, shape, np.dtype(np.uint8))
            for start in range(0, len(paths), 256):
                chunk = paths[start : start + 256]
                for pixels in pool.map(lambda path: decode(path, size, fit), chunk):
                    file.write(pixels.tobytes())
                    bar.update()

    return cached(places.cache() / "images" / f"{key}.npy", decode_all)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    # Pillow's decoders raise nearly anything on damaged data: SyntaxError, struct.error, ...
    except Exception as error:
        reason = getattr(error, "strerror", None) or error
        raise StudyError(
            f"The image {path} cannot be read ({reason}): unpack the dataset again, give read "
            "permission, or drop it from the list."
        ) from error


# Photographs varied at random, so that no epoch sees the same ones.


def augment(
    images: Tensor,
    generator: torch.Generator,
    flip: float = 0.5,
    shift: float = 0.1,
    zoom: float = 0.15,
    colour: float = 0.2,
) -> Tensor:
    """Return a random variant of each image, (B, 3, S, S) float in 0..1.

    Args:
        images: (B, 3, S, S), uint8 or float in 0..1, on any device.
        generator: the only source of chance; the same state gives the same variants.
        flip: probability of a left-right mirror image.
        shift: largest move along each axis, as a part of the side.
        zoom: scale between 1 − zoom and 1 + zoom; what lies outside is filled by reflection.
        colour: brightness, contrast and saturation each between 1 − colour and 1 + colour.

    """
    images = images.float().div_(255) if images.dtype == torch.uint8 else images.float()
    count = len(images)

    def chance(low: float, high: float, columns: int) -> Tensor:
        drawn = torch.rand(count, columns, generator=generator, device=generator.device)
        return (low + (high - low) * drawn).to(images.device)

    mirrored = chance(0, 1, 1)[:, 0] < flip
    scale = 1 / chance(1 - zoom, 1 + zoom, 1)
    # grid_sample counts the side of an image from -1 to 1, hence the factor of two.
    move = chance(-2 * shift, 2 * shift, 2)
    gain = chance(1 - colour, 1 + colour, 3)
    if shift or zoom:
        maps = torch.zeros(count, 2, 3, device=images.device)
        maps[:, 0, 0] = torch.where(mirrored, -scale[:, 0], scale[:, 0])
        maps[:, 1, 1] = scale[:, 0]
        maps[:, :, 2] = move
        grid = functional.affine_grid(maps, list(images.shape), align_corners=False)
        images = functional.grid_sample(images, grid, "bilinear", "reflection", align_corners=False)
    elif flip:
        images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    return recolour(images, *gain.unbind(1)) if colour else images


def recolour(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Return images (B, 3, S, S) in 0..1 with each factor (B,) applied, in the order given."""
    # Brightness, contrast about the mean grey, and saturation about each pixel's grey are linear
    # in the pixel: together one 3x3 matrix and one offset an image, and one pass over the batch.
    luma = torch.tensor(LUMA, device=images.device)
    flat = images.flatten(2)
    mean_grey = flat.mean(2) @ luma
    own, grey = saturation * contrast * brightness, (1 - saturation) * contrast * brightness
    matrix = own[:, None, None] * torch.eye(3, device=images.device)
    matrix = matrix + grey[:, None, None] * luma
    offset = ((1 - contrast) * brightness * mean_grey)[:, None, None]
    return torch.baddbmm(offset, matrix, flat).clamp_(0, 1).view_as(images)


# Near-duplicate photographs across training and test sets, found by a perceptual hash.
#
# Of each picture, squashed to 32×32 grey pixels, the 64 lowest frequencies of the cosine transform
# other than the mean are compared with their median: one bit each (after C. Zauner, *Implementation
# and benchmarking of perceptual image hash functions*, 2010). The bits survive recompression,
# another size and another brightness or contrast; they do not survive mirroring, turning or a tight
# crop, so what is found is the least that there is.

HASH_SIDE = 32  # pixels of the squashed picture
HASH_BITS = 64
# Of the nearest pairs across a random split of the 5,421 groceries, looked at one by one: up to 10
# bits, all 46 show the same goods before the same shelf, moments apart (44 of the same class). At
# 12 bits, 3 of 29 are alike by chance (plums and apples in a box); at 14, most of 86 are.
DUPLICATE_BITS = 10


def hashes(paths: Sequence[Path], root: Path) -> np.ndarray:
    """Return (N,) uint64, the hash of each photograph; decoded pixels are kept in the cache.

    Raises StudyError when an image is missing or cannot be decoded.
    """
    return hash_pixels(load(paths, HASH_SIDE, root, fit="squash"))


def hash_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return (N,) uint64, the hash of each picture (N, 3, 32, 32), RGB from 0 to 255."""
    from scipy.fft import dctn  # late: training hashes nothing

    grey = np.tensordot(np.asarray(pixels, dtype=np.float32), LUMA, axes=(1, 0))  # (N, S, S)
    rows, columns = np.indices((HASH_SIDE, HASH_SIDE))
    order = np.lexsort((rows.ravel(), (rows + columns).ravel()))[1 : HASH_BITS + 1]
    low = dctn(grey, axes=(1, 2), norm="ortho").reshape(len(grey), -1)[:, order]  # (N, 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    octets = np.ascontiguousarray(np.packbits(bits, axis=1))  # (N, 8)
    return octets.view(np.uint64)[:, 0]
