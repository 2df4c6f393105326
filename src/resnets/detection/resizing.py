"""Images of any size to one batch, and boxes along with them (Fast R-CNN §5.2; torchvision's order of steps).

Legend: N images, C channels, H W height and width of the padded batch, h w of one image; sizes are (height, width).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .boxes import Size


@dataclass(frozen=True)
class Batch:
    """Normalised images side by side."""

    images: Tensor
    """(N, C, H, W), zero where an image does not reach."""
    sizes: list[Size]
    """Of each image in the batch, after resizing."""
    originals: list[Size]
    """Of each image before."""


def resized_size(size: Size, min_size: int, max_size: int) -> Size:
    """The size of an image whose shorter side becomes min_size, or whose longer one max_size where that is less.

    Rounded down as in torchvision; a side of a very long and thin image is 1 at least.
    """
    scale = min(min_size / min(size), max_size / max(size))
    return max(1, math.floor(float(size[0]) * scale)), max(1, math.floor(float(size[1]) * scale))


def padded_size(sizes: Sequence[Size], divisible: int) -> Size:
    """The smallest size with multiples of `divisible` into which all the sizes fit."""
    height, width = (math.ceil(max(size[axis] for size in sizes) / divisible) * divisible for axis in (0, 1))
    return height, width


def make_batch(
    images: Sequence[Tensor], mean: Tensor, std: Tensor, *, min_sizes: Sequence[int], max_size: int, divisible: int
) -> Batch:
    """Normalises, resizes (bilinear, without antialiasing) and pads images.

    Args:
        images: each (C, h, w), floating point in [0, 1].
        mean: (C, 1, 1), and `std` too.
        min_sizes: the shorter side of each image after resizing, as far as max_size allows.
    """
    originals = [(image.shape[1], image.shape[2]) for image in images]
    sizes = [resized_size(size, least, max_size) for size, least in zip(originals, min_sizes, strict=True)]
    height, width = padded_size(sizes, divisible)
    batch = images[0].new_zeros((len(images), len(mean), height, width))
    for place, image, size, original in zip(batch, images, sizes, originals, strict=True):
        normal = (image - mean).div_(std)
        if size != original:
            normal = functional.interpolate(normal[None], size=size, mode="bilinear", align_corners=False)[0]
        place[:, : size[0], : size[1]] = normal
    return Batch(batch, sizes, originals)


def drawn_sizes(choices: Sequence[int], number: int) -> list[int]:
    """One of the choices for each of `number` images, from torch's global generator (a draw each, as in torchvision)."""
    return [choices[int(torch.empty(1).uniform_(0.0, float(len(choices))))] for _ in range(number)]
