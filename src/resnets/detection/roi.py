"""Pooling regions: the part of a map under each box, at one size (Fast R-CNN §2.1; He 2017, 1703.06870, §3; FPN, eq. 1).

Legend: R regions of all images, C channels, r height and width of a pooled region; N images; h w a map's height and width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import roi_align, roi_pool

from .roi_align import roi_align_rows
from .spec import DetectorSpec

CANONICAL_SIZE, CANONICAL_LEVEL = 224, 4
"""A region as large as ImageNet's images belongs on P4 (FPN §4.2)."""
_EPSILON = 1e-6  # torchvision's: keeps a region of exactly 224 · 2^i pixels on the coarser level despite rounding


def region_levels(boxes: Tensor, lowest: int, highest: int) -> Tensor:
    """The level (n,) int64 from which each box (n, 4) is pooled: floor(4 + log2(sqrt(w h) / 224)), within those that there are."""
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    level = torch.floor(CANONICAL_LEVEL + torch.log2(area.sqrt() / CANONICAL_SIZE) + _EPSILON)
    return level.clamp(lowest, highest).to(torch.int64)


class RegionPooler:
    """Pools boxes from maps at the spec's strides, as its roi_* fields say."""

    def __init__(self, spec: DetectorSpec) -> None:
        self.kind, self.size, self.sampling = spec.roi_pooling, spec.roi_size, spec.roi_sampling
        self.strides = spec.map_strides
        self.levels = spec.levels[: len(self.strides)]

    def __call__(self, maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor | None]:
        """The regions (R, C, r, r), level by level, and the place of each among the boxes, or None where the order is the boxes'.

        Putting the head's few features back in order costs less than the pooled maps: see `in_order`.

        Args:
            maps: (N, C, h, w) at the strides; more maps than strides are left alone.
            boxes: for each of the N images (n, 4) in pixels of the resized image.
        """
        owners = [each.new_full((len(each), 1), i) for i, each in enumerate(boxes)]
        rois = torch.cat((torch.cat(owners), torch.cat(list(boxes))), dim=1)
        if len(self.strides) == 1:
            return self._pooled(maps[0], rois, self.strides[0]), None
        levels = region_levels(rois[:, 1:], self.levels[0], self.levels[-1])
        places = [torch.where(levels == level)[0] for level in self.levels]
        pooled = [self._pooled(x, rois[p], s) for x, p, s in zip(maps, places, self.strides, strict=False)]
        return torch.cat(pooled), torch.cat(places)

    def _pooled(self, x: Tensor, rois: Tensor, stride: int) -> Tensor:
        pooled: Tensor
        exact = x.float()  # positions need more digits than half precision has
        if self.kind == "pool":
            pooled = roi_pool(exact, rois, self.size, 1 / stride)
        else:
            align = roi_align_rows if x.device.type == "cpu" and self.sampling else roi_align
            pooled = align(exact, rois, self.size, 1 / stride, self.sampling, aligned=self.kind == "half-pixel-align")
        return pooled.to(x.dtype)


def in_order(features: Tensor, places: Tensor | None) -> Tensor:
    """Features (R, …) of regions that are at `places`, in the order of the places."""
    return features if places is None else features[torch.argsort(places)]
