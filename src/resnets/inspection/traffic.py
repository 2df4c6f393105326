"""Bytes that a network must move through memory for one image: what a machine that only copied would be bound by.

Counted on the meta device, one map after the other, as if every operation that works value by value (norm, ReLU, addition) were part of
the pass in which the map is written or read anyway, and as if no map stayed in a cache between two passes. The counts are therefore
those of a well fused implementation, and lower ones are possible where several layers work on one part of an image before the next.

Legend: X values that convolutions and linear layers read, A values that they write, J values of the sums of units with a shortcut,
P values that pools read and write; all of one image.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from ..networks import Network, NetworkSpec, build
from ..networks.initialization import CONVOLUTION_TYPES
from ..networks.network import ResidualUnit
from .cost import too_small


@dataclass(frozen=True)
class Traffic:
    """Values of one image's maps, and the parameters, which a batch reads once."""

    read: int
    """X."""
    written: int
    """A."""
    summed: int
    """J."""
    pooled: int
    """P."""
    first_read: int
    first_written: int
    """X and A of the first layer."""
    parameters: int

    def prediction(self, bytes_per_value: int, batch: int) -> float:
        """Bytes an image of a forward pass in evaluation mode, where norms are folded: X + A, J for the shortcut's side of each sum,
        the pools' P, and the parameters' share."""
        values = self.read + self.written + self.summed + self.pooled
        return bytes_per_value * (values + self.parameters / batch)

    def training(self, bytes_per_value: int, *, epilogue: bool) -> float:
        """Bytes an image of a training step with batch norms; parameters, gradients and the optimizer's state are left out.

        With norm, ReLU and addition fused into a pass of their own (`epilogue` false): forward, the convolution X + A, the statistics A,
        the fused pass 2 A + J; backward, the norm's sums 2 A, its gradient 3 A, the convolution's two gradients A + X each, the
        shortcut's gradient 3 J: in all 3 X + 11 A + 4 J.
        With the statistics and the norm's sums made in the convolutions' epilogues, and the norm's gradient where the convolution's
        gradients read it (`epilogue` true): forward X + 3 A + J, backward 2 A + X for each gradient: in all 3 X + 7 A + J.
        Pools count twice; the first layer has no gradient of its input.
        """
        passes, first = ((3, 7, 1), (1, 2)) if epilogue else ((3, 11, 4), (1, 1))
        values = sum(n * count for n, count in zip(passes, (self.read, self.written, self.summed), strict=True))
        values -= first[0] * self.first_read + first[1] * self.first_written
        return float(bytes_per_value * (values + 2 * self.pooled))


def count_traffic(spec: NetworkSpec, input_size: int | None = None) -> Traffic:
    """Counts the network of `spec` for one image of `input_size` (its native size by default).

    Raises:
        ValueError: the image is too small for the network.
    """
    size = input_size or spec.input_size
    with torch.device("meta"):
        network: Network = build(spec).eval()
        images = torch.empty(1, spec.in_channels, *(size,) * spec.dims)
    layers: list[tuple[int, int]] = []
    sums: list[int] = []
    pools: list[int] = []
    for module in network.modules():
        if isinstance(module, (*CONVOLUTION_TYPES, nn.Linear)):
            module.register_forward_hook(lambda _m, inputs, output: layers.append((inputs[0].numel(), output.numel())))
        elif isinstance(module, (nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)):
            module.register_forward_hook(lambda _m, inputs, output: pools.append(inputs[0].numel() + output.numel()))
        elif isinstance(module, ResidualUnit) and spec.shortcut != "none":
            module.register_forward_hook(lambda _m, _inputs, output: sums.append(output.numel()))
    try:
        network(images)
    except (RuntimeError, ValueError) as error:
        raise too_small(size, error) from None
    return Traffic(
        read=sum(read for read, _ in layers),
        written=sum(written for _, written in layers),
        summed=sum(sums),
        pooled=sum(pools),
        first_read=layers[0][0],
        first_written=layers[0][1],
        parameters=sum(p.numel() for p in network.parameters()),
    )
