"""Sizes of images: how many pixels they may have, and how long their sides become. Importing this module loads no torch."""

from __future__ import annotations

from ..errors import Unreadable

MAX_PIXELS = 178_956_970
"""Images with more are refused before they fill the memory: the number at which Pillow too warns of a decompression bomb."""


def at_shorter_side(height: int, width: int, length: int | None) -> tuple[int, int]:
    """Height and width at which the shorter of them is `length`, the other cut to whole pixels as torchvision does; None keeps both.

    Raises:
        Unreadable: an image so long would have more than `MAX_PIXELS` then.
    """
    if length is None:
        return height, width
    short = min(height, width)
    rows, columns = max(1, length * height // short), max(1, length * width // short)
    if rows * columns > max(MAX_PIXELS, height * width):
        raise Unreadable(
            f"has {height:,} x {width:,} pixels, too long a shape: with its shorter side at {length} it would have "
            f"{rows * columns:,}, more than {MAX_PIXELS:,}"
        )
    return rows, columns
