"""Small geometry of boxes. IoU, non-maximum suppression and pooling are torchvision.ops'.

Legend: a box is x1 y1 x2 y2 in pixels, edges and not pixel centres, so that its width is x2 - x1; boxes are (…, 4), floating point.
A size is (height, width).
"""

from __future__ import annotations

from torch import Tensor

Size = tuple[int, int]


def clipped(boxes: Tensor, size: Size) -> Tensor:
    """The parts of the boxes (…, 4) inside an image of that size; outside it, boxes of no area on its border."""
    height, width = size
    limits = boxes.new_tensor((width, height, width, height))
    return boxes.clamp(min=0).minimum(limits)


def large_enough(boxes: Tensor, side: float) -> Tensor:
    """(…,) bool: whether both sides are at least `side`."""
    return (boxes[..., 2:] - boxes[..., :2] >= side).all(dim=-1)


def inside(boxes: Tensor, size: Size) -> Tensor:
    """(…,) bool: whether the box crosses no border of an image of that size."""
    height, width = size
    return (boxes[..., :2] >= 0).all(-1) & (boxes[..., 2] <= width) & (boxes[..., 3] <= height)


def rescaled(boxes: Tensor, old: Size, new: Size) -> Tensor:
    """The boxes (…, 4) of an image of size `old` after it was resized to `new`."""
    if old == new:
        return boxes
    down, across = new[0] / old[0], new[1] / old[1]
    return boxes * boxes.new_tensor((across, down, across, down))
