"""Masks of classes as PASCAL VOC has them: PNG files with a palette, whose index is the class.

Legend: H W height and width in pixels. 0 is background, 255 what is neither right nor wrong (VOC draws such a border around objects).
Source: the development kit of VOC2012, section 3.5 and VOClabelcolormap.m. Importing this module loads no torch.
"""

from __future__ import annotations

import functools
import io
from pathlib import Path

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from ..decoding.formats import open_image
from ..decoding.sides import MAX_PIXELS
from ..errors import DataError


@functools.cache
def voc_palette() -> NDArray[np.uint8]:
    """(256, 3): VOC's colours. The bits of an index, three by three from the lowest, become bits of red, green and blue from the highest."""
    index = np.arange(256)
    palette = np.zeros((256, 3), np.int64)
    for place in range(8):
        for channel in range(3):
            palette[:, channel] |= ((index >> (3 * place + channel)) & 1) << (7 - place)
    return palette.astype(np.uint8)


def encoded_mask(mask: NDArray[np.uint8]) -> bytes:
    """A mask (H, W) as PNG with VOC's palette."""
    image = PIL.Image.fromarray(mask)
    image.putpalette(voc_palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def write_mask(path: Path, mask: NDArray[np.uint8]) -> None:
    """Writes a mask (H, W) as PNG with VOC's palette; OSError if it cannot be."""
    path.write_bytes(encoded_mask(mask))


def decoded_mask(content: bytes, name: str) -> NDArray[np.uint8]:
    """The mask (H, W) in a file: a PNG with a palette or of grey levels, or one in VOC's colours.

    Args:
        name: of the file, for messages.

    Raises:
        DataError: it is damaged, too large, or of other colours; the message names it.
    """
    try:
        with open_image(content) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{name} has {image.width * image.height:,} pixels, more than {MAX_PIXELS:,}")
            if image.mode in ("P", "L", "1"):
                return np.array(image if image.mode != "1" else image.convert("L").point(lambda level: level // 255), np.uint8)
            colours = np.array(image.convert("RGB")).astype(np.int64)
    except DataError:
        raise
    except Exception as error:  # damaged files make Pillow raise anything
        raise DataError(f"the mask {name} cannot be read: {error}; get a fresh copy") from error
    return _from_colours(colours, name)


def _from_colours(colours: NDArray[np.int64], name: str) -> NDArray[np.uint8]:
    """Of (H, W, 3)."""
    keys = voc_palette().astype(np.int64) @ (65_536, 256, 1)
    found = colours @ (65_536, 256, 1)
    order = np.argsort(keys)
    places = np.searchsorted(keys[order], found).clip(max=255)
    if (keys[order][places] != found).any():
        colour = colours[keys[order][places] != found][0].tolist()
        raise DataError(f"the mask {name} has the colour {colour}, which is none of VOC's; save it with a palette")
    return np.asarray(order[places], np.uint8)
