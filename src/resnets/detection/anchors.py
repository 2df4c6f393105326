"""Anchors: the boxes at every position of a map from which proposals are regressed (Ren 2015 §3.1.1).

Legend: A anchors at a position, h w height and width of a map. Anchors are ordered by row, column, ratio, size. Boxes as in boxes.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .boxes import Size


def cell_anchors(sizes: Sequence[float], ratios: Sequence[float], *, rounding: bool) -> Tensor:
    """The anchors (A, 4) float32 around the point (0, 0): for each ratio (height over width), a box of area size² for each size.

    With `rounding` their corners are whole numbers, as in torchvision.
    """
    heights = torch.tensor(ratios, dtype=torch.float32).sqrt()
    scales = torch.tensor(sizes, dtype=torch.float32)
    half_w = ((1 / heights)[:, None] * scales).flatten() / 2
    half_h = (heights[:, None] * scales).flatten() / 2
    anchors = torch.stack((-half_w, -half_h, half_w, half_h), dim=1)
    return anchors.round() if rounding else anchors


def grid_anchors(cells: Tensor, shape: Size, stride: Size) -> Tensor:
    """The anchors (h w A, 4) of a map of that shape: `cells` (A, 4) at (column · stride, row · stride), in the image's pixels."""
    rows = torch.arange(shape[0], dtype=cells.dtype, device=cells.device) * stride[0]
    columns = torch.arange(shape[1], dtype=cells.dtype, device=cells.device) * stride[1]
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    corners = torch.stack((x, y, x, y), dim=-1).view(-1, 1, 4)
    return (corners + cells).view(-1, 4)


def measured_stride(padded: Size, shape: Size) -> Size:
    """How far apart the positions of a map are in the padded image, rounded down, as torchvision takes it; at least 1."""
    return max(1, padded[0] // shape[0]), max(1, padded[1] // shape[1])
