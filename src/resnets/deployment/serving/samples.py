"""Images to try a network on: a few of a user's folder, or of what is measured where the network was trained.

Importing this module loads no torch.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ...core.errors import UserError
from ...core.files import write_atomically
from ...data.datasets.catalogue import DATASETS, load
from ...data.datasets.user_data import find_own, is_path, is_shards

MOST = 10
"""Samples of one page."""


@dataclass(frozen=True)
class Sample:
    """An image file, and what a person calls it."""

    path: Path
    name: str


def samples_in(folder: Path, most: int = MOST) -> list[Sample]:
    """Images of a folder, evenly over the order of their paths; where folders in it are classes, they are named by them.

    Raises:
        ValueError: no such folder, or one without images.
    """
    from ..prediction.predict import find_images

    if not folder.is_dir():
        raise UserError(f"there is no folder {folder} to take samples from")
    found = find_images([folder])
    return [
        Sample(found[i], found[i].stem if found[i].parent == folder else found[i].parent.name) for i in spread(len(found), most)
    ]


def samples_of(data: str, folder: Path, *, data_folder: Path | None = None, most: int = MOST) -> list[Sample]:
    """One image of each class, or of as many as fit, of what a classifier was measured on; nothing is fetched.

    Args:
        data: a named data set that is at hand, a folder or a CSV.
        folder: where the files are written.
        data_folder: where a named data set is; None for the cache.

    Raises:
        ValueError: the images are not at hand (`DataError` says why).
        OSError: they cannot be read or written.
    """
    if data in DATASETS:
        arrays = load(data, "test", data_folder, offline=True, report=lambda line: None)

        def encoded(index: int) -> bytes:
            from ...reports.images import as_image

            buffer = io.BytesIO()
            as_image(arrays.images[index]).save(buffer, "PNG")
            return buffer.getvalue()

        return _written(folder, _firsts(arrays.labels.tolist(), arrays.classes, most), encoded, lambda index: ".png")
    if not is_path(data) or is_shards(data):
        raise UserError(f"no samples are taken of {data}; name a folder of images with --samples")
    own = find_own(data)
    images = own.evaluation or own.training
    return _written(
        folder,
        _firsts(images.labels.tolist(), images.classes, most),
        images.read,
        lambda index: PurePosixPath(images.name_of(index)).suffix,
    )


def spread(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, evenly and in order."""
    return [i * count // min(count, most) for i in range(min(count, most))]


def _firsts(labels: Sequence[int], classes: Sequence[str], most: int) -> list[tuple[int, str]]:
    """The number of the first image of each class, with the class's name; of many classes some, evenly."""
    first: dict[int, int] = {}
    for index, label in enumerate(labels):
        first.setdefault(label, index)
    known = sorted(first)
    return [(first[known[i]], classes[known[i]]) for i in spread(len(known), most)]


def _written(
    folder: Path, chosen: Iterable[tuple[int, str]], read: Callable[[int], bytes], ending: Callable[[int], str]
) -> list[Sample]:
    """Files of the chosen images, whose names are numbers: a class may be called anything."""
    samples = []
    for number, (index, name) in enumerate(chosen):
        path = folder / f"sample-{number}{ending(index)}"
        write_atomically(path, read(index))
        samples.append(Sample(path, name))
    return samples
