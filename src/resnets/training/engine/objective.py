"""What a training step minimises: from a network and a part of a batch to the number that the gradient starts from.

Legend: b images of the part, C channels, H W height and width in pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor, nn

Precision = Callable[[], AbstractContextManager[Any]]
"""Opens the block in which a network runs in the recipe's precision."""


@dataclass(frozen=True)
class Inputs:
    """A batch as an objective takes it; each part can be cut into rows by a slice."""

    images: Any
    """(b, C, H, W) float32, or a list of b images of different sizes, each (C, H, W)."""
    targets: Any
    """What the network should say to each of them."""
    weights: Tensor | None = None
    """(b,) float32: how much each image's loss counts; None where all count alike."""

    def __getitem__(self, rows: slice) -> Inputs:
        return Inputs(self.images[rows], self.targets[rows], None if self.weights is None else self.weights[rows])

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Outcome:
    """What a network did on a part of a batch."""

    total: Tensor
    """Sum of the images' losses, each with its weight: a scalar, float32, that the gradient starts from."""
    losses: Tensor
    """(b,) float32: each image's loss, detached and without its weight."""
    measures: Mapping[str, Tensor]
    """By name what else a log line shows: sums over the part's images, detached scalars."""


class Objective(Protocol):
    """Makes a network's outcome on a part of a batch; the network may run in lower precision, losses are float32."""

    def __call__(self, network: nn.Module, part: Inputs, precision: Precision) -> Outcome:
        """The outcome on `part`; the network is called once, inside `precision()`."""
