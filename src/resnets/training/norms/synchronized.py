"""Batch norm over the batches of all processes together, on any device.

torch's own `SyncBatchNorm` runs on GPUs only and is taken there; this one is made of differentiable collective operations and
serves CPUs, so that a run split over processes equals the run of one. Legend: N batch, C channels, S spatial shape.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes. Each one's loss hangs on it, so that its gradient is the sum of theirs."""

    @staticmethod
    def forward(context: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(context: Any, *gradients: Any) -> Tensor:
        total: Tensor = gradients[0].clone()
        dist.all_reduce(total)
        return total


class SynchronizedBatchNorm(_BatchNorm):
    """In training, mean and variance are those of the rows of all processes (their numbers may differ); names of parameters and
    buffers are those of `nn.BatchNorm2d`."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Takes any (N, C, *S)."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or dist.get_world_size() == 1:
            return super().forward(input)
        x = input.float()
        axes = [0, *range(2, x.dim())]
        shape = (1, -1) + (1,) * (x.dim() - 2)
        here = x.new_tensor([x.numel() / x.size(1)])
        # Mean first and then the deviations from it: the sum of squares alone would lose the variance of a large mean.
        total: Tensor = _Sum.apply(torch.cat([x.sum(axes), here]))
        count = total[-1].detach()
        mean = total[:-1] / count
        centred = x - mean.view(shape)
        variance: Tensor = _Sum.apply(centred.square().sum(axes)) / count
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            with torch.no_grad():
                momentum = 0.1 if self.momentum is None else self.momentum
                self.running_mean.lerp_(mean.detach(), momentum)
                self.running_var.lerp_(variance.detach() * count / (count - 1), momentum)
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked += 1
        y = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            y = y * self.weight.view(shape) + self.bias.view(shape)
        return y.to(input.dtype)


def synchronize_norms(network: nn.Module, device: torch.device) -> None:
    """Puts a synchronised norm in the place of each batch norm, with its parameters and statistics, in place."""
    for module in list(network.modules()):
        for name, norm in module.named_children():
            if isinstance(norm, _BatchNorm) and not isinstance(norm, SynchronizedBatchNorm):
                kind = nn.SyncBatchNorm if device.type == "cuda" else SynchronizedBatchNorm
                made = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
                made.load_state_dict(norm.state_dict())
                setattr(module, name, made.to(device).train(norm.training))
