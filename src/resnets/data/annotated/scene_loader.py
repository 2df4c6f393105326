"""`SceneLoader`: whole pictures with the boxes in them, to train detectors on and to evaluate them.

Legend: N pictures of the data set, B rows of a batch over all processes, b those of this process, n objects of one picture, H W its height
and width in pixels. Pictures of a batch differ in size and are not resized: that is the detector's business, whose boxes change with it.

Batches follow from the run's seed and their place (epoch, step) alone: what a resumed run sees is what the uninterrupted one would have seen,
and processes that share a batch see together what one process sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..annotations.objects import AnnotatedPictures
from ..annotations.training_boxes import tally, to_learn
from ..errors import DataError, Unreadable
from ..loaders.unreadable import LeftOut
from ..sampling.draws import Draws
from ..sampling.order import EpochOrder
from ..workers.batches import default_workers
from .scene_pixels import Memory, ScenePixels

Target = dict[str, Tensor]
"""What is in a picture, as torchvision's detectors take it: "boxes" (n, 4) float32, x1 y1 x2 y2 in pixels, and "labels" (n,) int64 from 1."""


@dataclass(frozen=True)
class SceneBatch:
    """A training batch."""

    images: list[Tensor]
    """b pictures (3, H, W), float32 in [0, 1], RGB, on the device."""
    targets: list[Target]
    """b of them; crowds, difficult objects and boxes without an area are left out, so that one may be empty: (0, 4) and (0,)."""
    indices: Tensor
    """(b,), int64: the pictures' places in the data set."""
    total: int
    """B as planned. A file that could not be read leaves its row out and B as it is."""
    draws: Draws
    """For whatever else is drawn for this batch."""
    weights: None = None


class SceneLoader:
    """Batches of annotated pictures.

    Args:
        pictures: N of them.
        order: of the training batches; of N pictures.
        flip: mirror each training picture with a chance of one half.
        workers: threads that decode; 0 for none but this one, None for one a core.
        memory: keep decoded pictures: "on", "off", "auto" where they fit into a quarter of the free memory.
        device: where batches are needed.
        max_unreadable: share of the pictures that may be unreadable.
        report: told in a line what was chosen and found, and of each unreadable picture.

    Raises:
        DataError: the order is of another number of pictures.
    """

    def __init__(
        self,
        pictures: AnnotatedPictures,
        order: EpochOrder,
        *,
        flip: bool = False,
        workers: int | None = None,
        memory: Memory = "auto",
        device: torch.device | str = "cpu",
        max_unreadable: float = 0.05,
        report: Callable[[str], None],
    ) -> None:
        if order.count != len(pictures):
            raise DataError(f"the order is of {order.count:,} pictures, and {pictures.name} {pictures.split} has {len(pictures):,}")
        self.pictures, self.order, self.flip = pictures, order, flip
        self.device, self.report = torch.device(device), report
        self.left_out = LeftOut(f"{pictures.name} {pictures.split}".strip(), len(pictures), max_unreadable, report)
        """The unreadable pictures that were met."""
        self.tally = tally(pictures, report)
        """What is done to the boxes."""
        workers = default_workers() if workers is None else workers
        self._pixels = ScenePixels(pictures, workers, memory)
        place = "kept in memory as they are decoded" if self._pixels.keeps else "decoded each time"
        report(f"{self.left_out.called}: pictures are {place}; {self._pixels.why}")
        self._resized: set[int] = set()

    def __len__(self) -> int:
        """N."""
        return len(self.pictures)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names by label less 1: the background has label 0 and no name."""
        return self.pictures.classes

    def name_of(self, index: int) -> str:
        """What a person calls the picture at a place."""
        return self.pictures.name_of(index)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[SceneBatch]:
        """An epoch's training batches from `first_step` on.

        Raises:
            DataError: more pictures than allowed cannot be read, or none of a batch can.
        """
        wanted = ((plan.indices.tolist(), plan) for plan in self.order.steps(epoch, first_step))
        for found, plan in self._pixels.batches(wanted):
            # Drawn for every row, so that what is read has no bearing on what is drawn.
            mirrored = (plan.draws.uniform() < 0.5).tolist() if self.flip else [False] * len(found)
            numbers = plan.indices.tolist()
            rows = self._readable(numbers, found)
            if not rows:
                raise DataError(
                    f"none of the {len(found)} pictures of a batch can be read: {self.left_out.listed()}; take them out of "
                    f"{self.left_out.called}, or raise --batch-size"
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
        """Every readable picture of this process's share once, in order and as it is: some pictures (3, H, W), and their places.

        Raises:
            DataError: more pictures than allowed cannot be read.
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
        if size != self.pictures.size_of(number) and number not in self._resized:
            self._resized.add(number)
            stated = self.pictures.size_of(number)
            self.report(
                f"{self.left_out.called}: {self.name_of(number)} has {size[1]} x {size[0]} pixels and its annotation says "
                f"{stated[1]} x {stated[0]}; its boxes are taken for pixels of the file"
            )
        objects = to_learn(self.pictures.objects(number), size)
        boxes = objects.boxes.copy()
        if mirrored:
            boxes[:, [0, 2]] = np.float32(size[1]) - objects.boxes[:, [2, 0]]
        image = self._image(pixels)
        target = {"boxes": torch.from_numpy(boxes).to(self.device), "labels": torch.from_numpy(objects.labels + 1).to(self.device)}
        return (image.flip(-1) if mirrored else image), target

    def _image(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.device).float().div_(255)

    def _readable(self, numbers: list[int], found: list[Tensor | Unreadable]) -> dict[int, Tensor]:
        """By row: the pictures that could be read; the others are reported once each."""
        rows: dict[int, Tensor] = {}
        for row, (number, picture) in enumerate(zip(numbers, found, strict=True)):
            if isinstance(picture, Tensor):
                rows[row] = picture
            else:
                self.left_out.add(self.name_of(number), str(picture))
        return rows
