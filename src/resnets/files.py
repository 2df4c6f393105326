"""Files that are either whole or absent: written beside their place under another name, flushed to disk, then renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic(path: Path) -> Iterator[BinaryIO]:
    """A binary file that takes `path`'s place when the block ends well, and vanishes when it does not.

    Raises:
        OSError: a full disk, a read-only or missing folder; the message names `path`, and nothing is left behind.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files for their owner alone; a result is as readable as any other file of the user.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise type(error)(error.errno, f"could not write {path}: {error.strerror or error}; nothing was changed") from error
    finally:
        if temporary is not None and os.path.exists(temporary):
            os.unlink(temporary)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Writes `content` (text as UTF-8) to `path`, whole or not at all; raises as `atomic` does."""
    with atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
