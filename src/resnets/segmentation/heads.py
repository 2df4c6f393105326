"""The heads: from the trunk's maps to a logit for each class at each place.

Legend: N batch, C channels of the map, K classes, h w height and width of the map. Long 2015 (1411.4038); Chen 2017 (1706.05587);
layers, their order and their initial weights (PyTorch's defaults) as in torchvision.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..networks.layers import ConvNormReLU, convolution, normalization
from ..networks.spec import NetworkSpec
from .spec import SegmenterSpec

_FCN_DROPOUT, _PYRAMID_DROPOUT = 0.1, 0.5
_PYRAMID_WIDTH = 256
"""Channels of each part of the pyramid (1706.05587 §3.3)."""


def _layer(trunk: NetworkSpec, in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> ConvNormReLU:
    return ConvNormReLU(
        convolution(trunk, in_channels, out_channels, kernel, dilation=dilation, bias=False), normalization(trunk, out_channels)
    )


def _learning(trunk: NetworkSpec) -> NetworkSpec:
    """The spec whose norms a head takes: those of the trunk, unless they are frozen, since a head always begins untrained."""
    return trunk.updated(norm="batch") if trunk.norm == "frozen-batch" else trunk


class FCNHead(nn.Module):
    """3x3 convolution, norm, ReLU, dropout, 1x1 classifier: (N, C, h, w) to logits (N, K, h, w)."""

    def __init__(self, trunk: NetworkSpec, channels: int, num_classes: int, width: int | None = None, dropout: float | None = None):
        super().__init__()
        trunk, width = _learning(trunk), width or max(1, channels // 4)
        self.layer = _layer(trunk, channels, width, 3)
        self.dropout = nn.Dropout(_FCN_DROPOUT if dropout is None else dropout)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.dropout(self.layer(x)))
        return logits


class PooledBranch(nn.Module):
    """The mean of the whole map behind a 1x1 layer, at every place (image-level features, 1706.05587 §3.3)."""

    def __init__(self, trunk: NetworkSpec, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layer = _layer(trunk, in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.layer(x.mean((2, 3), keepdim=True))
        return functional.interpolate(pooled, x.shape[-2:], mode="bilinear", align_corners=False)


class DilatedPyramid(nn.Module):
    """ASPP: a 1x1 layer, one 3x3 layer for each dilation and the pooled map side by side, then a 1x1 layer and dropout."""

    def __init__(self, trunk: NetworkSpec, in_channels: int, width: int, rates: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList([_layer(trunk, in_channels, width, 1)])
        self.branches.extend(_layer(trunk, in_channels, width, 3, rate) for rate in rates)
        self.branches.append(PooledBranch(trunk, in_channels, width))
        self.project = _layer(trunk, len(self.branches) * width, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        joined: Tensor = self.dropout(self.project(torch.cat([branch(x) for branch in self.branches], dim=1)))
        return joined


class DeepLabV3Head(nn.Module):
    """The pyramid, a 3x3 layer, 1x1 classifier: (N, C, h, w) to logits (N, K, h, w)."""

    def __init__(self, spec: SegmenterSpec, channels: int) -> None:
        super().__init__()
        trunk, width = _learning(spec.trunk), spec.head_width or _PYRAMID_WIDTH
        dropout = _PYRAMID_DROPOUT if spec.head_dropout is None else spec.head_dropout
        self.pyramid = DilatedPyramid(trunk, channels, width, spec.pyramid_rates, dropout)
        self.layer = _layer(trunk, width, width, 3)
        self.classifier = nn.Conv2d(width, spec.num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.layer(self.pyramid(x)))
        return logits


def build_head(spec: SegmenterSpec, channels: int) -> FCNHead | DeepLabV3Head:
    """The spec's head for a map of `channels` channels."""
    if spec.head == "deeplabv3":
        return DeepLabV3Head(spec, channels)
    return FCNHead(spec.trunk, channels, spec.num_classes, spec.head_width, spec.head_dropout)
