"""The feature pyramid (Lin 2017, 1612.03144, §3): every level sees the coarser ones.

Legend: N images, C_i channels of the network's i-th map, d of the pyramid's; h w a map's height and width. Levels are named by log2
of their strides: P2 has stride 4.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class ConvNorm(nn.Sequential):
    """A convolution (`conv`) that keeps the map's size, by choice with batch norm (`norm`), in whose place it else has a bias."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, *, norm: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=not norm)
        # As in torchvision and detectron2: uniform with variance 1 / fan-in.
        nn.init.kaiming_uniform_(self.conv.weight, a=1)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        if norm:
            self.norm = nn.BatchNorm2d(out_channels)


class Pyramid(nn.Module):
    """Maps of a network to as many maps of d channels each, and one of half the last one's resolution.

    Args:
        channels: C_i, finest map first.
        levels: the maps' levels, in the same order.
        width: d.
        norm: batch norm after each convolution.
    """

    def __init__(self, channels: Sequence[int], levels: Sequence[int], width: int, *, norm: bool = False) -> None:
        super().__init__()
        names = [f"p{level}" for level in levels]
        self.lateral = nn.ModuleDict({n: ConvNorm(c, width, 1, norm=norm) for n, c in zip(names, channels, strict=True)})
        self.output = nn.ModuleDict({name: ConvNorm(width, width, 3, norm=norm) for name in names})
        self.out_channels = width

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N, C_i, h, w), finest first, to maps (N, d, h, w) of the same sizes and one more, finest first."""
        pyramid: list[Tensor] = []
        above: Tensor | None = None
        for name, x in zip(reversed(list(self.lateral)), reversed(maps), strict=True):
            merged: Tensor = self.lateral[name](x)
            if above is not None:
                merged = merged + functional.interpolate(above, size=merged.shape[-2:], mode="nearest")
            pyramid.insert(0, self.output[name](merged))
            above = merged
        # FPN §4.1 subsamples P5 for the largest anchors; a pool of one pixel with stride 2 takes every other one.
        return [*pyramid, functional.max_pool2d(pyramid[-1], 1, 2)]
