"""The pixels within a polygon, by COCO's own rule, so that masks and areas are those that its evaluation uses.

Legend: H W height and width of a mask in pixels. The outline is drawn on a grid five times as fine, rounded to its points; where it passes
the middle of a column of pixels, the column changes between outside and inside. Source: the mask API of COCO
(https://github.com/cocodataset/cocoapi), whose result this is to the pixel. Importing this module loads no torch.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ...core.errors import UserError

_FINE = 5
"""Points of the fine grid for each pixel."""


def inside_polygons(polygons: Iterable[NDArray[np.float64]], size: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask (H, W) of the pixels that are within one polygon at least, each given as x, y, x, y, ...

    Raises:
        ValueError: a polygon has fewer than three corners, half of one, or a number that is not finite.
    """
    mask = np.zeros(size, bool)
    for polygon in polygons:
        if polygon.ndim != 1 or len(polygon) < 6 or len(polygon) % 2:
            raise UserError(f"a polygon of {polygon.size} numbers is none; it needs x and y of three corners at least")
        if not np.isfinite(polygon).all() or np.abs(polygon).max() > 1e6:
            raise UserError("a polygon has a corner that is nowhere near an image")
        mask |= _inside(polygon.reshape(-1, 2), size)
    return mask


def _inside(corners: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.bool_]:
    height, width = size
    fine = np.trunc(corners * _FINE + 0.5).astype(np.int64)
    across, down = _outline(fine)
    # Points at which the outline goes on to another column of the fine grid.
    moved = np.flatnonzero(across[1:] != across[:-1]) + 1
    column = np.where(across[moved] < across[moved - 1], across[moved], across[moved] - 1)
    place = (column + 0.5) / _FINE - 0.5
    whole = (np.floor(place) == place) & (place >= 0) & (place <= width - 1)
    row = (np.minimum(down[moved], down[moved - 1]) + 0.5) / _FINE - 0.5
    rows = np.ceil(np.clip(row, 0, height)).astype(np.int64)[whole]
    flips = np.zeros(height * width + 1, np.int64)
    np.add.at(flips, place[whole].astype(np.int64) * height + rows, 1)
    inside: NDArray[np.bool_] = np.cumsum(flips[:-1]) % 2 == 1
    return inside.reshape(width, height).T


def _outline(fine: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The points of the closed outline on the fine grid: each side has one at every step along its longer direction."""
    across, down = [], []
    for (x, y), (next_x, next_y) in zip(fine.tolist(), np.roll(fine, -1, axis=0).tolist(), strict=True):
        wide, high = abs(next_x - x), abs(next_y - y)
        flip = (wide >= high and x > next_x) or (wide < high and y > next_y)
        start_x, start_y, end_x, end_y = (next_x, next_y, x, y) if flip else (x, y, next_x, next_y)
        longer = max(wide, high)
        steps = np.arange(longer + 1)
        steps = steps[::-1] if flip else steps
        if wide >= high:
            slope = (end_y - start_y) / wide if wide else 0.0
            across.append(start_x + steps)
            down.append(np.trunc(start_y + slope * steps + 0.5).astype(np.int64))
        else:
            slope = (end_x - start_x) / high
            down.append(start_y + steps)
            across.append(np.trunc(start_x + slope * steps + 0.5).astype(np.int64))
    return np.concatenate(across), np.concatenate(down)
