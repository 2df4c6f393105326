"""The exponential moving average of a network's state (weights and running statistics)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..settings import Averaging


class ExponentialAverage:
    """average <- decay * average + (1 - decay) * network, every so many steps; integer buffers are copied.

    A copy of the network holds the average, so that it can be evaluated and saved like any network.
    """

    def __init__(self, settings: Averaging, network: nn.Module, average: nn.Module) -> None:
        self.settings, self.network, self.average = settings, network, average
        self.started = False
        average.eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, step: int, progress: float) -> None:
        """Called after each optimizer step; `step` counts from 1."""
        if progress < self.settings.start or step % self.settings.every:
            return
        source, target = self.network.state_dict(), self.average.state_dict()
        floating = [name for name, value in source.items() if value.is_floating_point()]
        if self.started:
            old: list[Tensor] = [target[name] for name in floating]
            torch._foreach_lerp_(old, [source[name] for name in floating], 1 - self.settings.decay)
        for name, value in source.items():
            if not self.started or not value.is_floating_point():
                target[name].copy_(value)
        self.started = True
