"""Whole images for detection: decoded ahead by threads, and kept in memory where there is room for all of them.

Legend: N images, H W height and width in pixels. libjpeg-turbo decodes without Python's lock, so that threads do it side by side.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from ...core.machine import free_memory
from ..annotations.objects import AnnotatedImages
from ..decoding.decode import EncodedImage
from ..errors import Unreadable
from ..loaders.pixel_store import in_words

Memory = Literal["auto", "on", "off"]
Note = TypeVar("Note")

_SHARE_OF_MEMORY = 0.25
"""Of the free memory, that decoded images may take."""
_AHEAD = 2
"""Batches in the making while one is in use."""


class ScenePixels:
    """Decoded images by number.

    Args:
        images: N of them.
        workers: threads that decode; 0 for none but this one.
        memory: keep decoded images: "on", "off", or "auto" where all fit into a quarter of the free memory.
    """

    def __init__(self, images: AnnotatedImages, workers: int, memory: Memory) -> None:
        self.images, self.workers = images, workers
        needed = sum(3 * height * width for height, width in map(images.size_of, range(len(images))))
        # Processes that train together on one machine each keep their own.
        free = free_memory() // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        self.keeps = memory == "on" or (memory == "auto" and needed <= free * _SHARE_OF_MEMORY)
        if memory != "auto":
            self.why = "as asked for"
        else:
            self.why = (
                f"{in_words(needed)} of pixels are {'within' if self.keeps else 'more than'} a quarter of the {in_words(free)} free"
            )
        self._kept: dict[int, Tensor] = {}
        self._threads: ThreadPoolExecutor | None = None

    def batches(self, wanted: Iterable[tuple[list[int], Note]]) -> Iterator[tuple[list[Tensor | Unreadable], Note]]:
        """For each list of numbers, in order: every image (3, H, W) uint8, or why there is none; and the note that came with it.

        An image is read-only: it may be kept and given out again.
        """
        waiting: deque[tuple[list[Future[Tensor | Unreadable]], Note]] = deque()
        if not self.workers:
            for numbers, note in wanted:
                yield [self._image(number) for number in numbers], note
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self.workers, thread_name_prefix="scenes")
        try:
            for numbers, note in wanted:
                waiting.append(([self._threads.submit(self._image, number) for number in numbers], note))
                if len(waiting) > _AHEAD:
                    futures, ended = waiting.popleft()
                    yield [future.result() for future in futures], ended
            while waiting:
                futures, ended = waiting.popleft()
                yield [future.result() for future in futures], ended
        finally:
            for futures, _ in waiting:
                for future in futures:
                    future.cancel()

    def close(self) -> None:
        """Ends the threads; kept images stay, and a later request starts threads again."""
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)
            self._threads = None

    def _image(self, number: int) -> Tensor | Unreadable:
        kept = self._kept.get(number)
        if kept is not None:
            return kept
        try:
            decoded = decoded_scene(self.images, number)
        except Unreadable as error:
            return error
        if self.keeps:
            self._kept[number] = decoded
        return decoded


def decoded_scene(images: AnnotatedImages, number: int) -> Tensor:
    """A whole image (3, H, W), uint8, RGB, turned as its EXIF data says.

    Where the annotation has height and width the other way round, its boxes were drawn by a program that ignores EXIF: the image then stays
    as it is stored, so that they fit.

    Raises:
        Unreadable: it cannot be read or decoded.
    """
    try:
        image = EncodedImage(images.read(number), 3)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error
    pixels = image.pixels()
    stated = images.size_of(number)
    if pixels.shape[:2] != stated and pixels.shape[:2] == stated[::-1]:
        pixels = image.as_stored(pixels)
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
