"""The detector: Faster R-CNN on one of our networks (Ren 2015, 1506.01497; He 2015, Appendix A; Lin 2017, 1612.03144).

    maps = network (and pyramid)        proposals = proposer(maps)        classes and boxes = predictor(head(pooled proposals))

Legend: N images, C channels, H W height and width of the padded batch; n proposals of an image, K classes with the background, which is
class 0. Sizes are (height, width) of the resized images; boxes are x1 y1 x2 y2 in their pixels until the very end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .box_coder import decode
from .box_head import BoxPredictor, PerceptronHead
from .boxes import Size, clipped, rescaled
from .inputs import check_images, check_targets
from .losses import classification_loss, regression_loss
from .proposals import Proposer
from .pyramid import Pyramid
from .regions import detections, training_regions
from .resizing import Batch, drawn_sizes, make_batch, padded_size
from .roi import RegionPooler, in_order
from .spec import DetectorSpec, TestTime
from .testing import detect
from .trunk import StageHead, build_trunk, feature_maps

Target = Mapping[str, Tensor]


class Detector(nn.Module):
    """Calling it with images gives what is on them, or in training mode the losses.

    Submodules: `network` (without head), `neck` (a `Pyramid`, or None in layout c4), `proposer`, `box_head`, `box_predictor`.
    """

    def __init__(self, spec: DetectorSpec) -> None:
        super().__init__()
        self.spec = spec
        self.classes: tuple[str, ...] | None = None
        """Names of the classes without the background, so that label 1 is the first."""
        self.testing = spec.testing
        """What is added in evaluation mode; it may be set to something else, as it changes no weights."""
        self.network, stage_head = build_trunk(spec)
        self.neck: Pyramid | None = None
        channels = [self.network.feature_channels[name] for name in self.network.stage_names]
        self.box_head: StageHead | PerceptronHead
        if stage_head is None:
            self.neck = Pyramid(channels, spec.levels[:-1], spec.pyramid_width, norm=spec.pyramid_norm)
            self.box_head = PerceptronHead(spec, spec.pyramid_width)
        else:
            self.box_head = stage_head
        self.proposer = Proposer(spec, spec.pyramid_width if self.neck is not None else channels[-1])
        self.pooler = RegionPooler(spec)
        self.box_predictor = BoxPredictor(
            self.box_head.out_channels * (2 if spec.global_context else 1),
            spec.num_classes,
            gaussian=spec.predictor_initialization == "gaussian",
        )
        real = "cpu"  # these follow from the spec alone, also where a model is first built without memory, on the meta device
        self.register_buffer("mean", torch.tensor(spec.image_mean, device=real).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.image_std, device=real).view(-1, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    def train(self, mode: bool = True) -> Detector:
        """Training or evaluation mode, but for the spec's frozen_parts, which stay in evaluation mode."""
        super().train(mode)
        if isinstance(self.box_head, StageHead) and self.box_head.stage_name in self.spec.frozen_parts:
            self.box_head.eval()
        return self

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> Any:
        """What is on images, or how wrong the detector is about them.

        Args:
            images: each (C, h, w) floating point in [0, 1], of any size and not normalised.
            targets: in training, for each image "boxes" (G, 4) float32 in its pixels and "labels" (G,) int64 from 1; G may be 0.

        Returns:
            In evaluation mode for each image a dict of `boxes` (m, 4) in its pixels, `labels` (m,) from 1 and `scores` (m,), surest
            first; in training mode a dict of scalar losses, to be summed: loss_classifier, loss_box_reg, loss_objectness and
            loss_rpn_box_reg.

        Raises:
            ValueError: images or targets that make no sense; the message has their number.
        """
        if self.training:
            return self.losses(images, targets)
        if self.testing != TestTime():
            return detect(self, images, self.testing)
        batch = self.prepare(images)
        maps = self.maps(batch.images)
        predictions = self.classify(maps, self.propose(maps, batch.sizes), batch.sizes)
        found = self.finish(*predictions, batch.sizes)
        for each, size, original in zip(found, batch.sizes, batch.originals, strict=True):
            each["boxes"] = rescaled(each["boxes"], size, original)
        return found

    def losses(self, images: Sequence[Tensor], targets: Sequence[Target] | None) -> dict[str, Tensor]:
        """The four losses, as `forward` gives them in training mode."""
        check_targets(targets, len(images), self.spec.num_classes)
        assert targets is not None
        batch = self.prepare(images)
        resized = [
            {"boxes": rescaled(target["boxes"].float(), original, size), "labels": target["labels"]}
            for target, original, size in zip(targets, batch.originals, batch.sizes, strict=True)
        ]
        maps = self.maps(batch.images)
        found = self.proposer(maps, padded_size(batch.sizes, self.spec.size_divisible))
        proposals = self.proposer.select(found, batch.sizes)
        # Before the regions: the two draw from one generator, in torchvision's order.
        proposal_losses = self.proposer.losses(found, batch.sizes, [target["boxes"] for target in resized])
        regions = training_regions(self.spec, proposals, resized)
        logits, deltas = self.box_predictor(self.describe(maps, regions.boxes, batch.sizes))
        own = deltas[regions.positive, regions.labels[regions.positive]]
        return {
            "loss_classifier": classification_loss(logits, regions.labels),
            "loss_box_reg": regression_loss(own, regions.deltas, beta=self.spec.box_loss_beta, num_sampled=len(regions.labels)),
            **proposal_losses,
        }

    def prepare(self, images: Sequence[Tensor], min_size: int | None = None) -> Batch:
        """The images as one normalised batch; the shorter side is `min_size`, or as the spec says.

        Raises:
            ValueError: as `check_images`.
        """
        check_images(images, len(self.spec.image_mean))
        if min_size is not None:
            sizes = [min_size] * len(images)
        elif self.training:
            sizes = drawn_sizes(self.spec.min_size, len(images))
        else:
            sizes = [self.spec.min_size[-1]] * len(images)
        return make_batch(
            images, self.mean, self.std, min_sizes=sizes, max_size=self.spec.max_size, divisible=self.spec.size_divisible
        )

    def maps(self, images: Tensor) -> list[Tensor]:
        """The maps with anchors, finest first, one for each of the spec's levels, of a prepared batch (N, C, H, W)."""
        maps = list(feature_maps(self.network, images).values())
        return maps[-1:] if self.neck is None else self.neck(maps)

    def propose(self, maps: Sequence[Tensor], sizes: Sequence[Size]) -> list[Tensor]:
        """For each image the boxes (n, 4) that may hold an object, surest first."""
        return self.proposer.select(self.proposer(maps, padded_size(sizes, self.spec.size_divisible)), sizes)

    def describe(self, maps: Sequence[Tensor], boxes: Sequence[Tensor], sizes: Sequence[Size]) -> Tensor:
        """The box head's features of all images' boxes (n, 4) in turn; with global context, twice as many."""
        if not self.spec.global_context:
            pooled, places = self.pooler(maps, boxes)
            return in_order(self.box_head(pooled), places)
        whole = [each.new_tensor([[0, 0, size[1], size[0]]]) for each, size in zip(boxes, sizes, strict=True)]
        pooled, places = self.pooler(maps, [torch.cat(pair) for pair in zip(boxes, whole, strict=True)])
        features = torch.split(in_order(self.box_head(pooled), places), [len(each) + 1 for each in boxes])
        return torch.cat([torch.cat((each[:-1], each[-1:].expand(len(each) - 1, -1)), dim=1) for each in features])

    def classify(
        self, maps: Sequence[Tensor], proposals: Sequence[Tensor], sizes: Sequence[Size]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """For each image what the head says of its proposals (n, 4), before any is dropped.

        Returns:
            The probabilities (n, K) of the classes, background first, and the boxes (n, K, 4) that each class would have, inside the
            image. Both float32.
        """
        logits, deltas = self.box_predictor(self.describe(maps, proposals, sizes))
        counts = [len(each) for each in proposals]
        scores = logits.float().softmax(-1).split(counts)
        boxes = [
            clipped(decode(offsets, each[:, None], self.spec.box_weights), size)
            for offsets, each, size in zip(deltas.float().split(counts), proposals, sizes, strict=True)
        ]
        return list(scores), boxes

    def finish(self, scores: Sequence[Tensor], boxes: Sequence[Tensor], sizes: Sequence[Size]) -> list[dict[str, Tensor]]:
        """What is left of `classify`'s predictions after the score threshold and NMS, in the same pixels: see `regions.detections`."""
        return [detections(self.spec, *each) for each in zip(scores, boxes, sizes, strict=True)]

    def extra_repr(self) -> str:
        return f"spec={self.spec!r}"
