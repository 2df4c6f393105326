"""Running statistics of batch norms, estimated anew at the end of a training.

Wu and Johnson 2021, "Rethinking 'Batch' in BatchNorm" (2105.07576) §3.1, PreciseBN: the mean over the images, mu = E[mu_B], and the
variance sigma^2 = E[mu_B^2 + sigma_B^2] - mu^2, while each batch is normalised by its own statistics as in training. The moving average
that training keeps lags behind the weights, and an average of weights has no statistics of its own.

Legend: B images of a batch, C channels, S spatial shape, n = B * prod(S) values per channel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

IMAGES = 16_384
"""As many suffice: the paper finds no more to gain beyond 10^3 to 10^4."""


@torch.no_grad()
def recalibrate(
    network: nn.Module,
    batches: Iterable[Tensor],
    *,
    precision: str = "fp32",
    images: int = IMAGES,
    sum_over_processes: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> None:
    """Sets running means and variances (the populations', without Bessel's correction) of all batch norms that may learn theirs.

    Norms of parts that stay in evaluation mode are left alone. Dropout is off, as in evaluation, whose statistics these are.

    Args:
        network: left in the mode it was in.
        batches: (B, C, *S) float32, shuffled and changed as in training.
        precision: of the pass, "fp32" or "bf16".
        images: about how many suffice.
        sum_over_processes: adds up a tensor over all processes that train together.
    """
    was_training = network.training
    norms = [module for module in network.train().modules() if isinstance(module, _BatchNorm) and module.training]
    network.eval()
    sums = [Moments(norm) for norm in norms]
    kept = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    handles = [norm.register_forward_pre_hook(moments.add) for norm, moments in zip(norms, sums, strict=True)]
    try:
        for norm in norms:
            # Momentum 0 leaves the running statistics alone; the counter counts in a tensor that is thrown away.
            norm.train()
            norm.momentum, norm.num_batches_tracked = 0.0, torch.zeros_like(norm.num_batches_tracked)  # type: ignore[arg-type]
        seen = 0
        for batch in batches:
            with torch.autocast(batch.device.type, torch.bfloat16, enabled=precision == "bf16"):
                network(batch)
            seen += len(batch)
            if seen >= images:
                break
    finally:
        for handle in handles:
            handle.remove()
        for norm, momentum, counter in kept:
            norm.momentum, norm.num_batches_tracked = momentum, counter
        network.train(was_training)
    for moments in sums:
        moments.write(sum_over_processes)


class Moments:
    """Count, mean and mean square of what reaches a norm, a channel each."""

    def __init__(self, norm: _BatchNorm) -> None:
        self.norm = norm
        device = norm.running_mean.device  # type: ignore[union-attr]
        kind = torch.float32 if device.type == "mps" else torch.float64  # which knows no float64
        self.total = torch.zeros(3, norm.num_features, dtype=kind, device=device)
        """(3, C): n, the sum of the values and the sum of their squares."""

    def add(self, _norm: nn.Module, inputs: tuple[Any, ...]) -> None:
        """The values that the norm is about to see, (B, C, *S)."""
        x: Tensor = inputs[0].float()
        variance, mean = torch.var_mean(x, [0, *range(2, x.dim())], correction=0)
        mean, variance, count = mean.to(self.total), variance.to(self.total), x.numel() / x.size(1)
        self.total += count * torch.stack([torch.ones_like(mean), mean, mean.square() + variance])

    def write(self, sum_over_processes: Callable[[Tensor], Tensor]) -> None:
        """Puts the statistics into the norm."""
        count, values, squares = sum_over_processes(self.total)
        mean = values / count
        self.norm.running_mean.copy_(mean)  # type: ignore[union-attr]
        self.norm.running_var.copy_((squares / count - mean.square()).clamp(min=0))  # type: ignore[union-attr]
