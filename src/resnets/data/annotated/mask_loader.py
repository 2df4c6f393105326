"""`MaskLoader`: batches of images with masks, random squares to train on and whole images to evaluate on.

Legend: N images of the loader's list, B rows of a batch over all processes, b those of this process, C channels, S side of a training
crop, H W height and width of an image, h w those at which the network sees it in evaluation.

Windows follow from random numbers that the batch's `Draws` give in this process, so that no number of workers changes a batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...core.errors import UserError
from ...core.machine import free_memory
from ..annotations.objects import AnnotatedImages
from ..decoding.decode import Pixels
from ..decoding.preprocessing import Preprocessing
from ..decoding.sides import at_shorter_side
from ..errors import DataError, Unreadable
from ..loaders.image_loader import one_thread
from ..loaders.unreadable import UnreadableImages
from ..sampling.draws import Draws
from ..sampling.order import EpochOrder
from ..workers.batches import BatchProducer, RawBatch, Request, ThreadedProducer, default_workers
from ..workers.processes import ProcessProducer, processes_work
from .mask_crop import MaskCrop
from .mask_rows import CutWindows, DecodedImages, Mask, MaskedImages, WholeImages, at_crops_size

_SHARE_OF_MEMORY = 0.25
"""Of the free memory, that decoded images may take."""


@dataclass(frozen=True)
class MaskBatch:
    """A training batch."""

    images: Tensor
    """(b, C, S, S), float32, normalised."""
    masks: Tensor
    """(b, S, S), int64: 0 for the background, 1.. for the classes, 255 where nothing counts."""
    indices: Tensor
    """(b,), int64: the images' places in the loader's list."""
    total: int
    """B as planned; an image that could not be read leaves its row out and B as it is."""
    draws: Draws
    weights: None = None
    """Images count alike."""


class MaskLoader:
    """Batches of images with their masks.

    Args:
        images: with masks.
        preprocessing: its mean, std and channels are used; sizes are the crop's or the image's own.
        order: of the training batches; or what makes one of the number of images in the loader's list, which is N less the unreadable
            ones where all are decoded first.
        crop: what training sees; None for a loader that only evaluates.
        size: length of the shorter side in evaluation; None for the images' own. Masks stay as they are.
        memory: keep the decoded images; auto: where they take no more than a quarter of the free memory.
        workers: processes (on Linux) or threads; 0 for none but this; None for one per core.
        device: where batches are needed.
        channels_last: memory layout of the batches.
        max_unreadable: share of the images that may be unreadable.
        report: told in a line what was chosen, and of each unreadable image.

    Raises:
        DataError: more images than `max_unreadable` allows cannot be read (a data set without masks has none that can), or an order
            of another number of images.
    """

    def __init__(
        self,
        images: AnnotatedImages,
        preprocessing: Preprocessing,
        order: EpochOrder | Callable[[int], EpochOrder],
        *,
        crop: MaskCrop | None = None,
        size: int | None = None,
        memory: bool | Literal["auto"] = "auto",
        workers: int | None = None,
        device: torch.device,
        channels_last: bool = True,
        max_unreadable: float = 0.05,
        report: Callable[[str], None],
    ) -> None:
        self.images, self.preprocessing, self.size, self.device = images, preprocessing, size, device
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.unreadable = UnreadableImages(f"{images.name} {images.split}".strip(), len(images), max_unreadable, report)
        workers = default_workers() if workers is None else workers
        encoded = MaskedImages(images, preprocessing.channels)
        source: MaskedImages | DecodedImages = encoded
        self.kept = np.arange(len(images))
        if memory is True or (memory == "auto" and _fits(images, preprocessing.channels)):
            source, self.kept = self._decoded(encoded, workers, crop)
        self.order = order if isinstance(order, EpochOrder) else order(len(self.kept))
        if self.order.count != len(self.kept):
            raise DataError(
                f"the order is of {self.order.count:,} images, but {self.unreadable.called} has {len(self.kept):,} that can be read; "
                "give a function that makes the order of their number"
            )
        place = "in memory" if isinstance(source, DecodedImages) else "decoded as they come"
        report(f"{self.unreadable.called}: {len(self.kept):,} images with masks, {place}")
        levels = preprocessing.mean or (0.0,) * preprocessing.channels
        self.cutting = None if crop is None else CutWindows(source, crop, tuple(round(255 * level) for level in levels))
        self.whole = WholeImages(source, size)
        self._source, self._workers, self._report = source, workers, report
        self._producers: dict[str, BatchProducer] = {}

    def __len__(self) -> int:
        """N."""
        return len(self.kept)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of classes 1, 2, ...; 0 is the background."""
        return self.images.classes

    def name_of(self, index: int) -> str:
        """What a person calls the image at `index` of the loader's list."""
        return self.images.name_of(int(self.kept[index]))

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[MaskBatch]:
        """An epoch's training batches from `first_step` on.

        Raises:
            DataError: more images than allowed cannot be read, or none of a batch can.
            ChildProcessError: workers die again and again.
        """
        cutting = self.cutting
        if cutting is None:
            raise UserError("this loader was made to evaluate: it has no crop to train on; give it one")
        size, channels = cutting.crop.size, self.preprocessing.channels
        requests = (
            Request(plan.indices.numpy(), plan.draws.uniform(MaskCrop.ROW_NUMBERS).double().numpy(), plan)
            for plan in self.order.steps(epoch, first_step)
        )
        for request, made in self._made("train", cutting).batches(requests, cutting.capacity):
            plan = request.note
            assert plan is not None
            rows, indices, draws = self._readable(request, made), plan.indices, plan.draws
            if rows is not None:
                if not len(rows):
                    raise DataError(
                        f"none of the {len(indices)} images of a batch can be read: {self.unreadable.listed()}; take them out of "
                        f"{self.unreadable.called}, or raise --batch-size"
                    )
                marked = torch.zeros(len(indices), dtype=torch.bool)
                marked[rows] = True
                indices, draws = indices[rows], draws.only(marked)
            bytes_ = torch.from_numpy(made.pixels if rows is None else made.pixels[rows])
            split = size * size * channels
            pixels, masks = bytes_[:, :split].reshape(-1, size, size, channels), bytes_[:, split : split + size * size]
            yield MaskBatch(
                self._normalized(pixels),
                masks.to(self.device).long().view(-1, size, size),
                indices.to(self.device),
                plan.total,
                draws,
            )

    def in_order(self) -> Iterator[tuple[Tensor, Tensor, int]]:
        """Every readable image of this process's share once, in order: image (1, C, h, w), mask (1, H, W) and its place in the list.

        Raises:
            DataError: more images than allowed cannot be read.
            ChildProcessError: workers die again and again.
        """
        own, channels = self.order.share.of(len(self)), self.preprocessing.channels
        requests = (Request(np.array([place]), None) for place in range(own.start, own.stop))
        for request, made in self._made("evaluate", self.whole).batches(requests, self._capacity()):
            if self._readable(request, made) is not None:
                continue
            height, width = made.shapes[0].tolist()
            rows, columns = at_shorter_side(height, width, self.size)
            split = rows * columns * channels
            row = torch.from_numpy(made.pixels[0])
            mask = row[split : split + height * width].to(self.device).long().view(1, height, width)
            yield self._normalized(row[:split].view(1, rows, columns, channels)), mask, int(request.indices[0])

    def close(self) -> None:
        """Ends workers; the loader can go on and starts new ones then."""
        for producer in self._producers.values():
            producer.close()

    def _made(self, purpose: str, row_reader: CutWindows | WholeImages) -> BatchProducer:
        if purpose not in self._producers:
            # Threads hold each other up at Python's lock, even where the pixels are there already.
            many = self._workers > 0 and processes_work()
            self._producers[purpose] = (
                ProcessProducer(row_reader, self._workers, self._report) if many else ThreadedProducer(row_reader, self._workers)
            )
        return self._producers[purpose]

    def _normalized(self, pixels: Tensor) -> Tensor:
        """(b, C, *) float32 on the device, of pixels (b, *, C)."""
        with one_thread(self.device):
            images = self.preprocessing.normalized(pixels.to(self.device).permute(0, 3, 1, 2))
            return images.contiguous(memory_format=self.memory_format)

    def _readable(self, request: Request, made: RawBatch) -> NDArray[np.int64] | None:
        """The rows whose images could be read, or None for all."""
        for row, reason in made.failures:
            self.unreadable.add(self.name_of(int(request.indices[row])), reason)
        if not made.failures:
            return None
        return np.setdiff1d(np.arange(len(request.indices)), [row for row, _ in made.failures])

    def _capacity(self) -> int:
        """Bytes of the largest row in evaluation."""
        if isinstance(self._source, DecodedImages):
            shapes = {(mask.shape[0], mask.shape[1]) for _, mask in self._source.pairs}
        else:
            shapes = {self.images.size_of(int(index)) for index in self.kept}
        return max(self._row_bytes(int(height), int(width)) for height, width in shapes)

    def _row_bytes(self, height: int, width: int) -> int:
        try:
            rows, columns = at_shorter_side(height, width, self.size)
        except Unreadable:
            return 0  # it is left out by its name when its turn comes
        return rows * columns * self.preprocessing.channels + height * width

    def _decoded(self, source: MaskedImages, workers: int, crop: MaskCrop | None) -> tuple[DecodedImages, NDArray[np.int64]]:
        """All images that can be read, and their places in the data set."""

        def load(index: int) -> tuple[Pixels, Mask] | Unreadable:
            try:
                pair = source.load(index)
            except Unreadable as error:
                return error
            return pair if crop is None else at_crops_size(*pair, crop)

        with ThreadPoolExecutor(max(1, workers), thread_name_prefix="images") as threads:
            found = list(threads.map(load, range(len(source))))
        pairs = {}
        for index, pair in enumerate(found):
            if isinstance(pair, Unreadable):
                self.unreadable.add(source.name_of(index), str(pair))
            else:
                pairs[index] = pair
        return DecodedImages(tuple(map(source.name_of, pairs)), tuple(pairs.values())), np.array(list(pairs), np.int64)


def _fits(images: AnnotatedImages, channels: int) -> bool:
    """Whether all images and masks, decoded, take no more than a quarter of the free memory."""
    needed = sum(height * width * (channels + 1) for height, width in map(images.size_of, range(len(images))))
    # Processes that train together on one machine each keep their own.
    return needed <= _SHARE_OF_MEMORY * free_memory() / max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
