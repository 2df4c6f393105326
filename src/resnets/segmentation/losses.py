"""What a segmenter minimises: the cross-entropy of each pixel, of both heads.

Legend: b images, K classes, H W height and width in pixels. Logits are (b, K, H, W), masks (b, H, W) int64 with classes 0 to K - 1
and 255 for pixels that do not count.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from ..data.annotations.objects import IGNORED
from ..training.engine.objective import Inputs, Outcome, Precision

AUXILIARY_WEIGHT = 0.5
"""Weight of the auxiliary head's loss in torchvision's reference (PSPNet, 1612.01105 §3.3, has 0.4)."""


def pixel_losses(outputs: Mapping[str, Tensor], masks: Tensor, auxiliary_weight: float = AUXILIARY_WEIGHT) -> Tensor:
    """(b, H, W) float32: each pixel's cross-entropy in nats, that of the auxiliary head with its weight; 0 where pixels do not count."""
    losses = functional.cross_entropy(outputs["out"].float(), masks, ignore_index=IGNORED, reduction="none")
    if "aux" in outputs and auxiliary_weight:
        auxiliary = functional.cross_entropy(outputs["aux"].float(), masks, ignore_index=IGNORED, reduction="none")
        losses = losses + auxiliary_weight * auxiliary
    return losses


def segmentation_loss(outputs: Mapping[str, Tensor], masks: Tensor, auxiliary_weight: float = AUXILIARY_WEIGHT) -> Tensor:
    """The mean loss over all pixels that count, as torchvision's reference has it: a scalar, 0 where none does."""
    return pixel_losses(outputs, masks, auxiliary_weight).sum() / (masks != IGNORED).sum().clamp(min=1)


class Segmenting:
    """The objective of segmenters (`training.objective.Objective`); targets are masks.

    An image's loss is the sum over its pixels divided by H W, of which those that do not count are a part. Every pixel thus weighs
    the same whatever the batch's other pixels are, and no split of the batch over processes or accumulated parts changes a gradient.

    Args:
        every: the loss is that of the first of so many rows and columns of pixels, and H W their number. Neighbours say nearly the same,
            and on small networks the logits of all pixels cost as much as a stage.
    """

    def __init__(self, auxiliary_weight: float = AUXILIARY_WEIGHT, every: int = 1) -> None:
        self.auxiliary_weight, self.every = auxiliary_weight, every

    def __call__(self, network: nn.Module, part: Inputs, precision: Precision) -> Outcome:
        with precision():
            outputs = network(part.images, every=self.every)
        masks = part.targets[..., :: self.every, :: self.every]
        losses = pixel_losses(outputs, masks, self.auxiliary_weight).mean((1, 2))
        counted = losses if part.weights is None else losses * part.weights
        found = outputs["out"].detach().max(1).indices  # argmax takes seven times as long on a CPU
        right = (found == masks).sum((1, 2))
        share = right / (masks != IGNORED).sum((1, 2)).clamp(min=1)
        return Outcome(counted.sum(), losses.detach(), {"pixel_accuracy": share.sum()})
