"""Fashion-MNIST's garments cut out of their black background, to be pasted into scenes.

Legend: N garments, 28 x 28 pixels; h w height and width of the rectangle around a garment. Importing this module loads no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from ..datasets.catalogue import DATASETS
from ..datasets.locate import locate
from ..sources.files import FILES, find
from ..sources.idx import read_idx
from ..sources.request import Report

THRESHOLD = 28
"""Grey level from which a pixel belongs to the garment; below are the background's noise and the dark fringe that scaling down left."""
LEAST_PIXELS = 40
"""That reach the threshold; garments with less (a sandal of a few dark straps) are not used."""
CLASSES = DATASETS["fashion-mnist"].classes


@dataclass(frozen=True, eq=False)
class Garment:
    """One garment within its rectangle."""

    grey: NDArray[np.uint8]
    """(h, w); beside the garment the levels of its edge go on, so that it does not fade to black when it is magnified."""
    cover: NDArray[np.uint8]
    """(h, w): 255 within the silhouette, smoothed at its edge; the silhouette is what reaches 128."""

    def resized(self, height: int, width: int, mirrored: bool) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Grey levels and coverage at another height and width."""
        resample = PIL.Image.Resampling.BICUBIC
        made = [np.asarray(PIL.Image.fromarray(part).resize((width, height), resample)) for part in (self.grey, self.cover)]
        return (made[0][:, ::-1], made[1][:, ::-1]) if mirrored else (made[0], made[1])


@dataclass(frozen=True, eq=False)
class Garments:
    """One split's."""

    grey: NDArray[np.uint8]
    """(N, side, side)."""
    labels: NDArray[np.int64]
    """(N,)."""
    usable: NDArray[np.int64]
    """Places of those that are large and bright enough."""

    def cut_out(self, index: int) -> Garment:
        """A garment within the rectangle around its silhouette."""
        solid = filled(self.grey[index] >= THRESHOLD)
        rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
        part = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
        return Garment(_spread(self.grey[index], solid)[part], _softened(solid[part]))


def load_garments(split: str, folder: Path | None, report: Report) -> Garments:
    """The garments of "train" or "test", from wherever Fashion-MNIST is found.

    Raises:
        DataError: its files cannot be had, or are wrong.
    """
    place = locate("fashion-mnist", folder, report=report)
    images, labels = FILES["fashion-mnist"][:2] if split == "train" else FILES["fashion-mnist"][2:]
    paths = [find(place, file) for file in (images, labels)]
    grey, classes = (read_idx(path) for path in paths if path is not None)
    bright = (grey >= THRESHOLD).sum((1, 2))
    return Garments(grey, classes.astype(np.int64), np.flatnonzero(bright >= min(LEAST_PIXELS, grey[0].size // 8)))


def filled(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A silhouette (side, side) without holes: what cannot be reached from outside over background belongs to it."""
    free = np.pad(~solid, 1, constant_values=True)  # a frame, all of which is outside
    outside = np.zeros_like(free)
    outside[[0, -1]] = outside[:, [0, -1]] = True
    reached = 0
    while (count := int(outside.sum())) != reached:
        reached = count
        for _ in range(4):  # counting costs as much as a step
            before = outside.copy()  # or a step down and one to the right would pass the corner between two solid pixels
            outside[1:] |= before[:-1]
            outside[:-1] |= before[1:]
            outside[:, 1:] |= before[:, :-1]
            outside[:, :-1] |= before[:, 1:]
            outside &= free
    return ~outside[1:-1, 1:-1]


def _softened(solid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Coverage of a silhouette with its steps smoothed: weights 1 4 1 down and across, which leave a line of one pixel above half."""
    framed = np.pad(solid.astype(np.int64), 1, mode="edge")
    down = framed[:-2] + 4 * framed[1:-1] + framed[2:]
    return np.asarray((down[:, :-2] + 4 * down[:, 1:-1] + down[:, 2:]) * 255 // 36, np.uint8)


def _spread(grey: NDArray[np.uint8], solid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Grey levels in which background beside the garment has the level of the brightest neighbour within it, two pixels far."""
    levels, known = np.where(solid, grey, 0).astype(np.uint8), solid
    for _ in range(2):
        framed = np.pad(levels, 1)
        near = np.maximum(np.maximum(framed[:-2, 1:-1], framed[2:, 1:-1]), np.maximum(framed[1:-1, :-2], framed[1:-1, 2:]))
        levels = np.where(known, levels, near)
        known = known | (near > 0)
    return levels
