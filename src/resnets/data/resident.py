"""A data set that lives on the compute device: uint8 pictures in memory, batches made there.

Legend: N pictures of the data set, B of a batch, C channels, H W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from .preprocessing import Preprocessing

Change = Callable[[Tensor], Tensor]


class ResidentLoader:
    """Batches of (images (B, C, size, size) float32, labels (B,) int64) from tensors on one device.

    Args:
        images: (N, C, H, W), uint8.
        labels: (N,), int64.
        preprocessing: resizing and normalising, made on each batch.
        batch_size: B; in training the last, smaller batch of an epoch is left out, so that every step is alike.
        augment: random changes of the uint8 batch before, and of the normalised batch behind the preprocessing.
        channels_last: memory layout of the batches.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        preprocessing: Preprocessing,
        batch_size: int,
        *,
        augment: tuple[Change, Change] | None = None,
        channels_last: bool = True,
    ) -> None:
        if len(images) == 0:
            raise ValueError("the data set holds no pictures")
        self.images, self.labels = images, labels
        self.preprocessing, self.augment = preprocessing, augment
        self.batch_size = min(batch_size, len(images))
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def batch(self, indices: Tensor | slice) -> tuple[Tensor, Tensor]:
        """The pictures at `indices`, augmented and preprocessed, and their labels."""
        images = self.images[indices]
        if self.augment is not None:
            images = self.augment[0](images)
        images = self.preprocessing(images)
        if self.augment is not None:
            images = self.augment[1](images)
        return images.contiguous(memory_format=self.memory_format), self.labels[indices]

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the data set."""
        return len(self.images) // self.batch_size

    def epoch(self, seed: int, epoch: int, first_step: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """An epoch's batches in its own random order, from `first_step` on: the order depends on seed and epoch alone, so that a
        run can go on in the middle of one."""
        generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
        order = torch.randperm(len(self.images), generator=generator).to(self.images.device)
        for step in range(first_step, self.steps_per_epoch):
            yield self.batch(order[step * self.batch_size : (step + 1) * self.batch_size])

    def in_order(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every picture once, in order; the last batch may be smaller."""
        for start in range(0, len(self.images), self.batch_size):
            yield self.batch(slice(start, start + self.batch_size))
