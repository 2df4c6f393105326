"""`Detections`: what a detector says about one image, as plain arrays for measures and drawings.

Legend: n boxes of an image; a box is x1 y1 x2 y2 in its pixels, edges and not pixel centres, so that its width is x2 - x1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.annotations.objects import Objects


@dataclass(frozen=True)
class Detections:
    """The boxes found in one image, in any order."""

    boxes: np.ndarray
    """(n, 4) float32."""
    labels: np.ndarray
    """(n,) int64 from 0: places among the classes, of which the background is none."""
    scores: np.ndarray
    """(n,) float32; the larger, the surer."""

    @staticmethod
    def of(output: Mapping[str, Tensor]) -> Detections:
        """What a detector gives for an image: boxes (n, 4), scores (n,), and labels (n,) from 1, as 0 is the background there."""
        boxes, labels, scores = (output[name].detach().cpu() for name in ("boxes", "labels", "scores"))
        return Detections(boxes.float().numpy(), labels.numpy() - 1, scores.float().numpy())


def check_labels(objects: Sequence[Objects], detections: Sequence[Detections], num_classes: int) -> None:
    """Checks what a measure is given.

    Raises:
        ValueError: not one list of detections for each image, or a label outside the classes.
    """
    if len(objects) != len(detections):
        raise UserError(
            f"{len(detections)} lists of detections for {len(objects)} images; give one for each, an empty one for none"
        )
    for what, lists in (("an object", objects), ("a detection", detections)):
        for labels in (each.labels for each in lists):
            if len(labels) and not 0 <= labels.min() <= labels.max() < num_classes:
                wrong = labels[(labels < 0) | (labels >= num_classes)][0]
                raise UserError(f"the label {wrong} of {what} is none of the {num_classes} classes, which count from 0")


def pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of each box (n, 4) with each other one (m, 4), as (n, m) float64 in [0, 1]; 0 for two empty boxes."""
    boxes, others = boxes.astype(np.float64), others.astype(np.float64)
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = (high - low).clip(min=0).prod(2)
    areas, other_areas = ((each[:, 2:] - each[:, :2]).clip(min=0).prod(1) for each in (boxes, others))
    union = areas[:, None] + other_areas[None] - shared
    iou: np.ndarray = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return iou
