"""Which square of an image and its mask training sees. Data and arithmetic; importing this module loads no torch.

Legend: H W height and width of an image in pixels, S side of a training crop. Long 2015 (1411.4038), Chen 2017 (1706.05587 §4.1):
random scales from 0.5 to 2, crops, mirror images.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...core.errors import UserError
from ..decoding.sides import at_shorter_side

Positive = Annotated[int, Field(gt=0)]


@dataclass(frozen=True)
class Window:
    """What training sees of an image: a square of it after resizing, perhaps mirrored."""

    height: int
    """Of the whole image, resized."""
    width: int
    top: int
    """Place of the square in the resized image, which ends where the image is smaller."""
    left: int
    mirrored: bool


class MaskCrop(BaseModel):
    """A random square of each image, resized at random before."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    NUMBERS: ClassVar[int] = 4
    """How many random numbers in [0, 1) one window takes: a scale, two places, and whether it is mirrored."""
    ROW_NUMBERS: ClassVar[int] = 2 * NUMBERS + 2
    """How many a training image takes: for its window, whether another is laid over it, which one, and for that one's window."""

    size: Positive = 480
    """S, side in pixels of the square that the network sees."""
    base_size: Positive | None = 520
    """Length in pixels of the shorter side that a scale of 1 stands for; unset: the image's own."""
    scale: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.5, 2.0)
    """Smallest and largest scale (1706.05587 §4.1)."""
    flip: bool = True
    """Mirror an image with chance 1/2."""
    paste: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Chance that the objects of another image, cut at random too, are laid over an image (2012.07177): more to learn from each."""

    @model_validator(mode="after")
    def _consistent(self) -> MaskCrop:
        if self.scale[0] > self.scale[1]:
            raise UserError(f"scale={self.scale} is no range: write the smaller value first")
        return self

    def fixed_size(self, height: int, width: int) -> tuple[int, int] | None:
        """The size to which every window resizes an image of `height` x `width` pixels; None where it is another each time."""
        window = self.window(height, width, (0.0,) * self.NUMBERS)
        last = self.window(height, width, (1 - 2**-20,) * self.NUMBERS)
        return (window.height, window.width) if (window.height, window.width) == (last.height, last.width) else None

    def window(self, height: int, width: int, numbers: Sequence[float]) -> Window:
        """What becomes of an image of `height` x `width` pixels.

        Args:
            numbers: `NUMBERS` random numbers in [0, 1); the same give the same window on every machine.
        """
        scale, down, right, mirror = numbers
        base = self.base_size or min(height, width)
        low, high = (max(1, math.floor(base * factor)) for factor in self.scale)
        rows, columns = at_shorter_side(height, width, low + math.floor(scale * (high - low + 1)))
        top = math.floor(down * (max(rows - self.size, 0) + 1))
        left = math.floor(right * (max(columns - self.size, 0) + 1))
        return Window(rows, columns, top, left, self.flip and mirror < 0.5)
