"""`ResizedCrop`: which part of an image training sees, as settings and arithmetic, wherever the pixels are cut.

Legend: H W height and width of the image in pixels. Importing this module loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...core.errors import UserError

Range = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


@dataclass(frozen=True)
class Box:
    """A part of an image, in its pixels; edges need not be on whole ones."""

    top: float
    left: float
    height: float
    width: float


class ResizedCrop(BaseModel):
    """A random part of each image, resized to the square that the network sees."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    NUMBERS: ClassVar[int] = 22
    """How many random numbers in [0, 1) one box takes: ten tries of an area and a ratio, and a place."""

    kind: Literal["off", "area", "shorter-side"] = "off"
    """off: the whole image, squeezed or cut as in evaluation. area: a part of random area and ratio of sides (Szegedy 2014,
    1409.4842 §6). shorter-side: a square of the image resized to a random length of its shorter side (VGG, 1409.1556 §3.1)."""
    area: Range = (0.08, 1.0)
    """area: smallest and largest share of the image's area."""
    ratio: Range = (3 / 4, 4 / 3)
    """area: smallest and largest width / height, whose logarithm is drawn."""
    shorter_side: tuple[int, int] = (256, 480)
    """shorter-side: smallest and largest length in pixels, both drawn too (He 2015 §3.4: 256 to 480)."""

    @model_validator(mode="after")
    def _consistent(self) -> ResizedCrop:
        for name in ("area", "ratio", "shorter_side"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise UserError(f"{name}={low, high} is no range: write the smaller value first, both above 0")
        if self.area[1] > 1:
            raise UserError(f"area={self.area} is a share of the image's area; it cannot be above 1")
        return self

    def box(self, height: int, width: int, size: int, numbers: Sequence[float]) -> Box:
        """The part of an image of `height` x `width` pixels that becomes `size` x `size` pixels.

        Args:
            height, width: H and W.
            size: side of the result in pixels.
            numbers: `NUMBERS` random numbers in [0, 1); the same give the same box on every machine.

        Raises:
            ValueError: shorter_side begins below `size`.
        """
        if self.kind == "off":
            return Box(0, 0, height, width)
        *tries, down, right = numbers
        if self.kind == "shorter-side":
            low, high = self.shorter_side
            if low < size:
                raise UserError(f"crop.shorter_side={low, high} is below the network's {size} pixels; raise it")
            scale = (low + math.floor(tries[0] * (high - low + 1))) / min(height, width)
            side = size / scale
            # Places are whole pixels of the resized image, as if it had been made.
            rows, columns = round(height * scale) - size, round(width * scale) - size
            top, left = math.floor(down * (rows + 1)) / scale, math.floor(right * (columns + 1)) / scale
            return Box(min(top, height - side), min(left, width - side), side, side)
        for area, ratio in zip(tries[::2], tries[1::2], strict=True):
            part = height * width * (self.area[0] + area * (self.area[1] - self.area[0]))
            shape = math.exp(math.log(self.ratio[0]) + ratio * (math.log(self.ratio[1]) - math.log(self.ratio[0])))
            across, along = round(math.sqrt(part * shape)), round(math.sqrt(part / shape))
            if 0 < across <= width and 0 < along <= height:
                break
        else:  # the largest centred part whose ratio is allowed
            shape = min(max(width / height, self.ratio[0]), self.ratio[1])
            across, along = min(width, round(height * shape)), min(height, round(width / shape))
            return Box((height - along) // 2, (width - across) // 2, along, across)
        return Box(math.floor(down * (height - along + 1)), math.floor(right * (width - across + 1)), along, across)
