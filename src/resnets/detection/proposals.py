"""The region proposal network: boxes that may hold an object, whatever its class (Ren 2015, 1506.01497, §3).

Legend: N images; a level has a map (N, C, h, w) and L = h w A anchors, A at each position; deltas are offsets from anchors
(`box_coder`). Objectness is a logit: the probability that an anchor stands for an object is its sigmoid. Sizes are (height, width) of the
resized images without their padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from . import anchors as anchor_grid
from .box_coder import decode, encode
from .boxes import Size, clipped, inside, large_enough
from .losses import objectness_loss, regression_loss
from .matcher import BACKGROUND, BETWEEN, match_boxes
from .sampler import sample
from .spec import DetectorSpec


class Predictions(NamedTuple):
    """What the network says about every anchor, level by level, finest first."""

    objectness: list[Tensor]
    """(N, L) float32."""
    deltas: list[Tensor]
    """(N, L, 4) float32."""
    anchors: list[Tensor]
    """(L, 4) float32, in pixels of the resized images."""


class Proposer(nn.Module):
    """A small fully convolutional network on every level, with the same weights on all of them."""

    def __init__(self, spec: DetectorSpec, in_channels: int) -> None:
        super().__init__()
        self.spec = spec
        width = spec.rpn_width or in_channels
        self.convs = nn.ModuleList(
            nn.Conv2d(in_channels if i == 0 else width, width, 3, padding=1) for i in range(spec.rpn_convolutions)
        )
        self.objectness = nn.Conv2d(width, spec.num_anchors * (2 if spec.rpn_objectness == "softmax" else 1), 1)
        self.deltas = nn.Conv2d(width, 4 * spec.num_anchors, 1)
        for layer in (*self.convs, self.objectness, self.deltas):
            assert isinstance(layer, nn.Conv2d)
            nn.init.normal_(layer.weight, std=0.01)  # Ren 2015 §3.1.3
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        for i, sizes in enumerate(spec.anchor_sizes):
            with torch.device("cpu"):  # they follow from the spec alone, also where a model is first built on the meta device
                cells = anchor_grid.cell_anchors(sizes, spec.anchor_ratios, rounding=spec.anchor_rounding)
            self.register_buffer(f"cells{i}", cells, persistent=False)

    def forward(self, maps: Sequence[Tensor], padded: Size) -> Predictions:
        """Predictions for maps (N, C, h, w), one per level, of images padded to that size."""
        found = Predictions([], [], [])
        for i, x in enumerate(maps):
            for conv in self.convs:
                x = torch.relu_(conv(x))
            logits, deltas = self.objectness(x).float(), self.deltas(x).float()
            if self.spec.rpn_objectness == "softmax":  # of two classes: the sigmoid of their logits' difference
                background, thing = logits.chunk(2, dim=1)
                logits = thing - background
            # From (N, A…, h, w) to the anchors' order: row, column, anchor.
            found.objectness.append(logits.permute(0, 2, 3, 1).flatten(1))
            found.deltas.append(deltas.permute(0, 2, 3, 1).reshape(len(x), -1, 4))
            found.anchors.append(self._anchors(i, x, padded))
        return found

    def _anchors(self, level: int, x: Tensor, padded: Size) -> Tensor:
        shape = (x.shape[-2], x.shape[-1])
        nominal = self.spec.level_strides[level]
        measured = self.spec.anchor_strides == "measured"
        stride = anchor_grid.measured_stride(padded, shape) if measured else (nominal, nominal)
        return anchor_grid.grid_anchors(self.get_buffer(f"cells{level}"), shape, stride)

    @torch.no_grad()
    def select(self, found: Predictions, sizes: Sequence[Size]) -> list[Tensor]:
        """For each image its proposals (n, 4) inside it, surest first. No gradient flows through them.

        The best anchors of each level, by objectness, are decoded; NMS goes level by level; the best of all that remain are kept.
        """
        spec, training = self.spec, self.training
        before = spec.rpn_pre_nms_train if training else spec.rpn_pre_nms_test
        after = spec.rpn_post_nms_train if training else spec.rpn_post_nms_test
        all_boxes, all_scores, all_levels = [], [], []
        for level, (objectness, deltas, anchors) in enumerate(zip(*found, strict=True)):
            logits, index = objectness.topk(min(before, objectness.shape[1]), dim=1)
            chosen = deltas.gather(1, index[:, :, None].expand(-1, -1, 4))
            all_boxes.append(decode(chosen, anchors[index]))  # only these: the others would be thrown away
            all_scores.append(logits.sigmoid())
            all_levels.append(torch.full((index.shape[1],), level, device=index.device))
        levels = torch.cat(all_levels)
        proposals = []
        for boxes, scores, size in zip(torch.cat(all_boxes, 1), torch.cat(all_scores, 1), sizes, strict=True):
            boxes = clipped(boxes, size)
            kept = torch.where(large_enough(boxes, spec.rpn_min_side) & (scores >= spec.rpn_min_score))[0]
            boxes = boxes[kept]
            best = batched_nms(boxes, scores[kept], levels[kept], spec.rpn_nms_iou)[:after]
            proposals.append(boxes[best])
        return proposals

    def losses(self, found: Predictions, sizes: Sequence[Size], objects: Sequence[Tensor]) -> dict[str, Tensor]:
        """loss_objectness and loss_rpn_box_reg, scalars, where `objects` are each image's true boxes (G, 4), G from 0 on."""
        anchors = torch.cat(found.anchors)
        positive, negative, targets = [], [], []
        with torch.no_grad():
            for i, (boxes, size) in enumerate(zip(objects, sizes, strict=True)):
                matches = self.match(anchors, boxes, size)
                labels = torch.where(matches >= 0, 1, torch.where(matches == BACKGROUND, 0, -1))
                chosen, others = sample(labels, self.spec.rpn_batch, self.spec.rpn_positive_share)
                targets.append(encode(boxes[matches[chosen]], anchors[chosen]))
                positive.append(chosen + i * len(anchors))
                negative.append(others + i * len(anchors))
            things, sampled = torch.cat(positive), torch.cat((*positive, *negative))
            truth = torch.zeros(len(sampled), device=anchors.device)
            truth[: len(things)] = 1
        logits = torch.cat(found.objectness, dim=1).flatten()[sampled]
        deltas = torch.cat(found.deltas, dim=1).view(-1, 4)[things]
        return {
            "loss_objectness": objectness_loss(logits, truth),
            "loss_rpn_box_reg": regression_loss(deltas, torch.cat(targets), beta=self.spec.rpn_loss_beta, num_sampled=len(sampled)),
        }

    def match(self, anchors: Tensor, objects: Tensor, size: Size) -> Tensor:
        """For each anchor (L, 4) the index of its object in (G, 4), or BACKGROUND or BETWEEN (`matcher`), in an image of that size."""
        spec = self.spec
        rule = {"positive": spec.rpn_positive_iou, "negative": spec.rpn_negative_iou}
        if not spec.rpn_ignore_outside:
            return match_boxes(objects, anchors, **rule, best_counts=True)
        within = inside(anchors, size)
        matches = torch.full((len(anchors),), BETWEEN, device=anchors.device)
        matches[within] = match_boxes(objects, anchors[within], **rule, best_counts=True)
        return matches
