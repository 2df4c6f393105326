"""Average precision as the PASCAL VOC challenge measures it, in both of its forms.

Legend: N images, K classes, P objects of a class that count, D detections of it in all images, surest first.

Everingham et al., "The PASCAL Visual Object Classes (VOC) Challenge", IJCV 2010, section 4.2, and its development kits:

- A detection is held against the object of its class in its image with which its intersection over union is largest. Below
  0.5 it is a false positive; else it is right if no surer detection has claimed that object, and a false positive if one has.
- Objects marked difficult count neither for nor against: they are none of P, and a detection of one is left out.
- With precision p and recall r after each of the D detections, AP is the mean over t = 0, 0.1, ..., 1 of the largest p where
  r >= t (VOC2007), or the area under the curve r -> largest p at this recall or a higher one (from VOC2010 on).

The kit counts pixels, from corner x1 to x2 inclusive. Boxes here are edges, x1 - 1 to x2 of the kit's, which have the same width, so
that both find the same overlaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .detections import Detections, check_labels, pairwise_iou

if TYPE_CHECKING:
    from ..data.annotations.objects import Objects


@dataclass(frozen=True)
class ClassAP:
    """One class's average precision in both forms, in [0, 1]; None where there are no objects to find."""

    num_objects: int
    """P."""
    voc07: float | None
    """VOC2007's mean over eleven recalls."""
    voc12: float | None
    """The area that VOC2010 to VOC2012 measure."""


@dataclass(frozen=True)
class VocAP:
    """All classes."""

    classes: tuple[ClassAP, ...]

    @property
    def voc07(self) -> float | None:
        """Mean over the classes that have objects; None where no class has."""
        return _mean([row.voc07 for row in self.classes])

    @property
    def voc12(self) -> float | None:
        """As `voc07`, for the area."""
        return _mean([row.voc12 for row in self.classes])


def voc_ap(objects: Sequence[Objects], detections: Sequence[Detections], num_classes: int, *, threshold: float = 0.5) -> VocAP:
    """Measures the detections in N images against their objects.

    Detections of one score stay in the order in which they come. COCO's crowds are taken as difficult.

    Args:
        objects: what is in each image.
        detections: what was found in each.
        num_classes: K, the background not counted.
        threshold: intersection over union from which on a detection has found an object.

    Raises:
        ValueError: not one list of detections for each image, or a label outside the classes.
    """
    check_labels(objects, detections, num_classes)
    labels, scores, claims, counts, positives = [], [], [], [], np.zeros(num_classes, np.int64)
    first = 0  # number of the image's first object, when all are counted through
    for there, found in zip(objects, detections, strict=True):
        passed_over = there.difficult | there.crowd
        positives += np.bincount(there.labels[~passed_over], minlength=num_classes)
        claim, overlap = _claims(there, found)
        labels.append(found.labels)
        scores.append(found.scores)
        hit = overlap >= threshold
        claims.append(np.where(hit, claim + first, -1))
        # Whether the detection counts at all, for or against.
        counts.append(~(hit & passed_over[claim]) if len(passed_over) else np.ones(len(hit), bool))
        first += len(passed_over)
    everything = [np.concatenate(part) if part else np.zeros(0) for part in (labels, scores, claims, counts)]
    return VocAP(tuple(_class_ap(*_of_class(k, *everything), int(positives[k])) for k in range(num_classes)))


def _claims(there: Objects, found: Detections) -> tuple[np.ndarray, np.ndarray]:
    """For each detection the place of the object that it is held against, and their overlap (0 where its class has none)."""
    if not len(there.labels):
        return np.zeros(len(found.labels), np.int64), np.zeros(len(found.labels))
    iou = pairwise_iou(found.boxes, there.boxes)
    iou[found.labels[:, None] != there.labels[None]] = 0
    return iou.argmax(1), iou.max(1)


def _of_class(
    k: int, labels: np.ndarray, scores: np.ndarray, claims: np.ndarray, counts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Right and wrong detections of class k that count, surest first: the number of each up to every detection, (D,) int64."""
    own = np.flatnonzero((labels == k) & (counts != 0))
    claimed = claims[own[np.argsort(-scores[own], kind="stable")]]
    right = np.zeros(len(claimed), bool)
    numbers, surest = np.unique(claimed, return_index=True)
    right[surest[numbers >= 0]] = True
    return np.cumsum(right), np.cumsum(~right)


def _class_ap(right: np.ndarray, wrong: np.ndarray, positives: int) -> ClassAP:
    if not positives:
        return ClassAP(0, None, None)
    precision = right / np.maximum(1, right + wrong)
    # From the end: the largest precision at this recall or a higher one.
    best = np.maximum.accumulate(precision[::-1])[::-1]
    # Recall is compared as a ratio of whole numbers; 3 of 10 objects are a recall of 0.3, which 3 * 0.1 in floating point is above.
    reached = [np.flatnonzero(right * 10 >= tenth * positives) for tenth in range(11)]
    eleven = [float(best[places[0]]) if len(places) else 0.0 for places in reached]
    steps = np.diff(right, prepend=0) / positives
    return ClassAP(positives, sum(eleven) / 11, float((steps * best).sum()))


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
