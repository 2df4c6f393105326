"""Where the files of a dataset come from: the first of a list of sources that answers, its files verified before they count.

CIFAR's sources are in `cifar`, ImageNet's in `imagenet`. For Fashion-MNIST: a folder that the user names, the cache, the folder of
Debian's package, the publisher's mirrors, and Debian's package fetched and unpacked without installing it. Files that come over a network
are kept in the cache. Every file is checked against the table in `files`, so that it does not matter which source answers.
Importing this module loads no torch.
"""

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

from ..core.files import atomic
from .errors import DataError, NotThere
from .files import DIGITS_NAME, DIGITS_SHA256, FILES, DataFile, find, sha256, verify

Report = Callable[[str], None]

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where that package installs the files."""
SUBFOLDERS = (".", "FashionMNIST/raw", "raw")
"""Where the files may lie in a folder that the user names: directly, or as torchvision lays them."""
DIGITS_FOLDER = Path(__file__).parent / "digits"


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


def _debian_by_hand(request: Request) -> str:
    names = ", ".join(file.archive_name for file in request.files)
    return f"put {names} into a folder and name that folder, or into {request.cache}; or install Debian's package {DEBIAN_PACKAGE}."


def _archive_by_hand(request: Request) -> str:
    from .cifar import ARCHIVES, SITE

    names = " or ".join(archive.name for archive in ARCHIVES[request.name])
    return f"fetch {names} from {SITE}cifar.html on a machine that can, and put it into a folder and name that folder, or into {request.cache}."


def _imagenet_by_hand(request: Request) -> str:
    return "name the folder of your copy with --folder or --data-folder; ImageNet may be had, on its terms, from https://image-net.org."


@dataclass(frozen=True)
class Source:
    """A place to look: `find` gives the folder that holds verified files, or raises NotThere with the reason."""

    title: str
    find: Callable[[Request], Path]
    network: bool = False


def print_to_stderr(message: str) -> None:
    """The report of progress that is used where none is given."""
    print(message, file=sys.stderr, flush=True)


def locate(name: str, folder: Path | str | None = None, *, offline: bool | None = None, report: Report = print_to_stderr) -> Path:
    """The folder that holds the verified files of a dataset, fetched if need be.

    Args:
        name: a key of `SOURCES`.
        folder: where to look first. Its files are used in place. One that is damaged or another file is an error; a folder
            without the files is passed over, with a report.
        offline: True forbids the sources that need a network; None follows the environment variable RESNETS_OFFLINE.
        report: is given one line about each thing that takes time or went wrong.

    Raises:
        ValueError: there is no such dataset.
        DataError: no source has the files (with each one's reason), a file in `folder` is wrong, or the cache cannot be written.
    """
    sources = SOURCES[known_name(name, SOURCES)]
    request = Request(name, Path(folder).expanduser() if folder is not None else None, report)
    forbidden = offline_reason(offline)
    tried = []
    for source in sources:
        try:
            if source.network and forbidden:
                raise NotThere(f"not asked, because {forbidden} forbids the network")
            return source.find(request)
        except (NotThere, OSError) as error:  # OSError: a folder that may not be entered
            tried.append(f"  - {source.title}: {error}")
            if source.network and not forbidden:
                report(f"no answer from {source.title}: {error}")
    allow = f"allow the network (it is forbidden by {forbidden})" if forbidden else "connect this machine to a network"
    raise DataError(
        f"the files of {name} were not found. Tried:\n" + "\n".join(tried) + "\n"
        f"What to do: {allow} and try again; or {_BY_HAND[name](request)}"
    )


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


def known_name(name: str, names: Iterable[str]) -> str:
    """`name`, if it is one of `names`; a ValueError that proposes the nearest one if not."""
    names = list(names)
    if name in names:
        return name
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"there is no dataset {name!r}: {hint}The datasets are {', '.join(sorted(names))}")


def offline_reason(offline: bool | None) -> str | None:
    """What forbids the network, in words, or None."""
    if offline is None:
        value = os.environ.get("RESNETS_OFFLINE", "")
        return f"RESNETS_OFFLINE={value}" if value.strip().lower() not in ("", "0", "false", "no", "off") else None
    return "offline=True" if offline else None


def _complete(folder: Path, files: tuple[DataFile, ...]) -> list[Path]:
    """The path of each file in `folder`, none of them verified; NotThere with the names that are missing."""
    if not folder.is_dir():
        raise NotThere(f"there is no folder {folder}")
    paths = [find(folder, file) for file in files]
    missing = [file.archive_name for file, path in zip(files, paths, strict=True) if path is None]
    if missing:
        raise NotThere(f"{folder} lacks {', '.join(missing)}")
    return [path for path in paths if path is not None]


def _from_named_folder(request: Request) -> Path:
    if request.folder is None:
        raise NotThere("none was named")
    reasons = []
    for subfolder in SUBFOLDERS:
        folder = request.folder / subfolder
        try:
            paths = _complete(folder, request.files)
        except (NotThere, OSError) as error:
            reasons.append(str(error))
            continue
        for path, file in zip(paths, request.files, strict=True):
            verify(path, file)  # raises: what the user put there is never replaced behind their back
        return folder
    request.report(f"{reasons[0]}; looking for {request.name} elsewhere")
    raise NotThere(reasons[0])


def _from_cache(request: Request) -> Path:
    lacking = _lacking(request)
    for reason in lacking.values():
        if reason is not None:
            request.report(f"{reason}; a good copy takes its place as soon as there is one")
    if lacking:
        missing = [file.archive_name for file, reason in lacking.items() if reason is None]
        reasons = [str(reason) for reason in lacking.values() if reason is not None]
        raise NotThere("; ".join([*reasons, *([f"{request.cache} lacks {', '.join(missing)}"] if missing else [])]))
    return request.cache


def _from_debian_folder(request: Request) -> Path:
    for path, file in zip(_complete(DEBIAN_FOLDER, request.files), request.files, strict=True):
        try:
            verify(path, file)
        except DataError as error:
            raise NotThere(str(error)) from error
    for file, reason in _lacking(request).items():
        if reason is None:
            continue  # the installed files are used in place; only a wrong copy in the cache is put right
        try:
            _keep(DEBIAN_FOLDER, file, request)
        except DataError as error:
            request.report(str(error))
    return DEBIAN_FOLDER


def _from_mirrors(request: Request) -> Path:
    from .fetch import from_mirrors

    with workspace(request.cache) as folder:
        for file in _lacking(request):
            _keep(from_mirrors(file, folder, request.report).parent, file, request)
    return request.cache


def _from_debian_package(request: Request) -> Path:
    from .fetch import from_debian

    with workspace(request.cache) as folder:
        unpacked = from_debian(DEBIAN_PACKAGE, folder, request.report) / DEBIAN_FOLDER.relative_to(DEBIAN_FOLDER.anchor)
        for path, file in zip(_complete(unpacked, request.files), request.files, strict=True):
            try:
                verify(path, file)
            except DataError as error:
                raise NotThere(f"the package holds a wrong file: {error}") from error
        for file in _lacking(request):
            _keep(unpacked, file, request)
    return request.cache


def _from_package(request: Request) -> Path:
    path = DIGITS_FOLDER / DIGITS_NAME
    if request.folder is not None:
        request.report(f"{request.name} comes with resnets, so {request.folder} is not looked at")
    try:
        if sha256(path) == DIGITS_SHA256:
            return DIGITS_FOLDER
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; install resnets again") from error
    raise DataError(f"{path} is not the file that resnets ships; install resnets again")


def _lacking(request: Request) -> dict[DataFile, DataError | None]:
    """The files that the cache does not hold (None), or holds in a wrong copy (with what is wrong)."""
    lacking: dict[DataFile, DataError | None] = {}
    for file in request.files:
        path = find(request.cache, file)
        if path is None:
            lacking[file] = None
            continue
        try:
            verify(path, file)
        except DataError as error:
            lacking[file] = error
    return lacking


def _keep(folder: Path, file: DataFile, request: Request) -> None:
    """Copy a verified file into the cache, whole or not at all."""
    source = find(folder, file)
    assert source is not None
    keep(source, request.cache)


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


def _of_archive(name: str) -> Callable[[Request], Path]:
    """A function of `cifar`, which is imported when it is asked: that module needs this one."""

    def find(request: Request) -> Path:
        from . import cifar

        found: Path = getattr(cifar, name)(request)
        return found

    return find


def _imagenet_folder(request: Request) -> Path:
    from .imagenet import check_layout

    if request.folder is None:
        raise NotThere("none was named")
    check_layout(request.folder)
    return request.folder


_CIFAR = (
    Source("a folder that you name", _of_archive("from_named_folder")),
    Source("the cache", _of_archive("from_cache")),
    Source("the publisher's site", _of_archive("from_site"), network=True),
)
SOURCES: dict[str, tuple[Source, ...]] = {
    "fashion-mnist": (
        Source("a folder that you name", _from_named_folder),
        Source("the cache", _from_cache),
        Source("the folder of Debian's package", _from_debian_folder),
        Source("the publisher's mirrors", _from_mirrors, network=True),
        Source("Debian's package, without installing it", _from_debian_package, network=True),
    ),
    "digits": (Source("the package itself", _from_package),),
    "cifar10": _CIFAR,
    "cifar100": _CIFAR,
    "imagenet": (Source("the folder that you name", _imagenet_folder),),
}
"""By dataset: where its files are looked for, in this order."""
_BY_HAND: dict[str, Callable[[Request], str]] = {
    "fashion-mnist": _debian_by_hand, "cifar10": _archive_by_hand, "cifar100": _archive_by_hand, "imagenet": _imagenet_by_hand,
}  # fmt: skip
"""By dataset: what a person can do where no source has it."""
