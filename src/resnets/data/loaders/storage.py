"""Where decoded images are kept: how much room they need, how much there is, and what their file is called.

Legend: N images of the source. Importing this module loads no torch.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from ...core.files import free_room
from ...core.machine import free_memory
from ..decoding.decode import EncodedImage
from ..errors import Unreadable
from ..image_source import ImageFiles, ImageSource
from ..sources.request import cache_directory

if TYPE_CHECKING:
    from .stored_images import Stored

Place = Literal["memory", "disk", "stream"]

_LOOKED_AT = 128
"""Images whose size is looked up to estimate that of all, and whose content names a source that does not name itself."""
_SHARE_OF_MEMORY = 0.25
"""Of the free memory, that pixels may take."""
_SHARE_OF_DISK = 0.8
"""Of the free room on the disk, that pixels may take."""


@runtime_checkable
class NamesItself(Protocol):
    """A source that knows a cheap digest of its whole content."""

    def fingerprint(self) -> str:
        """Another one where any image is another, or the order is."""


def choose_place(
    source: ImageSource, stored: Stored, loading: Literal["auto", "memory", "disk", "stream"], folder: Path | None
) -> tuple[Place, str]:
    """Where the images of `source` are to be kept, and why, in words."""
    if loading != "auto":
        return loading, "as asked for"
    needed = expected_bytes(source, stored)
    # Processes that train together on one machine each keep their own.
    memory = free_memory() // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    allowed = int(memory * _SHARE_OF_MEMORY)
    if needed <= allowed:
        return "memory", f"they fit into a quarter of the {_gigabytes(memory)} that are free"
    path = pixel_file(source, stored, folder)
    if path.exists():
        return "disk", f"their file is there already, and a quarter of the free memory ({_gigabytes(allowed)}) would not hold them"
    room = free_room(path.parent)
    if needed <= room * _SHARE_OF_DISK:
        return "disk", f"they need about {_gigabytes(needed)}, more than a quarter of the free memory ({_gigabytes(allowed)})"
    return "stream", (
        f"kept as pixels they need about {_gigabytes(needed)}, more than a quarter of the free memory ({_gigabytes(allowed)}) "
        f"and more than may be taken of the {_gigabytes(room)} free in {path.parent}"
    )


def expected_bytes(source: ImageSource, stored: Stored) -> int:
    """About how many bytes the kept pixels of all N images take, by the sizes of some."""
    sizes = []
    channels = stored.preprocessing.channels
    for index in _spread(len(source)):
        try:
            image = EncodedImage(source.read(index), channels)
            height, width = stored.shape(image.height, image.width)
        except (OSError, Unreadable):
            continue
        sizes.append(height * width * channels)
    return len(source) * sum(sizes) // max(1, len(sizes))


def pixel_file(source: ImageSource, stored: Stored, folder: Path | None) -> Path:
    """The file that holds, or would hold, the pixels of `source`; None for the folder stands for `pixels` below that of data sets."""
    folder = cache_directory() / "pixels" if folder is None else folder
    digest = hashlib.sha256(f"{stored.key}\n{fingerprint(source)}".encode()).hexdigest()[:24]
    called = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{source.name}-{source.split}").strip("-.")[:60]
    return folder / f"{called}-{digest}.pixels"


def fingerprint(source: ImageSource) -> str:
    """A digest of a source's content: by its own account, by its files' names, sizes and times, or by all names and some images."""
    if isinstance(source, NamesItself):
        return source.fingerprint()
    digest = hashlib.sha256(f"{source.name}\n{source.split}\n{len(source)}\n".encode())
    if isinstance(source, ImageFiles):
        digest.update(f"{source.root.absolute()}\n".encode(errors="surrogateescape"))
        for path in source.paths:
            try:
                state = os.stat(source.root / path)
                entry = f"{path}\0{state.st_size}\0{state.st_mtime_ns}\n"
            except OSError:
                entry = f"{path}\0missing\n"
            digest.update(entry.encode(errors="surrogateescape"))
        return digest.hexdigest()
    for index in range(len(source)):
        digest.update(f"{source.name_of(index)}\n".encode(errors="surrogateescape"))
    for index in _spread(len(source)):
        try:
            digest.update(hashlib.sha256(source.read(index)).digest())
        except OSError:
            digest.update(b"unreadable")
    return digest.hexdigest()


def _spread(count: int) -> range:
    """Places of some images, evenly over all."""
    return range(0, count, max(1, count // _LOOKED_AT))


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
