"""`ShardLoader`: batches from a stream of encoded images.

Legend: N images, B rows of a batch over all processes, b those of this process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..augmentation.crops import ResizedCrop
from ..datasets.shards import Row, Shards, numbered
from ..decoding.preprocessing import Preprocessing
from ..sampling.order import EpochOrder, Share, StepPlan
from ..workers.batches import ThreadedProducer
from .image_loader import ImageLoader
from .protocol import PostNormalize, PreNormalize
from .rows import FromSource

_NAMES = 10_000
"""Images whose names are remembered, for messages."""


class _Window:
    """The part of a stream that is being decoded, as an `ImageSource`: an image's number is its place in the epoch's stream."""

    def __init__(self, shards: Shards, labels: NDArray[np.int64], classes: tuple[str, ...]) -> None:
        self.name, self.split, self.labels, self.classes = shards.name, shards.split, labels, classes
        self._held: dict[int, bytes] = {}
        self._names: dict[int, str] = {}
        self._coming: Iterator[tuple[int, Row]] = iter(())
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.labels)

    def put(self, place: int, row: Row) -> None:
        """Makes a row readable, once."""
        self._held[place], self._names[place] = row.content, row.name
        if len(self._names) > _NAMES:
            del self._names[next(iter(self._names))]

    def expect(self, rows: Iterator[tuple[int, Row]]) -> None:
        """Rows that are taken as they are asked for, in place of all that were put so far."""
        self._held.clear()
        self._coming = rows

    def read(self, index: int) -> bytes:
        with self._lock:
            while index not in self._held:
                row = next(self._coming, None)
                if row is None:
                    raise OSError(f"the shards of {self.name} hold fewer images than when they were counted")
                self.put(*row)
            return self._held.pop(index)

    def name_of(self, index: int) -> str:
        return self._names.get(index, f"image {index:,}")


class _StreamOrder(EpochOrder):
    """Steps that take what the stream brings next."""

    loader: ShardLoader

    def steps(self, epoch: int, first_step: int = 0) -> Iterator[StepPlan]:
        place = first_step * self.batch_size
        rows = islice(self.loader.shards.rows(epoch, self.seed), place, None)
        self.loader.window.expect(iter(()))
        for plan in super().steps(epoch, first_step):
            own = self.share.of(plan.total)
            for row, entry in enumerate(islice(rows, plan.total)):
                if own.start <= row < own.stop:
                    self.loader.take(place + row, entry)
            yield replace(plan, indices=torch.arange(place + own.start, place + own.stop))
            place += plan.total


class ShardLoader(ImageLoader):
    """Batches from shards.

    Args:
        shards: the stream.
        classes: by label.
        preprocessing: sizes and normalisation.
        batch_size: B.
        seed: of the run.
        drop_last: leave out the last, smaller batch of an epoch.
        share: this process's place.
        crop: the random part of an image that training sees.
        augment: changes of a training batch before and after the preprocessing.
        workers: threads that decode.
        device: where batches are needed.
        channels_last: memory layout of the batches.
        max_unreadable: share of the images that may be unreadable.
        report: told of each unreadable image.

    Raises:
        ValueError: a label that is no class, or fewer images than a batch needs.
    """

    def __init__(
        self,
        shards: Shards,
        classes: tuple[str, ...],
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        seed: int,
        drop_last: bool,
        share: Share,
        crop: ResizedCrop | None = None,
        augment: tuple[PreNormalize, PostNormalize] | None = None,
        workers: int,
        device: torch.device,
        channels_last: bool = True,
        max_unreadable: float = 0.05,
        report: Callable[[str], None],
    ) -> None:
        self.shards = shards
        self._as_they_lie = numbered(shards, shards.labels(), classes)
        self.window = _Window(shards, self._as_they_lie, classes)
        cut = None if crop is None or crop.kind == "off" else crop
        order = _StreamOrder(len(self.window), batch_size, seed=seed, drop_last=drop_last, share=share)
        order.loader = self
        super().__init__(
            self.window,
            np.arange(len(self.window)),
            [],
            ThreadedProducer(FromSource(self.window, preprocessing, cut), workers),
            preprocessing,
            order,
            cropped=cut is not None,
            augment=augment,
            device=device,
            channels_last=channels_last,
            max_unreadable=max_unreadable,
            report=report,
            loading="stream",
        )

    def take(self, place: int, row: Row) -> None:
        """Holds a row, and its label, for the batch that is made next."""
        self.window.put(place, row)
        self.labels[place] = int(numbered(self.shards, [row.label], self.window.classes)[0])

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every readable image of this process's share once, as they are in the shards; see `ImageLoader.in_order`."""
        own = self.order.share.of(len(self))
        self.labels = torch.from_numpy(self._as_they_lie.copy())
        self.window.expect(zip(range(own.start, own.stop), islice(self.shards.rows(), own.start, own.stop), strict=False))
        yield from super().in_order()
