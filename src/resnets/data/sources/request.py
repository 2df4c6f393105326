"""What every source of a data set's files is asked, and where fetched files are kept. Importing this module loads no torch."""

from __future__ import annotations

import difflib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UserError
from ...core.files import atomic
from ..errors import DataError
from .files import FILES, DataFile

Report = Callable[[str], None]


@dataclass(frozen=True)
class Request:
    """What every source is asked."""

    name: str
    folder: Path | None
    """The folder that the user named."""
    report: Report

    @property
    def files(self) -> tuple[DataFile, ...]:
        return FILES[self.name]

    @property
    def cache(self) -> Path:
        return cache_directory() / self.name


@dataclass(frozen=True)
class Source:
    """A place to look: `find` gives the folder that holds verified files, or raises NotThere with the reason."""

    title: str
    find: Callable[[Request], Path]
    network: bool = False


def print_to_stderr(message: str) -> None:
    """The report of progress that is used where none is given."""
    print(message, file=sys.stderr, flush=True)


def cache_directory() -> Path:
    """Where fetched files are kept: $RESNETS_DATA, or `resnets/data` in the platform's cache folder. It need not exist yet.

    Raises:
        DataError: the user has no home folder and RESNETS_DATA is not set.
    """
    chosen = os.environ.get("RESNETS_DATA")
    if chosen:
        return Path(chosen).expanduser().absolute()
    platform: str = sys.platform
    try:
        if platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            base = Path(local) if local else Path.home() / "AppData" / "Local"
        elif platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            stated = os.environ.get("XDG_CACHE_HOME", "")
            # A relative path there is to be ignored (XDG Base Directory Specification).
            base = Path(stated) if os.path.isabs(stated) else Path.home() / ".cache"
    except RuntimeError as error:
        raise DataError("there is no home folder to keep datasets in; set RESNETS_DATA to a folder that can be written") from error
    return base / "resnets" / "data"


def offline_reason(offline: bool | None) -> str | None:
    """What forbids the network, in words, or None."""
    if offline is None:
        value = os.environ.get("RESNETS_OFFLINE", "")
        return f"RESNETS_OFFLINE={value}" if value.strip().lower() not in ("", "0", "false", "no", "off") else None
    return "offline=True" if offline else None


def known_name(name: str, names: Iterable[str]) -> str:
    """`name`, if it is one of `names`; a ValueError that proposes the nearest one if not."""
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UserError(f"there is no dataset {name!r}: {hint}The datasets are {', '.join(sorted(names))}")


def keep(source: Path, cache: Path) -> None:
    """Copy a verified file into the cache, whole or not at all.

    Raises:
        DataError: the cache cannot be written.
    """
    try:
        with open(source, "rb") as stream, atomic(cache / source.name) as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
    except OSError as error:
        raise _cannot_write(cache, error) from error


@contextmanager
def workspace(cache: Path) -> Iterator[Path]:
    """A temporary folder inside the cache (on the disk that is meant for data), gone with all it holds when the block ends."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=cache) as folder:
            yield Path(folder)
    except OSError as error:
        raise _cannot_write(cache, error) from error


def _cannot_write(cache: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot write to the cache {cache}: {error.strerror or error}; free space there or set RESNETS_DATA to another folder"
    )
