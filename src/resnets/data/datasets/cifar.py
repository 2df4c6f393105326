"""CIFAR-10 and CIFAR-100: their official archives, checked, and the images in them.

Each set is published as one archive of Python pickles and one of plain bytes; either will do, and they hold the same images in the same
order. The archive is read where it is, without unpacking it. A pickle is a program: `resnets.core.safe_pickle` reads it
and runs none.

Legend: N images. Source of formats and names: https://www.cs.toronto.edu/~kriz/cifar.html. Importing this module loads no torch.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import UserError
from ...core.reading import open_regular
from ...core.safe_pickle import unpickle_arrays
from ..errors import DataError, NotThere

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..sources.request import Request

SITE = "https://www.cs.toronto.edu/~kriz/"
PIXELS = 3 * 32 * 32
"""Bytes of an image: red, green and blue plane, each row by row."""


@dataclass(frozen=True)
class CifarArchive:
    """One form in which a set is published."""

    name: str
    md5: str
    """As the publisher states it."""
    sha256: str
    """As Keras (python) and TensorFlow Datasets (binary) know it."""
    train: tuple[str, ...]
    """Members with the images to train on, in order."""
    test: tuple[str, ...]
    classes: str
    """The member with the names of classes."""
    label_bytes: int = 0
    """binary: bytes before an image, the last of which is its label; 0 for a pickle."""
    label_key: str = ""
    """python: the name under which a pickle keeps the labels."""
    names_key: str = ""
    """python: the name under which it keeps the names of classes."""


def _python(name: str, folder: str, md5: str, sha256: str, files: tuple[str, ...], prefix: str, meta: str) -> CifarArchive:
    *train, test = (f"{folder}/{file}" for file in files)
    keys = f"{prefix}labels", f"{prefix}label_names"
    return CifarArchive(name, md5, sha256, tuple(train), (test,), f"{folder}/{meta}", 0, *keys)


def _binary(name: str, folder: str, md5: str, sha256: str, files: tuple[str, ...], label_bytes: int, names: str) -> CifarArchive:
    *train, test = (f"{folder}/{file}" for file in files)
    return CifarArchive(name, md5, sha256, tuple(train), (test,), f"{folder}/{names}", label_bytes)


_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
ARCHIVES: dict[str, tuple[CifarArchive, ...]] = {
    "cifar10": (
        _python(
            "cifar-10-python.tar.gz", "cifar-10-batches-py", "c58f30108f718f92721af3b95e74349a",
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", _BATCHES, "", "batches.meta",
        ),
        _binary(
            "cifar-10-binary.tar.gz", "cifar-10-batches-bin", "c32a1d4ab5d03f1284b67883e8d87530",
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd", tuple(f"{name}.bin" for name in _BATCHES), 1,
            "batches.meta.txt",
        ),
    ),
    "cifar100": (
        _python(
            "cifar-100-python.tar.gz", "cifar-100-python", "eb9058c3a382ffc7106e4002c42a8d85",
            "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7", ("train", "test"), "fine_", "meta",
        ),
        # Before an image are the number of its superclass and that of its class.
        _binary(
            "cifar-100-binary.tar.gz", "cifar-100-binary", "03b5dce01913d631647c71ecec9e9cb8",
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec", ("train.bin", "test.bin"), 2, "fine_label_names.txt",
        ),
    ),
}  # fmt: skip
"""By set: its archives, the preferred one first."""


def find_archive(folder: Path, name: str) -> tuple[Path, CifarArchive]:
    """The first archive of a set in a folder, unchecked.

    Raises:
        NotThere: there is none.
    """
    if not folder.is_dir():
        raise NotThere(f"there is no folder {folder}")
    for archive in ARCHIVES[name]:
        if (folder / archive.name).is_file():
            return folder / archive.name, archive
    raise NotThere(f"{folder} holds neither {' nor '.join(archive.name for archive in ARCHIVES[name])}")


def verify_archive(path: Path, archive: CifarArchive) -> None:
    """Make sure that a file is the published archive.

    Raises:
        DataError: it is not, or cannot be read.
    """
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    try:
        with open_regular(path) as stream:
            while block := stream.read(1 << 20):
                md5.update(block)
                sha256.update(block)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check the path and its permissions") from error
    if (md5.hexdigest(), sha256.hexdigest()) != (archive.md5, archive.sha256):
        raise DataError(
            f"{path} is not the published {archive.name}, or it is damaged: its MD5 is {md5.hexdigest()} in place of {archive.md5}; "
            "get a fresh copy of the file"
        )


def from_named_folder(request: Request) -> Path:
    """A source: the folder that the user named. A wrong archive in it is an error."""
    if request.folder is None:
        raise NotThere("none was named")
    try:
        verify_archive(*find_archive(request.folder, request.name))
    except NotThere as reason:
        request.report(f"{reason}; looking for {request.name} elsewhere")
        raise
    return request.folder


def from_cache(request: Request) -> Path:
    """A source: the cache. A damaged archive in it is put right by whichever source answers."""
    path, archive = find_archive(request.cache, request.name)
    try:
        verify_archive(path, archive)
    except DataError as error:
        request.report(f"{error}; a good copy takes its place as soon as there is one")
        raise NotThere(str(error)) from error
    return request.cache


def from_site(request: Request) -> Path:
    """A source: the publisher's site, whose archive is kept in the cache."""
    from ..sources.fetch import download
    from ..sources.request import keep, workspace

    archive = ARCHIVES[request.name][0]
    with workspace(request.cache) as folder:
        path = download(SITE + archive.name, folder, request.report)
        try:
            verify_archive(path, archive)
        except DataError as error:
            raise NotThere(f"{SITE} gave a wrong file: {error}") from error
        keep(path, request.cache)
    return request.cache


def read_cifar(folder: Path, name: str, split: str, classes: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 3, 32, 32) and labels (N,) of a split, from a folder with a verified archive.

    Raises:
        DataError: the archive does not hold what it should.
    """
    path, archive = find_archive(folder, name)
    wanted = archive.train if split == "train" else archive.test
    try:
        with tarfile.open(path) as bundle:
            contents = {member: _member(bundle, member) for member in (*wanted, archive.classes)}
    except (tarfile.TarError, EOFError, OSError, zlib.error, KeyError) as error:
        raise DataError(f"{path} is damaged or no archive of {name} ({error}); get a fresh copy of the file") from error
    import numpy as np

    try:
        if (found := _class_names(contents[archive.classes], archive)) != classes:
            raise UserError(f"its classes are {', '.join(found)}")
        parts = [_images(contents[member], archive, member) for member in wanted]
    except ValueError as error:
        raise DataError(f"{path} is no archive of {name}: {error}") from error
    images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return images.reshape(-1, 3, 32, 32), labels.astype(np.int64)


def _member(bundle: tarfile.TarFile, name: str) -> bytes:
    stream = bundle.extractfile(name)
    if stream is None:
        raise KeyError(f"{name} is no file")
    return stream.read()


def _class_names(content: bytes, archive: CifarArchive) -> tuple[str, ...]:
    if archive.label_bytes:
        return tuple(line.strip() for line in content.decode("ascii").splitlines() if line.strip())
    return tuple(_entry(unpickle_arrays(content, archive.classes), archive.names_key, list))


def _images(content: bytes, archive: CifarArchive, member: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 3072) and labels (N,) of one member."""
    import numpy as np

    if archive.label_bytes:
        rows = np.frombuffer(content, np.uint8)
        if len(rows) % (archive.label_bytes + PIXELS):
            raise UserError(f"{member} has {len(rows)} bytes, which are no whole number of images")
        rows = rows.reshape(-1, archive.label_bytes + PIXELS)
        return rows[:, archive.label_bytes :], rows[:, archive.label_bytes - 1].astype(np.int64)
    entries = unpickle_arrays(content, member)
    images, labels = _entry(entries, "data", np.ndarray), _entry(entries, archive.label_key, list)
    if images.dtype != np.uint8 or images.shape != (len(labels), PIXELS):
        raise UserError(f"{member} holds images {images.dtype} {images.shape} for {len(labels)} labels")
    return images, np.array(labels, np.int64)


def _entry(entries: Any, key: str, kind: type) -> Any:
    value = entries.get(key) if isinstance(entries, dict) else None
    if not isinstance(value, kind):
        raise UserError(f"a pickle has no {key}")
    return value
