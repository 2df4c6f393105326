"""Files that are either whole or absent: written beside their place under another name, flushed to disk, then renamed."""

from __future__ import annotations

import errno
import glob
import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


def free_room(folder: Path) -> int:
    """Bytes free on the disk on which `folder` is, or would."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def disk_advice(path: Path) -> str:
    """What to do where `path` could not be written: how much room there is, and what helps."""
    free = free_room(path.parent) / 1e6
    return f"{free:,.1f} MB are free in {path.parent}: make room there, or see that it can be written"


class _Remembering(io.FileIO):
    """A file that keeps the error of a write: torch and other writers in C++ turn it into one of their own, without the reason."""

    failure: OSError | None = None

    def write(self, content: Buffer, /) -> int:
        try:
            return super().write(content) or 0
        except OSError as error:
            self.failure = error
            raise


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes `path`'s place when the block ends well, and vanishes when it does not.

    Raises:
        OSError: a full disk, a read-only or missing folder; the message names `path`, and nothing is left behind.
    """
    temporary: str | None = None
    raw: _Remembering | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        raw = _Remembering(descriptor, "wb")
        with io.BufferedWriter(raw) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _make_readable(temporary)
        os.replace(temporary, path)
        temporary = None
    except Exception as error:
        failure = error if isinstance(error, OSError) else raw.failure if raw is not None else None
        if failure is None:
            raise
        raise type(failure)(failure.errno, f"could not write {path}: {failure.strerror or failure}; nothing was changed") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes `content` (text as UTF-8) to `path`, whole or not at all; raises as `atomic` does."""
    with atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """An empty folder that becomes `path` when the block ends well, and vanishes with all it holds when it does not.

    Raises:
        FileExistsError: something is at `path` when the block begins or when it ends; it stays as it is.
        OSError: the folder that is to hold it is missing or cannot be written.
    """
    taken = f"{path} is there already; nothing was changed"
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise FileExistsError(errno.EEXIST, taken)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".part") as temporary:
        whole = Path(temporary) / path.name
        whole.mkdir()
        yield whole
        if hasattr(os, "sync"):  # many small files: once for all of them, and not for each
            os.sync()
        try:
            if path.exists():
                path.rmdir()  # an empty one, which Windows would not replace
            os.replace(whole, path)
        except OSError as error:
            raise FileExistsError(errno.EEXIST, taken) from error


def write_together(contents: Mapping[Path, bytes | str]) -> None:
    """Writes several files (text as UTF-8) that belong together, all or none: they take their places, in their order, once each of them
    is whole on the disk, and a failure puts back what was there before. Where the process is killed meanwhile, the last one is missing
    or all are of one kind, old or new.

    Raises:
        OSError: as `atomic`.
    """
    waiting: list[tuple[str, Path]] = []
    replaced: list[tuple[Path, str | None]] = []
    try:
        for path, content in contents.items():
            current = path
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
            waiting.append((temporary, path))
            with os.fdopen(descriptor, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            _make_readable(temporary)
        # The old ones go first, the last of them first: a process that is killed between never leaves old beside new.
        for temporary, path in reversed(waiting):
            current = path
            before = f"{temporary}.before" if path.exists() else None
            if before is not None:
                os.replace(path, before)
            replaced.append((path, before))
        for temporary, path in waiting:
            current = path
            os.replace(temporary, path)
    except BaseException as error:
        for path, before in reversed(replaced):
            if before is not None:
                os.replace(before, path)
            else:
                path.unlink(missing_ok=True)
        replaced.clear()
        if isinstance(error, OSError):
            raise type(error)(error.errno, f"could not write {current}: {error.strerror or error}; nothing was changed") from error
        raise
    finally:
        for temporary, _ in waiting:
            Path(temporary).unlink(missing_ok=True)
        for _, before in replaced:
            if before is not None:
                Path(before).unlink(missing_ok=True)


def clear_leftovers(path: Path) -> None:
    """Takes away what killed processes left of writing `path`; for those who know that nobody writes it now."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        if left.name.endswith((".part", ".part.before")):
            left.unlink(missing_ok=True)


def _make_readable(temporary: str) -> None:
    """mkstemp makes files for their owner alone; a result is as readable as any other file of the user."""
    umask = os.umask(0)
    os.umask(umask)
    os.chmod(temporary, 0o666 & ~umask)
