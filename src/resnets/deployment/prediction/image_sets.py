"""The images that a prediction is asked for: files, folders of them and shards, in order, each to be read by its number.

Legend: N images. Importing this module loads neither torch nor pyarrow.
"""

from __future__ import annotations

import glob
import hashlib
import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from ...core.errors import UserError
from ...core.reading import read_file
from ...data.datasets.folders import IMAGE_ENDINGS, is_image
from .image_shards import is_shard, open_shard


class Piece(Protocol):
    """Images that are stored together."""

    def __len__(self) -> int:
        """How many."""

    def read(self, index: int) -> bytes:
        """The encoded image; OSError where it cannot be read."""

    def name_of(self, index: int) -> str:
        """What a person calls it: the path of its file, or SHARD:NAME."""

    def part(self, start: int, stop: int) -> Piece:
        """Those from `start` up to `stop`."""

    def state(self) -> str:
        """What changes when the images are others."""


@dataclass(frozen=True)
class Files:
    """Images in files of their own."""

    paths: tuple[str, ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.paths)

    def read(self, index: int) -> bytes:
        return read_file(self.paths[index])

    def name_of(self, index: int) -> str:
        return self.paths[index]

    def part(self, start: int, stop: int) -> Files:
        return Files(self.paths[start:stop])

    def state(self) -> str:
        # Their names alone: asking for the size of each of millions of files would take longer than it is worth.
        return "\0".join(self.paths)


@dataclass(frozen=True)
class Images:
    """Images of all pieces, one after the other."""

    pieces: tuple[Piece, ...]
    ends: tuple[int, ...] = ()
    """How many images there are up to the end of each piece."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends", tuple(accumulate(len(piece) for piece in self.pieces)))

    def __len__(self) -> int:
        """N."""
        return self.ends[-1] if self.ends else 0

    def _place(self, index: int) -> tuple[Piece, int]:
        piece = bisect_right(self.ends, index)
        return self.pieces[piece], index - (self.ends[piece - 1] if piece else 0)

    def read(self, index: int) -> bytes:
        """The encoded image.

        Raises:
            OSError: it cannot be read.
        """
        piece, place = self._place(index)
        return piece.read(place)

    def name_of(self, index: int) -> str:
        """The path of its file as it was given, SHARD.tar:MEMBER, or SHARD.parquet:ROW."""
        piece, place = self._place(index)
        return piece.name_of(place)

    def part(self, start: int, stop: int) -> Images:
        """Those from `start` up to `stop`, counted from 0."""
        firsts = (0, *self.ends[:-1])
        return Images(
            tuple(
                piece.part(max(start - first, 0), min(stop - first, len(piece)))
                for piece, first, end in zip(self.pieces, firsts, self.ends, strict=True)
                if first < stop and start < end
            )
        )

    def digest(self) -> str:
        """A number that is another one for other images: by the names of files, and by the sizes and times of shards."""
        summed = hashlib.sha256()
        for piece in self.pieces:
            summed.update(f"{type(piece).__name__}\0{piece.state()}\n".encode("utf-8", "surrogateescape"))
        return summed.hexdigest()


def open_images(paths: Sequence[Path]) -> Images:
    """The images named: files, shards (.tar, .parquet), patterns of these, and folders, in which images are looked for and, where
    there are none, shards. Order within a folder is that of the names.

    Raises:
        ValueError: a path that does not exist, a folder without images, or a shard that is damaged or has no images.
        OSError: a folder or shard cannot be read.
    """
    pieces: list[Piece] = []
    files: list[str] = []

    def end_files() -> None:
        if files:
            pieces.append(Files(tuple(files)))
            files.clear()

    for path in (found for named in paths for found in _matches(named)):
        if path.is_dir():
            inside = list(_files_in(str(path), is_image))
            shards = [] if inside else [p for p in _files_in(str(path), is_shard) if not os.path.basename(p).startswith(".")]
            if not inside and not shards:
                raise UserError(f"the folder {path} holds no images ({', '.join(IMAGE_ENDINGS)}) and no shards (.tar, .parquet)")
        elif path.exists():
            inside, shards = ([], [str(path)]) if is_shard(path.name) else ([str(path)], [])
        else:
            raise UserError(f"there is no file or folder {path}")
        files += inside
        if shards:
            end_files()
            pieces += [open_shard(shard) for shard in shards]
    end_files()
    return Images(tuple(pieces))


def _matches(path: Path) -> list[Path]:
    """The path itself, or what fits it where it is a pattern."""
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    return [Path(match) for match in sorted(glob.glob(str(path), recursive=True))] or [path]


def _files_in(folder: str, wanted: Callable[[str], bool]) -> Iterator[str]:
    """The wanted files in a folder and below, in the order of the parts of their paths."""
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    for entry in inside:
        path = entry.name if folder == "." else os.path.join(folder, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _files_in(path, wanted)
        elif wanted(entry.name) and entry.is_file():
            yield path


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files named, and every image file in the folders named and below, in the order of their names.

    Raises:
        ValueError: a path that does not exist, or a folder without images.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [Path(file) for file in _files_in(str(path), is_image)]
            if not inside:
                raise UserError(f"the folder {path} holds no images ({', '.join(IMAGE_ENDINGS)})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UserError(f"there is no file or folder {path}")
    return found
