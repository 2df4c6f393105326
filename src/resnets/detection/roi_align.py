"""RoIAlign on processors: each cell of a pooled region is a weighted sum of rows of the map (He 2017, 1703.06870, §3).

    cell(i, j) = mean of S x S bilinear samples = sum over 2S rows and 2S columns of  wy · wx · map(y, x)

The weights depend on boxes alone, so a cell is a bag of 4S² positions with weights, which PyTorch sums channels at a time, forward and
backward. torchvision's operator goes value by value and scatters gradients in one thread; this one is several times faster on a CPU, and
equal but for the order of its sums. On a GPU torchvision's is the better one.

Legend: R regions of all images, C channels, r height and width of a pooled region, S samples a cell in each direction; N images; h w a
map's height and width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def roi_align_rows(x: Tensor, rois: Tensor, size: int, scale: float, sampling: int, *, aligned: bool) -> Tensor:
    """Pooled regions (R, C, r, r) in memory format channels_last, as `torchvision.ops.roi_align` gives them.

    Args:
        x: (N, C, h, w) floating point; gradients flow to it.
        rois: (R, 5) float32: number of the image, then x1 y1 x2 y2 in pixels.
        size: r.
        scale: what takes pixels to positions on the map.
        sampling: S, from 1 on; torchvision's 0 (as many as there are pixels) gives bags of many lengths and is not made here.
        aligned: half a pixel to the left and up, and regions may be smaller than one pixel.
    """
    count, channels, height, width = x.shape
    boxes = rois[:, 1:] * scale - (0.5 if aligned else 0.0)
    x1, y1, x2, y2 = boxes.unbind(1)
    rows, row_weights = _line(y1, y2, size, sampling, height, aligned)
    columns, column_weights = _line(x1, x2, size, sampling, width, aligned)
    rows = rows + rois[:, 0].long()[:, None, None] * height
    # (R, r, 1, 2S, 1) with (R, 1, r, 1, 2S): for each cell, all rows with all columns.
    places = rows[:, :, None, :, None] * width + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    pixels = x.permute(0, 2, 3, 1).reshape(count * height * width, channels)
    bag = 4 * sampling**2
    pooled = functional.embedding_bag(
        places.reshape(-1, bag), pixels, per_sample_weights=weights.reshape(-1, bag).to(x.dtype), mode="sum"
    )
    return pooled.view(len(rois), size, size, channels).permute(0, 3, 1, 2)


def _line(start: Tensor, end: Tensor, size: int, sampling: int, length: int, aligned: bool) -> tuple[Tensor, Tensor]:
    """Along one side of regions from start to end (R,): for each cell the 2S positions that its samples are between, (R, r, 2S) int64,
    and their weights, which are 0 for samples further than one pixel outside the map."""
    extent = end - start if aligned else (end - start).clamp(min=1.0)
    cell = (extent / size)[:, None, None]
    numbers = torch.arange(size, device=start.device)[None, :, None]
    parts = ((torch.arange(sampling, device=start.device) + 0.5) / sampling)[None, None, :]
    at = start[:, None, None] + numbers * cell + parts * cell
    inside = (at >= -1) & (at <= length)
    at = at.clamp(0, length - 1)
    low = at.floor().clamp(max=max(0, length - 2))
    share = at - low
    positions = torch.stack((low, (low + 1).clamp(max=length - 1)), dim=-1)
    weights = torch.stack((1 - share, share), dim=-1) * (inside / sampling)[..., None]
    return positions.flatten(2).long(), weights.flatten(2)
