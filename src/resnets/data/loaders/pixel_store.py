"""`PixelStore`: all images of a source, decoded once and reduced to the size that training needs, in memory or in a file.

Legend: N images of the source, M of them that can be read, C channels. Pixels are uint8, (height, width, C).

A file holds the pixels, one image after the other, then the index (`shapes` (M, 2) int32, `kept` (M,) int64, `checks` (M,) uint32:
CRC-32 of each image's pixels; the unreadable images as JSON), then a trailer with their sizes and the index's own CRC-32. Its name carries
a digest of all that its pixels follow from: names, sizes and times of the source's files, the settings and the decoder.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError
from ...core.files import atomic
from ..augmentation.crops import ResizedCrop
from ..decoding.decode import Pixels
from ..decoding.preprocessing import Preprocessing
from ..image_source import ImageSource
from ..workers.batches import BatchProducer, RawBatch, Request, ThreadedProducer
from ..workers.processes import ProcessProducer, processes_work
from .rows import cut, fitted
from .storage import pixel_file
from .stored_images import ForStore, Stored

_MAGIC = b"resnets1"
_TRAILER = struct.Struct("<8sQQQI")
"""Magic, bytes of pixels, M, bytes of the JSON, CRC-32 of the index."""
_SEGMENT = 64 << 20
"""Bytes that are taken from memory at once; growing one large array would copy it."""
_AT_ONCE = 32
"""Images in the making together."""
CHECKED = 1 << 30
"""Bytes of pixels that are compared with their checks when a file is opened, spread evenly over it; all, where there are fewer."""


@dataclass(frozen=True, eq=False)
class PixelStore:
    """Pixels of M images."""

    segments: list[NDArray[np.uint8]]
    """Flat; each image is whole in one of them."""
    places: NDArray[np.int64]
    """(M, 2): segment, and offset in it."""
    shapes: NDArray[np.int32]
    """(M, 2): height and width."""
    channels: int
    """C."""
    kept: NDArray[np.int64]
    """(M,): places in the source."""
    excluded: list[tuple[str, str]]
    """Name and reason of each unreadable image."""
    where: str
    """In words."""

    def __len__(self) -> int:
        """M."""
        return len(self.kept)

    def pixels(self, index: int) -> Pixels:
        """An image, as a view of the store."""
        segment, offset = self.places[index].tolist()
        height, width = self.shapes[index].tolist()
        flat: Pixels = self.segments[segment][offset : offset + height * width * self.channels]
        return flat.reshape(height, width, self.channels)


def memory_store(
    source: ImageSource, stored: Stored, *, workers: int, folder: Path | None, report: Callable[[str], None]
) -> PixelStore:
    """Decodes all images of `source` into memory; `folder` is not used."""
    segments: list[NDArray[np.uint8]] = []
    places: list[tuple[int, int]] = []
    index, used = _Index(), 0
    for flat, shape, number in _decoded(source, stored, workers, report, index):
        if not segments or used + len(flat) > len(segments[-1]):
            segments.append(np.empty(max(_SEGMENT, len(flat)), np.uint8))
            used = 0
        segments[-1][used : used + len(flat)] = flat
        places.append((len(segments) - 1, used))
        index.add(number, shape, 0)
        used += len(flat)
    size = sum(len(segment) for segment in segments[:-1]) + used
    if segments:
        segments[-1] = segments[-1][:used].copy()
    where = f"in memory ({in_words(size)})"
    return PixelStore(
        segments, np.array(places, np.int64).reshape(-1, 2), index.shapes_array(), stored.preprocessing.channels,
        index.kept_array(), index.excluded, where,
    )  # fmt: skip


def disk_store(
    source: ImageSource, stored: Stored, *, workers: int, folder: Path | None, report: Callable[[str], None]
) -> PixelStore:
    """The store's file below `folder`, mapped into memory; made first where it is missing or damaged.

    Raises:
        OSError: it cannot be written, for instance because the disk is full; nothing is left behind then.
    """
    path = pixel_file(source, stored, folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path):
        if path.exists():
            try:
                return read_store(path, stored.preprocessing.channels)
            except ValueError as error:
                report(f"{error}; it is made again")
        # What a killed process left behind, which nobody else can be writing now.
        for rest in path.parent.glob(f".{path.name}.*.part"):
            rest.unlink(missing_ok=True)
        index, size = _Index(), 0
        with atomic(path) as file:
            for flat, shape, number in _decoded(source, stored, workers, report, index):
                file.write(flat.data)
                index.add(number, shape, zlib.crc32(flat.data))
                size += len(flat)
            names = json.dumps(index.excluded).encode()
            content = index.shapes_array().tobytes() + index.kept_array().tobytes() + index.checks_array().tobytes() + names
            file.write(content)
            file.write(_TRAILER.pack(_MAGIC, size, len(index.kept), len(names), zlib.crc32(content)))
        return read_store(path, stored.preprocessing.channels)


def read_store(path: Path, channels: int) -> PixelStore:
    """The store in a file.

    Raises:
        ValueError: it is cut short or damaged; the message names it.
        OSError: it cannot be read.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, length - _TRAILER.size))
        trailer = file.read()
        if len(trailer) != _TRAILER.size or trailer[:8] != _MAGIC:
            raise UserError(f"{path} is cut short or no store of pixels")
        _, size, count, names, check = _TRAILER.unpack(trailer)
        entries = count * (8 + 8 + 4)
        if size + entries + names + _TRAILER.size != length:
            raise UserError(f"{path} has {length:,} bytes, which are not those that it says it has")
        file.seek(size)
        content = file.read(entries + names)
    if zlib.crc32(content) != check:
        raise UserError(f"{path} is damaged: its index is not what was written")
    shapes = np.frombuffer(content, np.int32, 2 * count).reshape(-1, 2)
    kept = np.frombuffer(content, np.int64, count, 8 * count)
    checks = np.frombuffer(content, np.uint32, count, 16 * count)
    excluded = [(str(name), str(reason)) for name, reason in json.loads(content[entries:])]
    flat = np.memmap(path, np.uint8, "r", shape=(size,)) if size else np.empty(0, np.uint8)
    lengths = shapes.astype(np.int64).prod(1) * channels
    places = np.stack([np.zeros(count, np.int64), np.cumsum(lengths) - lengths], 1)
    if lengths.sum() != size:
        raise UserError(f"{path} is damaged: its images have {lengths.sum():,} bytes and its pixels {size:,}")
    # The plain array costs less at every access than numpy's class for mapped files.
    store = PixelStore([flat.view(np.ndarray)], places, shapes, channels, kept, excluded, f"in {path} ({in_words(size)})")
    for index in range(0, count, max(1, -(-size // CHECKED))):
        if zlib.crc32(store.pixels(index).data) != checks[index]:
            raise UserError(f"{path} is damaged: the pixels of its image {index} are not those that were written")
    return store


def in_words(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


class _Index:
    """Grows by an image at a time."""

    def __init__(self) -> None:
        self.kept: list[int] = []
        self.shapes: list[tuple[int, int]] = []
        self.checks: list[int] = []
        self.excluded: list[tuple[str, str]] = []

    def add(self, number: int, shape: tuple[int, int], check: int) -> None:
        self.kept.append(number)
        self.shapes.append(shape)
        self.checks.append(check)

    def shapes_array(self) -> NDArray[np.int32]:
        return np.array(self.shapes, np.int32).reshape(-1, 2)

    def kept_array(self) -> NDArray[np.int64]:
        return np.array(self.kept, np.int64)

    def checks_array(self) -> NDArray[np.uint32]:
        return np.array(self.checks, np.uint32)


def _decoded(
    source: ImageSource, stored: Stored, workers: int, report: Callable[[str], None], index: _Index
) -> Iterator[tuple[NDArray[np.uint8], tuple[int, int], int]]:
    """Flat pixels, height and width, and place in the source of every readable image; the others go into `index.excluded`."""
    row_reader = ForStore(source, stored)
    producer: BatchProducer = (
        ProcessProducer(row_reader, workers, report) if workers and processes_work() else ThreadedProducer(row_reader, workers)
    )
    channels = stored.preprocessing.channels
    requests = (Request(np.arange(start, min(start + _AT_ONCE, len(source))), None) for start in range(0, len(source), _AT_ONCE))
    report(f"{source.name} {source.split}: all {len(source):,} images are decoded once")
    try:
        for request, made in producer.batches(requests, stored.capacity):
            yield from _rows(source, request, made, channels, index)
    finally:
        producer.close()


def _rows(
    source: ImageSource, request: Request, made: RawBatch, channels: int, index: _Index
) -> Iterator[tuple[NDArray[np.uint8], tuple[int, int], int]]:
    failed = dict(made.failures)
    for row, number in enumerate(request.indices.tolist()):
        if row in failed:
            index.excluded.append((source.name_of(number), failed[row]))
        else:
            height, width = made.shapes[row].tolist()
            yield made.pixels[row, : height * width * channels], (height, width), number


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Lets one process at a time in, so that those of one machine that train together make one file, not several."""
    try:
        import fcntl
    except ImportError:  # Windows: each makes its own, and the last one stays
        yield
        return
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class FromStore:
    """Rows from stored pixels; `index` counts the images of the store."""

    store: PixelStore
    preprocessing: Preprocessing
    crop: ResizedCrop | None

    def make(self, index: int, numbers: Sequence[float] | None, out: NDArray[np.uint8]) -> tuple[int, int]:
        """Writes the row to the flat buffer `out`."""
        size, channels = self.preprocessing.size, self.preprocessing.channels
        pixels = self.store.pixels(index)
        place = out[: size * size * channels].reshape(size, size, channels)
        if self.crop is not None and numbers is not None:
            full = pixels.shape[0], pixels.shape[1]
            cut(pixels, self.crop.box(*full, size, numbers), full, size, place)
        else:
            place[:] = pixels if pixels.shape[:2] == (size, size) else fitted(pixels, self.preprocessing)
        return size, size

    def name_of(self, index: int) -> str:
        """For messages."""
        return f"stored image {index}"
