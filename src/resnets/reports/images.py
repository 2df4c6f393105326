"""Images inside a page: thumbnails and heat maps as data addresses, small enough that a page of them stays small.

Legend: C channels (1 grey, 3 RGB), H W height and width in pixels.
"""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy
import PIL.Image

if TYPE_CHECKING:
    from torch import Tensor

PIXEL_ART = 64
"""Images no wider or higher are stored exactly and enlarged by the page as squares; larger ones as JPEG."""


def thumbnail(pixels: Tensor, side: int) -> str:
    """An image (C, H, W), uint8, as a data address: as it is where it is small, else at most `side` pixels wide and high."""
    image = as_image(pixels)
    if max(image.size) > PIXEL_ART:
        image.thumbnail((side, side), PIL.Image.Resampling.LANCZOS)
        return data_address(image, "JPEG")
    return data_address(image, "PNG")


def overlay(pixels: Tensor, heat: Tensor, side: int) -> str:
    """An image (C, H, W), uint8, in grey under its heat map (H, W) in [0, 1], as a data address `side` pixels wide or high.

    Colours are matplotlib's "inferno", whose brightness rises evenly, so that they are told apart without seeing colours, too.
    """
    import matplotlib

    image = as_image(pixels)
    factor = side / max(image.size)
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    small = max(image.size) <= PIXEL_ART
    grey = image.convert("L").resize(size, PIL.Image.Resampling.NEAREST if small else PIL.Image.Resampling.LANCZOS)
    values = PIL.Image.fromarray(heat.numpy().astype(numpy.float32)).resize(size, PIL.Image.Resampling.BILINEAR)
    warmth = numpy.asarray(values)
    colours, share = matplotlib.colormaps["inferno"](warmth)[..., :3] * 255, (0.4 + 0.35 * warmth)[..., None]
    mixed = (1 - share) * numpy.asarray(grey)[..., None] + share * colours
    return data_address(PIL.Image.fromarray(mixed.round().astype(numpy.uint8)), "JPEG")


def matrix_image(shares: numpy.ndarray, colour: tuple[int, int, int], side: int) -> str:
    """A matrix in [0, 1] as squares of one colour, from transparent for 0 to opaque for 1, as a data address at least `side` wide."""
    factor = max(1, -(-side // len(shares)))
    alpha = (numpy.sqrt(shares) * 255).round().astype(numpy.uint8).repeat(factor, 0).repeat(factor, 1)
    levels = PIL.Image.fromarray(alpha)
    image = PIL.Image.new("RGBA", levels.size, colour)
    image.putalpha(levels)
    return data_address(image, "PNG")


def as_image(pixels: Tensor) -> PIL.Image.Image:
    """An image (C, H, W), uint8, for Pillow."""
    array = pixels.permute(1, 2, 0).numpy()
    return PIL.Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)


def data_address(image: PIL.Image.Image, kind: str) -> str:
    """The image itself as an address: nothing is fetched to show it."""
    buffer = io.BytesIO()
    if kind == "JPEG":
        image.convert("RGB").save(buffer, kind, quality=82, optimize=True)
    else:
        image.save(buffer, kind, optimize=True)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
