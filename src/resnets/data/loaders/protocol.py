"""What a loader is: batches to train on in random order, batches to evaluate on in order, wherever the images come from.

Legend: N images of the data set, B rows of a batch over all processes, b those of this process, C channels, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..sampling.draws import Draws
from ..sampling.order import EpochOrder

PreNormalize = Callable[[Tensor, Tensor, int, Draws], Tensor]
"""Changes a uint8 batch (b, C, H, W), given the images' places in the data set (b,), the epoch and the batch's draws."""
PostNormalize = Callable[[Tensor, Draws], Tensor]
"""Changes a normalised batch (b, C, size, size)."""


@dataclass(frozen=True)
class Batch:
    """A training batch."""

    images: Tensor
    """(b, C, size, size), float32, augmented and preprocessed."""
    labels: Tensor
    """(b,), int64."""
    indices: Tensor
    """(b,), int64: the images' places in the data set."""
    total: int
    """B as planned: what the sum of losses is divided by. A file that could not be read leaves its row out and B as it is."""
    draws: Draws
    """For changes that blend images."""
    weights: Tensor | None = None
    """(b,), float32: how much each image's loss counts; None where all count alike."""


class Loader(Protocol):
    """Images on their way to the network."""

    order: EpochOrder
    """Of the training batches."""
    labels: Tensor
    """(N,), int64: the class of each image."""

    def __len__(self) -> int:
        """N."""

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """An epoch's training batches from `first_step` on."""

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image of this process's share once, in order, without random changes: images (b, C, size, size), labels (b,)."""
