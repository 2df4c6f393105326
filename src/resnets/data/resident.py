"""A data set that lives on the compute device: uint8 pictures in memory, batches made there.

Legend: N pictures of the data set, B of a batch, C channels, H W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .preprocessing import Preprocessing
from .pruning import LossPruning

Before = Callable[[Tensor, Tensor, int], Tensor]
"""Changes a uint8 batch (B, C, H, W), given the pictures' places in the data set (B,) and the epoch."""
Behind = Callable[[Tensor], Tensor]
"""Changes a normalised batch (B, C, size, size)."""


@dataclass(frozen=True)
class Batch:
    """A training batch."""

    images: Tensor
    """(B, C, size, size), float32, augmented and preprocessed."""
    labels: Tensor
    """(B,), int64."""
    indices: Tensor
    """(B,), int64: the pictures' places in the data set."""
    weights: Tensor | None = None
    """(B,), float32: how much each picture's loss counts; None where all count alike."""


class ResidentLoader:
    """Batches from tensors on one device: in random order to train on, in order to evaluate on.

    Args:
        images: (N, C, H, W), uint8.
        labels: (N,), int64.
        preprocessing: resizing and normalising, made on each batch.
        batch_size: B.
        drop_last: leave out the last, smaller batch of a training epoch, so that every step is alike.
        augment: changes of a training batch before and behind the preprocessing; batches in order are left as they are.
        pruning: leaves pictures out of the epochs behind the first, or None.
        channels_last: memory layout of the batches.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        preprocessing: Preprocessing,
        batch_size: int,
        *,
        augment: tuple[Before, Behind] | None = None,
        pruning: LossPruning | None = None,
        drop_last: bool = True,
        channels_last: bool = True,
    ) -> None:
        if len(images) == 0:
            raise ValueError("the data set holds no pictures")
        self.images, self.labels = images, labels
        self.preprocessing, self.augment, self.pruning = preprocessing, augment, pruning
        self.batch_size, self.drop_last = min(batch_size, len(images)), drop_last
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def _augmented(self, indices: Tensor, epoch: int) -> Tensor:
        if self.augment is None:
            return self._arranged(self.preprocessing(self.images[indices]))
        before, behind = self.augment
        return self._arranged(behind(self.preprocessing(before(self.images[indices], indices, epoch))))

    def _arranged(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=self.memory_format)

    def steps_in(self, epoch: int) -> int:
        """Batches in an epoch."""
        left_out = self.pruning.left_out if self.pruning is not None and epoch > 0 else 0
        whole, rest = divmod(len(self.images) - left_out, self.batch_size)
        return whole if self.drop_last else whole + bool(rest)

    def place(self, step: int) -> tuple[int, int]:
        """The epoch in which `step` lies (counted from 0), and how many steps of it come before."""
        first, later = self.steps_in(0), self.steps_in(1)
        if step < first:
            return 0, step
        epochs, rest = divmod(step - first, later)
        return 1 + epochs, rest

    def epoch(self, seed: int, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """An epoch's batches in its own random order, from `first_step` on: the order depends on seed, epoch and the pruning's losses
        at its start alone, so that a run can go on in the middle of one."""
        generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
        order, weights = torch.randperm(len(self.images), generator=generator).to(self.images.device), None
        if self.pruning is not None and epoch > 0:
            if first_step == 0:
                self.pruning.begin_epoch()
            order, weights = self.pruning.choose(order, generator)
        for step in range(first_step, self.steps_in(epoch)):
            indices = order[step * self.batch_size : (step + 1) * self.batch_size]
            images = self._augmented(indices, epoch)
            yield Batch(images, self.labels[indices], indices, None if weights is None else weights[indices])

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every picture once, in order, as images (B, C, size, size) and labels (B,); the last batch may be smaller."""
        for start in range(0, len(self.images), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield self._arranged(self.preprocessing(self.images[part])), self.labels[part]
