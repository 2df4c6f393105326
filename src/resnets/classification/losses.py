"""What a classifier minimises: a loss of each image, from logits and classes or shares.

Legend: B images, K classes. Logits are (B, K) float32; targets are (B,) int64 classes or (B, K) float32 shares; losses are (B,).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..training.engine.objective import Inputs, Outcome, Precision
from ..training.settings import Loss

ImageLoss = Callable[[Tensor, Tensor], Tensor]
"""Logits and targets to one loss per image."""


def build_loss(settings: Loss, label_smoothing: float = 0.0) -> ImageLoss:
    """The loss that a recipe names, with its share of the target spread over all classes."""

    def cross_entropy_of(logits: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(logits, targets, label_smoothing)

    def binary_of(logits: Tensor, targets: Tensor) -> Tensor:
        return binary_cross_entropy(logits, targets, label_smoothing, settings.threshold)

    return binary_of if settings.name == "binary-cross-entropy" else cross_entropy_of


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The negative log-likelihood in nats of the softmax of the logits."""
    return functional.cross_entropy(logits, targets, label_smoothing=label_smoothing, reduction="none")


def binary_cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0, threshold: float | None = None) -> Tensor:
    """The mean over the classes of each one's own yes-or-no loss in nats, by the logits' sigmoids (Wightman 2021, 2110.00476 §3).

    With a threshold, a class whose (smoothed) share is above it is fully present, all others are absent: an image blended of two
    then shows both. The mean over the classes, not their sum, is what the paper's code minimises.
    """
    num_classes = logits.shape[1]
    if targets.dim() == 1:
        targets = functional.one_hot(targets, num_classes).to(logits.dtype)
    if label_smoothing:
        targets = (1 - label_smoothing) * targets + label_smoothing / num_classes
    if threshold is not None:
        targets = torch.gt(targets, threshold).to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)


class Classifying:
    """The objective of classifiers: one loss per image of the logits (b, K), and how many largest logits are the targets' classes.

    Targets are (b,) int64 classes, or (b, K) float32 shares.
    """

    def __init__(self, loss: ImageLoss = cross_entropy) -> None:
        self.loss = loss

    def __call__(self, network: nn.Module, part: Inputs, precision: Precision) -> Outcome:
        with precision():
            logits = network(part.images)
        losses = self.loss(logits.float(), part.targets)
        counted = losses if part.weights is None else losses * part.weights
        classes = part.targets if part.targets.dim() == 1 else part.targets.argmax(1)
        return Outcome(counted.sum(), losses.detach(), {"accuracy": (logits.detach().argmax(1) == classes).sum()})
