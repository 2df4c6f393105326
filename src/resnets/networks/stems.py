"""The stem: everything before the first stage. `conv1` in the paper, and the max pool with which its conv2_x begins.

He 2015 Table 1 (7x7/2, max pool) and §4.2 (one 3x3 for CIFAR); ResNet-C of 1812.01187 (three 3x3); Szegedy 2016 Figs. 3 and 14.
"""

from __future__ import annotations

from torch import nn

from .inception import STEMS, inception_layers, out_channels
from .layers import MAX_POOLS, convolution
from .residuals import activation
from .spec import NetworkSpec


class MaxPoolReLU(nn.Sequential):
    """relu(max pool(x)): the same as the max pool of relu(x), values and gradients, with a quarter of the work for the ReLU."""

    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool, self.relu = pool, nn.ReLU(inplace=True)


def build_stem(spec: NetworkSpec) -> tuple[nn.Sequential, nn.Module, int]:
    """conv1, the pool after it (identity where there is none), and the number of channels they put out. conv1's ReLU comes with
    the pool where there is one."""
    layout = STEMS.get(spec.stem)
    if layout is not None:
        return (
            nn.Sequential(inception_layers(spec, layout, spec.in_channels)),
            nn.Identity(),
            out_channels(layout, spec.in_channels),
        )
    stem = nn.Sequential()
    stride = spec.stem_stride or (1 if spec.stem == "cifar" else 2)
    width = spec.stem_width
    if spec.stem == "deep":
        inner = max(1, width // 2)
        stem.add_module("conv_a", convolution(spec, spec.in_channels, inner, 3, stride=stride))
        for name, layer in activation(spec, ("norm", "relu"), inner):
            stem.add_module(f"{name}_a", layer)
        stem.add_module("conv_b", convolution(spec, inner, inner, 3))
        for name, layer in activation(spec, ("norm", "relu"), inner):
            stem.add_module(f"{name}_b", layer)
        stem.add_module("conv", convolution(spec, inner, width, 3))
    else:
        stem.add_module("conv", convolution(spec, spec.in_channels, width, 3 if spec.stem == "cifar" else 7, stride=stride))
    pooled = spec.stem != "cifar"
    if spec.stem_activation:
        for name, layer in activation(spec, ("norm",) if pooled else ("norm", "relu"), width):
            stem.add_module(name, layer)
    if not pooled:
        return stem, nn.Identity(), width
    pool = MAX_POOLS[spec.dims](3, 2, 1)
    return stem, MaxPoolReLU(pool) if spec.stem_activation else pool, width
