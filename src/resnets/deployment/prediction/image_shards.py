"""Shards whose images are read by number: tar files in WebDataset's layout, and Parquet files with a column of images.

They are not streamed here as in training: the place of each image is looked up once, so that their number is known, any process or machine
reads its own part, and work that was cut off goes on without reading what it has done. Importing this module loads neither torch nor
pyarrow.
"""

from __future__ import annotations

import os
import tarfile
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from ...core.errors import UserError
from ...core.reading import IMAGE_LIMIT, open_regular, read_file
from ...data.datasets.folders import IMAGE_ENDINGS, is_image, listed
from ...data.datasets.user_data import SHARD_ENDINGS

_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "picture")
"""Names of a Parquet file's column of images, where several could be it."""
_ROWS = 16
"""Rows that are read from a Parquet file at once."""


def is_shard(name: str) -> bool:
    """Whether a file is a shard by its name."""
    return name.lower().endswith(SHARD_ENDINGS)


@dataclass(frozen=True)
class TarShard:
    """The images of an uncompressed tar file."""

    path: str
    names: tuple[str, ...] = field(repr=False)
    places: array[int] = field(repr=False)
    """Where each image begins, in bytes, and how many it has; one pair after the other."""

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> bytes:
        begin, size = self.places[2 * index : 2 * index + 2]
        if size > IMAGE_LIMIT:
            raise OSError(f"it has {size:,} bytes, more than {IMAGE_LIMIT:,}")
        with open_regular(self.path) as file:
            file.seek(begin)
            content = file.read(size)
        if len(content) != size:
            raise OSError(f"{self.path} ends within it")
        return content

    def name_of(self, index: int) -> str:
        return f"{self.path}:{self.names[index]}"

    def part(self, start: int, stop: int) -> TarShard:
        return TarShard(self.path, self.names[start:stop], self.places[2 * start : 2 * stop])

    def state(self) -> str:
        return _file_state(self.path, 0, len(self))


@dataclass(frozen=True)
class ParquetShard:
    """Rows of a Parquet file, in one column of which images are."""

    path: str
    column: str
    rows: range

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> bytes:
        try:
            value = _cursor(self.path, self.column).value(self.rows[index])
        except (
            ValueError,
            StopIteration,
        ) as error:  # pyarrow's own errors are of the first kind; the second: fewer rows than it says
            _opened.key = None
            raise OSError(f"{self.path} is damaged: {' '.join(str(error).split()) or 'it ends early'}") from None
        content = value.get("bytes") if isinstance(value, dict) else value
        path = value.get("path") if isinstance(value, dict) else None
        if content is None and path and isinstance(path, str):
            folder = os.path.dirname(self.path) or "."
            content = read_file(os.path.join(folder, path), inside=folder)
        if not isinstance(content, bytes):
            raise OSError("the row holds no image")
        return content

    def name_of(self, index: int) -> str:
        return f"{self.path}:{self.rows[index]}"

    def part(self, start: int, stop: int) -> ParquetShard:
        return ParquetShard(self.path, self.column, self.rows[start:stop])

    def state(self) -> str:
        return _file_state(f"{self.path}:{self.column}", self.rows.start, self.rows.stop, self.path)


def _file_state(name: str, start: int, stop: int, path: str | None = None) -> str:
    status = os.stat(path or name)
    return f"{name}\0{start}\0{stop}\0{status.st_size}\0{status.st_mtime_ns}"


class _Cursor:
    """A place in a Parquet file, from which rows are read forward, few at a time; going back opens the row group again."""

    def __init__(self, path: str, column: str) -> None:
        from ...core.optional import arrow

        _, parquet = arrow()
        self.file = parquet.ParquetFile(path)
        self.column = column
        self.ends = list(accumulate(self.file.metadata.row_group(g).num_rows for g in range(self.file.metadata.num_row_groups)))
        self.group, self.first, self.values = -1, 0, []  # type: ignore[var-annotated]
        self.batches: Iterator[Any] = iter(())

    def value(self, row: int) -> Any:
        """What the column holds in a row."""
        group = bisect_right(self.ends, row)
        if group != self.group or row < self.first:
            self.group, self.first, self.values = group, self.ends[group - 1] if group else 0, []
            self.batches = self.file.iter_batches(_ROWS, row_groups=[group], columns=[self.column], use_threads=False)
        while row >= self.first + len(self.values):
            self.first += len(self.values)
            self.values = next(self.batches).column(0)
        return self.values[row - self.first].as_py()


_opened = threading.local()
"""The file in which this thread read last: (process, path, column) and the cursor."""


def _cursor(path: str, column: str) -> _Cursor:
    key = (os.getpid(), path, column)  # a forked process shares the place in an open file with its parent, so it opens its own
    if getattr(_opened, "key", None) != key:
        _opened.cursor, _opened.key = _Cursor(path, column), key
    found: _Cursor = _opened.cursor
    return found


def open_shard(path: str) -> TarShard | ParquetShard:
    """The images of one shard.

    Raises:
        ValueError: it is damaged, or holds no images.
        OSError: it cannot be read.
    """
    return _open_tar(path) if path.lower().endswith(".tar") else _open_parquet(path)


def _open_tar(path: str) -> TarShard:
    """Of the members that share their name up to the first dot, the sample of WebDataset, those that are called NAME.ENDING are its
    images, and others (NAME.mask.png) only where there are none."""
    samples: dict[str, list[tuple[str, int, int]]] = {}
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file, mode="r:") as bundle:
            for member in bundle:
                name = member.name.rpartition("/")[2]
                if member.isreg() and is_image(name) and not name.startswith("."):
                    key = member.name[: len(member.name) - len(name)] + name.partition(".")[0]
                    samples.setdefault(key, []).append((member.name, member.offset_data, member.size))
    except tarfile.TarError as error:
        raise UserError(f"{path} is no tar file that can be read without unpacking, or it is damaged: {error}") from None
    found = []
    for members in samples.values():
        plain = [member for member in members if member[0].rpartition("/")[2].count(".") == 1]
        found += plain or members
    if not found:
        raise UserError(f"{path} holds no images ({', '.join(IMAGE_ENDINGS)})")
    found.sort(key=lambda member: member[1])
    return TarShard(path, tuple(name for name, _, _ in found), array("q", [n for _, begin, size in found for n in (begin, size)]))


def _open_parquet(path: str) -> ParquetShard:
    from ...core.optional import arrow

    pa, parquet = arrow()

    try:
        with parquet.ParquetFile(path) as file:
            schema, count = file.schema_arrow, file.metadata.num_rows
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"{path} is no Parquet file, or it is damaged: {' '.join(str(error).split())}") from None

    def is_bytes(kind: Any) -> bool:
        return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    able = [
        entry.name
        for entry in schema
        if is_bytes(entry.type)
        or (pa.types.is_struct(entry.type) and any(part.name == "bytes" and is_bytes(part.type) for part in entry.type))
    ]
    able = able if len(able) == 1 else [name for name in able if name.lower() in _COLUMNS]
    if not able or not count:
        raise UserError(f"{path} has no column of images; it has {listed(schema.names)}" if count else f"{path} has no rows")
    return ParquetShard(path, able[0], range(count))
