"""How one row of a batch is made: from an encoded image, or from stored pixels.

Legend: H W height and width of an image in pixels, C channels; pixels are (H, W, C), uint8. Every maker writes its result into a part of
a larger buffer, says what height and width it has, and raises `Unreadable` where there is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..augmentation.crops import Box, ResizedCrop
from ..decoding.decode import EncodedImage, Pixels
from ..decoding.preprocessing import Preprocessing
from ..errors import Unreadable
from ..image_source import ImageSource

Interpolation = Literal["bilinear", "bicubic"]


def opened(source: ImageSource, index: int, channels: Literal[1, 3]) -> EncodedImage:
    """The image at `index`, read but not decoded.

    Raises:
        Unreadable: it cannot be read, or is no image.
    """
    try:
        data = source.read(index)
    except OSError as error:
        raise Unreadable(f"cannot be read: {error.strerror or error}") from error
    return EncodedImage(data, channels)


def resized(pixels: Pixels, height: int, width: int, interpolation: Interpolation) -> Pixels:
    """Pixels at another size, as `Preprocessing` makes it, rounded to whole levels."""
    if pixels.shape[:2] == (height, width):
        return pixels
    images = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1).unsqueeze(0).float()
    antialias = height < pixels.shape[0] or width < pixels.shape[1] or interpolation == "bicubic"
    images = functional.interpolate(images, (height, width), mode=interpolation, align_corners=False, antialias=antialias)
    return _rounded(images)


def fitted(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """What evaluation and prediction see of an image, (size, size, C), rounded to whole levels."""
    images = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1).unsqueeze(0)
    return _rounded(preprocessing.resized(images))


def _rounded(images: torch.Tensor) -> Pixels:
    if images.dtype != torch.uint8:
        images = images.round().clamp_(0, 255).to(torch.uint8)
    found: Pixels = images[0].permute(1, 2, 0).contiguous().numpy()
    return found


def cut(pixels: Pixels, box: Box, full: tuple[int, int], size: int, out: NDArray[np.uint8]) -> None:
    """Writes the part `box` of an image, resized to `size` x `size` (bilinear, antialiased), to `out` (size, size, C).

    Args:
        pixels: the image, whole, at any size; the box is rounded to whole pixels of it.
        box: in pixels of the image at size `full`.
    """
    down, right = pixels.shape[0] / full[0], pixels.shape[1] / full[1]
    top = min(max(round(box.top * down), 0), pixels.shape[0] - 1)
    left = min(max(round(box.left * right), 0), pixels.shape[1] - 1)
    bottom = min(max(round((box.top + box.height) * down), top + 1), pixels.shape[0])
    end = min(max(round((box.left + box.width) * right), left + 1), pixels.shape[1])
    # torch's fast kernel for bytes takes contiguous pixels and strides that say so even for a single image; else it
    # would lay them out anew at greater cost than that of the resizing.
    part = torch.from_numpy(np.array(pixels[None, top:bottom, left:end], order="C")).permute(0, 3, 1, 2)
    made = functional.interpolate(part, (size, size), mode="bilinear", antialias=True)
    torch.from_numpy(out).copy_(made[0].permute(1, 2, 0))


@dataclass(frozen=True)
class FromSource:
    """Rows that are decoded as they are asked for: a crop where random numbers are given, else what evaluation sees."""

    source: ImageSource
    preprocessing: Preprocessing
    crop: ResizedCrop | None

    def make(self, index: int, numbers: Sequence[float] | None, out: NDArray[np.uint8]) -> tuple[int, int]:
        """Writes the row to the flat buffer `out`."""
        size, channels = self.preprocessing.size, self.preprocessing.channels
        image = opened(self.source, index, channels)
        place = out[: size * size * channels].reshape(size, size, channels)
        if self.crop is None or numbers is None:
            place[:] = fitted(image.pixels(), self.preprocessing)
        else:
            full = image.height, image.width
            box = self.crop.box(*full, size, numbers)
            least = math.ceil(size * full[0] / box.height), math.ceil(size * full[1] / box.width)
            cut(image.pixels(least), box, full, size, place)
        return size, size

    def name_of(self, index: int) -> str:
        """For messages."""
        return self.source.name_of(index)
