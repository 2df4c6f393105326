"""The files of each dataset as data, and the check that a file on disk is one of them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

from ...core.reading import open_regular
from ..errors import DataError


@dataclass(frozen=True)
class Archive:
    """One gzip archive in which a file is published."""

    origin: str
    """Who publishes it."""
    size: int
    """Bytes."""
    sha256: str
    md5: str
    """For comparison with publishers that state only this; never what a check rests on."""


@dataclass(frozen=True)
class DataFile:
    """One IDX file of a dataset."""

    name: str
    """Unpacked; packed it is the same and `.gz`."""
    shape: tuple[int, ...]
    sha256: str
    """Of the unpacked file, header and all."""
    archives: tuple[Archive, ...] = ()

    @property
    def archive_name(self) -> str:
        return f"{self.name}.gz"

    @property
    def size(self) -> int:
        """Bytes of the unpacked file."""
        return 4 + 4 * len(self.shape) + math.prod(self.shape)


def _file(name: str, shape: tuple[int, ...], sha256: str, official: tuple[int, str, str], debian: tuple[int, str, str]) -> DataFile:
    return DataFile(name, shape, sha256, (Archive("Zalando Research", *official), Archive("Debian", *debian)))


# The publisher's archives and Debian's hold the same deflate streams: Debian packed them again with `gzip -n`, and with the
# name and the time (31 August 2017) put back into their headers they are the publisher's bytes, with the MD5s that
# torchvision knows. So either archive, or the unpacked file, is the same dataset.
FASHION_MNIST = (
    _file(
        "train-images-idx3-ubyte", (60_000, 28, 28), "116e463db96b93327f9aba8a87d719bf404c9ed9ad2a9782d0d6e0e93546096f",
        (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
        (26_421_856, "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7", "cf8536b0aa1a6ac5fa3f23001093305c"),
    ),
    _file(
        "train-labels-idx1-ubyte", (60_000,), "21d49aed20dab6424c3a54ec8861ffd45c30b0ef9103aa098cc1d725c198a013",
        (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845", "25c81989df183df01b3e8a0aad5dffbe"),
        (29_491, "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056", "10bea18fdb374794d4bb42e356e600c9"),
    ),
    _file(
        "t10k-images-idx3-ubyte", (10_000, 28, 28), "b1586cf942567d6273a4f6279c60f3c59c21e86edc943c7c8ef56d7f932e8e5e",
        (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073", "bef4ecab320f06d8554ea6380940ec79"),
        (4_422_079, "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa", "f78720b4224f21cce2f2ccf2d7a94c9a"),
    ),
    _file(
        "t10k-labels-idx1-ubyte", (10_000,), "69df9d96e5a88105e871e88f04ade6661d092c82ce084c1e7ec921a2b22568c9",
        (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5", "bb300cfdad3c16e7a12a480ee83cd310"),
        (5_125, "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05", "0d30e22e447f3c33dab9ed536400ac01"),
    ),
)  # fmt: skip

FILES: dict[str, tuple[DataFile, ...]] = {"fashion-mnist": FASHION_MNIST}
"""By dataset: training images, training labels, test images, test labels."""

DIGITS_NAME, DIGITS_SIZE = "digits.csv.gz", 57_523
DIGITS_SHA256 = "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"


def find(folder: Path, file: DataFile) -> Path | None:
    """Where `file` is in `folder`, packed or unpacked (packed if both, so that what was fetched last is what is read)."""
    for name in (file.archive_name, file.name):
        if (folder / name).is_file():
            return folder / name
    return None


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits; OSError if it cannot be read."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def verify(path: Path, file: DataFile) -> None:
    """Make sure that `path`, packed or not, is `file`: the size and the SHA-256, or what else is wrong with it.

    An archive that another tool packed counts if what it holds does.

    Raises:
        DataError: it is not; the message says whether the file is damaged or another one.
    """
    packed = path.suffix == ".gz"
    known = {(archive.size, archive.sha256) for archive in file.archives} if packed else {(file.size, file.sha256)}
    try:
        size = path.stat().st_size
        if any(size == expected for expected, _ in known) and (size, sha256(path)) in known:
            return
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}; check the path and its permissions") from error

    # From here on the file is another archive of the right content, or wrong: reading it says what a damaged file suffers from.
    from .idx import idx_header, read_idx

    array = read_idx(path)
    if array.shape != file.shape:
        raise DataError(f"{path} holds an array of shape {array.shape}, and {file.name} is {file.shape}; put the right file there")
    if hashlib.sha256(idx_header(array.shape) + array.tobytes()).hexdigest() != file.sha256:
        raise DataError(
            f"{path} holds other content than the published {file.name} (SHA-256 {file.sha256}); "
            "put the right file there (other datasets, such as MNIST, have files of the same name)"
        )
