"""The boxes that enter a loss: a fixed number per image, of which at most a share is positive (Ren 2015 §3.1.3, Fast R-CNN §2.3)."""

from __future__ import annotations

import torch
from torch import Tensor


def sample(labels: Tensor, number: int, positive_share: float) -> tuple[Tensor, Tensor]:
    """Indices of the positive and of the negative boxes that are drawn, each (…,) int64, in random order.

    Where there are too few positive ones, negative ones take their place; where there are too few of both, fewer are drawn. The
    draws come from torch's global generator of the labels' device, two permutations a call, positive first, as torchvision's do.

    Args:
        labels: (n,) above 0 for positive, 0 for negative, below 0 for boxes that count for nothing.
    """
    positive = torch.where(labels > 0)[0]
    negative = torch.where(labels == 0)[0]
    num_positive = min(len(positive), int(number * positive_share))
    num_negative = min(len(negative), number - num_positive)
    chosen = torch.randperm(len(positive), device=labels.device)[:num_positive]
    others = torch.randperm(len(negative), device=labels.device)[:num_negative]
    return positive[chosen], negative[others]
