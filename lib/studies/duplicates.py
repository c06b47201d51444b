"""Near-duplicate photographs across training and test sets, found by a perceptual hash.

Of each picture, squashed to 32×32 grey pixels, the 64 lowest frequencies of the cosine transform
other than the mean are compared with their median: one bit each (after C. Zauner, *Implementation
and benchmarking of perceptual image hash functions*, 2010). The bits survive recompression, another
size and another brightness or contrast; they do not survive mirroring, turning or a tight crop, so
what is found is the least that there is.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.fft import dctn

from studies import images

SIDE = 32  # pixels of the squashed picture
BITS = 64
BLOCK = 512  # test images compared with all training images at once
# Of the nearest pairs across a random split of the 5,421 groceries, looked at one by one: up to 10
# bits, all 46 show the same goods before the same shelf, moments apart (44 of the same class). At
# 12 bits, 3 of 29 are alike by chance (plums and apples in a box); at 14, most of 86 are.
DISTANCE = 10


def hashes(paths: Sequence[Path], root: Path) -> np.ndarray:
    """Return (N,) uint64, the hash of each photograph; decoded pixels are kept in the cache.

    Raises StudyError when an image is missing or cannot be decoded.
    """
    return of_pixels(images.load(paths, SIDE, root, fit="squash"))


def of_pixels(pixels: np.ndarray) -> np.ndarray:
    """Return (N,) uint64, the hash of each picture (N, 3, 32, 32), RGB from 0 to 255."""
    grey = np.tensordot(np.asarray(pixels, dtype=np.float32), images.LUMA, axes=(1, 0))  # (N, S, S)
    rows, columns = np.indices((SIDE, SIDE))
    order = np.lexsort((rows.ravel(), (rows + columns).ravel()))[1 : BITS + 1]
    low = dctn(grey, axes=(1, 2), norm="ortho").reshape(len(grey), -1)[:, order]  # (N, 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    octets = np.ascontiguousarray(np.packbits(bits, axis=1))  # (N, 8)
    return octets.view(np.uint64)[:, 0]


def nearest(hashes: np.ndarray, parts: np.ndarray) -> pd.DataFrame:
    """Return for each test image the training image of the nearest hash.

    `hashes` is (N,) uint64, `parts` (N,) names the part of each image. Columns: `test` and
    `train`, rows of the dataset; `distance`, the bits in which their hashes differ, 0 to 64.
    """
    test, train = (np.flatnonzero(parts == part) for part in ("test", "train"))
    found = []
    for start in range(0, len(test), BLOCK):
        rows = test[start : start + BLOCK]
        distances = np.bitwise_count(hashes[rows][:, None] ^ hashes[train])  # (B, R)
        best = distances.argmin(1)
        found.append((rows, train[best], distances[np.arange(len(rows)), best]))
    columns = (np.concatenate(column).astype(np.int64) for column in zip(*found, strict=True))
    return pd.DataFrame(dict(zip(("test", "train", "distance"), columns, strict=True)))


def counts(bits: np.ndarray, distances: Sequence[int] = (0, 4, 8, DISTANCE, 12)) -> pd.DataFrame:
    """Return how many test images have a near-duplicate in training, at each largest distance.

    `bits` (N,) is the `distance` that `nearest` returned. Columns: `distance` (bits),
    `test_images`, `near_duplicates`, `share` (0 to 1). Hashes have 32 ones each, so distances are
    even.
    """
    near = [int((bits <= distance).sum()) for distance in distances]
    return pd.DataFrame(
        {
            "distance": distances,
            "test_images": len(bits),
            "near_duplicates": near,
            "share": [count / len(bits) for count in near],
        }
    )
