"""The four losses of Faster R-CNN (Ren 2015, eq. 1; Fast R-CNN, eq. 1-3), in float32 whatever the precision around them.

Legend: S sampled boxes of all images, P positive ones among them, K classes with the background. Without any box a loss is 0, and
its gradients are zeros rather than missing, so that distributed training sees every parameter.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def objectness_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy of logits (S,) with labels (S,), 1 for objects and 0 for background."""
    total = functional.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="sum")
    return total / max(1, len(labels))


def classification_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits (S, K) with labels (S,) int64."""
    return functional.cross_entropy(logits.float(), labels, reduction="sum") / max(1, len(labels))


def regression_loss(deltas: Tensor, targets: Tensor, *, beta: float, num_sampled: int) -> Tensor:
    """Smooth L1 (plain L1 for beta 0) of offsets (P, 4), summed and divided by the number S of all sampled boxes, not only of P.

    Fast R-CNN's λ [u ≥ 1] leaves the background out of the sum; dividing by S gives an image with few objects a small loss.
    """
    deltas = deltas.float()
    if beta == 0:
        total = functional.l1_loss(deltas, targets, reduction="sum")
    else:
        total = functional.smooth_l1_loss(deltas, targets, beta=beta, reduction="sum")
    return total / max(1, num_sampled)
