"""Which annotated boxes a detector learns from, and in what form.

Legend: n objects of an image, H W its height and width in pixels; boxes as in `objects`. Importing this module loads no torch.

Left out are crowds and difficult objects, as the published protocols do, and boxes without an area: those are mistakes, a loss over
log(width) would make them infinite, and one of them would stop a run of days. Boxes that reach out of the image are cut off at its edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .objects import AnnotatedImages, Objects, numbers

_NAMED = 3
"""How many boxes a message lists before it counts the others."""
SLACK = 1.0
"""Pixels by which a box may reach out of the image without a word: rounding, and corners that count from 0 where VOC's count from 1."""


def clipped(boxes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Boxes (n, 4), their corners moved into an image of H and W where they are outside."""
    height, width = size
    most = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, np.float32(0), most)


def degenerate(boxes: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(n,): which of the boxes (n, 4) have no area, those turned inside out among them."""
    return np.asarray((boxes[:, 2:] <= boxes[:, :2]).any(1))


def to_learn(objects: Objects, size: tuple[int, int]) -> Objects:
    """The objects to learn from, their boxes within the image of H and W."""
    boxes = clipped(objects.boxes, size)
    kept = ~(objects.crowd | objects.difficult | degenerate(boxes) | degenerate(objects.boxes))
    return Objects(boxes, objects.labels, objects.crowd, objects.difficult, objects.areas)[kept]


@dataclass
class Tally:
    """What is done to the boxes of a data set before they are learnt from."""

    total: int = 0
    kept: int = 0
    crowd: int = 0
    difficult: int = 0
    degenerate: list[str] = field(default_factory=list)
    """Each box as the image's name and its numbers."""
    cut: list[str] = field(default_factory=list)
    """In the same form, those that reach out of their image by more than a pixel."""
    empty: int = 0
    """Images without any object to learn from."""

    def add(self, name: str, objects: Objects, size: tuple[int, int]) -> None:
        """Counts an image's."""
        known = ~(objects.crowd | objects.difficult)
        inside = clipped(objects.boxes, size)
        flat = degenerate(objects.boxes) | degenerate(inside)
        outside = np.abs(inside - objects.boxes).max(1, initial=0) > SLACK
        self.total += len(objects)
        self.crowd += int(objects.crowd.sum())
        self.difficult += int((objects.difficult & ~objects.crowd).sum())
        kept = int((known & ~flat).sum())
        self.kept += kept
        self.empty += not kept
        self.degenerate += [f"{name}: {numbers(objects.boxes[row])}" for row in np.flatnonzero(known & flat)]
        self.cut += [f"{name}: {numbers(objects.boxes[row])}" for row in np.flatnonzero(known & ~flat & outside)]

    def messages(self) -> list[str]:
        """What a user should know, in sentences; none where all is well."""
        said = []
        if self.degenerate:
            said.append(f"{_boxes(self.degenerate)} without an area left out ({_listed(self.degenerate)})")
        if self.cut:
            said.append(f"{_boxes(self.cut)} cut off at the image's edge ({_listed(self.cut)})")
        return said


def tally(images: AnnotatedImages, report: Callable[[str], None]) -> Tally:
    """Looks at every image's boxes and reports what is done to them."""
    found = Tally()
    for index in range(len(images)):
        found.add(images.name_of(index), images.objects(index), images.size_of(index))
    what = f"{images.name} {images.split}"
    for message in found.messages():
        report(f"{what}: {message}; resnets data check lists all")
    aside = [f"{count:,} {kind}" for count, kind in ((found.difficult, "difficult"), (found.crowd, "of crowds")) if count]
    without = f", {found.empty:,} of them without any" if found.empty else ""
    left = f"; not learnt from: {', '.join(aside)}" if aside else ""
    report(f"{what}: {found.kept:,} objects of {len(images.classes)} classes in {len(images):,} images{without}{left}")
    return found


def _boxes(found: list[str]) -> str:
    return "1 box is" if len(found) == 1 else f"{len(found):,} boxes are"


def _listed(found: list[str]) -> str:
    more = len(found) - _NAMED
    return "; ".join(found[:_NAMED]) + (f"; and {more:,} more" if more > 0 else "")
