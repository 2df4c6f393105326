"""`ImageLoader`: batches from encoded images of any size, decoded as they are needed or once for the whole run.

Legend: N images of the loader's list, B rows of a batch over all processes, b those of this process, C channels.

Three ways, and one result: uint8 batches that are augmented and normalised on the device.

- stream: every image is decoded each time it comes, by processes of their own; a JPEG only as finely as its crop needs it.
- memory, disk: all images are decoded once, reduced, and kept as pixels (`PixelStore`); workers cut the crops from there.

Crops follow from random numbers that the batch's `Draws` give in this process, so that no number of workers changes a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..augmentation.crops import ResizedCrop
from ..decoding.preprocessing import Preprocessing
from ..errors import DataError
from ..image_source import ImageSource
from ..sampling.order import EpochOrder
from ..workers.batches import BatchProducer, RawBatch, Request, RowReader, ThreadedProducer, default_workers
from ..workers.processes import ProcessProducer, processes_work
from .pixel_store import FromStore, PixelStore, disk_store, memory_store
from .protocol import Batch, PostNormalize, PreNormalize
from .rows import FromSource
from .storage import choose_place
from .stored_images import Stored

Loading = Literal["auto", "memory", "disk", "stream"]
_NAMED = 5
"""How many unreadable images a message lists before it counts the others."""


def open_image_loader(
    source: ImageSource,
    preprocessing: Preprocessing,
    order: EpochOrder | Callable[[int], EpochOrder],
    *,
    loading: Loading = "auto",
    crop: ResizedCrop | None = None,
    augment: tuple[PreNormalize, PostNormalize] | None = None,
    workers: int | None = None,
    cache_folder: Path | None = None,
    device: torch.device,
    channels_last: bool = True,
    max_unreadable: float = 0.05,
    report: Callable[[str], None],
) -> ImageLoader:
    """A loader of the images of `source`.

    Args:
        source: N images and those that turn out to be unreadable.
        preprocessing: sizes and normalisation.
        order: of the training batches; or what makes one of the number of images in the loader's list, which is N less the
            unreadable ones where all are decoded first.
        loading: memory, disk, stream; auto: the first of these for which there is room.
        crop: the random part of an image that training sees; None (or kind "off") for what evaluation sees.
        augment: changes of a training batch before and after the preprocessing.
        workers: processes (on Linux) or threads; 0 for none but this; None for one per core.
        cache_folder: where "disk" keeps its pixels; None for `pixels` below the folder of data sets.
        device: where batches are needed.
        channels_last: memory layout of the batches.
        max_unreadable: share of the images that may be unreadable.
        report: told in a line what was chosen and why, and of each unreadable image.

    Raises:
        DataError: more images than `max_unreadable` allows cannot be read, or an order of another number of images.
        OSError: the cache folder cannot be written.
    """
    cut = None if crop is None or crop.kind == "off" else crop
    workers = default_workers() if workers is None else workers
    stored = Stored.for_training(preprocessing) if cut is not None else Stored.for_evaluation(preprocessing)
    place, why = choose_place(source, stored, loading, cache_folder)
    store: PixelStore | None = None
    if place != "stream":
        build = memory_store if place == "memory" else disk_store
        try:
            store = build(source, stored, workers=workers, folder=cache_folder, report=report)
        except OSError as error:
            if loading != "auto" or isinstance(error, ChildProcessError):
                raise
            place, why = "stream", f"keeping them failed: {error.strerror or error}"
    row_reader: RowReader
    if store is None:
        report(f"{_called(source)}: {len(source):,} images are decoded as they come, by {_working(workers)}; {why}")
        row_reader = FromSource(source, preprocessing, cut)
        kept, excluded = np.arange(len(source)), []
    else:
        kept, excluded = store.kept, store.excluded
        _check_share(source, excluded, max_unreadable)
        if excluded:
            report(f"{_called(source)}: {_listed(excluded)}; training goes on without")
        report(f"{_called(source)}: {len(kept):,} images as pixels {store.where}; {why}")
        row_reader = FromStore(store, preprocessing, cut)
    # Threads hold each other up at Python's lock, a fifth of the speed even where the pixels are there already.
    many = workers > 0 and processes_work()
    producer: BatchProducer = ProcessProducer(row_reader, workers, report) if many else ThreadedProducer(row_reader, workers)
    made_order = order if isinstance(order, EpochOrder) else order(len(kept))
    if made_order.count != len(kept):
        raise DataError(
            f"the order is of {made_order.count:,} images, but {_called(source)} has {len(kept):,} that can be read; "
            "give a function that makes the order of their number"
        )
    return ImageLoader(
        source,
        kept,
        excluded,
        producer,
        preprocessing,
        made_order,
        cropped=cut is not None,
        augment=augment,
        device=device,
        channels_last=channels_last,
        max_unreadable=max_unreadable,
        report=report,
        loading=place,
    )


class ImageLoader:
    """Batches of images from a `BatchProducer`; see `open_image_loader`, which makes these."""

    def __init__(
        self,
        source: ImageSource,
        kept: NDArray[np.int64],
        excluded: list[tuple[str, str]],
        producer: BatchProducer,
        preprocessing: Preprocessing,
        order: EpochOrder,
        *,
        cropped: bool,
        augment: tuple[PreNormalize, PostNormalize] | None,
        device: torch.device,
        channels_last: bool,
        max_unreadable: float,
        report: Callable[[str], None],
        loading: Literal["memory", "disk", "stream"],
    ) -> None:
        self.source, self.kept, self.excluded, self.producer, self.order = source, kept, excluded, producer, order
        self.preprocessing, self.cropped, self.augment = preprocessing, cropped, augment
        self.device, self.max_unreadable, self.report, self.loading = device, max_unreadable, report, loading
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.labels = torch.from_numpy(np.asarray(source.labels, dtype=np.int64)[kept])
        """(N,), int64, on the CPU."""
        self._bad: set[int] = set()

    def __len__(self) -> int:
        """N."""
        return len(self.kept)

    def name_of(self, index: int) -> str:
        """What a person calls the image at `index` of the loader's list."""
        return self.source.name_of(int(self.kept[index]))

    @property
    def names(self) -> tuple[str, ...]:
        """Of the whole list."""
        return tuple(self.name_of(index) for index in range(len(self)))

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """An epoch's training batches from `first_step` on.

        Raises:
            DataError: more images than allowed cannot be read, or none of a batch can.
            ChildProcessError: workers die again and again.
        """
        # Random numbers of a batch come in a fixed order, those of the crop first, so the requests can be made ahead of the batches.
        requests = (
            Request(plan.indices.numpy(), plan.draws.uniform(ResizedCrop.NUMBERS).double().numpy() if self.cropped else None, plan)
            for plan in self.order.steps(epoch, first_step)
        )
        for request, made in self.producer.batches(requests, self._size):
            plan = request.note
            assert plan is not None
            rows = self._readable(request, made)
            images, indices, draws, weights = self._pixels(made, rows), plan.indices, plan.draws, plan.weights
            if rows is not None:
                if not len(rows):
                    raise DataError(
                        f"none of the {len(indices)} images of a batch can be read: {_listed(self.excluded)}; "
                        f"take them out of {_called(self.source)}, or raise --batch-size"
                    )
                marked = torch.zeros(len(indices), dtype=torch.bool)
                marked[rows] = True
                indices, draws = indices[rows], draws.only(marked)
                weights = None if weights is None else weights[rows]
            labels = self.labels[indices].to(self.device)
            indices = indices.to(self.device)
            with one_thread(self.device):
                if self.augment is None:
                    images = self.preprocessing.normalized(images)
                else:
                    pre_normalize, post_normalize = self.augment
                    images = post_normalize(self.preprocessing.normalized(pre_normalize(images, indices, epoch, draws)), draws)
                images = self._arranged(images)
            weights = None if weights is None else weights.to(self.device)
            yield Batch(images, labels, indices, plan.total, draws, weights)

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every readable image of this process's share once, in order, as images (b, C, size, size) and labels (b,).

        Raises:
            DataError: more images than allowed cannot be read.
            ChildProcessError: workers die again and again.
        """
        own = self.order.share.of(len(self))
        step = self.order.batch_size
        requests = (Request(np.arange(start, min(start + step, own.stop)), None) for start in range(own.start, own.stop, step))
        for request, made in self.producer.batches(requests, self._size):
            rows = self._readable(request, made)
            if rows is not None and not len(rows):
                continue
            with one_thread(self.device):
                images = self._arranged(self.preprocessing.normalized(self._pixels(made, rows)))
            labels = self.labels[torch.from_numpy(request.indices if rows is None else request.indices[rows])]
            yield images, labels.to(self.device)

    def close(self) -> None:
        """Ends workers; the loader can go on and starts new ones then."""
        self.producer.close()

    @property
    def _size(self) -> int:
        return self.preprocessing.size**2 * self.preprocessing.channels

    def _arranged(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=self.memory_format)

    def _pixels(self, made: RawBatch, rows: NDArray[np.int64] | None) -> Tensor:
        """The uint8 batch (b, C, size, size) on the device, in channels-last memory, which is how images are decoded."""
        size = self.preprocessing.size
        pixels = torch.from_numpy(made.pixels if rows is None else made.pixels[rows])
        return pixels.view(-1, size, size, self.preprocessing.channels).to(self.device).permute(0, 3, 1, 2)

    def _readable(self, request: Request, made: RawBatch) -> NDArray[np.int64] | None:
        """The rows whose images could be read, or None for all; the others are reported once each."""
        if not made.failures:
            return None
        for row, reason in made.failures:
            index = int(request.indices[row])
            if index not in self._bad:
                self._bad.add(index)
                self.excluded.append((self.name_of(index), reason))
                self.report(f"{_called(self.source)}: {self.name_of(index)} is left out, {reason}")
        _check_share(self.source, self.excluded, self.max_unreadable)
        return np.setdiff1d(np.arange(len(request.indices)), [row for row, _ in made.failures])


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Keeps a short job on a CPU to this thread: the others are at work on the next batch, and OpenMP's threads, which wait for each other
    without letting go of their cores, would take more time from them than they save here."""
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _called(source: ImageSource) -> str:
    return f"{source.name} {source.split}".strip()


def _working(workers: int) -> str:
    kind = "process" if processes_work() else "thread"
    if workers == 0:
        return "this process"
    return f"{workers} {kind}" if workers == 1 else f"{workers} {kind}{'es' if kind == 'process' else 's'}"


def _listed(excluded: list[tuple[str, str]]) -> str:
    named = "; ".join(f"{name} {reason}" for name, reason in excluded[:_NAMED])
    count = f"{len(excluded):,} {'image' if len(excluded) == 1 else 'images'} cannot be used: {named}"
    return count + (f"; and {len(excluded) - _NAMED:,} more" if len(excluded) > _NAMED else "")


def _check_share(source: ImageSource, excluded: list[tuple[str, str]], max_unreadable: float) -> None:
    if len(excluded) > max_unreadable * len(source):
        raise DataError(
            f"{_called(source)} has {len(source):,} images, and more of them than max_unreadable={max_unreadable:g} allows are bad: "
            f"{_listed(excluded)}; repair or remove them, or raise --max-unreadable"
        )
