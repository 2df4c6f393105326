"""Random changes of a batch of pictures, on the device where it lies, from the batch's own draws.

Legend: N batch, C channels, H W height and width in pixels, K classes. Pictures are (N, C, H, W), uint8 or floating; all functions
return new tensors of the same shape and type.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional

from .draws import Draws


def random_crop(images: Tensor, padding: int, mode: Literal["zeros", "reflect"], draws: Draws) -> Tensor:
    """Each picture, padded by `padding` pixels on every side, is cut back to (H, W) at its own place (He 2015 §4.2)."""
    count, _, height, width = images.shape
    if mode == "reflect":
        if padding >= min(height, width):
            raise ValueError(f"reflecting {padding} pixels needs pictures larger than that, but these have {height} x {width}")
        padded = functional.pad(images.float(), (padding,) * 4, mode="reflect").to(images.dtype)
    else:
        padded = functional.pad(images, (padding,) * 4)
    # Drawn on the generator's device, which is the CPU: the run is the same wherever the pictures lie.
    offsets = draws.integers(2 * padding + 1, 2).to(images.device)
    rows = offsets[:, :1] + torch.arange(height, device=images.device)
    columns = offsets[:, 1:] + torch.arange(width, device=images.device)
    sample = torch.arange(count, device=images.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def random_horizontal_flip(images: Tensor, draws: Draws) -> Tensor:
    """Mirrors each picture with probability 1/2."""
    mirrored = draws.uniform().to(images.device) < 0.5
    return torch.where(mirrored[:, None, None, None], images.flip(-1), images)


def alternating_horizontal_flip(images: Tensor, indices: Tensor, epoch: int, seed: int) -> Tensor:
    """Mirrors each picture in every other epoch, half of them in the even ones (Jordan 2024, 2404.00498).

    `indices` (N,) int64 are the pictures' places in the data set; which half one belongs to follows from its place and the seed.
    """
    # A multiplicative hash (Knuth): neighbouring places fall into both halves without a table as long as the data set.
    half = (((indices + seed) * 2_654_435_761) >> 16) & 1
    mirrored = half == epoch % 2
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(-1), images)


def random_erasing(images: Tensor, side: int, draws: Draws) -> Tensor:
    """Sets a square of `side` pixels around a random pixel of each picture to 0 (Cutout, 1708.04552): the square may reach over
    the edge. Meant for normalised pictures, whose mean is 0."""
    count, _, height, width = images.shape
    centres = draws.uniform(2).to(images.device)
    top = (centres[:, :1] * height).floor() - side // 2
    left = (centres[:, 1:] * width).floor() - side // 2
    rows, columns = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    in_rows = (rows >= top) & (rows < top + side)
    in_columns = (columns >= left) & (columns < left + side)
    return images.masked_fill((in_rows[:, :, None] & in_columns[:, None, :])[:, None], 0)


def mixup(images: Tensor, targets: Tensor, alpha: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """Blends each picture and its target (N, K) with another of the batch, by one share from Beta(alpha, alpha) (1710.09412)."""
    share, partner = beta(alpha, draws.generator), draws.partners().to(images.device)
    return share * images + (1 - share) * images[partner], share * targets + (1 - share) * targets[partner]


def cutmix(images: Tensor, targets: Tensor, alpha: float, draws: Draws) -> tuple[Tensor, Tensor]:
    """Pastes a box of another picture of the batch into each; targets (N, K) mix by area (1905.04899, §3.1)."""
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
