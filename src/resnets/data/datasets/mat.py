"""MATLAB's file format, level 5, as far as ImageNet's `meta.mat` uses it: one array of structs of texts and numbers.

    128 bytes of header, the last four of them version and byte order (IM little-endian, MI big-endian), then elements:
    tag      uint32 type, uint32 bytes; or, for up to four bytes of data, uint16 type, uint16 bytes and the data in the tag itself
    data     padded to a multiple of eight bytes
    matrix   (type 14) elements: flags (class in the lowest byte), dimensions, name, then the content by class
    packed   (type 15) a zlib stream that holds one element

Source: The MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...core.reading import read_file
from ..errors import DataError

_MATRIX, _PACKED = 14, 15
_NUMBERS = {1: "b", 2: "B", 3: "h", 4: "H", 5: "i", 6: "I", 7: "f", 9: "d", 12: "q", 13: "Q"}
"""By type of an element: its numbers, in the letters of `struct`."""
_TEXTS = {16: "utf-8", 17: "utf-16", 18: "utf-32"}
_STRUCT, _CHAR = 2, 4
_NUMERIC = range(6, 16)
"""Classes of matrices; the numeric ones are double, single and the whole numbers."""


def read_structs(path: Path, name: str) -> list[dict[str, Any]]:
    """The structs of the array called `name`: by field a text, a number, or a list of numbers; None for a content of another kind.

    Raises:
        DataError: the file is no such file, is damaged, or has no such array.
        OSError: it cannot be read.
    """
    content = read_file(path)
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise DataError(f"{path} is no MATLAB file of level 5; get a fresh copy of the file")
    try:
        at = 128
        while at < len(content):
            kind, data, at = _element(content, at, order)
            if kind == _PACKED:
                kind, data, _ = _element(zlib.decompress(data), 0, order)
            matrix = _matrix(data, order) if kind == _MATRIX else None
            if matrix is not None and matrix.name == name and isinstance(matrix.value, list):
                return matrix.value
    except (struct.error, zlib.error, ValueError, IndexError, KeyError) as error:
        raise DataError(f"{path} is damaged: {error}; get a fresh copy of the file") from error
    raise DataError(f"{path} has no array of structs called {name}; is it another file?")


@dataclass(frozen=True)
class _Matrix:
    name: str
    value: Any


def _element(content: bytes, at: int, order: str) -> tuple[int, bytes, int]:
    """Type and data of the element at a place, and the place of the next one."""
    kind, size = struct.unpack_from(f"{order}II", content, at)
    if kind >> 16:  # the short form: the size in the upper half of the first word
        return kind & 0xFFFF, content[at + 4 : at + 4 + (kind >> 16)], at + 8
    end = at + 8 + size
    if end > len(content):
        raise UserError(f"an element of {size} bytes does not fit")
    # Packed elements alone are not padded.
    return kind, content[at + 8 : end], end if kind == _PACKED else end + -size % 8


def _matrix(content: bytes, order: str) -> _Matrix:
    if not content:
        return _Matrix("", None)
    _, flags, at = _element(content, 0, order)
    kind = struct.unpack_from(f"{order}I", flags)[0] & 0xFF
    _, dimensions, at = _element(content, at, order)
    count = math.prod(struct.unpack(f"{order}{len(dimensions) // 4}i", dimensions))
    _, name, at = _element(content, at, order)
    value: Any = None
    if kind == _STRUCT:
        value = _structs(content, at, order, count)
    elif kind == _CHAR:
        stored, data, _ = _element(content, at, order)
        value = _text(stored, data, order)
    elif kind in _NUMERIC:
        stored, data, _ = _element(content, at, order)
        numbers = _numbers(stored, data, order)
        value = numbers[0] if count == 1 else list(numbers)
    return _Matrix(name.decode("ascii"), value)


def _structs(content: bytes, at: int, order: str, count: int) -> list[dict[str, Any]]:
    _, length, at = _element(content, at, order)
    width = struct.unpack(f"{order}i", length)[0]
    _, names, at = _element(content, at, order)
    fields = [names[i : i + width].rstrip(b"\0").decode("ascii") for i in range(0, len(names), width)]
    found = []
    for _ in range(count):
        entry = {}
        for field in fields:
            _, data, at = _element(content, at, order)
            entry[field] = _matrix(data, order).value
        found.append(entry)
    return found


def _numbers(kind: int, data: bytes, order: str) -> tuple[Any, ...]:
    letter = _NUMBERS[kind]
    return struct.unpack(f"{order}{len(data) // struct.calcsize(letter)}{letter}", data)


def _text(kind: int, data: bytes, order: str) -> str:
    if kind in _TEXTS:
        ending = {"<": "-le", ">": "-be"}[order] if kind > 16 else ""
        return data.decode(_TEXTS[kind] + ending)
    return "".join(map(chr, _numbers(kind, data, order)))
