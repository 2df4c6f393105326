"""Classes of unequal size: how often their pictures are drawn, or how much each picture's loss counts.

Legend: N pictures, K classes, n_k pictures of class k, B pictures of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def drawn_equally(labels: Tensor) -> Tensor:
    """(N,) float64, the chance of each picture at each draw, under which every class that has pictures comes up equally often."""
    counts = torch.bincount(labels.cpu()).double()
    return 1 / (counts[labels.cpu()] * (counts > 0).sum())


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """(K,) float32, N / (K' n_k) with K' the classes that have pictures: 1 on average over the pictures; 0 for a class that has none."""
    counts = torch.bincount(labels.cpu(), minlength=num_classes).double()
    weights = torch.where(counts > 0, counts.sum() / (counts.clamp(min=1) * (counts > 0).sum()), 0.0)
    return weights.float()


def weights_of(targets: Tensor, of_classes: Tensor) -> Tensor:
    """(B,), how much each picture's loss counts: its class's weight, or for shares (B, K) of several classes the mean over them.

    The loss of a batch is the sum of these times the losses, divided by B. `torch.nn.CrossEntropyLoss(weight=...)` divides by the sum of the
    batch's weights, which is B on average, but changes with the draw and with every cut of the batch into parts or over processes.
    """
    return of_classes[targets] if targets.dim() == 1 else functional.linear(targets, of_classes[None]).squeeze(1)
