"""What may be added when a detector is tested: box refinement, box voting, several scales, mirrored images (He 2015, Appendix A).

Legend: N images, n proposals of an image, R of all images, K classes with the background, F features of a region. Boxes are in pixels
of the image as the spec resizes it (the *base* image) unless said otherwise.

Proposals come from the base image alone ("multi-scale testing only for the Fast R-CNN step"); what changes is how they are judged:

- Several scales: "we select two adjacent scales from the pyramid"; the head runs on both and the features are "merged by maxout". How the
  two are chosen is not said. Here they are those between which the region would have 224 x 224 pixels, the size of ImageNet's images
  at which a single scale is chosen in He 2014 (1406.4729, section 4.1), or the two at the end.
- Mirrored: probabilities and boxes are means over the image and its mirror image.
- Box refinement: "we pool a new feature from the regressed box and obtain a new classification score and a new regressed box", and both
  predictions go on. The regressed box is that of the class, not the background, that is most probable.
- Box voting (Gidaris 2015, 1505.01749, §5): after NMS, each box becomes the mean of its class's boxes with an IoU of at least
  `voting_iou` to it, weighed by their scores. Its own score stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torchvision.ops import box_iou

from .box_coder import decode
from .box_head import BoxPredictor
from .boxes import Size, clipped, rescaled
from .resizing import Batch, make_batch
from .roi import CANONICAL_SIZE
from .spec import DetectorSpec, TestTime


class Testable(Protocol):
    """What testing asks of a detector; `Detector` is one."""

    spec: DetectorSpec
    mean: Tensor
    std: Tensor
    box_predictor: BoxPredictor

    def prepare(self, images: Sequence[Tensor], min_size: int | None = None) -> Batch:
        """Images of any sizes as one batch."""

    def maps(self, images: Tensor) -> list[Tensor]:
        """The feature maps of a batch."""

    def propose(self, maps: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        """For each image its proposals (P, 4)."""

    def describe(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], sizes: Sequence[Size]) -> Tensor:
        """Features of the regions under all boxes, in their order."""

    def finish(self, scores: Sequence[Tensor], boxes: Sequence[Tensor], sizes: Sequence[Size]) -> list[dict[str, Tensor]]:
        """For each image its detections."""


@dataclass(frozen=True)
class View:
    """The images at one scale, perhaps mirrored."""

    maps: Sequence[Tensor]
    sizes: list[Size]
    """Of each image at this scale."""


def detect(detector: Testable, images: Sequence[Tensor], options: TestTime) -> list[dict[str, Tensor]]:
    """What is on images, as the detector itself gives it in evaluation mode, with the additions of `options`."""
    batch = detector.prepare(images)
    base = View(detector.maps(batch.images), batch.sizes)
    proposals = detector.propose(base.maps, base.sizes)
    views = open_views(detector, images, base, options)
    scores, boxes = judge(detector, views, base.sizes, proposals)
    if options.box_refinement:
        refined = [best_boxes(*each) for each in zip(scores, boxes, strict=True)]
        again = judge(detector, views, base.sizes, refined)
        scores, boxes = (
            [torch.cat(pair) for pair in zip(*pairs, strict=True)] for pairs in ((scores, again[0]), (boxes, again[1]))
        )
    found = detector.finish(scores, boxes, base.sizes)
    for i, each in enumerate(found):
        if options.voting_iou is not None:
            each["boxes"] = voted(each, scores[i], boxes[i], iou=options.voting_iou, min_score=detector.spec.box_min_score)
        each["boxes"] = rescaled(each["boxes"], batch.sizes[i], batch.originals[i])
    return found


def open_views(detector: Testable, images: Sequence[Tensor], base: View, options: TestTime) -> list[list[View]]:
    """The images at all scales, smallest first, and where the options say so their mirror images likewise."""
    views = [[base] if not options.sizes else _scaled(detector, images, options)]
    if options.flip:
        mirror_images = [image.flip(-1) for image in images]
        if options.sizes:
            views.append(_scaled(detector, mirror_images, options))
        else:
            batch = detector.prepare(mirror_images)
            views.append([View(detector.maps(batch.images), batch.sizes)])
    return views


def _scaled(detector: Testable, images: Sequence[Tensor], options: TestTime) -> list[View]:
    batches = [scaled_batch(detector, images, size) for size in sorted(set(options.sizes))]
    return [View(detector.maps(batch.images), batch.sizes) for batch in batches]


def scaled_batch(detector: Testable, images: Sequence[Tensor], size: int) -> Batch:
    """The images with a shorter side of `size`, prepared. The limit of the longer one grows along: it bounds the ratio of the sides."""
    spec = detector.spec
    longest = round(spec.max_size * size / spec.min_size[-1])
    return make_batch(
        images, detector.mean, detector.std, min_sizes=[size] * len(images), max_size=longest, divisible=spec.size_divisible
    )


def judge(
    detector: Testable, views: Sequence[Sequence[View]], sizes: Sequence[Size], proposals: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """As `Detector.classify`: for each image the probabilities (n, K) and each class's boxes (n, K, 4), from all views.

    Args:
        views: scales of the images, and perhaps of their mirror images, see `open_views`.
        sizes: of the base images.
        proposals: for each image (n, 4) in the base image's pixels.
    """
    all_scores, all_boxes = [], []
    for scales, flipped in zip(views, (False, True), strict=False):
        seen = [mirrored(each, size) if flipped else each for each, size in zip(proposals, sizes, strict=True)]
        logits, deltas = detector.box_predictor(described(detector, scales, sizes, seen))
        counts = [len(each) for each in seen]
        boxes = [
            clipped(decode(offsets, each[:, None], detector.spec.box_weights), size)
            for offsets, each, size in zip(deltas.float().split(counts), seen, sizes, strict=True)
        ]
        all_boxes.append([mirrored(each, size) if flipped else each for each, size in zip(boxes, sizes, strict=True)])
        all_scores.append(logits.float().softmax(-1).split(counts))
    return _means(all_scores), _means(all_boxes)


def described(detector: Testable, scales: Sequence[View], sizes: Sequence[Size], boxes: Sequence[Tensor]) -> Tensor:
    """The head's features (R, F) of the boxes (n, 4) of each image, from the two scales that suit each best."""
    chosen = [suitable_scales(each, i, scales, sizes[i]) for i, each in enumerate(boxes)]
    features: Tensor | None = None
    for place, view in enumerate(scales):
        used = [(pair == place).any(1) for pair in chosen]
        rows = torch.cat(used)
        if not len(rows) or (features is not None and not bool(rows.any())):
            continue
        here = [
            rescaled(each[mine], size, view.sizes[i]) for i, (each, mine, size) in enumerate(zip(boxes, used, sizes, strict=True))
        ]
        found = detector.describe(view.maps, here, view.sizes)
        if features is None:
            features = found.new_full((len(rows), found.shape[1]), -torch.inf)
        features[rows] = torch.maximum(features[rows], found)
    return detector.describe(scales[0].maps, boxes, scales[0].sizes) if features is None else features


def suitable_scales(boxes: Tensor, image: int, scales: Sequence[View], size: Size) -> Tensor:
    """The places (n, 2) of two adjacent scales, or twice that of the only one, for boxes (n, 4) of an image whose base size is `size`."""
    if len(scales) == 1:
        return torch.zeros(len(boxes), 2, dtype=torch.long, device=boxes.device)
    factors = boxes.new_tensor([(view.sizes[image][0] * view.sizes[image][1] / (size[0] * size[1])) ** 0.5 for view in scales])
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1).sqrt()
    # The last scale at which the region is no larger than it should be, as far as there is one after it.
    smaller = (sides[:, None] * factors <= CANONICAL_SIZE).sum(1) - 1
    lower = smaller.clamp(0, len(scales) - 2)
    return torch.stack((lower, lower + 1), 1)


def mirrored(boxes: Tensor, size: Size) -> Tensor:
    """The boxes (…, 4) in the mirror image of an image of that size."""
    x1, y1, x2, y2 = boxes.unbind(-1)
    return torch.stack((size[1] - x2, y1, size[1] - x1, y2), -1)


def best_boxes(scores: Tensor, boxes: Tensor) -> Tensor:
    """Of boxes (n, K, 4) with scores (n, K) each region's most probable one, (n, 4), the background's left aside."""
    best = scores[:, 1:].argmax(1) + 1
    return boxes[torch.arange(len(boxes), device=boxes.device), best]


def voted(found: dict[str, Tensor], scores: Tensor, boxes: Tensor, *, iou: float, min_score: float) -> Tensor:
    """The boxes (m, 4) of detections after the vote of all predictions with a score above `min_score`.

    Args:
        found: detections, `boxes` (m, 4) and `labels` (m,).
        scores: (n, K) of all predictions.
        boxes: (n, K, 4) of all predictions, the detections' own among them.
    """
    result = found["boxes"].clone()
    for label in set(found["labels"].tolist()):
        rows, voters = torch.where(found["labels"] == label)[0], torch.where(scores[:, label] > min_score)[0]
        candidates = boxes[voters, label]
        near = box_iou(result[rows], candidates) >= iou
        weights = near * scores[voters, label]
        result[rows] = weights @ candidates / weights.sum(1, keepdim=True)
    return result


def _means(views: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Image by image the mean over the views."""
    return [torch.stack(each).mean(0) if len(each) > 1 else each[0] for each in zip(*views, strict=True)]
