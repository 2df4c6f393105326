"""The modules of Inception-v4 and Inception-ResNet (Szegedy 2016, arXiv 1602.07261) as data, and one builder for all of them.

A module is written as a *layout*: a tuple of steps, each a convolution `conv(channels, kernel, ...)`, a pool, or a `split` into
layouts whose outputs are concatenated over the channels. Every convolution is followed by norm and ReLU, but for the `linear` one that
brings a residual branch to the width of its unit (it has a bias and no norm). Branch order is that of the released networks,
so that their weights fit. "valid" means without padding (V in the paper's figures).
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from torch import nn

from .layers import Concatenation, ConvNormReLU, convolution, normalization
from .spec import NetworkSpec, Residual, Stem, Transition


@dataclass(frozen=True)
class Conv:
    """A convolution to `channels` (0: the width of the unit's input, `linear`)."""

    channels: int
    kernel: int | tuple[int, int]
    stride: int = 1
    valid: bool = False


@dataclass(frozen=True)
class Pool:
    """A 3x3 pool: max with stride 2 and no padding, or average with stride 1 that leaves the padding out of its mean."""

    kind: Literal["max", "average"]


@dataclass(frozen=True)
class Split:
    """Branches on one input, concatenated."""

    branches: tuple[Layout, ...]


Layout = tuple[Conv | Pool | Split, ...]
MAX, AVERAGE, LINEAR = Pool("max"), Pool("average"), Conv(0, 1)


def conv(channels: int, kernel: int | tuple[int, int] = 1, stride: int = 1, valid: bool = False) -> Conv:
    """A convolution, norm and ReLU."""
    return Conv(channels, kernel, stride, valid)


def split(*branches: Layout) -> Split:
    """Concatenated branches."""
    return Split(branches)


def down(channels: int) -> Conv:
    """3x3, stride 2, no padding."""
    return Conv(channels, 3, 2, True)


_V4_STEM: Layout = (  # Fig. 3: 299 x 299 x 3 to 35 x 35 x 384
    down(32),
    conv(32, 3, valid=True),
    conv(64, 3),
    split((MAX,), (down(96),)),
    split(
        (conv(64), conv(96, 3, valid=True)),
        (conv(64), conv(64, (1, 7)), conv(64, (7, 1)), conv(96, 3, valid=True)),
    ),
    split((down(192),), (MAX,)),
)
_RESNET_V1_STEM: Layout = (  # Fig. 14: to 35 x 35 x 256
    down(32), conv(32, 3, valid=True), conv(64, 3), MAX, conv(80), conv(192, 3, valid=True), down(256),
)  # fmt: skip
_RESNET_V2_STEM: Layout = (  # TF-slim's release (timm's stem and mixed_5b): to 35 x 35 x 320
    down(32), conv(32, 3, valid=True), conv(64, 3), MAX, conv(80), conv(192, 3, valid=True), MAX,
    split((conv(96),), (conv(48), conv(64, 5)), (conv(64), conv(96, 3), conv(96, 3)), (AVERAGE, conv(64))),
)  # fmt: skip

STEMS: dict[Stem, Layout] = {
    "inception-v4": _V4_STEM,
    "inception-resnet-v1": _RESNET_V1_STEM,
    "inception-resnet-v2": _RESNET_V2_STEM,
}

RESIDUALS: dict[Residual, Layout] = {
    "inception-v4-a": (  # Fig. 4
        split((conv(96),), (conv(64), conv(96, 3)), (conv(64), conv(96, 3), conv(96, 3)), (AVERAGE, conv(96))),
    ),
    "inception-v4-b": (  # Fig. 5
        split(
            (conv(384),),
            (conv(192), conv(224, (1, 7)), conv(256, (7, 1))),
            (conv(192), conv(192, (7, 1)), conv(224, (1, 7)), conv(224, (7, 1)), conv(256, (1, 7))),
            (AVERAGE, conv(128)),
        ),
    ),
    "inception-v4-c": (  # Fig. 6
        split(
            (conv(256),),
            (conv(384), split((conv(256, (1, 3)),), (conv(256, (3, 1)),))),
            (conv(384), conv(448, (3, 1)), conv(512, (1, 3)), split((conv(256, (1, 3)),), (conv(256, (3, 1)),))),
            (AVERAGE, conv(256)),
        ),
    ),
    "inception-resnet-v1-a": (split((conv(32),), (conv(32), conv(32, 3)), (conv(32), conv(32, 3), conv(32, 3))), LINEAR),  # Fig. 10
    "inception-resnet-v1-b": (split((conv(128),), (conv(128), conv(128, (1, 7)), conv(128, (7, 1)))), LINEAR),  # Fig. 11
    "inception-resnet-v1-c": (split((conv(192),), (conv(192), conv(192, (1, 3)), conv(192, (3, 1)))), LINEAR),  # Fig. 13
    "inception-resnet-v2-a": (split((conv(32),), (conv(32), conv(32, 3)), (conv(32), conv(48, 3), conv(64, 3))), LINEAR),  # Fig. 16
    "inception-resnet-v2-b": (split((conv(192),), (conv(128), conv(160, (1, 7)), conv(192, (7, 1)))), LINEAR),  # Fig. 17
    "inception-resnet-v2-c": (split((conv(192),), (conv(192), conv(224, (1, 3)), conv(256, (3, 1)))), LINEAR),  # Fig. 19
}


def _reduction_a(k: int, l: int, m: int, n: int) -> Layout:  # noqa: E741 (Fig. 7 and Table 1 name the widths k, l, m, n)
    return (split((down(n),), (conv(k), conv(l, 3), down(m)), (MAX,)),)


def _reduction_b_resnet(b: int, c: tuple[int, int]) -> Layout:
    return (split((conv(256), down(384)), (conv(256), down(b)), (conv(256), conv(c[0], 3), down(c[1])), (MAX,)),)


TRANSITIONS: dict[Transition, Layout] = {
    "reduction-a-v4": _reduction_a(192, 224, 256, 384),
    "reduction-b-v4": (  # Fig. 8
        split((conv(192), down(192)), (conv(256), conv(256, (1, 7)), conv(320, (7, 1)), down(320)), (MAX,)),
    ),
    "reduction-a-resnet-v1": _reduction_a(192, 192, 256, 384),
    "reduction-b-resnet-v1": _reduction_b_resnet(256, (256, 256)),  # Fig. 12
    "reduction-a-resnet-v2": _reduction_a(256, 256, 384, 384),
    "reduction-b-resnet-v2": _reduction_b_resnet(288, (288, 320)),  # Fig. 18
}


def out_channels(layout: Layout, in_channels: int) -> int:
    """Channels that `layout` puts out for `in_channels`."""
    channels = in_channels
    for step in layout:
        if isinstance(step, Split):
            channels = sum(out_channels(branch, channels) for branch in step.branches)
        elif isinstance(step, Conv):
            channels = step.channels or in_channels
    return channels


def step_names(layout: Layout) -> list[str]:
    """The names of the layout's modules: conv1, split1, pool1, conv2, ..."""
    kinds = [type(step).__name__.lower() for step in layout]
    return [f"{kind}{kinds[: i + 1].count(kind)}" for i, kind in enumerate(kinds)]


def inception_layers(spec: NetworkSpec, layout: Layout, in_channels: int) -> OrderedDict[str, nn.Module]:
    """The modules of `layout`, with the names of `step_names`, in the order of its steps."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    channels = in_channels
    for name, step in zip(step_names(layout), layout, strict=True):
        width = out_channels((step,), channels) if step is not LINEAR else in_channels
        if isinstance(step, Split):
            layers[name] = Concatenation([nn.Sequential(inception_layers(spec, branch, channels)) for branch in step.branches])
        elif isinstance(step, Pool):
            layers[name] = nn.MaxPool2d(3, 2) if step.kind == "max" else nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        elif step is LINEAR:
            layers[name] = convolution(spec, channels, width, 1, bias=True)
        else:
            padding = 0 if step.valid else None
            built = convolution(spec, channels, width, step.kernel, stride=step.stride, padding=padding)
            layers[name] = ConvNormReLU(built, normalization(spec, width))
        channels = width
    return layers
