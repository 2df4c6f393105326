"""How one row of a batch for segmentation is made: an image and its mask, changed alike.

Legend: H W height and width of an image in pixels, C channels, K classes, S side of a training crop. Pixels are (H, W, C) and masks
(H, W), both uint8; a mask holds 0 for the background, 1 to K for the classes, 255 where nothing is right or wrong. Long 2015
(1411.4038), Chen 2017 (1706.05587 §4.1): random scales from 0.5 to 2, crops, mirror images.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from ..annotations.objects import IGNORED, AnnotatedImages
from ..decoding.decode import EncodedImage, Pixels
from ..decoding.sides import at_shorter_side
from ..errors import Unreadable
from .mask_crop import MaskCrop, Window

Mask = NDArray[np.uint8]
"""(H, W)."""


def resized_pixels(pixels: Pixels, height: int, width: int) -> Pixels:
    """Pixels at another size: bilinear, antialiased where it shrinks."""
    if pixels.shape[:2] == (height, width):
        return pixels
    images = torch.from_numpy(np.array(pixels[None], order="C")).permute(0, 3, 1, 2)
    made = functional.interpolate(images, (height, width), mode="bilinear", antialias=True)
    found: Pixels = made[0].permute(1, 2, 0).contiguous().numpy()
    return found


def nearest(length: int, target: int) -> NDArray[np.int64]:
    """(target,): which of `length` pixels of a line is at the middle of each of `target` pixels (torch's "nearest-exact")."""
    return ((np.arange(target) * 2 + 1) * length // (2 * target)).astype(np.int64)


def cut(pixels: Pixels, mask: Mask, window: Window, fill: Pixels, out: Pixels, out_mask: Mask) -> None:
    """Writes the window of an image and its mask to `out` (S, S, C) and `out_mask` (S, S); what is outside the image gets `fill`
    (C,) and 255."""
    size = len(out)
    bottom, end = min(window.top + size, window.height), min(window.left + size, window.width)
    rows, columns = slice(window.top, bottom), slice(window.left, end)
    height, width = bottom - window.top, end - window.left
    if (height, width) != (size, size):
        out[:], out_mask[:] = fill, IGNORED
    out[:height, :width] = resized_pixels(pixels, window.height, window.width)[rows, columns]
    down, across = nearest(mask.shape[0], window.height)[rows], nearest(mask.shape[1], window.width)[columns]
    out_mask[:height, :width] = mask[down[:, None], across]
    if window.mirrored:
        out[:], out_mask[:] = out[:, ::-1].copy(), out_mask[:, ::-1].copy()


@dataclass(frozen=True, eq=False)
class MaskedImages:
    """Images with their masks, decoded as they are asked for.

    Raises (from `load`):
        Unreadable: the image or its mask cannot be read, or they do not fit together.
    """

    images: AnnotatedImages
    channels: Literal[1, 3]

    def __len__(self) -> int:
        """N."""
        return len(self.images)

    def name_of(self, index: int) -> str:
        """For messages."""
        return self.images.name_of(index)

    def load(self, index: int) -> tuple[Pixels, Mask]:
        """The image at `index` and its mask."""
        try:
            data = self.images.read(index)
        except OSError as error:
            raise Unreadable(f"cannot be read: {error.strerror or error}") from error
        image = EncodedImage(data, self.channels)
        pixels = image.pixels()
        try:
            mask = self.images.mask(index)
        except OSError as error:
            raise Unreadable(f"has a mask that cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise Unreadable(f"has no mask that can be used: {error}") from error
        if pixels.shape[:2] != mask.shape and pixels.shape[:2] == mask.shape[::-1]:
            pixels = image.as_stored(pixels)  # the mask was drawn by a program that ignores EXIF's rotation
        if mask.shape != pixels.shape[:2]:
            raise Unreadable(
                f"is {pixels.shape[0]} x {pixels.shape[1]} pixels high and wide, but its mask {' x '.join(map(str, mask.shape))}"
            )
        classes = len(self.images.classes)
        wrong = mask[(mask > classes) & (mask != IGNORED)]
        if len(wrong):
            raise Unreadable(
                f"has a mask with the value {int(wrong[0])}, but there are {classes} classes (0 background, 255 ignored)"
            )
        return pixels, mask


def at_crops_size(pixels: Pixels, mask: Mask, crop: MaskCrop) -> tuple[Pixels, Mask]:
    """An image and its mask at the size to which `crop` resizes them, where that is always the same, so that it is done only once."""
    size = crop.fixed_size(mask.shape[0], mask.shape[1])
    if size is None:
        return pixels, mask
    down, across = nearest(mask.shape[0], size[0]), nearest(mask.shape[1], size[1])
    return resized_pixels(pixels, *size), mask[down[:, None], across]


@dataclass(frozen=True, eq=False)
class DecodedImages:
    """Images with their masks that are in memory."""

    names: tuple[str, ...]
    pairs: tuple[tuple[Pixels, Mask], ...]

    def __len__(self) -> int:
        """N."""
        return len(self.pairs)

    def name_of(self, index: int) -> str:
        """For messages."""
        return self.names[index]

    def load(self, index: int) -> tuple[Pixels, Mask]:
        """The image at `index` and its mask."""
        return self.pairs[index]


@dataclass(frozen=True)
class CutWindows:
    """Rows for training (a `RowReader`): S x S pixels, then S x S of the mask."""

    source: MaskedImages | DecodedImages
    crop: MaskCrop
    fill: tuple[int, ...]
    """(C,): levels outside the image."""

    @property
    def capacity(self) -> int:
        """Bytes of a row."""
        return self.crop.size**2 * (len(self.fill) + 1)

    def make(self, index: int, numbers: Sequence[float] | None, out: NDArray[np.uint8]) -> tuple[int, int]:
        """Writes the row to the flat buffer `out`."""
        assert numbers is not None
        own, (chance, which), others = numbers[: MaskCrop.NUMBERS], numbers[MaskCrop.NUMBERS :][:2], numbers[MaskCrop.NUMBERS + 2 :]
        pixels, mask = self._parts(out)
        self._cut(index, own, pixels, mask)
        if chance < self.crop.paste:
            self._paste(int(which * len(self.source)), others, pixels, mask)
        return self.crop.size, self.crop.size

    def _parts(self, row: NDArray[np.uint8]) -> tuple[Pixels, Mask]:
        size, channels = self.crop.size, len(self.fill)
        split = size * size * channels
        return row[:split].reshape(size, size, channels), row[split : split + size * size].reshape(size, size)

    def _cut(self, index: int, numbers: Sequence[float], out: Pixels, out_mask: Mask) -> None:
        pixels, mask = self.source.load(index)
        cut(pixels, mask, self.crop.window(mask.shape[0], mask.shape[1], numbers), np.array(self.fill, np.uint8), out, out_mask)

    def _paste(self, index: int, numbers: Sequence[float], out: Pixels, out_mask: Mask) -> None:
        pixels, mask = self._parts(np.empty(self.capacity, np.uint8))
        try:
            self._cut(index, numbers, pixels, mask)
        except Unreadable:
            return  # it is counted when it comes itself
        objects = (mask != 0) & (mask != IGNORED)
        out[objects], out_mask[objects] = pixels[objects], mask[objects]

    def name_of(self, index: int) -> str:
        """For messages."""
        return self.source.name_of(index)


@dataclass(frozen=True)
class WholeImages:
    """Rows for evaluation (a `RowReader`): the image at its shorter side of `size`, then its mask as it is. H and W are the mask's."""

    source: MaskedImages | DecodedImages
    size: int | None

    def make(self, index: int, numbers: Sequence[float] | None, out: NDArray[np.uint8]) -> tuple[int, int]:
        """Writes the row to the flat buffer `out`."""
        pixels, mask = self.source.load(index)
        made = resized_pixels(pixels, *at_shorter_side(mask.shape[0], mask.shape[1], self.size))
        if made.size + mask.size > len(out):
            raise Unreadable(f"is larger ({mask.shape[0]} x {mask.shape[1]}) than its annotation says")
        out[: made.size] = made.reshape(-1)
        out[made.size : made.size + mask.size] = mask.reshape(-1)
        return mask.shape[0], mask.shape[1]

    def name_of(self, index: int) -> str:
        """For messages."""
        return self.source.name_of(index)
