"""The small layers that units, stems and heads are made of, in one, two or three spatial dimensions.

Legend: N batch, C channels, S the spatial shape (H W for images), one to three dimensions.
All take and give tensors of shape (N, C, *S), floating point. None of them asks its input for its number of dimensions:
torch.fx cannot trace such a question.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.fx
from torch import Tensor, nn

from .spec import NetworkSpec

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORMS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}


@torch.fx.wrap  # a symbolic trace has no sizes to take the smaller of
def _clipped_pool(x: Tensor, window: int) -> Tensor:
    depth, height, width = (min(window, size) for size in x.shape[2:])
    return nn.functional.avg_pool3d(x, (depth, height, width), window, ceil_mode=True, count_include_pad=False)


class AveragePool3d(nn.AvgPool3d):
    """Windows next to each other, each averaged over the positions it has, also where a map is thinner than a window. There torch's
    own pool does so in one and two dimensions and refuses in three."""

    def forward(self, input: Tensor) -> Tensor:
        assert isinstance(self.kernel_size, int)
        pooled: Tensor = _clipped_pool(input, self.kernel_size)
        return pooled


AVERAGE_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: AveragePool3d}


def convolution(
    spec: NetworkSpec,
    in_channels: int,
    out_channels: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    padding: int | tuple[int, int] | None = None,
    bias: bool | None = None,
) -> nn.Module:
    """A convolution that keeps the spatial shape (up to its stride) unless `padding` says otherwise."""
    if padding is None:
        padding = dilation * (kernel // 2) if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    make: Callable[..., nn.Module] = CONVOLUTIONS[spec.dims]
    return make(in_channels, out_channels, kernel, stride, padding, dilation, groups, spec.conv_bias if bias is None else bias)


def normalization(spec: NetworkSpec, channels: int) -> nn.Module:
    """The spec's norm over `channels`."""
    if spec.norm == "group":
        return nn.GroupNorm(math.gcd(spec.norm_groups, channels), channels, eps=spec.norm_epsilon)
    if spec.norm == "frozen-batch":
        return FrozenBatchNorm(channels, spec.norm_epsilon, spec.dims)
    return BATCH_NORMS[spec.dims](channels, eps=spec.norm_epsilon, momentum=spec.norm_momentum)


class FrozenBatchNorm(nn.Module):
    """Batch norm whose statistics and affine parameters are buffers and never change (He 2015, Appendix A).

    State-dict names are those of `nn.BatchNorm2d`, so that the one loads the other's.
    """

    def __init__(self, channels: int, epsilon: float, dims: int = 2) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.shape = (1, channels) + (1,) * dims
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.long))

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def forward(self, x: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.epsilon).rsqrt()
        shift = self.bias - self.running_mean * scale
        # One pass over the map, which backward does not need: batch_norm would keep it.
        return torch.addcmul(shift.to(x.dtype).view(self.shape), x, scale.to(x.dtype).view(self.shape))

    def extra_repr(self) -> str:
        return f"{len(self.weight)}, eps={self.epsilon}"


class ConvNormReLU(nn.Sequential):
    """Convolution, norm, ReLU: `conv`, `norm`, `relu`."""

    def __init__(self, convolution: nn.Module, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = convolution, norm, nn.ReLU(inplace=True)


class Scale(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor

    def extra_repr(self) -> str:
        return f"{self.factor:g}"


class StochasticDepth(nn.Module):
    """In training, drops a sample's whole map with `probability` and scales the kept ones so that the mean stays (1603.09382)."""

    def __init__(self, probability: float, dims: int) -> None:
        super().__init__()
        self.probability, self.dims = probability, dims

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return x
        keep = 1 - self.probability
        shape = (x.shape[0],) + (1,) * (self.dims + 1)
        return x * (torch.empty(shape, dtype=x.dtype, device=x.device).bernoulli_(keep) / keep)

    def extra_repr(self) -> str:
        return f"probability={self.probability:.3f}"


class SqueezeExcitation(nn.Module):
    """x * sigmoid(W2 relu(W1 mean(x))): one gate per channel (Hu 2018, 1709.01507 §3). Both W have biases, as in the release."""

    def __init__(self, spec: NetworkSpec, channels: int, reduction: int) -> None:
        super().__init__()
        multiple = spec.squeeze_multiple
        inner = max(multiple, (channels // reduction + multiple // 2) // multiple * multiple)
        self.positions = tuple(range(2, 2 + spec.dims))
        self.reduce = convolution(spec, channels, inner, 1, bias=True)
        self.relu = nn.ReLU(inplace=True)
        self.expand = convolution(spec, inner, channels, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = x.mean(dim=self.positions, keepdim=True)
        gate: Tensor = self.expand(self.relu(self.reduce(squeezed))).sigmoid()
        return x * gate


class Concatenation(nn.Module):
    """Runs branches on one input and concatenates their outputs over the channels."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)
