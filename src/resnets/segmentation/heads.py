"""The heads: from the trunk's maps to a logit for each class at each place.

Legend: N batch, C channels of the map, K classes, h w height and width of the map, s subpixels. Long 2015 (1411.4038); Chen 2017
(1706.05587); layers, their order and their initial weights (PyTorch's defaults) as in torchvision, which has no skips.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

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


class Skip(nn.Module):
    """What has come back so far, at a finer map's size, plus that map after a 1x1 convolution and norm; then a 3x3 layer.

    (N, W, h, w) and the finer map (N, C, H, W) give (N, W, H, W). FCN's skips (Long 2015 §4.2) add logits, which lets an early map
    say no more than a linear function of it; features are added here (Lin 2017, 1612.03144 §3).
    """

    def __init__(self, trunk: NetworkSpec, channels: int, width: int) -> None:
        super().__init__()
        self.lateral = nn.Sequential(convolution(trunk, channels, width, 1, bias=False), normalization(trunk, width))
        self.layer = _layer(trunk, width, width, 3)

    def forward(self, x: Tensor, finer: Tensor) -> Tensor:
        joined: Tensor = self.layer(resized(x, finer.shape[-2:]) + self.lateral(finer))
        return joined


class FCNHead(nn.Module):
    """3x3 convolution, norm, ReLU, skips, dropout, 1x1 classifier.

    (N, C, h, w) and as many earlier maps as there are skips, the coarsest first, give logits (N, K, s h, s w), h and w those of the
    last of the maps.
    """

    def __init__(
        self,
        trunk: NetworkSpec,
        channels: int,
        num_classes: int,
        width: int | None = None,
        dropout: float | None = None,
        *,
        finer: Sequence[int] = (),
        subpixels: int = 1,
    ) -> None:
        super().__init__()
        trunk, width = _learning(trunk), width or max(1, channels // 4)
        self.subpixels = subpixels
        self.layer = _layer(trunk, channels, width, 3)
        self.skips = nn.ModuleList(Skip(trunk, each, width) for each in finer)
        self.dropout = nn.Dropout(_FCN_DROPOUT if dropout is None else dropout)
        self.classifier = nn.Conv2d(width, num_classes * subpixels**2, 1)

    def forward(self, x: Tensor, *finer: Tensor) -> Tensor:
        x = self.layer(x)
        for skip, each in zip(self.skips, finer, strict=True):
            x = skip(x, each)
        logits: Tensor = self.classifier(self.dropout(x))
        return logits if self.subpixels == 1 else functional.pixel_shuffle(logits, self.subpixels)


class PooledBranch(nn.Module):
    """The mean of the whole map after a 1x1 layer, at every place (image-level features, 1706.05587 §3.3)."""

    def __init__(self, trunk: NetworkSpec, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.layer = _layer(trunk, in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.layer(x.mean((2, 3), keepdim=True))
        return resized(pooled, x.shape[-2:])


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


def resized(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps or logits (N, C, h, w) at another size: bilinear, corners' centres not aligned."""
    return functional.interpolate(maps, tuple(size), mode="bilinear", align_corners=False)


def at_pixels(logits: Tensor, size: Sequence[int], every: int = 1) -> Tensor:
    """Logits (N, K, h, w) at the pixels of images of `size`, in float32 at least: what `resized` gives, but only the first of so many
    rows and columns.

    Numbers change their type before there are many of them, and those that are left out are never computed.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if every == 1:
        return resized(logits, size)
    down, across = (_weights(*lengths, every).to(logits) for lengths in zip(logits.shape[-2:], size, strict=True))
    with torch.autocast(logits.device.type, enabled=False):
        return down @ logits @ across.T


@functools.lru_cache(maxsize=64)
def _weights(length: int, target: int, every: int) -> Tensor:
    """(target / every, rounded up, length): of each of `length` values in the first, the `every`-th, ... of `target` interpolated ones."""
    with torch.inference_mode(False):
        return resized(torch.eye(length, dtype=torch.float64)[None, None], (target, length))[0, 0, ::every]


def build_head(spec: SegmenterSpec, channels: Sequence[int]) -> FCNHead | DeepLabV3Head:
    """The spec's head for maps of so many channels: the trunk's last, then those of the skips, the coarsest first."""
    last, *finer = channels
    if spec.head == "deeplabv3":
        return DeepLabV3Head(spec, last)
    return FCNHead(spec.trunk, last, spec.num_classes, spec.head_width, spec.head_dropout, finer=finer, subpixels=spec.subpixels)
