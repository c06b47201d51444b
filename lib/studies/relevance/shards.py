"""Parquet files of at most so many rows, named as Hugging Face `datasets` looks for them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

SHARD = 100_000  # rows of a file
BLOCK = 5_000  # rows in memory


def blocks(rows: np.ndarray) -> list[np.ndarray]:
    """Return rows (N,) in their order, so many at a time."""
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]


def write(
    folder: Path,
    split: str,
    rows: np.ndarray,
    schema: pa.Schema,
    made: Callable[[np.ndarray], pd.DataFrame],
) -> None:
    """Write `<split>-00000-of-00003.parquet` and so on: what `made` returns of rows (N,), in order.

    Without rows there is no file, since `load_dataset` refuses a split that has none.
    """
    folder.mkdir(exist_ok=True)
    count = -(-len(rows) // SHARD)
    for number in range(count):
        file = folder / f"{split}-{number:05}-of-{count:05}.parquet"
        with pq.ParquetWriter(file, schema, compression="zstd") as writer:
            own = blocks(rows[number * SHARD : (number + 1) * SHARD])
            for block in tqdm(own, desc=f"writing {file.name}", unit="block", delay=2):
                writer.write_table(arrow(made(block), schema))


def arrow(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """Return a frame as Arrow, its columns in the order of the schema, nan as null."""
    table = pa.Table.from_pandas(frame, schema, preserve_index=False)
    return table.replace_schema_metadata(None)
