"""The regions from which the box head learns, and what becomes of its predictions (Fast R-CNN §2.3 and §3).

Legend: n proposals or regions of an image, G its objects, K classes with the background, which is class 0. Boxes as in boxes.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms

from .box_coder import encode
from .boxes import Size, clipped, large_enough
from .matcher import BACKGROUND, match_boxes
from .sampler import sample
from .spec import DetectorSpec


class Regions(NamedTuple):
    """Sampled regions of all images with what the head should say of them."""

    boxes: list[Tensor]
    """For each image (n, 4)."""
    labels: Tensor
    """Of all images' regions in turn, (R,) int64."""
    positive: Tensor
    """Indices (P,) of those that are objects."""
    deltas: Tensor
    """(P, 4): the offsets from them to their objects."""


@torch.no_grad()
def training_regions(spec: DetectorSpec, proposals: Sequence[Tensor], targets: Sequence[Mapping[str, Tensor]]) -> Regions:
    """Draws regions from each image's proposals (n, 4) and its objects' own boxes.

    Args:
        targets: for each image "boxes" (G, 4) in the proposals' pixels and "labels" (G,) int64 from 1.
    """
    boxes, labels, positive, deltas = [], [], [], []
    before = 0
    for found, target in zip(proposals, targets, strict=True):
        objects = target["boxes"]
        candidates = torch.cat((found, objects))
        matches = match_boxes(objects, candidates, positive=spec.box_positive_iou, negative=spec.box_negative_iou)
        classes = torch.where(matches == BACKGROUND, 0, -1)
        if len(objects):
            classes = torch.where(matches >= 0, target["labels"][matches.clamp(min=0)], classes)
        things, others = sample(classes, spec.box_batch, spec.box_positive_share)
        chosen = torch.cat((things, others))
        boxes.append(candidates[chosen])
        labels.append(classes[chosen])
        positive.append(torch.arange(before, before + len(things), device=found.device))
        deltas.append(encode(objects[matches[things]], candidates[things], spec.box_weights))
        before += len(chosen)
    return Regions(boxes, torch.cat(labels), torch.cat(positive), torch.cat(deltas))


def detections(spec: DetectorSpec, scores: Tensor, boxes: Tensor, size: Size) -> dict[str, Tensor]:
    """What is left of an image's predictions: boxes (m, 4) inside it, labels (m,) int64 from 1, scores (m,), surest first.

    A region may give several detections, of different classes. NMS goes class by class.

    Args:
        scores: (n, K) probabilities, background first.
        boxes: (n, K, 4), each class's own, or (n, 1, 4), the same for all.
        size: height and width of the image in the boxes' pixels.
    """
    rows, classes = torch.where(scores[:, 1:] > spec.box_min_score)
    labels = classes + 1
    kept_scores = scores[rows, labels]
    kept = clipped(boxes.expand(-1, scores.shape[1], -1)[rows, labels], size)
    large = torch.where(large_enough(kept, spec.box_min_side))[0]
    kept, labels, kept_scores = kept[large], labels[large], kept_scores[large]
    best = batched_nms(kept, kept_scores, labels, spec.box_nms_iou)[: spec.box_detections]
    return {"boxes": kept[best], "labels": labels[best], "scores": kept_scores[best]}
