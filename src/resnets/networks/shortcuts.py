"""h, the shortcut, and how it meets F's output: modules of two arguments, `shortcut(x, r)`.

x is the unit's input (N, C_in, *S), r = F(x) is (N, C_out, *S'), and so is the result. A shortcut has two parts: `match` gives
x the shape of r, and `join` puts the two together. He 2015 §3.2-4.1 (options A, B, C); He 2016 §3 and Table 1 (the ablations).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..core.errors import UserError
from .layers import AVERAGE_POOLS, Scale, convolution, normalization
from .spec import NetworkSpec


class Shortcut(nn.Module):
    """join(match(x), r); without `match` where x has r's shape already."""

    def __init__(self, match: nn.Module | None, join: nn.Module) -> None:
        super().__init__()
        self.match, self.join = match, join

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        joined: Tensor = self.join(x if self.match is None else self.match(x), r)
        return joined


class NoShortcut(nn.Module):
    """The plain network: r alone."""

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        return r


class ZeroPadding(nn.Module):
    """Option A: takes every stride-th position and appends zero channels; no parameters (He 2015 §4.1)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, dims: int) -> None:
        super().__init__()
        self.extra, self.stride, self.dims = out_channels - in_channels, stride, dims

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = x[(slice(None), slice(None)) + (slice(None, None, self.stride),) * self.dims]
        return functional.pad(x, (0, 0) * self.dims + (0, self.extra))

    def extra_repr(self) -> str:
        return f"extra={self.extra}, stride={self.stride}"


class Projection(nn.Sequential):
    """Options B and C: a 1x1 convolution (`conv`), by choice a norm (`norm`), after an average pool (`pool`) in ResNet-D."""

    def __init__(self, spec: NetworkSpec, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        if spec.shortcut == "average-pool" and stride > 1:
            # ceil_mode keeps odd maps in step with the padded 3x3 of F; the mean leaves out what is beyond the edge.
            self.pool = AVERAGE_POOLS[spec.dims](stride, stride, ceil_mode=True, count_include_pad=False)
            stride = 1
        self.conv = convolution(spec, in_channels, out_channels, 1, stride=stride)
        if spec.projection_norm:
            self.norm = normalization(spec, out_channels)


class Sum(nn.Module):
    """x + r. In place where r is nobody else's, which saves one map per unit."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        return r.add_(x) if self.inplace else r + x


class Gate(nn.Module):
    """g = sigmoid(W x + b), one 1x1 convolution; exclusive: g r + (1 - g) x; shortcut-only: r + (1 - g) x (He 2016, eq. in §3.1)."""

    def __init__(self, spec: NetworkSpec, channels: int) -> None:
        super().__init__()
        self.exclusive = spec.join == "exclusive-gating"
        self.conv = convolution(spec, channels, channels, 1, bias=True)
        self.initial_bias = spec.gate_bias

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        gate = torch.sigmoid(self.conv(x))
        return (gate * r if self.exclusive else r) + (1 - gate) * x


class DropoutJoin(nn.Module):
    """r + dropout(x): the shortcut itself is thinned out (He 2016, Table 1)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(probability)

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(x)
        return r + dropped


def build_shortcut(spec: NetworkSpec, in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The spec's shortcut for a unit from `in_channels` to `out_channels` at `stride`.

    Raises:
        ValueError: option A where the channels shrink: zeros can be added to channels, not taken away.
    """
    if spec.shortcut == "none":
        return NoShortcut()
    match: nn.Module | None
    if spec.shortcut != "C" and in_channels == out_channels and stride == 1:
        match = None
    elif spec.shortcut == "A":
        if out_channels < in_channels:
            raise UserError(f"shortcut A cannot go from {in_channels} to {out_channels} channels; use shortcut='B'")
        match = ZeroPadding(in_channels, out_channels, stride, spec.dims)
    else:
        match = Projection(spec, in_channels, out_channels, stride)
    if spec.shortcut_scale != 1:
        scale = Scale(spec.shortcut_scale)
        match = scale if match is None else nn.Sequential(match, scale)
    join: nn.Module
    if spec.join == "sum":
        # Where F ends in a ReLU, autograd needs that ReLU's result untouched.
        join = Sum(inplace=spec.activation_order != "relu-before-addition")
    elif spec.join == "dropout":
        join = DropoutJoin(spec.shortcut_dropout)
    else:
        join = Gate(spec, out_channels)
    return Shortcut(match, join)
