"""Images read, decoded and brought to a network's size, a batch at a time, ahead of their use: by processes, or by this one.

Legend: N images, b rows of a batch, C channels, S height and width that the network takes; pixels are uint8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.reading import read_file
from ...data.decoding.decode import EncodedImage, Pixels
from ...data.decoding.preprocessing import Preprocessing
from ...data.errors import Unreadable
from ...data.loaders.rows import fitted
from ...data.workers.batches import BatchProducer, Request, ThreadedProducer
from ...data.workers.processes import ProcessProducer, processes_work
from .image_sets import Images


@dataclass(frozen=True)
class ReadBatch:
    """Images that follow each other."""

    first: int
    """The number of the first."""
    names: tuple[str, ...]
    """(b,)"""
    errors: dict[int, str]
    """By row: why the image could not be read."""
    pixels: Tensor
    """(b less errors, C, S, S) uint8, in channels-last memory that is used again for the next batch."""


def seen(data: bytes, preprocessing: Preprocessing) -> Pixels:
    """An encoded image as evaluation and prediction see it, (S, S, C); of an animation the first frame.

    Raises:
        Unreadable: not an image, damaged, or too large to be decoded safely; one clear sentence without a name.
    """
    if not data:
        raise Unreadable("the file is empty")
    try:
        return fitted(EncodedImage(data, preprocessing.channels).pixels(), preprocessing)
    except Unreadable as error:
        if isinstance(error.__cause__, PIL.UnidentifiedImageError):
            raise Unreadable("not an image, whatever its name says") from None
        words = str(error)
        if words.startswith("has "):
            raise Unreadable(f"{words.removeprefix('has ')}; make it smaller first") from None
        raise Unreadable(f"damaged or unreadable: {words.removeprefix('is damaged: ')}") from None


def read_image(path: Path, preprocessing: Preprocessing) -> Tensor:
    """The image in a file as the network's input (1, C, S, S), float32.

    Raises:
        ValueError: as `seen`, or it cannot be read.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from None
    return preprocessing(torch.from_numpy(seen(data, preprocessing)).permute(2, 0, 1).unsqueeze(0))


@dataclass(frozen=True)
class Seen:
    """Makes the rows of `read_batches`."""

    images: Images
    preprocessing: Preprocessing

    def make(self, index: int, numbers: Sequence[float] | None, out: NDArray[np.uint8]) -> tuple[int, int]:
        """Writes the image to the flat buffer `out`."""
        size, channels = self.preprocessing.size, self.preprocessing.channels
        try:
            data = self.images.read(index)
        except OSError as error:
            raise Unreadable(f"cannot be read: {error.strerror or error}") from error
        out[: size * size * channels].reshape(size, size, channels)[:] = seen(data, self.preprocessing)
        return size, size

    def name_of(self, index: int) -> str:
        """For messages."""
        return self.images.name_of(index)


def read_batches(
    images: Images,
    preprocessing: Preprocessing,
    *,
    batch_size: int,
    start: int = 0,
    workers: int = 0,
    threads: bool = False,
    report: Callable[[str], None] = lambda message: None,
) -> Iterator[ReadBatch]:
    """The images from `start` on, in their order.

    Args:
        workers: processes (threads where there is no safe forking, or if `threads` says so) that decode; 0 for none but this one.
        report: told of a process that died.

    Raises:
        ChildProcessError: processes die again and again; one image at which they do is named as unreadable.
    """
    row_reader = Seen(images, preprocessing)
    processes = workers > 0 and processes_work() and not threads
    producer: BatchProducer = ProcessProducer(row_reader, workers, report) if processes else ThreadedProducer(row_reader, workers)
    size, channels = preprocessing.size, preprocessing.channels
    requests = (
        Request(np.arange(first, min(first + batch_size, len(images))), None) for first in range(start, len(images), batch_size)
    )
    try:
        for request, made in producer.batches(requests, size * size * channels):
            errors = dict(made.failures)
            kept = [row for row in range(len(request.indices)) if row not in errors]
            pixels = torch.from_numpy(made.pixels[kept] if errors else made.pixels)
            names = tuple(images.name_of(index) for index in request.indices.tolist())
            yield ReadBatch(int(request.indices[0]), names, errors, pixels.view(-1, size, size, channels).permute(0, 3, 1, 2))
    finally:
        producer.close()
