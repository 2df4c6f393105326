"""Predictions as rows of a Parquet file, which pandas, polars, DuckDB and Spark read.

Legend: N images, one row each; K classes; D channels of the stage whose features are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ...core.files import atomic
from ...core.optional import arrow
from .reading import ReadBatch
from .scores import Answer

METADATA = b"resnets"
"""The key of the schema's metadata under which is, as JSON, what made the file."""
_GROUP_BYTES, _GROUP_ROWS = 64 << 20, 1 << 17
"""A row group of the whole file ends where it has as much as one of these."""


def rows_schema(*, probabilities: bool, width: int | None) -> Any:
    """The columns: path, label, probability, top, probabilities and features as far as asked for, error.

    Args:
        width: D, or None for no features.
    """
    pa, _ = arrow()
    named = pa.struct([("label", pa.string()), ("probability", pa.float32())])
    columns = [("path", pa.string()), ("label", pa.string()), ("probability", pa.float32()), ("top", pa.list_(named))]
    if probabilities:
        columns.append(("probabilities", pa.list_(pa.float32())))
    if width is not None:
        columns.append(("features", pa.list_(pa.float32(), width)))
    return pa.schema([*columns, ("error", pa.string())])


def rows_of(batch: ReadBatch, answer: Answer, classes: tuple[str, ...], schema: Any) -> Any:
    """A batch as a table; of images that could not be read only path and error are there."""
    pa, _ = arrow()
    count = len(batch.names)
    bad = np.zeros(count, bool)
    bad[list(batch.errors)] = True
    missing = pa.array(bad)

    def spread(values: Any) -> Any:
        """(b, ...) rows of the images that were read, at their places among all."""
        whole = np.zeros((count, *values.shape[1:]), values.dtype)
        whole[~bad] = values
        return whole

    shares, places = spread(answer.shares.numpy()), spread(answer.classes.numpy())
    names = np.array(classes, object)[places]
    k = shares.shape[1]
    top = pa.StructArray.from_arrays([pa.array(names.ravel(), pa.string()), pa.array(shares.ravel())], ["label", "probability"])
    columns = {
        "path": pa.array([_valid(name) for name in batch.names], pa.string()),
        "label": pa.array(names[:, 0], pa.string(), mask=bad),
        "probability": pa.array(shares[:, 0], mask=bad),
        "top": pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * k, pa.int32()), top, mask=missing),
        "error": pa.array([batch.errors.get(row) for row in range(count)], pa.string()),
    }
    if "probabilities" in schema.names:
        offsets = pa.array(np.arange(count + 1) * len(classes), pa.int32())
        values = pa.array(spread(answer.probabilities.numpy()).ravel())
        columns["probabilities"] = pa.ListArray.from_arrays(offsets, values, mask=missing)
    if "features" in schema.names:
        assert answer.features is not None
        values = pa.array(spread(answer.features.numpy()).ravel())
        columns["features"] = pa.FixedSizeListArray.from_arrays(values, answer.features.shape[1], mask=missing)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def _valid(name: str) -> str:
    """A file's name as text; bytes in it that are no UTF-8 as \\xNN."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def write_rows(path: Path, table: Any) -> None:
    """Writes a table, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    _, parquet = arrow()
    with atomic(path) as file:
        parquet.write_table(table, file)


def write_together(path: Path, parts: Iterable[Path], schema: Any, metadata: bytes) -> tuple[int, int]:
    """Writes the rows of all parts to one file, with `metadata` in its schema, whole or not at all; gives the number of rows, and of
    those with an error.

    Raises:
        OSError: the file cannot be written.
    """
    pa, parquet = arrow()
    rows = errors = 0
    with atomic(path) as file, parquet.ParquetWriter(file, schema.with_metadata({METADATA: metadata})) as writer:
        for group in _groups(parquet.read_table(part, schema=schema) for part in parts):
            table = pa.concat_tables(group)
            writer.write_table(table.replace_schema_metadata({METADATA: metadata}))
            rows += table.num_rows
            errors += table.num_rows - table["error"].null_count
    return rows, errors


def _groups(tables: Iterable[Any]) -> Iterator[list[Any]]:
    """Tables that together make a row group."""
    group: list[Any] = []
    for table in tables:
        group.append(table)
        if sum(t.nbytes for t in group) >= _GROUP_BYTES or sum(t.num_rows for t in group) >= _GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group


def unreadable(path: Path, count: int) -> list[tuple[str, str]]:
    """The first `count` images of the file that could not be read: path and error.

    Raises:
        OSError: the file cannot be read.
    """
    _, parquet = arrow()
    found: list[tuple[str, str]] = []
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["path", "error"]):
            found += [(row["path"], row["error"]) for row in batch.to_pylist() if row["error"] is not None]
            if len(found) >= count:
                break
    return found[:count]
