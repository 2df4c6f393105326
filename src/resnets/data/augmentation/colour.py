"""Changes of the images' colours, each by its own amount, on the device where the batch is.

Legend: b rows of the batch, C channels, H W height and width in pixels. Images are (b, C, H, W), uint8 or floating in [0, 255];
all functions return new tensors of the same shape and type. uint8 results are cut off at 0 and 255, floating ones are not. A
factor is (b,) float32: 1 leaves an image as it is, 0 gives what it is blended with, and above 1 exaggerates.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from ...core.errors import UserError
from ..sampling.draws import Draws

_LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""
_EIGENVALUES = (0.2175, 0.0188, 0.0045)
_EIGENVECTORS = ((-0.5675, 0.7192, 0.4009), (-0.5808, -0.0045, -0.8140), (-0.5836, -0.6948, 0.4203))
"""Of the covariance of ImageNet's RGB values in [0, 1], one vector a column, as fb.resnet.torch measured them."""


def grey(images: Tensor) -> Tensor:
    """(b, 1, H, W) float32: the luma of RGB images, whole numbers for uint8; other images have their one channel."""
    if images.shape[1] != 3:
        return images[:, :1].float()
    weights = torch.tensor(_LUMA, device=images.device).view(1, 3, 1, 1)
    luma = (images.float() * weights).sum(1, keepdim=True)
    return luma if images.is_floating_point() else luma.floor()


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor x images + (1 - factor) x other; `other` is floating and may have one channel or one pixel."""
    weight = factor.to(images.device).view(-1, 1, 1, 1)
    mixed = other + weight * (images.float() - other)
    return mixed.to(images.dtype) if images.is_floating_point() else mixed.clamp(0, 255).to(images.dtype)


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Blends with black."""
    return blend(images, torch.zeros(1, device=images.device), factor)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Blends with the image in grey."""
    return blend(images, grey(images), factor)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Blends with the image's mean grey."""
    return blend(images, grey(images).mean((1, 2, 3), keepdim=True), factor)


def sharpness(images: Tensor, factor: Tensor) -> Tensor:
    """Blends with the image smoothed by (1 1 1, 1 5 1, 1 1 1) / 13; the outermost pixels stay as they are."""
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5
    pixels = images.float()
    channels = images.shape[1]
    inner = functional.conv2d(pixels, (kernel / 13).expand(channels, 1, 3, 3), groups=channels)
    smooth = pixels.clone()
    smooth[:, :, 1:-1, 1:-1] = inner if images.is_floating_point() else inner.round()
    return blend(images, smooth, factor)


def colour_jitter(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """Brightness, contrast and saturation, in a random order, each by a factor from [1 - strength, 1 + strength] (fb.resnet.torch)."""
    orders = draws.uniform(3).argsort(1).to(images.device)
    factors = 1 + strength * (2 * draws.uniform(3) - 1).to(images.device)
    images = images.clone()
    for place in range(3):
        for which, change in enumerate((brightness, contrast, saturation)):
            rows = (orders[:, place] == which).nonzero().flatten()
            if len(rows):
                images[rows] = change(images[rows], factors[rows, which])
    return images


def lighting(images: Tensor, deviation: float, draws: Draws) -> Tensor:
    """Adds to every pixel of an image one colour, drawn along the principal components of ImageNet's colours (Krizhevsky 2012
    §4.1): the sum of component x eigenvalue x a normal number of this standard deviation (0.1 in the paper).

    Raises:
        ValueError: the images are not RGB.
    """
    if images.shape[1] != 3:
        raise UserError(f"augmentation.lighting needs RGB images, but these have {images.shape[1]} channels; set it to 0")
    amounts = deviation * normal(draws, 3) * torch.tensor(_EIGENVALUES)
    colours = (255 * amounts @ torch.tensor(_EIGENVECTORS).T).to(images.device)[:, :, None, None]
    lit = images.float() + colours
    return lit.to(images.dtype) if images.is_floating_point() else lit.round().clamp(0, 255).to(images.dtype)


def normal(draws: Draws, *shape: int) -> Tensor:
    """(b, *shape) float32 numbers from the standard normal distribution."""
    # Of a number from [0, 1), the middle of its cell of 2^-24: neither end has a finite quantile.
    middles = draws.uniform(*shape).double() + 2.0**-25
    return (math.sqrt(2) * torch.erfinv(2 * middles - 1)).float()
