"""Initial weights, each choice a field of the spec."""

from __future__ import annotations

from typing import Literal

from torch import nn

from .layers import FrozenBatchNorm
from .shortcuts import Gate
from .spec import NetworkSpec

CONVOLUTION_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORM_TYPES = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, FrozenBatchNorm)


def initialize(network: nn.Module, residuals: list[nn.Sequential], spec: NetworkSpec) -> None:
    """Initialises in place: He normal (1502.01852, eq. 10 or 14) for convolutions, gate biases, zero-gamma.

    `residuals` are the units' F.
    """
    if spec.initialization != "torch":
        mode: Literal["fan_out", "fan_in"] = "fan_out" if spec.initialization == "he-fan-out" else "fan_in"
        for module in network.modules():
            if isinstance(module, CONVOLUTION_TYPES):
                nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    for module in network.modules():
        if isinstance(module, Gate):
            nn.init.constant_(module.conv.bias, module.initial_bias)  # type: ignore[arg-type]
    if spec.zero_init_residual:
        for residual in residuals:
            last = [m for m in residual.children() if isinstance(m, CONVOLUTION_TYPES + NORM_TYPES)][-1]
            nn.init.zeros_(last.weight)
            if isinstance(last, CONVOLUTION_TYPES) and last.bias is not None:
                nn.init.zeros_(last.bias)
