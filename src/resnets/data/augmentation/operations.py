"""The operations that augmentation policies choose from, each row of a batch by its own one and its own amount.

Legend: b rows of the batch, C channels, H W height and width in pixels. Images are (b, C, H, W) uint8; amounts are (b,) float32.
Rows are grouped by operation, and all that move pixels are sampled together, so that a batch costs a few kernels whatever was drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as vision

from . import colour

Operation = Callable[[Tensor, Tensor], Tensor]


def apply_operations(images: Tensor, names: Sequence[str], chosen: Tensor, amounts: Tensor, fill: Sequence[float]) -> Tensor:
    """Each image changed by the operation that was chosen for it.

    Args:
        images: (b, C, H, W) uint8.
        names: of the operations that there are, keys of `MOVES` or `COLOURS`, or "identity".
        chosen: (b,) int64, places in `names`, on the CPU.
        amounts: (b,) float32, in the operation's unit, on the CPU.
        fill: colour of each channel in [0, 255] where a move uncovers the edge.
    """
    images = images.clone()
    moved: list[Tensor] = []
    matrices: list[Tensor] = []
    for place, name in enumerate(names):
        rows = (chosen == place).nonzero().flatten()
        if name == "identity" or not len(rows):
            continue
        if name in MOVES:
            moved.append(rows)
            matrices.append(MOVES[name](amounts[rows], *images.shape[-2:]))
        else:
            there = rows.to(images.device)
            images[there] = COLOURS[name](images[there], amounts[rows].to(images.device))
    if moved:
        there = torch.cat(moved).to(images.device)
        images[there] = move(images[there], torch.cat(matrices), fill)
    return images


def move(images: Tensor, matrices: Tensor, fill: Sequence[float]) -> Tensor:
    """Each pixel (x, y) of the result is the image at matrix (x, y, 1), bilinearly; what is outside has the colour `fill`.

    Args:
        images: (b, C, H, W) uint8.
        matrices: (b, 2, 3), from places in the result to places in the image, in pixels from the top left corner; the middle of
            the first pixel is at (0.5, 0.5).
        fill: a value for each channel.
    """
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    places = torch.stack([x, y, torch.ones_like(x)], -1).to(images.device)
    sources = torch.einsum("hwk,nck->nhwc", places, matrices.to(images.device))
    grid = sources * torch.tensor([2 / width, 2 / height], device=images.device) - 1
    background = torch.tensor(fill, device=images.device, dtype=torch.float32).view(1, -1, 1, 1)
    # What is outside counts as 0, so that the difference to the background fades into it.
    difference = functional.grid_sample(images.float() - background, grid, padding_mode="zeros", align_corners=False)
    return (difference + background).round().clamp(0, 255).to(images.dtype)


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor, e: Tensor, f: Tensor) -> Tensor:
    return torch.stack([torch.stack([a, b, c], 1), torch.stack([d, e, f], 1)], 1)


def _shear_x(amount: Tensor, height: int, width: int) -> Tensor:
    zero, one = torch.zeros_like(amount), torch.ones_like(amount)
    return _matrix(one, amount, zero, zero, one, zero)


def _shear_y(amount: Tensor, height: int, width: int) -> Tensor:
    zero, one = torch.zeros_like(amount), torch.ones_like(amount)
    return _matrix(one, zero, zero, amount, one, zero)


def _translate_x(amount: Tensor, height: int, width: int) -> Tensor:
    zero, one = torch.zeros_like(amount), torch.ones_like(amount)
    return _matrix(one, zero, amount, zero, one, zero)


def _translate_y(amount: Tensor, height: int, width: int) -> Tensor:
    zero, one = torch.zeros_like(amount), torch.ones_like(amount)
    return _matrix(one, zero, zero, zero, one, amount)


def _rotate(amount: Tensor, height: int, width: int) -> Tensor:
    angle = torch.deg2rad(amount)
    sine, cosine = angle.sin(), angle.cos()
    x, y = width / 2, height / 2
    return _matrix(cosine, -sine, x - cosine * x + sine * y, sine, cosine, y - sine * x - cosine * y)


MOVES: dict[str, Callable[[Tensor, int, int], Tensor]] = {
    "shear-x": _shear_x,
    "shear-y": _shear_y,
    "translate-x": _translate_x,
    "translate-y": _translate_y,
    "rotate": _rotate,
}
"""Operations that move pixels, as matrices (b, 2, 3) from amounts, H and W. Shears are pixels per pixel from the top left corner,
translations are pixels, rotations are degrees about the middle; a positive amount takes pixels from the right or from below, and turns
the image anticlockwise."""


def _auto_contrast(images: Tensor, amount: Tensor) -> Tensor:
    made: Tensor = vision.autocontrast(images)
    return made


def _equalize(images: Tensor, amount: Tensor) -> Tensor:
    made: Tensor = vision.equalize(images)
    return made


def _invert(images: Tensor, amount: Tensor) -> Tensor:
    return 255 - images


def _posterize(images: Tensor, amount: Tensor) -> Tensor:
    masks = 256 - torch.pow(2.0, 8 - amount)
    return images & masks.to(torch.uint8).view(-1, 1, 1, 1)


def _solarize(images: Tensor, amount: Tensor) -> Tensor:
    return torch.where(images >= amount.view(-1, 1, 1, 1), 255 - images, images)


def _solarize_add(images: Tensor, amount: Tensor) -> Tensor:
    brighter = (images.float() + amount.view(-1, 1, 1, 1)).clamp(max=255).to(images.dtype)
    return torch.where(images < 128, brighter, images)


COLOURS: dict[str, Operation] = {
    "auto-contrast": _auto_contrast,
    "equalize": _equalize,
    "invert": _invert,
    "posterize": _posterize,
    "solarize": _solarize,
    "solarize-add": _solarize_add,
    "colour": colour.saturation,
    "contrast": colour.contrast,
    "brightness": colour.brightness,
    "sharpness": colour.sharpness,
}
"""Operations that change values in place. Amounts: bits that are kept, the value from which on pixels are inverted, what is added
to values below 128, and factors as in `colour`; the first three have none."""
