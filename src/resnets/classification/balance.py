"""Classes of unequal size: how often their images are drawn, or how much each image's loss counts.

Legend: N images, K classes, n_k images of class k, B images of a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def drawn_equally(labels: Tensor) -> Tensor:
    """(N,) float64, the chance of each image at each draw, under which every class that has images comes up equally often."""
    counts = torch.bincount(labels.cpu()).double()
    return 1 / (counts[labels.cpu()] * (counts > 0).sum())


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """(K,) float32, N / (K' n_k) with K' the classes that have images: 1 on average over the images; 0 for a class that has none."""
    counts = torch.bincount(labels.cpu(), minlength=num_classes).double()
    weights = torch.where(counts > 0, counts.sum() / (counts.clamp(min=1) * (counts > 0).sum()), 0.0)
    return weights.float()


def weights_of(targets: Tensor, of_classes: Tensor) -> Tensor:
    """(B,), how much each image's loss counts: its class's weight, or for shares (B, K) of several classes the mean over them.

    The loss of a batch is the sum of these times the losses, divided by B. `torch.nn.CrossEntropyLoss(weight=...)` divides by the sum of the
    batch's weights, which is B on average, but changes with the draw and with every cut of the batch into parts or over processes.
    """
    return of_classes[targets] if targets.dim() == 1 else functional.linear(targets, of_classes[None]).squeeze(1)
