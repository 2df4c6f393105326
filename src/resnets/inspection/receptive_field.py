"""The receptive field: how many pixels along one axis of the image can change one position of a map.

Arithmetic over kernels k, strides s, dilations d and paddings p, from the image upwards. Position i of a map sees the pixels
from `low + i * jump` to `high + i * jump`; a layer adds -p * jump to low and ((k - 1) d - p) * jump to high, then multiplies jump by s.
Where paths meet (shortcut and F, the branches of Inception) the pixels of all of them count, so that the longest path decides.
What joins all positions is left out: the pooling of a squeeze-and-excitation gate and of the head, and a batch norm's statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from ..networks import Network, NetworkSpec, ResidualUnit, build
from ..networks.initialization import CONVOLUTION_TYPES, NORM_TYPES
from ..networks.layers import AVERAGE_POOLS, MAX_POOLS, Concatenation, Scale, SqueezeExcitation, StochasticDepth
from ..networks.shortcuts import NoShortcut, ZeroPadding
from .cost import parts

_POOLS = (*MAX_POOLS.values(), *AVERAGE_POOLS.values())
_KEEP_POSITIONS = (*NORM_TYPES, nn.ReLU, nn.Identity, nn.Dropout, Scale, StochasticDepth, SqueezeExcitation)


@dataclass(frozen=True)
class Field:
    """The pixels that a map's position 0 sees, in each spatial dimension; negative ones are in the padding."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    jump: int = 1
    """Pixels between the centres of neighbouring positions: the stride so far."""

    @property
    def size(self) -> int:
        """Pixels along the axis on which it is largest."""
        return max(high - low + 1 for low, high in zip(self.low, self.high, strict=True))

    def windowed(self, kernel: object, stride: object, padding: object, dilation: object = 1) -> Field:
        """The field of what a window of that kind sees of this map."""
        dims = len(self.low)
        k, p, d = _each(kernel, dims), _each(padding, dims), _each(dilation, dims)
        return Field(
            tuple(low - p[i] * self.jump for i, low in enumerate(self.low)),
            tuple(high + ((k[i] - 1) * d[i] - p[i]) * self.jump for i, high in enumerate(self.high)),
            self.jump * _each(stride, dims)[0],
        )

    def joined(self, other: Field) -> Field:
        """The field of a map that sees both."""
        assert self.jump == other.jump, "maps of different strides cannot meet"
        return Field(tuple(map(min, self.low, other.low)), tuple(map(max, self.high, other.high)), self.jump)


def receptive_fields(spec: NetworkSpec) -> dict[str, Field]:
    """The field of each part of the network's map by the names of `parts` (conv1, pool, conv2_x, ..., final), without the head."""
    with torch.device("meta"):
        return _fields(build(spec))


def _fields(network: Network) -> dict[str, Field]:
    field = Field((0,) * network.spec.dims, (0,) * network.spec.dims)
    fields = {}
    for name, part in parts(network):
        if name != "head":
            fields[name] = field = _seen(part, field)
    return fields


def _seen(module: nn.Module, field: Field) -> Field:
    """The field after `module`, whose input has `field`."""
    if isinstance(module, ResidualUnit):
        entered = _seen(module.prelude or nn.Identity(), field)
        left = _seen(module.residual, entered)
        if not isinstance(module.shortcut, NoShortcut):
            match = module.shortcut.match
            assert match is None or isinstance(match, nn.Module)
            left = left.joined(_seen(match or nn.Identity(), entered))
        return _seen(module.after or nn.Identity(), left)
    if isinstance(module, Concatenation):
        branches = [_seen(branch, field) for branch in module.branches]
        whole = branches[0]
        for branch in branches[1:]:
            whole = whole.joined(branch)
        return whole
    if isinstance(module, nn.Sequential):
        for child in module:
            field = _seen(child, field)
        return field
    if isinstance(module, (*CONVOLUTION_TYPES, *_POOLS)):
        return field.windowed(module.kernel_size, module.stride, module.padding, getattr(module, "dilation", 1))
    if isinstance(module, ZeroPadding):
        return field.windowed(1, module.stride, 0)
    assert isinstance(module, _KEEP_POSITIONS), f"receptive field of {type(module).__name__} is not known"
    return field


def _each(value: object, dims: int) -> tuple[int, ...]:
    """A layer's setting as one number a dimension."""
    convert: Callable[[object], int] = int  # type: ignore[assignment]
    return tuple(map(convert, value)) if isinstance(value, tuple) else (convert(value),) * dims
