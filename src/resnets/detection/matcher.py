"""Which object a box stands for in training (Ren 2015 §3.1.2 for anchors, Fast R-CNN §2.3 for proposals).

Legend: G objects of an image, n boxes. IoU is intersection over union.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import box_iou

BACKGROUND, BETWEEN = -1, -2
"""In place of an object's index: the box is background; it is neither, and counts for nothing."""


def match(iou: Tensor, *, positive: float, negative: float, best_counts: bool) -> Tensor:
    """For each box the index (n,) int64 of its object, BACKGROUND or BETWEEN.

    A box stands for the object with which it has the greatest IoU, if that is at least `positive`; below `negative` it is background.
    With `best_counts` a box also stands for that object if no other box has a greater IoU with some object (ties all do), so that
    every object has one. An object that no box touches has none.

    Args:
        iou: (G, n) floating point; G may be 0.
    """
    if len(iou) == 0:
        return torch.full(iou.shape[1:], BACKGROUND, device=iou.device)
    value, index = iou.max(dim=0)
    matches = torch.where(value >= positive, index, BETWEEN)
    matches = torch.where(value < negative, BACKGROUND, matches)
    if best_counts and iou.shape[1]:
        best = iou.amax(dim=1, keepdim=True)
        is_best = ((iou == best) & (best > 0)).any(dim=0)
        matches = torch.where(is_best, index, matches)
    return matches


def match_boxes(objects: Tensor, boxes: Tensor, *, positive: float, negative: float, best_counts: bool = False) -> Tensor:
    """`match` of boxes (n, 4) with the objects' boxes (G, 4)."""
    return match(box_iou(objects, boxes), positive=positive, negative=negative, best_counts=best_counts)
