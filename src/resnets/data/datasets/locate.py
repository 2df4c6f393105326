"""Where the files of a dataset come from: the first of a list of sources that answers, its files verified before they count.

CIFAR's sources are in `cifar`, ImageNet's in `imagenet`. For Fashion-MNIST: a folder that the user names, the cache, the folder of
Debian's package, the publisher's mirrors, and Debian's package fetched and unpacked without installing it. Files that come over a network
are kept in the cache. Every file is checked against the table in `files`, so that it does not matter which source answers.
Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import DataError, NotThere
from ..sources.files import DIGITS_NAME, DIGITS_SHA256, DataFile, find, sha256, verify
from ..sources.request import Report, Request, Source, keep, known_name, offline_reason, print_to_stderr, workspace

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
"""Where that package installs the files."""
SUBFOLDERS = (".", "FashionMNIST/raw", "raw")
"""Where the files may be in a folder that the user names: directly, or as torchvision lays them."""
DIGITS_FOLDER = Path(__file__).parent / "digits"


def _debian_by_hand(request: Request) -> str:
    names = ", ".join(file.archive_name for file in request.files)
    return f"put {names} into a folder and name that folder, or into {request.cache}; or install Debian's package {DEBIAN_PACKAGE}."


def _archive_by_hand(request: Request) -> str:
    from .cifar import ARCHIVES, SITE

    names = " or ".join(archive.name for archive in ARCHIVES[request.name])
    return f"fetch {names} from {SITE}cifar.html on a machine that can, and put it into a folder and name that folder, or into {request.cache}."


def _imagenet_by_hand(request: Request) -> str:
    return "name the folder of your copy with --folder or --data-folder; ImageNet may be had, on its terms, from https://image-net.org."


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
    from ..sources.fetch import from_mirrors

    with workspace(request.cache) as folder:
        for file in _lacking(request):
            _keep(from_mirrors(file, folder, request.report).parent, file, request)
    return request.cache


def _from_debian_package(request: Request) -> Path:
    from ..sources.fetch import from_debian

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
