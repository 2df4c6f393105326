"""Random changes of a batch of images, on the device where it is, from the batch's own draws.

Legend: N batch, C channels, H W height and width in pixels, K classes. Images are (N, C, H, W), uint8 or floating; all functions
return new tensors of the same type, and of the same shape where they do not say otherwise. Colours are changed in `colour`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional

from ...core.errors import UserError
from ..sampling.draws import Draws
from .crops import Box, ResizedCrop

_LARGE = 1 << 14
"""Values of an image from which on, on a CPU, mirroring some images one by one takes less time than choosing between two batches."""


def random_crop(images: Tensor, padding: int, mode: Literal["zeros", "reflect"], draws: Draws) -> Tensor:
    """Each image, padded by `padding` pixels on every side, is cut back to (H, W) at its own place (He 2015 §4.2)."""
    count, _, height, width = images.shape
    if mode == "reflect":
        if padding >= min(height, width):
            raise UserError(f"reflecting {padding} pixels needs images larger than that, but these have {height} x {width}")
        padded = functional.pad(images.float(), (padding,) * 4, mode="reflect").to(images.dtype)
    else:
        padded = functional.pad(images, (padding,) * 4)
    # Drawn on the generator's device, which is the CPU: the run is the same wherever the images are.
    offsets = draws.integers(2 * padding + 1, 2).to(images.device)
    rows = offsets[:, :1] + torch.arange(height, device=images.device)
    columns = offsets[:, 1:] + torch.arange(width, device=images.device)
    sample = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_resized_crop(images: Tensor, settings: ResizedCrop, size: int, draws: Draws) -> Tensor:
    """A random part of each image at `size` x `size` pixels: bilinear, antialiased where it shrinks.

    Raises:
        ValueError: the settings' shorter side begins below `size`.
    """
    height, width = images.shape[-2:]
    numbers = draws.uniform(ResizedCrop.NUMBERS).tolist()
    return resized_parts(images, [settings.box(height, width, size, row) for row in numbers], size)


def resized_parts(images: Tensor, boxes: Sequence[Box], size: int) -> Tensor:
    """One part of each image at `size` x `size` pixels, as cutting it out and resizing it gives where its edges are whole."""
    height, width = images.shape[-2:]
    down = _weights([(box.top, box.height) for box in boxes], size, height).to(images.device)
    across = _weights([(box.left, box.width) for box in boxes], size, width).to(images.device)
    resized = down[:, None] @ images.float() @ across[:, None].mT
    return resized.to(images.dtype) if images.is_floating_point() else resized.round().clamp(0, 255).to(images.dtype)


def _weights(parts: Sequence[tuple[float, float]], size: int, length: int) -> Tensor:
    """(b, size, length): how much each pixel of a line counts for each of the `size` pixels that a part (start, extent) becomes.

    A triangle as wide as a result's pixel, never narrower than two pixels, that sees no pixel outside the part.
    """
    start, extent = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in zip(*parts, strict=True))
    scale = extent / size
    middles = start + (torch.arange(size)[:, None] + 0.5) * scale
    pixels = torch.arange(length) + 0.5
    weights = (1 - (pixels - middles).abs() / scale.clamp(min=1)).clamp(min=0)
    weights = weights * ((pixels > start) & (pixels < start + extent))
    return (weights / weights.sum(-1, keepdim=True)).float()


def random_horizontal_flip(images: Tensor, draws: Draws) -> Tensor:
    """Mirrors each image with probability 1/2."""
    mirrored = draws.uniform().to(images.device) < 0.5
    return _mirror(images, mirrored)


def alternating_horizontal_flip(images: Tensor, indices: Tensor, epoch: int, seed: int) -> Tensor:
    """Mirrors each image in every other epoch, half of them in the even ones (Jordan 2024, 2404.00498).

    `indices` (N,) int64 are the images' places in the data set; which half one belongs to follows from its place and the seed.
    """
    # A multiplicative hash (Knuth): neighbouring places fall into both halves without a table as long as the data set.
    half = (((indices + seed) * 2_654_435_761) >> 16) & 1
    mirrored = half == epoch % 2
    return _mirror(images, mirrored.to(images.device))


def cutout(images: Tensor, side: int, draws: Draws) -> Tensor:
    """Sets a square of `side` pixels around a random pixel of each image to 0 (Cutout, 1708.04552): the square may reach over
    the edge. Meant for normalised images, whose mean is 0."""
    _, _, height, width = images.shape
    centres = draws.uniform(2).to(images.device)
    top = (centres[:, :1] * height).floor() - side // 2
    left = (centres[:, 1:] * width).floor() - side // 2
    return _cleared(images, top, left, torch.full_like(top, side), torch.full_like(left, side))


def _mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    if images.device.type != "cpu" or images[0].numel() < _LARGE:
        return torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    changed = torch.empty_like(images)
    for image, new, turned in zip(images, changed, mirrored.tolist(), strict=True):
        new.copy_(image.flip(-1) if turned else image)
    return changed


def random_erasing(images: Tensor, probability: float, draws: Draws) -> Tensor:
    """Sets a rectangle of each image to 0 with this probability (Zhong 2017, 1708.04896): of 2 to 33 % of the area, its sides'
    ratio from 0.3 to 3.3 by the logarithm, all of it inside the image; of ten tries the first that fits. Meant for normalised
    images, whose mean is 0."""
    _, _, height, width = images.shape
    areas, ratios = (height * width * (0.02 + 0.31 * draws.uniform(10))), _between(0.3, 3.3, draws.uniform(10))
    tall, wide = (areas * ratios).sqrt().round(), (areas / ratios).sqrt().round()
    fits = (tall < height) & (wide < width)
    first = fits.int().argmax(1, keepdim=True)
    along, across = tall.gather(1, first), wide.gather(1, first)
    places = draws.uniform(2)
    top = (places[:, :1] * (height - along + 1)).floor()
    left = (places[:, 1:] * (width - across + 1)).floor()
    erased = (draws.uniform(1) < probability) & fits.any(1, keepdim=True)
    return _cleared(images, *(edge.to(images.device) for edge in (top, left, along * erased, across)))


def _between(low: float, high: float, share: Tensor) -> Tensor:
    """Numbers whose logarithms are at these shares of the way from that of `low` to that of `high`."""
    return torch.exp(math.log(low) + share * math.log(high / low))


def _cleared(images: Tensor, top: Tensor, left: Tensor, along: Tensor, across: Tensor) -> Tensor:
    """0 inside a rectangle of each image, whose edges and sides are (b, 1) in pixels."""
    rows, columns = (torch.arange(length, device=images.device) for length in images.shape[-2:])
    in_rows = (rows >= top) & (rows < top + along)
    in_columns = (columns >= left) & (columns < left + across)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)


def mixup(images: Tensor, targets: Tensor, alpha: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """Blends each image and its target (N, K) with another of the batch, by one share from Beta(alpha, alpha) (1710.09412)."""
    share, partner = beta(alpha, draws.generator), draws.partners().to(images.device)
    return share * images + (1 - share) * images[partner], share * targets + (1 - share) * targets[partner]


def cutmix(images: Tensor, targets: Tensor, alpha: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """Pastes a box of another image of the batch into each; targets (N, K) mix by area (1905.04899, §3.1)."""
    share, partner = beta(alpha, draws.generator), draws.partners().to(images.device)
    height, width = images.shape[-2:]
    cut = (1 - share) ** 0.5
    centre_y, centre_x = torch.rand(2, generator=draws.generator).tolist()
    top, bottom = (min(max(round(centre_y * height + sign * cut * height / 2), 0), height) for sign in (-1, 1))
    left, right = (min(max(round(centre_x * width + sign * cut * width / 2), 0), width) for sign in (-1, 1))
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[partner][..., top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, kept * targets + (1 - kept) * targets[partner]


def beta(alpha: float, generator: Generator) -> float:
    """A draw from Beta(alpha, alpha), by Jöhnk's method: u^(1/a) / (u^(1/a) + v^(1/a)) given that the sum is at most 1.

    Written out because torch's own Beta draws from the global generator, which belongs to the network's dropout. For alpha > 1 two
    gamma variates (Marsaglia and Tsang 2000) take the place of the rejection, which would rarely accept.
    """
    if alpha > 1:
        first, second = _gamma(alpha, generator), _gamma(alpha, generator)
        return first / (first + second)
    while True:
        u, v = (x ** (1 / alpha) for x in torch.rand(2, generator=generator, dtype=torch.float64).tolist())
        if 0 < u + v <= 1:
            return float(u / (u + v))


def _gamma(shape: float, generator: Generator) -> float:
    d: float = shape - 1 / 3
    while True:
        x = float(torch.randn((), generator=generator, dtype=torch.float64))
        u = float(torch.rand((), generator=generator, dtype=torch.float64))
        v = (1 + x / (9 * d) ** 0.5) ** 3
        if v > 0 and u > 0 and math.log(u) < 0.5 * x * x + d - d * v + d * math.log(v):
            return float(d * v)
