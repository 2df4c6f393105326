"""`SceneLoader`: whole images with the boxes in them, to train detectors on and to evaluate them.

Legend: N images of the data set, B rows of a batch over all processes, b those of this process, n objects of one image, H W its height
and width in pixels. Images of a batch differ in size and are not resized: that is the detector's business, whose boxes change with it.

Batches follow from the run's seed and their place (epoch, step) alone: what a resumed run sees is what the uninterrupted one would have seen,
and processes that share a batch see together what one process sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..annotations.objects import AnnotatedImages
from ..annotations.training_boxes import tally, to_learn
from ..errors import DataError, Unreadable
from ..loaders.unreadable import UnreadableImages
from ..sampling.draws import Draws
from ..sampling.order import EpochOrder
from ..workers.batches import default_workers
from .scene_pixels import Memory, ScenePixels

Target = dict[str, Tensor]
"""What is in an image, as torchvision's detectors take it: "boxes" (n, 4) float32, x1 y1 x2 y2 in pixels, and "labels" (n,) int64 from 1."""


@dataclass(frozen=True)
class SceneBatch:
    """A training batch."""

    images: list[Tensor]
    """b images (3, H, W), float32 in [0, 1], RGB, on the device."""
    targets: list[Target]
    """b of them; crowds, difficult objects and boxes without an area are left out, so that one may be empty: (0, 4) and (0,)."""
    indices: Tensor
    """(b,), int64: the images' places in the data set."""
    total: int
    """B as planned. A file that could not be read leaves its row out and B as it is."""
    draws: Draws
    """For whatever else is drawn for this batch."""
    weights: None = None


class SceneLoader:
    """Batches of annotated images.

    Args:
        images: N of them.
        order: of the training batches; of N images.
        flip: mirror each training image with a chance of one half.
        workers: threads that decode; 0 for none but this one, None for one per core.
        memory: keep decoded images: "on", "off", "auto" where they fit into a quarter of the free memory.
        device: where batches are needed.
        max_unreadable: share of the images that may be unreadable.
        report: told in a line what was chosen and found, and of each unreadable image.

    Raises:
        DataError: the order is of another number of images.
    """

    def __init__(
        self,
        images: AnnotatedImages,
        order: EpochOrder,
        *,
        flip: bool = False,
        workers: int | None = None,
        memory: Memory = "auto",
        device: torch.device | str = "cpu",
        max_unreadable: float = 0.05,
        report: Callable[[str], None],
    ) -> None:
        if order.count != len(images):
            raise DataError(f"the order is of {order.count:,} images, and {images.name} {images.split} has {len(images):,}")
        self.images, self.order, self.flip = images, order, flip
        self.device, self.report = torch.device(device), report
        self.unreadable = UnreadableImages(f"{images.name} {images.split}".strip(), len(images), max_unreadable, report)
        """The unreadable images that were met."""
        self.tally = tally(images, report)
        """What is done to the boxes."""
        workers = default_workers() if workers is None else workers
        self._pixels = ScenePixels(images, workers, memory)
        place = "kept in memory as they are decoded" if self._pixels.keeps else "decoded each time"
        report(f"{self.unreadable.called}: images are {place}; {self._pixels.why}")
        self._resized: set[int] = set()

    def __len__(self) -> int:
        """N."""
        return len(self.images)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label less 1: the background has label 0 and no name."""
        return self.images.classes

    def name_of(self, index: int) -> str:
        """What a person calls the image at a place."""
        return self.images.name_of(index)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[SceneBatch]:
        """An epoch's training batches from `first_step` on.

        Raises:
            DataError: more images than allowed cannot be read, or none of a batch can.
        """
        wanted = ((plan.indices.tolist(), plan) for plan in self.order.steps(epoch, first_step))
        for found, plan in self._pixels.batches(wanted):
            # Drawn for every row, so that what is read has no bearing on what is drawn.
            mirrored = (plan.draws.uniform() < 0.5).tolist() if self.flip else [False] * len(found)
            numbers = plan.indices.tolist()
            rows = self._readable(numbers, found)
            if not rows:
                raise DataError(
                    f"none of the {len(found)} images of a batch can be read: {self.unreadable.listed()}; take them out of "
                    f"{self.unreadable.called}, or raise --batch-size"
                )
            made = [self._made(numbers[row], pixels, mirrored[row]) for row, pixels in rows.items()]
            indices, draws = plan.indices, plan.draws
            if len(rows) < len(found):
                marked = torch.zeros(len(found), dtype=torch.bool)
                marked[list(rows)] = True
                indices, draws = indices[marked], draws.only(marked)
            yield SceneBatch(
                [image for image, _ in made], [target for _, target in made], indices.to(self.device), plan.total, draws
            )

    def in_order(self) -> Iterator[tuple[list[Tensor], list[int]]]:
        """Every readable image of this process's share once, in order and as it is: some images (3, H, W), and their places.

        Raises:
            DataError: more images than allowed cannot be read.
        """
        own = self.order.share.of(len(self))
        step = max(1, self.order.batch_size // self.order.share.world)
        lists = [list(range(start, min(start + step, own.stop))) for start in range(own.start, own.stop, step)]
        for found, numbers in self._pixels.batches((numbers, numbers) for numbers in lists):
            rows = self._readable(numbers, found)
            if rows:
                yield [self._image(pixels) for pixels in rows.values()], [numbers[row] for row in rows]

    def close(self) -> None:
        """Ends threads; the loader can go on and starts new ones then."""
        self._pixels.close()

    def _made(self, number: int, pixels: Tensor, mirrored: bool) -> tuple[Tensor, Target]:
        size = pixels.shape[1], pixels.shape[2]
        if size != self.images.size_of(number) and number not in self._resized:
            self._resized.add(number)
            stated = self.images.size_of(number)
            self.report(
                f"{self.unreadable.called}: {self.name_of(number)} has {size[1]} x {size[0]} pixels and its annotation says "
                f"{stated[1]} x {stated[0]}; its boxes are read as pixels of the file"
            )
        objects = to_learn(self.images.objects(number), size)
        boxes = objects.boxes.copy()
        if mirrored:
            boxes[:, [0, 2]] = np.float32(size[1]) - objects.boxes[:, [2, 0]]
        image = self._image(pixels)
        target = {"boxes": torch.from_numpy(boxes).to(self.device), "labels": torch.from_numpy(objects.labels + 1).to(self.device)}
        return (image.flip(-1) if mirrored else image), target

    def _image(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.device).float().div_(255)

    def _readable(self, numbers: list[int], found: list[Tensor | Unreadable]) -> dict[int, Tensor]:
        """By row: the images that could be read; the others are reported once each."""
        rows: dict[int, Tensor] = {}
        for row, (number, image) in enumerate(zip(numbers, found, strict=True)):
            if isinstance(image, Tensor):
                rows[row] = image
            else:
                self.unreadable.add(self.name_of(number), str(image))
        return rows
