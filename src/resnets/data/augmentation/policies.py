"""Augmentation policies: which operations change an image, and how much.

Legend: b rows of the batch, C channels, H W height and width in pixels. Images are (b, C, H, W) uint8.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..sampling.draws import Draws
from .colour import normal
from .operations import apply_operations

_Amount = Callable[[Tensor, Tensor, int, int], Tensor]
"""From levels (b,) in [0, 1], signs (b,) of -1 or 1, H and W to the operation's amounts (b,)."""


def _none(level: Tensor, sign: Tensor, height: int, width: int) -> Tensor:
    return level


def _signed(largest: float) -> _Amount:
    return lambda level, sign, height, width: sign * largest * level


_RAND_ENHANCE: _Amount = lambda level, sign, height, width: (1 + sign * 0.9 * level).clamp(min=0.1)  # noqa: E731
_RAND: dict[str, _Amount] = {
    "auto-contrast": _none,
    "equalize": _none,
    "invert": _none,
    "rotate": _signed(30),
    "posterize": lambda level, sign, height, width: 4 - (4 * level).floor(),
    "solarize": lambda level, sign, height, width: 256 - (256 * level).floor(),
    "solarize-add": lambda level, sign, height, width: (110 * level).floor(),
    "colour": _RAND_ENHANCE,
    "contrast": _RAND_ENHANCE,
    "brightness": _RAND_ENHANCE,
    "sharpness": _RAND_ENHANCE,
    "shear-x": _signed(0.3),
    "shear-y": _signed(0.3),
    "translate-x": lambda level, sign, height, width: sign * 0.45 * width * level,
    "translate-y": lambda level, sign, height, width: sign * 0.45 * height * level,
}
"""timm's increasing operations ("inc1"): the larger the level, the stronger the change."""

_TRIVIAL_ENHANCE: _Amount = lambda level, sign, height, width: 1 + sign * 0.99 * level  # noqa: E731
_TRIVIAL_MOVE: _Amount = lambda level, sign, height, width: sign * (32 * level).floor()  # noqa: E731
_TRIVIAL: dict[str, _Amount] = {
    "identity": _none,
    "shear-x": _signed(0.99),
    "shear-y": _signed(0.99),
    "translate-x": _TRIVIAL_MOVE,
    "translate-y": _TRIVIAL_MOVE,
    "rotate": _signed(135),
    "brightness": _TRIVIAL_ENHANCE,
    "colour": _TRIVIAL_ENHANCE,
    "contrast": _TRIVIAL_ENHANCE,
    "sharpness": _TRIVIAL_ENHANCE,
    "posterize": lambda level, sign, height, width: 8 - (6 * level).round(),
    "solarize": lambda level, sign, height, width: 255 * (1 - level),
    "auto-contrast": _none,
    "equalize": _none,
}
"""The wide space of TrivialAugment (Table 4 of its paper), as torchvision carries it out."""


def rand_augment(
    images: Tensor,
    draws: Draws,
    *,
    magnitude: float,
    deviation: float = 0.0,
    layers: int = 2,
    probability: float = 0.5,
    fill: Sequence[float],
) -> Tensor:
    """RandAugment (Cubuk 2019, 1909.13719) in timm's form: `layers` times an operation, drawn with replacement, which is carried
    out with a probability, at a magnitude from a normal distribution cut off at 0 and 10.

    "rand-m7-mstd0.5-inc1" is magnitude=7, deviation=0.5. timm draws bilinear or bicubic sampling; this one is bilinear.

    Args:
        images: (b, C, H, W) uint8.
        draws: of the batch.
        magnitude, deviation: mean and standard deviation, in [0, 10].
        layers, probability: see above.
        fill: colour of each channel in [0, 255] where a move uncovers the edge.
    """
    for _ in range(layers):
        chosen = draws.integers(len(_RAND))
        level = (magnitude + deviation * normal(draws)).clamp(0, 10) / 10
        sign, carried_out = _signs(draws), draws.uniform() < probability
        amounts = _amounts(_RAND, chosen, level, sign, images)
        images = apply_operations(images, tuple(_RAND), chosen.where(carried_out, -1), amounts, fill)
    return images


def trivial_augment(images: Tensor, draws: Draws, *, fill: Sequence[float]) -> Tensor:
    """TrivialAugment with its wide space (Müller 2021, 2103.10158): one operation per image, at one of 31 magnitudes, all alike.

    Args:
        images: (b, C, H, W) uint8.
        draws: of the batch.
        fill: colour of each channel in [0, 255] where a move uncovers the edge.
    """
    chosen = draws.integers(len(_TRIVIAL))
    level, sign = draws.integers(31) / 30, _signs(draws)
    return apply_operations(images, tuple(_TRIVIAL), chosen, _amounts(_TRIVIAL, chosen, level, sign, images), fill)


def _signs(draws: Draws) -> Tensor:
    return torch.where(draws.uniform() < 0.5, -1.0, 1.0)


def _amounts(space: dict[str, _Amount], chosen: Tensor, level: Tensor, sign: Tensor, images: Tensor) -> Tensor:
    """(b,) float32: each row's amount, in the unit of the operation that was chosen for it."""
    choices = torch.stack([amount(level, sign, *images.shape[-2:]) for amount in space.values()])
    return choices.gather(0, chosen[None])[0]
