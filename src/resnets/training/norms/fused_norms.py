"""Batch norms that also compute what follows them: the ReLU, or the sum with the shortcut and its ReLU.

On a GPU the time of a norm is that of moving its map, and so is that of a ReLU and a sum. Eager PyTorch moves it for each of them, and
for the statistics besides. `fuse_norms` puts `FusedNorm` in the place of a network's batch norms, which runs the kernels of
norm_kernels.py in training on NVIDIA GPUs, and PyTorch's own operations everywhere else. Parameters and state stay what they were, and
so does the network's function.
"""

from __future__ import annotations

import itertools
from importlib.util import find_spec
from typing import Literal, TypeGuard

import torch
from torch import Tensor, nn

from ...core.errors import UserError
from ...networks import Network
from ...networks.shortcuts import NoShortcut, Shortcut, Sum

Does = Literal["norm, relu", "nothing"]
_TYPES = (torch.float32, torch.float16, torch.bfloat16)


def needed_for_fused_norms(device: torch.device) -> None:
    """Checks that the kernels can run.

    Raises:
        ValueError: no NVIDIA GPU, or no Triton.
    """
    if device.type != "cuda":
        raise UserError(f"fused_norms needs an NVIDIA GPU, but the run is on {device}; leave it off")
    if find_spec("triton") is None:
        raise UserError("fused_norms needs the package triton, which is not installed: pip install triton, or leave it off")


def runs_kernels(x: Tensor) -> bool:
    """Whether the kernels take this map."""
    return x.is_cuda and x.dtype in _TYPES


class FusedNorm(nn.BatchNorm2d):
    """A batch norm's parameters and statistics with another forward.

    Attributes:
        does: "norm, relu", or "nothing", where the unit's join calls `joined` with what came through.
    """

    does: Does

    def __init__(self, norm: nn.BatchNorm2d, does: Does) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, device="meta")
        self.does, self.training = does, norm.training
        for name, value in [*norm.named_parameters(recurse=False), *norm.named_buffers(recurse=False)]:
            setattr(self, name, value)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return input if self.does == "nothing" else self._computed(input, None, relu=self.does == "norm, relu")

    def joined(self, x: Tensor, shortcut: Tensor, *, relu: bool) -> Tensor:
        """norm(x) + shortcut, activated by choice: all (N, C, H, W)."""
        return self._computed(x, shortcut, relu=relu)

    def _computed(self, x: Tensor, shortcut: Tensor | None, *, relu: bool) -> Tensor:
        if not (self.training and runs_kernels(x)):
            y = super().forward(x)
            if shortcut is not None:
                y = y + shortcut
            return y.relu() if relu else y
        from .norm_kernels import NormSumReLU

        if x.numel() == x.shape[1]:
            raise UserError(f"batch statistics of a single value per channel: a map of shape {tuple(x.shape)} in training")
        x = x.contiguous(memory_format=torch.channels_last)
        if shortcut is not None:
            shortcut = shortcut.to(x.dtype).contiguous(memory_format=torch.channels_last)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum  # type: ignore[arg-type]
        y = NormSumReLU.apply(x, shortcut, self.weight, self.bias, self.running_mean, self.running_var, momentum, self.eps, relu)
        result: Tensor = y
        return result


class FusedJoin(nn.Module):
    """The sum of a unit, and its ReLU, in the kernel of the norm that F ends in."""

    def __init__(self, norm: FusedNorm, *, relu: bool) -> None:
        super().__init__()
        self._norm, self.relu = (norm,), relu  # in a tuple: the norm is F's child, not this one's

    def forward(self, x: Tensor, r: Tensor) -> Tensor:
        return self._norm[0].joined(r, x, relu=self.relu)


def fuse_norms(network: Network) -> int:
    """Fuses the network's batch norms in place and returns how many: those with a ReLU after them, and those in which a unit's F ends
    in front of a plain sum. Others, of other kinds, or in networks of one or three dimensions, stay."""
    fused = 0
    for unit in network.units():
        name, norm = list(unit.residual.named_children())[-1]
        relu, shortcut = isinstance(unit.after, nn.ReLU), unit.shortcut
        if not _can_be_fused(norm):
            continue
        if isinstance(shortcut, Shortcut) and type(shortcut.join) is Sum:
            deferred = FusedNorm(norm, "nothing")
            setattr(unit.residual, name, deferred)
            shortcut.join = FusedJoin(deferred, relu=relu)
        elif isinstance(shortcut, NoShortcut) and relu:
            setattr(unit.residual, name, FusedNorm(norm, "norm, relu"))
        else:
            continue
        unit.after = None if relu else unit.after
        fused += 1
    for sequence in [module for module in network.modules() if isinstance(module, nn.Sequential)]:
        layers = list(sequence.named_children())
        for (name, norm), (after, following) in itertools.pairwise(layers):
            if _can_be_fused(norm) and isinstance(following, nn.ReLU):
                setattr(sequence, name, FusedNorm(norm, "norm, relu"))
                setattr(sequence, after, nn.Identity())
                fused += 1
    return fused


def _can_be_fused(norm: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    return type(norm) is nn.BatchNorm2d and norm.affine
