"""The IDX file format: one array of any rank, in which MNIST and Fashion-MNIST are published.

    offset 0    0x00 0x00 type rank      type 0x08 is unsigned byte, the only one read here
    offset 4    rank x uint32, big-endian: the dimensions, slowest first
    then        the elements in C order

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", section "File formats".
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.files import write_atomically
from ...core.reading import TABLE_LIMIT, open_regular
from ..errors import DataError

_UNSIGNED_BYTE = 0x08
_OTHER_TYPES = {0x09: "int8", 0x0B: "int16", 0x0C: "int32", 0x0D: "float32", 0x0E: "float64"}
_GZIP_MAGIC = b"\x1f\x8b"
# Deflate codes at most 258 bytes in two bits, so a header that promises more than this ratio is false (RFC 1951, 3.2.5).
_DEFLATE_MAX_RATIO = 1032
_PIECE = 1 << 18  # bytes unpacked at a time: small enough to be in the processor's cache when they are copied out


def read_idx(path: Path) -> NDArray[np.uint8]:
    """The array of an IDX file, gzip-compressed where the name ends in `.gz`: uint8, of the file's dimensions, writable.

    Raises:
        DataError: the file cannot be read, is not gzip though named so, is not IDX, holds another type than
            unsigned bytes, is cut short, or goes on after its last element.
    """
    path = Path(path)
    compressed = path.suffix == ".gz"
    try:
        with open_regular(path) as file, gzip.GzipFile(fileobj=file) if compressed else file as stream:
            stored = os.fstat(file.fileno()).st_size
            shape = _read_header(stream, path)
            size = math.prod(shape)
            most = stored * _DEFLATE_MAX_RATIO if compressed else stored - idx_header_size(len(shape))
            if size > most:
                raise _cut_short(path, size, most)
            if size > TABLE_LIMIT:
                raise DataError(
                    f"{path} holds {size:,} bytes of pixels, more than {TABLE_LIMIT:,}; it is no data set of small images"
                )
            try:
                array = np.empty(shape, np.uint8)
            except ValueError as error:  # no elements, and yet more dimensions, or larger ones, than an array can have
                raise DataError(
                    f"{path}: its header promises {len(shape)} dimensions that no array has ({error}); get a fresh copy of the file"
                ) from error
            found = _fill(stream, array.reshape(-1).data)
            if found < size:
                raise _cut_short(path, size, found)
            if stream.read(1):
                raise DataError(
                    f"{path} goes on after the {size} elements that its header {shape} promises; get a fresh copy of the file"
                )
    except gzip.BadGzipFile as error:
        raise DataError(f"{path} is not a sound gzip file ({error}); get a fresh copy of the file") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged or cut short ({error}); get a fresh copy of the file") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check the path and its permissions") from error
    return array


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    """Write an array as an IDX file, gzip-compressed where the name ends in `.gz`; equal arrays give equal bytes.

    Args:
        path: the file; it appears whole or not at all, in place of one that was there.
        array: uint8, of rank 1 to 255, every dimension below 2**32.

    Raises:
        DataError: the array is not of that kind.
        OSError: a full disk, a read-only or missing folder; nothing is left behind.
    """
    path = Path(path)
    if array.dtype != np.uint8:
        raise DataError(f"{path}: IDX files are written from uint8 arrays and this one is {array.dtype}; convert it first")
    packed = idx_header(array.shape) + array.tobytes()
    # No time stamp in the gzip header, so that the same array is the same file.
    write_atomically(path, gzip.compress(packed, mtime=0) if path.suffix == ".gz" else packed)


def idx_header(shape: tuple[int, ...]) -> bytes:
    """The header of an IDX file of unsigned bytes.

    Raises:
        DataError: the rank is not 1 to 255, or a dimension does not fit 32 bits.
    """
    if not 1 <= len(shape) <= 255 or any(not 0 <= size < 1 << 32 for size in shape):
        raise DataError(f"an array of shape {shape} is no IDX file: the rank is 1 to 255 and each dimension is below 2**32")
    return struct.pack(f">HBB{len(shape)}I", 0, _UNSIGNED_BYTE, len(shape), *shape)


def idx_header_size(rank: int) -> int:
    """Bytes before the first element of an IDX file of that rank."""
    return 4 + 4 * rank


def _read_header(stream: BufferedIOBase, path: Path) -> tuple[int, ...]:
    magic = stream.read(4)
    if magic[:2] == _GZIP_MAGIC:
        raise DataError(f"{path} is gzip-compressed under a name without .gz; rename it to {path.name}.gz")
    if len(magic) < 4 or magic[:2] != b"\0\0" or not magic[3]:
        raise DataError(f"{path} is not an IDX file: it starts with {magic!r} in place of 00 00 08 and a rank; get a fresh copy")
    if magic[2] != _UNSIGNED_BYTE:
        kind = _OTHER_TYPES.get(magic[2], "an unknown type")
        raise DataError(f"{path} holds {kind} (type code 0x{magic[2]:02x}); convert it to unsigned bytes (0x08)")
    dimensions = stream.read(4 * magic[3])
    if len(dimensions) < 4 * magic[3]:
        raise DataError(f"{path} is cut short within its header; get a fresh copy of the file")
    return struct.unpack(f">{magic[3]}I", dimensions)


def _fill(stream: BufferedIOBase, buffer: memoryview) -> int:
    """Read into the buffer until it is full or the stream ends; the number of bytes read."""
    filled = 0
    while filled < len(buffer):
        piece = stream.read(min(_PIECE, len(buffer) - filled))
        if not piece:
            break
        buffer[filled : filled + len(piece)] = piece
        filled += len(piece)
    return filled


def _cut_short(path: Path, promised: int, found: int) -> DataError:
    return DataError(f"{path} is cut short: its header promises {promised} elements and it has room for {found}; get a fresh copy")
