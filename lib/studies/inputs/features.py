"""Features of a frozen backbone: computed once over a dataset, then read from disk."""

import math
import os
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d
from tqdm.auto import tqdm

from studies import paths as places
from studies.inputs.images import WORKERS, fingerprint, open_rgb
from studies.learning.backbones import Backbone, load_backbone
from studies.learning.compute import keep_memory
from studies.paths import StudyError
from studies.runs.files import cached, write_header
from studies.runs.folder import accounted

# Raise it whenever `features` gives other numbers for the same images and weights.
VERSION = 1


def features(
    paths: Sequence[Path],
    root: Path,
    encoder: str | Backbone,
    batch_size: int = 32,
    pooled: bool = True,
    dtype: str = "float32",
    grid: int | None = None,
) -> np.ndarray:
    """Return a backbone's features of all images, (N, F) or (N, T, F), mapped read-only from disk.

    Computed once and kept below `cache/features`, named by encoder, weights, preprocessing, images
    in order, precision and kind. Each finished batch is on disk: a killed extraction goes on where
    it stopped and ends with the same bits. CUDA, where there is any, computes in bf16, else a CPU
    in fp32.

    Args:
        paths: image files, one row each.
        root: the folder that names are taken relative to (see `images.fingerprint`).
        encoder: a name for `load_backbone`, or what it returned.
        batch_size: images in one pass.
        pooled: one vector an image, or all tokens (see `Backbone.forward`).
        dtype: "float32" or "float16", of the file.
        grid: side of the square that the map of the tokens is averaged to, so that T is its square
            and the file small; None keeps all tokens.

    Raises:
        StudyError: no images, a bad image, missing weights, tokens that are no square map where
            there is a grid, too little memory, or no room on disk.

    """
    if not paths:
        raise StudyError(f"There is no image to encode below {root}: the list of files is empty.")
    keep_memory()
    backbone = load_backbone(encoder) if isinstance(encoder, str) else encoder
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = "bf16" if where.type == "cuda" else "fp32"
    kind = f"{'pooled' if pooled else 'tokens'}{grid or ''}-{dtype}-{precision}"
    slug = re.sub(r"\W+", "_", backbone.name.rsplit(os.sep, 2)[-1])
    data = fingerprint(paths, root, ordered=True)
    name = f"{slug}-{backbone.digest()}-{data}-{kind}-v{VERSION}.npy"

    def prepare(path: Path) -> Tensor:
        return backbone.preprocess(open_rgb(path))

    @torch.inference_mode()
    def encoded(images: Iterable[Tensor]) -> np.ndarray:
        try:
            batch = torch.stack(list(images)).to(where, memory_format=torch.channels_last)
            with torch.autocast(where.type, torch.bfloat16, where.type == "cuda"):
                rows = backbone(batch, pooled).float()
                rows = averaged(rows, grid) if grid else rows
        except torch.OutOfMemoryError as error:
            raise StudyError(
                f"{backbone.name} needs more memory than {where} has for {batch_size} images at "
                "once: lower batch_size; finished batches are kept."
            ) from error
        with np.errstate(over="ignore"):
            return rows.cpu().numpy().astype(dtype)

    @accounted("training")
    def extract(partial: Path) -> None:
        backbone.to(where).eval()
        done, end = _finished(partial, len(paths), np.dtype(dtype), batch_size)
        bar = tqdm(total=len(paths), initial=done, desc="encoding images", unit="image", delay=2)
        with partial.open("ab") as file, ThreadPoolExecutor(WORKERS) as pool, bar:
            file.truncate(end)
            file.seek(end)
            starts = range(done, len(paths), batch_size)
            batches = (pool.map(prepare, paths[start : start + batch_size]) for start in starts)
            # in pairs, since the next batch is to be decoded while the model works on this one
            for images, _ in pairwise(chain(batches, [()])):
                rows = encoded(images)
                if not np.isfinite(rows).all():
                    raise StudyError(
                        f"{backbone.name} gives values that {dtype} cannot hold for the images "
                        f"from {paths[done]} on: use float32, and check the weights."
                    )
                if not file.tell():
                    write_header(file, (len(paths), *rows.shape[1:]), rows.dtype)
                file.write(rows.tobytes())
                file.flush()
                done += len(rows)
                bar.update(len(rows))

    return cached(places.cache() / "features" / name, extract, resume=True)


def averaged(tokens: Tensor, grid: int) -> Tensor:
    """Return the tokens (B, T, F) of a square map averaged to those of another, (B, grid², F).

    Raises StudyError when T is no square number.
    """
    side = math.isqrt(tokens.shape[1])
    if side**2 != tokens.shape[1]:
        raise StudyError(
            f"network.encoder.grid is {grid}, but the encoder gives {tokens.shape[1]} tokens, "
            "which are no square map; set grid to null, as for all vision transformers"
        )
    if side == grid:
        return tokens
    maps = tokens.transpose(1, 2).unflatten(2, (side, side))  # (B, F, side, side)
    return adaptive_avg_pool2d(maps, grid).flatten(2).transpose(1, 2)


def _finished(partial: Path, count: int, dtype: np.dtype, batch_size: int) -> tuple[int, int]:
    """Return how many rows are whole, and where in the file they end.

    Whole batches only, so that every row is computed beside the same others as without a stop:
    the last bits of a matrix product depend on them.
    """
    try:
        with partial.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, _ = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
    except (OSError, ValueError, EOFError):
        return 0, 0
    row = int(np.prod(shape[1:])) * dtype.itemsize
    rows = (partial.stat().st_size - start) // row
    rows = rows if rows == count else rows - rows % batch_size
    return (rows, start + rows * row) if rows else (0, 0)
