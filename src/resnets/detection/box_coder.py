"""Boxes as offsets from other boxes, and back (Girshick 2014, 1311.2524, Appendix C; Ren 2015 §3.1.2, eq. 2).

    dx = wx (x - xa) / wa    dy = wy (y - ya) / ha    dw = ww log(w / wa)    dh = wh log(h / ha)

Legend: x y are a box's centre, w h its width and height, with a those of the anchor (or proposal); (wx, wy, ww, wh) are `weights`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Weights = tuple[float, float, float, float]
LARGEST = math.log(1000 / 16)
"""dw and dh are cut off here before exp, so that an untrained regressor makes no infinite boxes (py-faster-rcnn, torchvision)."""


def encode(boxes: Tensor, anchors: Tensor, weights: Weights = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """Offsets (…, 4) that make `anchors` (…, 4) into `boxes` (…, 4), which both have to have an area."""
    wx, wy, ww, wh = weights
    xa, ya, wa, ha = _centred(anchors)
    x, y, w, h = _centred(boxes)
    return torch.stack((wx * (x - xa) / wa, wy * (y - ya) / ha, ww * torch.log(w / wa), wh * torch.log(h / ha)), dim=-1)


def decode(deltas: Tensor, anchors: Tensor, weights: Weights = (1.0, 1.0, 1.0, 1.0)) -> Tensor:
    """The boxes (…, 4) at offsets `deltas` (…, 4) from `anchors`, whose shape is that or broadcasts to it."""
    wx, wy, ww, wh = weights
    xa, ya, wa, ha = _centred(anchors)
    dx, dy, dw, dh = deltas.unbind(-1)
    x, y = dx / wx * wa + xa, dy / wy * ha + ya
    half_w = 0.5 * (torch.exp((dw / ww).clamp(max=LARGEST)) * wa)
    half_h = 0.5 * (torch.exp((dh / wh).clamp(max=LARGEST)) * ha)
    return torch.stack((x - half_w, y - half_h, x + half_w, y + half_h), dim=-1)


def _centred(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Centre, width and height."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    w, h = x2 - x1, y2 - y1
    return x1 + 0.5 * w, y1 + 0.5 * h, w, h
