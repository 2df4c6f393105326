"""Run-length encoded masks as COCO has them.

Legend: H W height and width of a mask in pixels. A mask is read column by column, and its code is the lengths of its runs, of background
first: [background, object, background, ...]. Compressed, each length (from the fourth on, its difference to the one two before) is
written in groups of five bits, low ones first, each in a printable character: bit 5 says that more follow, and 48 is added.
Source: the mask API of COCO, https://github.com/cocodataset/cocoapi. Importing this module loads no torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError


def run_lengths(mask: NDArray[np.bool_]) -> list[int]:
    """The runs of a mask (H, W)."""
    flat = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = [0, *changes.tolist(), flat.size]
    lengths = [end - start for start, end in itertools.pairwise(edges)]
    return [0, *lengths] if flat.size and flat[0] else lengths


def from_run_lengths(lengths: Sequence[int] | NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask of H and W with these runs.

    Raises:
        ValueError: they are negative, or do not add up to the mask's pixels.
    """
    runs = np.asarray(lengths, np.int64)
    height, width = size
    if runs.ndim != 1 or (runs < 0).any() or int(runs.sum()) != height * width:
        raise UserError(f"run lengths of {int(runs.sum()):,} pixels are no mask of {height} x {width}")
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    return flat.reshape(width, height).T


def compressed(lengths: Sequence[int]) -> str:
    """Run lengths as COCO's string."""
    characters = []
    for place, length in enumerate(lengths):
        number = length - lengths[place - 2] if place > 2 else length
        while True:
            group = number & 31
            number >>= 5
            more = number != (-1 if group & 16 else 0)
            characters.append(chr(48 + group + (32 if more else 0)))
            if not more:
                break
    return "".join(characters)


def uncompressed(text: str) -> list[int]:
    """Run lengths of COCO's string.

    Raises:
        ValueError: a character that does not occur in one, or an end within a number.
    """
    lengths: list[int] = []
    number = shift = 0
    for character in text:
        group = ord(character) - 48
        if not 0 <= group < 64:
            raise UserError(f"{character!r} does not occur in compressed run lengths")
        number |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        if group & 16:
            number -= 1 << shift
        lengths.append(number + lengths[-2] if len(lengths) > 2 else number)
        number = shift = 0
    if shift:
        raise UserError("compressed run lengths end within a number")
    return lengths
