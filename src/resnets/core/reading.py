"""The gate through which files of users and strangers are read: regular files only, of bounded size, inside the folder that was named.

A device has no end, a FIFO no beginning, and a link or a `..` in a list leads anywhere on the machine. What is refused is refused before a
byte of it is read. Whoever means it says `--allow-outside` (RESNETS_ALLOW_OUTSIDE=1), which no recipe or data set can say for them.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import zipfile
import zlib
from functools import lru_cache
from io import BufferedReader
from pathlib import Path

from .errors import UserError
from .limits import VARIABLE, limits_factor

MIB = 2**20
IMAGE_LIMIT, TABLE_LIMIT, SETTINGS_LIMIT = 512 * MIB, 2048 * MIB, 4 * MIB
"""Bytes of one image; of one list of images or annotations; of one recipe."""
ALLOW_OUTSIDE = "RESNETS_ALLOW_OUTSIDE"
"""The environment variable of --allow-outside; worker processes and ranks inherit it."""
TRUST = "RESNETS_TRUST"
"""The environment variable of --trust."""
ZIP_ERRORS = (
    zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, struct.error, KeyError, ValueError, RuntimeError, EOFError, RecursionError
)  # fmt: skip
"""What a damaged zip makes Python's reader raise: versions and compressions that are none, passwords, names that are no text."""
_WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def trusted() -> bool:
    """Whether the user trusts whoever wrote the files that are opened."""
    return os.environ.get(TRUST, "") not in ("", "0")


class Refused(UserError, OSError):
    """A file that is not read: it is no regular file, is too large, or is outside. `strerror` says why as a clause."""

    def __init__(self, why: str, path: str | Path) -> None:
        OSError.__init__(self, errno.EPERM, why, str(path))

    def __str__(self) -> str:
        return f"{self.filename} {self.strerror}"


def open_regular(path: str | Path, *, inside: str | Path | None = None) -> BufferedReader:
    """The file at `path`, open for reading.

    Args:
        inside: the folder that a request named; the file's real path has to be in it.

    Raises:
        Refused: a device, named pipe, socket or folder; or it is outside of `inside`.
        OSError: it is missing or cannot be read.
    """
    name = os.fspath(path)
    if inside is not None:
        check_inside(name, inside)
    try:
        descriptor = os.open(name, os.O_RDONLY | _WITHOUT_WAITING)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nobody writes to a named pipe, or a socket
            raise Refused("is a named pipe or a socket, not a file", name) from None
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = next((words for is_kind, words in _KINDS if is_kind(mode)), "something else")
            raise Refused(f"is {kind}, not a file", name)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_file(path: str | Path, *, limit: int = IMAGE_LIMIT, inside: str | Path | None = None) -> bytes:
    """The whole content of a file.

    Args:
        limit: most bytes; RESNETS_LIMITS=2 in the environment doubles every limit.
        inside: as in `open_regular`.

    Raises:
        Refused: as `open_regular`, or it is larger.
        OSError: it is missing or cannot be read.
    """
    limit = int(limit * limits_factor())
    with open_regular(path, inside=inside) as file:
        size = os.fstat(file.fileno()).st_size
        parts, left = [], limit + 1 if size <= limit else 0
        while left and (
            part := file.read(min(left, max(size + 1, MIB)))
        ):  # asked for no more than there is: a read takes its memory at once
            parts.append(part)
            left -= len(part)
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        if size > limit or len(content) > limit:
            raise Refused(f"is larger than {limit / MIB:,.0f} MiB ({VARIABLE}=2 doubles the limits)", path)
        return content


def check_inside(path: str | Path, folder: str | Path) -> None:
    """Whether a path really is in a folder, links followed.

    Raises:
        Refused: it does not, and nobody allowed it.
    """
    if outside_allowed():
        return
    name, root = os.path.abspath(path), _real(os.path.abspath(folder))
    if os.path.islink(name) or ".." in Path(path).parts:  # which may lead up from where a link leads to
        real = os.path.realpath(path)
    else:
        real = os.path.join(_real(os.path.dirname(name)), os.path.basename(name))
    if not real.startswith(root.rstrip(os.sep) + os.sep):
        raise Refused(f"is outside of {folder}; --allow-outside (or {ALLOW_OUTSIDE}=1) reads it all the same", path)


def outside_allowed() -> bool:
    """Whether the user allowed files outside of the folders that were named."""
    return os.environ.get(ALLOW_OUTSIDE, "") not in ("", "0")


@lru_cache(maxsize=4096)
def _real(folder: str) -> str:
    return os.path.realpath(folder)
