"""What is kept of an image when all are decoded once: which size, and what that size depends on.

Legend: H W height and width in pixels, C channels, R the shorter side that is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ..decoding.decode import DECODER, Pixels
from ..decoding.preprocessing import Preprocessing
from ..decoding.sides import at_shorter_side
from ..image_source import ImageSource
from .rows import fitted, opened, resized

_MARGIN = 8 / 7
"""Of the kept shorter side over the network's size where nothing else says it: 256 for 224 (Krizhevsky 2012 and nearly all since)."""


class Stored(BaseModel):
    """How images are reduced before they are kept.

    For evaluation that is all that evaluation sees, so that nothing is lost. For training the shorter side becomes R, and of the longer one
    the middle is kept, about 2 R at most; a smaller image stays as it is. Where R is the preprocessing's `resize`, evaluation
    from what is kept equals evaluation from the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    preprocessing: Preprocessing
    side: int | None
    """R; None to keep what evaluation sees."""

    @classmethod
    def for_evaluation(cls, preprocessing: Preprocessing) -> Stored:
        """Keeps (size, size, C)."""
        return cls(preprocessing=preprocessing, side=None)

    @classmethod
    def for_training(cls, preprocessing: Preprocessing) -> Stored:
        """Keeps what random crops are cut from."""
        return cls(preprocessing=preprocessing, side=preprocessing.resize or math.ceil(preprocessing.size * _MARGIN))

    @property
    def key(self) -> str:
        """Everything that pixels depend on, beside the source."""
        settings = self.preprocessing.model_dump(include={"size", "resize", "interpolation", "channels"})
        if self.side is not None:
            del settings["size"], settings["resize"]
        return f"{DECODER} {self.side} {sorted(settings.items())}"

    @property
    def capacity(self) -> int:
        """Bytes that an image takes at most."""
        channels = self.preprocessing.channels
        return self.preprocessing.size**2 * channels if self.side is None else self.side * (2 * self.side + 3) * channels

    def shape(self, height: int, width: int) -> tuple[int, int]:
        """The kept height and width of an image of `height` x `width`."""
        if self.side is None:
            return self.preprocessing.size, self.preprocessing.size
        height, width = self._resized(height, width)
        return min(height, self._longest(height)), min(width, self._longest(width))

    def made(self, pixels: Pixels) -> Pixels:
        """What is kept of an image (H, W, C)."""
        if self.side is None:
            return fitted(pixels, self.preprocessing)
        pixels = resized(pixels, *self._resized(*pixels.shape[:2]), self.preprocessing.interpolation)
        height, width = pixels.shape[:2]
        rows, columns = min(height, self._longest(height)), min(width, self._longest(width))
        top, left = (height - rows) // 2, (width - columns) // 2
        return pixels[top : top + rows, left : left + columns]

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        assert self.side is not None
        short = min(height, width)
        if short <= self.side and max(height, width) <= 2 * self.side:
            return height, width
        return at_shorter_side(height, width, self.side)

    def _longest(self, length: int) -> int:
        # A multiple of 4 is cut off, so that an even number goes on each side: the centred crop of the rest, whose edge is rounded to even,
        # is then that of the whole.
        assert self.side is not None
        return 2 * self.side + (length - 2 * self.side) % 4


@dataclass(frozen=True)
class ForStore:
    """Makes what a store keeps of each image (a `RowReader`)."""

    source: ImageSource
    stored: Stored

    def make(self, index: int, numbers: Sequence[float] | None, out: NDArray[np.uint8]) -> tuple[int, int]:
        """Writes the image to the flat buffer `out`."""
        pixels = self.stored.made(opened(self.source, index, self.stored.preprocessing.channels).pixels())
        out[: pixels.size] = pixels.reshape(-1)
        return pixels.shape[0], pixels.shape[1]

    def name_of(self, index: int) -> str:
        """For messages."""
        return self.source.name_of(index)
