"""F, the residual function, as an `nn.Sequential` of named layers: conv1, norm1, relu1, conv2, ...

He 2015 Fig. 5 (basic, bottleneck); He 2016 Fig. 4 and Table 2 (the five activation orders); WRN §2 (widening, dropout);
ResNeXt §3 (groups); Szegedy 2016 §3.2-3.3 (Inception branches, scaling); Hu 2018 (squeeze-and-excitation).
F maps (N, C_in, *S) to (N, C_out, *S / stride).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from .inception import RESIDUALS, inception_layers
from .layers import Scale, SqueezeExcitation, StochasticDepth, convolution, normalization
from .spec import ActivationOrder, NetworkSpec


@dataclass(frozen=True)
class Order:
    """What is around each convolution of F, what its last one lacks, and what f is."""

    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    dropped_at_end: tuple[str, ...] = ()
    f: tuple[str, ...] = ()


ORDERS: dict[ActivationOrder, Order] = {
    "original": Order(after=("norm", "relu"), dropped_at_end=("relu",), f=("relu",)),
    "bn-after-addition": Order(after=("norm", "relu"), dropped_at_end=("norm", "relu"), f=("norm", "relu")),
    "relu-before-addition": Order(after=("norm", "relu")),
    "relu-only-preactivation": Order(before=("relu",), after=("norm",)),
    "full-preactivation": Order(before=("norm", "relu")),
}


@dataclass(frozen=True)
class Place:
    """Where a unit is: everything about it that the spec alone does not say."""

    stage: int
    """Index of the stage, 0 for conv2_x."""
    unit: int
    """Index of the unit in the network, counted from 0."""
    in_channels: int
    out_channels: int
    stride: int
    dilation: int
    """Dilation of the unit's first 3x3."""
    last: bool
    """Whether it is the network's last unit."""


@dataclass(frozen=True)
class Convolution:
    """One convolution of F, not yet built."""

    in_channels: int
    out_channels: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    groups: int = 1


def convolutions(spec: NetworkSpec, place: Place, later_dilation: int) -> list[Convolution]:
    """The convolutions of a basic or bottleneck F, in order."""
    c_in, c_out, stride, dilation = place.in_channels, place.out_channels, place.stride, place.dilation
    width = spec.stage_widths[place.stage]
    if spec.stage_residuals[place.stage] == "basic":
        return [Convolution(c_in, width, 3, stride, dilation), Convolution(width, c_out, 3, 1, later_dilation)]
    inner = spec.inner_widths[place.stage]
    in_first = spec.bottleneck_stride == "1x1"
    return [
        Convolution(c_in, inner, 1, stride if in_first else 1),
        Convolution(inner, inner, 3, 1 if in_first else stride, dilation, spec.cardinality),
        Convolution(inner, c_out, 1),
    ]


def activation(
    spec: NetworkSpec, kinds: tuple[str, ...], channels: int, *, inplace: bool = True
) -> Iterator[tuple[str, nn.Module]]:
    """The named layers ("norm", "relu") of an activation over `channels`."""
    for kind in kinds:
        yield kind, normalization(spec, channels) if kind == "norm" else nn.ReLU(inplace=inplace)


def build_residual(spec: NetworkSpec, place: Place, *, activated: bool, later_dilation: int) -> nn.Sequential:
    """F for one unit. `activated` says that its input is activated already, so that pre-activation leaves its first one out."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    kind = spec.stage_residuals[place.stage]
    if kind.startswith("inception"):
        layers.update(inception_layers(spec, RESIDUALS[kind], place.in_channels))
    else:
        order = ORDERS[spec.activation_order]
        plan = convolutions(spec, place, later_dilation)
        for i, conv in enumerate(plan, 1):
            if i > 1 or not activated:
                # The unit's own input belongs to the shortcut too: a ReLU directly on it may not work in place.
                for name, layer in activation(spec, order.before, conv.in_channels, inplace=i > 1 or "norm" in order.before):
                    layers[f"{name}{i}"] = layer
            if i == len(plan) and spec.dropout:
                layers["dropout"] = nn.Dropout(spec.dropout)
            layers[f"conv{i}"] = convolution(
                spec,
                conv.in_channels,
                conv.out_channels,
                conv.kernel,
                stride=conv.stride,
                dilation=conv.dilation,
                groups=conv.groups,
            )
            after = tuple(kind for kind in order.after if i < len(plan) or kind not in order.dropped_at_end)
            for name, layer in activation(spec, after, conv.out_channels):
                layers[f"{name}{i}"] = layer
    if spec.squeeze_excitation:
        layers["squeeze_excitation"] = SqueezeExcitation(spec, place.out_channels, spec.squeeze_excitation)
    scale = spec.stage_scales[place.stage]
    if scale != 1 and not (place.last and spec.linear_last_unit):
        layers["scale"] = Scale(scale)
    if spec.stochastic_depth:
        layers["stochastic_depth"] = StochasticDepth(spec.stochastic_depth * (place.unit + 1) / sum(spec.blocks), spec.dims)
    return nn.Sequential(layers)
